//! Budgets at the gate: what the gatepass says was taken of them is what rules are asked about, and a gatepass
//! that says nothing is denied.

use super::rules::{govern, rule};
use super::*;
use crate::budget::claim_of;
use crate::bundle::{Budget, Bundle, Holder, Sums, Uses};
use crate::policy::{Effect, Node, Slot};
use crate::routes::Index;

fn budget() -> Budget {
    let sums = Sums::Money("amount".to_owned(), "EUR".to_owned());
    let (name, per) = ("day".to_owned(), Holder::Agent);
    sealed(Budget { name, per, window: 86_400, sums, actions: vec![0], claim: String::new() })
}

/// With its claim, among the actions of the scene.
fn sealed(budget: Budget) -> Budget {
    Budget { claim: claim_of(&budget, &crate::testkit::bundle().actions), ..budget }
}

/// A gatepass's claim for it.
fn day(sum: impl Into<serde_json::Value>) -> serde_json::Value {
    json!({ budget().claim: sum.into() })
}

fn under_budget(change: impl FnOnce(&mut Scene)) -> Scene {
    Scene::with(|scene| {
        scene.bundle.budgets = vec![budget()];
        scene.action().uses = Uses::Once;
        scene.pass.set("budget", day("500.00 EUR"));
        change(scene);
    })
}

fn code(scene: &Scene) -> Option<Code> {
    match scene.decide() {
        Decision::Deny(denial) => Some(denial.code()),
        Decision::Redeem(_) => None,
        other => panic!("{other:?}"),
    }
}

/// Forbids more than 1,000 euros a day, as text that compiles to it would.
fn at_most_a_thousand(scene: &mut Scene) {
    let nodes = [Node::Decimal(10_000_000), Node::Slot(Slot::Budget(0)), Node::DecimalLess(0, 1)];
    let rules = vec![rule("all", Effect::Permit, None), rule("day", Effect::Forbid, Some(2))];
    govern(scene, &nodes, rules);
}

#[test]
fn an_action_under_a_budget_is_asked_of_a_gatepass_that_took_its_part_and_is_used_once() {
    assert_eq!(code(&under_budget(|_| {})), None);
    for claim in
        [json!({}), json!({"day": "500.00 EUR"}), day("500.00 USD"), day("500.00"), day(500)]
    {
        let scene = under_budget(|scene| {
            scene.pass.set("budget", claim.clone());
        });
        assert_eq!(code(&scene), Some(Code::BudgetMissing), "{claim}");
    }
    let without = |scene: &mut Scene| {
        scene.pass.remove("budget");
    };
    assert_eq!(code(&under_budget(without)), Some(Code::BudgetMissing));
    // Of another action's budget nothing is asked.
    let other = under_budget(|scene| {
        without(scene);
        let other = Budget { actions: vec![2], sums: Sums::Uses, ..budget() };
        scene.bundle.budgets = vec![sealed(other)];
        scene.bundle.actions[2].uses = Uses::Once;
    });
    assert_eq!(code(&other), None);
}

/// What it was counted of, for whom, and for which actions: of each another sum would be meant.
#[test]
fn a_budget_that_has_become_another_is_not_the_one_that_the_gatepass_has_a_part_in() {
    let redefined = |change: &dyn Fn(&mut Budget)| {
        code(&under_budget(|scene| {
            let mut other = budget();
            change(&mut other);
            let at_most = other.actions.iter().copied().max().unwrap_or_default();
            for action in scene.bundle.actions.iter_mut().take(at_most as usize + 1) {
                action.uses = Uses::Once;
            }
            scene.bundle.budgets = vec![sealed(other)];
        }))
    };
    assert_eq!(redefined(&|_| {}), None);
    assert_eq!(redefined(&|b| b.window = 60), None, "the same sum over another time");
    let missing = Some(Code::BudgetMissing);
    assert_eq!(redefined(&|b| b.per = Holder::Owner), missing);
    assert_eq!(redefined(&|b| b.sums = Sums::Uses), missing);
    assert_eq!(redefined(&|b| b.name = "days".into()), missing);
    // For another action, which the older gatepass did not bound.
    let wider = |b: &mut Budget| {
        b.sums = Sums::Uses;
        b.actions = vec![0, 2];
    };
    assert_eq!(redefined(&wider), missing);
    let (uses, both) = (
        sealed(Budget { sums: Sums::Uses, ..budget() }),
        sealed(Budget { sums: Sums::Uses, actions: vec![0, 2], ..budget() }),
    );
    assert_ne!(uses.claim, both.claim);
}

