//! The id of each decision: a UUIDv7 (RFC 9562 section 5.7).
//!
//! It names a decision in logs and answers and is no secret, so the host is asked for randomness once
//! for each VM and not once for each request: what follows is a sequence of full period whose start
//! nobody else has.

use gatepass_engine::clock::UnixSeconds;

/// The ids of one VM.
pub struct DecisionIds {
    state: u128,
}

impl DecisionIds {
    /// `seed` is random.
    #[must_use]
    pub fn new(seed: [u8; 16]) -> Self {
        Self { state: u128::from_le_bytes(seed) }
    }

    /// The next, with the second it was made in.
    pub fn next(&mut self, now: UnixSeconds) -> DecisionId {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let milliseconds = u128::from(now.0.saturating_mul(1_000) & 0xffff_ffff_ffff);
        // The high bits are the good ones: 12 after the version, 62 after the variant.
        let (a, b) = (self.state >> 116, (self.state >> 54) & ((1 << 62) - 1));
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
/// Of a linear congruential generator modulo 2^128 with full period (O'Neill, HMC-CS-2014-0905).
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
const INCREMENT: u128 = 0x5851_F42D_4C95_7F2D_1405_7B7E_F767_814F;

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
