//! The id of each decision: a UUIDv7 (RFC 9562 section 5.7).
//!
//! The host is asked for randomness once for each VM and not once for each request: an id is the keyed hash
//! of a count, so that who has seen some of them knows neither the next nor how many lay between.

use core::hash::Hasher as _;

use gatepass_engine::clock::UnixSeconds;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// The ids of one VM.
pub struct DecisionIds {
    keyed: SipHasher24,
    count: u64,
}

impl DecisionIds {
    /// `key` is random, and nobody else's.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self { keyed: SipHasher24::new_with_key(&key), count: 0 }
    }

    /// The next, with the second it was made in.
    pub fn next(&mut self, now: UnixSeconds) -> DecisionId {
        self.count = self.count.wrapping_add(1);
        let mut hasher = self.keyed;
        hasher.write_u64(self.count);
        let hash = hasher.finish128();
        let milliseconds = u128::from(now.0.saturating_mul(1_000) & 0xffff_ffff_ffff);
        // 12 bits after the version, 62 after the variant.
        let (a, b) = (u128::from(hash.h1 & 0xfff), u128::from(hash.h2 >> 2));
        let id = (milliseconds << 80) | (0x7 << 76) | (a << 64) | (0b10 << 62) | b;
        let mut text = [b'-'; LENGTH];
        let bytes = id.to_be_bytes();
        let mut nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (at, place) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                let nibble = nibbles.next().unwrap_or(0);
                *place = if nibble < 10 { b'0' | nibble } else { (b'a' - 10).wrapping_add(nibble) };
            }
        }
        DecisionId(text)
    }
}

/// One id as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionId([u8; LENGTH]);

impl DecisionId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        // INVARIANT: digits, letters and hyphens alone.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

const LENGTH: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_is_a_uuid_of_version_7_with_its_second() {
        let mut ids = DecisionIds::new([3; 16]);
        for _ in 0..1000 {
            let id = ids.next(UnixSeconds(1_700_000_000));
            let text = id.as_str();
            let uuid = uuid::Uuid::parse_str(text).unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
            assert_eq!(uuid.get_timestamp().unwrap().to_unix(), (1_700_000_000, 0));
            assert_eq!(uuid.to_string(), text);
        }
    }

    #[test]
    fn ids_tell_nothing_of_their_count() {
        // The text after the time differs in about half of its bits from one to the next.
        let bits = |id: DecisionId| {
            let uuid = uuid::Uuid::parse_str(id.as_str()).unwrap().as_u128();
            uuid & ((1 << 62) - 1)
        };
        let mut ids = DecisionIds::new([9; 16]);
        let mut last = bits(ids.next(UnixSeconds(1)));
        for _ in 0..1000 {
            let next = bits(ids.next(UnixSeconds(1)));
            assert!((8..=54).contains(&(last ^ next).count_ones()));
            last = next;
        }
    }

    #[test]
    fn none_comes_twice_from_one_vm_or_from_two() {
        let mut seen = HashSet::new();
        for seed in 0..4 {
            let mut ids = DecisionIds::new([seed; 16]);
            for _ in 0..25_000 {
                assert!(seen.insert(ids.next(UnixSeconds(1)).0));
            }
        }
    }
}
