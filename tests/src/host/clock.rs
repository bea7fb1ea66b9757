//! The clock of a test: it stands still until it is told otherwise.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A wall clock and a monotonic clock in nanoseconds, set independently and shared by all clones.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    wall: u64,
    monotonic: u64,
}

impl Clock {
    /// A clock at 2027-01-15T08:00:00Z on the wall and one hour of monotonic time.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Hands {
            wall: nanoseconds(START),
            monotonic: nanoseconds(Duration::from_secs(3600)),
        })))
    }

    /// Sets the wall clock, in time since the Unix epoch. The monotonic clock stays.
    pub fn set_wall(&self, since_epoch: Duration) {
        self.with(|hands| hands.wall = nanoseconds(since_epoch));
    }

    /// Sets the monotonic clock. The wall clock stays.
    pub fn set_monotonic(&self, since_start: Duration) {
        self.with(|hands| hands.monotonic = nanoseconds(since_start));
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        self.with(|hands| {
            hands.wall = hands.wall.saturating_add(nanoseconds(by));
            hands.monotonic = hands.monotonic.saturating_add(nanoseconds(by));
        });
    }

    /// The wall clock, as time since the Unix epoch.
    pub fn wall(&self) -> Duration {
        Duration::from_nanos(self.with(|hands| hands.wall))
    }

    /// The monotonic clock.
    pub fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.with(|hands| hands.monotonic))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Hands) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The ABI counts nanoseconds in 64 bits, which last until the year 2554.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// 2027-01-15T08:00:00Z: fixed, so that no test depends on the day that it runs on.
const START: Duration = Duration::from_secs(1_800_000_000);
