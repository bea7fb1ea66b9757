//! What every target is made of: keys from seeds, an orders policy in force, a token that it
//! grants. Signed and checked by `ed25519-compact`, which shares no code with the verifier.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, PublicKey, Seed, Signature};
use gatepass_engine::batch::{Batch, Header, whole_digest};
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::gate::{Gate, Mode, Settings};
use gatepass_engine::keyring::{Algorithm, IssuerKey, IssuerKeys, KeyId};
use gatepass_engine::revocation::{Below, Change, HashKey, Kind, Revocation};
use gatepass_engine::root::{Document, Pinned, Role, RoleKey, RootKeys};
use serde::Serialize;
use serde_json::{Value, json};

/// The wall clock, in seconds.
pub const NOW: u64 = 1_800_000_000;
/// The monotonic clock, in milliseconds.
pub const MONOTONIC: u64 = 5_000_000;
pub const EPOCH: u64 = 7;
/// The sequence that gates are at and that tokens are issued at.
pub const AT: u64 = 50;

/// Seeds of the keys, by what they sign.
pub const ROOT: u8 = 1;
pub const FEED: u8 = 2;
pub const ISSUER: u8 = 3;
/// Named by no root document.
pub const STRANGER: u8 = 9;

pub const ISS: &str = "https://desk.example";
pub const AUDIENCE: &str = "https://orders.example";
pub const AGENT: &str = "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f";
pub const OWNER: &str = "user:corp/alice";

/// What the gates have revoked for good.
pub const REVOKED: [(Kind, &str); 6] = [
    (Kind::Credential, "jti-dead"),
    (Kind::Task, "task-dead"),
    (Kind::Subject, "user:corp/dead"),
    (Kind::Agent, "agent:00000000-0000-0000-0000-00000000dead"),
    (Kind::Owner, "user:corp/dead"),
    (Kind::Blueprint, "blueprint-dead"),
];

#[must_use]
pub const fn now() -> Now {
    Now { unix: UnixSeconds(NOW), monotonic: Milliseconds(MONOTONIC) }
}

#[must_use]
pub fn pair(seed: u8) -> KeyPair {
    let known = PAIRS.get(usize::from(seed).wrapping_sub(1)).cloned();
    known.unwrap_or_else(|| KeyPair::from_seed(Seed::new([seed; 32])))
}

/// Making a key takes as long as signing with it.
static PAIRS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
    (1..=STRANGER).map(|seed| KeyPair::from_seed(Seed::new([seed; 32]))).collect()
});

#[must_use]
pub fn public(seed: u8) -> [u8; 32] {
    *pair(seed).pk
}

/// Whether the key of this seed signed the message, as another implementation sees it.
#[must_use]
pub fn signed_by(seed: u8, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature)
        .is_ok_and(|signature| PublicKey::new(public(seed)).verify(message, &signature).is_ok())
}

#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Postcard, of what always encodes.
#[must_use]
pub fn postcard<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_default()
}

/// A root document that names [`FEED`] and [`ISSUER`], good for 30 days.
#[must_use]
pub fn document(version: u64) -> Document {
    let key = |role, seed| RoleKey { role, public: base64url(&public(seed)) };
    Document {
        environment: "prod".to_owned(),
        version,
        expires: UnixSeconds(NOW + 30 * 86_400),
        root: RootKeys { threshold: 1, keys: vec![base64url(&public(ROOT))] },
        keys: vec![key(Role::Feed, FEED), key(Role::Issuer, ISSUER)],
        reset: false,
    }
}

/// The root document's envelope, signed by the keys of these seeds.
#[must_use]
pub fn root(document: &[u8], signers: &[u8]) -> Vec<u8> {
    let envelope = Unverified::new(PayloadType::Root, document.to_vec());
    signed(envelope, signers).to_json().into_bytes()
}

/// Version 1, 2 or 3, as [`ROOT`] signs it.
#[must_use]
pub fn root_version(version: u64, reset: bool) -> Vec<u8> {
    let found = ROOTS.iter().find(|(v, r, _)| (*v, *r) == (version, reset));
    found.map(|(.., sealed)| sealed.clone()).unwrap_or_default()
}

