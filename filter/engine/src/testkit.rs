//! What the tests of this crate are made of: keys, roots, batches, gatepasses, and a [`Scene`] in
//! which everything is right until a test changes one thing.
//!
//! It signs with `ed25519-compact`, which shares no code with the verifier. It is long because it
//! is one place: a test that needs a key, a batch or a gatepass finds it here.

use std::sync::{LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, Seed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::batch::{Batch, Feed, Header, whole_digest};
use crate::body::{Body, Unfinished};
use crate::bundle::{
    Action, ActionMode, Assurance, Audit, Binding, BodyRule, Bundle, Currency, Host, Input,
    InputKind, Recording, Risk, Route, RouteTarget, Source, Treatment, Uses,
};
use crate::clock::{Milliseconds, Now, UnixSeconds};
use crate::decision::{Decision, Header as RequestHeader, Request, decide, decide_with};
use crate::envelope::{PayloadType, Unverified};
use crate::gate::{Applied, Gate, Mode, Settings};
use crate::keyring::{Algorithm, IssuerKey, IssuerKeys, KeyId, Keyring};
use crate::refusal::RefusalCode;
use crate::revocation::{Below, Change, HashKey, Kind, Revocation};
use crate::root::{Document, Pinned, Role, RoleKey, RootKeys};
use crate::token_cache::TokenCache;

/// The wall clock of every scene, in seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
/// The monotonic clock of every scene, in milliseconds.
pub(crate) const MONOTONIC: u64 = 5_000_000;
pub(crate) const EPOCH: u64 = 7;
/// The sequence that the gate is at and that gatepasses are issued at.
pub(crate) const AT: u64 = 50;

/// Seeds of the keys, by what they sign.
pub(crate) const ROOT: u8 = 1;
pub(crate) const FEED: u8 = 2;
pub(crate) const ISSUER: u8 = 3;
/// Named by the root as an issuer, in no keyring unless a test puts it there.
pub(crate) const OTHER_ISSUER: u8 = 4;
/// Signs verdicts.
pub(crate) const REDEEM: u8 = 5;
/// Named by no root.
pub(crate) const STRANGER: u8 = 9;

pub(crate) const ISS: &str = "https://desk.example";
pub(crate) const AUDIENCE: &str = "https://orders.example";
pub(crate) const USER: &str = "user:corp/ursula";
/// The acting agent.
pub(crate) const AGENT: &str = "agent:bbbbbbbb-0000-4000-8000-000000000001";
pub(crate) const OWNER: &str = "user:corp/bob";
pub(crate) const BLUEPRINT: &str = "bp-b";
/// The agent that the acting one acts for.
pub(crate) const PRIOR_AGENT: &str = "agent:aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const PRIOR_OWNER: &str = "user:corp/ann";
pub(crate) const PRIOR_BLUEPRINT: &str = "bp-a";

pub(crate) fn now() -> Now {
    Now { unix: UnixSeconds(NOW), monotonic: Milliseconds(MONOTONIC) }
}

/// `now` with both clocks moved on by seconds.
pub(crate) fn later(seconds: u64) -> Now {
    Now { unix: UnixSeconds(NOW + seconds), monotonic: Milliseconds(MONOTONIC + seconds * 1000) }
}

pub(crate) fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([seed; 32]))
}

pub(crate) fn public(seed: u8) -> [u8; 32] {
    *pair(seed).pk
}

