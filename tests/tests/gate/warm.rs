//! The main job: what a gatepass grants goes through, and each twin with one thing changed does not.

use std::time::{Duration, Instant};

use gatepass::issue::Constraint;
use gatepass_tests::kit::world::{AGENT, BLUEPRINT, OWNER, TASK, World, bearing, grant, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn what_a_gatepass_grants_goes_through_with_the_agents_identity_and_nothing_else_does() {
    let world = World::start(2).unwrap();
    until(SOON, || world.ask("GET", "/orders", None), |r| r.verdict() == "401 no_credential")
        .unwrap();
    let read = world.control.issue(&grant("orders:read").unwrap()).unwrap();
    let _ = world.upstream.take();
    let allowed = world.ask("GET", "/orders/7", Some(&read)).unwrap();
    assert_eq!(allowed.verdict(), "200");
    let received = world.upstream.take();
    let received = received.first().unwrap();
    assert_eq!(received.line(), "GET /orders/7 HTTP/1.1");
    assert_eq!(received.header("x-gatepass-agent"), [AGENT]);
    assert_eq!(received.header("x-gatepass-owner"), [OWNER]);
    assert_eq!(received.header("x-gatepass-task"), [TASK]);
    assert_eq!(received.header("x-gatepass-action"), ["orders:read"]);
    assert_eq!(received.header("x-gatepass-decision-id").len(), 1);
    assert_eq!(received.header("authorization"), Vec::<String>::new());

    let denied = world.ask("POST", "/orders?amount=1.00&currency=EUR", Some(&read)).unwrap();
    assert_eq!(denied.verdict(), "403 action_not_granted");
    let unknown = world.ask("GET", "/nowhere", Some(&read)).unwrap();
    assert_eq!(unknown.verdict(), "403 no_route");
    assert_eq!(world.upstream.take(), vec![]);

    let mut scoped = grant("orders:create").unwrap();
    scoped.scopes.clear();
    let scoped = world.control.issue(&scoped).unwrap();
    let denied = world.ask("POST", "/orders?amount=1.00&currency=EUR", Some(&scoped)).unwrap();
    assert_eq!(denied.verdict(), "403 insufficient_scope");
    let challenge = denied.header("www-authenticate");
    assert_eq!(challenge, Some("Bearer error=\"insufficient_scope\", scope=\"orders.write\""));

    let access = world.envoy.until("the access log", SOON, |envoy| {
        let lines = envoy.access_log()?;
        Ok(lines.iter().any(|line| line["code"] == "insufficient_scope").then_some(lines))
    });
    let access = access.unwrap();
    let said = |line: &Value| line["gatepass"].as_str().unwrap_or_default().to_owned();
    let allowed = format!("decision=allow code=decided agent={AGENT} action=orders:read id=");
    let line = access.iter().find(|line| said(line).starts_with(&allowed)).unwrap();
    assert_eq!(line["code"], Value::Null, "the refused alone have it");
    let line = access.iter().find(|line| line["code"] == "insufficient_scope").unwrap();
    assert_eq!(line["details"], "gatepass_denied_insufficient_scope");
    assert!(said(line).contains(" action=orders:create "), "{line}");
    let all = access.iter().map(ToString::to_string).collect::<String>();
    assert!(!all.contains(&read), "no token in the access log");
    assert!(world.envoy.wasm_stat("gatepass_decisions_by_code.allow.decided").unwrap() >= 1);
    assert!(world.envoy.wasm_stat("gatepass_decisions_by_action.deny.orders:create").unwrap() >= 2);
}

#[test]
fn a_shadow_action_refuses_nothing_and_says_what_it_would_have_done() {
    let world = World::start(1).unwrap();
    until(SOON, || world.ask("GET", "/orders", None), |r| r.verdict() == "401 no_credential")
        .unwrap();
    assert_eq!(world.ask("GET", "/audit", None).unwrap().verdict(), "200");
    assert_eq!(world.ask("GET", "/orders", None).unwrap().verdict(), "401 no_credential");
    assert_eq!(
        world.envoy.wasm_stat("gatepass_decisions_by_code.shadow.no_credential").unwrap(),
        1
    );
    let received = world.upstream.take();
    assert!(received.iter().all(|request| request.header("x-gatepass-agent").is_empty()));
}

#[test]
fn a_policy_published_while_running_is_in_force_on_every_worker() {
    let world = World::start(2).unwrap();
    until(SOON, || world.ask("GET", "/orders", None), |r| r.verdict() == "401 no_credential")
        .unwrap();
    let mut workers = world.connections(2).unwrap();
    let narrower = gatepass_tests::kit::orders::POLICY
        .replace("  - match: GET /orders\n", "  - match: GET /orders/list\n");
    let read = world.control.issue(&grant("orders:read").unwrap()).unwrap();
    let request = bearing("GET", "/orders", Some(&read));
    for (_, connection) in &mut workers {
        assert_eq!(connection.exchange(&request).unwrap().verdict(), "200");
    }
    world.control.publish(&narrower).unwrap();
    let start = Instant::now();
    loop {
        // What is open then is cut: connections of their own for each look.
        let mut workers = world.connections(2).unwrap();
        let asked = workers.iter_mut().map(|(_, connection)| connection.exchange(&request));
        let verdicts: Vec<String> =
            asked.map(|response| response.map_or("cut".into(), |found| found.verdict())).collect();
        if verdicts == ["403 no_route", "403 no_route"] {
            break;
        }
        assert!(start.elapsed() < SOON, "{verdicts:?}");
    }
}

#[test]
fn amounts_are_held_to_the_constraint_to_the_last_place() {
    let world = World::start(1).unwrap();
    until(SOON, || world.ask("GET", "/orders", None), |r| r.verdict() == "401 no_credential")
        .unwrap();
    let mut limited = grant("orders:create").unwrap();
    let bound = Constraint { max: Some("500.00 EUR".into()), ..Constraint::default() };
    limited.entries.first_mut().unwrap().constraints.insert("amount".into(), bound);
    assert_eq!(limited.agent.blueprint, BLUEPRINT);
    let limited = world.control.issue(&limited).unwrap();
    let ask = |query: &str| {
        world.ask("POST", &format!("/orders?{query}"), Some(&limited)).unwrap().verdict()
    };
    assert_eq!(ask("amount=500.00&currency=EUR"), "200");
    assert_eq!(ask("amount=500.0001&currency=EUR"), "403 constraint_violated");
    assert_eq!(ask("amount=500.00&currency=USD"), "403 constraint_violated");
    assert_eq!(ask("amount=5e2&currency=EUR"), "403 constraint_violated");
    assert_eq!(ask("currency=EUR"), "403 constraint_violated");
    assert_eq!(ask("amount=500.00&currency=EUR&amount=1.00"), "400 ambiguous_request");
}
