//! One control plane and thousands of followers of its feed: how long until the last one has heard of a
//! revocation, what they cost while nothing happens, and how they come back after a restart.
//!
//! Usage: `bench-fan-out SERVER OUT [FOLLOWERS]`; `make bench-fan-out` builds both and calls it. The
//! control plane is the real one, with TLS on its feed. The followers are simulated in one other process
//! on the same machine, so that what is measured is the two together: each has a TLS connection of its
//! own, polls as the filter does and waits as it does after a failure; one in a hundred holds a gate of
//! the engine's, which verifies everything that it is sent.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

mod followers;
#[path = "../../../control-plane/tests/desk/kit/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the control plane use all of it")]
mod kit;
#[path = "../machine.rs"]
mod machine;
mod process;
mod secure;

use followers::Followers;
use kit::{Served, Site, Wire};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (server, out, count) = match arguments.as_slice() {
        [_, server, out] => (server, out, FOLLOWERS),
        [_, server, out, count] => (server, out, count.parse().unwrap()),
        _ => panic!("usage: bench-fan-out SERVER OUT [FOLLOWERS]"),
    };
    let out = Path::new(out);
    let within = out.parent().unwrap();
    std::fs::create_dir_all(within).unwrap();
    let descriptors = process::raise_descriptors();
    assert!(descriptors > count as u64 + 64, "only {descriptors} file descriptors are allowed");
    let site = Site::new(Path::new(server), within);
    let trust = secure::secure(&site);
    let served = site.serve();
    served.furnish();
    let before = process::memory(&served);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _within = runtime.enter();

    let start = Instant::now();
    let followers = Followers::start(&site, served.feed, &trust, count);
    followers.until_all_wait();
    let joined = start.elapsed();
    let memory = process::memory(&served);
    say("joined", &json!(seconds(joined)));
    let revocations = revocations(&served, &followers);
    say("revocations", &revocations);
    let after = process::memory(&served);
    let idle: Vec<Value> =
        IDLE.iter().map(|staleness| idle(&served, &followers, *staleness)).collect();
    say("idle", &json!(idle));
    let storm = storm(&served, &followers);
    say("storm", &storm);
    let feed = served.feed;
    drop(served);
    let herd = herd(&site, &followers);
    say("herd", &herd);
    let report = json!({
        "followers": count,
        "address": feed.to_string().split(':').next(),
        "verifying": followers.verifying(),
        "joined_s": seconds(joined),
        "revocation": revocations,
        "idle": idle,
        "server_kib_per_follower": per(memory - before, count),
        "server_kib_per_follower_after_revocations": per(after - before, count),
        "storm": storm,
        "restart": herd,
        "refused": followers.refused(),
        "machine": machine::machine(),
    });
    let text = serde_json::to_string_pretty(&report).unwrap() + "\n";
    std::fs::write(out, &text).unwrap();
    print!("{text}");
}

/// From when a revocation was asked for until the last follower had read it; each sample begins when all
/// wait. Not from its answer: who asked is answered among ten thousand others, so that many of them have
/// heard before.
fn revocations(served: &Served, followers: &Followers) -> Value {
    let mut wire = Wire::connect(served.admin).unwrap();
    let (mut first, mut half, mut last) = (Vec::new(), Vec::new(), Vec::new());
    let mut answered = Vec::new();
    for sample in 0..SAMPLES {
        followers.until_all_wait();
        let heard = followers.listen();
        let body =
            json!({ "kind": "credential", "id": format!("jti-{sample}"), "reason": "a benchmark" });
        let asked = Instant::now();
        let answer = wire.post("/v1/revocations", &served.operator(), &body.to_string()).unwrap();
        answered.push(asked.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.json());
        let times = heard.all(asked);
        first.push(times[0]);
        half.push(times[times.len() / 2]);
        last.push(times[times.len() - 1]);
    }
    last.sort();
    json!({
        "samples": SAMPLES,
        "answered_ms": milliseconds(median(answered)),
        "first_ms": milliseconds(median(first)),
        "half_ms": milliseconds(median(half)),
        "last_ms": milliseconds(median(last.clone())),
        "last_max_ms": milliseconds(last[last.len() - 1]),
        "last_each_ms": last.into_iter().map(milliseconds).collect::<Vec<_>>(),
    })
}

