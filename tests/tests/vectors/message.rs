//! Root documents and batches that are right until a case changes one thing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass_engine::batch::{Batch, Feed, Header, whole_digest};
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{PayloadType, pre_authentication_encoding};
use gatepass_engine::keyring::{Algorithm, IssuerKey, IssuerKeys};
use gatepass_engine::revocation::{Below, Change, HashKey, Kind, Revocation};
use gatepass_engine::root::{Document, Role, RoleKey, RootKeys};
use serde_json::json;

use crate::keys::{FEED, ISSUER, OTHER_ISSUER, ROOT, Seed, b64, public, sign};
use crate::policy;

pub(crate) const ENVIRONMENT: &str = "prod";
/// The feed audience of the files.
pub(crate) const FLEET: &str = "fleet";
pub(crate) const ISS: &str = "https://desk.example";
pub(crate) const EPOCH: u64 = 7;
/// The sequence that the gate is at and that gatepasses are issued at.
pub(crate) const AT: u64 = 50;

/// A root document and who signs it.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) document: Document,
    pub(crate) signers: Vec<Seed>,
    pub(crate) payload_type: &'static str,
    /// Replaces the document's JSON.
    pub(crate) payload: Option<Vec<u8>>,
    /// Changes the envelope's text.
    pub(crate) spoil: Option<fn(String) -> String>,
}

impl Root {
    /// Signed by [`ROOT`]; names [`FEED`], [`ISSUER`] and [`OTHER_ISSUER`]; good for 30 days.
    pub(crate) fn version(version: u64, now: u64) -> Self {
        let key = |role, seed| RoleKey { role, public: b64(public(seed)) };
        Self {
            document: Document {
                environment: ENVIRONMENT.into(),
                version,
                expires: UnixSeconds(now + 30 * 86_400),
                root: RootKeys { threshold: 1, keys: vec![b64(public(ROOT))] },
                keys: vec![
                    key(Role::Feed, FEED),
                    key(Role::Issuer, ISSUER),
                    key(Role::Issuer, OTHER_ISSUER),
                ],
                reset: false,
            },
            signers: vec![ROOT],
            payload_type: PayloadType::Root.as_str(),
            payload: None,
            spoil: None,
        }
    }

    pub(crate) fn sealed(&self) -> Vec<u8> {
        let payload = match &self.payload {
            Some(payload) => payload.clone(),
            None => serde_json::to_vec(&self.document).unwrap(),
        };
        let text = json_envelope(self.payload_type, &payload, &self.signers);
        match self.spoil {
            Some(spoil) => spoil(text),
            None => text,
        }
        .into_bytes()
    }
}

/// A batch; [`Message::sealed`] signs it.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) header: Header,
    pub(crate) revocations: Option<Vec<u8>>,
    pub(crate) keys: Option<Vec<u8>>,
    pub(crate) bundle: Option<Vec<u8>>,
    pub(crate) signers: Vec<Seed>,
    pub(crate) payload_type: &'static str,
    /// Keep the header's `whole_digest` instead of computing it.
    pub(crate) keeps_digest: bool,
    /// Changes the payload before it is signed.
    pub(crate) garble: Option<fn(Vec<u8>) -> Vec<u8>>,
    /// Changes the envelope's bytes.
    pub(crate) spoil: Option<fn(Vec<u8>) -> Vec<u8>>,
}

impl Message {
    /// A full snapshot with issuer keys, the policy, and no revocation.
    pub(crate) fn snapshot(to: u64, audience: &str, now: u64) -> Self {
        let mut message = Self::delta(0, to, audience, now);
        message.keys = Some(encoded(&issuer_keys(now)));
        message.bundle = Some(encoded(&policy::bundle()));
        message.revoking(&[], now)
    }

    /// A delta without changes.
    pub(crate) fn delta(from: u64, to: u64, audience: &str, now: u64) -> Self {
        Self {
            header: Header {
                environment: ENVIRONMENT.into(),
                feed_audience: audience.into(),
                root_version: 1,
                epoch: EPOCH,
                from,
                to,
                part: 0,
                parts: 1,
                whole_digest: [0; 32],
                hash_key_id: hash_key(EPOCH).id(),
                issued_at: UnixSeconds(now),
                expires_at: UnixSeconds(now + 86_400),
                min_filter: 1,
                audit_head: None,
            },
            revocations: None,
            keys: None,
            bundle: None,
            signers: vec![FEED],
            payload_type: PayloadType::Batch.as_str(),
            keeps_digest: false,
            garble: None,
            spoil: None,
        }
    }

    pub(crate) fn checkpoint(at: u64, audience: &str, now: u64) -> Self {
        Self::delta(at, at, audience, now)
    }

    /// Of another epoch. Call it before [`Message::revoking`]: each epoch has its own hash key.
    pub(crate) fn epoch(mut self, epoch: u64, now: u64) -> Self {
        self.header.epoch = epoch;
        self.header.hash_key_id = hash_key(epoch).id();
        if self.header.from == 0 { self.revoking(&[], now) } else { self }
    }

