//! Root documents: made, signed by a threshold, and walked as a gate walks them.
//!
//! The document is the engine's [`Document`] in a DSSE JSON envelope. What is signed here is
//! checked by the engine's [`Trust`] before it is handed out, so a document that no gate would
//! take is never written.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::refusal::Refusal;
use gatepass_engine::root::{Document, MAX_DOCUMENT_LIFE, Pinned, Role, RoleKey, RootKeys, Trust};
use serde::{Deserialize, Serialize};

use crate::keys::{Signer, public_text};

/// What the plugin's configuration pins: the member `roots` there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedRoots {
    /// Base64url without padding, 32 bytes each.
    pub keys: Vec<String>,
    pub threshold: usize,
}

impl PinnedRoots {
    #[must_use]
    pub fn new(keys: &[[u8; 32]], threshold: usize) -> Self {
        Self { keys: keys.iter().map(public_text).collect(), threshold }
    }

    /// The root keys of an environment's first document: what its gates pin, to whoever keeps the documents
    /// and asks whether a gate would follow them.
    ///
    /// # Errors
    /// [`RootError::Refused`], [`RootError::Encoding`].
    pub fn of_first(envelope: &str) -> Result<Self, RootError> {
        let RootKeys { threshold, keys } = unverified_document(envelope)?.root;
        Ok(Self { keys, threshold })
    }

    /// The engine's form, for `environment`, from root version 1 on.
    ///
    /// # Errors
    /// [`RootError::Pinned`] for a key or threshold that cannot be used.
    pub fn pinned(&self, environment: &str) -> Result<Pinned, RootError> {
        Pinned::new(environment, &self.keys, self.threshold, 1).map_err(RootError::Pinned)
    }
}

/// The first document of an environment.
#[must_use]
pub fn first(
    environment: &str,
    roots: &PinnedRoots,
    keys: &[(Role, [u8; 32])],
    expires: UnixSeconds,
) -> Document {
    Document {
        environment: environment.to_owned(),
        version: 1,
        expires,
        root: RootKeys { threshold: roots.threshold, keys: roots.keys.clone() },
        keys: role_keys(keys),
        reset: false,
    }
}

/// The document after `previous`, with the same root keys; change what differs before signing.
#[must_use]
pub fn successor(previous: &Document, keys: &[(Role, [u8; 32])], expires: UnixSeconds) -> Document {
    Document {
        version: previous.version.saturating_add(1),
        expires,
        keys: role_keys(keys),
        reset: false,
        ..previous.clone()
    }
}

/// Signs a document with each of `signers` and returns the DSSE JSON envelope. A successor needs
/// the threshold of its predecessor and its own.
///
/// # Errors
/// [`RootError::LongLived`] when it lasts over [`MAX_DOCUMENT_LIFE`] from `now`.
pub fn sign(
    document: &Document,
    signers: &[&dyn Signer],
    now: UnixSeconds,
) -> Result<String, RootError> {
    if document.expires > now.plus(MAX_DOCUMENT_LIFE) {
        return Err(RootError::LongLived);
    }
    let payload = serde_json::to_vec(document).map_err(|_| RootError::Encoding)?;
    let envelope = Unverified::new(PayloadType::Root, payload);
    let signed = signers
        .iter()
        .fold(envelope, |envelope, signer| envelope.sign_with(|message| signer.sign(message)));
    Ok(signed.to_json())
}

/// Signs a grace document with each of `signers`: the threshold of the root in force must.
///
/// # Errors
/// [`RootError::Refused`] for one that no gate would take.
pub fn sign_grace(
    document: &gatepass_engine::grace::Document,
    signers: &[&dyn Signer],
) -> Result<String, RootError> {
    document.check()?;
    let payload = serde_json::to_vec(document).map_err(|_| RootError::Encoding)?;
    let envelope = Unverified::new(PayloadType::Grace, payload);
    let signed = signers
        .iter()
        .fold(envelope, |envelope, signer| envelope.sign_with(|message| signer.sign(message)));
    Ok(signed.to_json())
}

