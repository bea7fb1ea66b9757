//! Versions of the policy: what was written, and when which one was in force where.

use std::collections::BTreeMap;

use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use gatepass_policy::Compiled;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use utoipa::ToSchema;

use super::Refused;
use super::ceiling::Ceiling;
use crate::audit::hex;
use crate::db::{DbError, Tx, signed, unsigned};
use crate::publish::ToCohort;
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

/// A version that is in force somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    pub version: u64,
    /// The position that put it in force there.
    pub at: Position,
    pub when: UnixSeconds,
}

/// What is in force where; `None` before the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Everywhere {
    /// For those in no cohort.
    pub of_all: Option<Published>,
    pub cohorts: BTreeMap<String, Option<Published>>,
}

/// For whom a version is put in force.
#[derive(Debug)]
pub(super) enum Place<'a> {
    Everywhere(Bundle),
    /// For all others: it is in force in this cohort, and becomes the policy of all.
    ElsewhereToo(&'a str, Bundle),
    /// In this cohort alone.
    Cohort(&'a str, Bundle),
    /// In this cohort, where it is the policy of all again.
    BackTo(&'a str),
}

/// Compiles a policy for an environment, or says everything that is wrong with it, with lines and
/// carets.
///
/// # Errors
/// [`Refused::Invalid`] with the report.
pub fn compile(content: &str, environment: &str) -> Result<Bundle, Refused> {
    let compiled = super::compiled::compile(content)
        .map_err(|problems| Refused::invalid("content", gatepass_policy::report(&problems)))?;
    is_for(&compiled, environment)?;
    Ok(compiled.bundle.clone())
}

/// What is perhaps not meant in a policy that compiles, a line for each: also scopes that no blueprint's ceiling
/// has.
///
/// # Errors
/// What SQLite says.
pub async fn warnings(tx: &mut Tx, content: &str) -> Result<Vec<String>, Refused> {
    let Ok(compiled) = super::compiled::compile(content) else { return Ok(Vec::new()) };
    let Ok(sources) = gatepass_policy::Sources::parse(content) else { return Ok(Vec::new()) };
    let blueprints: Vec<(String, String)> =
        sqlx::query_as("SELECT state, ceiling FROM blueprints").fetch_all(tx.reading()).await?;
    let enabled = blueprints.iter().filter(|(state, _)| state != "disabled");
    let ceilings = enabled.filter_map(|(_, text)| serde_json::from_str::<Ceiling>(text).ok());
    let held = ceilings.flat_map(|ceiling| ceiling.scopes).collect();
    // Where there is no blueprint yet, nothing is said of scopes.
    let unheld = match blueprints.is_empty() {
        true => Vec::new(),
        false => gatepass_policy::unheld_scopes(&compiled, &sources, &held),
    };
    let all = compiled.warnings.iter().chain(&unheld);
    Ok(all.map(|warning| format!("{}:{warning}", warning.file)).collect())
}

/// # Errors
/// [`Refused::Invalid`] where the policy says that it is for another environment.
pub fn is_for(compiled: &Compiled, environment: &str) -> Result<(), Refused> {
    match &compiled.environment {
        Some(stated) if stated != environment => Err(Refused::invalid(
            "content",
            format!("the policy is for environment `{stated}`, and this is `{environment}`"),
        )),
        Some(_) | None => Ok(()),
    }
}

/// What a version's content is known by: its SHA-256 in hexadecimal.
#[must_use]
pub fn digest(content: &str) -> String {
    hex(&Sha256::digest(content.as_bytes()))
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

/// What is in force where, and since when.
///
/// # Errors
/// What SQLite says.
pub async fn published(connection: &mut SqliteConnection) -> Result<Everywhere, DbError> {
    type Row = (i64, i64, i64, i64);
    let read = |(epoch, sequence, version, when): Row| Published {
        version: unsigned(version),
        at: Position { epoch: unsigned(epoch), sequence: unsigned(sequence) },
        when: UnixSeconds(unsigned(when)),
    };
    let of_all: Option<Row> = sqlx::query_as(
        "SELECT epoch, sequence, version, published_at FROM publications
         ORDER BY epoch DESC, sequence DESC LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let names: Vec<(String,)> =
        sqlx::query_as("SELECT name FROM cohorts").fetch_all(&mut *connection).await?;
    let mut cohorts = BTreeMap::new();
    for (name,) in names {
        let newest: Option<Row> = sqlx::query_as(
            "SELECT epoch, sequence, version, published_at FROM cohort_publications
             WHERE cohort = ? ORDER BY epoch DESC, sequence DESC LIMIT 1",
        )
        .bind(&name)
        .fetch_optional(&mut *connection)
        .await?;
        cohorts.insert(name, newest.map(read));
    }
    Ok(Everywhere { of_all: of_all.map(read), cohorts })
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
    .bind(digest(content))
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
    by: &str,
    place: Place<'_>,
) -> Result<(), Refused> {
    match place {
        Place::Everywhere(bundle) => put_everywhere(tx, version, by, bundle, None).await?,
        Place::ElsewhereToo(cohort, bundle) => {
            put_everywhere(tx, version, by, bundle, Some(cohort)).await?;
        }
        Place::Cohort(cohort, bundle) => {
            tx.change_cohort(cohort, ToCohort::Own(bundle));
            sqlx::query("UPDATE cohorts SET policy = ? WHERE name = ?")
                .bind(signed(version))
                .bind(cohort)
                .execute(tx.sql())
                .await?;
            note(tx, Some(cohort), version, by).await?;
        }
        Place::BackTo(cohort) => {
            tx.change_cohort(cohort, ToCohort::OfAll);
            sqlx::query("UPDATE cohorts SET policy = NULL WHERE name = ?")
                .bind(cohort)
                .execute(tx.sql())
                .await?;
            note(tx, Some(cohort), version, by).await?;
        }
    }
    Ok(())
}

/// To the gates of a cohort that decide by it already it is no news: their open requests go on.
async fn put_everywhere(
    tx: &mut Tx,
    version: u64,
    by: &str,
    bundle: Bundle,
    has_it: Option<&str>,
) -> Result<(), Refused> {
    let names = tx.publisher().cohorts().iter().map(|cohort| cohort.name().to_owned());
    let others: Vec<String> = names.filter(|name| Some(name.as_str()) != has_it).collect();
    tx.publish(bundle);
    sqlx::query("UPDATE environment SET policy = ?")
        .bind(signed(version))
        .execute(tx.sql())
        .await?;
    note(tx, None, version, by).await?;
    if tx.publisher().cohorts().is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE cohorts SET policy = NULL").execute(tx.sql()).await?;
    for name in &others {
        tx.change_cohort(name, ToCohort::OfAll);
        note(tx, Some(name), version, by).await?;
    }
    Ok(())
}

/// Writes down that a version is in force from this change on.
pub(super) async fn note(
    tx: &mut Tx,
    cohort: Option<&str>,
    version: u64,
    by: &str,
) -> Result<(), Refused> {
    let at = tx.position();
    let now = signed(tx.now().0);
    let written = match cohort {
        None => sqlx::query(
            "INSERT INTO publications (epoch, sequence, version, published_at, published_by)
             VALUES (?, ?, ?, ?, ?)",
        ),
        Some(_) => sqlx::query(
            "INSERT INTO cohort_publications
               (epoch, sequence, version, published_at, published_by, cohort)
             VALUES (?, ?, ?, ?, ?, ?)",
        ),
    };
    let written = written
        .bind(signed(at.epoch))
        .bind(signed(at.sequence))
        .bind(signed(version))
        .bind(now)
        .bind(by);
    let written = match cohort {
        None => written,
        Some(cohort) => written.bind(cohort),
    };
    written.execute(tx.sql()).await?;
    Ok(())
}
