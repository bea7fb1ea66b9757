//! Whether what was seen of a policy in one cohort speaks against giving it to all.
//!
//! It rests on what gates count: decisions on gatepasses that they had verified, under the policy in
//! question. Requests without such a gatepass are counted nowhere, so whoever has none can neither
//! hold a promotion nor let one through. Gates are believed as far as they are in their reports: where
//! none of a side shows a certificate, whoever holds the join token can report what they like for it.
//!
//! It only ever advises against a promotion. Nothing here, and nothing that asks here, puts a policy
//! in force by itself.

use core::fmt;

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use serde::Serialize;
use utoipa::ToSchema;

use super::policies::{Everywhere, Published};
use crate::fleet::{Decided, Fleet, Report};

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
    /// Those that do not enforce it, or were not heard since, unless they were lost already then.
    pub lacking: Vec<String>,
    /// Seconds until all were heard that are there; `None` once they are over.
    pub unheard: Option<u64>,
    /// In the cohort, under the policy.
    pub cohort: Seen,
    /// Elsewhere in the same time, under the policy of all.
    pub others: Seen,
    /// In the cohort, under the policy of all, before.
    pub before: Seen,
}

/// From where it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Standpoint<'a> {
    /// Of those in no cohort.
    pub audience: &'a str,
    /// The newest position.
    pub here: Position,
    pub everywhere: &'a Everywhere,
    pub now: UnixSeconds,
}

/// Why a promotion is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The control plane does not run for long enough to know who is there.
    Unheard {
        seconds: u64,
    },
    NoEnvoy,
    Lacking(Vec<String>),
    TooFew {
        seen: u64,
    },
    NothingToCompare,
    Jump {
        here: Seen,
        there: Seen,
        place: &'static str,
    },
}

impl Seen {
    #[must_use]
    pub const fn all(self) -> u64 {
        self.allowed.saturating_add(self.denied)
    }

    fn add(&mut self, decided: Decided) {
        self.allowed = self.allowed.saturating_add(decided.allowed);
        self.denied = self.denied.saturating_add(decided.denied);
    }
}

/// What one side has decided. Whose identity is proven is believed before others: a join token that was
/// copied lets make Envoys up, with what they say.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    proven: Seen,
    told: Seen,
    has_proven: bool,
}

impl Side {
    fn add(&mut self, report: &Report, decided: Option<Decided>, since: Published, here: Position) {
        self.has_proven |= report.is_verified();
        let is_under_it = |decided: &Decided| {
            // What we never published was published by nobody, and positions of another epoch say
            // nothing of ours.
            decided.policy >= since.at
                && decided.policy.epoch == here.epoch
                && decided.policy <= here
        };
        let Some(decided) = decided.filter(is_under_it) else { return };
        match report.is_verified() {
            true => self.proven.add(decided),
            false => self.told.add(decided),
        }
    }

    const fn seen(self) -> Seen {
        if self.has_proven { self.proven } else { self.told }
    }
}

impl Evidence {
    /// `before` is what was counted in the cohort when its policy was published.
    #[must_use]
    pub fn of(cohort: &str, place: &Standpoint<'_>, before: Seen, fleet: &Fleet) -> Self {
        let Standpoint { audience, here, everywhere, now } = *place;
        let mut found = Self { before, unheard: fleet.unheard(now), ..Self::default() };
        let Some(its) = everywhere.cohorts.get(cohort).copied().flatten() else {
            return found;
        };
        let (mut its_own, mut others) = (Side::default(), Side::default());
        fleet.each(now, |report| {
            if report.who.audience != cohort {
                // A second cohort may try something else.
                if report.who.audience == audience
                    && let Some(of_all) = everywhere.of_all
                {
                    others.add(report, report.lately(cohort, of_all.at), of_all, here);
                }
                return;
            }
            its_own.add(report, report.decided, its, here);
            let was_heard = report.seen_at >= its.when;
            // One that was lost before is no member any more, or will be seen when it comes back. Any
            // other one that is silent may be so because of the policy.
            if !was_heard && report.is_lost(its.when) {
                return;
            }
            if was_heard {
                found.envoys = found.envoys.saturating_add(1);
            }
            let enforces = was_heard
                && !report.is_lost(now)
                && report.mode == "enforce"
                && !report.workers.ends_with('+')
                // One that is ahead enforces what somebody else has said.
                && report.position.is_some_and(|at| at <= here)
                && report.policy.is_some_and(|policy| policy >= its.at);
            if !enforces {
                found.lacking.push(format!("{}/{}", report.who.node, report.who.envoy));
            }
        });
        Self { cohort: its_own.seen(), others: others.seen(), ..found }
    }

