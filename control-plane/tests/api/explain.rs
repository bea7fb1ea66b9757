//! A request and a gatepass, decided check by check by a running control plane.

use gatepass_engine::redeem::Verdict;
use serde_json::{Value, json};

use crate::budgets;
use crate::cohorts::{stricter, with_canary};
use crate::kit::{Agent, Answer, Ask, Follower, ORDERS, POLICY, Plane, claims, send};
use crate::uses::question;

mod command;
mod secrecy;

/// Orders in a JSON body, with rules on their amount.
const RULED: &str = r#"-- gatepass.yaml --
actions:
  orders:create: {risk: medium, body: json}
  orders:read: {risk: low}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {type: integer, body: /amount}
      - match: GET /orders/{id}
        action: orders:read
      - match: GET /healthz
        public: true
-- rules.cedar --
@id("all")
permit (principal, action, resource);
@id("large") @code("ask_a_person") @message("Above 100 a person orders.")
forbid (principal, action == Action::"orders:create", resource)
when { context.inputs has amount && context.inputs.amount > 100 };
@id("soon") @mode("shadow")
forbid (principal, action == Action::"orders:create", resource)
when { context.inputs has amount && context.inputs.amount > 50 };
"#;

/// `GET /orders/1` with this gatepass.
fn read(token: &str) -> Value {
    json!({ "method": "GET", "host": "orders.example", "path": "/orders/1", "gatepass": token })
}

/// `POST /orders` with this gatepass and an order of this amount.
fn order(token: &str, amount: u32) -> Value {
    json!({
        "method": "POST", "host": "orders.example", "path": "/orders", "gatepass": token,
        "headers": [["Content-Type", "application/json"]],
        "body": json!({ "amount": amount }).to_string(),
    })
}

/// The same with one member changed.
fn but(mut asked: Value, member: &str, value: impl Into<Value>) -> Value {
    asked[member] = value.into();
    asked
}

fn without(mut asked: Value, member: &str) -> Value {
    asked.as_object_mut().unwrap().remove(member).unwrap();
    asked
}

fn asks(plane: &Plane, asked: &Value) -> Answer {
    plane.admin_as(&plane.admin, "POST", "/v1/explain", asked)
}

/// What is explained; nothing is changed by it.
fn explain(plane: &Plane, asked: &Value) -> Value {
    let before = plane.standing();
    let answer = asks(plane, asked);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(plane.standing(), before, "nothing is changed");
    answer.json()
}

/// It is denied with this code, by the last check that it tells of.
fn denied(plane: &Plane, asked: &Value, code: &str) -> Value {
    let told = explain(plane, asked);
    assert_eq!((&told["decision"], &told["code"]), (&"deny".into(), &code.into()), "{told:#}");
    let last = told["checks"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["outcome"], &last["code"]), (&"failed".into(), &code.into()), "{told:#}");
    assert!(told["status"].as_u64().unwrap() >= 400 && told["next"].is_string(), "{told:#}");
    told
}

fn decided(plane: &Plane, asked: &Value, decision: &str) -> Value {
    let told = explain(plane, asked);
    assert_eq!(told["decision"], decision, "{told:#}");
    let all = told["checks"].as_array().unwrap();
    assert!(all.iter().all(|check| check["outcome"] != "failed"), "{told:#}");
    told
}

fn furnished() -> (Plane, Agent, String) {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let token = agent.gatepass(&plane, &Ask::read());
    (plane, agent, token)
}

fn ruled() -> (Plane, String) {
    let plane = Plane::furnished();
    plane.change("/v1/policies", json!({ "content": RULED }));
    let actions = json!(["orders:create", "orders:read"]);
    let entries = json!([{ "actions": actions, "locations": [ORDERS] }]);
    plane.blueprint("orderer", json!({ "entries": entries, "scopes": [] }));
    let agent = plane.agent_of(1, "orderer", "user:corp/alice", "p1");
    let token = agent.gatepass(&plane, &Ask::actions(&["orders:create"]));
    (plane, token)
}

