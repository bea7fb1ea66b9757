//! Budgets: what agents may take together, however they ask.

use std::sync::Arc;

use gatepass::config::Config;
use gatepass::db::DbError;
use gatepass::server::Unserved;
use gatepass_engine::Code;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::decision::admit;
use gatepass_engine::gatepass::Claims;
use gatepass_engine::redeem::Verdict;
use gatepass_engine::routes::Index;
use serde_json::{Value, json};

use crate::kit::{Agent, Answer, Ask, NOW, ORDERS, Plane, claims};
use crate::uses::question;

const DAY: u64 = 86_400;

/// No agent orders for more than 50,000 USD a day, and no owner's agents make more than 30 orders an hour.
const FOLDER: &str = r#"-- gatepass.yaml --
actions:
  orders:create:
    risk: medium
    scopes: {all: [orders.write]}
  orders:read:
    risk: low
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {type: money, query: amount, currency: {query: currency}}
      - match: GET /orders/{id}
        action: orders:read
budgets:
  day:
    actions: [orders:create]
    per: agent
    window: 1d
    sum: amount
    currency: USD
  orders:
    actions: [orders:create]
    per: owner
    window: 1h
    count: true
-- rules.cedar --
permit (principal, action, resource);
@id("day") @code("day_spent") @message("An agent orders for 50,000 USD a day.")
forbid (principal, action == Action::"orders:create", resource)
unless { context.budget.day.lessThanOrEqual(decimal("50000.0")) };
@id("hour")
forbid (principal, action == Action::"orders:create", resource)
unless { context.budget.orders <= 30 };
"#;

pub(crate) fn furnished() -> Plane {
    let plane = Plane::furnished();
    plane.change("/v1/policies", json!({ "content": FOLDER }));
    plane.blueprint(
        "orderer",
        json!({
            "entries": [{
                "actions": ["orders:create", "orders:read"], "locations": [ORDERS],
                "constraints": { "amount": { "max": "9000.00 USD" } },
            }, { "actions": ["orders:create", "orders:read"], "locations": [ORDERS] }],
            "scopes": ["orders.write"],
        }),
    );
    plane
}

pub(crate) fn orderer(plane: &Plane, seed: u8) -> Agent {
    plane.agent_of(seed, "orderer", "user:corp/alice", "p1")
}

pub(crate) fn order(max: &str) -> Ask {
    entry(json!({ "max": max }))
}

fn entry(constraint: Value) -> Ask {
    let constraints = json!({ "amount": constraint });
    Ask::entry(json!({ "actions": ["orders:create"], "constraints": constraints }))
        .with("resource", ORDERS)
        .with("scope", "orders.write")
}

/// It is denied for this rule.
fn spent(answer: &Answer, rule: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["error"], "access_denied");
    let why = told["error_description"].as_str().unwrap();
    assert!(why.contains(&format!("forbidden by `{rule}`")), "{why}");
}

/// What is taken with a gatepass, as it says, by the names of the budgets.
fn taken(token: &str) -> Value {
    let claim = claims(token)["budget"].clone();
    let members = claim.as_object().unwrap().iter();
    let named = members.map(|(claim, sum)| {
        let (name, digest) = claim.split_once('.').unwrap();
        assert_eq!(digest.len(), 16, "{claim}");
        (name.to_owned(), sum.clone())
    });
    named.collect::<serde_json::Map<String, Value>>().into()
}

