//! The database of one environment: SQLite, one writer, readers beside it.
//!
//! Every change goes through [`Db::write`], which runs it inside a transaction on the one writer
//! and answers when it is on the disk; changes that wait for the disk at the same time share one
//! commit. Readers see committed state only.
//!
//! It refuses to run twice on one directory: positions are counted by whoever holds the lock.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::feed::Clock;
use crate::fleet::Fleet;
use crate::keychain::Keychain;
use crate::keys::{KeyError, KeyRole};
use crate::publish::{PublishError, Publisher};

mod answers;
mod backup;
mod book;
mod load;
mod tx;
mod whole;
mod writer;

pub use backup::{Restored, backup, restore};
pub use book::{Book, Standing};
pub(crate) use book::{State, Told, Whole, is_reset};
pub use load::{FirstOperator, Genesis, create};
pub(crate) use load::{kind_name, kind_of};
pub use tx::Tx;
use tx::signers;
pub(crate) use tx::{Issuance, Reservation, Spending, joined, signed, unsigned};
use writer::Writer;

/// An open database.
pub struct Db {
    dir: PathBuf,
    readers: SqlitePool,
    writer: Writer,
    book: Arc<Book>,
    fleet: Arc<Fleet>,
    clock: Clock,
    _lock: File,
}

impl Db {
    /// Opens the database in `dir`, migrates it and starts the writer.
    ///
    /// # Errors
    /// [`DbError::Running`] when another process serves it; [`DbError::Missing`];
    /// [`DbError::Damaged`]; what SQLite says.
    pub async fn open(dir: &Path, keys: Arc<Keychain>, clock: Clock) -> Result<Self, DbError> {
        let file = dir.join(DATABASE);
        if !file.exists() {
            return Err(DbError::Missing(dir.to_owned()));
        }
        let lock = lock(dir)?;
        let options = options(&file);
        let writing = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone());
        let writing = writing.await?;
        let mut connection = writing.acquire().await?.detach();
        whole::check(&mut connection).await?;
        MIGRATIONS.run(&mut connection).await?;
        let loaded = load::load(&mut connection).await?;
        let book = Arc::new(Book::new(&loaded, signers(&keys, &loaded.roots)?));
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // A file does not go away as a server does; the question would cost as much as what is
            // then asked.
            .test_before_acquire(false)
            .connect_with(options.read_only(true).pragma("query_only", "1"))
            .await?;
        let fleet = Arc::new(Fleet::new(clock()));
        let tx = Tx::new(connection, loaded, keys, Arc::clone(&fleet), Arc::clone(&clock))?;
        let writer = Writer::start(tx, Arc::clone(&book))?;
        Ok(Self { dir: dir.to_owned(), readers, writer, book, fleet, clock, _lock: lock })
    }

    /// Runs a change in a transaction. When this returns `Ok`, the change, its audit record and
    /// its step of the feed are on the disk; on any error nothing of it is.
    ///
    /// # Errors
    /// What `job` returned, or [`DbError`] when it could not be committed.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: AsyncFnOnce(&mut Tx) -> Result<T, E> + Send + 'static,
    {
        self.writer.run(true, job).await
    }

    /// [`Db::write`] without a savepoint of its own, which costs two messages to the database: for
    /// a change that reads with [`Tx::reading`], writes with [`Tx::issued`], and calls
    /// [`Tx::guard`] before it does anything else. One that forgets, and fails, fails its group.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub(crate) async fn write_in_one<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: AsyncFnOnce(&mut Tx) -> Result<T, E> + Send + 'static,
    {
        self.writer.run(false, job).await
    }

    /// Connections that see what is committed and change nothing.
    #[must_use]
    pub const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// What followers are told.
    #[must_use]
    pub const fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// Who follows, as far as they have reported since this was opened. Nothing of it is on the disk.
    #[must_use]
    pub const fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    #[must_use]
    pub fn now(&self) -> gatepass_engine::UnixSeconds {
        (self.clock)()
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes what waits, and closes the file, whoever still holds this.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.stop().await;
    }
}

