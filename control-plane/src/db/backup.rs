//! Copies of the database, and coming back from one.
//!
//! A copy is older than what gates have seen, so whatever comes back from it starts a new epoch:
//! every gatepass issued before is dead, and no follower takes it for the past. Issuance stays
//! closed until somebody has looked whether owners and agents are still who they were. What was
//! stopped since the copy was made stays stopped, as far as the database that it replaces can be
//! read.

use std::path::Path;

use gatepass_engine::clock::{MAX_CLOCK_SKEW, UnixSeconds};
use gatepass_engine::position::Position;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};

use super::tx::{signed, unsigned};
use super::{DATABASE, DbError, MIGRATIONS, lock, options, whole};
use crate::audit::{self, Entry, Head};

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    pub from: Position,
    pub to: Position,
    pub records: u64,
    /// The database that was replaced could not be read whole, so what was stopped in it since the
    /// copy was made may be active again.
    pub from_damaged: bool,
}

/// Writes a copy of a database, also of one that is being served.
///
/// # Errors
/// The file exists already, or what SQLite says.
pub async fn backup(dir: &Path, to: &Path) -> Result<(), DbError> {
    let file = dir.join(DATABASE);
    if !file.exists() {
        return Err(DbError::Missing(dir.to_owned()));
    }
    copy(&file, to).await
}

async fn copy(file: &Path, to: &Path) -> Result<(), DbError> {
    let not_found = || std::io::Error::from(std::io::ErrorKind::NotFound);
    if !file.exists() {
        return Err(DbError::Io(file.to_owned(), not_found()));
    }
    if to.exists() {
        let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(DbError::Io(to.to_owned(), exists));
    }
    let name = to.to_str().ok_or_else(|| {
        DbError::Io(to.to_owned(), std::io::Error::from(std::io::ErrorKind::InvalidFilename))
    })?;
    let mut connection = SqliteConnection::connect_with(&options(file)).await?;
    // A copy of what is damaged would be found out when it is needed.
    whole::check(&mut connection).await?;
    sqlx::query("VACUUM INTO ?").bind(name).execute(&mut connection).await?;
    connection.close().await?;
    let copied = std::fs::File::open(to).and_then(|file| {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.sync_all()
    });
    copied.map_err(|error| DbError::Io(to.to_owned(), error))
}

/// Puts a copy in place of the database in `dir`, which nobody may be serving, or raises the epoch
/// of the one that is there when `from` is `None`.
///
/// # Errors
/// The copy's audit record does not verify, or what SQLite or the file system say. The database
/// that was there stays, or is kept beside as `gatepass.db.before-restore`.
pub async fn restore(
    dir: &Path,
    from: Option<&Path>,
    now: UnixSeconds,
) -> Result<Restored, DbError> {
    let _lock = lock(dir)?;
    let file = dir.join(DATABASE);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| DbError::Io(path, error)
    };
    // What cannot be read has no epoch and stops nothing; restoring is for that case too.
    let replaced = if file.exists() { Replaced::read(&file).await.ok() } else { None };
    let is_whole = replaced.as_ref().map_or(!file.exists(), |replaced| replaced.is_whole);
    let work = dir.join("gatepass.db.restoring");
    for suffix in ["", "-wal", "-shm"] {
        let leftover = dir.join(format!("gatepass.db.restoring{suffix}"));
        if leftover.exists() {
            std::fs::remove_file(&leftover).map_err(io(&leftover))?;
        }
    }
    match from {
        // Not as a file: what lies beside it in a write-ahead log belongs to it.
        Some(from) => copy(from, &work).await?,
        None => copy(&file, &work).await?,
    }
    let restored = raise(&work, replaced.as_ref(), &file, now).await?;
    let restored = Restored { from_damaged: !is_whole, ..restored };
    if file.exists() {
        for suffix in ["", "-wal", "-shm"] {
            let old = dir.join(format!("{DATABASE}{suffix}"));
            let kept = dir.join(format!("{DATABASE}.before-restore{suffix}"));
            if old.exists() {
                std::fs::rename(&old, &kept).map_err(io(&old))?;
            }
        }
    }
    std::fs::rename(&work, &file).map_err(io(&work))?;
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir))?;
    Ok(restored)
}