pub(crate) fn kid(seed: u8) -> String {
    KeyId::of(&public(seed)).to_string()
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Pseudo-random numbers that are the same in every run (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// From 0 to `sides - 1`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

/// A root document and who signs it.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) document: Document,
    pub(crate) signers: Vec<u8>,
}

impl Root {
    /// Signed by [`ROOT`]; names [`FEED`], [`ISSUER`], [`OTHER_ISSUER`] and [`REDEEM`]; good for 30 days.
    pub(crate) fn version(version: u64) -> Self {
        let key = |role, seed| RoleKey { role, public: b64(public(seed)) };
        Self {
            document: Document {
                environment: "prod".into(),
                version,
                expires: UnixSeconds(NOW + 30 * 86_400),
                root: RootKeys { threshold: 1, keys: vec![b64(public(ROOT))] },
                keys: vec![
                    key(Role::Feed, FEED),
                    key(Role::Issuer, ISSUER),
                    key(Role::Issuer, OTHER_ISSUER),
                    key(Role::Redeem, REDEEM),
                ],
                reset: false,
            },
            signers: vec![ROOT],
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Document)) -> Self {
        change(&mut self.document);
        self
    }

    pub(crate) fn sealed(&self) -> Vec<u8> {
        let payload = serde_json::to_vec(&self.document).unwrap();
        let envelope = self
            .signers
            .iter()
            .fold(Unverified::new(PayloadType::Root, payload), |envelope, seed| {
                envelope.sign_with(|m| *pair(*seed).sk.sign(m, None))
            });
        envelope.to_json().into_bytes()
    }
}

/// A batch that is right until a test changes it; [`Message::sealed`] signs it.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) header: Header,
    pub(crate) revocations: Option<Vec<u8>>,
    pub(crate) keys: Option<Vec<u8>>,
    pub(crate) bundle: Option<Vec<u8>>,
    pub(crate) signers: Vec<u8>,
    pub(crate) payload_type: PayloadType,
    /// Keep the header's `whole_digest` instead of computing it.
    pub(crate) keeps_digest: bool,
}

impl Message {
    /// A full snapshot with issuer keys, the bundle of [`bundle`], and no revocation.
    pub(crate) fn snapshot(to: u64) -> Self {
        let mut message = Self::delta(0, to);
        message.keys = Some(encoded(&issuer_keys()));
        message.bundle = Some(encoded(&bundle()));
        message.revoking(&[])
    }

    /// A delta without changes.
    pub(crate) fn delta(from: u64, to: u64) -> Self {
        Self {
            header: Header {
                environment: "prod".into(),
                feed_audience: "fleet".into(),
                root_version: 1,
                epoch: EPOCH,
                from,
                to,
                part: 0,
                parts: 1,
                whole_digest: [0; 32],
                hash_key_id: hash_key(EPOCH).id(),
                issued_at: UnixSeconds(NOW),
                expires_at: UnixSeconds(NOW + 86_400),
                min_filter: 1,
                audit_head: None,
            },
            revocations: None,
            keys: None,
            bundle: None,
            signers: vec![FEED],
            payload_type: PayloadType::Batch,
            keeps_digest: false,
        }
    }

    pub(crate) fn checkpoint(at: u64) -> Self {
        Self::delta(at, at)
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn issued_at(mut self, unix: u64) -> Self {
        self.header.issued_at = UnixSeconds(unix);
        self
    }

    pub(crate) fn root_version(mut self, version: u64) -> Self {
        self.header.root_version = version;
        self
    }

    pub(crate) fn signed_by(mut self, seed: u8) -> Self {
        self.signers = vec![seed];
        self
    }

    /// Of another epoch. Call it before [`Message::revoking`]: each epoch has its own hash key.
    pub(crate) fn epoch(mut self, epoch: u64) -> Self {
        self.header.epoch = epoch;
        self.header.hash_key_id = hash_key(epoch).id();
        if self.header.from == 0 {
            return self.revoking(&[]);
        }
        self
    }

    /// States these revocations, and in a snapshot the epoch's hash key.
    pub(crate) fn revoking(self, revoked: &[(Kind, &str, Below)]) -> Self {
        let hasher = hash_key(self.header.epoch);
        let items = revoked.iter().map(|(kind, id, below)| Revocation {
            kind: *kind,
            key: hasher.hash(*kind, id),
            below: *below,
            drop_after: UnixSeconds(NOW + 4000),
        });
        let items = items.collect();
        self.revoking_items(items)
    }

    pub(crate) fn revoking_items(mut self, items: Vec<Revocation>) -> Self {
        let key = [self.header.epoch as u8; 16];
        self.revocations = Some(encoded(&Change {
            hash_key: (self.header.from == 0 && self.header.part == 0).then_some(key),
            total: items.len() as u32,
            items,
        }));
        self
    }

    pub(crate) fn bundle(mut self, bundle: &Bundle) -> Self {
        self.bundle = Some(encoded(bundle));
        self
    }

    pub(crate) fn keys(mut self, keys: &IssuerKeys) -> Self {
        self.keys = Some(encoded(keys));
        self
    }

    fn batch(&self) -> Batch<'_> {
        let mut batch = Batch {
            header: self.header.clone(),
            revocations: self.revocations.as_deref(),
            keys: self.keys.as_deref(),
            bundle: self.bundle.as_deref(),
        };
        if !self.keeps_digest {
            batch.header.whole_digest = whole_digest(&[batch.digest()]);
        }
        batch
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        self.batch().encode().unwrap()
    }

