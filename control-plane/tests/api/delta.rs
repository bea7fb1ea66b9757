//! What a revocation costs on the feed: bytes, whatever policy and revocations there are.

use gatepass_engine::Position;
use gatepass_engine::batch::Feed;
use serde_json::json;

use crate::kit::{Follower, POLICY, Plane, poll, poll_of};

#[test]
fn a_revocation_costs_bytes_and_not_the_bundle() {
    let plane = Plane::furnished();
    let small = told_of_one(&plane, 0);
    let routes: String = (0..1_000)
        .map(|number| {
            format!("      - match: GET /more/{number}/of/them\n        action: orders:list\n")
        })
        .collect();
    let host = "  - names: [files.example]";
    let large = POLICY.replace(host, &format!("{routes}{host}"));
    plane.change("/v1/policies", json!({ "content": large }));
    let behind_all = told_of_one(&plane, 1);
    let snapshot = poll(&plane, None, &[]).body.len();
    assert!(behind_all.abs_diff(small) <= HASHES, "whatever the policy is: {small}, {behind_all}");
    assert!(small <= MOST, "{small} bytes");
    assert!(snapshot > 20 * MOST, "what it would cost without deltas: {snapshot} bytes");
}

#[test]
fn cohorts_cost_a_revocation_nothing_that_others_are_told() {
    let plane = Plane::furnished();
    let start = std::time::Instant::now();
    let alone: Vec<usize> = (0..50).map(|number| told_of_one(&plane, number)).collect();
    let took_alone = start.elapsed();
    for number in 0..16 {
        plane.change("/v1/cohorts", json!({ "name": format!("c-{number}") }));
    }
    let start = std::time::Instant::now();
    let beside: Vec<usize> = (50..100).map(|number| told_of_one(&plane, number)).collect();
    println!(
        "50 revocations and polls: {took_alone:?} alone, {:?} beside 16 cohorts",
        start.elapsed()
    );
    let most = |all: &[usize]| all.iter().copied().max().unwrap();
    assert!(most(&beside).abs_diff(most(&alone)) <= HASHES, "{alone:?} {beside:?}");
}

/// Bytes that a follower of the newest position is told when one gatepass is revoked: the delta and the
/// checkpoint that proves its freshness. Root documents travel beside them.
fn told_of_one(plane: &Plane, number: u64) -> usize {
    let here = Follower::of(plane).position();
    plane.change("/v1/revocations", json!({ "kind": "credential", "id": format!("jti-{number}") }));
    let answer = poll(plane, Some(here), &[]);
    let told = Feed::decode(&answer.body).unwrap();
    assert_eq!(told.batches.len(), 2);
    let bytes = told.batches.iter().map(|batch| batch.len()).sum();
    println!("a revocation: {bytes} bytes, {} with the root documents", answer.body.len());
    bytes
}

/// Bytes; what is revoked is known by a keyed hash, which is a number of nine or ten bytes most times.
const HASHES: usize = 8;
/// Bytes; each of the two has a signature, a header and its digest.
const MOST: usize = 1_024;

#[test]
fn a_position_of_another_epoch_is_answered_whatever_its_number() {
    let plane = crate::cohorts::with_canary();
    plane.change("/v1/revocations", json!({ "kind": "credential", "id": "j1" }));
    let here = Follower::of(&plane).position();
    for audience in ["prod", "canary"] {
        let fresh = poll_of(&plane, audience, None, &[]);
        for epoch in [0, 1, here.epoch - 1] {
            for sequence in [0, here.sequence - 1, here.sequence, u64::MAX - 1, u64::MAX] {
                let answer = poll_of(&plane, audience, Some(Position { epoch, sequence }), &[]);
                assert_eq!((answer.status, &answer.body), (200, &fresh.body), "{epoch}.{sequence}");
            }
        }
        // The twin: of this epoch it is a claim to know more than there is, or is told what is new.
        let before = Position { sequence: here.sequence - 1, ..here };
        let told = poll_of(&plane, audience, Some(before), &[]);
        assert_eq!(Feed::decode(&told.body).unwrap().batches.len(), 2, "a delta and a checkpoint");
    }
}
