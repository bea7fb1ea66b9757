//! What a decision by rules costs, natively and in Envoy's V8, for folders of 10 to 10,000 rules; how long they take
//! to compile and to load, and what they hold. Each decision is held against Cedar's, each time.
//!
//! Usage: `gatepass-bench-policy FILTER OUT [RULES..]`; `make bench-policy` builds both and calls it. With numbers of
//! rules it measures folders of so many only.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use cedar_policy::{PolicySet, Schema};
use gatepass_bench_policy::{Asks, Case, Round};
use gatepass_engine::bundle::Treatment;
use gatepass_policy::cedar;
use serde_json::{Value, json};

mod texts;
mod v8;
mod written;

use texts::Texts;
use v8::V8;
use written::Written;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, filter, out, folders @ ..] = arguments.as_slice() else {
        panic!("usage: gatepass-bench-policy FILTER OUT [RULES..]")
    };
    let mut folders: Vec<usize> = folders.iter().map(|rules| rules.parse().unwrap()).collect();
    if folders.is_empty() {
        folders.extend(FOLDERS);
    }
    let rows: Vec<Value> =
        folders.into_iter().flat_map(|policies| rows(policies, Path::new(filter))).collect();
    let out = Path::new(out);
    std::fs::create_dir_all(out.parent().unwrap()).unwrap();
    std::fs::write(out, serde_json::to_string_pretty(&json!({ "rows": rows })).unwrap()).unwrap();
}

/// Native and in V8, whose rounds take turns.
fn rows(policies: usize, filter: &Path) -> [Value; 2] {
    let written = Written::new(policies);
    let begun = Instant::now();
    let compiled = cedar::compile(&[("rules.cedar", &written.text)], &written.bundle);
    let compile_ms = begun.elapsed().as_secs_f64() * 1e3;
    let (program, _) = compiled.unwrap_or_else(|notes| panic!("{notes:?}"));
    assert_eq!(program.rules.len(), policies);

    let asks = asks(&written);
    let asked = |one: &Asks| program.actions[one.action as usize].rules.len();
    let common = json!({
        "policies": policies,
        "rules_of_the_action": asks.iter().map(asked).min(),
        "permitted": asks.iter().filter(|one| one.permitted).count() as f64 / asks.len() as f64,
        "bytes": postcard::to_allocvec(&program).unwrap().len(),
        "compile_ms": compile_ms.round(),
    });
    let Treatment::Guarded(routes) = &written.bundle.hosts[0].treatment else {
        panic!("a host without routes")
    };
    let case = Case {
        program: postcard::to_allocvec(&program).unwrap(),
        actions: u32::try_from(written.bundle.actions.len()).unwrap(),
        inputs: routes[0].inputs.clone(),
        asks,
    };
    let mut envoy = V8::launch(filter, &case);
    let mut rounds = [Vec::new(), Vec::new()];
    for nth in 0..WARM_UP + ROUNDS {
        let both = [case.round(), envoy.round()];
        for (rounds, round) in rounds.iter_mut().zip(both) {
            assert_eq!(round.wrong, 0, "decisions that are not Cedar's, of {policies} rules");
            if nth >= WARM_UP {
                rounds.push(round);
            }
        }
    }
    envoy.hold_clock();
    let [native, v8] = &rounds;
    let mut rows = [row("native", native, &common), row("v8", v8, &common)];
    let ratios = native.iter().zip(v8).map(|(native, v8)| v8.nanoseconds / native.nanoseconds);
    rows[1]["over_native"] = json!((median(ratios) * 100.0).round() / 100.0);
    rows.iter().for_each(|row| println!("{row}"));
    rows
}

fn row(place: &str, rounds: &[Round], common: &Value) -> Value {
    let mut times: Vec<f64> = rounds.iter().map(|round| round.nanoseconds.round()).collect();
    times.sort_by(f64::total_cmp);
    let mut row = common.clone();
    row["where"] = json!(place);
    row["ns"] = json!(times[times.len() / 2]);
    row["ns_least"] = json!(times.first());
    row["ns_most"] = json!(times.last());
    row["allocations"] = json!(rounds.iter().map(|round| round.allocations).max());
    row["load_ms"] = json!(median(rounds.iter().map(|round| round.load_milliseconds)));
    row["heap_kib"] = json!(rounds[0].bytes / 1024);
    row
}

fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = all.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// With what Cedar decides.
fn asks(written: &Written) -> Vec<Asks> {
    let set = PolicySet::from_str(&written.text).unwrap();
    let schema = cedar::schema(&written.bundle).unwrap();
    let (schema, _) = Schema::from_cedarschema_str(&schema.text).unwrap();
    let actions = written.bundle.actions.len();
    (0..REQUESTS).map(|nth| Texts::new(nth, actions).decided(&set, &schema)).collect()
}

const FOLDERS: [usize; 4] = [10, 100, 1_000, 10_000];
/// Requests that are decided in turn.
const REQUESTS: usize = 64;
const ROUNDS: usize = 25;
/// Until V8 has compiled what it runs often.
const WARM_UP: usize = 15;
