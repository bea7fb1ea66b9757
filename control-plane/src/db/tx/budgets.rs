//! What is taken of budgets: reserved when a gatepass is issued, and kept for the window once it is used.

use gatepass_engine::clock::UnixSeconds;

use super::{DbError, Tx, signed};

/// The part of a gatepass in one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// Name and unit.
    pub(crate) budget: String,
    pub(crate) holder: String,
    /// In the smallest step of the unit.
    pub(crate) amount: i64,
    /// Seconds.
    pub(crate) window: u32,
}

impl Tx {
    /// What is reserved and used of a budget for a holder now, and of how many gatepasses that nobody has used.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) async fn taken(
        &mut self,
        budget: &str,
        holder: &str,
    ) -> Result<(i64, i64), DbError> {
        let now = signed(self.now().0);
        let (high, low, unused): (i64, i64, i64) = sqlx::query_as(TAKEN)
            .bind(budget)
            .bind(holder)
            .bind(now)
            .fetch_one(self.reading())
            .await?;
        Ok((joined(high, low), unused))
    }

    /// Reserves what a gatepass may take, until it ends.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) async fn reserve(
        &mut self,
        jti: &str,
        until: UnixSeconds,
        reservation: &Reservation,
    ) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO reserved (jti, budget, holder, amount, until, window)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(jti)
        .bind(&reservation.budget)
        .bind(&reservation.holder)
        .bind(reservation.amount)
        .bind(signed(until.0))
        .bind(i64::from(reservation.window))
        .execute(self.sql())
        .await?;
        Ok(())
    }

    /// What the gatepass has reserved is free again, unless it was used.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) async fn release(&mut self, jti: &str) -> Result<(), DbError> {
        sqlx::query("DELETE FROM reserved WHERE jti = ?").bind(jti).execute(self.sql()).await?;
        Ok(())
    }
}

/// A sum of amounts whose upper and lower parts were added up apart, for SQLite ends a statement whose sum is beyond
/// 64 bits. What is beyond them is as much as there is.
pub(crate) fn joined(high: i64, low: i64) -> i64 {
    let sum = (i128::from(high) << LOW_BITS).saturating_add(i128::from(low));
    i64::try_from(sum).unwrap_or(i64::MAX)
}

/// Of amounts; the lower parts of 2^39 of them, and the upper ones of 2^24, have a sum.
const LOW_BITS: u32 = 24;
const TAKEN: &str =
    "SELECT ifnull(sum(amount >> 24), 0), ifnull(sum(amount & 16777215), 0), ifnull(sum(unused), 0)
 FROM (
   SELECT amount, 1 AS unused FROM reserved WHERE budget = ?1 AND holder = ?2 AND until > ?3
   UNION ALL SELECT amount, 0 FROM taken WHERE budget = ?1 AND holder = ?2 AND until > ?3)";