#[test]
fn of_eleven_orders_of_5000_under_a_day_of_50000_the_eleventh_is_refused() {
    let plane = furnished();
    let agent = orderer(&plane, 1);
    for nth in 1..=10 {
        let token = agent.gatepass(&plane, &order("5000.00 USD"));
        let day = format!("{}.0000 USD", nth * 5_000);
        assert_eq!(taken(&token), json!({ "day": day, "orders": nth }));
        assert_eq!(claims(&token)["authorization_details"][0]["uses"], 1);
        let asked = question(&plane, &token, "1");
        assert_eq!(plane.redeemed("gate-1", &asked), Verdict::Granted);
    }
    let before = plane.standing();
    let refused = agent.ask(&plane, &order("5000.00 USD"));
    spent(&refused, "day");
    assert!(refused.text().contains("An agent orders for 50,000 USD a day."), "{}", refused.text());
    spent(&agent.ask(&plane, &order("0.0001 USD")), "day");
    assert_eq!(plane.standing(), before, "nothing was issued");
    // Another agent has a day of its own.
    let other = orderer(&plane, 2);
    assert_eq!(taken(&other.gatepass(&plane, &order("1 USD")))["day"], "1.0000 USD");
    // And what is under no budget goes on.
    agent.gatepass(&plane, &Ask::read());
}

#[test]
fn eleven_that_are_asked_for_at_once_are_ten() {
    let plane = Arc::new(furnished());
    let agent = Arc::new(orderer(&plane, 1));
    let threads: Vec<_> = (0..11)
        .map(|_| {
            let (plane, agent) = (Arc::clone(&plane), Arc::clone(&agent));
            std::thread::spawn(move || agent.ask(&plane, &order("5000.00 USD")).status)
        })
        .collect();
    let mut answers: Vec<u16> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, [vec![200; 10], vec![403]].concat());
}

#[test]
fn what_was_used_is_free_again_after_the_window_and_not_before() {
    let plane = furnished();
    let agent = orderer(&plane, 1);
    for _ in 0..10 {
        let token = agent.gatepass(&plane, &order("5000.00 USD"));
        let asked = question(&plane, &token, "1");
        assert_eq!(plane.redeemed("gate-1", &asked), Verdict::Granted);
    }
    plane.pass(DAY - 1);
    spent(&agent.ask(&plane, &order("1 USD")), "day");
    // Steps of a 64th of the window.
    plane.pass(DAY / 64 + 2);
    assert_eq!(
        taken(&agent.gatepass(&plane, &order("1 USD"))),
        json!({"day": "1.0000 USD", "orders": 1})
    );
}

#[test]
fn what_was_not_used_is_free_again_when_the_gatepass_ends_or_is_given_back() {
    let plane = furnished();
    let agent = orderer(&plane, 1);
    let mut tokens: Vec<String> =
        (0..10).map(|_| agent.gatepass(&plane, &order("5000.00 USD"))).collect();
    spent(&agent.ask(&plane, &order("5000.00 USD")), "day");
    let (back, used) = (tokens.pop().unwrap(), tokens.pop().unwrap());
    let give_back = |token: &str| {
        let given = Ask::default().with("token", token);
        assert_eq!(agent.post(&plane, "/oauth2/revoke", &given).status, 200);
    };
    give_back(&back);
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &back, "1")), Verdict::Refused);
    let again = agent.gatepass(&plane, &order("5000.00 USD"));
    assert_eq!(taken(&again)["day"], "50000.0000 USD");
    // What was used is not free for being given back.
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &used, "1")), Verdict::Granted);
    give_back(&used);
    spent(&agent.ask(&plane, &order("5000.00 USD")), "day");
    // They end: what nobody has used was not spent.
    plane.pass(claims(&again)["exp"].as_u64().unwrap() - plane.now());
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &again, "1")), Verdict::Refused);
    let late = agent.gatepass(&plane, &order("5000.00 USD"));
    assert_eq!(taken(&late)["day"], "10000.0000 USD");
}

#[test]
fn each_holder_is_counted_and_the_owner_over_all_of_its_agents() {
    let plane = furnished();
    let agents: Vec<Agent> = (1..=3).map(|seed| orderer(&plane, seed)).collect();
    for nth in 0..30 {
        agents[nth % 3].gatepass(&plane, &order("1 USD"));
    }
    for agent in &agents {
        spent(&agent.ask(&plane, &order("1 USD")), "hour");
    }
    let bobs = plane.agent_of(4, "orderer", "user:corp/bob", "p1");
    assert_eq!(taken(&bobs.gatepass(&plane, &order("1 USD")))["orders"], 1);
}

