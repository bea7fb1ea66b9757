//! How long after the answer to a revocation every worker of an Envoy refuses what was revoked.
//!
//! Usage: `bench-push SERVER OUT [WORKERS [FILTER]]`; `make bench-push` builds all and calls it, for 4 and for
//! 16 workers and with the filter of this source; another module can be named to compare the two. The control plane, its database, its admin API, Envoy and the filter are the real ones,
//! built as they ship. The clock is the client's: from when the whole answer to the revocation was
//! read to when the last worker's first refusal was.
//!
//! Beside each revocation stands a call of the same API that revokes nothing, after which the same
//! client asks all workers in the same way, with a gatepass that they refuse already: what is left is
//! what asking costs on a machine as busy as this one.
//!
//! Of each revocation the report can say where its time went: `slowest` lists the phases of the slowest,
//! `phases` how long each phase took in all of them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use gatepass_engine::Position;
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, PluginConfig, Roots};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::seen::{Seen, stale_after_new};
use gatepass_tests::kit::world::bearing;
use serde_json::{Value, json};

#[path = "../../../control-plane/tests/desk/kit/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the control plane use all of it")]
mod kit;
mod load;
#[path = "../machine.rs"]
mod machine;
mod timeline;
mod workers;

use kit::{Agent, Issued, Served, Site, Wire};
use load::Load;
use timeline::{Phases, Timeline, Waited};
use workers::Workers;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (server, out, workers) = match arguments.as_slice() {
        [_, server, out] => (server, out, WORKERS.to_vec()),
        [_, server, out, workers, ..] => (server, out, vec![workers.parse().unwrap()]),
        _ => panic!("usage: bench-push SERVER OUT [WORKERS [FILTER]]"),
    };
    let filter = arguments.get(4).map_or_else(|| filter::path().unwrap(), PathBuf::from);
    let out = Path::new(out);
    let within = out.parent().unwrap();
    std::fs::create_dir_all(within).unwrap();
    let rows: Vec<Value> = workers
        .into_iter()
        .map(|workers| {
            let row = Bench::start(Path::new(server), &filter, within, workers).run(workers);
            println!("{row}");
            row
        })
        .collect();
    let report = json!({
        "rows": rows,
        "asked_every_ms": milliseconds(workers::ROUND),
        "machine": machine::machine(),
        "envoy": gatepass_envoy::ENVOY_VERSION,
    });
    let text = serde_json::to_string_pretty(&report).unwrap() + "\n";
    std::fs::write(out, &text).unwrap();
    print!("{text}");
}

/// One Envoy and its control plane.
struct Bench {
    envoy: Envoy,
    agent: Agent,
    task: String,
    served: Served,
    timeline: Timeline,
    // Dropped after the server that lives in it.
    _site: Site,
}

/// From the answer to a call until every worker refused.
struct Times {
    revoked: Vec<Duration>,
    /// Of each of `revoked`.
    phases: Vec<Phases>,
    noop: Vec<Duration>,
}

impl Bench {
    fn start(server: &Path, filter: &Path, within: &Path, workers: u32) -> Self {
        let site = Site::new(server, within);
        let (served, timeline) = timeline::serve(&site);
        served.furnish();
        let agent = served.agent("bench");
        let opened = agent.open_task(&mut Wire::connect(served.agents).unwrap()).unwrap().json();
        let roots: Roots = serde_json::from_str(&site.pinned()).unwrap();
        let mut plugin = PluginConfig::new("prod", "prod", roots);
        plugin.expose_position = true;
        let gate = Gate::new(filter, &plugin);
        let bootstrap = Bootstrap::new()
            .listener(Listener::responding(IN, 200, "{}").gate(gate))
            .feed(served.feed)
            .workers(workers);
        let envoy = Envoy::launch(&bootstrap).unwrap();
        let task = opened["task"].as_str().unwrap().to_owned();
        Self { envoy, agent, task, served, timeline, _site: site }
    }