    pub(crate) fn sealed(&self) -> Vec<u8> {
        seal(self.payload_type, self.payload(), &self.signers)
    }

    /// The snapshot in parts: keys in the first, each part a share of `revoked`, the bundle's
    /// bytes spread over all.
    pub(crate) fn in_parts(&self, parts: u16, revoked: &[(Kind, &str, Below)]) -> Vec<Self> {
        let count = usize::from(parts);
        let bundle = self.bundle.clone().unwrap_or_default();
        let size = bundle.len().div_ceil(count).max(1);
        let mut shares = bundle.chunks(size);
        let each = revoked.len().div_ceil(count).max(1);
        let mut lists = revoked.chunks(each);
        let mut all: Vec<Self> = (0..parts)
            .map(|part| {
                let mut message = self.clone();
                message.keeps_digest = true;
                (message.header.part, message.header.parts) = (part, parts);
                message.keys = self.keys.clone().filter(|_| part == 0);
                message.bundle = shares.next().map(<[u8]>::to_vec);
                message.revoking(lists.next().unwrap_or_default())
            })
            .collect();
        redigest(&mut all);
        all
    }
}

/// Gives the parts the digest of their whole.
pub(crate) fn redigest(parts: &mut [Message]) {
    let digests: Vec<_> = parts.iter().map(|part| part.batch().digest()).collect();
    for part in parts {
        part.header.whole_digest = whole_digest(&digests);
    }
}

pub(crate) fn seal(payload_type: PayloadType, payload: Vec<u8>, signers: &[u8]) -> Vec<u8> {
    let envelope = signers.iter().fold(Unverified::new(payload_type, payload), |envelope, seed| {
        envelope.sign_with(|m| *pair(*seed).sk.sign(m, None))
    });
    envelope.to_postcard().unwrap()
}

pub(crate) fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

pub(crate) fn hash_key(epoch: u64) -> HashKey {
    HashKey::new("prod", &[epoch as u8; 16])
}

pub(crate) fn issuer_keys() -> IssuerKeys {
    IssuerKeys { version: 1, keys: vec![issuer_key(ISSUER)] }
}

pub(crate) fn issuer_key(seed: u8) -> IssuerKey {
    IssuerKey {
        public: public(seed),
        issuer: ISS.into(),
        algorithm: Algorithm::EdDsa,
        not_before: UnixSeconds(NOW - 86_400),
        not_after: UnixSeconds(NOW + 86_400),
    }
}

pub(crate) fn settings() -> Settings {
    Settings { environment: "prod".into(), feed_audience: "fleet".into(), mode: Mode::Enforce }
}

/// A gate with [`Root::version`] 1 in force that has heard nothing from the feed.
pub(crate) fn gate() -> Gate {
    let mut gate = unprimed();
    // A key's table takes longer than all the rest; the first snapshot replaces the list.
    gate.prime(TABLES.clone());
    gate
}

fn unprimed() -> Gate {
    let mut gate = bare_gate(settings());
    let root = Root::version(1).sealed();
    gate.take_roots(&[&root], UnixSeconds(NOW)).unwrap();
    gate
}