#[test]
fn a_claim_that_is_no_list_of_sums_is_malformed() {
    for claim in [json!([]), json!("day"), json!({"day": null}), json!({"day": {}})] {
        let scene = under_budget(|scene| {
            scene.pass.set("budget", claim.clone());
        });
        assert_eq!(code(&scene), Some(Code::Malformed), "{claim}");
    }
}

#[test]
fn rules_are_held_against_what_was_taken_when_it_was_issued() {
    let taken = |sum: &str| {
        under_budget(|scene| {
            at_most_a_thousand(scene);
            scene.pass.set("budget", day(sum));
        })
    };
    assert_eq!(code(&taken("1000.00 EUR")), None);
    assert_eq!(code(&taken("1000.01 EUR")), Some(Code::PolicyDenied));
}

#[test]
fn a_budget_is_asked_after_the_approval_and_before_the_rules() {
    let missing = |change: &dyn Fn(&mut Scene)| {
        code(&under_budget(|scene| {
            scene.pass.remove("budget");
            change(scene);
        }))
    };
    assert_eq!(missing(&|s| s.action().approval = true), Some(Code::ApprovalRequired));
    assert_eq!(missing(&rules::forbidden), Some(Code::BudgetMissing));
}

#[test]
fn when_it_is_issued_the_same_is_asked() {
    let admitted = |scene: &Scene| {
        let index = Index::build(scene.bundle.clone()).unwrap();
        let claims = scene.pass.claims.to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        admit(&claims, &index).err().map(|denial| denial.code())
    };
    let taken = |sum: &str| {
        under_budget(|scene| {
            at_most_a_thousand(scene);
            scene.pass.entry("actions", json!(["orders:create"]));
            scene.pass.set("budget", day(sum));
        })
    };
    assert_eq!(admitted(&taken("1000.00 EUR")), None);
    assert_eq!(admitted(&taken("1000.01 EUR")), Some(Code::PolicyDenied));
    let mut missing = taken("1000.00 EUR");
    missing.pass.remove("budget");
    assert_eq!(admitted(&missing), Some(Code::BudgetMissing));
}

#[test]
fn a_budget_that_does_not_bound_what_is_done_makes_no_bundle() {
    let built = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = under_budget(|_| {}).bundle;
        change(&mut bundle);
        Index::build(bundle).err().map(|flaw| flaw.what)
    };
    assert_eq!(built(&|_| {}), None);
    for window in [60, 366 * 86_400] {
        assert_eq!(built(&move |b| b.budgets[0].window = window), None);
    }
    type Wrong = fn(&mut Bundle);
    let table: [(Wrong, &str); 15] = [
        (|b| b.actions[0].uses = Uses::Unlimited, "must be used once"),
        (|b| b.budgets[0].name = "Day".into(), "name `Day`"),
        (|b| b.budgets[0].name = "a".repeat(65), "name `a"),
        (|b| b.budgets[0].window = 59, "window"),
        (|b| b.budgets[0].window = 366 * 86_400 + 1, "window"),
        (|b| b.budgets[0].actions = vec![], "needs actions"),
        (|b| b.budgets[0].actions = vec![0, 0], "none twice"),
        (|b| b.budgets[0].actions = vec![9], "does not exist"),
        (|b| b.budgets[0].sums = Sums::Money("amount".into(), "eur".into()), "currency"),
        (|b| b.budgets[0].sums = Sums::Decimal("amount".into()), "no input `amount`"),
        (|b| b.budgets[0].sums = Sums::Integer("customer".into()), "no input `customer`"),
        (|b| b.budgets[0].sums = Sums::Integer("nothing".into()), "no input `nothing`"),
        (|b| b.budgets[0].claim = "day".into(), "by something else"),
        (|b| b.budgets.push(budget()), "occurs twice"),
        (|b| b.budgets = vec![budget(); 33], "more than 32"),
    ];
    for (wrong, what) in table {
        let found = built(&wrong).unwrap_or_default();
        assert!(found.contains(what), "{what}: {found}");
    }
    // A rule that names a budget which is not there.
    let mut bundle = under_budget(at_most_a_thousand).bundle;
    assert!(Index::build(bundle.clone()).is_ok());
    bundle.budgets.clear();
    let found = Index::build(bundle).unwrap_err();
    assert_eq!(found.what, "rules: they name a budget that is not there");
}