/// Signing takes longer than most of what is fuzzed.
static ROOTS: LazyLock<Vec<(u64, bool, Vec<u8>)>> = LazyLock::new(|| {
    let versions = (1..4).flat_map(|version| [(version, false), (version, true)]);
    let sealed = |version, reset| {
        let document = Document { reset, ..document(version) };
        root(&serde_json::to_vec(&document).unwrap_or_default(), &[ROOT])
    };
    versions.map(|(version, reset)| (version, reset, sealed(version, reset))).collect()
});

/// A batch's envelope, signed by the key of this seed.
#[must_use]
pub fn seal(payload: &[u8], signer: u8) -> Vec<u8> {
    let envelope = Unverified::new(PayloadType::Batch, payload.to_vec());
    signed(envelope, &[signer]).to_postcard().unwrap_or_default()
}

fn signed(envelope: Unverified, signers: &[u8]) -> Unverified {
    signers.iter().fold(envelope, |envelope, seed| {
        envelope.sign_with(|message| *pair(*seed).sk.sign(message, None))
    })
}

/// A batch before it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    pub header: Header,
    pub revocations: Option<Vec<u8>>,
    pub keys: Option<Vec<u8>>,
    pub bundle: Option<Vec<u8>>,
}

impl Draft {
    /// Without changes; `from = to` is a checkpoint.
    #[must_use]
    pub fn delta(from: u64, to: u64) -> Self {
        Self {
            header: Header {
                environment: "prod".to_owned(),
                feed_audience: "fleet".to_owned(),
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
        }
    }

    /// A snapshot with no issuer keys, no revocation and an empty bundle.
    #[must_use]
    pub fn snapshot(to: u64) -> Self {
        let mut draft = Self::delta(0, to).revoking(&[]);
        draft.keys = Some(postcard(&IssuerKeys::default()));
        draft.bundle = Some(postcard(&Bundle::default()));
        draft
    }

    /// Of another epoch, and with its hash key.
    #[must_use]
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.header.epoch = epoch;
        self.header.hash_key_id = hash_key(epoch).id();
        if self.revocations.is_some() { self.revoking(&[]) } else { self }
    }

    #[must_use]
    pub fn revoking(mut self, revoked: &[(Kind, &str, Below)]) -> Self {
        let hasher = hash_key(self.header.epoch);
        let items: Vec<Revocation> = revoked
            .iter()
            .map(|(kind, id, below)| Revocation {
                kind: *kind,
                key: hasher.hash(*kind, id),
                below: *below,
                drop_after: UnixSeconds(NOW + 3_660),
            })
            .collect();
        let first = self.header.from == 0 && self.header.part == 0;
        self.revocations = Some(postcard(&Change {
            hash_key: first.then(|| hash_key_bytes(self.header.epoch)),
            total: u32::try_from(items.len()).unwrap_or(u32::MAX),
            items,
        }));
        self
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            header: self.header.clone(),
            revocations: self.revocations.as_deref(),
            keys: self.keys.as_deref(),
            bundle: self.bundle.as_deref(),
        }
    }

    /// With the digest of the whole, of which this is the only part.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.header.whole_digest = whole_digest(&[self.batch().digest()]);
        self
    }

    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        self.batch().encode().unwrap_or_default()
    }

    #[must_use]
    pub fn sealed(self) -> Vec<u8> {
        seal(&self.whole().payload(), FEED)
    }
}

/// The parts of one snapshot: the bundle's bytes are spread over them.
#[must_use]
pub fn in_parts(whole: &Draft, parts: u16) -> Vec<Vec<u8>> {
    let bundle = whole.bundle.clone().unwrap_or_default();
    let mut shares = bundle.chunks(bundle.len().div_ceil(usize::from(parts)).max(1));
    let mut drafts: Vec<Draft> = (0..parts)
        .map(|part| {
            let mut draft = whole.clone();
            (draft.header.part, draft.header.parts) = (part, parts);
            draft.keys = whole.keys.clone().filter(|_| part == 0);
            draft.bundle = shares.next().map(<[u8]>::to_vec);
            draft.revoking(&[])
        })
        .collect();
    let digests: Vec<[u8; 32]> = drafts.iter().map(|draft| draft.batch().digest()).collect();
    for draft in &mut drafts {
        draft.header.whole_digest = whole_digest(&digests);
    }
    drafts.iter().map(|draft| seal(&draft.payload(), FEED)).collect()
}

const fn hash_key_bytes(epoch: u64) -> [u8; 16] {
    [epoch as u8; 16]
}