/// The keys of [`ISSUER`] and [`OTHER_ISSUER`], with their tables.
static TABLES: LazyLock<Keyring> = LazyLock::new(|| {
    let mut gate = unprimed();
    let keys = IssuerKeys { version: 0, keys: vec![issuer_key(ISSUER), issuer_key(OTHER_ISSUER)] };
    feed(&mut gate, &Message::snapshot(1).keys(&keys)).unwrap();
    while gate.prepare() {}
    gate.keyring().clone()
});

/// A gate that knows its pinned root key and nothing else.
pub(crate) fn bare_gate(settings: Settings) -> Gate {
    let pinned = Pinned::new("prod", &[b64(public(ROOT))], 1, 1).unwrap();
    Gate::new(settings, pinned)
}

/// Applies a message at the scene's time.
pub(crate) fn feed(gate: &mut Gate, message: &Message) -> Result<Applied, RefusalCode> {
    feed_at(gate, message, now())
}

pub(crate) fn feed_at(
    gate: &mut Gate,
    message: &Message,
    now: Now,
) -> Result<Applied, RefusalCode> {
    gate.apply(&message.sealed(), now.monotonic, now).map_err(|refusal| refusal.code)
}

/// `orders.example` with an action of each body rule and a public route; `open.example` is passed
/// through.
pub(crate) fn bundle() -> Bundle {
    let route = |method: &str, path: &str, target, inputs| Route {
        methods: vec![method.into()],
        path: path.into(),
        target,
        inputs,
        call: None,
        max_body: 65_536,
        max_duration: 60,
        upgrade: None,
    };
    let input = |name: &str, kind, source| Input {
        name: name.into(),
        record: Recording::of(&kind),
        kind,
        source,
    };
    let query = |key: &str| Source::Query(key.into());
    let create = vec![
        input("customer", InputKind::Text, Source::Path("customer".into())),
        input("amount", InputKind::Money(Currency::From(query("currency"))), query("amount")),
        input("count", InputKind::Integer, query("count")),
        input("weight", InputKind::Decimal, query("weight")),
        input("express", InputKind::Boolean, query("express")),
        input("tag", InputKind::Text, Source::Header("x-tag".into())),
    ];
    let host = |name: &str, treatment| Host {
        names: vec![name.into()],
        audience: format!("https://{name}"),
        origin: None,
        treatment,
    };
    let unread = Action { body: BodyRule::Unread, ..action("files:upload") };
    Bundle {
        actions: vec![action("orders:create"), unread, action("orders:list")],
        hosts: vec![
            host(
                "orders.example",
                Treatment::Guarded(vec![
                    route("POST", "/orders/{customer}", RouteTarget::Action(0), create),
                    route("PUT", "/files", RouteTarget::Action(1), vec![]),
                    route("GET", "/orders", RouteTarget::Action(2), vec![]),
                    route("GET", "/health", RouteTarget::Public, vec![]),
                ]),
            ),
            host("open.example", Treatment::PassedThrough),
        ],
        policy: vec![],
    }
}

pub(crate) fn action(name: &str) -> Action {
    Action {
        name: name.into(),
        risk: Risk::Low,
        scopes_all: vec![],
        scopes_any: vec![],
        assurance: Assurance::Static,
        binding: Binding::None,
        uses: Uses::Unlimited,
        max_age: None,
        staleness: 60,
        body: BodyRule::None,
        content_types: vec![],
        encodings: vec![],
        approval: false,
        mode: ActionMode::Enforce,
        audit: Audit::Batched,
    }
}

/// A gatepass before it is signed.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) signer: u8,
}

