//! Strict Ed25519 verification (RFC 8032 section 5.1.7, cofactorless, with the checks that it
//! leaves to the implementer).
//!
//! `R' = [s]B - [h]A` is compared with `R` as bytes, so a non-canonical `R` never matches. `s >= L`
//! is refused. `A` is refused at load when it is not canonical, of small order or of mixed order:
//! with such a key one signature could be valid for several messages or under several keys.
//!
//! An issuer's keys are few and known ahead, so [`FixedKey`] keeps a table for `-A`: both bases are
//! fixed and there are no doublings left. The sum is `gatepass-ed25519`'s; scalars, keys and their
//! checks are `curve25519-dalek`'s, which also stands in where a table does not pass its self-test.

use std::sync::{LazyLock, OnceLock};

use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use gatepass_ed25519::{Table, combine};
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
        check(&self.bytes, message, signature, |s, h| self.sum(s, h))
    }
}

impl PublicKey {
    /// `[s]B - [h]A`, by nobody's table.
    fn sum(&self, s: &Scalar, h: &Scalar) -> Option<[u8; 32]> {
        let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(h, &self.minus_a, s);
        Some(sum.compress().to_bytes())
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

/// A key with a table of its own (452 KiB): for issuer keys, which are verified on each request.
pub struct FixedKey {
    key: PublicKey,
    /// Nothing yet before [`FixedKey::prepare`]; `None` where it did not pass its self-test. Then the key
    /// verifies without, and slowly.
    minus_a: OnceLock<Option<Table>>,
}

impl FixedKey {
    /// With its table.
    #[must_use]
    pub fn new(key: PublicKey) -> Self {
        let key = Self::unprepared(key);
        key.prepare();
        key
    }

    /// Without its table, which takes as long to make as a thousand signatures to verify: whoever brings
    /// the key should not make a request wait for it.
    #[must_use]
    pub const fn unprepared(key: PublicKey) -> Self {
        Self { key, minus_a: OnceLock::new() }
    }

    /// Makes the table. False where it was made before.
    pub fn prepare(&self) -> bool {
        let mut made = false;
        self.minus_a.get_or_init(|| {
            made = true;
            let table = Table::new(&self.key.minus_a.compress().to_bytes());
            table.filter(|table| is_sound(&BASE, table, &self.key))
        });
        made
    }

    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.key
    }

    /// Verifies one signature with the tables of `B` and `-A`.
    #[must_use]
    pub fn verifies(&self, base: &BaseTable, message: &[u8], signature: &[u8; 64]) -> bool {
        let minus_a = self.minus_a.get().and_then(Option::as_ref);
        let Some((base, minus_a)) = minus_a.and_then(|table| base.table().zip(Some(table))) else {
            return self.key.verifies(message, signature);
        };
        check(&self.key.bytes, message, signature, |s, h| {
            combine(base, s.as_bytes(), minus_a, h.as_bytes())
        })
    }
}

/// Compares both tables with the other library: a host whose arithmetic is not ours must cost speed,
/// never a wrong answer. The scalars ask for the ends of the tables and for places all over them.
#[expect(clippy::arithmetic_side_effects, reason = "curve arithmetic cannot overflow")]
fn is_sound(base: &Option<Table>, minus_a: &Table, key: &PublicKey) -> bool {
    let Some(base) = base else { return false };
    let alternating = Scalar::from_bytes_mod_order([0x80; 32]);
    let mixed = Scalar::from_bytes_mod_order([0x7f; 32]);
    let largest = Scalar::ZERO - Scalar::ONE;
    let pairs = [(Scalar::ONE, Scalar::ONE), (largest, mixed), (alternating, largest)];
    pairs.iter().all(|(s, h)| combine(base, s.as_bytes(), minus_a, h.as_bytes()) == key.sum(s, h))
}

/// The table of the base point `B`: a constant of the curve, computed once per VM, with the first key's.
#[derive(Clone, Copy)]
pub struct BaseTable(());

static BASE: LazyLock<Option<Table>> =
    LazyLock::new(|| Table::new(&ED25519_BASEPOINT_COMPRESSED.to_bytes()));

impl BaseTable {
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }

    /// Computes it where no key was prepared.
    fn table(self) -> Option<&'static Table> {
        BASE.as_ref()
    }
}

impl Default for BaseTable {
    fn default() -> Self {
        Self::new()
    }
}

/// `sum(s, h)` gives the encoding of `[s]B - [h]A`.
fn check(
    a: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
    sum: impl FnOnce(&Scalar, &Scalar) -> Option<[u8; 32]>,
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
    sum(&s, &h).as_ref() == Some(r)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_not_the_keys_fails_its_self_test_and_the_key_verifies_all_the_same() {
        let pair = pair();
        let key = PublicKey::from_bytes(&*pair.pk).unwrap();
        let own = Table::new(&key.minus_a.compress().to_bytes()).unwrap();
        assert!(is_sound(&BASE, &own, &key));
        assert!(!is_sound(&None, &own, &key));
        let other = Table::new(&ED25519_BASEPOINT_COMPRESSED.to_bytes()).unwrap();
        assert!(!is_sound(&BASE, &other, &key));
        assert!(!is_sound(&Some(own), &other, &key));
        let good: [u8; 64] = *pair.sk.sign(b"message", None);
        let unprepared = FixedKey::unprepared(key.clone());
        let unsound = FixedKey { key, minus_a: OnceLock::from(None) };
        for slow in [&unprepared, &unsound] {
            assert!(slow.verifies(&BaseTable::new(), b"message", &good));
            assert!(!slow.verifies(&BaseTable::new(), b"messagf", &good));
        }
        assert!(unprepared.prepare());
        assert!(!unprepared.prepare() && !unsound.prepare());
        assert!(unprepared.verifies(&BaseTable::new(), b"message", &good));
        assert!(!unprepared.verifies(&BaseTable::new(), b"messagf", &good));
    }

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
        let mixed =
            (curve25519_dalek::constants::ED25519_BASEPOINT_POINT + torsion).compress().to_bytes();
        assert_eq!(PublicKey::from_bytes(&mixed), Err(KeyError::MixedOrder));
    }
}
