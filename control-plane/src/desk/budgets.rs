//! Budgets at the desk: what a gatepass may take is added to what its holder has taken, in the transaction that
//! issues it, and the sum is what the policy's rules are asked about.

use std::collections::BTreeMap;

use gatepass_engine::budget::Amount;
use gatepass_engine::bundle::{Budget, Holder, Sums};
use gatepass_engine::clock::UnixSeconds;
use serde::Serialize;
use sqlx::SqliteConnection;
use utoipa::ToSchema;

use super::Refused;
use super::token::{Denied, OAuthError};
use crate::budget::{Part, parts};
use crate::db::{Reservation, Tx, joined, signed};
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
/// An entry that does not bound what it may take; too many gatepasses that are out and not used.
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
        let (before, unused) = tx.taken(&reservation.budget, &reservation.holder).await?;
        if unused >= MAX_UNUSED {
            return Err(Denied::new(
                OAuthError::TemporarilyUnavailable,
                format!(
                    "{MAX_UNUSED} gatepasses are out under budget `{}` that nobody has used: use them or give them back",
                    budget.name
                ),
            ));
        }
        // Beyond what can be counted is as much as there is: more than any limit.
        let sum = Amount::of(&budget.sums, before.saturating_add(most));
        // The currency was checked when the policy was.
        let sum = sum.ok_or_else(|| invalid(format!("budget `{}` has no unit", budget.name)))?;
        reserved.sums.insert(budget.claim.clone(), sum);
        if most > 0 {
            reserved.parts.push(reservation);
        }
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

/// The unit of a [`key`] of this budget; `None` for what is none.
fn unit(key: &str) -> Option<(&str, Sums)> {
    let (name, unit) = key.split_once(' ')?;
    Some((
        name,
        match unit.split_once(' ') {
            None => Sums::Uses,
            Some(("whole", input)) => Sums::Integer(input.to_owned()),
            Some(("decimal", input)) => Sums::Decimal(input.to_owned()),
            Some((currency, input)) => Sums::Money(input.to_owned(), currency.to_owned()),
        },
    ))
}

/// How a holder stands in a budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Balance {
    pub budget: String,
    /// The agent, task, owner or blueprint that it is counted for.
    pub holder: String,
    /// Of gatepasses that were issued and not used.
    pub reserved: String,
    /// Of gatepasses that were used within the window.
    pub taken: String,
}

/// All that is counted now, or what is counted for one holder; by budget and holder, 1,000 at most.
///
/// # Errors
/// What SQLite says.
pub async fn balances(
    connection: &mut SqliteConnection,
    holder: Option<&str>,
    now: UnixSeconds,
) -> Result<Vec<Balance>, Refused> {
    let rows: Vec<Counted> =
        sqlx::query_as(BALANCES).bind(signed(now.0)).bind(holder).fetch_all(connection).await?;
    let balance = |(key, holder, reserved, reserved_low, taken, taken_low): Counted| {
        let (name, sums) = unit(&key)?;
        let shown = |high, low| Some(Amount::of(&sums, joined(high, low))?.to_string());
        let (reserved, taken) = (shown(reserved, reserved_low)?, shown(taken, taken_low)?);
        Some(Balance { budget: name.to_owned(), holder, reserved, taken })
    };
    Ok(rows.into_iter().filter_map(balance).collect())
}

/// Key and holder; what is reserved and taken, each in an upper and a lower part.
type Counted = (String, String, i64, i64, i64, i64);

/// A holder's gatepasses that are out under a budget and not used: each is looked at when the next is issued.
const MAX_UNUSED: i64 = 10_000;
const BALANCES: &str = "SELECT budget, holder, sum(reserved >> 24), sum(reserved & 16777215),
   sum(taken >> 24), sum(taken & 16777215) FROM (
   SELECT budget, holder, amount AS reserved, 0 AS taken FROM reserved WHERE until > ?1
   UNION ALL SELECT budget, holder, 0, amount FROM taken WHERE until > ?1)
 WHERE ?2 IS NULL OR holder = ?2
 GROUP BY budget, holder ORDER BY budget, holder LIMIT 1000";

fn holder(per: Holder, grant: &Grant) -> &str {
    match per {
        Holder::Agent => &grant.agent.id,
        Holder::Task => &grant.task,
        Holder::Owner => &grant.agent.owner,
        Holder::Blueprint => &grant.agent.blueprint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_the_unit_of_what_it_counts() {
        for sums in [
            Sums::Uses,
            Sums::Integer("count".to_owned()),
            Sums::Decimal("weight".to_owned()),
            Sums::Money("amount".to_owned(), "EUR".to_owned()),
        ] {
            let name = "day".to_owned();
            let budget = Budget {
                name,
                per: Holder::Agent,
                window: 60,
                sums: sums.clone(),
                actions: vec![0],
                claim: String::new(),
            };
            assert_eq!(unit(&key(&budget)), Some(("day", sums)));
        }
        assert_eq!(unit("day"), None);
    }
}
