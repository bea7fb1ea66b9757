//! What a gate says of itself with each poll, and what it shows as gauges.

use std::time::Instant;

use gatepass_envoy::Mode;
use gatepass_tests::kit::hostile::{Answer, HostileFeed, Poll};
use gatepass_tests::kit::world::bearing;

use crate::desk::{SLOW, SharedDesk, key, resigned, revocation};
use crate::gated::{Gated, SOON, WORKERS, each_worker};

#[test]
fn each_poll_says_who_asks_in_which_mode_from_where_and_what_was_refused() {
    let desk = SharedDesk::new("prod");
    let begun = Instant::now();
    let feed = desk.serve();
    let mut gated = Gated::launch(&desk.lock().plugin(), &feed);
    let pass = desk.issue(SLOW);
    gated.until("/slow", &pass.token, "200");
    let first = feed.polls(begun).remove(0);
    assert_eq!(first.parameter("audience"), Some("prod"));
    assert_eq!(first.parameter("after"), None, "it has nothing yet");
    assert_eq!(first.parameter("formats"), Some("batch.v1,root.v1"));
    assert_eq!(first.header("x-gatepass-position"), "");

    let here = desk.lock().position();
    let later = until_poll(&feed, &gated, begun, |poll| {
        poll.header("x-gatepass-position") == here.to_string()
            && poll.header("x-gatepass-vms") == ALL_VMS.to_string()
    });
    assert_eq!(later.after(), Some(here));
    let node = later.header("x-gatepass-node");
    assert!(node.len() == 16 && node.bytes().all(|byte| byte.is_ascii_hexdigit()), "{node}");
    let mut nodes: Vec<String> =
        feed.polls(begun).iter().map(|poll| poll.header("x-gatepass-node").to_owned()).collect();
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes, [node], "one Envoy has one name, whichever VM polls");
    assert_eq!(later.header("x-gatepass-mode"), "enforce");
    assert_eq!(later.header("x-gatepass-version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(later.header("x-gatepass-refusal"), "");
    gated.until_stat("gatepass_position_sequence", |sequence| sequence == here.sequence);
    gated.until_stat("gatepass_position_epoch", |epoch| epoch == here.epoch);
    gated.until_stat("gatepass_vms", |vms| vms == ALL_VMS);
    assert_eq!(gated.stat("gatepass_mode_shadow"), 0);

    // The refusal is told, and the position stays where it is.
    let next = desk.lock().foretold(&revocation(&pass.jti));
    let forged = resigned(&next, &key("elsewhere", 9), |_| {});
    let body = desk.lock().body(&[forged]);
    let attacked = Instant::now();
    feed.conduct(move |_| Answer::Body(body.clone()));
    let told =
        until_poll(&feed, &gated, attacked, |poll| !poll.header("x-gatepass-refusal").is_empty());
    assert_eq!(told.header("x-gatepass-refusal"), "bad_signature");
    assert_eq!(told.header("x-gatepass-position"), here.to_string());

    feed.conduct(desk.honest());
    desk.revoke(&pass.jti);
    gated.until("/slow", &pass.token, "401 revoked_credential");
    let next = desk.lock().position();
    gated.until_stat("gatepass_position_sequence", |sequence| sequence == next.sequence);
    gated.assert_no_crash();
}

#[test]
fn a_gate_in_shadow_says_so_and_refuses_nothing() {
    let desk = SharedDesk::new("prod");
    let begun = Instant::now();
    let feed = HostileFeed::start(|_| Answer::Reset).unwrap();
    let mut plugin = desk.lock().plugin();
    plugin.mode = Mode::Shadow;
    let mut gated = Gated::launch(&plugin, &feed);
    let (good, revoked) = (desk.issue(SLOW), desk.issue(SLOW));
    desk.revoke(&revoked.jti);
    let told = until_poll(&feed, &gated, begun, |_| true);
    assert_eq!(told.header("x-gatepass-mode"), "shadow");
    assert_eq!(gated.stat("gatepass_mode_shadow"), 1);

    // What would be refused goes on without an identity, and is counted.
    drop(gated.upstream.take());
    for (token, code) in [(Some(revoked.token.as_str()), "not_ready"), (None, "not_ready")] {
        assert_shadowed(&mut gated, token, code);
    }
    feed.conduct(desk.honest());
    gated.until_stat("gatepass_position_sequence", |sequence| {
        sequence == desk.lock().position().sequence
    });
    gated.until_positions(&desk.lock().position().to_string());
    for (token, code) in
        [(Some(revoked.token.as_str()), "revoked_credential"), (None, "no_credential")]
    {
        assert_shadowed(&mut gated, token, code);
    }
    // The twin: what would be allowed is decided as ever.
    gated.until("/slow", &good.token, "200");
    assert!(gated.stat("gatepass_decisions_by_code.allow.decided") > 0);
    let decided = gated.upstream.take();
    assert!(decided.iter().all(|request| request.header("x-gatepass-action") == [SLOW]));
    gated.assert_no_crash();
}

/// Sent with an identity of the client's own.
fn assert_shadowed(gated: &mut Gated, token: Option<&str>, code: &str) {
    let counter = format!("gatepass_decisions_by_code.shadow.{code}");
    let before = gated.stat(&counter);
    for mut connection in each_worker(&gated.envoy, "in") {
        let mut request = bearing("GET", "/slow", token);
        request.truncate(request.len() - 2);
        request.extend(b"x-gatepass-agent: agent:me\r\n\r\n");
        assert_eq!(connection.exchange(&request).unwrap().status, 200, "{code}");
    }
    gated.until_stat(&counter, |count| count >= before + u64::from(WORKERS));
    for request in gated.upstream.take() {
        assert_eq!(request.header("x-gatepass-agent"), Vec::<String>::new());
    }
}

fn until_poll(
    feed: &HostileFeed,
    gated: &Gated,
    since: Instant,
    is: impl Fn(&Poll) -> bool,
) -> Poll {
    let found = gated
        .envoy
        .until("such a poll", SOON, |_| Ok(feed.polls(since).into_iter().find(|poll| is(poll))));
    found.unwrap_or_else(|error| panic!("{error}: {:#?}", feed.polls(since).last()))
}

/// The workers and the main thread.
const ALL_VMS: u64 = WORKERS as u64 + 1;
