//! One round: the rules are loaded, and every request is decided again and again, its outcome held against what is
//! expected each time.

use std::hint::black_box;
use std::time::Instant;

use gatepass_engine::bundle::Input;
use gatepass_engine::gatepass::Claims;
use gatepass_engine::inputs::Inputs;
use gatepass_engine::policy::{Facts, Outcome, Rules};
use gatepass_engine::target::Target;
use serde::{Deserialize, Serialize};

use crate::asked::Asks;
use crate::counted;

/// Rules with requests.
#[derive(Default, Serialize, Deserialize)]
pub struct Case {
    /// As a bundle carries them.
    pub program: Vec<u8>,
    pub actions: u32,
    /// Of every route.
    pub inputs: Vec<Input>,
    pub asks: Vec<Asks>,
}

/// What one round took.
#[derive(Debug, Serialize, Deserialize)]
pub struct Round {
    /// Of one decision.
    pub nanoseconds: f64,
    /// Of all decisions together.
    pub allocations: u64,
    /// Decisions whose outcome was not the expected one.
    pub wrong: u64,
    /// From bytes to checked rules, and what those hold.
    pub load_milliseconds: f64,
    pub bytes: i64,
    /// All that was measured: never more than whoever asked has waited.
    pub milliseconds: f64,
}

impl Case {
    /// # Panics
    /// For rules or requests that are none.
    #[must_use]
    pub fn round(&self) -> Round {
        let held = counted::held();
        let begun = Instant::now();
        let rules =
            Rules::read(black_box(&self.program), usize::try_from(self.actions).unwrap()).unwrap();
        let load_milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        let bytes = counted::held() - held;

        let targets: Vec<Target<'_>> = self.asks.iter().map(Asks::target).collect();
        let claims: Vec<Claims<'_>> = self.asks.iter().map(Asks::claims).collect();
        let read = |target| Inputs::read(&self.inputs, &[], target, &[]).unwrap();
        let inputs: Vec<Inputs<'_>> = targets.iter().map(read).collect();
        let place = |name: &str| self.inputs.iter().position(|input| input.name == name).unwrap();
        let places: Vec<u8> =
            rules.inputs().map(|name| u8::try_from(place(name)).unwrap()).collect();
        let given = claims.iter().zip(&inputs);
        let decisions: Vec<Decision<'_>> = self
            .asks
            .iter()
            .zip(given)
            .map(|(asks, (claims, inputs))| Decision {
                action: asks.action,
                facts: asks.facts(claims, inputs, &places),
                permitted: asks.permitted,
            })
            .collect();

        let allocations = counted::allocations();
        let begun = Instant::now();
        let wrong = (0..PASSES).map(|_| pass(&rules, &decisions)).sum();
        let taken = begun.elapsed().as_secs_f64();
        Round {
            nanoseconds: taken * 1e9 / (PASSES * decisions.len()) as f64,
            allocations: counted::allocations() - allocations,
            wrong,
            load_milliseconds,
            bytes,
            milliseconds: taken * 1e3 + load_milliseconds,
        }
    }
}

struct Decision<'a> {
    action: u32,
    facts: Facts<'a>,
    permitted: bool,
}

/// Once each. A call of its own, since V8 puts optimised code in place only where a function begins.
#[inline(never)]
fn pass(rules: &Rules, decisions: &[Decision<'_>]) -> u64 {
    let mut wrong = 0;
    for decision in decisions {
        let verdict = rules.decide(decision.action, black_box(&decision.facts));
        wrong += u64::from((verdict.outcome == Outcome::Permitted) != decision.permitted);
        black_box(&verdict);
    }
    wrong
}

const PASSES: usize = 300;
