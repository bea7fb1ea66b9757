//! What stands for the followers of one feed audience: for those in no cohort, and for those of each cohort.

use gatepass_engine::position::Position;

use super::clock::Moment;
use super::policy::{ACTIONS, Action, Variant};

/// One audience, as whoever was answered knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audience {
    /// In force there; `None` while nothing is said to it.
    pub(crate) policy: Option<Variant>,
    /// All that was put in force there, and where.
    log: Vec<(Position, Variant)>,
    /// When the last of it was.
    pub(crate) published: Moment,
    /// When something was said to it for the first time, or for the last.
    pub(crate) turned: Moment,
    /// Since when each action is not allowed there.
    stopped: [Option<Moment>; 3],
    /// When its gates have answered requests.
    answered: Vec<Moment>,
}

impl Audience {
    /// This policy is in force there from a position on.
    pub(crate) fn put(&mut self, policy: Variant, at: Moment, position: Option<Position>) {
        if self.policy.is_none() {
            self.turned = at;
        }
        self.policy = Some(policy);
        self.published = at;
        self.log.extend(position.map(|position| (position, policy)));
        for (action, stopped) in ACTIONS.into_iter().zip(&mut self.stopped) {
            if policy.allows(action) {
                *stopped = None;
            } else {
                stopped.get_or_insert(at);
            }
        }
    }

    /// Nothing is said to it any more: its gates turn stale.
    pub(crate) fn end(&mut self, at: Moment) {
        if self.policy.take().is_some() {
            self.turned = at;
        }
        for stopped in &mut self.stopped {
            stopped.get_or_insert(at);
        }
    }

    pub(crate) const fn stopped(&self, action: Action) -> Option<(Moment, &'static str)> {
        let why = if self.policy.is_some() { "policy" } else { "its cohort is gone" };
        match self.stopped[action as usize] {
            Some(since) => Some((since, why)),
            None => None,
        }
    }

    /// The number of the policy that stood there at a position, from 1: 0 before the first.
    pub(crate) fn number_at(&self, at: Option<Position>) -> usize {
        self.log.iter().filter(|(put, _)| Some(*put) <= at).count()
    }

    /// That policy. Of those who have one from a base, the base came later.
    pub(crate) fn policy_at(&self, at: Option<Position>) -> Option<Variant> {
        let number = self.number_at(at).checked_sub(1)?;
        self.log.get(number).map(|(_, policy)| *policy)
    }

    /// A request was answered by one of its gates.
    pub(crate) fn answers(&mut self, at: Moment) {
        self.answered.push(at);
    }

    /// Requests that its gates have answered since.
    pub(crate) fn answered_since(&self, since: Moment) -> usize {
        self.answered.len() - self.answered.partition_point(|at| *at < since)
    }
}

/// As Envoys and the control plane call them. The first is that of those in no cohort.
pub(crate) const AUDIENCES: [&str; 3] = ["prod", "canary", "early"];
/// Its number.
pub(crate) const OF_ALL: usize = 0;