impl Pass {
    /// [`AGENT`] acts for [`PRIOR_AGENT`], which acts for [`USER`]: issued 20 s ago for 5 minutes,
    /// exchanged twice, granting all actions without constraints.
    pub(crate) fn good() -> Self {
        Self {
            header: json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid(ISSUER)}),
            claims: json!({
                "iss": ISS,
                "aud": [AUDIENCE],
                "iat": NOW - 20,
                "exp": NOW + 280,
                "jti": "jti-1",
                "seq": [EPOCH, AT],
                "sub": USER,
                "act": {
                    "sub": AGENT, "owner": OWNER, "blueprint": BLUEPRINT,
                    "act": {"sub": PRIOR_AGENT, "owner": PRIOR_OWNER, "blueprint": PRIOR_BLUEPRINT},
                },
                "client_id": AGENT,
                "anc": ["jti-parent", "jti-grandparent"],
                "owner": OWNER,
                "blueprint": BLUEPRINT,
                "scope": "orders:write orders:read",
                "authorization_details": [{
                    "type": "agent_action",
                    "actions": ["orders:create", "orders:list", "files:upload"],
                }],
                "txn": "task-1",
                "env": "prod",
                "assurance": "attested",
            }),
            signer: ISSUER,
        }
    }

    /// Sets one claim.
    pub(crate) fn set(&mut self, claim: &str, value: Value) -> &mut Self {
        self.claims[claim] = value;
        self
    }

    pub(crate) fn remove(&mut self, claim: &str) -> &mut Self {
        self.claims.as_object_mut().unwrap().remove(claim);
        self
    }

    /// Sets one member of the first entry.
    pub(crate) fn entry(&mut self, member: &str, value: Value) -> &mut Self {
        self.claims["authorization_details"][0][member] = value;
        self
    }

    pub(crate) fn token(&self) -> String {
        let header = serde_json::to_vec(&self.header).unwrap();
        let claims = serde_json::to_vec(&self.claims).unwrap();
        compact(&header, &claims, self.signer)
    }
}

/// Signs exactly these bytes as a compact JWS.
pub(crate) fn compact(header: &[u8], claims: &[u8], signer: u8) -> String {
    let input = format!("{}.{}", b64(header), b64(claims));
    sign_text(&input, signer)
}

/// Signs `<header>.<claims>` as it is spelled.
pub(crate) fn sign_text(input: &str, signer: u8) -> String {
    let signature = pair(signer).sk.sign(input.as_bytes(), None);
    format!("{input}.{}", b64(*signature))
}

/// What the gate has heard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    /// The snapshot of the scene as a baseline.
    Baseline,
    /// The snapshot of the scene from the feed, at the scene's first moment.
    Feed,
}

/// A gate, a gatepass and a request that are allowed; tests change one thing.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) settings: Settings,
    pub(crate) bundle: Bundle,
    pub(crate) keys: Vec<IssuerKey>,
    pub(crate) revoked: Vec<(Kind, String, Below)>,
    pub(crate) heard: Heard,
    pub(crate) pass: Pass,
    /// Replaces the whole of `Authorization` when set.
    pub(crate) authorization: Option<Vec<u8>>,
    /// `None` leaves `Authorization` out.
    pub(crate) scheme: Option<&'static str>,
    pub(crate) method: &'static str,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) ends_with_headers: bool,
    /// All of it, where there is one; then the headers do not end the request.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) unfinished: Option<Unfinished>,
    pub(crate) now: Now,
}

/// What all tests of this process have presented.
static SEEN: LazyLock<Mutex<TokenCache>> = LazyLock::new(|| Mutex::new(TokenCache::new(4 << 20)));

impl Scene {
    pub(crate) fn good() -> Self {
        Self {
            settings: settings(),
            bundle: bundle(),
            keys: issuer_keys().keys,
            revoked: vec![],
            heard: Heard::Feed,
            pass: Pass::good(),
            authorization: None,
            scheme: Some("Bearer"),
            method: "POST",
            authority: "orders.example".into(),
            path: "/orders/c1?amount=100.00&currency=EUR&count=5&weight=1.5&express=true".into(),
            headers: vec![("x-tag", b"blue".to_vec())],
            ends_with_headers: true,
            body: None,
            unfinished: None,
            now: now(),
        }
    }

