//! The signed deltas of a step, written down with it: for those in no cohort, and for each cohort.

use super::{Tx, signed};
use crate::db::DbError;
use crate::db::book::{Delta, KEPT_DELTAS};

impl Tx {
    /// Without one, those before lead nowhere.
    pub(super) async fn keep_delta(
        &mut self,
        delta: Option<&Delta>,
        sequence: u64,
    ) -> Result<(), DbError> {
        let gone = match delta {
            Some(delta) => {
                sqlx::query("INSERT INTO deltas VALUES (?, ?, ?, ?)")
                    .bind(signed(delta.to))
                    .bind(signed(delta.issued_at.0))
                    .bind(signed(delta.expires_at.0))
                    .bind(&delta.envelope[..])
                    .execute(&mut self.connection)
                    .await?;
                sequence.saturating_sub(KEPT_DELTAS)
            }
            None => sequence,
        };
        sqlx::query("DELETE FROM deltas WHERE sequence <= ?")
            .bind(signed(gone))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// The same for each cohort that there is after the step.
    pub(super) async fn keep_cohort_deltas(
        &mut self,
        deltas: &[(String, Option<Delta>)],
        sequence: u64,
    ) -> Result<(), DbError> {
        for cohort in self.publisher.cohorts() {
            let found = deltas.iter().find(|(name, _)| name == cohort.name());
            let Some(delta) = found.and_then(|(_, delta)| delta.as_ref()) else {
                sqlx::query("DELETE FROM cohort_deltas WHERE cohort = ?")
                    .bind(cohort.name())
                    .execute(&mut self.connection)
                    .await?;
                continue;
            };
            sqlx::query(
                "INSERT INTO cohort_deltas (sequence, cohort, issued_at, expires_at, envelope)
                 VALUES (?, ?, ?, ?, ?)",
            )
            .bind(signed(delta.to))
            .bind(cohort.name())
            .bind(signed(delta.issued_at.0))
            .bind(signed(delta.expires_at.0))
            .bind(&delta.envelope[..])
            .execute(&mut self.connection)
            .await?;
        }
        sqlx::query("DELETE FROM cohort_deltas WHERE sequence <= ?")
            .bind(signed(sequence.saturating_sub(KEPT_DELTAS)))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}
