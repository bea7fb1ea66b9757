//! Whether what was seen of a policy in one cohort speaks against giving it to all.
//!
//! It rests on what gates count: decisions on gatepasses that they had verified, under the policy in
//! question. Requests without such a gatepass are counted nowhere, so whoever has none can neither
//! hold a promotion nor let one through. Gates are believed as far as they are in their reports:
//! whoever holds the join token of a cohort can report what they like for it.
//!
//! It only ever advises against a promotion. Nothing here, and nothing that asks here, puts a policy
//! in force by itself.

use core::fmt;

use gatepass_engine::clock::UnixSeconds;
use serde::Serialize;
use utoipa::ToSchema;

use super::policies::{Everywhere, Published};
use crate::fleet::{Decided, Fleet};

/// Decisions on verified gatepasses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Seen {
    pub allowed: u64,
    /// For a reason that a policy gives.
    pub denied: u64,
}

/// What the fleet has reported of a policy that is in force in one cohort.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Gates of the cohort that were heard since it has the policy.
    pub envoys: usize,
    /// Those of them that do not enforce it.
    pub lacking: Vec<String>,
    /// In the cohort, under the policy.
    pub cohort: Seen,
    /// Elsewhere in the same time, under the policy of all.
    pub others: Seen,
    /// In the cohort, under the policy of all, before.
    pub before: Seen,
}

/// Why a promotion is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    NoEnvoy,
    Lacking(Vec<String>),
    TooFew { seen: u64 },
    NothingToCompare,
    Jump { here: Seen, there: Seen, place: &'static str },
}

impl Seen {
    #[must_use]
    pub const fn all(self) -> u64 {
        self.allowed.saturating_add(self.denied)
    }

    fn add(&mut self, decided: Option<Decided>, since: Published) {
        if let Some(decided) = decided.filter(|decided| decided.policy >= since.at) {
            self.allowed = self.allowed.saturating_add(decided.allowed);
            self.denied = self.denied.saturating_add(decided.denied);
        }
    }
}

impl Evidence {
    /// `before` is what was counted in the cohort when its policy was published.
    #[must_use]
    pub fn of(
        cohort: &str,
        audience: &str,
        everywhere: &Everywhere,
        before: Seen,
        fleet: &Fleet,
        now: UnixSeconds,
    ) -> Self {
        let mut found = Self { before, ..Self::default() };
        let Some(its) = everywhere.cohorts.get(cohort).copied().flatten() else {
            return found;
        };
        fleet.each(now, |report| {
            if report.audience != cohort {
                // A second cohort may try something else.
                if report.audience == audience
                    && let Some(of_all) = everywhere.of_all
                {
                    found.others.add(report.lately(), of_all);
                }
                return;
            }
            found.cohort.add(report.decided, its);
            // One that was lost before is no member any more, or will be seen when it comes back.
            if report.seen_at < its.when {
                return;
            }
            found.envoys = found.envoys.saturating_add(1);
            let enforces = report.mode == "enforce"
                && !report.workers.ends_with('+')
                && report.policy.is_some_and(|policy| policy >= its.at);
            if !enforces {
                found.lacking.push(format!("{}/{}", report.who.node, report.who.envoy));
            }
        });
        found
    }

    /// What gates of a cohort have decided under the policy of all so far.
    #[must_use]
    pub fn before(cohort: &str, everywhere: &Everywhere, fleet: &Fleet, now: UnixSeconds) -> Seen {
        let mut seen = Seen::default();
        if let Some(its) = everywhere.cohorts.get(cohort).copied().flatten() {
            fleet.each(now, |report| {
                if report.audience == cohort {
                    seen.add(report.decided, its);
                }
            });
        }
        seen
    }

    /// All that speaks against giving the policy to all; nothing where it may go on.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        if self.envoys == 0 {
            return vec![Hold::NoEnvoy];
        }
        let mut holds = Vec::new();
        if !self.lacking.is_empty() {
            holds.push(Hold::Lacking(self.lacking.clone()));
        }
        if self.cohort.all() < LEAST_DECISIONS {
            holds.push(Hold::TooFew { seen: self.cohort.all() });
            return holds;
        }
        // At the same time elsewhere is better than before: what changes everywhere is not the policy's.
        let there = [(self.others, "elsewhere"), (self.before, "there before")];
        let there = there.into_iter().find(|(seen, _)| seen.all() >= LEAST_DECISIONS);
        match there {
            None => holds.push(Hold::NothingToCompare),
            Some((there, place)) if is_jump(self.cohort, there) => {
                holds.push(Hold::Jump { here: self.cohort, there, place });
            }
            Some(_) => {}
        }
        holds
    }
}

