//! Whether a database file is whole. What is missing in it could be a revocation, so a file with a
//! broken page is neither served nor put in force: a copy takes its place.
//!
//! SQLite looks at every page and holds every index against its table. It keeps no checksums: a bit
//! that flips inside a value is found where the value stands in an index, or in the audit record,
//! which is chained by hashes.

use sqlx::SqliteConnection;

use super::DbError;

/// # Errors
/// [`DbError::Damaged`] with the first thing that SQLite finds wrong.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), DbError> {
    let found: Result<(String,), sqlx::Error> =
        sqlx::query_as("PRAGMA integrity_check(1)").fetch_one(connection).await;
    match found {
        Ok((said,)) if said == WHOLE => Ok(()),
        Ok((said,)) => Err(DbError::Damaged(said)),
        // It cannot even be read to its end.
        Err(error @ sqlx::Error::Database(_)) => Err(DbError::Damaged(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

const WHOLE: &str = "ok";
