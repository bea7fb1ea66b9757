//! What a decision by rules costs natively, for folders of 10 to 10,000 rules; how long they take to compile and to
//! load, and what they hold. Each decision is checked against Cedar before it is measured.
//!
//! Usage: `gatepass-bench-policy OUT`; `make bench-policy` builds and calls it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use std::hint::black_box;
use std::str::FromStr;
use std::time::Instant;

use cedar_policy::{PolicySet, Schema};
use gatepass_engine::inputs::Inputs;
use gatepass_engine::policy::{Facts, Outcome, Rules};
use gatepass_policy::cedar;
use serde_json::{Value, json};

mod asked;
mod counted;
mod written;

use asked::Texts;
use written::Written;

#[global_allocator]
static COUNTED: counted::Counted = counted::Counted;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, out] = arguments.as_slice() else { panic!("usage: gatepass-bench-policy OUT") };
    let rows: Vec<Value> = [10, 100, 1_000, 10_000].into_iter().map(row).collect();
    let out = std::path::Path::new(out);
    std::fs::create_dir_all(out.parent().unwrap()).unwrap();
    std::fs::write(out, serde_json::to_string_pretty(&json!({ "rows": rows })).unwrap()).unwrap();
}

fn row(policies: usize) -> Value {
    let written = Written::new(policies);
    let begun = Instant::now();
    let compiled = cedar::compile(&[("rules.cedar", &written.text)], &written.bundle);
    let compile_ms = begun.elapsed().as_secs_f64() * 1e3;
    let (program, _) = compiled.unwrap_or_else(|notes| panic!("{notes:?}"));
    assert_eq!(program.rules.len(), policies);
    let actions = written.bundle.actions.len();
    let bytes = postcard::to_allocvec(&program).unwrap();
    let mut loads: Vec<f64> = (0..21)
        .map(|_| {
            let begun = Instant::now();
            drop(black_box(Rules::read(black_box(&bytes), actions).unwrap()));
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    loads.sort_by(f64::total_cmp);
    let before = counted::held();
    let rules = Rules::read(&bytes, actions).unwrap();
    let heap = counted::held() - before;

    let texts: Vec<Texts> = (0..REQUESTS).map(|nth| Texts::new(nth, actions)).collect();
    let targets: Vec<_> = texts.iter().map(Texts::target).collect();
    let claims: Vec<_> = texts.iter().map(Texts::claims).collect();
    let read = |(text, target): (&Texts, _)| {
        Inputs::read(text.wanted(&written), &[], target, &[]).unwrap()
    };
    let inputs: Vec<_> = texts.iter().zip(&targets).map(read).collect();
    let names: Vec<&str> = rules.inputs().collect();
    let place = |name: &&str| {
        let wanted = texts[0].wanted(&written);
        u8::try_from(wanted.iter().position(|input| input.name == *name).unwrap()).unwrap()
    };
    let places: Vec<u8> = names.iter().map(place).collect();
    let facts: Vec<(u32, Facts<'_>)> = texts
        .iter()
        .zip(claims.iter().zip(&inputs))
        .map(|(text, (claims, inputs))| {
            (u32::try_from(text.action).unwrap(), text.facts(claims, inputs, &places))
        })
        .collect();
    let permitted = check(&rules, &written, &texts, &facts);
    let asked = |action: usize| program.actions[action].rules.len();
    let least = texts.iter().map(|text| asked(text.action)).min();

    let begun = counted::allocations();
    pass(&rules, &facts);
    let allocations = counted::allocations() - begun;
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            (0..PASSES).for_each(|_| pass(&rules, &facts));
            begun.elapsed().as_secs_f64() * 1e9 / (PASSES * REQUESTS) as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let row = json!({
        "where": "native", "policies": policies, "ns": times[ROUNDS / 2].round(),
        "ns_least": times[0].round(), "ns_most": times[ROUNDS - 1].round(),
        "rules_of_the_action": least, "permitted": permitted, "allocations": allocations,
        "load_ms": loads[loads.len() / 2], "heap_kib": heap / 1024, "bytes": bytes.len(),
        "compile_ms": compile_ms.round(),
    });
    println!("{row}");
    row
}

fn pass(rules: &Rules, facts: &[(u32, Facts<'_>)]) {
    for (action, facts) in facts {
        black_box(rules.decide(*action, black_box(facts)));
    }
}

/// Against Cedar. Of how many requests a share is permitted.
fn check(rules: &Rules, written: &Written, texts: &[Texts], facts: &[(u32, Facts<'_>)]) -> f64 {
    let set = PolicySet::from_str(&written.text).unwrap();
    let schema = cedar::schema(&written.bundle).unwrap();
    let (schema, _) = Schema::from_cedarschema_str(&schema.text).unwrap();
    let mut permitted = 0_u32;
    for (text, (action, facts)) in texts.iter().zip(facts) {
        let ours = rules.decide(*action, facts).outcome == Outcome::Permitted;
        assert_eq!(ours, text.is_permitted(&set, &schema), "{:?}", rules.decide(*action, facts));
        permitted += u32::from(ours);
    }
    f64::from(permitted) / texts.len() as f64
}

/// Requests that are decided in turn.
const REQUESTS: usize = 64;
const PASSES: usize = 500;
const ROUNDS: usize = 15;
