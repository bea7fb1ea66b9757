//! The running control plane: four listeners over one database.
//!
//! Admin, agents, feed and metrics are separate listeners, so that each can be reachable for whom
//! it is for and for nobody else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepass_engine::record::MAX_BATCH_BYTES;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api;
use crate::config::{Config, ConfigError};
use crate::db::{Db, DbError};
use crate::decisions::Decisions;
use crate::desk::Refused;
use crate::desk::apply::{self, By};
use crate::desk::change::{AdoptRoot, Change};
use crate::desk::known_keys::KnownKeys;
use crate::desk::rates::Rates;
use crate::feed::Clock;
use crate::filter_file::{FilterError, FilterFile};
use crate::keychain::Keychain;
use crate::keys::KeyError;
use crate::listen::{Bound, Limits, ListenError};
use crate::metrics::Metrics;
use crate::setup::ROOTS;

mod unserved;

pub use unserved::{Answered, Door, Unserved};

/// What every handler has.
pub struct Shared {
    pub(crate) db: Db,
    pub(crate) config: Config,
    pub(crate) environment: String,
    pub(crate) issuer: String,
    pub(crate) rates: Rates,
    pub(crate) known_keys: KnownKeys,
    pub(crate) metrics: Metrics,
    pub(crate) filter: Option<FilterFile>,
    /// Polls held at once.
    pub(crate) polls: tokio::sync::Semaphore,
    /// Questions of gates in progress.
    pub(crate) redeems: tokio::sync::Semaphore,
    pub(crate) decisions: Arc<Decisions>,
    /// A gate that is built to explain a decision takes memory and a core; one at a time.
    pub(crate) explaining: Arc<tokio::sync::Semaphore>,
    /// Batches of decisions that are read at once.
    pub(crate) posts: tokio::sync::Semaphore,
    pub(crate) stop: watch::Receiver<bool>,
}

/// A control plane that serves.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Addresses,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Shared {
    /// Opens the database and puts in force what waits in the directory.
    async fn open(
        config: Config,
        keys: Arc<Keychain>,
        filter: Option<FilterFile>,
        clock: Clock,
        stop: watch::Receiver<bool>,
    ) -> Result<Arc<Self>, ServerError> {
        let db = Db::open(&config.dir, keys, clock).await?;
        // After the lock of the directory is held.
        let decisions = Decisions::open(&config.dir, config.decisions).await?;
        let (environment, issuer): (String, String) =
            sqlx::query_as("SELECT name, issuer FROM environment")
                .fetch_one(db.readers())
                .await
                .map_err(DbError::from)?;
        let shared = Arc::new(Self {
            db,
            environment,
            issuer,
            config,
            rates: Rates::default(),
            known_keys: KnownKeys::default(),
            metrics: Metrics::new(),
            filter,
            polls: tokio::sync::Semaphore::new(MAX_POLLS),
            redeems: tokio::sync::Semaphore::new(MAX_REDEEMS),
            decisions,
            explaining: Arc::new(tokio::sync::Semaphore::new(1)),
            posts: tokio::sync::Semaphore::new(MAX_POSTS),
            stop,
        });
        adopt_roots(&shared).await?;
        shared.db.book().signers().check()?;
        Ok(shared)
    }
}

/// Where the listeners are.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub admin: SocketAddr,
    pub agents: SocketAddr,
    pub feed: SocketAddr,
    pub metrics: SocketAddr,
}

impl Server {
    /// Opens the database of `config` and starts all listeners.
    ///
    /// # Errors
    /// Names the file, key or address that cannot be used.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, ServerError> {
        let keys = Arc::new(Keychain::open(&config.dir)?);
        let filter = config.filter.as_deref().map(FilterFile::read).transpose()?;
        let bound = Listeners::bind(&config).await?;
        let addresses = bound.addresses();
        let (stop, stopped) = watch::channel(false);
        let shared = Shared::open(config, keys, filter, clock, stopped.clone()).await?;
        let mut tasks = bound.serve(&shared, &stopped);
        tasks.push(tokio::spawn(tidy(Arc::clone(&shared), stopped)));
        Ok(Self { shared, addresses, stop, tasks })
    }

    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    #[must_use]
    pub fn db(&self) -> &Db {
        &self.shared.db
    }

    /// Finishes what is in progress, writes what waits and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
        self.shared.decisions.close().await;
        self.shared.db.close().await;
    }
}