#[test]
fn what_a_gate_allows_is_explained_with_every_check_and_its_twins_are_denied() {
    let (plane, agent, token) = furnished();
    assert_eq!(Follower::of(&plane).reads(&token), Ok(()));
    let told = decided(&plane, &read(&token), "allow");
    let claims = claims(&token);
    assert_eq!(told["position"], plane.standing().0);
    assert_eq!(told["action"], "orders:read");
    assert_eq!(told["agent"], agent.id.as_str());
    assert_eq!((&told["owner"], &told["task"]), (&"user:corp/alice".into(), &claims["txn"]));
    assert_eq!(told["gatepass"], claims["jti"]);
    assert_eq!(told["age_ms"], 0);
    assert_eq!((&told["code"], &told["status"]), (&Value::Null, &Value::Null));
    let checks = told["checks"].as_array().unwrap();
    assert_eq!(checks[0], json!({ "check": "request has one spelling", "outcome": "passed" }));
    let revoked = json!({ "check": "nothing in the chain is revoked", "outcome": "passed" });
    assert!(checks.contains(&revoked), "{told:#}");

    let other = without(read(&token), "gatepass");
    let (signed, _) = token.rsplit_once('.').unwrap();
    let broken = format!("{signed}.{}", "A".repeat(86));
    for (asked, code) in [
        (but(read(&token), "path", "/nothing"), "no_route"),
        (but(read(&token), "host", "other.example"), "no_route"),
        (but(read(&token), "method", "DELETE"), "no_route"),
        (but(read(&token), "path", "/orders"), "action_not_granted"),
        (but(read(&token), "path", "/orders/../x"), "ambiguous_request"),
        (but(read(&token), "host", ""), "ambiguous_request"),
        (but(read(&token), "body", "{}"), "body_not_allowed"),
        (but(read(&token), "headers", json!([["Content-Length", "5"]])), "body_not_allowed"),
        (but(read(&token), "headers", json!([["Upgrade", "websocket"]])), "stream_not_allowed"),
        (but(read(&token), "headers", json!([["Authorization", "Bearer x"]])), "ambiguous_request"),
        (but(read(&token), "age", 86_400), "stale"),
        (but(read(&token), "gatepass", "x"), "malformed"),
        (but(read(&token), "gatepass", ""), "malformed"),
        (but(read(&token), "gatepass", "a b\nc"), "malformed"),
        (but(read(&token), "gatepass", broken), "bad_signature"),
        (other, "no_credential"),
    ] {
        denied(&plane, &asked, code);
    }
}

#[test]
fn what_is_revoked_or_over_is_denied_at_once() {
    let (plane, agent, token) = furnished();
    decided(&plane, &read(&token), "allow");
    plane.change(&format!("/v1/agents/{}/suspend", agent.id), json!({}));
    let told = denied(&plane, &read(&token), "revoked_agent");
    assert_eq!(told["agent"], agent.id.as_str(), "verified all the same");
    let token = plane.agent(2).gatepass(&plane, &Ask::read());
    decided(&plane, &read(&token), "allow");
    plane.pass(claims(&token)["exp"].as_u64().unwrap() - plane.now());
    denied(&plane, &read(&token), "expired");
}

#[test]
fn the_rules_that_decide_are_named_and_what_they_tell_the_caller() {
    let (plane, token) = ruled();
    let permit = json!([{ "effect": "permit", "id": "all" }]);
    let told = decided(&plane, &order(&token, 50), "allow");
    assert_eq!((&told["rules"], &told["shadow_rules"]), (&permit, &json!([])));
    let told = decided(&plane, &order(&token, 51), "allow");
    assert_eq!(told["shadow_rules"], json!([{ "effect": "forbid", "id": "soon" }]));
    let told = denied(&plane, &order(&token, 101), "policy_denied");
    assert_eq!(told["rules"], json!([{ "effect": "forbid", "id": "large" }]));
    let said = json!({ "code": "ask_a_person", "message": "Above 100 a person orders." });
    assert_eq!((&told["policy"], &told["status"]), (&said, &403.into()));
}

