//! Rules that are lowered and decided by the engine, beside Cedar itself: rules and requests are generated, and
//! each rule alone, and rules together, must come to the same.
//!
//! One difference is meant: a `forbid` that is an error denies, where Cedar skips it.
//!
//! A seed makes a round: rules, and requests. `GATEPASS_SEED` repeats one, `CASES` says how many verdicts are
//! compared (`make policy-differential`).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod corpus;
mod dice;
mod expected;
mod oracle;
mod pools;
mod request;
mod round;
mod writer;

use round::{Round, World};

#[test]
fn rules_are_decided_as_cedar_decides_them() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let known = oracle::Known::default();
    let world = World::new(&known);
    if let Some(seed) = number("GATEPASS_SEED") {
        println!("{:#?}", Round::new(seed).run(&world));
        return;
    }
    let cases = number("CASES").unwrap_or(20_000);
    let mut all = round::Counts::default();
    let mut seed = 0;
    while all.verdicts < cases {
        all.add(&Round::new(seed).run(&world));
        seed += 1;
    }
    println!("{seed} rounds: {all:#?}");
    let share = |part: u64| part * 100 / all.verdicts;
    assert!(share(all.permitted) >= 20, "{}% are permitted", share(all.permitted));
    assert!(share(all.forbidden) >= 20, "{}% are forbidden", share(all.forbidden));
    assert!(share(all.failing) >= 5, "in {}% a rule is an error", share(all.failing));
    let refused = all.refused * 100 / all.written;
    assert!(refused <= 25, "{refused}% of the rules are refused");
}
