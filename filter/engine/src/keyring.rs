//! The issuer keys in force: which public key speaks for which issuer, and when.
//!
//! A `Keys` change gives issuer and window to keys that the root in force names. A key that it
//! does not name is refused, and one that a newer root no longer names is gone at once. The policy
//! bundle holds no keys, so a policy rollback cannot bring a dead key back.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::{Times, UnixSeconds};
use crate::ed25519::{BaseTable, FixedKey, PublicKey};
use crate::gatepass::{Speaker, Speakers};
use crate::ids::Uri;
use crate::refusal::{Refusal, RefusalCode};
use crate::root::Trust;

/// The `Keys` change of a batch: the whole list, replacing the one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerKeys {
    /// Rises with each change; an older list is refused.
    pub version: u64,
    pub keys: Vec<IssuerKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerKey {
    pub public: [u8; 32],
    pub issuer: String,
    pub algorithm: Algorithm,
    pub not_before: UnixSeconds,
    /// Exclusive.
    pub not_after: UnixSeconds,
}

/// The JOSE name that tokens of a key must carry; both mean Ed25519 (RFC 8037, RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    EdDsa,
    Ed25519,
}

impl Algorithm {
    /// Exactly the registered spelling; anything else is unsupported.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "EdDSA" => Some(Self::EdDsa),
            "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }
}

/// An RFC 7638 thumbprint with SHA-256: the `kid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// The thumbprint of an OKP key (RFC 8037 appendix A.3).
    #[must_use]
    pub fn of(public: &[u8; 32]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(public);
        let jwk = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}");
        Self(Sha256::digest(jwk.as_bytes()).into())
    }

    /// Reads the 43 characters of canonical base64url.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 43 {
            return None;
        }
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl core::fmt::Display for KeyId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// One key in force; it goes, with its table, when the last keyring that has it goes.
#[derive(Clone)]
pub struct Entry {
    pub id: KeyId,
    /// The id as tokens and revocations write it.
    name: String,
    pub issuer: String,
    pub algorithm: Algorithm,
    pub not_before: UnixSeconds,
    pub not_after: UnixSeconds,
    key: Arc<FixedKey>,
}

impl Entry {
    #[must_use]
    pub fn verifies(&self, base: &BaseTable, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verifies(base, message, signature)
    }

    #[must_use]
    pub fn in_window(&self, times: Times) -> bool {
        self.not_before <= times.begins && times.ends < self.not_after
    }
}

/// All issuer keys in force.
#[derive(Clone, Default)]
pub struct Keyring {
    version: u64,
    keys: Vec<Entry>,
}

impl Keyring {
    #[must_use]
    pub fn find(&self, id: &KeyId) -> Option<&Entry> {
        self.keys.iter().find(|entry| entry.id == *id)
    }

    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    #[must_use]
    pub fn keys(&self) -> &[Entry] {
        &self.keys
    }

    /// Checks a change without making the tables of new keys, which cost more than all else that a
    /// batch does.
    ///
    /// # Errors
    /// `rollback` for an older list, `poison` for a key that the root does not name, a weak key, a
    /// key twice, an issuer that is no URI, or too many keys.
    pub fn check(&self, change: IssuerKeys, trust: &Trust) -> Result<CheckedKeys, Refusal> {
        let poison = |at: usize, what: &str| {
            Refusal::new(RefusalCode::Poison, format!("issuer key {at}: {what}"))
        };
        if change.version < self.version {
            return Err(Refusal::new(
                RefusalCode::Rollback,
                format!("issuer keys {} are older than {}", change.version, self.version),
            ));
        }
        if change.keys.len() > MAX_ISSUER_KEYS {
            return Err(Refusal::new(
                RefusalCode::Poison,
                format!("more than {MAX_ISSUER_KEYS} issuer keys"),
            ));
        }
        let mut keys: Vec<(KeyId, PublicKey, IssuerKey)> = Vec::with_capacity(change.keys.len());
        for (at, new) in change.keys.into_iter().enumerate() {
            if !trust.names_issuer(&new.public) {
                return Err(poison(at, "the root in force does not name it"));
            }
            if Uri::parse(&new.issuer).is_none() {
                return Err(poison(at, "the issuer is not an absolute URI"));
            }
            let id = KeyId::of(&new.public);
            if keys.iter().any(|(known, ..)| *known == id) {
                return Err(poison(at, "occurs twice"));
            }
            let public =
                PublicKey::from_bytes(&new.public).map_err(|e| poison(at, &e.to_string()))?;
            keys.push((id, public, new));
        }
        Ok(CheckedKeys { version: change.version, keys })
    }

    /// The keyring after a change. Tables of keys that stay are kept.
    #[must_use]
    pub fn changed(&self, change: CheckedKeys) -> Self {
        let entry = |(id, public, new): (KeyId, PublicKey, IssuerKey)| Entry {
            id,
            name: id.to_string(),
            issuer: new.issuer,
            algorithm: new.algorithm,
            not_before: new.not_before,
            not_after: new.not_after,
            key: match self.find(&id) {
                Some(entry) => Arc::clone(&entry.key),
                None => Arc::new(FixedKey::unprepared(public)),
            },
        };
        Self { version: change.version, keys: change.keys.into_iter().map(entry).collect() }
    }

