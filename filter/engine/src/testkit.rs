//! What the tests of this crate are made of: keys, roots, batches, gatepasses, and a [`Scene`] in
//! which everything is right until a test changes one thing.
//!
//! It signs with `ed25519-compact`, which shares no code with the verifier. A test that
//! needs a key or a batch finds it here, and a gatepass or a request in [`scene`].

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

mod scene;

pub(crate) use scene::*;

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
        budgets: vec![],
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
        groups: vec![],
    }
}

/// A document of JSON made of these leaves and names, nested no deeper than six.
pub(crate) fn json_text(dice: &mut Dice, leaves: &[&str], names: &[&str]) -> String {
    fn grow(dice: &mut Dice, leaves: &[&str], names: &[&str], depth: usize, out: &mut String) {
        let kind = dice.roll(if depth > 4 { 1 } else { 3 });
        let (open, close) = match kind {
            0 => return out.push_str(leaves[dice.roll(leaves.len())]),
            1 => ('[', ']'),
            _ => ('{', '}'),
        };
        out.push(open);
        for at in 0..dice.roll(4) {
            if at > 0 {
                out.push(',');
            }
            if open == '{' {
                out.push_str(names[dice.roll(names.len())]);
                out.push(':');
            }
            grow(dice, leaves, names, depth + 1, out);
        }
        out.push(close);
    }
    let mut out = String::new();
    grow(dice, leaves, names, 0, &mut out);
    out
}
