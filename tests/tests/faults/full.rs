//! The disk is full: what cannot be written is not answered, what was answered is enforced, and all goes
//! on when there is room again.

use std::time::{Duration, Instant};

use gatepass_tests::kit::edge::{Edge, ask};
use gatepass_tests::kit::world::until;

#[test]
fn on_a_full_disk_nothing_is_answered_that_is_not_there() {
    let mut edge = Edge::start().unwrap();
    let envoy = edge.envoy().unwrap();
    let good = edge.reading().unwrap();
    let asked = || ask(&envoy, "/orders", Some(&good));
    until(SOON, asked, |response| response.status == 200).unwrap();
    edge.desk.stop().unwrap();
    let size = std::fs::metadata(edge.desk.dir().join("gatepass.db")).unwrap().len();
    edge.desk.serve_with_files_of(size + ROOM).unwrap();

    let mut revoked = Vec::new();
    let begun = Instant::now();
    let refusal = loop {
        assert!(begun.elapsed() < FULL_WITHIN, "{} and the disk is not full", revoked.len());
        let issued = match edge.issued() {
            Ok(issued) => issued,
            Err(refusal) => break refusal.to_string(),
        };
        let answer = edge.revoke(&issued.jti).unwrap();
        if answer.status != 200 {
            break answer.verdict();
        }
        revoked.push(issued);
    };
    println!("{} revocations until `{}`", revoked.len(), refusal.trim());
    assert!(!revoked.is_empty());

    // The gate has all that was answered, and goes on with it.
    let enforced = |token: &str| {
        let asked = || ask(&envoy, "/orders", Some(token));
        until(SOON, asked, |response| response.verdict() == "401 revoked_credential").unwrap();
    };
    revoked.iter().for_each(|issued| enforced(&issued.token));
    assert_eq!(ask(&envoy, "/orders", Some(&good)).unwrap().status, 200);
    // So does one that starts now, though no later time can be put on the disk.
    let second = edge.envoy().unwrap();
    let asked = || ask(&second, "/orders", Some(&good));
    until(SOON, asked, |response| response.status == 200).unwrap();
    let all_dead = || {
        for issued in &revoked {
            let verdict = ask(&second, "/orders", Some(&issued.token)).unwrap().verdict();
            assert_eq!(verdict, "401 revoked_credential", "{}", issued.jti);
        }
    };
    all_dead();

    // There is room again.
    edge.desk.kill();
    edge.desk.serve().unwrap();
    edge.desk.done(&["audit", "verify"]).unwrap();
    all_dead();
    let issued = edge.issued().unwrap();
    assert_eq!(edge.revoke(&issued.jti).unwrap().status, 200);
    enforced(&issued.token);
}

const SOON: Duration = Duration::from_secs(20);
const FULL_WITHIN: Duration = Duration::from_secs(120);
/// Bytes that a file may grow; below what the write-ahead log reaches before it is emptied.
const ROOM: u64 = 1 << 20;
