//! What followers are told: a replica of the committed state, and the deltas that lead to it.
//!
//! The writer hands it each committed step. It signs snapshots and checkpoints; a second's
//! checkpoint is signed once and given to all, after the writer has put its time on the disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatepass_engine::batch::Feed;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use gatepass_engine::routes::Index;
use tokio::sync::{Notify, watch};

use super::DbError;
use super::answers::{Answers, Held};
use super::load::Loaded;
use crate::audit::{self, Head};
use crate::keychain::Signers;
use crate::keys::Signer;
use crate::publish::{Changes, Publisher};
use crate::roots::unverified_document;

mod state;

pub(crate) use state::{State, Whole};

/// The committed state of the feed, for those who follow it.
pub struct Book {
    inner: Mutex<Inner>,
    standing: watch::Sender<Standing>,
    /// Somebody has a time put on the disk; all are told when that has ended.
    signing: AtomicBool,
    signed: Notify,
    audience: String,
}

/// What a poll needs to know without the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub position: Position,
    /// Seconds; of any action in force.
    pub smallest_staleness: u32,
    /// A third of it.
    pub longest_wait: Duration,
}

/// One delta, signed.
#[derive(Clone, Debug)]
pub(super) struct Delta {
    pub(super) to: u64,
    pub(super) issued_at: UnixSeconds,
    pub(super) expires_at: UnixSeconds,
    pub(super) envelope: Arc<[u8]>,
}

/// A committed step.
pub(super) struct Step {
    pub(super) changes: Changes,
    pub(super) issued_at: UnixSeconds,
    /// `None` when it is too large for one: followers fetch a snapshot.
    pub(super) delta: Option<Delta>,
    /// The same for each cohort, by name; one that is not here fetches a snapshot too.
    pub(super) cohorts: Vec<(String, Option<Delta>)>,
}

/// What there is for a follower.
pub(crate) enum Told {
    /// It has all there is.
    Nothing,
    /// Ahead of us, so ours is an old copy.
    Ahead,
    /// Nothing is said to this audience, or no more.
    NoAudience,
    /// The encoded answer, which others may be given too.
    Answer(Arc<[u8]>),
    /// First put this time on the disk, then ask again.
    SignAt(UnixSeconds),
    /// Followers have not read too much of what they were told.
    Unread,
}

struct Inner {
    publisher: Publisher,
    roots: Vec<String>,
    /// Under the newest of `roots`.
    signers: Arc<Signers>,
    /// Up to this time may be signed: it is on the disk.
    marked: UnixSeconds,
    /// What followers of all audiences have not read yet.
    held: Held,
    /// What is signed for those in no cohort.
    shelf: Shelf,
    /// The same for each cohort.
    cohorts: Vec<Shelf>,
}

/// What is signed for one audience.
#[derive(Default)]
struct Shelf {
    /// `None` for those in no cohort.
    cohort: Option<String>,
    deltas: VecDeque<Delta>,
    checkpoint: Option<Signed<Arc<[u8]>>>,
    snapshot: Option<Signed<Vec<Arc<[u8]>>>>,
    answers: Answers,
}

/// Something signed once and given to all who ask in the same second.
struct Signed<T> {
    position: Position,
    issued_at: UnixSeconds,
    what: T,
}

impl<T: Clone> Signed<T> {
    /// If it is of this position and of this second.
    fn still(&self, here: Position, now: UnixSeconds) -> Option<T> {
        (self.position == here && self.issued_at >= now).then(|| self.what.clone())
    }
}

