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
    /// When its gates have answered requests, and how.
    answered: Vec<(Moment, Answer)>,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Allowed,
    /// By the policy, with a gatepass that lives.
    Denied,
    /// For a reason that may be the policy's.
    Unclear,
    /// For one that is not.
    Unrelated,
}

/// Requests of some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) allowed: usize,
    pub(crate) denied: usize,
    pub(crate) unclear: usize,
    pub(crate) unrelated: usize,
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
    pub(crate) fn answers(&mut self, at: Moment, answer: Answer) {
        self.answered.push((at, answer));
    }

    /// How its gates have answered from one moment to another.
    pub(crate) fn answered(&self, from: Moment, to: Moment) -> Answered {
        let first = self.answered.partition_point(|(at, _)| *at < from);
        let mut all = Answered::default();
        for (_, answer) in self.answered.iter().skip(first).take_while(|(at, _)| *at < to) {
            match answer {
                Answer::Allowed => all.allowed += 1,
                Answer::Denied => all.denied += 1,
                Answer::Unclear => all.unclear += 1,
                Answer::Unrelated => all.unrelated += 1,
            }
        }
        all
    }
}

impl Answer {
    /// A refusal with this code; whether its gatepass lives.
    pub(crate) fn refused(code: &str, lives: bool) -> Self {
        match (code, lives) {
            ("no_route" | "insufficient_scope", true) => Self::Denied,
            ("no_route" | "insufficient_scope" | "action_not_granted" | "too_old", _) => {
                Self::Unclear
            }
            _ => Self::Unrelated,
        }
    }
}

impl Answered {
    pub(crate) const fn all(self) -> usize {
        self.allowed + self.denied + self.unclear + self.unrelated
    }
}

/// As Envoys and the control plane call them. The first is that of those in no cohort.
pub(crate) const AUDIENCES: [&str; 3] = ["prod", "canary", "early"];
/// Its number.
pub(crate) const OF_ALL: usize = 0;
