//! Shadow mode refuses nothing, counts what it would have refused, and grants nobody an identity.

use gatepass_engine::revocation::Kind;
use gatepass_tests::host::{Outcome, Request};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::signed::{AGENT, JTI, grant};
use gatepass_tests::kit::site::{Site, order};
use serde_json::Value;

fn shadow(configuration: &mut Value) {
    configuration["mode"] = "shadow".into();
}

/// Sends a request that must go on, and gives what its filter state and headers say.
fn passed(site: &mut Site, request: Request) -> (String, String, Option<String>) {
    let worker = &mut site.workers[0];
    let stream = worker.send(request).unwrap();
    let Outcome::Continued(upstream) = worker.outcome(stream).unwrap() else {
        panic!("{:?}", worker.outcome(stream).unwrap());
    };
    let record = filter::record(worker, stream);
    let code = worker.filter_state(stream, "gatepass_code");
    let refused = code.map(|code| String::from_utf8(code.to_vec()).unwrap());
    assert_eq!(refused.as_ref(), record.get("code").filter(|_| record["decision"] != "allow"));
    let said = (
        record["decision"].clone(),
        record["code"].clone(),
        upstream.text("x-gatepass-agent").map(str::to_owned),
    );
    worker.finish(stream).unwrap();
    said
}

#[test]
fn a_gate_in_shadow_mode_lets_everything_through_and_says_what_it_would_have_done() {
    let mut site = Site::with(1, shadow).unwrap();
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    let cases = [
        (order("GET", "/orders", None), "no_credential"),
        (order("GET", "/orders", Some("a.b.c")), "malformed"),
        (order("GET", "/none", Some(&token)), "no_route"),
        (order("GET", "//orders", Some(&token)), "ambiguous_request"),
        (order("GET", "/orders", Some(&token)).with_body(), "body_not_allowed"),
        (order("DELETE", "/orders", Some(&token)), "action_not_granted"),
        (order("GET", "/orders", None).header("upgrade", "websocket"), "no_credential"),
    ];
    for (request, code) in cases {
        let request = request.header("x-gatepass-agent", "spoofed");
        let said = passed(&mut site, request);
        assert_eq!(said, ("shadow".into(), code.into(), None));
        let counted = format!("gatepass_decisions_by_code.shadow.{code}");
        assert!(site.metric(&counted) > 0, "{counted}");
    }
    let granted = passed(&mut site, order("GET", "/orders", Some(&token)));
    assert_eq!(granted, ("allow".into(), "decided".into(), Some(AGENT.into())));
    site.revoke(Kind::Credential, JTI).unwrap();
    let revoked = passed(&mut site, order("GET", "/orders", Some(&token)));
    assert_eq!(revoked, ("shadow".into(), "revoked_credential".into(), None));
    site.advance(60_000);
    let stale = passed(&mut site, order("GET", "/orders", Some(&token)));
    assert_eq!(stale, ("shadow".into(), "stale".into(), None));
    let all = site.envoy.metrics().all();
    assert!(!all.keys().any(|name| name.contains(".deny.")), "{all:?}");
    assert_eq!(site.metric("gatepass_mode_shadow"), 1);
}

#[test]
fn a_cold_gate_in_shadow_mode_holds_nothing() {
    let mut site = Site::cold(1, shadow).unwrap();
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    for request in [order("GET", "/orders", Some(&token)), order("GET", "/orders", None)] {
        let said = passed(&mut site, request);
        assert_eq!(said, ("shadow".into(), "not_ready".into(), None));
    }
    assert_eq!(site.metric("gatepass_requests_held"), 0);
}

#[test]
fn an_action_in_shadow_mode_is_let_through_and_its_neighbours_are_not() {
    let mut site = Site::start(1).unwrap();
    let said = passed(&mut site, order("GET", "/audit", None));
    assert_eq!(said, ("shadow".into(), "no_credential".into(), None));
    let read = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    let request = order("GET", "/audit", Some(&read));
    let said = passed(&mut site, request.clone());
    assert_eq!(said, ("shadow".into(), "action_not_granted".into(), None));
    let audit = site.control.issue(&grant("orders:audit"), site.now()).unwrap();
    let said = passed(&mut site, order("GET", "/audit", Some(&audit)));
    assert_eq!(said, ("allow".into(), "decided".into(), Some(AGENT.into())));
    assert_eq!(site.metric("gatepass_decisions_by_action.shadow.orders:audit"), 2);
    assert_eq!(site.metric("gatepass_mode_shadow"), 0);
    for (method, path) in [("GET", "/audits"), ("POST", "/audit"), ("GET", "//audit")] {
        let said = site.ask(0, order(method, path, None)).unwrap();
        assert_ne!(said, "allow", "{method} {path}");
    }
}

#[test]
fn a_gatepass_of_ours_does_not_go_further_in_shadow_mode_either() {
    let mut site = Site::with(1, shadow).unwrap();
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    for (path, own) in [("/orders", true), ("/none", true), ("//orders", true)] {
        let outcome = site.workers[0].decide(order("GET", path, Some(&token))).unwrap();
        let Outcome::Continued(upstream) = outcome else { panic!("{outcome:?}") };
        assert_eq!(upstream.text("authorization").is_none(), own, "{path}");
    }
    let foreign = order("GET", "/orders", None).header("authorization", "Basic eA==");
    let Outcome::Continued(upstream) = site.workers[0].decide(foreign).unwrap() else {
        panic!("not let through");
    };
    assert_eq!(upstream.text("authorization"), Some("Basic eA=="));
}
