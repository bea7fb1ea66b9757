//! Rules in Cedar through a real control plane and a real Envoy: what operators write decides, is told of, and is
//! asked when a gatepass is issued.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::path::Path;
use std::time::Duration;

use gatepass::decisions::DecisionView;
use gatepass_envoy::Envoy;
use gatepass_tests::kit::edge::{AUDIENCE, Edge, ask};
use gatepass_tests::kit::world::until;
use serde_json::{Value, json};

const WHOLE: &str = "\
environment: prod
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /healthz
        public: true
";
const ACTIONS: &str = "\
actions:
  orders:read:
    risk: low
    staleness: 900s
    routes:
      - match: GET /orders
    inputs:
      count: {type: integer, query: count}
      sum: {type: integer, query: sum}
      amount: {type: money, query: amount, currency: {query: currency}}
  orders:list:
    risk: medium
    staleness: 900s
    routes:
      - match: GET /lists
";
const RULES: &str = r#"
@id("buyers")
permit (principal in Gatepass::Blueprint::"buyer", action in Action::"orders", resource);

@id("many") @code("too_many") @message("At most 10 orders at a time.")
forbid (principal, action == Action::"orders:read", resource)
when { context.inputs has count && context.inputs.count > 10 };

@id("spend")
forbid (principal, action, resource)
when { context.inputs has amount && context.inputs.amount.amount.greaterThan(decimal("500.0")) };

@id("sums")
forbid (principal, action, resource)
when { context.inputs has sum && context.inputs.sum * 2 > 100 };

@id("few") @mode("shadow")
forbid (principal, action, resource)
when { context.inputs has count && context.inputs.count > 5 };

@id("far") @code("from_elsewhere")
forbid (principal, action == Action::"orders:read", resource)
unless { context.request has source && context.request.source.isInRange(ip("127.0.0.0/8")) };

@id("lists")
forbid (principal, action == Action::"orders:list", resource)
unless { context.gatepass.assurance == "attested" };
"#;
const SOON: Duration = Duration::from_secs(60);

fn folder(rules: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("actions")).unwrap();
    write("gatepass.yaml", WHOLE);
    write("actions/orders.yaml", ACTIONS);
    write("orders.cedar", rules);
    folder
}

fn publish(edge: &Edge, folder: &Path) {
    let folder = folder.to_str().unwrap();
    edge.desk.done(&["policy", "publish", folder, "--reason", "rules"]).unwrap();
}

fn start() -> (Edge, Envoy) {
    let edge = Edge::start().unwrap();
    publish(&edge, folder(RULES).path());
    let envoy = edge.envoy().unwrap();
    let token = edge.reading().unwrap();
    until(SOON, || ask(&envoy, "/orders", Some(&token)), |answer| answer.status == 200).unwrap();
    (edge, envoy)
}

/// Whether a line of the access log ends so.
fn logged(envoy: &Envoy, code: &str, ends: &str) {
    let line = envoy.until(ends, SOON, |envoy| {
        let lines = envoy.access_log()?;
        let mut said = lines.iter().filter_map(|line| line["gatepass"].as_str());
        let begins = format!("{code} agent=");
        Ok(said.any(|said| said.starts_with(&begins) && said.ends_with(ends)).then_some(()))
    });
    line.unwrap();
}

#[test]
fn what_operators_write_decides_and_says_so_everywhere() {
    let (edge, envoy) = start();
    let token = edge.reading().unwrap();
    let verdict = |path: &str| ask(&envoy, path, Some(&token)).unwrap();
    // Each denial beside a twin that differs in one number.
    for (path, expected) in [
        ("/orders?count=4", "200"),
        ("/orders?count=11", "403 policy_denied"),
        ("/orders?count=5&amount=500.00&currency=EUR", "200"),
        ("/orders?count=5&amount=500.01&currency=EUR", "403 policy_denied"),
        ("/orders?sum=50", "200"),
        ("/orders?sum=51", "403 policy_denied"),
        ("/orders?sum=9223372036854775807", "403 policy_error"),
        ("/orders?count=ten", "403 policy_error"),
    ] {
        assert_eq!(verdict(path).verdict(), expected, "{path}");
    }
    let denied = verdict("/orders?count=12");
    let body: Value = serde_json::from_slice(&denied.body).unwrap();
    let says = json!({ "code": "too_many", "message": "At most 10 orders at a time." });
    assert_eq!(body["policy"], says);
    assert!(!String::from_utf8_lossy(&denied.body).contains("many\",\"rules"), "ids stay here");
    let silent: Value = serde_json::from_slice(&verdict("/orders?sum=52").body).unwrap();
    assert_eq!(silent.get("policy"), None);

    logged(&envoy, "decision=deny code=policy_denied", " rules=many shadow_rules=few");
    logged(&envoy, "decision=deny code=policy_error", " rules=sums");
    logged(&envoy, "decision=allow code=decided", " rules=buyers");
    // A rule in shadow mode changes nothing, and is told of.
    assert_eq!(verdict("/orders?count=7").verdict(), "200");
    logged(&envoy, "decision=allow code=decided", " rules=buyers shadow_rules=few");
    assert!(envoy.wasm_stat("gatepass_shadow_rules_would_deny").unwrap() >= 1);

    let id = body["decision_id"].as_str().unwrap();
    let found = envoy.until("the record", SOON, |_| {
        let said = edge.desk.run(&["decisions", "--limit", "1000", "--output", "jsonl"]);
        let said = said.map(|said| said.text).unwrap_or_default();
        let mut records = said.lines().filter_map(|line| serde_json::from_str(line).ok());
        Ok(records.find(|record: &DecisionView| record.id == id))
    });
    let found = found.unwrap();
    assert_eq!(
        (found.rules, found.shadow_rules),
        (vec!["many".to_owned()], vec!["few".to_owned()])
    );
    let explained = edge.desk.done(&["explain", id]).unwrap();
    assert!(explained.contains("many") && explained.contains("few"), "{explained}");
}

#[test]
fn where_a_request_comes_from_is_what_envoy_says() {
    let (edge, envoy) = start();
    let token = edge.reading().unwrap();
    assert_eq!(ask(&envoy, "/orders", Some(&token)).unwrap().verdict(), "200");
    publish(&edge, folder(&RULES.replace("127.0.0.0/8", "10.0.0.0/8")).path());
    let denied = until(
        SOON,
        || ask(&envoy, "/orders", Some(&token)),
        |answer| answer.verdict() == "403 policy_denied",
    );
    let body: Value = serde_json::from_slice(&denied.unwrap().0.body).unwrap();
    assert_eq!(body["policy"], json!({ "code": "from_elsewhere" }));
}

#[test]
fn a_gatepass_that_no_request_could_use_is_not_issued() {
    let (edge, _envoy) = start();
    let asked = |action: &str| {
        let details = json!([{ "type": "agent_action", "actions": [action] }]).to_string();
        edge.agent
            .gatepass(&[("resource", AUDIENCE), ("authorization_details", details.as_str())])
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    // What depends on the request is for the gate.
    assert_eq!(asked("orders:read"), Ok(()));
    let refused = asked("orders:list").unwrap_err();
    assert!(refused.contains("policy_denied"), "{refused}");
    publish(&edge, folder(&RULES.replace("\"attested\"", "\"federated\"")).path());
    assert_eq!(asked("orders:list"), Ok(()));
    // Without its permit nothing is issued.
    publish(&edge, folder(&RULES.replace("\"buyer\"", "\"seller\"")).path());
    assert!(asked("orders:read").unwrap_err().contains("policy_denied"));
}