#[test]
fn tasks_and_blueprints_are_counted_too() {
    let plane = furnished();
    let counted = |per: &str| {
        let policy = FOLDER
            .replace("per: owner\n    window: 1h", &format!("per: {per}\n    window: 1h"))
            .replace("budget.orders <= 30", "budget.orders <= 2");
        plane.change("/v1/policies", json!({ "content": policy }));
    };
    let (agent, other) = (orderer(&plane, 1), orderer(&plane, 2));
    counted("task");
    let task = agent.task(&plane);
    let of_task = order("1 USD").with("task", &task);
    agent.gatepass(&plane, &of_task);
    agent.gatepass(&plane, &of_task);
    spent(&agent.ask(&plane, &of_task), "hour");
    agent.gatepass(&plane, &order("1 USD"));
    counted("blueprint");
    agent.gatepass(&plane, &order("1 USD"));
    other.gatepass(&plane, &order("1 USD"));
    spent(&agent.ask(&plane, &order("1 USD")), "hour");
    spent(&other.ask(&plane, &order("1 USD")), "hour");
}

#[test]
fn what_does_not_bound_the_sum_is_refused_with_what_is_missing() {
    let plane = furnished();
    let agent = orderer(&plane, 1);
    let told = "needs a constraint `amount` with a `max` in USD: budget `day` sums it";
    let bare = Ask::actions(&["orders:create"]).with("scope", "orders.write");
    let refused = [
        bare,
        entry(json!({ "min": "1 USD" })),
        entry(json!({ "max": "1 EUR" })),
        entry(json!({ "in": ["1 USD", "1 EUR"] })),
        entry(json!({ "max": 1 })),
    ];
    for ask in &refused {
        let answer = agent.ask(&plane, ask);
        assert_eq!(answer.json()["error"], "invalid_authorization_details", "{}", answer.text());
        assert!(answer.text().contains(told), "{}", answer.text());
    }
    assert_eq!(
        taken(&agent.gatepass(&plane, &entry(json!({"equals": "3 USD"}))))["day"],
        "3.0000 USD"
    );
    let several = entry(json!({"in": ["3 USD", "4 USD"]}));
    assert_eq!(taken(&agent.gatepass(&plane, &several))["day"], "7.0000 USD");
    // What would give something back gives nothing.
    let below = agent.gatepass(&plane, &order("-5 USD"));
    assert_eq!(taken(&below)["day"], "7.0000 USD");
}

#[test]
fn of_several_entries_the_one_that_allows_most_is_taken_and_each_is_used_once() {
    let plane = furnished();
    let agent = orderer(&plane, 1);
    let one = |max: &str| json!({ "actions": ["orders:create"], "constraints": { "amount": { "max": max } } });
    let ask = Ask::default()
        .with("grant_type", "client_credentials")
        .entries(&[one("10 USD"), one("90 USD"), json!({ "actions": ["orders:read"] })])
        .with("resource", ORDERS)
        .with("scope", "orders.write");
    let token = agent.gatepass(&plane, &ask);
    assert_eq!(taken(&token), json!({ "day": "90.0000 USD", "orders": 1 }));
    let details = &claims(&token)["authorization_details"];
    assert_eq!((&details[0]["uses"], &details[1]["uses"]), (&json!(1), &json!(1)));
    assert!(details[2].get("uses").is_none(), "it is under no budget");
}

#[test]
fn a_budget_cannot_be_multiplied_by_exchange() {
    let plane = furnished();
    let (agent, other) = (orderer(&plane, 1), orderer(&plane, 2));
    let token = agent.gatepass(&plane, &order("10 USD"));
    let constraints = json!({ "amount": { "max": "10 USD" } });
    for uses in [json!(1), json!(null)] {
        let mut asked = json!({ "actions": ["orders:create"], "constraints": constraints });
        if !uses.is_null() {
            asked["uses"] = uses;
        }
        let ask = Ask::exchange(&token, asked).with("scope", "orders.write");
        assert_eq!(other.refused(&plane, &ask), "invalid_authorization_details");
    }
}