/// The database that a copy takes the place of.
struct Replaced {
    epoch: u64,
    keys_version: u64,
    /// Its name and its issuer: no other environment's copy takes its place.
    identity: (String, String),
    is_whole: bool,
}

impl Replaced {
    async fn read(file: &Path) -> Result<Self, DbError> {
        let mut connection = SqliteConnection::connect_with(&options(file)).await?;
        let (epoch, keys_version, name, issuer): (i64, i64, String, String) =
            sqlx::query_as("SELECT epoch, keys_version, name, issuer FROM environment")
                .fetch_one(&mut connection)
                .await?;
        let is_whole = whole::check(&mut connection).await.is_ok();
        // Of a damaged one nothing is written back.
        let _ = connection.close().await;
        let (epoch, keys_version) = (unsigned(epoch), unsigned(keys_version));
        Ok(Self { epoch, keys_version, identity: (name, issuer), is_whole })
    }
}

/// What was stopped since the copy was made stays stopped: a token that was stolen and ended, a
/// key that was removed, a person who has left. This can only deny. Of a database that is not whole,
/// what can be read: each statement has a connection of its own, for one that has met a broken page says of
/// everything after it, the copy too, that it is malformed.
async fn keep_stopped(work: &Path, replaced: &Replaced, file: &Path) -> Result<(), DbError> {
    let name = file.to_str().ok_or_else(|| {
        DbError::Io(file.to_owned(), std::io::Error::from(std::io::ErrorKind::InvalidFilename))
    })?;
    for statement in KEPT_STOPS {
        keep(work, replaced, name, statement).await?;
    }
    keep_taken(work, replaced, name).await
}

/// One statement over both databases.
async fn keep(
    work: &Path,
    replaced: &Replaced,
    name: &str,
    statement: &'static str,
) -> Result<(), DbError> {
    let mut connection = SqliteConnection::connect_with(&options(work)).await?;
    sqlx::query("ATTACH DATABASE ? AS replaced").bind(name).execute(&mut connection).await?;
    let kept = sqlx::query(statement).execute(&mut connection).await;
    let closed = connection.close().await;
    if replaced.is_whole {
        kept?;
        closed?;
    }
    Ok(())
}

/// What was taken of budgets since the copy was made stays taken.
async fn keep_taken(work: &Path, replaced: &Replaced, name: &str) -> Result<(), DbError> {
    let mut connection = SqliteConnection::connect_with(&options(work)).await?;
    sqlx::query("ATTACH DATABASE ? AS replaced").bind(name).execute(&mut connection).await?;
    // One from before there were budgets has none.
    let known = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM replaced.sqlite_master WHERE name IN ('reserved', 'taken')",
    );
    let known = known.fetch_one(&mut connection).await;
    let _ = connection.close().await;
    if replaced.is_whole && known? == 0 {
        return Ok(());
    }
    if replaced.is_whole {
        // It knows of each reservation of the copy what became of it.
        keep(work, replaced, name, FORGET_RESERVED).await?;
    }
    keep(work, replaced, name, KEEP_RESERVED).await?;
    keep(work, replaced, name, KEEP_TAKEN).await
}