pub(crate) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
}

/// The feed audience of a directory or of one of its cohorts, also while it is served.
///
/// # Errors
/// [`DbError::Missing`], [`DbError::NoCohort`], or what SQLite says.
pub fn audience(dir: &Path, cohort: Option<&str>) -> Result<String, DbError> {
    use sqlx::Connection as _;
    let file = dir.join(DATABASE);
    if !file.exists() {
        return Err(DbError::Missing(dir.to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| DbError::Io(file.clone(), error))?;
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(&file).read_only(true);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
        let Some(cohort) = cohort else {
            let (audience,): (String,) = sqlx::query_as("SELECT audience FROM environment")
                .fetch_one(&mut connection)
                .await?;
            return Ok(audience);
        };
        let found: Option<(String,)> = sqlx::query_as("SELECT name FROM cohorts WHERE name = ?")
            .bind(cohort)
            .fetch_optional(&mut connection)
            .await?;
        found.map(|(name,)| name).ok_or_else(|| DbError::NoCohort(cohort.to_owned()))
    })
}

/// What the feed of a directory says, and the root documents in force, also while it is served.
///
/// # Errors
/// [`DbError::Missing`], [`DbError::Older`], or what SQLite says.
pub async fn standing(dir: &Path) -> Result<(Publisher, Vec<String>), DbError> {
    use sqlx::Connection as _;
    let file = dir.join(DATABASE);
    if !file.exists() {
        return Err(DbError::Missing(dir.to_owned()));
    }
    let options = SqliteConnectOptions::new().filename(&file).read_only(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
    // Nothing is migrated here.
    let newest = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'cohorts')";
    let (is_newest,): (bool,) = sqlx::query_as(newest).fetch_one(&mut connection).await?;
    if !is_newest {
        return Err(DbError::Older);
    }
    let loaded = load::load(&mut connection).await?;
    Ok((loaded.publisher, loaded.roots))
}

/// Checks the audit record of a database file that nobody needs to be serving.
///
/// # Errors
/// As [`crate::audit::verify`].
pub async fn audit_file(
    file: &Path,
    anchor: Option<&crate::audit::Anchor>,
) -> Result<crate::audit::Verdict, crate::audit::AuditError> {
    use sqlx::Connection as _;
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let connection = sqlx::SqliteConnection::connect_with(&options).await;
    let mut connection = connection.map_err(DbError::from)?;
    crate::audit::verify(&mut connection, anchor).await
}

/// Held while a process may write; the system frees it when the process ends, however it ends.
pub(crate) fn lock(dir: &Path) -> Result<File, DbError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| DbError::Io(path.clone(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(DbError::Running(dir.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(DbError::Io(path, error)),
    }
}

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("`{}` is no gatepass directory: make one with `gatepass init`", .0.display())]
    Missing(PathBuf),
    #[error("`{}` is served by another process: stop it first", .0.display())]
    Running(PathBuf),
    #[error("`{}`: {}", .0.display(), .1)]
    Io(PathBuf, std::io::Error),
    #[error("the database: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("the database's schema: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    #[error(
        "the database is damaged, so revocations may be missing in it: put a copy in its place with `gatepass restore` ({0})"
    )]
    Damaged(String),
    #[error("the database holds what cannot be: {0}")]
    Corrupt(String),
    #[error("the database is of an older version: start `gatepass serve` once, which brings it up")]
    Older,
    #[error("there is no cohort `{0}`: add it with `gatepass cohort add`")]
    NoCohort(String),
    #[error("{0}")]
    Publish(#[from] PublishError),
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("no {0} key that the root document in force names lies in the directory")]
    NoKey(KeyRole),
    #[error("the change was not committed: {0}")]
    NotCommitted(String),
    #[error("the database takes no change now")]
    Stopped,
}

pub(crate) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
/// The database's file in the working directory.
pub const DATABASE: &str = "gatepass.db";
const READERS: u32 = 4;
/// A backup in another process may hold the file for a moment.
const BUSY: std::time::Duration = std::time::Duration::from_secs(5);
