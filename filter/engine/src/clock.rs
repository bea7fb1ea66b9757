//! Time as an argument. Nothing in this crate reads a clock; the adapters do.

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z (RFC 7519 `NumericDate`, whole seconds only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// Later by `seconds`; at the end of time it stays there.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Whole seconds from `earlier` to `self`; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What time it is for what begins and for what ends. They differ where a wall clock was set back: what
/// ends then is held against the monotonic clock as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub begins: UnixSeconds,
    pub ends: UnixSeconds,
}

impl From<UnixSeconds> for Times {
    fn from(now: UnixSeconds) -> Self {
        Self { begins: now, ends: now }
    }
}

/// A reading of the monotonic clock, in milliseconds from an origin that all VMs of one Envoy
/// share and nobody else does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milliseconds(pub u64);

impl Milliseconds {
    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Later by `milliseconds`; at the end of time it stays there.
    #[must_use]
    pub const fn plus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// The moment of a decision on both clocks: the wall for `exp`, the monotonic one so that a wall
/// clock that stands still or jumps back cannot keep a dead state fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub unix: UnixSeconds,
    pub monotonic: Milliseconds,
}

/// How far a peer's clock may run ahead of ours, in seconds: for `iat`, `nbf` and `issued_at`.
pub const MAX_CLOCK_SKEW: u64 = 30;
