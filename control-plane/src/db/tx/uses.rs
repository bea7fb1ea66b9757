//! Uses that are spent and records that are stored, each with all that goes with it as one message to the
//! database.

use gatepass_engine::clock::UnixSeconds;

use super::{DbError, Tx, signed};
use crate::audit::{Entry, Head};

/// A use that is spent now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spending<'a> {
    pub(crate) jti: &'a str,
    /// Of the question.
    pub(crate) nonce: &'a str,
    pub(crate) gate: &'a str,
    /// `exp` of the gatepass.
    pub(crate) until: UnixSeconds,
}

impl Tx {
    /// [`Tx::audit`] of a use with the use itself. On an error, as where it was spent before, nothing of it
    /// is there.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) async fn spent(
        &mut self,
        spending: &Spending<'_>,
        entry: Entry<'_>,
    ) -> Result<(), DbError> {
        let record = self.head.next(&entry, self.position(), self.now())?;
        let written = sqlx::query(SPEND)
            .bind(spending.jti)
            .bind(spending.nonce)
            .bind(spending.gate)
            .bind(signed(record.at.0))
            .bind(signed(spending.until.0))
            .bind(signed(record.at.0))
            .bind(spending.jti)
            .bind(spending.jti)
            .bind(signed(record.n))
            .bind(signed(record.at.0))
            .bind(entry.target)
            .bind(&record.body)
            .bind(&record.prev)
            .bind(&record.hash)
            .execute(&mut self.connection)
            .await;
        self.kept("spending", written).await?;
        self.head = Head { n: record.n, hash: record.hash };
        Ok(())
    }

    /// Stores the record of a decision. One that is there already, of the same question, stays.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) async fn stored(
        &mut self,
        jti: &str,
        nonce: &str,
        gate: &str,
        record: &str,
    ) -> Result<(), DbError> {
        let now = self.now();
        let written = sqlx::query(STORE)
            .bind(jti)
            .bind(nonce)
            .bind(gate)
            .bind(signed(now.0))
            .bind(record)
            .execute(&mut self.connection)
            .await;
        self.kept("storing", written).await
    }

    /// Takes back what a statement with a savepoint of its own began and did not end.
    async fn kept<T>(
        &mut self,
        savepoint: &'static str,
        written: Result<T, sqlx::Error>,
    ) -> Result<(), DbError> {
        let Err(error) = written else { return Ok(()) };
        let undo = match savepoint {
            "spending" => "ROLLBACK TO spending; RELEASE spending",
            _ => "ROLLBACK TO storing; RELEASE storing",
        };
        if sqlx::query(undo).execute(&mut self.connection).await.is_err() {
            self.broken = true;
        }
        Err(error.into())
    }
}

/// As `ISSUE`: one message to SQLite's thread and one back. What was reserved is taken, for the window from now on.
const SPEND: &str = "SAVEPOINT spending;
INSERT INTO uses (jti, nonce, gate, spent_at, until) VALUES (?, ?, ?, ?, ?);
INSERT INTO taken (budget, holder, until, amount)
  SELECT budget, holder, ((? + window) / (window / 64 + 1) + 1) * (window / 64 + 1), amount
  FROM reserved WHERE jti = ?
  ON CONFLICT (budget, holder, until) DO UPDATE SET
    amount = amount + min(excluded.amount, 9223372036854775807 - amount);
DELETE FROM reserved WHERE jti = ?;
INSERT INTO audit (n, at, target, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?);
RELEASE spending";
const STORE: &str = "SAVEPOINT storing;
INSERT OR IGNORE INTO confirmed_records (jti, nonce, gate, stored_at, record) VALUES (?, ?, ?, ?, ?);
RELEASE storing";
