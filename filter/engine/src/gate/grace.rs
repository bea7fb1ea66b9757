//! The grace document of the configuration, judged anew by each root.

use super::Gate;
use crate::bundle::Action;
use crate::clock::Now;
use crate::grace::{Grace, MAX_GRACE};
use crate::refusal::Refusal;

/// What the configuration brought, and what it grants.
#[derive(Debug, Default)]
pub(super) struct Granted {
    envelope: Option<Vec<u8>>,
    grace: Option<Grace>,
    /// Why it grants nothing, until somebody was told.
    refusal: Option<Refusal>,
}

impl Gate {
    /// Takes the envelope of a grace document. It is judged by the root in force, and again by each
    /// that follows.
    pub fn take_grace(&mut self, envelope: Vec<u8>) {
        self.grace = Granted { envelope: Some(envelope), ..Granted::default() };
        self.read_grace();
    }

    pub(super) fn read_grace(&mut self) {
        let Some(envelope) = &self.grace.envelope else { return };
        if self.trust.version() == 0 {
            return;
        }
        let read = Grace::read(envelope, &self.trust, &self.settings.environment);
        (self.grace.grace, self.grace.refusal) = match read {
            Ok(grace) => (Some(grace), None),
            Err(refusal) => (None, Some(refusal)),
        };
    }

    /// Why the document grants nothing; told once.
    pub fn grace_refusal(&mut self) -> Option<Refusal> {
        self.grace.refusal.take()
    }

    /// Seconds that the grace still lasts; 0 without one.
    #[must_use]
    pub fn grace_left(&self, now: Now) -> u64 {
        let at = self.time_for_expiry(now);
        self.grace.grace.as_ref().map_or(0, |grace| grace.left(at))
    }

    /// The oldest state, in milliseconds, that `action` is decided on.
    #[must_use]
    pub fn staleness_bound(&self, action: &Action, now: Now) -> u64 {
        let at = self.time_for_expiry(now);
        let covered = self.grace.grace.as_ref().is_some_and(|grace| grace.covers(action, at));
        let seconds = if covered { MAX_GRACE } else { u64::from(action.staleness) };
        seconds.max(u64::from(action.staleness)).saturating_mul(1_000)
    }
}