#[test]
fn a_body_is_read_as_a_gate_reads_it() {
    let (plane, token) = ruled();
    decided(&plane, &order(&token, 1), "allow");
    let twice = but(order(&token, 1), "body", "{\"amount\":1,\"amount\":1}");
    denied(&plane, &twice, "body_malformed");
    denied(&plane, &without(order(&token, 1), "headers"), "body_not_allowed");
    // Without it, as far as the headers go.
    let announced = json!([["content-type", "application/json"], ["content-length", "12"]]);
    let told = but(without(order(&token, 1), "body"), "headers", announced);
    let told = decided(&plane, &told, "read");
    assert_eq!(told["body_bytes"], 65_536);
    // Public routes ask for nothing.
    let public = json!({ "method": "GET", "host": "orders.example", "path": "/healthz" });
    assert_eq!(decided(&plane, &public, "allow")["open"], "public");
}

#[test]
fn a_use_is_asked_about_and_still_there() {
    let (plane, agent, _) = furnished();
    let once = json!({ "actions": ["orders:read"], "uses": 1 });
    let token = agent.gatepass(&plane, &Ask::entry(once).with("resource", ORDERS));
    for _ in 0..3 {
        let told = decided(&plane, &read(&token), "redeem");
        assert_eq!((&told["confirms"], &told["spent"]), (&json!(["use"]), &false.into()));
        assert_eq!(told["agent"], agent.id.as_str());
    }
    let asked = question(&plane, &token, "1");
    assert_eq!(plane.redeemed("gate-1", &asked), Verdict::Granted, "it was still there");
    assert_eq!(decided(&plane, &read(&token), "redeem")["spent"], true);
    denied(&plane, &but(read(&token), "path", "/orders"), "action_not_granted");
}

#[test]
fn what_is_reserved_of_a_budget_is_asked_about_and_still_there() {
    let plane = budgets::furnished();
    let agent = budgets::orderer(&plane, 1);
    let token = agent.gatepass(&plane, &budgets::order("5000.00 USD"));
    let held = || plane.get(&format!("/v1/budgets?holder={}", agent.id));
    let before = held();
    let order = |amount: &str| {
        let path = format!("/orders?amount={amount}&currency=USD");
        but(but(read(&token), "method", "POST"), "path", path)
    };
    let told = decided(&plane, &order("5000.00"), "redeem");
    assert_eq!((&told["confirms"], &told["spent"]), (&json!(["use"]), &false.into()));
    denied(&plane, &order("5000.01"), "constraint_violated");
    assert_eq!(held(), before);
    let asked = question(&plane, &token, "1");
    assert_eq!(plane.redeemed("gate-1", &asked), Verdict::Granted);
}

#[test]
fn a_cohort_is_explained_by_the_policy_that_it_tries() {
    let plane = with_canary();
    let token = plane.agent(1).gatepass(&plane, &Ask::read());
    let tried = but(read(&token), "audience", "canary");
    decided(&plane, &tried, "allow");
    plane.change("/v1/policies", json!({ "content": stricter(), "cohort": "canary" }));
    denied(&plane, &tried, "insufficient_scope");
    decided(&plane, &read(&token), "allow");
    decided(&plane, &but(read(&token), "audience", "prod"), "allow");
    let answer = asks(&plane, &but(read(&token), "audience", "nobody"));
    assert_eq!((answer.status, &answer.json()["field"]), (400, &"audience".into()));
}

#[test]
fn an_action_in_shadow_mode_goes_on_and_what_it_would_be_denied_for_is_told() {
    let (plane, _, token) = furnished();
    let bare = without(read(&token), "gatepass");
    denied(&plane, &bare, "no_credential");
    let shadow = POLICY.replace("orders:read:\n", "orders:read:\n    mode: shadow\n");
    assert_ne!(shadow, POLICY);
    plane.change("/v1/policies", json!({ "content": shadow }));
    let told = explain(&plane, &bare);
    assert_eq!(told["decision"], "shadow");
    assert_eq!((&told["code"], &told["status"]), (&"no_credential".into(), &401.into()));
    decided(&plane, &read(&token), "allow");
}

