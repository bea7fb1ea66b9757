//! How old the last proof of freshness may be, by either clock.

use std::time::Duration;

use gatepass_engine::clock::UnixSeconds;
use gatepass_tests::host::Request;
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::{Site, order};

/// `orders:read` may be decided on a proof of at most 30 s, `orders:create` of 10 s.
fn requests(site: &Site) -> [Request; 2] {
    let token = |action| site.control.issue(&grant(action), site.now()).unwrap();
    [
        order("GET", "/orders", Some(&token("orders:read"))),
        order("POST", "/orders?amount=1.00&currency=EUR&item=pen", Some(&token("orders:create"))),
    ]
}

fn verdicts(site: &mut Site, requests: &[Request; 2]) -> [String; 2] {
    requests.clone().map(|request| site.ask(0, request).unwrap())
}

const BOTH: [&str; 2] = ["allow", "allow"];
const LOW: [&str; 2] = ["allow", "503 stale"];
const NONE: [&str; 2] = ["503 stale", "503 stale"];

#[test]
fn each_action_is_stale_past_its_own_bound() {
    let mut site = Site::start(1).unwrap();
    let requests = requests(&site);
    for (milliseconds, expected) in
        [(0, BOTH), (10_000, BOTH), (1_000, LOW), (19_000, LOW), (1_000, NONE), (200_000, NONE)]
    {
        site.advance(milliseconds);
        assert_eq!(verdicts(&mut site, &requests), expected, "{milliseconds}");
    }
    let public = order("GET", "/healthz", None);
    assert_eq!(site.ask(0, public).unwrap(), "allow", "openness needs no freshness");
}

#[test]
fn the_monotonic_clock_alone_makes_it_stale() {
    let mut site = Site::start(1).unwrap();
    let requests = requests(&site);
    let start = site.envoy.clock().monotonic();
    for (seconds, expected) in [(10, BOTH), (11, LOW), (30, LOW), (31, NONE)] {
        site.envoy.clock().set_monotonic(start + Duration::from_secs(seconds));
        assert_eq!(verdicts(&mut site, &requests), expected, "{seconds}");
    }
}

#[test]
fn the_wall_clock_alone_makes_it_stale() {
    let mut site = Site::start(1).unwrap();
    let requests = requests(&site);
    let start = site.envoy.clock().wall();
    for (seconds, expected) in [(10, BOTH), (11, LOW), (30, LOW), (31, NONE)] {
        site.envoy.clock().set_wall(start + Duration::from_secs(seconds));
        assert_eq!(verdicts(&mut site, &requests), expected, "{seconds}");
    }
}

#[test]
fn a_wall_clock_that_is_set_back_makes_nothing_fresh_and_revives_no_gatepass() {
    let mut site = Site::start(1).unwrap();
    let old = requests(&site);
    site.advance(299_000);
    site.hear_checkpoint().unwrap();
    assert_eq!(verdicts(&mut site, &old), BOTH);
    site.advance(2_000);
    site.hear_checkpoint().unwrap();
    assert_eq!(verdicts(&mut site, &old), ["401 expired", "401 expired"]);
    let wall = site.envoy.clock().wall();
    site.envoy.clock().set_wall(wall - Duration::from_secs(200));
    assert_eq!(verdicts(&mut site, &old), ["401 expired", "401 expired"]);
    let fresh = {
        let issue = |action| site.control.issue(&grant(action), UnixSeconds(wall.as_secs()));
        [
            order("GET", "/orders", Some(&issue("orders:read").unwrap())),
            order(
                "POST",
                "/orders?amount=1.00&currency=EUR&item=pen",
                Some(&issue("orders:create").unwrap()),
            ),
        ]
    };
    let start = site.envoy.clock().monotonic();
    for (seconds, expected) in [(10, BOTH), (11, LOW), (30, LOW), (31, NONE)] {
        site.envoy.clock().set_monotonic(start + Duration::from_secs(seconds));
        assert_eq!(verdicts(&mut site, &fresh), expected, "{seconds}");
    }
}

#[test]
fn a_checkpoint_makes_every_worker_fresh_again() {
    let mut site = Site::start(3).unwrap();
    let [reading, _] = requests(&site);
    site.advance(60_000);
    assert_eq!(site.ask_all(&reading).unwrap(), ["503 stale"; 3]);
    site.hear_checkpoint().unwrap();
    assert_eq!(site.ask_all(&reading).unwrap(), ["allow"; 3]);
}

