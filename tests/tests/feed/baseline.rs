//! A cold start with a baseline in the configuration and a feed that is dead.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass_tests::kit::hostile::{Answer, HostileFeed};
use gatepass_tests::kit::wire::request;

use crate::desk::{SLOW, SharedDesk};
use crate::gated::{Gated, each_worker};

#[test]
fn a_baseline_opens_what_is_open_and_nothing_else() {
    let desk = SharedDesk::new("prod");
    let (good, revoked) = (desk.issue(SLOW), desk.issue(SLOW));
    let before = {
        let mut desk = desk.lock();
        let snapshot = desk.snapshot();
        desk.body(&[snapshot])
    };
    desk.revoke(&revoked.jti);
    let feed = HostileFeed::start(|_| Answer::Reset).unwrap();
    let mut plugin = desk.lock().plugin();
    plugin.hold_ms = 0;
    plugin.baseline = Some({
        let mut desk = desk.lock();
        let snapshot = desk.snapshot();
        STANDARD.encode(desk.body(&[snapshot]))
    });
    let mut gated = Gated::launch(&plugin, &feed);
    let open: [(&str, &str); 3] =
        [("orders.example", "/healthz"), ("static.example", "/"), ("static.example", "/any/thing")];
    for (host, path) in open {
        assert_eq!(verdict(&gated, host, path, ""), "200", "{host}{path}");
    }
    let bearer = format!("Bearer {}", good.token);
    let shut = [
        ("orders.example", "/slow", bearer.as_str()),
        ("orders.example", "/slow", ""),
        ("orders.example", "/other", ""),
        ("nobody.example", "/healthz", ""),
    ];
    for (host, path, authorization) in shut {
        let found = verdict(&gated, host, path, authorization);
        assert_eq!(found, "503 not_ready", "{host}{path}");
    }

    // The feed wakes up with what is older than the baseline: no revocation goes away.
    feed.conduct(move |_| Answer::Body(before.clone()));
    gated.until_stat("gatepass_batch_refusals.rollback", |count| count > 0);
    assert_eq!(gated.ask("/slow", &good.token), "503 not_ready");
    assert_eq!(gated.ask("/slow", &revoked.token), "503 not_ready");

    feed.conduct(desk.honest());
    let took = gated.until("/slow", &good.token, "200");
    println!("baseline: ready {} ms after the feed is there", took.as_millis());
    gated.until("/slow", &revoked.token, "401 revoked_credential");
    gated.assert_no_crash();
}

/// Of all workers.
fn verdict(gated: &Gated, host: &str, path: &str, authorization: &str) -> String {
    let mut headers = Vec::new();
    if !authorization.is_empty() {
        headers.push(("authorization", authorization));
    }
    let request = request("GET", host, path, &headers);
    let all = each_worker(&gated.envoy, "in");
    let found: Vec<String> = all
        .into_iter()
        .map(|mut connection| connection.exchange(&request).unwrap().verdict())
        .collect();
    assert!(found.iter().all(|other| *other == found[0]), "{found:?}");
    found[0].clone()
}