impl Book {
    pub(super) fn new(loaded: &Loaded, signers: Signers) -> Self {
        let mut publisher = loaded.publisher.clone();
        publisher.set_audit_head(audit::digest(&loaded.head.hash));
        let shelf = |cohort: Option<&str>, deltas: VecDeque<Delta>| {
            let mut shelf = Shelf { cohort: cohort.map(str::to_owned), deltas, ..Shelf::default() };
            bound(&mut shelf.deltas);
            shelf
        };
        let of_cohort = |name: &str| {
            let all = loaded.cohort_deltas.iter().filter(|(cohort, _)| cohort == name);
            shelf(Some(name), all.map(|(_, delta)| delta.clone()).collect())
        };
        let cohorts = publisher.cohorts().iter().map(|cohort| of_cohort(cohort.name())).collect();
        Self {
            standing: watch::Sender::new(Standing::of(publisher.position(), publisher.index())),
            audience: publisher.state().audience.clone(),
            inner: Mutex::new(Inner {
                marked: publisher.state().issued_at,
                publisher,
                roots: loaded.roots.clone(),
                signers: Arc::new(signers),
                held: Held::default(),
                shelf: shelf(None, loaded.deltas.iter().cloned().collect()),
                cohorts,
            }),
            signing: AtomicBool::new(false),
            signed: Notify::new(),
        }
    }

    /// Of those in no cohort.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Where the followers of an audience stand; `None` where nothing is said to it.
    #[must_use]
    pub fn standing_of(&self, audience: &str) -> Option<Standing> {
        if audience == self.audience {
            return Some(*self.standing.borrow());
        }
        let inner = self.lock();
        let cohort = inner.publisher.cohort(audience).ok()?;
        Some(Standing::of(inner.publisher.position(), cohort.index()))
    }

    /// Tells when the position moves.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    #[must_use]
    pub fn position(&self) -> Position {
        self.standing.borrow().position
    }

    /// The policy in force, as gates hold it.
    #[must_use]
    pub fn index(&self) -> Arc<Index> {
        self.lock().publisher.shared_index()
    }

    /// Root documents in force, oldest first.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        self.lock().roots.clone()
    }

    /// What signs under the root in force.
    #[must_use]
    pub fn signers(&self) -> Arc<Signers> {
        Arc::clone(&self.lock().signers)
    }

    /// The issuer keys in force.
    #[must_use]
    pub fn issuer_keys(&self) -> Vec<gatepass_engine::keyring::IssuerKey> {
        self.lock().publisher.state().keys.keys.clone()
    }

    /// Takes what a group has committed and wakes the polls.
    pub(super) fn take(
        &self,
        steps: Vec<Step>,
        roots: &[String],
        signers: &Arc<Signers>,
        head: Head,
    ) {
        let mut inner = self.lock();
        inner.publisher.set_audit_head(audit::digest(&head.hash));
        if steps.is_empty() {
            return;
        }
        for step in steps {
            inner.publisher.not_before(step.issued_at);
            inner.marked = inner.marked.max(step.issued_at);
            // INVARIANT: the writer's publisher took the same step; this one has the same state.
            if let Err(error) = inner.publisher.advance(&step.changes) {
                tracing::error!(%error, "the book cannot follow the database");
            }
            inner.shelf.take(step.delta);
            inner.follow_cohorts(step.cohorts);
        }
        inner.roots = roots.to_vec();
        inner.signers = Arc::clone(signers);
        inner.shelf.answers.clear();
        inner.cohorts.iter_mut().for_each(|shelf| shelf.answers.clear());
        let standing = Standing::of(inner.publisher.position(), inner.publisher.index());
        drop(inner);
        self.standing.send_replace(standing);
    }

    /// To put a time on the disk. `None` after somebody else has done so, or has failed to: thousands of
    /// polls that end together would fill the writer's queue. They are woken all at once; a lock that
    /// goes from one to the next takes seconds for as many.
    pub(crate) async fn sign_alone(&self) -> Option<Signing<'_>> {
        // Before looking: what ends between looking and waiting must wake us.
        let ended = self.signed.notified();
        if !self.signing.swap(true, Ordering::SeqCst) {
            return Some(Signing(self));
        }
        ended.await;
        None
    }

    /// A time that the writer has put on the disk.
    pub(crate) fn marked(&self, issued_at: UnixSeconds) {
        let mut inner = self.lock();
        inner.marked = inner.marked.max(issued_at);
    }

    /// Up to this time may be signed.
    pub(crate) fn time_on_disk(&self) -> UnixSeconds {
        self.lock().marked
    }

    /// What a follower at `after` has not heard; at the end of its wait, a checkpoint.
    pub(crate) fn tell(
        &self,
        audience: &str,
        after: Option<Position>,
        is_over: bool,
        now: UnixSeconds,
    ) -> Result<Told, DbError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let here = inner.publisher.position();
        let cohort = (audience != self.audience).then_some(audience);
        let Some(shelf) = shelf_of(&mut inner.shelf, &mut inner.cohorts, cohort) else {
            return Ok(Told::NoAudience);
        };
        if after == Some(here) && !is_over {
            return Ok(Told::Nothing);
        }
        if after.is_some_and(|after| after > here) && !is_reset(&inner.roots) {
            return Ok(Told::Ahead);
        }
        let is_news = after != Some(here);
        // News does not wait for the disk because a second has begun since they were committed: the proof
        // beside them is as old as they are, and lies there.
        let now = if is_news && inner.marked.plus(1) == now { inner.marked } else { now };
        if inner.marked < now {
            return Ok(Told::SignAt(now));
        }
        let feed = &*inner.signers.feed()?.key;
        let is_checkpoint = after == Some(here);
        let batches = match after.and_then(|after| shelf.deltas_since(after, here, now)) {
            Some(mut batches) => {
                batches.push(shelf.checkpoint(&mut inner.publisher, feed, now)?);
                batches
            }
            None => shelf.snapshot(&mut inner.publisher, feed, now)?,
        };
        let answer = shelf.answer(batches, &inner.roots, &mut inner.held, is_checkpoint)?;
        Ok(answer.map_or(Told::Unread, Told::Answer))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while a time is put on the disk.
