//! A simulated fleet: the control plane and the filter's shell as they ship, on simulated clocks, disks that
//! are copied, and a network that loses, delays and lies; an oracle that knows everything looks on.
//!
//! One seed makes one run. `GATEPASS_SEED` repeats one; `make sim` runs many for days.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on should stop where it is"
)]

mod audience;
mod clock;
mod desk;
mod envoy;
mod grace;
mod holds;
mod host;
mod mutant;
mod network;
mod oracle;
mod pass;
mod plane;
mod policy;
mod random;
mod report;
mod theft;
mod trials;
mod trouble;
mod world;

use clock::{HOUR, MINUTE, Moment};
use mutant::Mutant;
use policy::VARIANTS;
use report::{Report, Rule};
use world::{Plan, World};

/// Runs these seeds for so long each, and stops at the first violation.
fn hold(seeds: impl IntoIterator<Item = u64>, lasts: Moment) -> Report {
    let mut all = Report::default();
    for seed in seeds {
        let began = std::time::Instant::now();
        let report = World::run(Plan::of(seed, lasts));
        assert!(report.violation.is_none(), "{}", report.failure());
        eprintln!(
            "seed {seed}: {:.1} h in {:.1} s",
            report.simulated as f64 / HOUR as f64,
            began.elapsed().as_secs_f64()
        );
        all.add(&report);
    }
    println!("{all}");
    all
}

/// The first of some seeds in which a mutant is caught, which must break one of these rules.
fn caught(mutant: Mutant, rules: &[Rule]) {
    for seed in 1..=20 {
        let troubles = Some(MINUTE);
        let plan = Plan { troubles, mutant: Some(mutant), ..Plan::of(seed, HOUR / 2) };
        let report = World::run(plan);
        if let Some(violation) = &report.violation {
            println!("{mutant:?}, seed {seed}: {violation:?}");
            assert!(rules.contains(&violation.rule), "{}", report.failure());
            return;
        }
    }
    panic!("{mutant:?} was not caught");
}

/// There is a seed in which this very rule is broken, before any other.
fn breaks(rule: Rule, change: impl Fn(Plan) -> Plan) {
    let found = (1..=40).find(|seed| {
        let report = World::run(change(Plan::of(*seed, HOUR / 4)));
        report.violation.is_some_and(|violation| violation.rule == rule)
    });
    println!("{rule:?} is broken: seed {found:?}");
    assert!(found.is_some(), "{rule:?} was never broken");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn a_fleet_keeps_its_promises_whatever_goes_wrong() {
    let seeds = match number("GATEPASS_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("SEEDS").unwrap_or(8),
    };
    let lasts = number("HOURS").map_or(30 * MINUTE, |hours| hours * HOUR);
    let all = hold(seeds, lasts);
    assert!(all.owed > 100, "{all}");
    assert_eq!(all.owed, all.owed_allowed);
}

#[test]
fn a_fleet_with_which_nothing_is_wrong_refuses_nobody_without_a_reason() {
    let plan = Plan { troubles: None, ..Plan::of(1, HOUR) };
    let report = World::run(plan);
    assert!(report.violation.is_none(), "{}", report.failure());
    println!("{report}");
    // Most gatepasses that are shown live, and all else is there too.
    assert!(report.owed_allowed * 3 > report.requests, "{report}");
    assert!(report.dead_refused * 20 > report.requests, "{report}");
    assert!(report.held > 0 && report.cut > 0, "{report}");
    assert_eq!(report.denied.get("stale"), None, "{report}");
    // A root document that is good for a year is no longer than that by a wall that is a second behind.
    assert!(!report.counted.keys().any(|refusal| refusal.starts_with("poison")), "{report}");
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| World::run(Plan::of(seed, 20 * MINUTE)).fingerprint;
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_worker_that_does_not_look_for_news_is_caught() {
    caught(Mutant::Unchecked, &[Rule::Monotonic, Rule::Push]);
}

#[test]
fn a_gate_that_does_not_mind_how_old_its_state_is_is_caught() {
    // Who does not mind has not heard either what time it is.
    caught(Mutant::Lax, &[Rule::Stale, Rule::Expired]);
    let troubles = Some(4 * MINUTE);
    breaks(Rule::Stale, |plan| Plan { mutant: Some(Mutant::Lax), troubles, ..plan });
}

#[test]
fn a_feed_that_loses_revocations_is_caught() {
    caught(Mutant::Forgetful, &[Rule::Push, Rule::Stale]);
}

#[test]
fn a_gate_that_hears_nothing_and_denies_all_is_caught() {
    caught(Mutant::Deaf, &[Rule::Owed]);
}

#[test]
fn a_feed_that_tells_all_what_a_cohort_tries_is_caught() {
    caught(Mutant::Mixed, &[Rule::Never, Rule::Owed]);
    // Also where what is tried allows more.
    let first = VARIANTS[1];
    breaks(Rule::Never, |plan| Plan { mutant: Some(Mutant::Mixed), troubles: None, first, ..plan });
}

#[test]
fn a_cohort_that_misses_revocations_is_caught() {
    caught(Mutant::Spared, &[Rule::Push, Rule::Stale]);
}

#[test]
fn a_promotion_that_nothing_holds_is_caught() {
    caught(Mutant::Rash, &[Rule::Trial]);
    breaks(Rule::Trial, |plan| Plan { mutant: Some(Mutant::Blind), troubles: None, ..plan });
}

#[test]
fn a_root_that_brings_no_gate_back_is_caught() {
    caught(Mutant::Stuck, &[Rule::Owed]);
}
