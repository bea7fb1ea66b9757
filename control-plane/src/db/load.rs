//! What the database holds of the feed, read into memory; and how a new database begins.

use std::path::Path;

use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::keyring::{Algorithm, IssuerKey, IssuerKeys};
use gatepass_engine::position::Position;
use gatepass_engine::revocation::{Below, Kind, Revocation};
use sqlx::{Connection as _, SqliteConnection};

use super::book::Delta;
use super::tx::{signed, unsigned};
use super::{DATABASE, DbError, MIGRATIONS, options};
use crate::audit::{Entry, Head};
use crate::publish::{DEFAULT_BATCH_LIFE, Publisher, State};

/// The feed's part of the state.
pub(super) struct Loaded {
    pub(super) publisher: Publisher,
    pub(super) roots: Vec<String>,
    pub(super) deltas: Vec<Delta>,
    /// Of cohorts, by their names.
    pub(super) cohort_deltas: Vec<(String, Delta)>,
    pub(super) head: Head,
}

/// What a new environment is called.
#[derive(Clone, Debug)]
pub struct Genesis {
    pub environment: String,
    /// `iss` of its gatepasses.
    pub issuer: String,
    /// The feed audience.
    pub audience: String,
    pub two_persons: bool,
    pub now: UnixSeconds,
    pub keys: Vec<IssuerKey>,
    pub operator: FirstOperator,
}

/// Who may administer a new environment.
#[derive(Clone, Debug)]
pub struct FirstOperator {
    pub id: String,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    pub expires_at: UnixSeconds,
}

/// Makes the database file in `dir`. No root is in force yet, so no gate believes what is signed.
///
/// # Errors
/// What SQLite or the file system say.
pub async fn create(dir: &Path, genesis: &Genesis) -> Result<(), DbError> {
    let file = dir.join(DATABASE);
    // SQLite gives its other files the rights of this one.
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .map_err(|error| DbError::Io(file.clone(), error))?;
    let options = options(&file);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    MIGRATIONS.run(&mut connection).await?;
    let mut hash_key = [0; 16];
    getrandom::fill(&mut hash_key).map_err(|_| crate::keys::KeyError::Randomness)?;
    let mut tx = connection.begin().await?;
    sqlx::query(
        "INSERT INTO environment (one, name, issuer, audience, two_persons, epoch, sequence,
           hash_key, root_version, keys_version, issued_at, batch_life, policy)
         VALUES (1, ?, ?, ?, ?, ?, 1, ?, 0, 1, 0, ?, 0)",
    )
    .bind(&genesis.environment)
    .bind(&genesis.issuer)
    .bind(&genesis.audience)
    .bind(genesis.two_persons)
    .bind(signed(genesis.now.0.max(1)))
    .bind(hash_key.as_slice())
    .bind(signed(DEFAULT_BATCH_LIFE))
    .execute(&mut *tx)
    .await?;
    for key in &genesis.keys {
        sqlx::query("INSERT INTO issuer_keys VALUES (?, ?, ?, ?, ?)")
            .bind(key.public.as_slice())
            .bind(&key.issuer)
            .bind(crate::issue::algorithm_name(key.algorithm))
            .bind(signed(key.not_before.0))
            .bind(signed(key.not_after.0))
            .execute(&mut *tx)
            .await?;
    }
    let now = signed(genesis.now.0);
    let operator = &genesis.operator;
    sqlx::query("INSERT INTO operators (id, state, created_at) VALUES (?, 'active', ?)")
        .bind(&operator.id)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO tokens (id, digest, operator, role, created_at, expires_at)
         VALUES (?, ?, ?, 'admin', ?, ?)",
    )
    .bind(uuid::Uuid::now_v7().to_string())
    .bind(operator.digest.as_slice())
    .bind(&operator.id)
    .bind(now)
    .bind(signed(operator.expires_at.0))
    .execute(&mut *tx)
    .await?;
    let entry = Entry {
        actor: "gatepass",
        action: "environment.init",
        target: "environment",
        before: serde_json::Value::Null,
        after: serde_json::json!({
            "environment": genesis.environment, "issuer": genesis.issuer, "admin": operator.id,
        }),
        reason: "a new environment",
    };
    let at = Position { epoch: genesis.now.0.max(1), sequence: 1 };
    let record = Head::default().next(&entry, at, genesis.now)?;
    sqlx::query("INSERT INTO audit (n, at, target, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(signed(record.n))
        .bind(now)
        .bind(entry.target)
        .bind(&record.body)
        .bind(&record.prev)
        .bind(&record.hash)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    connection.close().await?;
    Ok(())
}

type EnvironmentRow = (String, String, i64, i64, Vec<u8>, i64, i64, i64, i64, i64);

pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Loaded, DbError> {
    let row: Option<EnvironmentRow> = sqlx::query_as(
        "SELECT name, audience, epoch, sequence, hash_key, root_version, keys_version, issued_at,
           batch_life, policy FROM environment",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some((environment, audience, epoch, sequence, hash_key, root, keys, issued, life, policy)) =
        row
    else {
        return Err(DbError::Corrupt("it has no environment".to_owned()));
    };
    let hash_key = hash_key.try_into().map_err(|_| DbError::Corrupt("its hash key".to_owned()))?;
    let state = State {
        environment,
        audience,
        root_version: unsigned(root),
        epoch: unsigned(epoch),
        sequence: unsigned(sequence),
        hash_key,
        keys: IssuerKeys { version: unsigned(keys), keys: issuer_keys(connection).await? },
        revocations: revocations(connection).await?,
        issued_at: UnixSeconds(unsigned(issued)),
        batch_life: unsigned(life),
    };
    let mut publisher = Publisher::restore(state, bundle(connection, policy).await?)?;
    let cohorts: Vec<(String, Option<i64>)> =
        sqlx::query_as("SELECT name, policy FROM cohorts").fetch_all(&mut *connection).await?;
    for (name, own) in cohorts {
        let own = match own {
            Some(version) => Some(bundle(connection, version).await?),
            None => None,
        };
        publisher = publisher.with_cohort(&name, own)?;
    }
    let roots: Vec<(String,)> = sqlx::query_as("SELECT envelope FROM roots ORDER BY version")
        .fetch_all(&mut *connection)
        .await?;
    type DeltaRow = (i64, i64, i64, Vec<u8>);
    let deltas: Vec<DeltaRow> = sqlx::query_as(
        "SELECT sequence, issued_at, expires_at, envelope FROM deltas ORDER BY sequence",
    )
    .fetch_all(&mut *connection)
    .await?;
    let cohort_deltas: Vec<(String, i64, i64, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT cohort, sequence, issued_at, expires_at, envelope FROM cohort_deltas
         ORDER BY sequence",
    )
    .fetch_all(&mut *connection)
    .await?;
    let delta = |(to, issued_at, expires_at, envelope): DeltaRow| Delta {
        to: unsigned(to),
        issued_at: UnixSeconds(unsigned(issued_at)),
        expires_at: UnixSeconds(unsigned(expires_at)),
        envelope: envelope.into(),
    };
    let of_cohort = |(cohort, to, issued_at, expires_at, envelope)| {
        (cohort, delta((to, issued_at, expires_at, envelope)))
    };
    Ok(Loaded {
        publisher,
        roots: roots.into_iter().map(|(envelope,)| envelope).collect(),
        deltas: deltas.into_iter().map(delta).collect(),
        cohort_deltas: cohort_deltas.into_iter().map(of_cohort).collect(),
        head: head(connection).await?,
    })
}

async fn head(connection: &mut SqliteConnection) -> Result<Head, DbError> {
    let row: Option<(i64, String)> =
        sqlx::query_as("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1")
            .fetch_optional(connection)
            .await?;
    Ok(row.map_or_else(Head::default, |(n, hash)| Head { n: unsigned(n), hash }))
}

/// The policy in force, compiled again: what is stored is what people wrote.
async fn bundle(connection: &mut SqliteConnection, version: i64) -> Result<Bundle, DbError> {
    if version == 0 {
        return Ok(Bundle::default());
    }
    let row: Option<(String,)> = sqlx::query_as("SELECT content FROM policies WHERE version = ?")
        .bind(version)
        .fetch_optional(connection)
        .await?;
    let corrupt = |what: String| DbError::Corrupt(format!("policy {version}: {what}"));
    let (content,) = row.ok_or_else(|| corrupt("it is not there".to_owned()))?;
    let compiled = gatepass_policy::compile(&content);
    compiled.map(|compiled| compiled.bundle).map_err(|problems| {
        corrupt(format!("it has {} problems for this version of the compiler", problems.len()))
    })
}

async fn issuer_keys(connection: &mut SqliteConnection) -> Result<Vec<IssuerKey>, DbError> {
    let rows: Vec<(Vec<u8>, String, String, i64, i64)> = sqlx::query_as(
        "SELECT public, issuer, algorithm, not_before, not_after FROM issuer_keys ORDER BY public",
    )
    .fetch_all(connection)
    .await?;
    let corrupt = || DbError::Corrupt("an issuer key".to_owned());
    rows.into_iter()
        .map(|(public, issuer, algorithm, not_before, not_after)| {
            Ok(IssuerKey {
                public: public.try_into().map_err(|_| corrupt())?,
                issuer,
                algorithm: Algorithm::parse(&algorithm).ok_or_else(corrupt)?,
                not_before: UnixSeconds(unsigned(not_before)),
                not_after: UnixSeconds(unsigned(not_after)),
            })
        })
        .collect()
}

async fn revocations(connection: &mut SqliteConnection) -> Result<Vec<Revocation>, DbError> {
    let rows: Vec<(i64, String, Option<i64>, i64)> =
        sqlx::query_as("SELECT key, kind, below, drop_after FROM revocations")
            .fetch_all(connection)
            .await?;
    rows.into_iter()
        .map(|(key, kind, below, drop_after)| {
            Ok(Revocation {
                kind: kind_of(&kind)
                    .ok_or_else(|| DbError::Corrupt(format!("a revocation of kind `{kind}`")))?,
                key: u64::from_ne_bytes(key.to_ne_bytes()),
                below: below.map_or(Below::Always, |below| Below::Sequence(unsigned(below))),
                drop_after: UnixSeconds(unsigned(drop_after)),
            })
        })
        .collect()
}

/// The name that a kind has in the database and the API.
#[must_use]
pub(crate) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Credential => "credential",
        Kind::Task => "task",
        Kind::Subject => "subject",
        Kind::Agent => "agent",
        Kind::Owner => "owner",
        Kind::Blueprint => "blueprint",
        Kind::Key => "key",
    }
}

pub(crate) fn kind_of(name: &str) -> Option<Kind> {
    let all = [
        Kind::Credential,
        Kind::Task,
        Kind::Subject,
        Kind::Agent,
        Kind::Owner,
        Kind::Blueprint,
        Kind::Key,
    ];
    all.into_iter().find(|kind| kind_name(*kind) == name)
}

#[cfg(test)]
mod tests;