    pub(crate) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut scene = Self::good();
        change(&mut scene);
        scene
    }

    /// The action of the request's route.
    pub(crate) fn action(&mut self) -> &mut Action {
        &mut self.bundle.actions[0]
    }

    pub(crate) fn revoke(&mut self, kind: Kind, id: &str, below: Below) {
        self.revoked.push((kind, id.into(), below));
    }

    /// Asks for another route of `orders.example`.
    pub(crate) fn ask(&mut self, method: &'static str, path: &str) {
        (self.method, self.path) = (method, path.into());
    }

    /// The action digest of the good request, from its canonical form written out by hand.
    pub(crate) fn digest() -> String {
        let canonical = concat!(
            r#"{"action":"orders:create","audience":"https://orders.example","#,
            r#""body_sha256":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","#,
            r#""environment":"prod","host":"orders.example","inputs":{"#,
            r#""amount":"100.0000 EUR","count":"5","customer":"c1","express":"true","#,
            r#""tag":"blue","weight":"1.5000"},"method":"POST","path":"/orders/c1"}"#
        );
        b64(Sha256::digest(canonical))
    }

    /// An approval of `digest` for the claim of that name.
    pub(crate) fn approval(digest: &str) -> Value {
        json!({"id": "ap-1", "by": "user:corp/carol", "at": NOW - 60, "amr": ["hwk"], "digest": digest})
    }

    pub(crate) fn snapshot(&self) -> Message {
        let revoked: Vec<(Kind, &str, Below)> =
            self.revoked.iter().map(|(kind, id, below)| (*kind, id.as_str(), *below)).collect();
        let keys = IssuerKeys { version: 1, keys: self.keys.clone() };
        Message::snapshot(AT).bundle(&self.bundle).keys(&keys).revoking(&revoked)
    }

    pub(crate) fn gate(&self) -> Gate {
        let mut gate = bare_gate(self.settings.clone());
        if self.heard != Heard::Nothing {
            gate.prime(TABLES.clone());
        }
        let root = Root::version(1).sealed();
        let snapshot = self.snapshot();
        match self.heard {
            Heard::Nothing => {}
            Heard::Baseline => {
                let sealed = snapshot.sealed();
                let feed = Feed { roots: vec![&root], batches: vec![&sealed] };
                gate.baseline(&feed, now()).unwrap();
            }
            Heard::Feed => {
                gate.take_roots(&[&root], UnixSeconds(NOW)).unwrap();
                feed(&mut gate, &snapshot).unwrap();
            }
        }
        gate
    }

    /// Calls `run` with the request.
    pub(crate) fn request<R>(&self, run: impl FnOnce(&Request<'_>) -> R) -> R {
        let authorization = match (&self.authorization, self.scheme) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(scheme)) => Some(format!("{scheme} {}", self.pass.token()).into_bytes()),
            (None, None) => None,
        };
        let mut headers: Vec<(&str, &[u8])> = vec![
            (":method", self.method.as_bytes()),
            (":authority", self.authority.as_bytes()),
            (":path", self.path.as_bytes()),
        ];
        headers.extend(authorization.iter().map(|v| ("authorization", v.as_slice())));
        headers.extend(self.headers.iter().map(|(n, v)| (*n, v.as_slice())));
        let headers: Vec<RequestHeader<'_>> = headers
            .into_iter()
            .map(|(name, value)| RequestHeader { name: name.as_bytes(), value })
            .collect();
        let body = match (&self.body, self.unfinished) {
            (_, Some(why)) => Body::Unfinished(why),
            (Some(bytes), None) => Body::Whole(bytes),
            (None, None) => Body::after_headers(self.ends_with_headers),
        };
        run(&Request { headers: &headers, body })
    }

    pub(crate) fn decide(&self) -> Decision {
        self.decide_at(&self.gate())
    }

    /// The decision of a gate that the test made itself. Each is taken twice more, with a cache that
    /// has seen what every other test asked: it must not change a thing.
    pub(crate) fn decide_at(&self, gate: &Gate) -> Decision {
        self.request(|request| {
            let decision = decide(request, gate, self.now);
            let mut cache = SEEN.lock().unwrap();
            for _ in 0..2 {
                assert_eq!(decide_with(request, gate, &mut cache, self.now), decision);
            }
            decision
        })
    }
}
