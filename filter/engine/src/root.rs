//! Root documents: which keys are believed for which role, and how that changes.
//!
//! The root public keys are pinned in the plugin's configuration and never lie in the control
//! plane's data directory. Documents are walked one version at a time (the lesson of TUF, section
//! 5.3): each is signed by a threshold of the one before and of its own, so a stolen feed key
//! cannot make itself permanent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::{MAX_CLOCK_SKEW, UnixSeconds};
use crate::ed25519::PublicKey;
use crate::envelope::{PayloadType, Unverified};
use crate::keyring::KeyId;
use crate::refusal::{Refusal, RefusalCode};

/// What a key may sign. One key has one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Feed,
    Issuer,
    Receipt,
    Audit,
    Redeem,
}

/// The document's JSON, payload type `application/vnd.gatepass.root.v1+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub environment: String,
    /// From 1; each document is exactly one above the one before.
    pub version: u64,
    pub expires: UnixSeconds,
    /// The root keys and how many of them must sign the next document.
    pub root: RootKeys,
    pub keys: Vec<RoleKey>,
    /// Lets the first batch after it carry a lower position: undoes a fast-forward by a stolen
    /// feed key.
    #[serde(default)]
    pub reset: bool,
}

/// Root public keys (base64url without padding, 32 bytes each) and their threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootKeys {
    pub threshold: usize,
    pub keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleKey {
    pub role: Role,
    /// Base64url without padding, 32 bytes.
    pub public: String,
}

/// The pinned start of all trust, from the plugin's configuration.
#[derive(Clone, Debug)]
pub struct Pinned {
    pub environment: String,
    pub keys: Vec<PublicKey>,
    pub threshold: usize,
    pub min_root_version: u64,
}

impl Pinned {
    /// # Errors
    /// Names the key or number that cannot be used.
    pub fn new(
        environment: &str,
        keys: &[String],
        threshold: usize,
        min_root_version: u64,
    ) -> Result<Self, String> {
        let keys = root_keys(keys, threshold)?;
        Ok(Self { environment: environment.to_owned(), keys, threshold, min_root_version })
    }
}

/// The root in force: only [`Trust::advance`] makes a new one.
#[derive(Clone, Debug)]
pub struct Trust {
    pinned: Pinned,
    in_force: Option<InForce>,
}

#[derive(Clone, Debug)]
struct InForce {
    version: u64,
    expires: UnixSeconds,
    root_keys: Vec<PublicKey>,
    threshold: usize,
    feed: Vec<PublicKey>,
    issuer: Vec<PublicKey>,
    redeem: Vec<PublicKey>,
    last_reset: u64,
}

impl Trust {
    #[must_use]
    pub const fn new(pinned: Pinned) -> Self {
        Self { pinned, in_force: None }
    }

    /// The same pins, before the first document.
    #[must_use]
    pub fn from_pinned(&self) -> Self {
        Self::new(self.pinned.clone())
    }