    /// What gates of a cohort have decided under the policy of all so far.
    #[must_use]
    pub fn before(
        cohort: &str,
        everywhere: &Everywhere,
        here: Position,
        fleet: &Fleet,
        now: UnixSeconds,
    ) -> Seen {
        let mut side = Side::default();
        if let Some(its) = everywhere.cohorts.get(cohort).copied().flatten() {
            fleet.each(now, |report| {
                if report.who.audience == cohort {
                    side.add(report, report.decided, its, here);
                }
            });
        }
        side.seen()
    }

    /// All that speaks against giving the policy to all; nothing where it may go on.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        let mut holds = Vec::new();
        if let Some(seconds) = self.unheard {
            holds.push(Hold::Unheard { seconds });
        }
        if self.envoys == 0 {
            holds.push(Hold::NoEnvoy);
        }
        if !self.lacking.is_empty() {
            holds.push(Hold::Lacking(self.lacking.clone()));
        }
        if self.envoys == 0 {
            return holds;
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
            Self::Unheard { seconds } => write!(
                f,
                "the control plane runs too short a time to have heard of every Envoy: {seconds} s more"
            ),
            Self::NoEnvoy => {
                f.write_str("no Envoy of the cohort has reported since it has the policy")
            }
            Self::Lacking(names) => {
                let shown: Vec<&str> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
                write!(
                    f,
                    "it is not enforced by {} of the cohort, as far as is known: {}",
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
        let soon = Evidence { unheard: Some(3), ..evidence(seen(100, 0), seen(100, 0)) };
        assert_eq!(soon.holds(), [Hold::Unheard { seconds: 3 }]);
        let lacking = vec!["edge/aa".to_owned()];
        let silent = Evidence { lacking: lacking.clone(), ..none };
        assert_eq!(silent.holds(), [Hold::NoEnvoy, Hold::Lacking(lacking.clone())]);
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

    fn counted(fleet: &[(&str, &'static str, &str)]) -> (Seen, Seen) {
        use crate::fleet::Name;
        let all = Fleet::new(UnixSeconds(0));
        for (number, (audience, identity, decided)) in fleet.iter().enumerate() {
            let mut headers = axum::http::HeaderMap::new();
            headers.insert("x-gatepass-decided", decided.parse().unwrap());
            let who = Name {
                node: "edge".to_owned(),
                envoy: number.to_string(),
                audience: (*audience).to_owned(),
            };
            let address = [127, 0, 0, 1].into();
            all.report(Report::read(who, identity, address, &headers, UnixSeconds(1_000)));
        }
        let published = |at: &str| {
            let when = UnixSeconds(1_000);
            Some(Published { version: 1, at: at.parse().unwrap(), when })
        };
        let everywhere = Everywhere {
            of_all: published("1.5"),
            cohorts: [("canary".to_owned(), published("1.7"))].into(),
        };
        let place = Standpoint {
            audience: "prod",
            here: "1.9".parse().unwrap(),
            everywhere: &everywhere,
            now: UnixSeconds(1_001),
        };
        let found = Evidence::of("canary", &place, Seen::default(), &all);
        (found.cohort, found.others)
    }

    #[test]
    fn where_somebody_shows_a_certificate_nobody_else_is_counted() {
        let (proven, joined) = ("certificate", "join_token");
        let of = |own, other| {
            counted(&[
                ("canary", own, "1.7 10 1"),
                ("canary", joined, "1.8 500 50"),
                ("prod", other, "1.5 20 2"),
                ("prod", "none", "1.9 600 60"),
            ])
        };
        assert_eq!(of(joined, joined), (seen(510, 51), seen(620, 62)));
        assert_eq!(of(proven, joined), (seen(10, 1), seen(620, 62)));
        assert_eq!(of(joined, proven), (seen(510, 51), seen(20, 2)));
        assert_eq!(of(proven, proven), (seen(10, 1), seen(20, 2)));
    }

    #[test]
    fn what_is_counted_was_published_here() {
        let of = |policy: &str| counted(&[("canary", "none", &format!("{policy} 10 1"))]).0;
        for (policy, is_ours) in [
            ("1.7", true),
            ("1.9", true),
            ("1.6", false),
            ("1.10", false),
            ("2.7", false),
            ("0.9", false),
        ] {
            assert_eq!(of(policy), if is_ours { seen(10, 1) } else { Seen::default() }, "{policy}");
        }
    }
}
