//! Budgets: what they compile to, each mistake at its place, and what a change of one means.

use gatepass_engine::bundle::{Holder, Sums, Uses};

use super::*;
use crate::changes::{Side, changes};

const YAML: &str = "\
actions:
  orders:read: {risk: low}
  orders:create: {risk: medium}
  orders:amend: {risk: medium, uses: once}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /orders
        action: orders:read
        inputs:
          note: {type: text, query: note}
      - match: POST /orders
        action: orders:create
        inputs: &inputs
          amount: {type: money, query: amount, currency: {query: currency}}
          count: {type: integer, query: count}
          weight: {type: decimal, query: weight}
      - match: PUT /orders
        action: orders:amend
        inputs: *inputs
budgets:
  day:
    actions: [orders:amend, orders:create]
    per: owner
    window: 1d
    sum: amount
    currency: EUR
";
const RULES: &str = r#"
permit (principal, action, resource);
forbid (principal, action, resource)
when { context.budget has day && context.budget.day.greaterThan(decimal("50.0")) };
"#;

fn sources(yaml: &str, rules: &str) -> Sources {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    Sources::folder(vec![file("gatepass.yaml", yaml), file("a.cedar", rules)]).unwrap()
}

fn compiled(yaml: &str, rules: &str) -> Result<Compiled, Vec<Problem>> {
    compile_sources(&sources(yaml, rules))
}

fn found(yaml: &str, rules: &str) -> Vec<String> {
    let problems = compiled(yaml, rules).err().unwrap_or_default();
    problems.iter().map(|problem| format!("{}:{problem}", problem.file)).collect()
}

#[test]
fn what_is_stated_is_what_is_counted_and_its_actions_are_used_once() {
    let Compiled { bundle, warnings, .. } = compiled(YAML, RULES).unwrap();
    assert_eq!(report(&warnings), "");
    let [budget] = bundle.budgets.as_slice() else { panic!("{:?}", bundle.budgets) };
    assert_eq!((budget.name.as_str(), budget.per, budget.window), ("day", Holder::Owner, 86_400));
    assert_eq!(budget.sums, Sums::Money("amount".to_owned(), "EUR".to_owned()));
    assert_eq!(budget.actions, [1, 2]);
    let uses: Vec<Uses> = bundle.actions.iter().map(|action| action.uses).collect();
    assert_eq!(uses, [Uses::Unlimited, Uses::Once, Uses::Once]);
    for (stated, sums) in [
        ("count: true", Sums::Uses),
        ("sum: count", Sums::Integer("count".to_owned())),
        ("sum: weight", Sums::Decimal("weight".to_owned())),
    ] {
        let yaml = YAML.replace("sum: amount\n    currency: EUR", stated);
        let rules = match sums {
            Sums::Decimal(_) => RULES.to_owned(),
            _ => RULES.replace(".greaterThan(decimal(\"50.0\"))", " > 50"),
        };
        assert_eq!(found(&yaml, &rules), [] as [&str; 0], "{stated}");
        assert_eq!(compiled(&yaml, &rules).unwrap().bundle.budgets[0].sums, sums);
    }
}

