//! Time. One true time goes on evenly; what anybody's clock shows is made of it.

use gatepass_engine::clock::UnixSeconds;

/// True milliseconds since the simulation began.
pub(crate) type Moment = u64;

/// What the wall shows at moment 0 where nothing is wrong: 2030-03-17T17:46:40Z.
const START: i64 = 1_900_000_000_000;
/// What a monotonic clock shows at moment 0.
const UPTIME: u64 = 3_600_000;

/// One machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Milliseconds that its wall is ahead, or behind.
    pub(crate) ahead: i64,
    /// How much faster its monotonic clock runs, in millionths.
    pub(crate) faster: i64,
}

impl Clock {
    /// Milliseconds since 1970.
    pub(crate) fn wall(&self, at: Moment) -> u64 {
        (START + at as i64 + self.ahead).max(0) as u64
    }

    pub(crate) fn unix(&self, at: Moment) -> UnixSeconds {
        UnixSeconds(self.wall(at) / 1_000)
    }

    /// Milliseconds.
    pub(crate) fn monotonic(&self, at: Moment) -> u64 {
        UPTIME + (at as i64 + at as i64 * self.faster / 1_000_000) as u64
    }
}

pub(crate) const SECOND: Moment = 1_000;
pub(crate) const MINUTE: Moment = 60 * SECOND;
pub(crate) const HOUR: Moment = 60 * MINUTE;