/// One that no limit bounds when it is issued: the rule speaks of the request too, or is in shadow mode.
const MOST: &str = "922337203685477.5807 USD";

#[test]
fn a_sum_beyond_what_can_be_counted_is_as_much_as_there_is() {
    let plane = furnished();
    let free = FOLDER.replace("forbid", "@mode(\"shadow\") forbid");
    plane.change("/v1/policies", json!({ "content": free }));
    let agent = orderer(&plane, 1);
    for _ in 0..3 {
        let token = agent.gatepass(&plane, &order(MOST));
        assert_eq!(taken(&token)["day"], MOST);
        assert_eq!(plane.redeemed("gate-1", &question(&plane, &token, "1")), Verdict::Granted);
    }
    let shown = plane.get(&format!("/v1/budgets?holder={}", agent.id));
    assert_eq!(shown[0]["taken"], MOST);
    // A limit that is enforced again is over for this agent, and for no other.
    plane.change("/v1/policies", json!({ "content": FOLDER }));
    spent(&agent.ask(&plane, &order("1 USD")), "day");
    orderer(&plane, 2).gatepass(&plane, &order("1 USD"));
}

#[test]
fn who_fills_what_is_shared_stops_nobody_whom_the_rule_lets_on() {
    let plane = furnished();
    let large = "when { context.inputs has amount && context.inputs.amount.amount.greaterThan(decimal(\"100.0\")) } unless { context.budget.day";
    let shared =
        FOLDER.replace("per: agent", "per: owner").replace("unless { context.budget.day", large);
    plane.change("/v1/policies", json!({ "content": shared }));
    let (agent, other) = (orderer(&plane, 1), orderer(&plane, 2));
    let token = agent.gatepass(&plane, &order(MOST));
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &token, "1")), Verdict::Granted);
    plane.pass(DAY / 2);
    // What is small the rule does not bound: at the gate, where the amount is known.
    assert_eq!(taken(&other.gatepass(&plane, &order("1 USD")))["day"], MOST);
}

#[test]
fn a_copy_whose_sums_are_beyond_what_can_be_counted_is_restored() {
    let mut plane = furnished();
    let free = FOLDER.replace("forbid", "@mode(\"shadow\") forbid");
    plane.change("/v1/policies", json!({ "content": free }));
    let agent = orderer(&plane, 1);
    let brief = order(MOST).with("lifetime", "1");
    let first = agent.gatepass(&plane, &brief);
    plane.pass(claims(&first)["exp"].as_u64().unwrap() - plane.now());
    agent.gatepass(&plane, &order(MOST));
    let used = agent.gatepass(&plane, &order(MOST));
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &used, "1")), Verdict::Granted);
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    for from in [Some(copy.as_path()), None] {
        plane.stop();
        plane.restore(from).unwrap();
        plane.start();
    }
    plane.change("/v1/open", json!({}));
    assert_eq!(taken(&agent.gatepass(&plane, &order("1 USD")))["day"], MOST);
}