    /// The version in force; 0 before the first document.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.in_force.as_ref().map_or(0, |root| root.version)
    }

    /// The root keys and how many of them must sign; none, and then nothing is signed well enough,
    /// before the first document.
    #[must_use]
    pub fn root_keys(&self) -> (&[PublicKey], usize) {
        self.in_force
            .as_ref()
            .map_or((&[], usize::MAX), |root| (root.root_keys.as_slice(), root.threshold))
    }

    /// The keys that may sign batches; none before the first document.
    #[must_use]
    pub fn feed_keys(&self) -> &[PublicKey] {
        self.in_force.as_ref().map_or(&[], |root| root.feed.as_slice())
    }

    /// The keys that may sign verdicts; none before the first document.
    #[must_use]
    pub fn redeem_keys(&self) -> &[PublicKey] {
        self.in_force.as_ref().map_or(&[], |root| root.redeem.as_slice())
    }

    /// Whether the root in force names this key as an issuer's.
    #[must_use]
    pub fn names_issuer(&self, public: &[u8; 32]) -> bool {
        self.in_force
            .as_ref()
            .is_some_and(|root| root.issuer.iter().any(|key| key.as_bytes() == public))
    }

    /// The ids of all issuer keys that the root in force names.
    pub fn issuer_key_ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.in_force
            .iter()
            .flat_map(|root| root.issuer.iter().map(|key| KeyId::of(key.as_bytes())))
    }

    /// The newest version that allowed a lower position after it; 0 when none did.
    #[must_use]
    pub fn last_reset(&self) -> u64 {
        self.in_force.as_ref().map_or(0, |root| root.last_reset)
    }

    /// When the root in force ends; `None` before the first document.
    #[must_use]
    pub fn expires(&self) -> Option<UnixSeconds> {
        self.in_force.as_ref().map(|root| root.expires)
    }

    /// Walks `envelopes` (DSSE JSON, in order) from the root in force, or from the pinned keys.
    /// Documents that are not newer are passed over. Those in between may have expired, the last
    /// must not. `self` is untouched: the caller puts the answer in force when the batch that came
    /// with it is believed too.
    ///
    /// # Errors
    /// `bad_signature` below the threshold of the old or the new root, `gap` when a version is
    /// left out, `rollback` below the pinned `min_root_version`, `expired`, `wrong_environment`,
    /// `poison`.
    pub fn advance(&self, envelopes: &[&[u8]], now: UnixSeconds) -> Result<Self, Refusal> {
        if envelopes.len() > MAX_DOCUMENTS {
            return Err(Refusal::new(RefusalCode::Poison, "too many root documents"));
        }
        let mut next = self.clone();
        let mut told = 0;
        for bytes in envelopes {
            let version = next.step(bytes)?;
            if version <= told {
                return Err(Refusal::new(RefusalCode::Gap, "root versions do not rise"));
            }
            told = version;
        }
        let Some(last) = &next.in_force else {
            return Err(Refusal::new(RefusalCode::Gap, "no root document"));
        };
        if last.version < next.pinned.min_root_version {
            return Err(Refusal::new(
                RefusalCode::Rollback,
                format!(
                    "root {} is below `min_root_version` {}",
                    last.version, next.pinned.min_root_version
                ),
            ));
        }
        // Its signer's clock may be ahead of ours, as with all that is dated.
        if last.expires > now.plus(MAX_DOCUMENT_LIFE).plus(MAX_CLOCK_SKEW) {
            return Err(Refusal::new(
                RefusalCode::Poison,
                format!("root {} lives longer than a year", last.version),
            ));
        }
        if last.expires <= now {
            return Err(Refusal::new(
                RefusalCode::Expired,
                format!("root {} has expired", last.version),
            ));
        }
        Ok(next)
    }

    /// The version of the document that it looked at.
    fn step(&mut self, bytes: &[u8]) -> Result<u64, Refusal> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(Refusal::new(RefusalCode::Poison, "a root document is too large"));
        }
        let envelope = Unverified::from_json(bytes)?;
        let document: Document = crate::json::from_slice(envelope.unverified_payload())
            .map_err(|e| Refusal::new(RefusalCode::Poison, format!("root document: {e}")))?;
        let (old_keys, old_threshold) = match &self.in_force {
            Some(root) if document.version <= root.version => return Ok(document.version),
            Some(root) if Some(document.version) != root.version.checked_add(1) => {
                return Err(Refusal::new(
                    RefusalCode::Gap,
                    format!("root {} does not follow root {}", document.version, root.version),
                ));
            }
            Some(root) => (root.root_keys.as_slice(), root.threshold),
            None => (self.pinned.keys.as_slice(), self.pinned.threshold),
        };
        envelope.require(PayloadType::Root, old_keys, old_threshold)?;
        let mut new = InForce::check(&document, &self.pinned.environment)?;
        new.last_reset = match document.reset {
            true => document.version,
            false => self.last_reset(),
        };
        envelope.require(PayloadType::Root, &new.root_keys, new.threshold)?;
        self.in_force = Some(new);
        Ok(document.version)
    }
}

