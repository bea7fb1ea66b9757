use gatepass_engine::bundle::Holder;
use serde_json::json;

use super::*;
use crate::fixture::bundle;

fn money() -> Sums {
    Sums::Money("amount".to_owned(), "EUR".to_owned())
}

fn under_budget(sums: Sums) -> Bundle {
    let mut bundle = bundle(&["orders:create", "orders:read"]);
    let name = "day".to_owned();
    let (per, claim) = (Holder::Agent, "day.0".to_owned());
    bundle.budgets = vec![Budget { name, per, window: 60, sums, actions: vec![0], claim }];
    bundle
}

fn entry(action: &str, constraint: Value) -> Entry {
    let constraints = [("amount".to_owned(), serde_json::from_value(constraint).unwrap())];
    Entry { actions: vec![action.to_owned()], constraints: constraints.into(), ..Entry::default() }
}

fn most(sums: Sums, entries: &[Entry]) -> Option<Option<i64>> {
    let bundle = under_budget(sums);
    let parts = parts(entries, &bundle).ok()?;
    Some(parts.first().map(|part| part.most))
}

#[test]
fn the_least_of_all_bounds_is_the_most_that_may_be_taken() {
    let of = |constraint| most(money(), &[entry("orders:create", constraint)]);
    assert_eq!(of(json!({"max": "5.00 EUR"})), Some(Some(50_000)));
    assert_eq!(of(json!({"equals": "5.00 EUR"})), Some(Some(50_000)));
    assert_eq!(of(json!({"in": ["1 EUR", "7 EUR"]})), Some(Some(70_000)));
    assert_eq!(of(json!({"max": "5 EUR", "in": ["1 EUR", "7 EUR"]})), Some(Some(50_000)));
    assert_eq!(of(json!({"max": "-5 EUR"})), Some(Some(0)), "nothing is given back");
}

#[test]
fn what_is_not_bounded_in_the_unit_of_the_budget_is_refused() {
    for constraint in [
        json!({"min": "5 EUR"}),
        json!({"prefix": "5"}),
        json!({"max": "5 USD"}),
        json!({"max": 5}),
        json!({"max": "5 EUR", "equals": "much"}),
        json!({"in": ["1 EUR", "1 USD"]}),
        json!({"in": []}),
    ] {
        assert_eq!(
            most(money(), &[entry("orders:create", constraint.clone())]),
            None,
            "{constraint}"
        );
    }
    let mut bare = entry("orders:create", json!({"max": "5 EUR"}));
    bare.constraints.clear();
    let told = parts(&[bare], &under_budget(money())).unwrap_err().to_string();
    assert_eq!(
        told,
        "an entry for `orders:create` needs a constraint `amount` with a `max` in EUR: budget `day` sums it"
    );
}

#[test]
fn each_kind_of_number_is_read_as_the_gate_reads_it() {
    let of = |sums: Sums, max: Value| most(sums, &[entry("orders:create", json!({"max": max}))]);
    let (whole, decimal) =
        (|| Sums::Integer("amount".to_owned()), || Sums::Decimal("amount".to_owned()));
    assert_eq!(of(whole(), json!(5)), Some(Some(5)));
    assert_eq!(of(whole(), json!("5")), None);
    assert_eq!(of(decimal(), json!("5.5")), Some(Some(55_000)));
    assert_eq!(of(decimal(), json!(5)), Some(Some(50_000)));
    assert_eq!(of(decimal(), json!(i64::MAX)), None);
    assert_eq!(of(Sums::Uses, json!("anything")), Some(Some(1)));
}

#[test]
fn of_several_entries_the_one_that_allows_most_counts() {
    let two = [
        entry("orders:create", json!({"max": "5 EUR"})),
        entry("orders:create", json!({"max": "9 EUR"})),
        entry("orders:read", json!({"max": "99 EUR"})),
    ];
    assert_eq!(most(money(), &two), Some(Some(90_000)));
    assert_eq!(most(money(), &two[2..]), Some(None), "not under it");
    assert_eq!(most(Sums::Uses, &two), Some(Some(1)), "it is used once");
}

#[test]
fn entries_under_a_budget_are_used_once_and_others_as_they_ask() {
    let mut entries = [
        entry("orders:create", json!({"max": "5 EUR"})),
        entry("orders:read", json!({"max": "5 EUR"})),
    ];
    use_once(&mut entries, &under_budget(money()));
    assert_eq!(entries.map(|entry| entry.uses), [Some(1), None]);
}