    fn run(&self, workers: u32) -> Value {
        let listener = self.envoy.address(IN).unwrap();
        let used = self.issue(1).remove(0);
        let mut gate = Workers::reach(listener, usize::try_from(workers).unwrap(), &used.token);
        let load = Load::start(listener, &used.token);
        let start = Instant::now();
        let times = self.measure(&mut gate);
        let lasted = start.elapsed();
        let loaded = load.end();
        let load_rps = loaded.len() as f64 / lasted.as_secs_f64();
        let seen: Vec<Seen> = gate.seen.into_iter().chain(loaded).collect();
        let newest: Option<Position> = seen.iter().filter_map(|seen| seen.position).max();
        assert!(newest.is_some(), "no answer said where its worker was");
        json!({
            "workers": workers,
            "load_rps": load_rps.round(),
            "samples": times.revoked.len(),
            "p50_ms": per_mille(&times.revoked, 500),
            "p99_ms": per_mille(&times.revoked, 990),
            "max_ms": per_mille(&times.revoked, 1000),
            "noop_p50_ms": per_mille(&times.noop, 500),
            "noop_p99_ms": per_mille(&times.noop, 990),
            "noop_max_ms": per_mille(&times.noop, 1000),
            "stale_after_new": stale_after_new(&seen),
            "first_worker_p50_ms": per_mille_of(times.phases.iter().map(|p| p.first).collect(), 500),
            "first_worker_p99_ms": per_mille_of(times.phases.iter().map(|p| p.first).collect(), 990),
            "slowest": slowest(&times.phases),
            "answers": seen.len(),
        })
    }

    /// Revokes each of [`SAMPLES`] gatepasses, and between two of them changes what no gate cares for.
    fn measure(&self, gate: &mut Workers) -> Times {
        let mut admin = Wire::connect(self.served.admin).unwrap();
        let mut call = |path: &str, mut body: Value| {
            body["reason"] = "a benchmark".into();
            let answer = admin.post(path, &self.served.operator(), &body.to_string()).unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", answer.json());
            answer
        };
        let waited = || Waited::so_far(self.served.child.id(), self.envoy.id());
        let mut times = Times { revoked: Vec::new(), phases: Vec::new(), noop: Vec::new() };
        let mut apart = Apart(1);
        while times.revoked.len() < SAMPLES {
            // Not all at once: they live for five minutes.
            for issued in self.issue(ISSUED_AT_ONCE) {
                let number = times.revoked.len();
                let request = bearing("GET", "/orders", Some(&issued.token));
                assert_eq!(gate.allowing(&request), gate.count(), "sample {number}");
                std::thread::sleep(apart.next());
                let (before, asked) = (waited(), SystemTime::now());
                let answer =
                    call("/v1/revocations", json!({ "kind": "credential", "id": issued.jti }));
                let answered = SystemTime::now();
                let (first, last) = gate.until_refused(&request);
                times.revoked.push(last);
                let waited = waited().since(before);
                std::thread::sleep(apart.next());
                let position = answer.json()["position"].as_str().unwrap().to_owned();
                let times_of = (first, last);
                let phases = self.timeline.phases(&position, asked, answered, times_of, waited);
                times.phases.push(phases);
                let person = json!({
                    "id": format!("user:corp/{number}"), "name": "Ben", "contact": "ben@corp.example",
                });
                call("/v1/people", person);
                times.noop.push(gate.until_refused(&request).1);
            }
        }
        times
    }

    fn issue(&self, count: usize) -> Vec<Issued> {
        let mut wire = Wire::connect(self.served.agents).unwrap();
        let one = |_| Issued::of(&self.agent.ask(&mut wire, Some(&self.task)).unwrap());
        (0..count).map(one).collect()
    }
}

/// Pauses of different lengths, so that no tick of Envoy's stands always at the same place of a sample.
struct Apart(u64);

impl Apart {
    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Duration::from_millis(LEAST_APART + (self.0 >> 33) % LEAST_APART)
    }
}

/// The phases of the slowest.
fn slowest(phases: &[Phases]) -> Vec<Value> {
    let mut all: Vec<(usize, &Phases)> = phases.iter().enumerate().collect();
    all.sort_by(|(_, one), (_, other)| other.last.total_cmp(&one.last));
    all.truncate(SLOWEST);
    all.into_iter().map(|(sample, phases)| phases.report(sample)).collect()
}

fn per_mille(times: &[Duration], per_mille: usize) -> f64 {
    per_mille_of(times.iter().map(|time| milliseconds(*time)).collect(), per_mille)
}

fn per_mille_of(mut all: Vec<f64>, per_mille: usize) -> f64 {
    all.sort_by(f64::total_cmp);
    all[(all.len() * per_mille / 1000).min(all.len() - 1)]
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

const IN: &str = "in";
const WORKERS: [u32; 2] = [4, 16];
const SAMPLES: usize = 500;
const SLOWEST: usize = 12;
const ISSUED_AT_ONCE: usize = 50;
/// Milliseconds; more than the filter's tick.
const LEAST_APART: u64 = 55;