#[test]
fn a_proof_is_as_old_as_its_first_hearing_for_a_vm_that_starts_later() {
    let mut site = Site::start(1).unwrap();
    let [reading, creating] = requests(&site);
    let wall = site.envoy.clock().wall();
    site.advance(11_000);
    // Only the time that travels in `log` can tell.
    site.envoy.clock().set_wall(wall);
    site.workers[0].reload().unwrap();
    assert_eq!(site.ask(0, reading).unwrap(), "allow");
    assert_eq!(site.ask(0, creating).unwrap(), "503 stale");
}

#[test]
fn a_control_plane_that_comes_back_is_heard_within_seconds() {
    let mut site = Site::start(1).unwrap();
    let [reading, _] = requests(&site);
    for _ in 0..60 {
        for _ in 0..20 {
            site.advance(50);
            site.tick().unwrap();
            for call in site.leader.http_calls() {
                site.leader.fail_http_call(call.token).unwrap();
            }
        }
    }
    assert_eq!(site.ask(0, reading.clone()).unwrap(), "503 stale");
    site.live(3).unwrap();
    assert_eq!(site.ask(0, reading).unwrap(), "allow");
}

#[test]
fn a_wall_clock_that_jumps_ahead_and_back_closes_the_gate_and_opens_it_again() {
    let mut site = Site::start(2).unwrap();
    let [reading, _] = requests(&site);
    let wall = site.envoy.clock().wall();
    site.envoy.clock().set_wall(wall + Duration::from_secs(400 * 86_400));
    for _ in 0..20 {
        site.envoy.clock().advance(Duration::from_millis(50));
        site.tick().unwrap();
        assert_eq!(site.ask_all(&reading).unwrap(), ["401 revoked_key"; 2]);
    }
    site.workers[1].reload().unwrap();
    assert_eq!(site.ask(1, reading.clone()).unwrap(), "held", "all has expired");
    site.envoy.clock().set_wall(wall + Duration::from_secs(2));
    site.live(4).unwrap();
    assert_eq!(site.ask_all(&reading).unwrap(), ["allow"; 2]);
}

#[test]
fn a_grace_that_is_configured_while_the_control_plane_is_gone_lets_low_risk_go_on() {
    let mut site = Site::start(1).unwrap();
    site.advance(3_600_000);
    let late = requests(&site);
    assert_eq!(verdicts(&mut site, &late), NONE);
    let grace = |site: &Site, actions: &[&str]| {
        let mut configuration: serde_json::Value =
            serde_json::from_slice(site.configuration()).unwrap();
        configuration["grace"] = site.control.grace(actions, site.now()).unwrap().into();
        configuration.to_string().into_bytes()
    };
    // An action that is not low risk is named in vain.
    let configuration = grace(&site, &["orders:read", "orders:create"]);
    assert!(site.workers[0].configure(&configuration).unwrap());
    site.workers[0].tick().unwrap();
    assert_eq!(verdicts(&mut site, &late), LOW);
    let other = grace(&site, &["orders:create"]);
    assert!(site.workers[0].configure(&other).unwrap());
    site.workers[0].tick().unwrap();
    assert_eq!(verdicts(&mut site, &late), NONE);
    assert!(site.workers[0].configure(&configuration).unwrap());
    site.workers[0].tick().unwrap();
    // Four hours after it was heard of last, it is over.
    site.advance(3 * 3_600_000);
    let later = requests(&site);
    assert_eq!(verdicts(&mut site, &later), LOW);
    site.advance(1_000);
    let later = requests(&site);
    assert_eq!(verdicts(&mut site, &later), NONE);
    assert_eq!(site.metric("gatepass_grace_refused"), 0);
}

#[test]
fn a_grace_that_no_root_key_signed_is_refused_and_counted() {
    let mut site = Site::start(1).unwrap();
    site.advance(3_600_000);
    let late = requests(&site);
    let mut configuration: serde_json::Value =
        serde_json::from_slice(site.configuration()).unwrap();
    let stranger = gatepass_tests::kit::signed::Signed::of("dev", "dev", site.now()).unwrap();
    configuration["grace"] = stranger.grace(&["orders:read"], site.now()).unwrap().into();
    assert!(site.workers[0].configure(configuration.to_string().as_bytes()).unwrap());
    site.workers[0].tick().unwrap();
    assert_eq!(verdicts(&mut site, &late), NONE);
    assert_eq!(site.metric("gatepass_grace_refused"), 1);
    configuration["grace"] = "AAAA".into();
    let taken = site.workers[0].configure(configuration.to_string().as_bytes()).unwrap();
    assert!(!taken && site.workers[0].has_logged("`grace`"));
}