pub(crate) struct Signing<'b>(&'b Book);

impl Drop for Signing<'_> {
    fn drop(&mut self) {
        self.0.signing.store(false, Ordering::SeqCst);
        self.0.signed.notify_waiters();
    }
}

impl Inner {
    /// Shelves for the cohorts that there are after a step, with what it signed for each.
    fn follow_cohorts(&mut self, mut deltas: Vec<(String, Option<Delta>)>) {
        let mut known = core::mem::take(&mut self.cohorts);
        for cohort in self.publisher.cohorts() {
            let name = cohort.name();
            let is_its = |shelf: &Shelf| shelf.cohort.as_deref() == Some(name);
            let at = known.iter().position(is_its);
            let mut shelf = at.map(|at| known.swap_remove(at)).unwrap_or_default();
            shelf.cohort = Some(name.to_owned());
            let delta = deltas.iter().position(|(cohort, _)| cohort == name);
            shelf.take(delta.and_then(|at| deltas.swap_remove(at).1));
            self.cohorts.push(shelf);
        }
    }
}

impl Shelf {
    /// Takes what a step signed. Without a delta those before lead nowhere.
    fn take(&mut self, delta: Option<Delta>) {
        // They are of the position before, and so told to nobody any more.
        self.checkpoint = None;
        self.snapshot = None;
        if delta.is_none() {
            self.deltas.clear();
        }
        self.deltas.extend(delta);
        bound(&mut self.deltas);
    }

    /// `None` where a snapshot serves better: the deltas do not reach back, or are past half of
    /// their life.
    fn deltas_since(
        &self,
        after: Position,
        here: Position,
        now: UnixSeconds,
    ) -> Option<Vec<Arc<[u8]>>> {
        if after == here {
            return Some(Vec::new());
        }
        // Of another epoch its number says nothing, and can be any.
        if after.epoch != here.epoch || after > here {
            return None;
        }
        let next = after.sequence.saturating_add(1);
        if self.deltas.front().is_none_or(|first| first.to > next) {
            return None;
        }
        let wanted = self.deltas.iter().filter(|delta| delta.to > after.sequence);
        wanted
            .map(|delta| {
                let half = delta.expires_at.since(delta.issued_at) / 2;
                (now < delta.issued_at.plus(half)).then(|| Arc::clone(&delta.envelope))
            })
            .collect()
    }