    /// States these revocations, and in a snapshot's first part the epoch's hash key.
    pub(crate) fn revoking(self, revoked: &[(Kind, &str, Below)], now: u64) -> Self {
        let hasher = hash_key(self.header.epoch);
        let items = revoked.iter().map(|(kind, id, below)| Revocation {
            kind: *kind,
            key: hasher.hash(*kind, id),
            below: *below,
            drop_after: UnixSeconds(now + 4000),
        });
        let items = items.collect();
        self.revoking_items(items)
    }

    pub(crate) fn revoking_items(mut self, items: Vec<Revocation>) -> Self {
        let first = self.header.from == 0 && self.header.part == 0;
        self.revocations = Some(encoded(&Change {
            hash_key: first.then(|| hash_key_bytes(self.header.epoch)),
            total: u32::try_from(items.len()).unwrap(),
            items,
        }));
        self
    }

    pub(crate) fn bundle(mut self, bundle: &Bundle) -> Self {
        self.bundle = Some(encoded(bundle));
        self
    }

    pub(crate) fn keys(mut self, version: u64, keys: Vec<IssuerKey>) -> Self {
        self.keys = Some(encoded(&IssuerKeys { version, keys }));
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

    pub(crate) fn sealed(&self) -> Vec<u8> {
        let mut payload = self.batch().encode().unwrap();
        if let Some(garble) = self.garble {
            payload = garble(payload);
        }
        let sealed = encoded(&(
            self.payload_type,
            payload.as_slice(),
            signatures(self.payload_type, &payload, &self.signers),
        ));
        match self.spoil {
            Some(spoil) => spoil(sealed),
            None => sealed,
        }
    }

    /// The snapshot in parts: keys in the first, a share of the bundle's bytes and of `revoked` in
    /// each.
    pub(crate) fn in_parts(
        &self,
        parts: u16,
        revoked: &[(Kind, &str, Below)],
        now: u64,
    ) -> Vec<Self> {
        let count = usize::from(parts);
        let bundle = self.bundle.clone().unwrap_or_default();
        let size = bundle.len().div_ceil(count).max(1);
        let mut shares = bundle.chunks(size);
        let mut lists = revoked.chunks(revoked.len().div_ceil(count).max(1));
        let mut all: Vec<Self> = (0..parts)
            .map(|part| {
                let mut message = self.clone();
                message.keeps_digest = true;
                (message.header.part, message.header.parts) = (part, parts);
                message.keys = self.keys.clone().filter(|_| part == 0);
                message.bundle = shares.next().map(<[u8]>::to_vec);
                message.revoking(lists.next().unwrap_or_default(), now)
            })
            .collect();
        let digests: Vec<_> = all.iter().map(|part| part.batch().digest()).collect();
        for part in &mut all {
            part.header.whole_digest = whole_digest(&digests);
        }
        all
    }
}

/// A feed answer.
pub(crate) fn answer(roots: &[Vec<u8>], batches: &[Vec<u8>]) -> Vec<u8> {
    let feed = Feed {
        roots: roots.iter().map(Vec::as_slice).collect(),
        batches: batches.iter().map(Vec::as_slice).collect(),
    };
    feed.encode().unwrap()
}

/// The JSON form of DSSE; the other one is these three members in postcard.
fn json_envelope(payload_type: &str, payload: &[u8], signers: &[Seed]) -> String {
    let signatures = signatures(payload_type, payload, signers);
    let signatures = signatures.iter().map(|sig| json!({"keyid": "", "sig": STANDARD.encode(sig)}));
    json!({
        "payloadType": payload_type,
        "payload": STANDARD.encode(payload),
        "signatures": signatures.collect::<Vec<_>>(),
    })
    .to_string()
}

fn signatures(payload_type: &str, payload: &[u8], signers: &[Seed]) -> Vec<Vec<u8>> {
    let message = pre_authentication_encoding(payload_type, payload);
    signers.iter().map(|seed| sign(*seed, &message).to_vec()).collect()
}

pub(crate) fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

pub(crate) fn hash_key(epoch: u64) -> HashKey {
    HashKey::new(ENVIRONMENT, &hash_key_bytes(epoch))
}

fn hash_key_bytes(epoch: u64) -> [u8; 16] {
    [epoch.to_le_bytes()[0]; 16]
}

pub(crate) fn issuer_keys(now: u64) -> IssuerKeys {
    IssuerKeys { version: 1, keys: vec![issuer_key(ISSUER, now)] }
}

/// As it is registered: for a day before and after.
pub(crate) fn issuer_key(seed: Seed, now: u64) -> IssuerKey {
    IssuerKey {
        public: public(seed),
        issuer: ISS.into(),
        algorithm: Algorithm::EdDsa,
        not_before: UnixSeconds(now - 86_400),
        not_after: UnixSeconds(now + 86_400),
    }
}
