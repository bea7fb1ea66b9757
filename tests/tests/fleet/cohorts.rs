//! A policy that one Envoy of two has before the other: tried, held, promoted, withdrawn.

use std::time::Duration;

use gatepass_envoy::Envoy;
use gatepass_tests::kit::desk::{Said, word};
use gatepass_tests::kit::edge::{Edge, FLEET, Issued, POLICY, ask};
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::{bearing, until};
use serde_json::Value;

use super::{NOT_ENFORCED, SOON, all_enforce};

/// A real control plane with an Envoy in the cohort `canary` and one in none.
struct Pair {
    edge: Edge,
    main: Envoy,
    canary: Envoy,
    /// The cohort's join token.
    join: String,
}

impl Pair {
    fn start() -> Self {
        let edge = Edge::start().unwrap();
        edge.desk.done(&["cohort", "add", "canary", "--reason", "to try policies"]).unwrap();
        let added = ["join-token", "add", FLEET, "--cohort", "canary", "--reason", "the canary"];
        let join = word(&edge.desk.done(&added).unwrap(), "gpj_").unwrap();
        let main = edge.envoy().unwrap();
        let canary = envoy(&edge, "canary", &join);
        edge.until_fleet(SOON, |view| all_enforce(view, 2)).unwrap();
        Self { edge, main, canary, join }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.edge.desk.run(&[arguments, &["--reason", "a test"]].concat()).unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.text);
        said.text
    }

    /// Tries a policy in the cohort, until its Envoy enforces it.
    fn try_policy(&self, policy: &str) -> String {
        let file = self.edge.desk.file("tried.yaml", policy).unwrap();
        self.done(&["policy", "publish", &file, "--cohort", "canary", "--wait"])
    }

    fn cohort(&self) -> Value {
        let all = self.edge.desk.done(&["cohort", "list", "--json"]).unwrap();
        let all: Value = serde_json::from_str(&all).unwrap();
        all.get(0).unwrap().clone()
    }

    /// What is known of the cohort, once the Envoys have told so much.
    fn until_cohort(&self, is: impl Fn(&Value) -> bool) -> Value {
        let start = std::time::Instant::now();
        loop {
            let cohort = self.cohort();
            if is(&cohort) {
                return cohort;
            }
            // A control plane that has just started promotes nothing for 27 s.
            assert!(start.elapsed() < 2 * SOON, "still {cohort:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A gatepass for listing orders, which every policy here allows.
    fn listing(&self) -> String {
        let listing = r#"[{"type":"agent_action","actions":["orders:list"]}]"#;
        let asked = [("resource", "https://orders.example"), ("authorization_details", listing)];
        self.edge.agent.gatepass(&asked).unwrap().token
    }
}

fn envoy(edge: &Edge, audience: &str, join: &str) -> Envoy {
    let mut plugin = edge.desk.plugin().unwrap();
    plugin.feed_audience = audience.to_owned();
    let bootstrap = edge.bootstrap(&plugin).unwrap().env("GATEPASS_JOIN_TOKEN", join);
    Envoy::launch(&bootstrap).unwrap()
}

fn verdict(envoy: &Envoy, path: &str, gatepass: Option<&str>) -> String {
    ask(envoy, path, gatepass).unwrap().verdict()
}

/// So many requests on one connection, each with this end.
fn many(envoy: &Envoy, times: usize, path: &str, gatepass: Option<&str>, expected: &str) {
    let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
    for _ in 0..times {
        let response = connection.exchange(&bearing("GET", path, gatepass)).unwrap();
        assert_eq!(response.verdict(), expected);
    }
}

fn number(cohort: &Value, pointer: &str) -> u64 {
    cohort.pointer(pointer).and_then(Value::as_u64).unwrap()
}

#[test]
fn a_policy_is_tried_in_the_cohort_alone_and_what_is_revoked_is_revoked_in_both() {
    let pair = Pair::start();
    let said = pair.try_policy(&stricter());
    assert!(said.contains("every Envoy enforces") && said.contains(": 1"), "{said}");
    let reading = pair.edge.reading().unwrap();
    assert_eq!(verdict(&pair.main, "/orders", Some(&reading)), "200");
    assert_eq!(verdict(&pair.canary, "/orders", Some(&reading)), "403 insufficient_scope");
    let view = pair.edge.fleet().unwrap();
    let mut audiences: Vec<&str> = view.envoys.iter().map(|e| e.audience.as_str()).collect();
    audiences.sort_unstable();
    assert_eq!(audiences, ["canary", "prod"]);
    assert!(all_enforce(&view, 2), "each the policy that is meant for it: {view:#?}");
    assert_eq!((view.policy_version, view.cohorts.len()), (1, 1));
    let shown = pair.edge.desk.done(&["fleet"]).unwrap();
    assert!(shown.contains("in the cohort canary"), "{shown}");

    // A revocation is for both, and at once: no other step of the feed is waited for.
    let Issued { jti, token } = pair.edge.issued().unwrap();
    let listing = pair.listing();
    for envoy in [&pair.main, &pair.canary] {
        assert_eq!(verdict(envoy, "/lists", Some(&listing)), "200");
    }
    assert_eq!(verdict(&pair.main, "/orders", Some(&token)), "200");
    assert_eq!(pair.edge.revoke(&jti).unwrap().status, 200);
    let denied = |envoy: &Envoy, path: &str, token: &str, code: &str| {
        let asked = || ask(envoy, path, Some(token));
        let (_, took) = until(SOON, asked, |response| response.verdict() == code).unwrap();
        println!("{code} after {} ms", took.as_millis());
    };
    denied(&pair.main, "/orders", &token, "401 revoked_credential");
    denied(&pair.canary, "/orders", &token, "401 revoked_credential");
    let agent = pair.edge.agent.id.clone();
    pair.done(&["revoke", "agent", &agent, "--wait"]);
    for envoy in [&pair.main, &pair.canary] {
        assert_eq!(verdict(envoy, "/lists", Some(&listing)), "401 revoked_agent");
    }

    // Back by somebody's word, forward in the feed.
    let said = pair.done(&["policy", "withdraw", "--wait"]);
    assert!(said.contains(": 1"), "only the cohort is waited for: {said}");
    let reading = pair.edge.reading().unwrap();
    for envoy in [&pair.main, &pair.canary] {
        let asked = || ask(envoy, "/orders", Some(&reading));
        until(SOON, asked, |response| response.status == 200).unwrap();
    }

    // An Envoy that nobody let into the cohort hears nothing, and so lets nothing on.
    let stranger = envoy(&pair.edge, "canary", pair.edge.join());
    assert_eq!(verdict(&stranger, "/orders", Some(&reading)), "503 not_ready");
    assert_eq!(pair.edge.fleet().unwrap().envoys.len(), 2);
    // Nor does a cohort's token open the feed of all others.
    let reverse = envoy(&pair.edge, "prod", &pair.join);
    assert_eq!(verdict(&reverse, "/orders", Some(&reading)), "503 not_ready");
}

#[test]
fn a_promotion_is_held_by_denials_of_verified_gatepasses_and_not_by_junk() {
    let pair = Pair::start();
    // One more route: nothing that was allowed is denied.
    pair.try_policy(&format!("{POLICY}      - match: GET /new\n        public: true\n"));
    let said = pair.run(&["policy", "promote"]);
    assert_ne!(said.code, Some(0), "nothing was seen yet");
    assert!(said.text.contains("0 decisions on verified gatepasses"), "{}", said.text);
    let (listing, reading) = (pair.listing(), pair.edge.reading().unwrap());
    for envoy in [&pair.main, &pair.canary] {
        many(envoy, 150, "/lists", Some(&listing), "200");
    }

    // Junk: none, what is no gatepass, one with another's signature, one that is revoked.
    let Issued { jti, token } = pair.edge.issued().unwrap();
    assert_eq!(pair.edge.revoke(&jti).unwrap().status, 200);
    // It may be let on until the gate has heard of it.
    let before = std::cell::Cell::new(0_u64);
    let asked = || ask(&pair.canary, "/orders", Some(&token));
    let refused = |response: &Response| {
        before.set(before.get() + u64::from(response.status == 200));
        response.status == 401
    };
    until(SOON, asked, refused).unwrap();
    let allowed = 151 + before.get();
    let (head, _) = listing.rsplit_once('.').unwrap();
    let (_, signature) = reading.rsplit_once('.').unwrap();
    let forged = format!("{head}.{signature}");
    for (junk, expected) in [
        (None, "401 no_credential"),
        (Some("x.y.z"), "401 malformed"),
        (Some(forged.as_str()), "401 bad_signature"),
        (Some(token.as_str()), "401 revoked_credential"),
    ] {
        many(&pair.canary, 200, "/lists", junk, expected);
    }
    // What comes after the junk was counted is told after it.
    many(&pair.canary, 1, "/lists", Some(&listing), "200");
    let cohort = pair.until_cohort(|cohort| number(cohort, "/seen/allowed") >= allowed);
    assert_eq!((number(&cohort, "/seen/allowed"), number(&cohort, "/seen/denied")), (allowed, 0));
    pair.until_cohort(|cohort| number(cohort, "/elsewhere/allowed") >= 150);
    // Among others until the control plane runs for long enough to have heard of all.
    pair.until_cohort(|cohort| cohort.pointer("/held") == Some(&Value::Array(Vec::new())));
    let said = pair.done(&["policy", "promote", "--wait"]);
    assert!(said.contains(": 2"), "all are waited for: {said}");
    assert_eq!(verdict(&pair.main, "/new", None), "200");

    // The next one denies what was allowed.
    pair.try_policy(&stricter());
    for envoy in [&pair.main, &pair.canary] {
        many(envoy, 150, "/lists", Some(&listing), "200");
    }
    many(&pair.canary, 30, "/orders", Some(&reading), "403 insufficient_scope");
    many(&pair.main, 30, "/orders", Some(&reading), "200");
    pair.until_cohort(|cohort| {
        number(cohort, "/seen/denied") >= 30 && number(cohort, "/elsewhere/allowed") >= 180
    });
    let said = pair.run(&["policy", "promote"]);
    assert_ne!(said.code, Some(0), "{}", said.text);
    let figures = "30 of 180 (16.6%) were denied in the cohort and 0 of 180 (0.0%) elsewhere";
    assert!(said.text.contains(figures), "{}", said.text);
    assert!(said.text.contains("--despite-denials"), "{}", said.text);
    let shown = pair.edge.desk.done(&["cohort", "list"]).unwrap();
    assert!(shown.contains("canary  tries version 3") && shown.contains(figures), "{shown}");

    // It stays as it is, whatever was seen: in the cohort the new one, elsewhere the one before.
    let cohort = pair.cohort();
    assert_eq!(
        (number(&cohort, "/policy_version"), pair.edge.fleet().unwrap().policy_version),
        (3, 2)
    );
    many(&pair.canary, 30, "/orders", Some(&reading), "403 insufficient_scope");
    many(&pair.main, 1, "/orders", Some(&reading), "200");
    // Whoever knows why says so, and both enforce it.
    let said = pair.done(&["policy", "promote", "--despite-denials", "--wait"]);
    assert!(said.contains(": 2"), "{said}");
    for envoy in [&pair.main, &pair.canary] {
        many(envoy, 1, "/orders", Some(&reading), "403 insufficient_scope");
    }
    let said = pair.run(&["policy", "withdraw"]);
    assert_ne!(said.code, Some(0), "there is nothing to go back from: {}", said.text);
    assert_ne!(said.code, Some(NOT_ENFORCED));
}

/// Reading orders takes a scope that nobody has.
fn stricter() -> String {
    let read = "orders:read: {risk: low, staleness: 60s}";
    let strict = "orders:read: {risk: low, staleness: 60s, scopes: {all: [orders.read]}}";
    let policy = POLICY.replace(read, strict);
    assert_ne!(policy, POLICY);
    policy
}
