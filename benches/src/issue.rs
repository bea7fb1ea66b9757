//! How many gatepasses a second one core of the control plane issues, durably: a real server in
//! release mode, a real directory on disk, agents on keep-alive connections.
//!
//! Usage: `bench-issue SERVER OUT`; `make bench-issue` builds both and calls it. What is reported
//! per core is divided by the CPU time that the **server process** used, because the agents here
//! share its machine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[path = "../../control-plane/tests/desk/kit/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the control plane use all of it")]
mod kit;

use kit::{Agent, Served, Site, Wire};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, server, out] = arguments.as_slice() else {
        panic!("usage: bench-issue SERVER OUT");
    };
    let out = Path::new(out);
    let within = out.parent().unwrap();
    std::fs::create_dir_all(within).unwrap();
    let site = Site::new(Path::new(server), within);
    let served = site.serve();
    served.furnish();
    let agent = served.agent("bench");
    let opened = agent.open_task(&mut Wire::connect(served.agents).unwrap()).unwrap().json();
    let task = opened["task"].as_str().unwrap();
    // Not counted: files are created and caches filled.
    round(&served, &agent, task, WARM_UP);
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round(&served, &agent, task, REQUESTS)).collect();
    let report = report(&rounds, &served);
    let text = serde_json::to_string_pretty(&report).unwrap() + "\n";
    std::fs::write(out, &text).unwrap();
    print!("{text}");
}

struct Round {
    per_second: f64,
    /// Cores that the server used.
    cores: f64,
    /// Sorted.
    times: Vec<Duration>,
}

fn round(served: &Served, agent: &Agent, task: &str, requests: usize) -> Round {
    let share = requests / CONNECTIONS;
    // Made before: signing is the agents' work, not the server's.
    let forms: Vec<Vec<String>> =
        (0..CONNECTIONS).map(|_| (0..share).map(|_| agent.form(Some(task))).collect()).collect();
    let (cpu, start) = (cpu(served), Instant::now());
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let asks = |forms: &Vec<String>| {
            let mut wire = Wire::connect(served.agents).unwrap();
            let asked = forms.iter().map(|form| {
                let start = Instant::now();
                let answer = wire.form("/oauth2/token", form).unwrap();
                assert_eq!(answer.status, 200, "{}", answer.json());
                start.elapsed()
            });
            asked.collect::<Vec<_>>()
        };
        let all: Vec<_> = forms.iter().map(|forms| scope.spawn(move || asks(forms))).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let lasted = start.elapsed().as_secs_f64();
    times.sort();
    Round {
        per_second: times.len() as f64 / lasted,
        cores: (self::cpu(served) - cpu) / lasted,
        times,
    }
}

fn report(rounds: &[Round], served: &Served) -> Value {
    let milliseconds = |per_mille: usize| {
        let of = |round: &Round| {
            let at = (round.times.len() * per_mille / 1000).min(round.times.len() - 1);
            round.times[at].as_secs_f64() * 1000.0
        };
        median(rounds.iter().map(of).collect())
    };
    let per_core = rounds.iter().map(|round| round.per_second / round.cores);
    json!({
        "per_second_core": median(per_core.clone().collect()).round(),
        "p50_ms": rounded(milliseconds(500)),
        "p99_ms": rounded(milliseconds(990)),
        "per_second": median(rounds.iter().map(|round| round.per_second).collect()).round(),
        "server_cores": rounded(median(rounds.iter().map(|round| round.cores).collect())),
        "server_peak_kib": memory(served),
        "spread": {
            "per_second_core": [
                per_core.clone().fold(f64::MAX, f64::min).round(),
                per_core.fold(0.0, f64::max).round(),
            ],
        },
        "rounds": rounds.len(),
        "requests_per_round": REQUESTS,
        "connections": CONNECTIONS,
        "machine": machine(),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Seconds that the server has run on any core, user and system (proc(5): fields 14 and 15, in
/// hundredths on every Linux).
fn cpu(served: &Served) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", served.child.id())).unwrap();
    // The name before may hold spaces.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// The most memory that it ever had, in KiB.
fn memory(served: &Served) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).unwrap();
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

fn machine() -> Value {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cpu": model.unwrap_or_default().trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "load": load.split(' ').next(),
    })
}

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;
const REQUESTS: usize = 16_000;
const WARM_UP: usize = 1600;