#[test]
fn each_mistake_is_told_at_its_place() {
    for (from, to, expected) in [
        ("per: owner", "per: team", "gatepass.yaml:25:10: expected `agent`, `task`"),
        ("    per: owner\n", "", "gatepass.yaml:24:5: budget `day` needs `per`"),
        ("    window: 1d\n", "", "gatepass.yaml:24:5: budget `day` needs `window`"),
        ("window: 1d", "window: soon", "gatepass.yaml:26:13: expected a duration"),
        ("window: 1d", "window: 30s", "gatepass.yaml:26:13: a window must be"),
        ("sum: amount", "sum: price", "gatepass.yaml:27:10: no route of these actions"),
        ("sum: amount", "count: true", "gatepass.yaml:28:15: what is counted has no"),
        ("sum: amount", "count: false", "gatepass.yaml:28:15: what is counted has no"),
        ("    currency: EUR\n", "", "gatepass.yaml:27:10: budget `day` sums money without"),
        ("currency: EUR", "currency: eur", "gatepass.yaml:28:15: currency `eur`"),
        ("sum: amount", "sum: weight", "gatepass.yaml:28:15: only money has a currency"),
        ("    sum: amount\n    currency: EUR\n", "", "gatepass.yaml:24:5: budget `day` needs one"),
        (
            "    sum: amount\n",
            "    sum: amount\n    count: true\n",
            "gatepass.yaml:24:5: budget `day` needs one",
        ),
        (
            "[orders:amend, ",
            "[orders:wipe, ",
            "gatepass.yaml:24:15: there is no action `orders:wipe`",
        ),
        ("  day:", "  Day:", "gatepass.yaml:23:3: budget name `Day`"),
        ("sum: amount", "max: amount", "gatepass.yaml:27:5: unknown field `max`"),
        (
            "uses: once",
            "uses: unlimited",
            "gatepass.yaml:24:14: action `orders:amend` must be used once",
        ),
        (
            "[orders:amend, orders:create]",
            "[orders:read, orders:create]",
            "gatepass.yaml:27:10: a route of action `orders:read` has no input `amount`",
        ),
        (
            "budgets:\n",
            "budgets: []\nx:\n",
            "gatepass.yaml:22:10: expected the fields of `budgets`",
        ),
    ] {
        assert!(YAML.contains(from), "{from}");
        let told = found(&YAML.replacen(from, to, 1), RULES);
        assert!(told.iter().any(|told| told.starts_with(expected)), "{to}: {told:#?}\n{expected}");
    }
}

#[test]
fn a_rule_about_a_budget_that_an_action_is_not_under_is_told_of() {
    let told = found(YAML, "permit (principal, action, resource) when { context.budget.day > 1 };");
    assert!(!told.is_empty());
    let all = "permit (principal, action, resource)\nwhen { context.budget.day.lessThan(decimal(\"1.0\")) };";
    let told = found(YAML, all);
    assert!(told[0].starts_with("a.cedar:2:"), "{told:?}");
    // Its twin asks first, or is for the actions that are under it.
    let guarded = all.replace("{ context", "{ context.budget has day && context");
    assert_eq!(found(YAML, &guarded), [] as [&str; 0]);
    let scoped = all.replace("action,", "action == Action::\"orders:create\",");
    assert_eq!(found(YAML, &scoped), [] as [&str; 0]);
    let unknown = guarded.replace("day", "week");
    let told = found(YAML, &unknown);
    assert!(told[0].contains("week"), "{told:?}");
}

#[test]
fn a_budget_that_no_rule_asks_for_is_warned_of() {
    let warned = |rules: &str| report(&compiled(YAML, rules).unwrap().warnings);
    let told = warned("permit (principal, action, resource);");
    assert!(told.contains("budget `day` is counted, and no rule asks for it"), "{told}");
    assert_eq!(warned(RULES), "");
}

#[test]
fn a_change_of_a_budget_says_what_it_does() {
    for (from, to, expected) in [
        ("window: 1d", "window: 2d", "narrower  budget `day`: window 86400s -> 172800s"),
        ("window: 1d", "window: 1h", "wider     budget `day`: window 86400s -> 3600s"),
        ("per: owner", "per: agent", "changed   budget `day`: per owner -> agent"),
        (
            "currency: EUR\n",
            "currency: USD\n",
            "changed   budget `day`: sums `amount` in EUR -> `amount` in USD",
        ),
        (
            "[orders:amend, orders:create]",
            "[orders:create]",
            "wider     budget `day`: actions removed: orders:amend",
        ),
        ("  day:", "  week:", "wider     budget `day`: removed"),
        ("  day:", "  week:", "narrower  budget `week`: added"),
    ] {
        let after_rules = RULES.replace("day", if to.contains("week") { "week" } else { "day" });
        let (old, new) = (sources(YAML, RULES), sources(&YAML.replace(from, to), &after_rules));
        let (before, after) = (compile_sources(&old).unwrap(), compile_sources(&new).unwrap());
        let before = Side { sources: &old, compiled: &before };
        let after = Side { sources: &new, compiled: &after };
        assert_eq!(changes(before, before), []);
        let lines: Vec<String> = changes(before, after).iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line == expected), "{lines:#?}\n{expected}");
    }
}