    fn answer(
        &mut self,
        batches: Vec<Arc<[u8]>>,
        roots: &[String],
        held: &mut Held,
        is_checkpoint: bool,
    ) -> Result<Option<Arc<[u8]>>, DbError> {
        self.answers.of(batches, held, is_checkpoint, |batches| {
            let feed = Feed {
                roots: roots.iter().map(String::as_bytes).collect(),
                batches: batches.iter().map(AsRef::as_ref).collect(),
            };
            feed.encode().map_err(|error| DbError::Corrupt(format!("an answer: {error}")))
        })
    }

    fn checkpoint(
        &mut self,
        publisher: &mut Publisher,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Arc<[u8]>, DbError> {
        let here = publisher.position();
        if let Some(known) = self.checkpoint.as_ref().and_then(|known| known.still(here, now)) {
            return Ok(known);
        }
        // Those with the one before are told to nobody any more.
        self.answers.clear();
        let envelope: Arc<[u8]> = match &self.cohort {
            None => publisher.checkpoint(feed, now)?,
            Some(cohort) => publisher.checkpoint_for(cohort, feed, now)?,
        }
        .into();
        let issued_at = publisher.state().issued_at;
        self.checkpoint = Some(Signed { position: here, issued_at, what: Arc::clone(&envelope) });
        Ok(envelope)
    }

    fn snapshot(
        &mut self,
        publisher: &mut Publisher,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<Arc<[u8]>>, DbError> {
        let here = publisher.position();
        if let Some(known) = self.snapshot.as_ref().and_then(|known| known.still(here, now)) {
            return Ok(known);
        }
        self.answers.clear();
        let parts = match &self.cohort {
            None => publisher.snapshot(feed, now)?,
            Some(cohort) => publisher.snapshot_for(cohort, feed, now)?,
        };
        let parts: Vec<Arc<[u8]>> = parts.into_iter().map(Arc::from).collect();
        let issued_at = publisher.state().issued_at;
        self.snapshot = Some(Signed { position: here, issued_at, what: parts.clone() });
        Ok(parts)
    }
}

/// That of a cohort, or of those in none.
fn shelf_of<'s>(
    of_all: &'s mut Shelf,
    cohorts: &'s mut [Shelf],
    cohort: Option<&str>,
) -> Option<&'s mut Shelf> {
    match cohort {
        None => Some(of_all),
        Some(name) => cohorts.iter_mut().find(|shelf| shelf.cohort.as_deref() == Some(name)),
    }
}

/// Whether the newest of these root documents resets.
pub(crate) fn is_reset(roots: &[String]) -> bool {
    let newest = roots.last().map(String::as_str);
    newest.is_some_and(|root| unverified_document(root).is_ok_and(|document| document.reset))
}

impl Standing {
    fn of(position: Position, policy: &Index) -> Self {
        let smallest = policy.smallest_staleness().unwrap_or(STALENESS_WITHOUT_ACTIONS);
        Self {
            position,
            smallest_staleness: smallest,
            longest_wait: Duration::from_secs(smallest.into()) / 3,
        }
    }
}

/// Keeps as many deltas as are cheaper to send than a snapshot.
fn bound(deltas: &mut VecDeque<Delta>) {
    let size = |deltas: &VecDeque<Delta>| -> usize {
        deltas.iter().map(|delta| delta.envelope.len()).sum()
    };
    while deltas.len() as u64 > KEPT_DELTAS || size(deltas) > MAX_DELTA_BYTES {
        deltas.pop_front();
    }
}

/// Deltas kept; with roots and a checkpoint well below what one answer may hold.
pub(super) const KEPT_DELTAS: u64 = 256;
/// Bytes of all deltas that are handed out.
const MAX_DELTA_BYTES: usize = 4 * 1024 * 1024;
/// Seconds; that of medium risk.
const STALENESS_WITHOUT_ACTIONS: u32 = 60;

#[cfg(test)]
mod tests;
