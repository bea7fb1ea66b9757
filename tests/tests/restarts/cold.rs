//! Cold starts: with the control plane, without it, and with a baseline of the real feed.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass_tests::kit::edge::{ALICE, Edge, ask};
use gatepass_tests::kit::wire::{Connection, request};
use gatepass_tests::kit::world::until;

#[test]
fn a_cold_envoy_decides_as_soon_as_it_has_heard_its_control_plane_and_not_before() {
    let mut edge = Edge::start().unwrap();
    let gatepass = edge.reading().unwrap();
    {
        let begun = Instant::now();
        let envoy = edge.envoy().unwrap();
        let ready = begun.elapsed();
        // Held until the first batch is there: a client that has a gatepass sees no refusal.
        assert_eq!(ask(&envoy, "/orders", Some(&gatepass)).unwrap().status, 200);
        println!("cold start: {} ms, decides after {} ms", ready.as_millis(), millis(begun));
        assert_eq!(ask(&envoy, "/orders", None).unwrap().verdict(), "401 no_credential");
    }

    // The twin: the same with a control plane that is gone.
    edge.desk.kill();
    let envoy = edge.envoy().unwrap();
    for path in ["/orders", "/lists", "/healthz", "/elsewhere"] {
        for token in [Some(gatepass.as_str()), None] {
            assert_eq!(ask(&envoy, path, token).unwrap().verdict(), "503 not_ready", "{path}");
        }
    }
    edge.upstream.take().iter().for_each(|request| assert!(request.line().contains("/orders")));

    let begun = Instant::now();
    edge.desk.serve().unwrap();
    let good = || ask(&envoy, "/orders", Some(&gatepass));
    until(SOON, good, |response| response.status == 200).unwrap();
    println!("cold start: decides {} ms after its control plane is there", millis(begun));
}

#[test]
fn a_baseline_of_the_feed_opens_what_is_open_and_its_gatepasses_wait_for_the_feed() {
    let mut edge = Edge::start().unwrap();
    let (good, revoked) = (edge.reading().unwrap(), edge.reading().unwrap());
    let baseline = feed(&edge);
    edge.desk.done(&["revoke", "owner", ALICE, "--reason", "after the baseline"]).unwrap();
    edge.desk.kill();
    let mut plugin = edge.desk.plugin().unwrap();
    plugin.baseline = Some(STANDARD.encode(baseline));
    plugin.hold_ms = 0;
    let envoy = edge.envoy_with(&plugin).unwrap();
    assert_eq!(ask(&envoy, "/healthz", None).unwrap().status, 200, "it is public");
    for token in [Some(good.as_str()), None] {
        assert_eq!(ask(&envoy, "/orders", token).unwrap().verdict(), "503 not_ready");
    }
    let forwarded = edge.upstream.take();
    assert!(forwarded.iter().all(|request| request.line().contains("/healthz")), "{forwarded:?}");

    edge.desk.serve().unwrap();
    let asked = || ask(&envoy, "/orders", Some(&revoked));
    // Never allowed on the way: the baseline is of before the revocation.
    let (last, _) = until(SOON, asked, |response| response.verdict() != "503 not_ready").unwrap();
    assert_eq!(last.verdict(), "401 revoked_owner");
    let fresh = edge.reading().unwrap();
    assert_eq!(ask(&envoy, "/orders", Some(&fresh)).unwrap().status, 200);
}

/// What the feed says to somebody new: what an operator puts into `baseline`.
fn feed(edge: &Edge) -> Vec<u8> {
    let authorization = format!("Bearer {}", edge.join());
    let headers = [("authorization", authorization.as_str())];
    let request = request("GET", "feed", "/v1/feed?audience=prod&wait=0", &headers);
    let response = Connection::open(edge.desk.feed()).unwrap().exchange(&request).unwrap();
    assert_eq!(response.status, 200, "{}", response.verdict());
    response.body
}

fn millis(since: Instant) -> u128 {
    since.elapsed().as_millis()
}

const SOON: Duration = Duration::from_secs(20);
