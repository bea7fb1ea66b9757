//! Of all who use a gatepass at once, through two Envoys, one is let on.

use std::collections::HashMap;

use gatepass_envoy::Listener;
use gatepass_tests::kit::wire::Connection;
use gatepass_tests::kit::world::bearing;

use crate::site::{AGENTS, Pass, Site, ask, pay, pay_all};

/// `GATEPASS_REDEEMS` asks for more of them: `make redeems` for 10,000.
fn how_many() -> usize {
    std::env::var("GATEPASS_REDEEMS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

#[test]
fn of_concurrent_requests_over_two_envoys_exactly_one_is_allowed_for_each_gatepass() {
    let site = Site::start();
    let envoys = [site.envoy("edge-1"), site.envoy("edge-2")];
    let each = 4;
    let passes: Vec<Pass> =
        (0..how_many() / each).map(|n| site.pass_of(n % AGENTS, "orders:pay")).collect();
    // Those of one gatepass follow each other, so that they meet.
    let asked: Vec<Pass> = passes.iter().flat_map(|pass| vec![pass.clone(); each]).collect();
    let began = std::time::Instant::now();
    let told = pay_all(&[&envoys[0], &envoys[1]], &asked, 128);
    let took = began.elapsed();
    let mut verdicts: HashMap<&str, usize> = HashMap::new();
    let mut allowed: HashMap<&str, usize> = HashMap::new();
    for (pass, verdict) in asked.iter().zip(&told) {
        *verdicts.entry(verdict).or_default() += 1;
        if verdict == "200" {
            *allowed.entry(&pass.jti).or_default() += 1;
        }
    }
    println!("{} redeems in {took:?}: {verdicts:?}", asked.len());
    assert!(allowed.values().all(|times| *times == 1), "{allowed:?}");
    assert_eq!(verdicts.get("200"), Some(&passes.len()), "{verdicts:?}");
    assert_eq!(verdicts.get("401 replayed"), Some(&(asked.len() - passes.len())), "{verdicts:?}");
    let paid = site.upstream.take().iter().filter(|one| one.line().contains("/payments")).count();
    assert_eq!(paid, passes.len(), "the upstream");
    assert_eq!(site.spent(), passes.len() as u64, "the record");
}

#[test]
fn a_use_is_spent_in_the_whole_fleet_and_what_has_none_is_not_asked_about() {
    let site = Site::start();
    let (one, two) = (site.envoy("edge-1"), site.envoy("edge-2"));
    let pass = site.pass("orders:pay");
    assert_eq!(pay(&one, &pass).verdict(), "200");
    for envoy in [&two, &one, &two] {
        let answer = pay(envoy, &pass);
        assert_eq!(answer.verdict(), "401 replayed");
        assert!(answer.header("www-authenticate").is_some());
    }
    assert_eq!(pay(&two, &site.pass("orders:pay")).verdict(), "200", "another gatepass");
    // By the entry, whatever the action says.
    let details = r#"[{"type":"agent_action","actions":["orders:read"],"uses":1}]"#;
    let bound = site.pass_with(0, details);
    assert_eq!(ask(&one, "GET", "/orders", &bound).verdict(), "200");
    assert_eq!(ask(&two, "GET", "/orders", &bound).verdict(), "401 replayed");
    let plain = site.pass("orders:read");
    for envoy in [&one, &two, &one] {
        assert_eq!(ask(envoy, "GET", "/orders", &plain).verdict(), "200");
    }
    assert_eq!(site.spent(), 3);
}

#[test]
fn what_may_happen_once_is_sent_once_whatever_retries_envoy_was_given() {
    let site = Site::start();
    let listener = Listener::forwarding("in", site.upstream.address()).repeating();
    let envoy = site.envoy_with("edge-1", listener);
    let _ = site.upstream.take();
    let sent = |path: &str| {
        let all = site.upstream.take();
        all.iter().filter(|one| one.line().contains(path)).count()
    };
    // The twin: what may be repeated is.
    let plain = site.pass("orders:read");
    assert_eq!(ask(&envoy, "GET", "/orders", &plain).verdict(), "200");
    assert_eq!(sent("/orders"), 3);
    assert_eq!(pay(&envoy, &site.pass("orders:pay")).verdict(), "200");
    assert_eq!(sent("/payments"), 1);
    // And where the caller asks for more.
    let pass = site.pass("orders:pay");
    let mut request = String::from_utf8(bearing("GET", "/payments", Some(&pass.token))).unwrap();
    request.insert_str(
        request.len() - 2,
        "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 200\r\nx-envoy-max-retries: 5\r\n",
    );
    let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
    assert_eq!(connection.exchange(request.as_bytes()).unwrap().verdict(), "200");
    assert_eq!(sent("/payments"), 1);
}

#[test]
fn what_is_denied_for_another_reason_keeps_its_use() {
    let site = Site::start();
    let envoy = site.envoy("edge-1");
    let pass = site.pass("orders:pay");
    assert_eq!(ask(&envoy, "GET", "/orders", &pass).verdict(), "403 action_not_granted");
    assert_eq!(ask(&envoy, "GET", "/nowhere", &pass).verdict(), "403 no_route");
    assert_eq!(site.spent(), 0);
    assert_eq!(pay(&envoy, &pass).verdict(), "200");
}

#[test]
fn a_body_is_read_before_its_use_is_spent_and_goes_on_whole_afterwards() {
    let site = Site::start();
    let envoy = site.envoy("edge-1");
    let details =
        r#"[{"type":"agent_action","actions":["orders:buy"],"constraints":{"count":{"max":5}}}]"#;
    let pass = site.pass_with(0, details);
    let buy = |body: &str| {
        let request = format!(
            "POST /purchases HTTP/1.1\r\nhost: orders.example\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            pass.token,
            body.len()
        );
        let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
        connection.send(request.as_bytes()).unwrap();
        connection.send(body.as_bytes()).unwrap();
        connection.receive().unwrap().verdict()
    };
    let _ = site.upstream.take();
    assert_eq!(buy(r#"{"count": 6}"#), "403 constraint_violated");
    assert_eq!(site.spent(), 0);
    let large = format!(r#"{{"count": 5, "note": "{}"}}"#, "n".repeat(40_000));
    assert_eq!(buy(&large), "200");
    assert_eq!(buy(r#"{"count": 4}"#), "401 replayed");
    let received = site.upstream.take();
    assert_eq!(received.len(), 1);
    assert_eq!(String::from_utf8_lossy(&received[0].body), large);
    assert_eq!(site.spent(), 1);
}
