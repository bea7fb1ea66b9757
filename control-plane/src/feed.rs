//! `GET /v1/feed`: the long-poll that gates follow (02-wire-formats, "The feed").
//!
//! It answers at once when there is news, else at the end of the wait with a checkpoint. The wait
//! granted is the smaller of the one asked for and a third of the smallest staleness bound, so a
//! gate hears of its freshness three times before an action goes stale.
//!
//! It refuses to listen on anything but loopback: it has no TLS and knows no identities yet.
//! Connections, polls, headers and the time to send them are bounded.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use axum::body::Bytes;
use gatepass_engine::batch::Feed as Body;
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::issue::Grant;
use crate::publish::Revoke;
use crate::store::{News, Store, StoreError};

mod problem;
mod query;
mod server;

use problem::Problem;
pub(crate) use query::{Query, QueryError};

/// Where the time comes from; [`system_clock`] outside of tests.
pub type Clock = Arc<dyn Fn() -> UnixSeconds + Send + Sync>;

/// The clock of this machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixSeconds(since.map_or(0, |since| since.as_secs()))
    })
}

/// The feed of one store.
pub struct Feed {
    audience: String,
    store: Mutex<Store>,
    clock: Clock,
    standing: watch::Sender<Standing>,
    polls: Semaphore,
    /// Taken before the store is, so that a thousand polls that wake do not take a thousand
    /// threads that may block.
    turn: tokio::sync::Mutex<()>,
    /// The last answer, for all who ask for the same in the same second.
    answer: Mutex<Option<Answer>>,
}

/// What a poll needs to know without the store.
#[derive(Clone, Copy, Debug)]
struct Standing {
    position: Position,
    longest_wait: Duration,
}

struct Answer {
    after: Option<Position>,
    here: Position,
    second: UnixSeconds,
    body: Bytes,
}

/// A running feed; it stops when this is dropped.
pub struct Serving {
    address: SocketAddr,
    feed: Arc<Feed>,
    tasks: [JoinHandle<()>; 2],
}

impl Feed {
    /// Serves `store` on `listener` until the handle is dropped. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// The listener is not on loopback.
    pub fn serve(listener: TcpListener, store: Store, clock: Clock) -> io::Result<Serving> {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the feed has no TLS yet, so it listens on loopback only, not on {address}: use 127.0.0.1"
                ),
            ));
        }
        let feed = Arc::new(Self {
            audience: store.publisher().state().audience.clone(),
            standing: watch::Sender::new(Standing::of(&store)),
            store: Mutex::new(store),
            clock,
            polls: Semaphore::new(MAX_POLLS),
            turn: tokio::sync::Mutex::new(()),
            answer: Mutex::new(None),
        });
        let tasks = [
            tokio::spawn(server::run(listener, Arc::clone(&feed))),
            tokio::spawn(Arc::clone(&feed).follow_directory()),
        ];
        Ok(Serving { address, feed, tasks })
    }

    /// Answers one poll.
    async fn poll(self: Arc<Self>, query: Query) -> Result<Bytes, Problem> {
        let Ok(_place) = self.polls.try_acquire() else {
            return Err(Problem::busy());
        };
        if query.audience != self.audience {
            return Err(Problem::parameter("audience", "no feed has this audience"));
        }
        let mut standing = self.standing.subscribe();
        let granted = query.wait.min(standing.borrow().longest_wait);
        let end = tokio::time::Instant::now() + granted;
        loop {
            // Before looking: what comes between looking and waiting must wake us.
            standing.mark_unchanged();
            if let Some(body) = self.look(query.after, false).await? {
                return Ok(body);
            }
            if tokio::time::timeout_at(end, standing.changed()).await.is_err() {
                break;
            }
        }
        let body = self.look(query.after, true).await?;
        body.ok_or_else(|| Problem::internal("there was nothing to answer"))
    }

    /// Signing and files go to a thread that may block.
    async fn look(
        self: &Arc<Self>,
        after: Option<Position>,
        is_over: bool,
    ) -> Result<Option<Bytes>, Problem> {
        let _turn = self.turn.lock().await;
        let feed = Arc::clone(self);
        let answered = tokio::task::spawn_blocking(move || feed.answer(after, is_over)).await;
        answered.map_err(|_| Problem::internal("the answer could not be made"))?
    }

    /// `None` when there is no news and the wait is not over.
    fn answer(&self, after: Option<Position>, is_over: bool) -> Result<Option<Bytes>, Problem> {
        let now = (self.clock)();
        let mut store = self.store();
        if after == Some(store.position()) && !is_over {
            return Ok(None);
        }
        if let Some(answer) = &*lock(&self.answer)
            && answer.after == after
            && answer.here == store.position()
            && answer.second == now
        {
            return Ok(Some(answer.body.clone()));
        }
        let internal = |error: StoreError| Problem::internal(&error.to_string());
        let news = match after {
            Some(after) if is_over => store.freshness(after, now),
            _ => store.news(after, now),
        };
        let batches = match news.map_err(internal)? {
            News::Nothing => return Ok(None),
            News::Ahead => return Err(Problem::old_copy(store.position())),
            News::Batches(batches) => batches,
        };
        let body = Body {
            roots: store.roots().iter().map(String::as_bytes).collect(),
            batches: batches.iter().map(AsRef::as_ref).collect(),
        };
        let encoded = body.encode();
        let body =
            Bytes::from(encoded.map_err(|_| Problem::internal("the answer does not encode"))?);
        *lock(&self.answer) =
            Some(Answer { after, here: store.position(), second: now, body: body.clone() });
        self.tell(&store);
        Ok(Some(body))
    }

    /// Another process may publish into the same directory. A file's metadata costs a microsecond
    /// to read, and a revocation must not wait for longer than this.
    async fn follow_directory(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut complained = false;
        loop {
            ticks.tick().await;
            let mut store = match self.store.try_lock() {
                Ok(store) => store,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever signs has read the newest state.
                Err(TryLockError::WouldBlock) => continue,
            };
            match store.refresh() {
                Ok(_) => complained = false,
                // Followers go stale and deny, which is what an unreadable state should do.
                Err(error) if !complained => {
                    complained = true;
                    eprintln!("error: the state cannot be read: {error}");
                }
                Err(_) => {}
            }
            self.tell(&store);
        }
    }

    /// Wakes the polls when the position moved.
    fn tell(&self, store: &Store) {
        self.standing.send_if_modified(|known| {
            let moved = known.position != store.position();
            if moved {
                *known = Standing::of(store);
            }
            moved
        });
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }
}

