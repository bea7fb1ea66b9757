//! A batch that is signed and whose bundle is not one: its revocation bites, its freshness does
//! not count, and the successor bundle mends it.

use std::time::{Duration, Instant};

use gatepass::publish::Changes;
use gatepass_engine::bundle::Bundle;
use gatepass_engine::position::Position;
use gatepass_tests::kit::hostile::Poll;

use crate::attacks::GARBAGE;
use crate::desk::{QUICK, SLOW, STALE_AFTER, SharedDesk, bundle, revocation};
use crate::gated::{Gated, SOON, pause};
use crate::hostile_feed::MOST_POLLS;

#[test]
fn a_refused_bundle_costs_no_revocation_and_renews_no_freshness() {
    let desk = SharedDesk::new("prod");
    let feed = desk.serve();
    let mut gated = Gated::launch(&desk.lock().plugin(), &feed);
    let (quick, slow) = (desk.issue(QUICK), desk.issue(SLOW));
    // Decodes, and asks for what this filter lacks.
    let unmet = Bundle { policy: vec![1], ..bundle() };
    let unmet: &[u8] = postcard::to_allocvec(&unmet).unwrap().leak();
    for broken in [GARBAGE, unmet] {
        gated.until("/quick", &quick.token, "200");
        let victim = desk.issue(SLOW);
        gated.until("/slow", &victim.token, "200");
        let begun = Instant::now();
        desk.lock().step_as(&revocation(&victim.jti), |batch| batch.bundle = Some(broken));
        gated.until("/slow", &victim.token, "401 revoked_credential");
        println!("refused bundle: its revocation bites after {} ms", begun.elapsed().as_millis());
        let here = desk.lock().position().to_string();
        assert!(gated.positions().iter().all(|position| *position == here));
        assert_eq!(gated.ask("/slow", &slow.token), "200", "the old bundle stays in force");
        gated.until_stat("gatepass_batch_refusals.bundle_refused", |count| count > 0);
        // What is told keeps the position and the policy apart.
        let told = gated.envoy.until("such a report", SOON, |_| {
            let is = |poll: &Poll| poll.header("x-gatepass-position") == here;
            Ok(feed.polls(begun).into_iter().find(is))
        });
        let told = told.unwrap();
        let policy: Position = told.header("x-gatepass-policy").parse().unwrap();
        assert!(policy < here.parse().unwrap(), "{policy} at {here}");
        assert_eq!(told.header("x-gatepass-refusal"), "bundle_refused");
        assert_ne!(told.header("x-gatepass-refusal-detail"), "");
        assert_ne!(told.header("x-gatepass-refused-at"), "");

        // Checkpoints go on, and do not count.
        loop {
            let found = gated.verdicts("/quick", &quick.token);
            if found.iter().all(|verdict| verdict == "503 stale") {
                break;
            }
            assert!(found.iter().all(|verdict| verdict == "200" || verdict == "503 stale"));
            assert!(begun.elapsed() < BOUND + Duration::from_secs(2), "{found:?}");
            pause();
        }
        println!("refused bundle: stale after {} ms", begun.elapsed().as_millis());
        assert!(feed.polls(begun).len() >= 2, "checkpoints went on");
        assert!(feed.most_within(Duration::from_secs(1), begun) <= MOST_POLLS);

        // Nor does a later batch without a bundle; its revocation bites all the same.
        let later = desk.issue(SLOW);
        gated.until("/slow", &later.token, "200");
        desk.revoke(&later.jti);
        gated.until("/slow", &later.token, "401 revoked_credential");
        assert_eq!(gated.ask("/quick", &quick.token), "503 stale");

        desk.lock().step(&Changes::bundle(bundle()));
        let back = gated.until("/quick", &quick.token, "200");
        println!("refused bundle: back {} ms after the successor", back.as_millis());
        assert_eq!(gated.ask("/slow", &victim.token), "401 revoked_credential");
    }
    gated.assert_no_crash();
}

const BOUND: Duration = Duration::from_secs(STALE_AFTER as u64);
