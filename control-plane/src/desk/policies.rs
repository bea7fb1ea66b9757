//! Versions of the policy: what was written, and when which one was in force.

use gatepass_engine::bundle::Bundle;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use utoipa::ToSchema;

use super::Refused;
use crate::audit::hex;
use crate::db::{Tx, signed, unsigned};
use sha2::{Digest as _, Sha256};

/// One version, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow, ToSchema)]
pub struct Policy {
    pub version: i64,
    pub digest: String,
    pub created_at: i64,
    pub created_by: String,
    pub reason: String,
}

/// Compiles a policy, or says everything that is wrong with it, with lines and carets.
///
/// # Errors
/// [`Refused::Invalid`] with the report.
pub fn compile(content: &str) -> Result<Bundle, Refused> {
    match gatepass_policy::compile(content) {
        Ok(compiled) => Ok(compiled.bundle),
        Err(problems) => Err(Refused::invalid(
            "content",
            gatepass_policy::report("policy.yaml", content, &problems),
        )),
    }
}

/// All versions, newest first.
///
/// # Errors
/// What SQLite says.
pub async fn list(connection: &mut SqliteConnection) -> Result<Vec<Policy>, Refused> {
    let found = sqlx::query_as(
        "SELECT version, digest, created_at, created_by, reason FROM policies
         ORDER BY version DESC LIMIT 1000",
    )
    .fetch_all(connection)
    .await?;
    Ok(found)
}

/// The version in force; 0 before the first.
///
/// # Errors
/// What SQLite says.
pub async fn in_force(connection: &mut SqliteConnection) -> Result<u64, Refused> {
    let (version,): (i64,) =
        sqlx::query_as("SELECT policy FROM environment").fetch_one(connection).await?;
    Ok(unsigned(version))
}

/// # Errors
/// [`Refused::NotFound`].
pub async fn content(connection: &mut SqliteConnection, version: u64) -> Result<String, Refused> {
    let found: Option<(String,)> = sqlx::query_as("SELECT content FROM policies WHERE version = ?")
        .bind(signed(version))
        .fetch_optional(connection)
        .await?;
    found
        .map(|(content,)| content)
        .ok_or_else(|| Refused::not_found("policy version", &version.to_string()))
}

/// Keeps a new version.
///
/// # Errors
/// What SQLite says.
pub(super) async fn keep(
    tx: &mut Tx,
    content: &str,
    by: &str,
    reason: &str,
) -> Result<u64, Refused> {
    let (newest,): (i64,) =
        sqlx::query_as("SELECT ifnull(max(version), 0) FROM policies").fetch_one(tx.sql()).await?;
    let version = newest.saturating_add(1);
    let now = signed(tx.now().0);
    sqlx::query(
        "INSERT INTO policies (version, content, digest, created_at, created_by, reason)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(version)
    .bind(content)
    .bind(hex(&Sha256::digest(content.as_bytes())))
    .bind(now)
    .bind(by)
    .bind(reason)
    .execute(tx.sql())
    .await?;
    Ok(unsigned(version))
}

/// Puts a version in force at the position of this change.
///
/// # Errors
/// What SQLite says.
pub(super) async fn put_in_force(
    tx: &mut Tx,
    version: u64,
    bundle: Bundle,
    by: &str,
) -> Result<(), Refused> {
    tx.publish(bundle);
    let at = tx.position();
    let now = signed(tx.now().0);
    sqlx::query("UPDATE environment SET policy = ?")
        .bind(signed(version))
        .execute(tx.sql())
        .await?;
    sqlx::query(
        "INSERT INTO publications (sequence, epoch, version, published_at, published_by)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(signed(at.sequence))
    .bind(signed(at.epoch))
    .bind(signed(version))
    .bind(now)
    .bind(by)
    .execute(tx.sql())
    .await?;
    Ok(())
}