/// The same snapshot serves as long as nothing changes, and a gate that polls is told of it too.
#[test]
fn it_follows_time_and_changes_as_a_gate_that_polls_does() {
    let (plane, agent, token) = furnished();
    for _ in 0..5 {
        assert_eq!(decided(&plane, &read(&token), "allow")["age_ms"], 0);
        plane.pass(7);
        assert_eq!(Follower::of(&plane).reads(&token), Ok(()));
    }
    plane.pass(700);
    let token = agent.gatepass(&plane, &Ask::read());
    assert_eq!(decided(&plane, &read(&token), "allow")["age_ms"], 0);
    plane.pass(1);
    plane.change("/v1/policies", json!({ "content": stricter() }));
    denied(&plane, &read(&token), "insufficient_scope");
    let mut gate = Follower::of(&plane);
    assert!(gate.now_reads(&plane, &token).is_err());
}

#[test]
fn what_cannot_be_asked_is_a_problem_that_names_the_member() {
    let (plane, _, token) = furnished();
    let asked = || read(&token);
    let many = json!(vec![["x", "1"]; 101]);
    let long = "a".repeat(61 * 1024);
    for (asked, field) in [
        (but(asked(), "reason", "why"), "reason"),
        (but(asked(), "token", "x"), "token"),
        (without(asked(), "method"), "method"),
        (without(asked(), "path"), "path"),
        (but(asked(), "gatepass", 5), "gatepass"),
        (but(asked(), "age", -1), "age"),
        (but(asked(), "age", u64::MAX), "age"),
        (but(asked(), "source", "localhost"), "source"),
        (but(asked(), "headers", json!({ "x": "1" })), "headers"),
        (but(asked(), "headers", json!([["x"]])), "headers[0]"),
        (but(asked(), "headers", json!([["host", "x"]])), "headers"),
        (but(asked(), "headers", json!([["x", "a\r\nb: c"]])), "headers"),
        (but(asked(), "headers", many), "headers"),
        (but(asked(), "path", long.as_str()), "path"),
        (but(asked(), "gatepass", long.as_str()), "gatepass"),
        (json!([]), "body"),
    ] {
        let answer = asks(&plane, &asked);
        assert!(answer.status == 400 && answer.is_problem(), "{field}: {}", answer.text());
        let told = answer.json();
        assert_eq!((&told["code"], &told["field"]), (&"invalid".into(), &field.into()), "{told}");
        assert!(!answer.text().contains(&token), "{field}");
    }
    let answer = asks(&plane, &but(asked(), "body", "a".repeat(1 << 20)));
    assert_eq!((answer.status, &answer.json()["code"]), (413, &"body_too_long".into()));
    let authorization = format!("Bearer {}", plane.admin);
    let headers = [("authorization", authorization.as_str())];
    let bytes = asked().to_string();
    let to = plane.addresses().admin;
    let answer = send(to, "POST", "/v1/explain", &headers, bytes.as_bytes());
    assert_eq!(answer.json()["field"], "content-type", "{}", answer.text());
    decided(&plane, &asked(), "allow");
}

#[test]
fn who_may_read_may_ask_and_nobody_else() {
    let (plane, agent, token) = furnished();
    for role in ["viewer", "operator", "approver", "auditor"] {
        let secret = plane.operator(role, role, None);
        let answer = plane.admin_as(&secret, "POST", "/v1/explain", &read(&token));
        assert_eq!((answer.status, &answer.json()["decision"]), (200, &"allow".into()), "{role}");
    }
    for secret in ["", "gpo_x", &token, &agent.id] {
        let answer = plane.admin_as(secret, "POST", "/v1/explain", &read(&token));
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.is_problem() && answer.json()["checks"].is_null());
    }
    let answer = plane.admin_as(&plane.admin, "GET", "/v1/explain", &Value::Null);
    assert_eq!(answer.status, 405);
}

#[test]
fn many_who_ask_at_once_are_answered_one_after_the_other() {
    let (plane, _, token) = furnished();
    let plane = &plane;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|n| {
                let path = if n % 2 == 0 { "/orders/1" } else { "/nothing" };
                let asked = but(read(&token), "path", path);
                scope.spawn(move || (n, asks(plane, &asked).json()["decision"].clone()))
            })
            .collect();
        for asked in all {
            let (n, decision) = asked.join().unwrap();
            assert_eq!(decision, if n % 2 == 0 { "allow" } else { "deny" });
        }
    });
}
