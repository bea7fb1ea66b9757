//! Keys from seeds, and what is signed with them: the same bytes in every run.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass::keys::{SecretKey, Signer as _};
use gatepass_engine::keyring::KeyId;
use sha2::{Digest as _, Sha512};

/// A key's seed is 32 bytes of this value.
pub(crate) type Seed = u8;

pub(crate) const ROOT: Seed = 1;
pub(crate) const FEED: Seed = 2;
pub(crate) const ISSUER: Seed = 3;
/// Named by the root document as an issuer, in no keyring unless a case puts it there.
pub(crate) const OTHER_ISSUER: Seed = 4;
/// Root keys of documents with more than one.
pub(crate) const SECOND_ROOT: Seed = 5;
pub(crate) const THIRD_ROOT: Seed = 6;
pub(crate) const NEW_FEED: Seed = 7;
/// Named by no root document.
pub(crate) const STRANGER: Seed = 9;

/// The names that the files give to the keys.
pub(crate) const NAMED: [(&str, Seed); 8] = [
    ("root", ROOT),
    ("feed", FEED),
    ("issuer", ISSUER),
    ("other_issuer", OTHER_ISSUER),
    ("second_root", SECOND_ROOT),
    ("third_root", THIRD_ROOT),
    ("new_feed", NEW_FEED),
    ("stranger", STRANGER),
];

fn key(seed: Seed) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

pub(crate) fn public(seed: Seed) -> [u8; 32] {
    key(seed).public()
}

pub(crate) fn sign(seed: Seed, message: &[u8]) -> [u8; 64] {
    key(seed).sign(message)
}

/// The RFC 7638 thumbprint.
pub(crate) fn kid(seed: Seed) -> String {
    KeyId::of(&public(seed)).to_string()
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A compact JWS of exactly these bytes.
pub(crate) fn compact(header: &[u8], claims: &[u8], signer: Seed) -> String {
    sign_text(&format!("{}.{}", b64(header), b64(claims)), signer)
}

/// Signs `<header>.<claims>` as it is spelled.
pub(crate) fn sign_text(input: &str, signer: Seed) -> String {
    format!("{input}.{}", b64(sign(signer, input.as_bytes())))
}

/// HMAC-SHA-512 (RFC 2104) with a key of at most a block.
pub(crate) fn hmac_sha512(key: &[u8], message: &[u8]) -> [u8; 64] {
    let pad = |byte: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(core::iter::repeat(0));
        key.take(128).map(|k| k ^ byte).collect()
    };
    let inner = Sha512::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha512::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// The same signature with `L` added to `s`: a lax verifier takes both.
pub(crate) fn with_l_added(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let mut carry = 0_u16;
    let sum = s.iter().zip(L).map(|(a, b)| {
        let sum = u16::from(*a) + u16::from(b) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    });
    [r, &sum.collect::<Vec<u8>>()].concat()
}

/// The order of the base point, little endian (RFC 8032 section 5.1).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
