//! Budgets at the desk: what a gatepass may take is added to what its holder has taken, in the transaction that
//! issues it, and the sum is what the policy's rules are asked about.

use std::collections::BTreeMap;

use gatepass_engine::budget::Amount;
use gatepass_engine::bundle::{Budget, Holder, Sums};

use super::token::{Denied, OAuthError};
use crate::budget::{Part, parts};
use crate::db::{Reservation, Tx};
use crate::issue::Grant;

/// What a gatepass is to reserve.
pub(super) struct Reserved {
    /// What is taken of each, with this gatepass's part: as it says.
    pub(super) sums: BTreeMap<String, Amount>,
    pub(super) parts: Vec<Reservation>,
}

/// Adds up; writes nothing.
///
/// # Errors
/// An entry that does not bound what it may take, and sums beyond 64 bits.
pub(super) async fn add_up(tx: &mut Tx, grant: &Grant) -> Result<Reserved, Denied> {
    let invalid = |why: String| Denied::new(OAuthError::InvalidAuthorizationDetails, why);
    let found = parts(&grant.entries, tx.publisher().index().bundle());
    let found = found.map_err(|why| invalid(why.to_string()))?;
    let found: Vec<(Budget, i64)> =
        found.into_iter().map(|Part { budget, most }| (budget.clone(), most)).collect();
    let mut reserved = Reserved { sums: BTreeMap::new(), parts: Vec::new() };
    for (budget, most) in found {
        let reservation = Reservation {
            budget: key(&budget),
            holder: holder(budget.per, grant).to_owned(),
            amount: most,
            window: budget.window,
        };
        let before = tx.taken(&reservation.budget, &reservation.holder).await?;
        let sum = before.checked_add(most).and_then(|sum| Amount::of(&budget.sums, sum));
        let sum = sum.ok_or_else(|| {
            invalid(format!("more than budget `{}` can count is taken of it", budget.name))
        })?;
        reserved.sums.insert(budget.name.clone(), sum);
        reserved.parts.push(reservation);
    }
    Ok(reserved)
}

/// The name, with the unit of what is summed: a policy that comes to count something else begins anew.
fn key(budget: &Budget) -> String {
    let name = &budget.name;
    match &budget.sums {
        Sums::Uses => format!("{name} uses"),
        Sums::Integer(input) => format!("{name} whole {input}"),
        Sums::Decimal(input) => format!("{name} decimal {input}"),
        Sums::Money(input, currency) => format!("{name} {currency} {input}"),
    }
}

fn holder(per: Holder, grant: &Grant) -> &str {
    match per {
        Holder::Agent => &grant.agent.id,
        Holder::Task => &grant.task,
        Holder::Owner => &grant.agent.owner,
        Holder::Blueprint => &grant.agent.blueprint,
    }
}
