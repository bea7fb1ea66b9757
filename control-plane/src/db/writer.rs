//! The one writer: a thread of its own that runs changes one after the other and commits them in
//! groups.
//!
//! While one group waits for the disk the next gathers, so the cost of a durable commit is shared
//! by all who come at the same time. Each change is a savepoint: one that fails leaves nothing and
//! does not touch its neighbours. Where that cannot be, because the transaction itself is gone (a
//! full disk) or a change did not come to its end (a panic), the whole group fails, no more of it
//! is run, and the state is read from the disk again. Nobody is answered before the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::{mpsc, oneshot};

use super::DbError;
use super::book::Book;
use super::tx::Tx;

pub(super) struct Writer {
    /// `None` once it stops.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

struct Job {
    run: Run,
    /// Before it runs, a savepoint.
    guarded: bool,
}

type Run = Box<dyn for<'t> FnOnce(&'t mut Tx) -> Pin<Box<dyn Future<Output = Ran> + 't>> + Send>;

/// A change that was run and not yet committed.
struct Ran {
    /// Whether it asks to be kept.
    succeeded: bool,
    /// Tells whoever waits how it ended.
    answer: Box<dyn FnOnce(Result<(), DbError>)>,
}

impl Writer {
    pub(super) fn start(tx: Tx, book: Arc<Book>) -> Result<Self, DbError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (tell, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let spawned = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(work(tx, book, queue)),
                Err(error) => tracing::error!(%error, "the writer has no runtime"),
            }
            let _ = tell.send(());
        });
        spawned.map_err(|error| DbError::Io("the writer's thread".into(), error))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), ended: tokio::sync::Mutex::new(Some(ended)) })
    }

    pub(super) async fn run<T, E, F>(&self, guarded: bool, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: AsyncFnOnce(&mut Tx) -> Result<T, E> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let run = boxed(move |tx| {
            Box::pin(async move {
                let outcome = job(tx).await;
                let succeeded = outcome.is_ok();
                let answer = Box::new(move |committed: Result<(), DbError>| {
                    // Nobody waits any more when the caller has gone.
                    let _ = tell.send(match committed {
                        Ok(()) => outcome,
                        Err(error) => Err(error.into()),
                    });
                });
                Ran { succeeded, answer }
            })
        });
        let jobs = self.jobs().clone().ok_or(DbError::Stopped)?;
        jobs.send(Job { run, guarded }).await.map_err(|_| DbError::Stopped)?;
        drop(jobs);
        told.await.map_err(|_| DbError::Stopped)?
    }

    fn jobs(&self) -> MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more changes, and returns when those that wait are on the disk and the database is
    /// closed, whoever still holds this.
    pub(super) async fn stop(&self) {
        drop(self.jobs().take());
        if let Some(ended) = self.ended.lock().await.take() {
            let _ = ended.await;
        }
    }
}

/// States the signature that the closure has, which inference does not find.
fn boxed(
    job: impl for<'t> FnOnce(&'t mut Tx) -> Pin<Box<dyn Future<Output = Ran> + 't>> + Send + 'static,
) -> Run {
    Box::new(job)
}

async fn work(mut tx: Tx, book: Arc<Book>, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.recv().await {
        if let Err(error) = tx.begin().await {
            // Whoever waits is told by the job being dropped; nothing runs outside a transaction.
            tracing::error!(%error, "the database takes no change");
            tx.abandon().await;
            continue;
        }
        let mut ran = Vec::new();
        let mut room = MAX_GROUP;
        let mut next = Some(first);
        while let Some(job) = next {
            ran.extend(one(&mut tx, job).await);
            room = room.saturating_sub(1);
            next = if room > 0 && !tx.is_broken() { queue.try_recv().ok() } else { None };
        }
        let committed = tx.commit(&book).await;
        if let Err(error) = &committed {
            tracing::error!(%error, "a group of changes was not committed");
            tx.abandon().await;
        }
        for (answer, own) in ran {
            answer(match (&committed, own) {
                (Ok(()), own) => own,
                (Err(error), _) => Err(DbError::NotCommitted(error.to_string())),
            });
        }
    }
    tx.close().await;
}

/// Runs one change as a savepoint, with its step of the feed. `None` when there is nobody to answer:
/// a job that is dropped tells who waits that nothing was done.
async fn one(tx: &mut Tx, job: Job) -> Option<Answered> {
    if let Err(error) = tx.save(job.guarded).await {
        tracing::error!(%error, "a change could not begin");
        tx.give_up();
        return None;
    }
    let Some(ran) = unless_it_panics((job.run)(tx)).await else {
        tracing::error!("a change panicked");
        tx.give_up();
        return None;
    };
    let own = if ran.succeeded { tx.keep().await } else { tx.undo().await };
    Some((ran.answer, own))
}

type Answered = (Box<dyn FnOnce(Result<(), DbError>)>, Result<(), DbError>);

/// The writer must outlive a mistake in one change: without it nothing can be revoked any more.
async fn unless_it_panics(mut job: Pin<Box<dyn Future<Output = Ran> + '_>>) -> Option<Ran> {
    core::future::poll_fn(move |context| {
        // INVARIANT: what the job could leave half done is the transaction, and its group fails.
        let polled = catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

/// Changes that may wait; more callers wait to hand theirs in.
const QUEUE: usize = 1024;
/// Changes that share one commit.
const MAX_GROUP: usize = 256;

#[cfg(test)]
pub(super) mod tests;
