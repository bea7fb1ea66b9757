//! The proof that a request may go on, and why. Nobody but [`super`] can build one.

use super::noted::Noted;
use super::standing::Standing;
use crate::denial::Denial;
use crate::listing::Listing;

/// The proof that a request may go on. Only a decision makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    pub(super) reason: Reason,
    pub(super) action: Option<String>,
    pub(super) strip_authorization: bool,
    pub(super) strip_replay: bool,
    pub(super) once: bool,
    /// Boxed: few requests have one.
    pub(super) listing: Option<Box<Listing>>,
    pub(super) standing: Standing,
    /// Boxed, so that a decision stays small.
    pub(super) noted: Box<Noted>,
}

/// Why a request may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A gatepass grants it.
    Decided(Identity),
    /// It would have been denied, and the gate or the action is in shadow mode.
    Shadow(Denial),
    Public,
    PassedThrough,
}

/// Who acts, as the identity headers state it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub agent: String,
    pub owner: String,
    pub task: String,
}

impl Permit {
    #[must_use]
    pub const fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The action that the route names; none for public and passed-through requests.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// For its record.
    #[must_use]
    pub const fn noted(&self) -> &Noted {
        &self.noted
    }

    /// What it rests on: for as long as the request is open.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The same, when the permit has served its turn.
    #[must_use]
    pub fn into_standing(self) -> Standing {
        self.standing
    }

    /// Whether `Last-Event-ID` must not reach the upstream: it would send once more what was cut the first time.
    #[must_use]
    pub const fn strips_replay(&self) -> bool {
        self.strip_replay
    }

    /// Whether a use was spent for it, so that nothing on the way may send it again.
    #[must_use]
    pub const fn is_once(&self) -> bool {
        self.once
    }

    /// How the answer must be cut before the caller sees it. With it, the upstream must not be asked for a
    /// content coding.
    #[must_use]
    pub fn listing(&self) -> Option<&Listing> {
        self.listing.as_deref()
    }

    /// Whether the gatepass in `Authorization` is ours and must not reach the upstream.
    #[must_use]
    pub const fn strips_authorization(&self) -> bool {
        self.strip_authorization
    }
}
