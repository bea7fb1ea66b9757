//! Root documents end to end: a rotation, a start from the pinned keys, and a reset.

use gatepass_tests::kit::hostile::{Answer, HostileFeed};

use crate::desk::{SLOW, SharedDesk, body, resigned, revocation};
use crate::gated::Gated;

#[test]
fn a_rotated_feed_key_is_dead_for_gates_old_and_new() {
    let desk = SharedDesk::new("prod");
    let feed = desk.serve();
    let plugin = desk.lock().plugin();
    let mut gated = Gated::launch(&plugin, &feed);
    let (allowed, revoked) = (desk.issue(SLOW), desk.issue(SLOW));
    desk.revoke(&revoked.jti);
    gated.until("/slow", &allowed.token, "200");
    gated.until("/slow", &revoked.token, "401 revoked_credential");
    let before = {
        let mut desk = desk.lock();
        let snapshot = desk.snapshot();
        desk.body(&[snapshot])
    };

    // Root 2 with another root key and another feed key, while the gate follows.
    let old = desk.lock().rotate(4, Some(5), false);
    until_caught_up(&mut gated, &desk);
    assert_eq!(gated.ask("/slow", &allowed.token), "200");
    assert_eq!(gated.ask("/slow", &revoked.token), "401 revoked_credential");

    // Whoever has the old key is nobody.
    let refused = gated.stat("gatepass_batch_refusals.bad_signature");
    let next = desk.lock().foretold(&revocation(&allowed.jti));
    let stolen = desk.lock().body(&[resigned(&next, &old, |_| {})]);
    feed.conduct(move |_| Answer::Body(stolen.clone()));
    gated.until_stat("gatepass_batch_refusals.bad_signature", |count| count > refused);
    // A chain that ends too early brings the old key back for nobody.
    let refused = gated.stat("gatepass_batch_refusals.bad_signature");
    let first = desk.lock().roots[0].clone();
    let shortened = body(&[first.as_bytes()], &[resigned(&next, &old, |_| {})]);
    feed.conduct(move |_| Answer::Body(shortened.clone()));
    gated.until_stat("gatepass_batch_refusals.bad_signature", |count| count > refused);
    assert_eq!(gated.ask("/slow", &allowed.token), "200");
    feed.conduct(desk.honest());
    desk.revoke("somebody");
    until_caught_up(&mut gated, &desk);

    // A gate that starts now walks from the pinned root to the second.
    let mut young = Gated::launch(&plugin, &desk.serve());
    young.until("/slow", &allowed.token, "200");
    young.until("/slow", &revoked.token, "401 revoked_credential");
    young.assert_no_crash();
    drop(young);

    // One that is told of the second root does not begin with the first.
    let yesterday = HostileFeed::start(move |_| Answer::Body(before.clone())).unwrap();
    let mut wary = plugin.clone();
    wary.min_root_version = 2;
    wary.hold_ms = 0;
    let mut wary = Gated::launch(&wary, &yesterday);
    wary.until_stat("gatepass_batch_refusals.rollback", |count| count > 0);
    assert_eq!(wary.ask("/slow", &allowed.token), "503 not_ready");
    yesterday.conduct(desk.honest());
    wary.until("/slow", &allowed.token, "200");
    wary.until("/slow", &revoked.token, "401 revoked_credential");
    wary.assert_no_crash();
    gated.assert_no_crash();
}

#[test]
fn a_reset_root_undoes_what_a_stolen_feed_key_fast_forwarded() {
    let desk = SharedDesk::new("prod");
    let feed = desk.serve();
    let mut gated = Gated::launch(&desk.lock().plugin(), &feed);
    let (allowed, revoked) = (desk.issue(SLOW), desk.issue(SLOW));
    desk.revoke(&revoked.jti);
    gated.until("/slow", &allowed.token, "200");

    let far = desk.lock().fast_forward();
    let stolen = desk.lock().body(&[far]);
    let again = stolen.clone();
    feed.conduct(move |_| Answer::Body(stolen.clone()));
    gated.until("/slow", &allowed.token, "401 wrong_epoch");
    assert_eq!(gated.ask("/slow", &revoked.token), "401 wrong_epoch");

    // A new feed key alone does not bring the position back.
    let thief = desk.lock().rotate(4, None, false);
    let lower = {
        let mut desk = desk.lock();
        let snapshot = desk.snapshot();
        desk.body(&[snapshot])
    };
    let refused = gated.stat("gatepass_batch_refusals.rollback");
    feed.conduct(move |_| Answer::Body(lower.clone()));
    gated.until_stat("gatepass_batch_refusals.rollback", |count| count > refused);
    assert_eq!(gated.ask("/slow", &allowed.token), "401 wrong_epoch");

    // A root that says so does.
    drop(desk.lock().rotate(6, None, true));
    feed.conduct(desk.honest());
    let back = gated.until("/slow", &allowed.token, "200");
    println!("reset: back after {} ms", back.as_millis());
    gated.until("/slow", &revoked.token, "401 revoked_credential");
    until_caught_up(&mut gated, &desk);

    // Once: neither the thief nor the past can use it again.
    let refused = gated.stat("gatepass_batch_refusals.bad_signature");
    feed.conduct(move |_| Answer::Body(again.clone()));
    gated.until_stat("gatepass_batch_refusals.bad_signature", |count| count > refused);
    assert_eq!(gated.ask("/slow", &allowed.token), "200");
    let far = desk.lock().fast_forward();
    let far = desk.lock().body(&[resigned(&far, &thief, |_| {})]);
    let refused = gated.stat("gatepass_batch_refusals.bad_signature");
    feed.conduct(move |_| Answer::Body(far.clone()));
    gated.until_stat("gatepass_batch_refusals.bad_signature", |count| count > refused);
    assert_eq!(gated.ask("/slow", &allowed.token), "200");
    assert_eq!(gated.ask("/slow", &revoked.token), "401 revoked_credential");
    gated.assert_no_crash();
}

/// What a thief signs may be dated ahead, as far as clocks differ; what undoes it is older until then.
#[test]
fn a_reset_that_comes_before_the_thiefs_date_is_taken_after_it() {
    let desk = SharedDesk::new("prod");
    let feed = desk.serve();
    let mut gated = Gated::launch(&desk.lock().plugin(), &feed);
    let (allowed, revoked) = (desk.issue(SLOW), desk.issue(SLOW));
    desk.revoke(&revoked.jti);
    gated.until("/slow", &allowed.token, "200");
    let far = desk.lock().fast_forward();
    let far = desk.lock().changed(&far, |batch| batch.header.issued_at.0 += 4);
    let stolen = desk.lock().body(&[far]);
    feed.conduct(move |_| Answer::Body(stolen.clone()));
    gated.until("/slow", &allowed.token, "401 wrong_epoch");
    let refused = gated.stat("gatepass_batch_refusals.rollback");
    drop(desk.lock().rotate(6, None, true));
    feed.conduct(desk.honest());
    gated.until_stat("gatepass_batch_refusals.rollback", |count| count > refused);
    gated.until("/slow", &allowed.token, "200");
    gated.until("/slow", &revoked.token, "401 revoked_credential");
    until_caught_up(&mut gated, &desk);
    gated.assert_no_crash();
}

fn until_caught_up(gated: &mut Gated, desk: &SharedDesk) {
    let here = desk.lock().position().to_string();
    gated.until_positions(&here);
}