    /// Makes the table of one key that has none yet. False when all have theirs.
    pub fn prepare(&self) -> bool {
        self.keys.iter().any(|entry| entry.key.prepare())
    }

    /// The same keys, and any list may follow: after a reset the version may be lower.
    #[must_use]
    pub fn reset(&self) -> Self {
        Self { version: 0, keys: self.keys.clone() }
    }

    /// Without the keys that `trust` does not name.
    #[must_use]
    pub fn under(&self, trust: &Trust) -> Self {
        let keys = self
            .keys
            .iter()
            .filter(|entry| trust.names_issuer(entry.key.public().as_bytes()))
            .cloned()
            .collect();
        Self { version: self.version, keys }
    }
}

/// The keys in force at one moment, with the tables that verify.
pub struct Speaking<'g> {
    pub keyring: &'g Keyring,
    pub base: &'g BaseTable,
    pub times: Times,
}

impl Speakers for Speaking<'_> {
    fn find(&self, key: &KeyId) -> Option<Speaker<'_>> {
        self.keyring.find(key).map(|key| Speaker {
            algorithm: key.algorithm,
            name: Cow::Borrowed(&key.name),
            issuer: &key.issuer,
            in_window: key.in_window(self.times),
        })
    }

    fn verifies(&self, key: &KeyId, message: &[u8], signature: &[u8; 64]) -> bool {
        self.keyring.find(key).is_some_and(|key| key.verifies(self.base, message, signature))
    }
}

/// A list of keys that the caller trusts, at one moment: for whoever checks few gatepasses, without
/// tables.
pub struct Listed<'k> {
    pub keys: &'k [IssuerKey],
    pub now: UnixSeconds,
}

impl Listed<'_> {
    fn key(&self, id: &KeyId) -> Option<&IssuerKey> {
        self.keys.iter().find(|key| KeyId::of(&key.public) == *id)
    }
}

impl Speakers for Listed<'_> {
    fn find(&self, key: &KeyId) -> Option<Speaker<'_>> {
        self.key(key).map(|found| Speaker {
            algorithm: found.algorithm,
            name: Cow::Owned(key.to_string()),
            issuer: &found.issuer,
            in_window: found.not_before <= self.now && self.now < found.not_after,
        })
    }

    fn verifies(&self, key: &KeyId, message: &[u8], signature: &[u8; 64]) -> bool {
        let public = self.key(key).and_then(|key| PublicKey::from_bytes(&key.public).ok());
        public.is_some_and(|public| public.verifies(message, signature))
    }
}

/// A change of the issuer keys that a keyring has found good; only [`Keyring::check`] makes one.
pub struct CheckedKeys {
    version: u64,
    keys: Vec<(KeyId, PublicKey, IssuerKey)>,
}

/// Issuer keys in force at once; each costs a table of 452 KiB in every VM.
pub const MAX_ISSUER_KEYS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{ISSUER, OTHER_ISSUER, issuer_key, public};

    fn listing(seeds: &[u8]) -> CheckedKeys {
        let checked = |seed: &u8| {
            let bytes = public(*seed);
            (KeyId::of(&bytes), PublicKey::from_bytes(&bytes).unwrap(), issuer_key(*seed))
        };
        CheckedKeys { version: 1, keys: seeds.iter().map(checked).collect() }
    }

    #[test]
    fn a_key_that_stays_keeps_its_table_and_one_that_ends_gives_it_back() {
        let both = Keyring::default().changed(listing(&[ISSUER, OTHER_ISSUER]));
        assert!(both.prepare() && both.prepare(), "one at a time");
        assert!(!both.prepare());
        let tables: Vec<_> = both.keys.iter().map(|entry| Arc::downgrade(&entry.key)).collect();
        let one = both.changed(listing(&[ISSUER]));
        assert!(!one.prepare(), "made before");
        drop(both);
        let left: Vec<bool> = tables.iter().map(|table| table.upgrade().is_some()).collect();
        assert_eq!(left, [true, false]);
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        let public: [u8; 32] = URL_SAFE_NO_PAD
            .decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(KeyId::of(&public).to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_id_has_one_spelling() {
        let good = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        assert!(KeyId::parse(good).is_some());
        // The last character carries two unused bits: another spelling of the same bytes.
        for bad in [
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4l",
            "",
            "../../key",
            good.strip_prefix('k').unwrap(),
        ] {
            assert!(KeyId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn algorithm_names_are_exact() {
        assert_eq!(Algorithm::parse("EdDSA"), Some(Algorithm::EdDsa));
        assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::Ed25519));
        for bad in ["none", "None", "NONE", "HS256", "ES256", "eddsa", "EDDSA", "ed25519", ""] {
            assert_eq!(Algorithm::parse(bad), None, "{bad}");
        }
    }
}