/// More than twice the share that was denied there, and one in a hundred of all. In whole numbers:
/// `here.denied / here.all > 2 * there.denied / there.all + 1 / 100`.
fn is_jump(here: Seen, there: Seen) -> bool {
    let [denied, all] = [here.denied, here.all()].map(u128::from);
    let [there_denied, there_all] = [there.denied, there.all()].map(u128::from);
    // At most 2^64 * 2^64 on each side before the factors, which could be too much.
    let share = there_denied.saturating_mul(2 * IN).saturating_add(there_all);
    denied.saturating_mul(IN).saturating_mul(there_all) > all.saturating_mul(share)
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEnvoy => {
                f.write_str("no Envoy of the cohort has reported since it has the policy")
            }
            Self::Lacking(names) => {
                let shown: Vec<&str> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
                write!(
                    f,
                    "it is not enforced by {} of the cohort: {}",
                    names.len(),
                    shown.join(", ")
                )?;
                if names.len() > shown.len() {
                    f.write_str(", ..")?;
                }
                Ok(())
            }
            Self::TooFew { seen } => write!(
                f,
                "{seen} decisions on verified gatepasses were seen in the cohort, and it takes {LEAST_DECISIONS}"
            ),
            Self::NothingToCompare => write!(
                f,
                "neither elsewhere nor in the cohort before were {LEAST_DECISIONS} decisions on verified gatepasses seen, to compare with"
            ),
            Self::Jump { here, there, place } => write!(
                f,
                "of verified gatepasses {} were denied in the cohort and {} {place}",
                Share(*here),
                Share(*there)
            ),
        }
    }
}

/// `3 of 120 (2.5%)`.
struct Share(Seen);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (denied, all) = (self.0.denied, self.0.all());
        let permille = u128::from(denied).saturating_mul(1_000) / u128::from(all.max(1));
        write!(f, "{denied} of {all} ({}.{}%)", permille / 10, permille % 10)
    }
}

/// Decisions below which a share says nothing.
pub const LEAST_DECISIONS: u64 = 100;
/// The denials in excess that are no jump: one in so many.
const IN: u128 = 100;
/// Envoys that a refusal names.
const MAX_NAMED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const fn seen(allowed: u64, denied: u64) -> Seen {
        Seen { allowed, denied }
    }

    fn evidence(cohort: Seen, others: Seen) -> Evidence {
        Evidence { envoys: 1, cohort, others, ..Evidence::default() }
    }

    #[test]
    fn a_jump_is_more_than_twice_the_share_and_one_in_a_hundred() {
        let cases = [
            ("none denied", seen(100, 0), seen(1_000, 0), false),
            ("one in a hundred", seen(99, 1), seen(1_000, 0), false),
            ("two in a hundred", seen(98, 2), seen(1_000, 0), true),
            ("twice the share", seen(79, 21), seen(900, 100), false),
            ("and more", seen(78, 22), seen(900, 100), true),
            ("as many as always", seen(500, 500), seen(500, 500), false),
            ("the largest numbers", seen(0, u64::MAX), seen(u64::MAX, 0), true),
            ("of both", seen(u64::MAX, 0), seen(0, u64::MAX), false),
            ("all, as elsewhere", seen(0, u64::MAX), seen(0, u64::MAX), false),
        ];
        for (why, here, there, expected) in cases {
            assert_eq!(is_jump(here, there), expected, "{why}");
        }
    }

    #[test]
    fn each_reason_holds_and_its_twin_does_not() {
        assert_eq!(evidence(seen(100, 0), seen(100, 0)).holds(), []);
        let none = Evidence { envoys: 0, ..evidence(seen(100, 0), seen(100, 0)) };
        assert_eq!(none.holds(), [Hold::NoEnvoy]);
        let lacking = vec!["edge/aa".to_owned()];
        let lags = Evidence { lacking: lacking.clone(), ..evidence(seen(100, 0), seen(100, 0)) };
        assert_eq!(lags.holds(), [Hold::Lacking(lacking)]);
        assert_eq!(evidence(seen(99, 0), seen(100, 0)).holds(), [Hold::TooFew { seen: 99 }]);
        assert_eq!(evidence(seen(100, 0), seen(99, 0)).holds(), [Hold::NothingToCompare]);
        let before = Evidence { before: seen(100, 0), ..evidence(seen(100, 0), seen(99, 0)) };
        assert_eq!(before.holds(), []);
        let jump = |place, there| Hold::Jump { here: seen(90, 10), there, place };
        let worse = Evidence { before: seen(100, 0), ..evidence(seen(90, 10), seen(0, 0)) };
        assert_eq!(worse.holds(), [jump("there before", seen(100, 0))]);
        // Elsewhere as many are denied now: it is not the policy.
        let same = Evidence { before: seen(100, 0), ..evidence(seen(90, 10), seen(90, 10)) };
        assert_eq!(same.holds(), []);
        let jumped = evidence(seen(90, 10), seen(999, 1)).holds();
        assert_eq!(jumped, [jump("elsewhere", seen(999, 1))]);
        let said: Vec<String> = jumped.iter().map(Hold::to_string).collect();
        let figures = "10 of 100 (10.0%) were denied in the cohort and 1 of 1000 (0.1%) elsewhere";
        assert!(said.iter().all(|text| text.contains(figures)), "{said:?}");
    }
}
