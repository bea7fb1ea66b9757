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
    /// What is reserved and used of a budget for a holder now.
    ///
    /// # Errors
    /// What SQLite says, also where the sum is beyond 64 bits.
    pub(crate) async fn taken(&mut self, budget: &str, holder: &str) -> Result<i64, DbError> {
        let now = signed(self.now().0);
        let sum: i64 = sqlx::query_scalar(TAKEN)
            .bind(budget)
            .bind(holder)
            .bind(now)
            .fetch_one(self.reading())
            .await?;
        Ok(sum)
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

const TAKEN: &str = "SELECT
  (SELECT ifnull(sum(amount), 0) FROM reserved WHERE budget = ?1 AND holder = ?2 AND until > ?3)
  + (SELECT ifnull(sum(amount), 0) FROM taken WHERE budget = ?1 AND holder = ?2 AND until > ?3)";