impl Standing {
    /// The longest wait is a third of the smallest staleness bound of the bundle in force.
    fn of(store: &Store) -> Self {
        let smallest = store.publisher().index().smallest_staleness();
        let seconds = smallest.unwrap_or(STALENESS_WITHOUT_ACTIONS);
        Self { position: store.position(), longest_wait: Duration::from_secs(seconds.into()) / 3 }
    }
}

impl Serving {
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn position(&self) -> Position {
        self.feed.standing.borrow().position
    }

    /// Publishes a policy and wakes the polls.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub fn publish(&self, bundle: Bundle) -> Result<Position, StoreError> {
        self.with(|store, now| store.publish(bundle, now))
    }

    /// Revokes and wakes the polls.
    ///
    /// # Errors
    /// As [`Store::revoke`].
    pub fn revoke(&self, revocations: Vec<Revoke>) -> Result<Position, StoreError> {
        self.with(|store, now| store.revoke(revocations, now))
    }

    /// Issues a gatepass at the newest position.
    ///
    /// # Errors
    /// As [`Store::issue`].
    pub fn issue(&self, grant: &Grant) -> Result<String, StoreError> {
        self.with(|store, now| store.issue(grant, now))
    }

    /// Does something with the store and wakes the polls if its position moved.
    pub fn with<T>(&self, act: impl FnOnce(&mut Store, UnixSeconds) -> T) -> T {
        let mut store = self.feed.store();
        let out = act(&mut store, (self.feed.clock)());
        self.feed.tell(&store);
        out
    }

    /// Runs until the task that accepts connections ends, which only [`Serving`]'s drop does.
    pub async fn join(&mut self) {
        let [server, _] = &mut self.tasks;
        // An aborted task is an ended one.
        let _ = server.await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A panic while the store was held cannot leave it half-changed: every change is made on a copy
/// and put in force at once.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls held at once.
const MAX_POLLS: usize = 1024;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Seconds; that of medium risk.
const STALENESS_WITHOUT_ACTIONS: u32 = 60;

#[cfg(test)]
mod tests;
