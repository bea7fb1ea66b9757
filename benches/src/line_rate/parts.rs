//! What single things of a decision cost in Envoy: each host call by the CPU of a filter that does nothing else,
//! over one that does nothing; the engine's look-ups and a counter by a loop in Envoy's V8.

use std::path::Path;
use std::time::{Duration, Instant};

use gatepass_envoy::Envoy;
use gatepass_tests::kit::world::ControlPlane;
use serde_json::{Value, json};

use super::envoys::{DIRECT, Site, Subject};
use super::load::{Expected, Http, Load, Pace};
use super::request::READ;
use super::tokens::{Again, Kind, Mint};
use super::{CLOSED, Failed, POLICY, cores, median};

pub(crate) fn run(out: &Path) -> Result<(), Failed> {
    let control = ControlPlane::with_policy("prod", POLICY)?;
    let mint = control.with(|store| Mint::new(store))?;
    let nowhere = ([127, 0, 0, 1], 1).into();
    let jwks = json!({});
    // Of the rivals nothing is asked.
    let site =
        Site { control: &control, jwks: &jwks, empty: out, upstream: nowhere, ext_authz: nowhere };
    let look_ups = look_ups(&site)?;
    println!("in V8, ns: {look_ups:#}");
    let host_calls = host_calls(&site, &mint)?;
    println!("over a filter that does nothing, us of CPU, median and spread: {host_calls:#}");
    let report = json!({ "v8_ns": look_ups, "request_cpu_us": host_calls });
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("parts.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    Ok(())
}

/// Nanoseconds, medians of runs, each of them the median of rounds of its own.
fn look_ups(site: &Site<'_>) -> Result<Value, Failed> {
    let mut runs: Vec<Vec<f64>> = LOOK_UPS.iter().map(|_| Vec::new()).collect();
    for _ in 0..RUNS {
        let envoy = site.launch(Subject::Part("look_ups"), 1)?;
        for (name, runs) in LOOK_UPS.iter().zip(&mut runs) {
            runs.push(gauge(&envoy, name)? / 10.0);
        }
    }
    let all = LOOK_UPS.iter().zip(runs);
    Ok(all.map(|(name, runs)| ((*name).to_owned(), json!(tenths(median(runs))))).collect())
}

/// Once the module has said it: Envoy's statistics lag behind.
fn gauge(envoy: &Envoy, name: &str) -> Result<f64, Failed> {
    let deadline = Instant::now() + SAID_WITHIN;
    while Instant::now() < deadline {
        let value = envoy.wasm_stat(&format!("bench.{name}"))?;
        if value > 0 {
            return Ok(value as f64);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("`{name}` was never measured").into())
}

/// Each over the first of its own round.
fn host_calls(site: &Site<'_>, mint: &Mint) -> Result<Value, Failed> {
    let expected = Expected { status: 200, text: "4711" };
    let launch = |name| Ok((site.launch(Subject::Part(name), 1)?, Vec::new()));
    let mut parts: Vec<(Envoy, Vec<f64>)> =
        HOST_CALLS.into_iter().map(launch).collect::<Result<_, Failed>>()?;
    let mut credentials = Again::new(mint.make(Kind::Good, 200)?);
    cores::settle()?;
    for round in 0..=ROUNDS {
        let mut nothing = None;
        for (envoy, over) in &mut parts {
            let address = envoy.address(DIRECT)?;
            let (http, pace, lasting) = (Http::One, Pace::Closed, CLOSED);
            let before = cores::run_time(envoy.id())?;
            let outcome = Load { address, asked: &READ, http, pace, lasting, expected: &expected }
                .run(&mut credentials)?;
            let taken = (cores::run_time(envoy.id())? - before) / outcome.answered as f64;
            if let Some(example) = outcome.example {
                return Err(format!("an answer that was not expected: {example}").into());
            }
            let least = *nothing.get_or_insert(taken);
            if round > 0 {
                over.push(taken - least);
            }
        }
    }
    let all = HOST_CALLS.iter().zip(parts).skip(1);
    Ok(all.map(|(name, (_, over))| ((*name).to_owned(), spread(over))).collect())
}

fn spread(mut all: Vec<f64>) -> Value {
    all.sort_by(f64::total_cmp);
    let [least, most] = [all.first(), all.last()].map(|one| one.map(|one| tenths(*one)));
    json!({ "median": tenths(median(all)), "least": least, "most": most })
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

const LOOK_UPS: [&str; 9] = [
    "revocation_among_10",
    "revocation_among_1000",
    "revocation_among_100000",
    "revocation_among_1000000",
    "route_among_1",
    "route_among_100",
    "route_among_1000",
    "route_among_10000",
    "counter",
];
/// What the others are held against comes first.
const HOST_CALLS: [&str; 7] = [
    "nothing",
    "two_counters",
    "request_headers",
    "five_headers",
    "remove_authorization",
    "log_text",
    "response_headers",
];
const RUNS: usize = 5;
const ROUNDS: usize = 9;
const SAID_WITHIN: Duration = Duration::from_secs(20);