/// An entry for another action bounded nothing when it was issued, and now is under the budget too.
#[test]
fn an_action_that_comes_under_a_budget_is_not_let_through_by_an_older_sum() {
    let plane = furnished();
    let refund = "  orders:refund:\n    risk: medium\n  orders:read:\n    risk: low\n";
    let route = "      - match: POST /refunds\n        action: orders:refund\n        inputs:\n          amount: {type: money, query: amount, currency: {query: currency}}\n      - match: GET /orders/{id}\n";
    let before = FOLDER
        .replace("  orders:read:\n    risk: low\n", refund)
        .replace("      - match: GET /orders/{id}\n", route);
    plane.change("/v1/policies", json!({ "content": before }));
    let entries = json!([{ "actions": ["orders:create", "orders:refund"], "locations": [ORDERS] }]);
    plane.blueprint("refunder", json!({ "entries": entries, "scopes": ["orders.write"] }));
    let agent = plane.agent_of(9, "refunder", "user:corp/alice", "p1");
    let bounded =
        json!({ "actions": ["orders:create"], "constraints": { "amount": { "max": "1 USD" } } });
    let ask = Ask::default()
        .with("grant_type", "client_credentials")
        .entries(&[bounded, json!({ "actions": ["orders:refund"] })])
        .with("resource", ORDERS)
        .with("scope", "orders.write");
    let token = agent.gatepass(&plane, &ask);
    let payload = claims(&token).to_string();
    let read = Claims::parse(payload.as_bytes()).unwrap();
    let admitted = |policy: &str| {
        let index = Index::build(gatepass_policy::compile(policy).unwrap().bundle).unwrap();
        admit(&read, &index).err().map(|denial| denial.code())
    };
    assert_eq!(admitted(&before), None);
    let both = "  day:\n    actions: [orders:create, orders:refund]";
    let after = before.replace("  day:\n    actions: [orders:create]", both);
    assert_eq!(admitted(&after), Some(Code::BudgetMissing));
    let owner = before.replacen("per: agent", "per: owner", 1);
    assert_eq!(admitted(&owner), Some(Code::BudgetMissing));
    let longer = before.replacen("window: 1d", "window: 2d", 1);
    assert_eq!(admitted(&longer), None, "the same sum over another time");
    // Whoever asks again says what is taken with it.
    plane.change("/v1/policies", json!({ "content": after }));
    let answer = agent.ask(&plane, &ask);
    assert_eq!(answer.json()["error"], "invalid_authorization_details", "{}", answer.text());
}

#[test]
fn a_copy_that_is_restored_knows_what_it_knew_and_takes_what_was_reserved_as_used() {
    let mut plane = furnished();
    let agent = orderer(&plane, 1);
    let used = agent.gatepass(&plane, &order("5000.00 USD"));
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &used, "1")), Verdict::Granted);
    agent.gatepass(&plane, &order("7000.00 USD"));
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    plane.stop();
    plane.restore(Some(&copy)).unwrap();
    plane.start();
    plane.change("/v1/open", json!({}));
    // Long after the gatepass that was not used has ended.
    plane.pass(DAY / 2);
    let token = agent.gatepass(&plane, &order("1 USD"));
    assert_eq!(taken(&token)["day"], "12001.0000 USD");
    plane.pass(DAY / 2 + DAY / 64 + 2);
    assert_eq!(taken(&agent.gatepass(&plane, &order("1 USD")))["day"], "1.0000 USD");
}

#[test]
fn what_was_taken_after_the_copy_was_made_stays_taken() {
    let mut plane = furnished();
    let agent = orderer(&plane, 1);
    let before = agent.gatepass(&plane, &order("5000.00 USD"));
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &before, "1")), Verdict::Granted);
    let after = agent.gatepass(&plane, &order("7000.00 USD"));
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &after, "1")), Verdict::Granted);
    agent.gatepass(&plane, &order("1000.00 USD"));
    // Once by the copy and once without one.
    for from in [Some(copy.as_path()), None] {
        plane.stop();
        plane.restore(from).unwrap();
        plane.start();
        plane.change("/v1/open", json!({}));
        let told = agent.gatepass(&plane, &order("0 USD"));
        assert_eq!(taken(&told)["day"], "13000.0000 USD");
    }
}

#[test]
fn what_takes_nothing_leaves_nothing_and_what_is_out_is_bounded() {
    let plane = furnished();
    let counted = FOLDER.replace("budget.orders <= 30", "budget.orders <= 100000");
    plane.change("/v1/policies", json!({ "content": counted }));
    let agent = orderer(&plane, 1);
    agent.gatepass(&plane, &order("0 USD"));
    let shown = plane.get(&format!("/v1/budgets?holder={}", agent.id));
    assert_eq!(shown, json!([]));
    // As many as may be out, of the owner's.
    let fill = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 9999)
        INSERT INTO reserved SELECT 'made-' || x, 'orders uses', 'user:corp/alice', 1, ?, 3600 FROM n";
    let until = i64::try_from(plane.now()).unwrap() + 600;
    let filled: Result<_, DbError> = plane.block_on(plane.db().write(async move |tx| {
        sqlx::query(fill).bind(until).execute(tx.sql()).await?;
        Ok(())
    }));
    filled.unwrap();
    let answer = agent.ask(&plane, &order("1 USD"));
    assert_eq!(answer.json()["error"], "temporarily_unavailable", "{}", answer.text());
    assert!(answer.text().contains("10000 gatepasses are out under budget `orders`"));
    // Of another owner as many may be.
    plane.agent_of(4, "orderer", "user:corp/bob", "p1").gatepass(&plane, &order("1 USD"));
    plane.pass(600);
    agent.gatepass(&plane, &order("1 USD"));
}