impl InForce {
    fn check(document: &Document, environment: &str) -> Result<Self, Refusal> {
        let poison = |detail: String| Refusal::new(RefusalCode::Poison, detail);
        if document.environment != environment {
            return Err(Refusal::new(
                RefusalCode::WrongEnvironment,
                format!("the root is of environment `{}`", document.environment),
            ));
        }
        if document.version == 0 {
            return Err(poison("root versions start at 1".to_owned()));
        }
        let root_keys = root_keys(&document.root.keys, document.root.threshold).map_err(poison)?;
        if document.keys.len() > MAX_ROLE_KEYS {
            return Err(poison("the root names too many keys".to_owned()));
        }
        let mut seen: Vec<[u8; 32]> = root_keys.iter().map(|key| *key.as_bytes()).collect();
        let (mut feed, mut issuer, mut redeem) = (Vec::new(), Vec::new(), Vec::new());
        for (at, key) in document.keys.iter().enumerate() {
            let public = public_key(&key.public).map_err(|e| poison(format!("keys[{at}]: {e}")))?;
            if seen.contains(public.as_bytes()) {
                return Err(poison(format!("keys[{at}] has a second role")));
            }
            seen.push(*public.as_bytes());
            match key.role {
                Role::Feed => feed.push(public),
                Role::Issuer => issuer.push(public),
                Role::Redeem => redeem.push(public),
                Role::Receipt | Role::Audit => {}
            }
        }
        Ok(Self {
            version: document.version,
            expires: document.expires,
            root_keys,
            threshold: document.root.threshold,
            feed,
            issuer,
            redeem,
            last_reset: 0,
        })
    }
}

/// Reads one public key in base64url without padding.
///
/// # Errors
/// Says what is wrong with it.
pub fn public_key(text: &str) -> Result<PublicKey, String> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "expected an Ed25519 public key in base64url without padding".to_owned())?;
    PublicKey::from_bytes(&bytes).map_err(|e| e.to_string())
}

fn root_keys(keys: &[String], threshold: usize) -> Result<Vec<PublicKey>, String> {
    let mut out: Vec<PublicKey> = Vec::with_capacity(keys.len().min(MAX_ROOT_KEYS));
    if keys.len() > MAX_ROOT_KEYS {
        return Err(format!("at most {MAX_ROOT_KEYS} root keys"));
    }
    for (at, key) in keys.iter().enumerate() {
        let public = public_key(key).map_err(|e| format!("root key {at}: {e}"))?;
        if out.contains(&public) {
            return Err(format!("root key {at} occurs twice"));
        }
        out.push(public);
    }
    if threshold == 0 || threshold > out.len() {
        return Err(format!("a threshold of {threshold} needs 1 to {} root keys", out.len()));
    }
    Ok(out)
}

