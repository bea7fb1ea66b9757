//! How much of a budget a gatepass may take: the most that its entries allow, once.

use std::collections::{BTreeMap, HashMap};

use gatepass_engine::budget::Amount;
use gatepass_engine::bundle::{Budget, Bundle, Sums};
use gatepass_engine::inputs::Decimal;
use serde_json::Value;

use crate::issue::{Constraint, Entry, Grant};

/// The part of a gatepass in a budget that it is under.
#[derive(Clone, Copy, Debug)]
pub struct Part<'b> {
    pub budget: &'b Budget,
    /// In the smallest step of the budget's unit; never below 0.
    pub most: i64,
}

/// An entry that says not how much it may take.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an entry for `{action}` needs a constraint `{input}` with a `max`{unit}: budget `{budget}` sums it"
)]
pub struct Unbounded {
    pub action: String,
    pub input: String,
    pub budget: String,
    /// Empty, or which currency: ` in EUR`.
    pub unit: String,
}

/// Makes a gatepass with these entries one that is used once, where an action of them is under a budget.
pub fn use_once(entries: &mut [Entry], bundle: &Bundle) {
    let under = under(bundle);
    for entry in entries {
        if entry.actions.iter().any(|action| under.contains_key(action.as_str())) {
            entry.uses.get_or_insert(1);
        }
    }
}

/// The parts that a gatepass with these entries has. It is used once, so of several entries the one that allows
/// most counts.
///
/// # Errors
/// [`Unbounded`].
pub fn parts<'b>(entries: &[Entry], bundle: &'b Bundle) -> Result<Vec<Part<'b>>, Unbounded> {
    let (found, unbounded) = all_parts(entries, bundle);
    match unbounded {
        Some(unbounded) => Err(unbounded),
        None => Ok(found),
    }
}

/// Each part that is bounded, and the first that is not.
fn all_parts<'b>(entries: &[Entry], bundle: &'b Bundle) -> (Vec<Part<'b>>, Option<Unbounded>) {
    let under = under(bundle);
    // By the number of the budget; none where something of it is not bounded.
    let mut most: BTreeMap<usize, Option<i64>> = BTreeMap::new();
    let mut unbounded = None;
    for entry in entries {
        for action in &entry.actions {
            for nth in under.get(action.as_str()).into_iter().flatten() {
                let Some(budget) = bundle.budgets.get(*nth) else { continue };
                let own = allows(entry, &budget.sums);
                if own.is_none() {
                    unbounded.get_or_insert_with(|| Unbounded::of(action, budget));
                }
                let known = most.entry(*nth).or_insert(Some(0));
                *known = known.zip(own).map(|(known, own)| known.max(own));
            }
        }
    }
    let part = |(nth, most): (usize, Option<i64>)| {
        Some(Part { budget: bundle.budgets.get(nth)?, most: most? })
    };
    (most.into_iter().filter_map(part).collect(), unbounded)
}

/// Says of each budget that nobody has taken anything of it but this gatepass: for gatepasses that are made
/// where nothing is counted. A part that is not bounded is left out, and a gate denies it.
pub fn alone(grant: &mut Grant, bundle: &Bundle) {
    let (parts, _) = all_parts(&grant.entries, bundle);
    for Part { budget, most } in parts {
        let amount = Amount::of(&budget.sums, most);
        grant.budgets.extend(amount.map(|amount| (budget.claim.clone(), amount)));
    }
}

/// The actions that are under budgets, with the numbers of these. Of as many names as the policy puts under one,
/// whatever an agent asks for.
fn under(bundle: &Bundle) -> HashMap<&str, Vec<usize>> {
    let mut under: HashMap<&str, Vec<usize>> = HashMap::new();
    for (nth, budget) in bundle.budgets.iter().enumerate() {
        for at in &budget.actions {
            let action = usize::try_from(*at).ok().and_then(|at| bundle.actions.get(at));
            if let Some(action) = action {
                under.entry(&action.name).or_default().push(nth);
            }
        }
    }
    under
}

/// The most that one use may take; `None` where that is not known.
fn allows(entry: &Entry, sums: &Sums) -> Option<i64> {
    let Some(input) = sums.input() else { return Some(1) };
    let Constraint { max, equals, among, .. } = entry.constraints.get(input)?;
    let steps = |value: &Value| steps(value, sums);
    let mut bounds = Vec::new();
    for bound in [max, equals].into_iter().flatten() {
        bounds.push(steps(bound)?);
    }
    if let Some(values) = among {
        let values: Option<Vec<i64>> = values.iter().map(steps).collect();
        bounds.push(values?.into_iter().max()?);
    }
    // Each of them holds, so the least does. What is below nothing gives nothing back.
    bounds.into_iter().min().map(|least| least.max(0))
}

/// A bound as the gate reads it.
fn steps(value: &Value, sums: &Sums) -> Option<i64> {
    match (value, sums) {
        (Value::Number(number), Sums::Integer(_)) => number.as_i64(),
        (Value::Number(number), Sums::Decimal(_)) => {
            Decimal::from_integer(number.as_i64()?).map(Decimal::ten_thousandths)
        }
        (Value::String(text), Sums::Decimal(_) | Sums::Money(..)) => {
            Amount::parse(sums, text).map(|amount| amount.steps())
        }
        _ => None,
    }
}

impl Unbounded {
    fn of(action: &str, budget: &Budget) -> Self {
        let unit = match &budget.sums {
            Sums::Money(_, currency) => format!(" in {currency}"),
            Sums::Uses | Sums::Integer(_) | Sums::Decimal(_) => String::new(),
        };
        Self {
            action: action.to_owned(),
            input: budget.sums.input().unwrap_or_default().to_owned(),
            budget: budget.name.clone(),
            unit,
        }
    }
}

#[cfg(test)]
mod tests;