#[test]
fn what_is_counted_is_shown_by_budget_and_holder() {
    let plane = furnished();
    assert_eq!(plane.get("/v1/budgets"), json!([]));
    let (agent, other) = (orderer(&plane, 1), orderer(&plane, 2));
    let used = agent.gatepass(&plane, &order("5000.00 USD"));
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &used, "1")), Verdict::Granted);
    agent.gatepass(&plane, &order("700.00 USD"));
    other.gatepass(&plane, &order("1 USD"));
    let shown = plane.get(&format!("/v1/budgets?holder={}", agent.id));
    let day = json!({
        "budget": "day", "holder": agent.id, "reserved": "700.0000 USD", "taken": "5000.0000 USD",
    });
    assert_eq!(shown, json!([day]));
    let all = plane.get("/v1/budgets");
    assert_eq!(all.as_array().map(Vec::len), Some(3));
    let orders = &all[2];
    assert_eq!(
        (&orders["holder"], &orders["reserved"], &orders["taken"]),
        (&json!("user:corp/alice"), &json!("2"), &json!("1"))
    );
    plane.pass(2 * DAY);
    assert_eq!(plane.get("/v1/budgets"), json!([]));
    let wrong = plane.admin_as(&plane.admin, "GET", "/v1/budgets?agent=x", &json!(null));
    assert_eq!(wrong.status, 400);
}

#[test]
fn another_unit_is_another_budget_and_what_is_counted_is_on_record() {
    let plane = furnished();
    let agent = orderer(&plane, 1);
    agent.gatepass(&plane, &order("5000.00 USD"));
    let counted = FOLDER
        .replace("sum: amount\n    currency: USD", "count: true")
        .replace("budget.day.lessThanOrEqual(decimal(\"50000.0\"))", "budget.day <= 2");
    plane.change("/v1/policies", json!({ "content": counted }));
    let token = agent.gatepass(&plane, &order("1 EUR"));
    assert_eq!(taken(&token), json!({ "day": 1, "orders": 2 }));
    assert!(plane.now() >= NOW);
    let export = plane.export();
    let mut issued = export.lines().filter(|line| line.contains("gatepass.issue"));
    assert!(issued.any(|line| line.contains("5000.0000 USD")), "{export}");
}

#[test]
fn what_was_taken_stays_taken_where_the_clock_was_ahead_for_a_while() {
    let mut plane = furnished();
    let agent = orderer(&plane, 1);
    let used = agent.gatepass(&plane, &order("5000.00 USD"));
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &used, "1")), Verdict::Granted);
    let unused = agent.gatepass(&plane, &order("700.00 USD"));
    plane.stop();
    let ahead: gatepass::feed::Clock = Arc::new(|| UnixSeconds(NOW + DAY / 4));
    plane.block_on(async {
        let config = Config::read(&plane.dir()).unwrap();
        let unserved = Unserved::open(config, ahead).await.unwrap();
        unserved.tidy().await.unwrap();
        unserved.close().await;
    });
    plane.start();
    assert_eq!(taken(&agent.gatepass(&plane, &order("1 USD")))["day"], "5701.0000 USD");
    // It lives again, and what it reserved is taken with its use.
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &unused, "1")), Verdict::Granted);
    let shown = plane.get(&format!("/v1/budgets?holder={}", agent.id));
    assert_eq!(shown[0]["taken"], "5700.0000 USD");
}