/// Puts the signed root documents in force that wait in the directory: the first one of a new
/// environment, and what `gatepass root sign` wrote since; and the keys that they name.
async fn adopt_roots(shared: &Arc<Shared>) -> Result<(), ServerError> {
    loop {
        let next = shared.db.book().roots().len().saturating_add(1);
        let path = shared.config.dir.join(ROOTS).join(format!("{next}.json"));
        let envelope = match std::fs::read_to_string(&path) {
            Ok(envelope) => envelope,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(DbError::Io(path, error).into()),
        };
        let change = Change::AdoptRoot(AdoptRoot { envelope });
        let adopted: Result<_, Refused> = shared
            .db
            .write(async move |tx| {
                let by = By { operator: apply::SYSTEM, person: None, second: None };
                apply::apply(tx, &by, change, "signed by the root keys").await
            })
            .await;
        adopted.map_err(|refused| ServerError::Root { path, why: refused.to_string() })?;
    }
    let taken: Result<(), Refused> =
        shared.db.write(async |tx| apply::root::take_issuer_key(tx).await).await;
    taken.map_err(|refused| ServerError::Key(refused.to_string()))
}

struct Listeners {
    admin: Bound,
    agents: Bound,
    feed: Bound,
    metrics: Bound,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, ListenError> {
        // A body is held before anybody knows who sent it, so what all of them may hold together is
        // bounded: 128 MiB for operators, who send policies; 64 MiB for agents.
        let admin = Limits { requests: 128, body_bytes: 1 << 20, ..Limits::default() };
        let agents = Limits { requests: 1024, body_bytes: 64 << 10, ..Limits::default() };
        let none = Limits { requests: 64, body_bytes: 0, ..Limits::default() };
        let untimed_paths = &["/v1/feed"];
        let polls = Limits {
            connections: 2 * MAX_POLLS,
            requests: 2 * MAX_POLLS,
            // Read only of whom is known, and of MAX_POSTS at once.
            body_bytes: MAX_BATCH_BYTES,
            untimed_paths,
            ..none.clone()
        };
        Ok(Self {
            admin: config.admin.listen(admin).bind("admin").await?,
            agents: config.agents.listen(agents).bind("agents").await?,
            feed: config.feed.listener.listen(polls).bind("feed").await?,
            metrics: config.metrics.listen(none).bind("metrics").await?,
        })
    }

    const fn addresses(&self) -> Addresses {
        Addresses {
            admin: self.admin.local_addr(),
            agents: self.agents.local_addr(),
            feed: self.feed.local_addr(),
            metrics: self.metrics.local_addr(),
        }
    }

    fn serve(self, shared: &Arc<Shared>, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        vec![
            self.admin.serve(api::admin(Arc::clone(shared)), stopped.clone()),
            self.agents.serve(api::agents(Arc::clone(shared)), stopped.clone()),
            self.feed.serve(api::feed(Arc::clone(shared)), stopped.clone()),
            self.metrics.serve(api::metrics(Arc::clone(shared)), stopped.clone()),
        ]
    }
}

/// Forgets again and again what can be of no use any more.
async fn tidy(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = tidy_once(&shared).await {
            tracing::error!(%error, "the database could not be tidied");
        }
        if let Err(error) = shared.decisions.prune(shared.db.now()).await {
            tracing::error!(%error, "old records could not be forgotten");
        }
    }
}

/// Spent assertions and uses, what is outside of the windows of budgets, and gatepasses that have expired; records
/// of 90 days ago.
async fn tidy_once(shared: &Shared) -> Result<(), DbError> {
    let tidied = shared.db.write(async |tx| {
        let now = crate::db::signed(tx.now().0);
        // Past the clock skew that an assertion is allowed.
        for statement in [
            "DELETE FROM spent WHERE until < ? - 60",
            // For as long as the gatepasses are known: should the clock be set back, they live again, and their
            // uses must not.
            "DELETE FROM uses WHERE until < ? - 86400",
            "DELETE FROM reserved WHERE until < ? - 86400",
            "DELETE FROM taken WHERE until < ? - 86400",
            "DELETE FROM confirmed_records WHERE stored_at < ? - 7776000",
            "DELETE FROM gatepasses WHERE expires_at < ? - 86400",
            "DELETE FROM revocations WHERE drop_after < ? - 86400 AND kind <> 'key'",
        ] {
            sqlx::query(statement).bind(now).execute(tx.sql()).await?;
        }
        Ok(())
    });
    tidied.await
}

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("an issuer key cannot be taken into use: {0}")]
    Key(String),
    #[error("`{}`: {why}", .path.display())]
    Root { path: std::path::PathBuf, why: String },
}

/// Of 10,000 Envoys, and of those that have just gone and are not missed yet.
const MAX_POLLS: usize = 16_384;
/// Of gates that show a certificate; each holds a body of 16 KiB at most.
const MAX_REDEEMS: usize = 1_024;
/// 16 MiB of batches that are held at once.
const MAX_POSTS: usize = 64;
const TIDY_EVERY: Duration = Duration::from_secs(60);
