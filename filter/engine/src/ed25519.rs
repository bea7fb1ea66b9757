//! Strict Ed25519 verification (RFC 8032 section 5.1.7, cofactorless, with the checks that it
//! leaves to the implementer).
//!
//! `R' = [s]B - [h]A` is compared with `R` as bytes, so a non-canonical `R` never matches. `s >= L`
//! is refused. `A` is refused at load when it is not canonical, of small order or of mixed order:
//! with such a key one signature could be valid for several messages or under several keys.
//!
//! An issuer's keys are few and known ahead, so [`FixedKey`] keeps a table for `-A`: both bases are
//! fixed and there are no doublings left (measured in V8: 47 us against 87 us).

use std::sync::LazyLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsBasepointTableRadix64, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{BasepointTable, IsIdentity};
use sha2::{Digest, Sha512};

/// A public key that passed every check; the only way to one is [`PublicKey::from_bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    bytes: [u8; 32],
    minus_a: EdwardsPoint,
}

impl PublicKey {
    /// # Errors
    /// Says which check the key fails.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Length)?;
        let a = CompressedEdwardsY(bytes).decompress().ok_or(KeyError::NotAPoint)?;
        if a.compress().to_bytes() != bytes {
            return Err(KeyError::NotCanonical);
        }
        if a.is_small_order() || a.is_identity() {
            return Err(KeyError::SmallOrder);
        }
        if !a.is_torsion_free() {
            return Err(KeyError::MixedOrder);
        }
        #[expect(clippy::arithmetic_side_effects, reason = "curve arithmetic cannot overflow")]
        let minus_a = -a;
        Ok(Self { bytes, minus_a })
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Verifies one signature, without a table: for the feed and for root documents.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        check(&self.bytes, message, signature, |s, h| {
            EdwardsPoint::vartime_double_scalar_mul_basepoint(h, &self.minus_a, s)
        })
    }
}

/// Why a public key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("an Ed25519 public key has 32 bytes")]
    Length,
    #[error("the bytes are not a point of the curve")]
    NotAPoint,
    #[error("the point is not in its canonical encoding")]
    NotCanonical,
    #[error("the point is of small order")]
    SmallOrder,
    #[error("the point is of mixed order")]
    MixedOrder,
}

/// A key with a table of its own (about 123 KB): for issuer keys, which are verified on each
/// request.
pub struct FixedKey {
    key: PublicKey,
    minus_a: Box<EdwardsBasepointTableRadix64>,
}

impl FixedKey {
    #[must_use]
    pub fn new(key: PublicKey) -> Self {
        let minus_a = Box::new(EdwardsBasepointTableRadix64::create(&key.minus_a));
        Self { key, minus_a }
    }

    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.key
    }

    /// Verifies one signature with the tables of `B` and `-A`.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "curve arithmetic cannot overflow")]
    pub fn verifies(&self, base: &BaseTable, message: &[u8], signature: &[u8; 64]) -> bool {
        check(&self.key.bytes, message, signature, |s, h| {
            base.0.mul_base(s) + self.minus_a.mul_base(h)
        })
    }
}

/// The table of the base point `B`: a constant of the curve, computed once per VM.
#[derive(Clone, Copy)]
pub struct BaseTable(&'static EdwardsBasepointTableRadix64);

static BASE: LazyLock<Box<EdwardsBasepointTableRadix64>> =
    LazyLock::new(|| Box::new(EdwardsBasepointTableRadix64::create(&ED25519_BASEPOINT_POINT)));

impl BaseTable {
    #[must_use]
    pub fn new() -> Self {
        Self(&BASE)
    }
}

impl Default for BaseTable {
    fn default() -> Self {
        Self::new()
    }
}

/// `combine(s, h)` gives `[s]B - [h]A`.
fn check(
    a: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
    combine: impl FnOnce(&Scalar, &Scalar) -> EdwardsPoint,
) -> bool {
    let Some((r, s)) = signature.split_first_chunk::<32>() else {
        return false;
    };
    let Ok(s) = <[u8; 32]>::try_from(s) else {
        return false;
    };
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else {
        return false;
    };
    let digest = Sha512::new().chain_update(r).chain_update(a).chain_update(message).finalize();
    let h = Scalar::from_bytes_mod_order_wide(&digest.into());
    // Public data: no need for a comparison in constant time.
    combine(&s, &h).compress().as_bytes() == r
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> ed25519_compact::KeyPair {
        ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([7; 32]))
    }

    #[test]
    fn both_ways_accept_a_good_signature_and_refuse_each_changed_bit() {
        let pair = pair();
        let key = PublicKey::from_bytes(&*pair.pk).unwrap();
        let fixed = FixedKey::new(key.clone());
        let base = BaseTable::new();
        let good: [u8; 64] = *pair.sk.sign(b"message", None);
        assert!(key.verifies(b"message", &good));
        assert!(fixed.verifies(&base, b"message", &good));
        assert!(!key.verifies(b"messagf", &good));
        assert!(!fixed.verifies(&base, b"messagf", &good));
        for bit in 0..512 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verifies(b"message", &bad), "bit {bit}");
            assert!(!fixed.verifies(&base, b"message", &bad), "bit {bit}");
        }
    }

    #[test]
    fn weak_keys_are_refused_at_load() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), Err(KeyError::SmallOrder));
        assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyError::SmallOrder));
        assert_eq!(PublicKey::from_bytes(&[0; 31]), Err(KeyError::Length));
        // y = p + 1 is the identity spelled a second time.
        let mut second = [0xff; 32];
        second[0] = 0xee;
        second[31] = 0x7f;
        assert_eq!(PublicKey::from_bytes(&second), Err(KeyError::NotCanonical));
        let mut not_on_curve = [0; 32];
        not_on_curve[0] = 2;
        assert_eq!(PublicKey::from_bytes(&not_on_curve), Err(KeyError::NotAPoint));
        let torsion = curve25519_dalek::constants::EIGHT_TORSION[1];
        let mixed = (ED25519_BASEPOINT_POINT + torsion).compress().to_bytes();
        assert_eq!(PublicKey::from_bytes(&mixed), Err(KeyError::MixedOrder));
    }
}
