//! The whole state for an audience, for somebody who is no follower and asks now and then.

use std::sync::Arc;

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;

use super::{Book, Shelf, shelf_of};
use crate::db::DbError;

/// What a gate of an audience that starts now is told.
pub(crate) struct State {
    /// Root documents in force, oldest first.
    pub(crate) roots: Vec<String>,
    /// The snapshot's parts, and a checkpoint where that is older than this second.
    pub(crate) batches: Vec<Arc<[u8]>>,
}

/// The state, or why it cannot be told yet.
pub(crate) enum Whole {
    /// Nothing is said to this audience, or no more.
    NoAudience,
    /// First put this time on the disk, then ask again.
    SignAt(UnixSeconds),
    State(State),
}

impl Book {
    /// The state as of `now`. It signs what a poll would, and less: a snapshot of this position is taken again
    /// with the checkpoint of this second, which all others are given too.
    pub(crate) fn state(&self, audience: &str, now: UnixSeconds) -> Result<Whole, DbError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let cohort = (audience != self.audience).then_some(audience);
        let Some(shelf) = shelf_of(&mut inner.shelf, &mut inner.cohorts, cohort) else {
            return Ok(Whole::NoAudience);
        };
        if inner.marked < now {
            return Ok(Whole::SignAt(now));
        }
        let feed = &*inner.signers.feed()?.key;
        let here = inner.publisher.position();
        let batches = match shelf.known_snapshot(here, now) {
            Some((mut batches, is_of_now)) => {
                if !is_of_now {
                    batches.push(shelf.checkpoint(&mut inner.publisher, feed, now)?);
                }
                batches
            }
            None => shelf.snapshot(&mut inner.publisher, feed, now)?,
        };
        Ok(Whole::State(State { roots: inner.roots.clone(), batches }))
    }
}

impl Shelf {
    /// The snapshot of this position, where one was signed and will be taken for long; and whether it is of `now`.
    fn known_snapshot(&self, here: Position, now: UnixSeconds) -> Option<(Vec<Arc<[u8]>>, bool)> {
        let known = self.snapshot.as_ref()?;
        let is_good = known.position == here && now.since(known.issued_at) < TAKEN_AGAIN;
        is_good.then(|| (known.what.clone(), known.issued_at >= now))
    }
}

/// Seconds: well below [`crate::publish::MIN_BATCH_LIFE`], so that no gate holds it for expired.
const TAKEN_AGAIN: u64 = 600;
