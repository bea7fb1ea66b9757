//! How old the last proof of freshness is. Only a batch applied in full, or a checkpoint that
//! equals the position in force, renews it.

use crate::clock::{Milliseconds, Now, UnixSeconds};

/// The newest proof: when the control plane signed it, and when this Envoy received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub issued_at: UnixSeconds,
    pub received: Milliseconds,
}

impl Freshness {
    /// Age in milliseconds: the older of what the wall clock and the monotonic clock say, so
    /// neither a stopped wall clock nor a replayed batch makes it younger.
    #[must_use]
    pub fn age(&self, now: Now) -> u64 {
        let by_wall = now.unix.since(self.issued_at).saturating_mul(1000);
        by_wall.max(now.monotonic.since(self.received))
    }

    /// What time it is at least, in whole seconds: the signer's when it was signed, and what has passed since it came.
    #[must_use]
    pub const fn time(self, monotonic: Milliseconds) -> UnixSeconds {
        self.issued_at.plus(monotonic.since(self.received) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_of_both_clocks_counts() {
        let fresh = Freshness { issued_at: UnixSeconds(100), received: Milliseconds(5_000) };
        let age = |unix, monotonic| {
            fresh.age(Now { unix: UnixSeconds(unix), monotonic: Milliseconds(monotonic) })
        };
        assert_eq!(age(100, 5_000), 0);
        assert_eq!(age(103, 5_000), 3_000);
        assert_eq!(age(100, 9_000), 4_000, "the wall clock stands still");
        assert_eq!(age(50, 9_000), 4_000, "the wall clock was set back");
    }

    #[test]
    fn time_goes_on_by_the_monotonic_clock() {
        let fresh = Freshness { issued_at: UnixSeconds(100), received: Milliseconds(5_000) };
        for (monotonic, time) in [(0, 100), (5_000, 100), (5_999, 100), (6_000, 101), (65_000, 160)]
        {
            assert_eq!(fresh.time(Milliseconds(monotonic)), UnixSeconds(time));
        }
    }
}