#[must_use]
pub fn hash_key(epoch: u64) -> HashKey {
    HashKey::new("prod", &hash_key_bytes(epoch))
}

/// The policy of the demo and of most tests, as text.
pub const POLICY: &str = include_str!("../kit/orders.yaml");

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let compiled = gatepass_policy::compile(POLICY).map(|compiled| compiled.bundle);
    assert!(compiled.is_ok(), "the orders policy compiles: {compiled:?}");
    compiled.unwrap_or_default()
});

#[must_use]
pub fn bundle() -> &'static Bundle {
    &BUNDLE
}

/// The snapshot that [`gates`] have applied: the orders policy, [`ISSUER`] and [`REVOKED`].
#[must_use]
pub fn snapshot() -> Draft {
    let revoked: Vec<_> = REVOKED.iter().map(|(kind, id)| (*kind, *id, Below::Always)).collect();
    let mut draft = Draft::snapshot(AT).revoking(&revoked);
    draft.bundle = Some(postcard(bundle()));
    draft.keys = Some(postcard(&IssuerKeys {
        version: 1,
        keys: vec![IssuerKey {
            public: public(ISSUER),
            issuer: ISS.to_owned(),
            algorithm: Algorithm::EdDsa,
            not_before: UnixSeconds(NOW - 86_400),
            not_after: UnixSeconds(NOW + 86_400),
        }],
    }));
    draft
}

/// A gate that knows its pinned root key and nothing else.
#[must_use]
#[expect(clippy::expect_used, reason = "without a pinned key there is nothing to fuzz")]
pub fn bare_gate(mode: Mode) -> Gate {
    let pinned = Pinned::new("prod", &[base64url(&public(ROOT))], 1, 1);
    let settings =
        Settings { environment: "prod".to_owned(), feed_audience: "fleet".to_owned(), mode };
    // INVARIANT: the key is made from a seed and the threshold is 1.
    Gate::new(settings, pinned.expect("the pinned key is one"))
}

/// A gate with a root document in force that has heard nothing from the feed.
#[must_use]
pub fn gate(mode: Mode) -> Gate {
    let mut gate = bare_gate(mode);
    let taken = gate.take_roots(&[&root_version(1, false)], UnixSeconds(NOW));
    assert_eq!(taken, Ok(()));
    gate
}

/// Gates that are decided on; nothing changes them.
pub struct Gates {
    pub enforcing: Gate,
    pub shadow: Gate,
    /// Has heard nothing.
    pub silent: Gate,
}

static GATES: LazyLock<Gates> = LazyLock::new(|| {
    let heard = |mode| {
        let mut gate = gate(mode);
        let applied = gate.apply(&snapshot().sealed(), now().monotonic, now());
        assert!(applied.is_ok(), "the snapshot is applied: {applied:?}");
        gate
    };
    Gates {
        enforcing: heard(Mode::Enforce),
        shadow: heard(Mode::Shadow),
        silent: gate(Mode::Enforce),
    }
});

#[must_use]
pub fn gates() -> &'static Gates {
    &GATES
}

/// The claims of a token that grants every action of the orders policy.
#[must_use]
pub fn claims() -> Value {
    json!({
        "iss": ISS,
        "aud": [AUDIENCE],
        "iat": NOW - 20,
        "exp": NOW + 280,
        "jti": "jti-1",
        "seq": [EPOCH, AT],
        "sub": AGENT,
        "client_id": AGENT,
        "owner": OWNER,
        "blueprint": "buyer",
        "scope": "orders.write orders.read",
        "authorization_details": [{
            "type": "agent_action",
            "actions": ["orders:create", "orders:read", "orders:note", "orders:audit", "orders:wipe"],
        }],
        "txn": "task-1",
        "env": "prod",
        "assurance": "attested",
    })
}

/// A compact JWS over exactly these bytes.
#[must_use]
pub fn token(claims: &[u8], signer: u8) -> String {
    let header = json!({
        "alg": "EdDSA",
        "typ": "at+jwt",
        "kid": KeyId::of(&public(signer)).to_string(),
    });
    let input = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims));
    let signature = *pair(signer).sk.sign(input.as_bytes(), None);
    format!("{input}.{}", base64url(&signature))
}

static TOKEN: LazyLock<String> = LazyLock::new(|| token(claims().to_string().as_bytes(), ISSUER));

/// The token of [`claims`].
#[must_use]
pub fn good_token() -> &'static str {
    &TOKEN
}
