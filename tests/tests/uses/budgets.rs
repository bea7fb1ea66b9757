//! Budgets through real Envoys: what agents may take together bounds what is done.

use gatepass_envoy::Envoy;
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::{bearing, until};

use crate::site::{AUDIENCE, Pass, SOON, Site, ask};

const WHOLE: &str = "\
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /orders
        action: orders:read
budgets:
  day:
    actions: [orders:buy]
    per: agent
    window: 1d
    sum: amount
    currency: USD
";
const ACTIONS: &str = "\
actions:
  orders:read: {risk: low, staleness: 900s}
  orders:buy:
    risk: low
    staleness: 900s
    inputs:
      amount: {type: money, query: amount, currency: {query: currency}}
    routes:
      - match: POST /purchases
";
const RULES: &str = r#"
permit (principal, action, resource);
@id("day") @code("day_spent")
forbid (principal, action == Action::"orders:buy", resource)
unless { context.budget.day.lessThanOrEqual(decimal("LIMIT")) };
"#;

fn publish(site: &Site, limit: &str, more: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("actions")).unwrap();
    let rules = RULES.replace("LIMIT", limit) + more;
    for (name, text) in
        [("gatepass.yaml", WHOLE), ("actions/orders.yaml", ACTIONS), ("day.cedar", rules.as_str())]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let folder = folder.path().to_str().unwrap();
    site.desk.done(&["policy", "publish", folder, "--reason", "a day"]).unwrap();
}

fn details(max: &str) -> String {
    format!(
        r#"[{{"type":"agent_action","actions":["orders:buy"],"constraints":{{"amount":{{"max":"{max}"}}}}}}]"#
    )
}

fn buy(envoy: &Envoy, pass: &Pass, amount: &str) -> String {
    bought(envoy, pass, amount).verdict()
}

fn bought(envoy: &Envoy, pass: &Pass, amount: &str) -> Response {
    let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
    let path = format!("/purchases?amount={amount}&currency=USD");
    connection.exchange(&bearing("POST", &path, Some(&pass.token))).unwrap()
}

#[test]
fn ten_orders_of_5000_go_through_and_the_eleventh_has_no_gatepass() {
    let site = Site::start();
    let early = site.pass("orders:buy");
    let envoys = [site.envoy("edge-1"), site.envoy("edge-2")];
    publish(&site, "50000.0", "");
    // Both have heard of it: a gatepass of before has no part in the day.
    for envoy in &envoys {
        let told = || Ok(bought(envoy, &early, "1.00"));
        until(SOON, told, |told| told.verdict() == "403 budget_missing").unwrap();
    }
    let passes: Vec<Pass> = (0..10).map(|_| site.pass_with(0, &details("5000.00 USD"))).collect();
    let beyond = site.agents[0]
        .gatepass(&[("resource", AUDIENCE), ("authorization_details", &details("5000.00 USD"))]);
    let beyond = format!("{:#}", beyond.err().unwrap());
    assert!(beyond.contains("access_denied") && beyond.contains("forbidden by `day`"), "{beyond}");
    for (nth, pass) in passes.iter().enumerate() {
        let (one, other) = (&envoys[nth % 2], &envoys[(nth + 1) % 2]);
        assert_eq!(buy(one, pass, "5000.01"), "403 constraint_violated");
        assert_eq!(buy(one, pass, "5000.00"), "200", "{nth}");
        assert_eq!(buy(other, pass, "0.01"), "401 replayed", "{nth}");
    }
    let bought = site.upstream.take();
    assert_eq!(bought.iter().filter(|one| one.line().contains("/purchases")).count(), 10);
    // What an agent that is a shell script asks.
    let buyer = &site.agents[2];
    let key = buyer.key_file.display().to_string();
    let ask = ["ask", "--issuer", &buyer.issuer, "--agent", &buyer.id, "--key", &key];
    let what = ["--resource", AUDIENCE, "--action", "orders:buy"];
    let bound = ["--constraint", "amount.max=40.00 USD"];
    let unbound = site.desk.run(&[&ask[..], &what].concat()).unwrap();
    assert!(
        !unbound.ok && unbound.text.contains("needs a constraint `amount`"),
        "{}",
        unbound.text
    );
    let token = site.desk.done(&[&ask[..], &what, &bound].concat()).unwrap();
    let asked = Pass { jti: String::new(), token: token.trim().to_owned() };
    assert_eq!(buy(&envoys[0], &asked, "40.01"), "403 constraint_violated");
    assert_eq!(buy(&envoys[0], &asked, "40.00"), "200");
    // Of another agent it is another day.
    let other = site.pass_with(1, &details("5000.00 USD"));
    assert_eq!(buy(&envoys[0], &other, "5000.00"), "200");
}

#[test]
fn a_limit_that_is_lowered_holds_for_gatepasses_that_were_issued_before() {
    let site = Site::start();
    let reading = site.pass("orders:read");
    publish(&site, "50000.0", "");
    let envoy = site.envoy("edge-1");
    let [first, second, third] = [0; 3].map(|_| site.pass_with(0, &details("5000.00 USD")));
    assert_eq!(buy(&envoy, &first, "1.00"), "200");
    publish(&site, "10000.0", "forbid (principal, action == Action::\"orders:read\", resource);");
    let told = || Ok(ask(&envoy, "GET", "/orders", &reading));
    until(SOON, told, |told| told.verdict() == "403 policy_denied").unwrap();
    assert_eq!(buy(&envoy, &third, "1.00"), "403 policy_denied");
    assert_eq!(buy(&envoy, &second, "1.00"), "200");
}
