//! The states of an agent and the only ways from one to another.
//!
//! ```text
//! staged -> active <-> suspended
//! any but retired -> orphaned      its owner ended
//! orphaned -> active               a new owner has accepted, and it is decided anew
//! any -> retired                   final
//! ```
//!
//! A [`Move`] is the proof that a transition is allowed; only [`State::take`] makes one, and the
//! database is only written with one.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Staged,
    Active,
    Suspended,
    Orphaned,
    Retired,
}

/// What is done to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// To work, from whichever state it may.
    Activate,
    Suspend,
    /// By its owner's end, never by hand.
    Orphan,
    Retire,
}

/// Whether somebody has accepted to be the agent's new owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    None,
    Accepted,
}

/// An allowed transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    from: State,
    to: State,
}

impl Move {
    #[must_use]
    pub const fn from(self) -> State {
        self.from
    }

    #[must_use]
    pub const fn to(self) -> State {
        self.to
    }

    /// Whether gatepasses issued before are dead from now on.
    #[must_use]
    pub const fn stops(self) -> bool {
        !matches!(self.to, State::Active | State::Staged)
    }
}

impl State {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Orphaned => "orphaned",
            Self::Retired => "retired",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Staged, Self::Active, Self::Suspended, Self::Orphaned, Self::Retired];
        all.into_iter().find(|state| state.as_str() == text)
    }

    /// # Errors
    /// Says why not, and what to do instead.
    pub const fn take(
        self,
        transition: Transition,
        succession: Succession,
    ) -> Result<Move, &'static str> {
        let to = match (self, transition, succession) {
            (Self::Retired, _, _) => return Err("it is retired, which is final: register another"),
            (_, Transition::Retire, _) => State::Retired,
            (_, Transition::Orphan, _) => State::Orphaned,
            (Self::Staged | Self::Suspended, Transition::Activate, _)
            | (Self::Orphaned, Transition::Activate, Succession::Accepted) => State::Active,
            (Self::Orphaned, Transition::Activate, Succession::None) => {
                return Err("it is orphaned: propose a new owner, who must accept first");
            }
            (Self::Active, Transition::Activate, _) => return Err("it is active already"),
            (Self::Active, Transition::Suspend, _) => State::Suspended,
            (Self::Staged, Transition::Suspend, _) => {
                return Err("it was never active: retire it instead");
            }
            (Self::Suspended, Transition::Suspend, _) => return Err("it is suspended already"),
            (Self::Orphaned, Transition::Suspend, _) => {
                return Err("it is orphaned, so it can do nothing already");
            }
        };
        Ok(Move { from: self, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Active, Orphaned, Retired, Staged, Suspended};
    use Transition::{Activate, Orphan, Retire, Suspend};

    #[test]
    fn every_transition_is_allowed_or_refused_as_the_design_says() {
        let all = [Staged, Active, Suspended, Orphaned, Retired];
        let allowed = [
            (Staged, Activate, Succession::None, Active),
            (Active, Suspend, Succession::None, Suspended),
            (Suspended, Activate, Succession::None, Active),
            (Orphaned, Activate, Succession::Accepted, Active),
            (Staged, Orphan, Succession::None, Orphaned),
            (Active, Orphan, Succession::None, Orphaned),
            (Suspended, Orphan, Succession::None, Orphaned),
            (Orphaned, Orphan, Succession::None, Orphaned),
            (Staged, Retire, Succession::None, Retired),
            (Active, Retire, Succession::None, Retired),
            (Suspended, Retire, Succession::None, Retired),
            (Orphaned, Retire, Succession::None, Retired),
        ];
        for from in all {
            for transition in [Activate, Suspend, Orphan, Retire] {
                for succession in [Succession::None, Succession::Accepted] {
                    let listed = allowed.iter().find(|(f, t, s, _)| {
                        *f == from
                            && *t == transition
                            && (*s == succession || (from, *t) != (Orphaned, Activate))
                    });
                    let taken = from.take(transition, succession).map(Move::to);
                    assert_eq!(taken.ok(), listed.map(|(.., to)| *to), "{from:?} {transition:?}");
                }
            }
        }
    }

    #[test]
    fn whatever_ends_work_stops_what_was_issued() {
        for from in [Staged, Active, Suspended, Orphaned] {
            for transition in [Suspend, Orphan, Retire] {
                if let Ok(moved) = from.take(transition, Succession::None) {
                    assert!(moved.stops(), "{moved:?}");
                }
            }
        }
        assert!(!Suspended.take(Activate, Succession::None).unwrap().stops());
    }

    #[test]
    fn a_state_has_one_name() {
        for state in [Staged, Active, Suspended, Orphaned, Retired] {
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!(State::parse("Active"), None);
    }
}