/// Walks a chain of envelopes from the pinned keys, as a gate does.
///
/// # Errors
/// [`RootError::Refused`] with the engine's refusal.
pub fn walk(pinned: Pinned, envelopes: &[String], now: UnixSeconds) -> Result<Trust, RootError> {
    let bytes: Vec<&[u8]> = envelopes.iter().map(String::as_bytes).collect();
    Ok(Trust::new(pinned).advance(&bytes, now)?)
}

/// The document inside an envelope, whoever signed it: for the next version and for `inspect`.
///
/// # Errors
/// [`RootError::Refused`], [`RootError::Encoding`].
pub fn unverified_document(envelope: &str) -> Result<Document, RootError> {
    let envelope = Unverified::from_json(envelope.as_bytes())?;
    gatepass_engine::json::from_slice(envelope.unverified_payload())
        .map_err(|_| RootError::Encoding)
}

fn role_keys(keys: &[(Role, [u8; 32])]) -> Vec<RoleKey> {
    keys.iter().map(|(role, public)| RoleKey { role: *role, public: public_text(public) }).collect()
}

/// Why a root document cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("the pinned roots cannot be used: {0}")]
    Pinned(String),
    #[error("a root document may last at most 366 days")]
    LongLived,
    #[error("the root document does not encode")]
    Encoding,
    #[error("no gate would take the root document: {0}")]
    Refused(#[from] Refusal),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32]).unwrap()
    }

    fn publics(seeds: &[u8]) -> Vec<[u8; 32]> {
        seeds.iter().map(|seed| key(*seed).public()).collect()
    }

    fn signed(document: &Document, by: &[u8]) -> String {
        let keys: Vec<SecretKey> = by.iter().map(|seed| key(*seed)).collect();
        let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
        sign(document, &signers, NOW).unwrap()
    }

    /// Root keys 1, 2, 3 with threshold 2; feed key 4; issuer key 5.
    fn chain(second: impl FnOnce(&mut Document), by: &[u8]) -> Result<u64, RootError> {
        let roots = PinnedRoots::new(&publics(&[1, 2, 3]), 2);
        let keys = [(Role::Feed, key(4).public()), (Role::Issuer, key(5).public())];
        let one = first("prod", &roots, &keys, NOW.plus(1000));
        let mut two = successor(&one, &keys, NOW.plus(2000));
        second(&mut two);
        let chain = [signed(&one, &[1, 3]), signed(&two, by)];
        walk(roots.pinned("prod")?, &chain, NOW).map(|trust| trust.version())
    }

    #[test]
    fn a_chain_signed_by_its_thresholds_is_walked() {
        assert_eq!(chain(|_| {}, &[1, 2]).unwrap(), 2);
        assert!(chain(|_| {}, &[1]).is_err(), "below the threshold");
        assert!(chain(|_| {}, &[1, 1]).is_err(), "one key twice");
        assert!(chain(|two| two.version = 3, &[1, 2]).is_err());
        assert!(chain(|two| two.environment = "dev".into(), &[1, 2]).is_err());
    }

    #[test]
    fn root_keys_change_by_the_old_and_the_new_threshold() {
        let rotate = |two: &mut Document| {
            two.root = RootKeys { threshold: 1, keys: vec![public_text(&key(9).public())] };
        };
        assert_eq!(chain(rotate, &[1, 2, 9]).unwrap(), 2);
        assert!(chain(rotate, &[9]).is_err());
        assert!(chain(rotate, &[1, 2]).is_err());
    }

    #[test]
    fn a_document_lasts_a_year_at_most() {
        let roots = PinnedRoots::new(&publics(&[1]), 1);
        let document = |life| first("prod", &roots, &[], NOW.plus(life));
        assert!(sign(&document(MAX_DOCUMENT_LIFE), &[&key(1)], NOW).is_ok());
        assert!(matches!(
            sign(&document(MAX_DOCUMENT_LIFE + 1), &[&key(1)], NOW),
            Err(RootError::LongLived)
        ));
    }
}
