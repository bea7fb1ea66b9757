//! When the feed is polled again: at once after news, later and later after failures.

use gatepass_engine::clock::Milliseconds;

/// The pace of one leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    failures: u32,
    not_before: Milliseconds,
    /// An answer that was known already has come since the last one of use.
    repeated: bool,
}

impl Pace {
    #[must_use]
    pub fn may_poll(&self, now: Milliseconds) -> bool {
        self.not_before <= now
    }

    /// Polls since the last one that was of use.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The feed answered something that was of use.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The feed answered what is known already. Once after an answer of use that is nobody's fault: while
    /// the lease changes hands two VMs poll side by side, and a proof of freshness that is asked for in
    /// the second of the last is the last. To wait then would leave the gate deaf for a tenth of a second
    /// and more. A feed that goes on like this is one that fails.
    pub fn repeated(&mut self, now: Milliseconds, random: u64) {
        if self.repeated {
            self.failed(now, random);
        } else {
            *self = Self { repeated: true, ..Self::default() };
        }
    }

    /// Waits a random time (`random` is any number) up to a bound that doubles: full jitter, so
    /// that a fleet does not come back as one.
    pub fn failed(&mut self, now: Milliseconds, random: u64) {
        let bound = FIRST.checked_shl(self.failures).unwrap_or(MAX).min(MAX);
        self.failures = self.failures.saturating_add(1).min(16);
        let half = bound / 2;
        let jitter = random.checked_rem(half.saturating_add(1)).unwrap_or(0);
        self.not_before = now.plus(half.saturating_add(jitter));
    }
}

/// Milliseconds.
const FIRST: u64 = 100;
/// Milliseconds; well below the smallest staleness bound, so that a control plane that comes back
/// is heard before anything turns stale that was not.
const MAX: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_and_success_does_not_wait() {
        let mut pace = Pace::default();
        assert!(pace.may_poll(Milliseconds(0)));
        let mut now = Milliseconds(0);
        let mut longest = 0;
        for random in 0..20 {
            pace.failed(now, random * 7919);
            assert!(!pace.may_poll(now));
            let waited = pace.not_before.since(now);
            assert!((50..=MAX).contains(&waited), "{waited}");
            longest = longest.max(waited);
            now = pace.not_before;
            assert!(pace.may_poll(now));
        }
        assert!(longest > 500);
        pace.succeeded();
        assert!(pace.may_poll(Milliseconds(0)));
    }

    #[test]
    fn what_was_known_is_forgiven_once_after_each_answer_of_use() {
        let mut pace = Pace::default();
        for now in [0, 5_000].map(Milliseconds) {
            pace.failed(now, 0);
            pace.repeated(now, 0);
            assert!(pace.may_poll(now));
            assert_eq!(pace.failures(), 0);
            for failures in 1..4 {
                pace.repeated(now, 0);
                assert!(!pace.may_poll(now));
                assert_eq!(pace.failures(), failures);
            }
            pace.failed(now, 0);
            pace.repeated(now, 0);
            assert!(!pace.may_poll(now), "failures between do not make it one of use");
            pace.succeeded();
        }
    }
}
