//! What the budgets of a bundle must be: what is summed is an input wherever the action is asked for, so that the
//! most that a gatepass allows bounds what is done with it.

use std::collections::HashSet;

use super::{Flaw, Place, flaw};
use crate::budget::{MAX_BUDGETS, MAX_WINDOW, MIN_WINDOW, claim_of, is_name};
use crate::bundle::{
    Budget, Bundle, Currency, InputKind, Route, RouteTarget, Sums, Treatment, Uses,
};
use crate::inputs::currency;

pub(super) fn check_budgets(bundle: &Bundle) -> Result<(), Flaw> {
    if bundle.budgets.len() > MAX_BUDGETS {
        return Err(flaw(Place::Bundle, format!("more than {MAX_BUDGETS} budgets")));
    }
    let mut names = HashSet::new();
    for (at, budget) in bundle.budgets.iter().enumerate() {
        check(budget, bundle).map_err(|what| flaw(Place::Budget(at), what))?;
        if !names.insert(budget.name.as_str()) {
            let what = format!("budget `{}` occurs twice", budget.name);
            return Err(flaw(Place::Budget(at), what));
        }
    }
    Ok(())
}

fn check(budget: &Budget, bundle: &Bundle) -> Result<(), String> {
    if !is_name(&budget.name) {
        return Err(format!("budget name `{}` must match [a-z][a-z0-9_]*", budget.name));
    }
    if !(MIN_WINDOW..=MAX_WINDOW).contains(&budget.window) {
        return Err("a window must be 1 minute to 366 days".to_owned());
    }
    if let Sums::Money(_, code) = &budget.sums
        && currency(code).is_none()
    {
        return Err(format!("currency `{code}` must be three upper-case letters"));
    }
    if budget.actions.is_empty() || !budget.actions.is_sorted_by(|a, b| a < b) {
        return Err("a budget needs actions, in their order and none twice".to_owned());
    }
    for at in &budget.actions {
        let action = usize::try_from(*at).ok().and_then(|at| bundle.actions.get(at));
        let Some(action) = action else {
            return Err(format!("names action {at}, which does not exist"));
        };
        if action.uses != Uses::Once {
            return Err(format!("action `{}` must be used once for a gatepass", action.name));
        }
    }
    unbounded(budget, bundle)?;
    match budget.claim == claim_of(budget, &bundle.actions) {
        true => Ok(()),
        false => Err("gatepasses name it by something else".to_owned()),
    }
}

/// Once over all routes, for there can be many of them and of the actions.
fn unbounded(budget: &Budget, bundle: &Bundle) -> Result<(), String> {
    let Some(input) = budget.sums.input() else { return Ok(()) };
    for route in routes(bundle) {
        let RouteTarget::Action(at) = route.target else { continue };
        if budget.actions.binary_search(&at).is_err() || has(route, input, &budget.sums) {
            continue;
        }
        let action = usize::try_from(at).ok().and_then(|at| bundle.actions.get(at));
        return Err(format!(
            "a route of action `{}` has no input `{input}` of that kind: nothing bounds what is done there",
            action.map_or("", |action| &action.name)
        ));
    }
    Ok(())
}

fn routes(bundle: &Bundle) -> impl Iterator<Item = &Route> {
    bundle.hosts.iter().flat_map(|host| match &host.treatment {
        Treatment::Guarded(routes) => routes.as_slice(),
        Treatment::PassedThrough => &[],
    })
}

fn has(route: &Route, name: &str, sums: &Sums) -> bool {
    let input = route.inputs.iter().find(|input| input.name == name);
    match (input.map(|input| &input.kind), sums) {
        (Some(InputKind::Integer), Sums::Integer(_))
        | (Some(InputKind::Decimal), Sums::Decimal(_)) => true,
        (Some(InputKind::Money(Currency::Fixed(own))), Sums::Money(_, wanted)) => own == wanted,
        (Some(InputKind::Money(Currency::From(_))), Sums::Money(..)) => true,
        _ => false,
    }
}