/// Others open connections as fast as they can, [`STORM`] at once, and ask for nothing: until the followers
/// that are connected have heard of a revocation. Both ends of all handshakes are on the same cores.
fn storm(served: &Served, followers: &Followers) -> Value {
    let mut wire = Wire::connect(served.admin).unwrap();
    followers.until_all_wait();
    let storm = followers.storm(STORM);
    std::thread::sleep(Duration::from_secs(1));
    let (start, shaken, cpu) = (Instant::now(), storm.shaken(), process::cpu(served));
    let mut last = Vec::new();
    for sample in 0..SAMPLES / 2 {
        let heard = followers.listen();
        let body = json!({ "kind": "credential", "id": format!("storm-{sample}"), "reason": "a benchmark" });
        let asked = Instant::now();
        let answer = wire.post("/v1/revocations", &served.operator(), &body.to_string()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        let times = heard.all(asked);
        last.push(times[times.len() - 1]);
        std::thread::sleep(Duration::from_millis(500));
    }
    let lasted = start.elapsed().as_secs_f64();
    let shaken = (storm.shaken() - shaken) as f64;
    let cpu = process::cpu(served) - cpu;
    storm.end();
    json!({
        "at_once": STORM,
        "handshakes_per_second": (shaken / lasted).round(),
        "server_percent_of_a_core": rounded(cpu / lasted * 100.0),
        "last_each_ms": last.into_iter().map(milliseconds).collect::<Vec<_>>(),
    })
}

/// What the server uses while nothing happens, under a policy with this smallest staleness bound.
fn idle(served: &Served, followers: &Followers, staleness: u64) -> Value {
    let content =
        kit::policy(staleness).replace("staleness: 60s", &format!("staleness: {staleness}s"));
    let heard = followers.listen();
    served.change("/v1/policies", json!({ "content": content }));
    heard.all(Instant::now());
    followers.until_all_wait();
    // All waits began together, so they end together: not at an edge of what is measured.
    std::thread::sleep(Duration::from_secs(staleness / 3) / 3);
    let (start, cpu, polls) = (Instant::now(), process::cpu(served), followers.polls());
    std::thread::sleep(Duration::from_secs(staleness / 3).max(LEAST_IDLE));
    let lasted = start.elapsed().as_secs_f64();
    let polls = (followers.polls() - polls) as f64 / lasted;
    json!({
        "smallest_bound_s": staleness,
        "wait_s": staleness / 3,
        "polls_per_second": polls.round(),
        "percent_of_a_core": rounded((process::cpu(served) - cpu) / lasted * 100.0),
    })
}

/// The control plane is killed and started again: who comes back when.
fn herd(site: &Site, followers: &Followers) -> Value {
    followers.until_none_waits();
    let returned = followers.returns();
    let start = Instant::now();
    let served = site.serve();
    let listens = start.elapsed();
    let times = returned.all(start + listens);
    let mut slots = std::collections::BTreeMap::<u128, usize>::new();
    for time in &times {
        *slots.entry(time.as_millis() / SLOT_MS).or_default() += 1;
    }
    let lasted = times[times.len() - 1];
    json!({
        "serving_after_ms": milliseconds(listens),
        "half_back_ms": milliseconds(times[times.len() / 2]),
        "all_back_ms": milliseconds(lasted),
        "busiest_100_ms": slots.values().max(),
        "tries_per_follower": rounded(returned.tries() as f64 / times.len() as f64),
        "server_cpu_s": rounded(process::cpu(&served)),
    })
}

fn say(what: &str, value: &Value) {
    eprintln!("{what}: {value}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn per(kib: u64, count: usize) -> f64 {
    rounded(kib as f64 / count as f64)
}

fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64())
}

fn milliseconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1000.0)
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

const FOLLOWERS: usize = 10_000;
const SAMPLES: usize = 10;
const STORM: usize = 1_000;
/// Seconds: smallest bounds whose waits are 30 s and, as with the bounds of high risk, 3 s.
const IDLE: [u64; 2] = [90, 10];
const LEAST_IDLE: Duration = Duration::from_secs(15);
const SLOT_MS: u128 = 100;
