//! What gates tell of their decisions, in a database of its own beside that of the environment.
//!
//! A batch is taken whole or not at all, once: it says of itself what is true (`gatepass_engine::record`), and it
//! joins on to the one before of the same VM. Where it does not, what is missing is a row of its own: a gap is
//! shown, never closed by silence. Nothing here is needed to issue, revoke or publish, and nothing of that waits
//! for it.

use std::path::Path;
use std::sync::Arc;

use gatepass_engine::UnixSeconds;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, watch};

use crate::config::Retention;
use crate::db::{DbError, options, signed};

mod export;
mod read;
mod show;
mod take;

pub use export::Format;
pub use read::{Asked, Followed, Gap, MAX_PAGE, Page, ReporterView, Standing};
pub use show::{DecisionView, Explained, explain};
pub use take::{NotTaken, Taken, Teller};

/// The open database.
pub struct Decisions {
    readers: SqlitePool,
    writer: Mutex<SqliteConnection>,
    retention: Retention,
    /// The number of the newest entry.
    newest: watch::Sender<i64>,
}

impl Decisions {
    /// Opens the database in `dir`, or makes it. Whoever holds the lock of `dir` may. One that cannot be read is
    /// put aside and a new one begun: what was in it is missing, and is shown so, but nothing waits for it.
    ///
    /// # Errors
    /// What SQLite or the file system say of a new file.
    pub async fn open(dir: &Path, retention: Retention) -> Result<Arc<Self>, DbError> {
        let file = dir.join(FILE);
        let error = match Self::open_file(&file, retention).await {
            Ok(opened) => return Ok(opened),
            Err(error @ DbError::Io(..)) => return Err(error),
            Err(error) => error,
        };
        let aside = dir.join(format!("{FILE}.unreadable"));
        tracing::error!(%error, aside = %aside.display(), "the records of decisions cannot be read: they are put aside");
        std::fs::rename(&file, &aside).map_err(|error| DbError::Io(file.clone(), error))?;
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.join(format!("{FILE}{end}")));
        }
        Self::open_file(&file, retention).await
    }

    async fn open_file(file: &Path, retention: Retention) -> Result<Arc<Self>, DbError> {
        if !file.exists() {
            use std::os::unix::fs::OpenOptionsExt as _;
            let made = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file);
            made.map_err(|error| DbError::Io(file.to_owned(), error))?;
        }
        let options = options(file);
        let writing = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone());
        let mut writer = writing.await?.acquire().await?.detach();
        MIGRATIONS.run(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(options.read_only(true).pragma("query_only", "1"))
            .await?;
        let (newest,): (i64,) =
            sqlx::query_as("SELECT ifnull(max(n), 0) FROM entries").fetch_one(&mut writer).await?;
        let (newest, _) = watch::channel(newest);
        Ok(Arc::new(Self { readers, writer: Mutex::new(writer), retention, newest }))
    }

    /// Tells of each new entry.
    pub(crate) fn newest(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    /// Forgets what is older, or more, than is kept. The oldest batches go first, whole.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn prune(&self, now: UnixSeconds) -> Result<u64, DbError> {
        let oldest = now.0.saturating_sub(u64::from(self.retention.days).saturating_mul(DAY));
        let mut writer = self.writer.lock().await;
        let mut gone = 0;
        loop {
            let (rows,): (i64,) =
                sqlx::query_as("SELECT ifnull(max(n) - min(n) + 1, 0) FROM entries")
                    .fetch_one(&mut *writer)
                    .await?;
            let beyond = rows.saturating_sub(signed(self.retention.rows));
            // In parts: who tells something waits for one of them at most.
            let pruned = sqlx::query(
                "DELETE FROM batches WHERE n IN (
                   SELECT n FROM batches WHERE received_at < ?1
                     OR (?2 > 0 AND n <= (SELECT batch FROM entries ORDER BY n LIMIT 1 OFFSET ?2))
                   ORDER BY n LIMIT 64)",
            )
            .bind(signed(oldest))
            .bind(beyond)
            .execute(&mut *writer)
            .await?
            .rows_affected();
            gone += pruned;
            if pruned < 64 {
                break;
            }
            drop(writer);
            writer = self.writer.lock().await;
        }
        for statement in [
            "DELETE FROM gaps WHERE noticed_at < ?1",
            "DELETE FROM reporters WHERE last_at < ?1
               AND NOT EXISTS (SELECT 1 FROM batches WHERE reporter = reporters.id)
               AND NOT EXISTS (SELECT 1 FROM gaps WHERE reporter = reporters.id)",
        ] {
            sqlx::query(statement).bind(signed(oldest)).execute(&mut *writer).await?;
        }
        // Whoever may tell may tell of many.
        sqlx::query("DELETE FROM gaps WHERE n <= (SELECT max(n) FROM gaps) - ?1")
            .bind(MAX_GAPS)
            .execute(&mut *writer)
            .await?;
        Ok(gone)
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
    }
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations-decisions");
/// The file in the working directory.
pub const FILE: &str = "decisions.db";
const READERS: u32 = 2;
const DAY: u64 = 24 * 3600;
/// Gaps that are kept.
const MAX_GAPS: i64 = 10_000;