/// Root keys of one document.
const MAX_ROOT_KEYS: usize = 8;
/// Keys of all roles of one document.
const MAX_ROLE_KEYS: usize = 64;
/// Bytes of one document's envelope.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// Documents walked at once.
pub const MAX_DOCUMENTS: usize = 64;
/// The longest life of a document that a control plane may sign, in seconds.
pub const MAX_DOCUMENT_LIFE: u64 = 366 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_compact::{KeyPair, Seed};

    fn pair(seed: u8) -> KeyPair {
        KeyPair::from_seed(Seed::new([seed; 32]))
    }

    fn text(seed: u8) -> String {
        URL_SAFE_NO_PAD.encode(*pair(seed).pk)
    }

    fn document(version: u64, roots: &[u8], threshold: usize) -> Document {
        Document {
            environment: "prod".into(),
            version,
            expires: UnixSeconds(1000),
            root: RootKeys { threshold, keys: roots.iter().map(|s| text(*s)).collect() },
            keys: vec![
                RoleKey { role: Role::Feed, public: text(100) },
                RoleKey { role: Role::Issuer, public: text(101) },
            ],
            reset: false,
        }
    }

    fn sign(document: &Document, by: &[u8]) -> String {
        let payload = serde_json::to_vec(document).unwrap();
        by.iter()
            .fold(Unverified::new(PayloadType::Root, payload), |envelope, seed| {
                envelope.sign_with(|m| *pair(*seed).sk.sign(m, None))
            })
            .to_json()
    }

    fn walk(
        pinned: &[u8],
        threshold: usize,
        docs: &[String],
        now: u64,
    ) -> Result<u64, RefusalCode> {
        let keys: Vec<String> = pinned.iter().map(|s| text(*s)).collect();
        let trust = Trust::new(Pinned::new("prod", &keys, threshold, 1).unwrap());
        let bytes: Vec<&[u8]> = docs.iter().map(|d| d.as_bytes()).collect();
        trust.advance(&bytes, UnixSeconds(now)).map(|t| t.version()).map_err(|r| r.code)
    }

    #[test]
    fn a_chain_is_walked_one_version_at_a_time() {
        let v1 = sign(&document(1, &[1], 1), &[1]);
        let v2 = sign(&document(2, &[2], 1), &[1, 2]);
        let v3 = sign(&document(3, &[3], 1), &[2, 3]);
        assert_eq!(walk(&[1], 1, &[v1.clone(), v2.clone(), v3.clone()], 1), Ok(3));
        let twice = [v1.clone(), v1.clone(), v2.clone()];
        assert_eq!(walk(&[1], 1, &twice, 1), Err(RefusalCode::Gap), "no list is padded");
        assert_eq!(walk(&[1], 1, &[v1.clone(), v3], 1), Err(RefusalCode::Gap));
        assert_eq!(walk(&[9], 1, std::slice::from_ref(&v1), 1), Err(RefusalCode::BadSignature));
        assert_eq!(walk(&[1], 1, &[], 1), Err(RefusalCode::Gap));
        assert_eq!(walk(&[1], 1, std::slice::from_ref(&v1), 1000), Err(RefusalCode::Expired));
        let by_new_only = sign(&document(2, &[2], 1), &[2]);
        assert_eq!(walk(&[1], 1, &[v1.clone(), by_new_only], 1), Err(RefusalCode::BadSignature));
        let by_old_only = sign(&document(2, &[2], 1), &[1]);
        assert_eq!(walk(&[1], 1, &[v1, by_old_only], 1), Err(RefusalCode::BadSignature));
    }

    #[test]
    fn one_in_between_may_have_expired_and_the_last_may_not() {
        let mut old = document(1, &[1], 1);
        old.expires = UnixSeconds(10);
        let v1 = sign(&old, &[1]);
        let v2 = sign(&document(2, &[1], 1), &[1]);
        assert_eq!(walk(&[1], 1, &[v1.clone(), v2], 500), Ok(2));
        assert_eq!(walk(&[1], 1, &[v1], 500), Err(RefusalCode::Expired));
    }

    #[test]
    fn a_document_lasts_a_year_by_a_clock_that_may_be_ahead_of_ours() {
        let lasting = |seconds: u64| {
            let mut long = document(1, &[1], 1);
            long.expires = UnixSeconds(500 + seconds);
            walk(&[1], 1, &[sign(&long, &[1])], 500)
        };
        assert_eq!(lasting(MAX_DOCUMENT_LIFE + MAX_CLOCK_SKEW), Ok(1));
        assert_eq!(lasting(MAX_DOCUMENT_LIFE + MAX_CLOCK_SKEW + 1), Err(RefusalCode::Poison));
    }

    #[test]
    fn a_threshold_needs_distinct_keys() {
        let doc = document(1, &[1, 2], 2);
        assert_eq!(walk(&[1, 2], 2, &[sign(&doc, &[1, 2])], 1), Ok(1));
        assert_eq!(walk(&[1, 2], 2, &[sign(&doc, &[1, 1])], 1), Err(RefusalCode::BadSignature));
        assert_eq!(walk(&[1, 2], 2, &[sign(&doc, &[1])], 1), Err(RefusalCode::BadSignature));
    }

    #[test]
    fn a_document_of_another_environment_or_with_a_key_of_two_roles_is_refused() {
        let mut dev = document(1, &[1], 1);
        dev.environment = "dev".into();
        assert_eq!(walk(&[1], 1, &[sign(&dev, &[1])], 1), Err(RefusalCode::WrongEnvironment));
        let mut twice = document(1, &[1], 1);
        twice.keys.push(RoleKey { role: Role::Audit, public: text(100) });
        assert_eq!(walk(&[1], 1, &[sign(&twice, &[1])], 1), Err(RefusalCode::Poison));
        let mut root_as_feed = document(1, &[1], 1);
        root_as_feed.keys.push(RoleKey { role: Role::Feed, public: text(1) });
        assert_eq!(walk(&[1], 1, &[sign(&root_as_feed, &[1])], 1), Err(RefusalCode::Poison));
    }
}
