//! How much of a budget a gatepass may take: the most that its entries allow, once.

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
    for entry in entries {
        if bundle.budgets.iter().any(|budget| under(entry, budget, bundle).is_some()) {
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
    let mut parts = Vec::new();
    for budget in &bundle.budgets {
        let mut most = None;
        for entry in entries {
            let Some(action) = under(entry, budget, bundle) else { continue };
            let own = allows(entry, &budget.sums).ok_or_else(|| Unbounded::of(action, budget))?;
            most = most.max(Some(own));
        }
        parts.extend(most.map(|most| Part { budget, most }));
    }
    Ok(parts)
}

/// Says of each budget that nobody has taken anything of it but this gatepass: for gatepasses that are made
/// where nothing is counted. A part that is not bounded is left out, and a gate denies it.
pub fn alone(grant: &mut Grant, bundle: &Bundle) {
    for budget in &bundle.budgets {
        let only = Bundle { budgets: vec![budget.clone()], ..bundle.clone() };
        let Ok(parts) = parts(&grant.entries, &only) else { continue };
        for part in parts {
            let amount = Amount::of(&budget.sums, part.most);
            let name = budget.name.clone();
            grant.budgets.extend(amount.map(|amount| (name, amount)));
        }
    }
}

/// The action of an entry that is under a budget.
fn under<'e>(entry: &'e Entry, budget: &Budget, bundle: &Bundle) -> Option<&'e str> {
    let is_under = |name: &&String| {
        let at = bundle.actions.iter().position(|action| action.name == **name);
        let at = at.and_then(|at| u32::try_from(at).ok());
        at.is_some_and(|at| budget.actions.contains(&at))
    };
    entry.actions.iter().find(is_under).map(String::as_str)
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