async fn raise(
    work: &Path,
    replaced: Option<&Replaced>,
    file: &Path,
    now: UnixSeconds,
) -> Result<Restored, DbError> {
    let mut connection = SqliteConnection::connect_with(&options(work)).await?;
    MIGRATIONS.run(&mut connection).await?;
    audit::verify(&mut connection, None)
        .await
        .map_err(|error| DbError::Corrupt(format!("the copy's audit record: {error}")))?;
    if let Some(replaced) = replaced {
        let identity: (String, String) = sqlx::query_as("SELECT name, issuer FROM environment")
            .fetch_one(&mut connection)
            .await?;
        if identity != replaced.identity {
            return Err(DbError::Corrupt("the copy is of another environment".to_owned()));
        }
        keep_stopped(work, replaced, file).await?;
    }
    let (epoch, sequence, keys_version): (i64, i64, i64) =
        sqlx::query_as("SELECT epoch, sequence, keys_version FROM environment")
            .fetch_one(&mut connection)
            .await?;
    let from = Position { epoch: unsigned(epoch), sequence: unsigned(sequence) };
    let epoch =
        from.epoch.max(replaced.map_or(0, |known| known.epoch)).saturating_add(1).max(now.0);
    // Gates refuse an older list of keys, and have seen newer ones than the copy's: also from other restores
    // since it was made. So the lists are in the order of their epochs.
    let keys_version = unsigned(keys_version)
        .max(replaced.map_or(0, |known| known.keys_version))
        .saturating_add(1)
        .max(epoch.saturating_mul(KEYS_OF_AN_EPOCH));
    let to = Position { epoch, sequence: 1 };
    let head: Option<(i64, String)> =
        sqlx::query_as("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1")
            .fetch_optional(&mut connection)
            .await?;
    let head = head.map_or_else(Head::default, |(n, hash)| Head { n: unsigned(n), hash });
    let entry = Entry {
        actor: "gatepass",
        action: "environment.restore",
        target: "environment",
        before: json!({ "position": from.to_string() }),
        after: json!({ "position": to.to_string(), "issuance_closed": RESTORED }),
        reason: "a copy was restored",
    };
    let record = head.next(&entry, to, now)?;
    let mut tx = connection.begin().await?;
    // Revocations go with their epoch: what they killed is older than the new one, so dead anyway.
    // Those of keys stay, and so does the hash key under which they are known.
    sqlx::query("DELETE FROM revocations WHERE kind <> 'key'").execute(&mut *tx).await?;
    sqlx::query("DELETE FROM deltas").execute(&mut *tx).await?;
    sqlx::query("DELETE FROM cohort_deltas").execute(&mut *tx).await?;
    sqlx::query("DELETE FROM gatepasses").execute(&mut *tx).await?;
    // What was reserved when the copy was made may have been used since.
    sqlx::query(
        "INSERT INTO taken (budget, holder, until, amount)
         SELECT budget, holder, ? + window, amount FROM reserved
         WHERE until > (SELECT issued_at FROM environment) - 60
         ON CONFLICT (budget, holder, until) DO UPDATE SET
           amount = amount + min(excluded.amount, 9223372036854775807 - amount)",
    )
    .bind(signed(now.0))
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM reserved").execute(&mut *tx).await?;
    sqlx::query(
        "UPDATE environment SET epoch = ?, sequence = 1, issuance_closed = ?, keys_version = ?",
    )
    .bind(signed(to.epoch))
    .bind(RESTORED)
    .bind(signed(keys_version))
    .execute(&mut *tx)
    .await?;
    sqlx::query("INSERT INTO audit (n, at, target, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(signed(record.n))
        .bind(signed(now.0))
        .bind(entry.target)
        .bind(&record.body)
        .bind(&record.prev)
        .bind(&record.hash)
        .execute(&mut *tx)
        .await?;
    let_time_fall(&mut tx, now).await?;
    tx.commit().await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await?;
    Ok(Restored { from, to, records: record.n, from_damaged: false })
}

/// A clock that was ahead has dated what was signed, and nothing later is dated before it: gates would
/// refuse the feed until that time has come. A new epoch may begin at the time that it is: whatever was
/// issued under the dates of the future is dead with the old one. A gate that believed them, its own clock
/// being as far ahead, refuses what is older until then.
async fn let_time_fall(tx: &mut SqliteConnection, now: UnixSeconds) -> Result<(), DbError> {
    let latest = signed(now.plus(MAX_CLOCK_SKEW).0);
    let (issued_at,): (i64,) =
        sqlx::query_as("SELECT issued_at FROM environment").fetch_one(&mut *tx).await?;
    if issued_at <= latest {
        return Ok(());
    }
    // The schema knows no exception; it is the same again when this is committed.
    let (trigger,): (String,) =
        sqlx::query_as("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?")
            .bind(ONLY_RISE)
            .fetch_one(&mut *tx)
            .await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP TRIGGER {ONLY_RISE}")))
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE environment SET issued_at = ?")
        .bind(signed(now.0))
        .execute(&mut *tx)
        .await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(&mut *tx).await?;
    Ok(())
}

const FORGET_RESERVED: &str = "DELETE FROM reserved";
const KEEP_RESERVED: &str = "INSERT OR IGNORE INTO reserved SELECT * FROM replaced.reserved";
const KEEP_TAKEN: &str = "INSERT INTO taken (budget, holder, until, amount)
 SELECT budget, holder, until, amount FROM replaced.taken WHERE true
 ON CONFLICT (budget, holder, until) DO UPDATE SET amount = max(amount, excluded.amount)";
/// The trigger that keeps positions and times from falling.
const ONLY_RISE: &str = "environment_positions_only_rise";
/// Why issuance is closed after a restore.
const RESTORED: &str =
    "a copy was restored: confirm owners and agents, then open issuance with `gatepass open`";
/// More changes of the key list than are made in an epoch.
const KEYS_OF_AN_EPOCH: u64 = 1_000_000;
/// From the database that is replaced, attached as `replaced`. A later stop than the copy's counts.
const KEPT_STOPS: [&str; 10] = [
    "UPDATE operators SET state = 'ended'
     WHERE id IN (SELECT id FROM replaced.operators WHERE state = 'ended')",
    "UPDATE tokens SET ended_at = old.ended_at FROM replaced.tokens old
     WHERE old.id = tokens.id AND old.ended_at IS NOT NULL AND tokens.ended_at IS NULL",
    "UPDATE join_tokens SET ended_at = old.ended_at FROM replaced.join_tokens old
     WHERE old.id = join_tokens.id AND old.ended_at IS NOT NULL AND join_tokens.ended_at IS NULL",
    "UPDATE people SET state = 'ended'
     WHERE id IN (SELECT id FROM replaced.people WHERE state = 'ended')",
    "UPDATE blueprints SET state = 'disabled'
     WHERE id IN (SELECT id FROM replaced.blueprints WHERE state = 'disabled')",
    "UPDATE agents SET state = old.state, proposed_owner = NULL, accepted_at = NULL
     FROM replaced.agents old
     WHERE old.id = agents.id AND agents.state <> 'retired'
       AND (agents.state <> 'orphaned' OR old.state = 'retired')
       AND old.state IN ('suspended', 'orphaned', 'retired')",
    "UPDATE agent_keys SET removed_at = old.removed_at FROM replaced.agent_keys old
     WHERE old.thumbprint = agent_keys.thumbprint AND old.removed_at IS NOT NULL
       AND agent_keys.removed_at IS NULL",
    "UPDATE tasks SET state = old.state, ended_at = old.ended_at FROM replaced.tasks old
     WHERE old.id = tasks.id AND old.state <> 'open' AND tasks.state = 'open'",
    // Under the same hash key, or it says nothing. A key is revoked for good, in any epoch.
    "INSERT INTO revocations SELECT old.* FROM replaced.revocations old
     WHERE old.kind = 'key' AND
       (SELECT hash_key FROM replaced.environment) = (SELECT hash_key FROM main.environment)
     ON CONFLICT (key) DO UPDATE SET below = NULL, drop_after = max(drop_after, excluded.drop_after)",
    // So that no client assertion is good twice.
    "INSERT OR IGNORE INTO spent SELECT * FROM replaced.spent",
];
