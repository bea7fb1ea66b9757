//! Budgets: a gatepass for an action that is under one says what was taken of it. That one which does is let on
//! needs the control plane, for it is used once: `tests/tests/uses`.

use gatepass_engine::budget::claim_of;
use gatepass_engine::bundle::{Budget, Holder, Sums, Uses};
use gatepass_engine::denial::Code;
use serde_json::{Value, json};

use super::GRANTED;
use crate::case::Family;
use crate::scene::Scene;

pub(crate) fn family() -> Family {
    let mut f = Family::new(1_100, "Budgets");
    f.deny(
        Code::BudgetMissing,
        "nothing_taken",
        (GRANTED, "the policy has a budget for the action"),
        "A gatepass of before the budget takes no part in it.",
        under_budget,
    )
    .live();
    for (name, what, taken) in [
        ("another_budget", "of another budget", json!({"day": "500.00 EUR"})),
        ("another_currency", "in another currency", day("500.00 USD")),
        ("another_unit", "as a whole number", day(500)),
    ] {
        let twin = format!("{name}_where_there_is_none");
        let of = taken.clone();
        f.allow(&twin, "Where there is no budget it means nothing.", move |s| take(s, &of));
        f.deny(
            Code::BudgetMissing,
            name,
            (&twin, "the policy has a budget for the action"),
            format!("What is taken is stated {what}."),
            move |s| {
                under_budget(s);
                take(s, &taken);
            },
        );
    }
    f.allow("a_list_of_sums", "What is taken, by name.", |s| take(s, &json!({"day": 1})));
    f.deny(
        Code::Malformed,
        "no_list_of_sums",
        ("a_list_of_sums", "it is a number alone"),
        "`budget` is an object.",
        |s| take(s, &json!(1)),
    );
    f
}

fn take(scene: &mut Scene, taken: &Value) {
    scene.pass.set("budget", taken.clone());
}

fn under_budget(scene: &mut Scene) {
    scene.action().uses = Uses::Once;
    scene.bundle.budgets = vec![budget()];
}

fn budget() -> Budget {
    let sums = Sums::Money("amount".to_owned(), "EUR".to_owned());
    let (name, per) = ("day".to_owned(), Holder::Agent);
    let budget = Budget { name, per, window: 86_400, sums, actions: vec![0], claim: String::new() };
    Budget { claim: claim_of(&budget, &crate::policy::bundle().actions), ..budget }
}

fn day(sum: impl Into<Value>) -> Value {
    json!({ budget().claim: sum.into() })
}
