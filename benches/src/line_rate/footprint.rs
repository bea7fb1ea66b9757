//! What the gate takes beside what it takes of each request: memory of a worker, time to the first listener,
//! and whether a decision costs the same whatever routes and revocations there are.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use gatepass::publish::Revoke;
use gatepass_engine::revocation::Kind as Revokes;
use gatepass_envoy::Envoy;
use gatepass_tests::kit::world::{ControlPlane, now};
use serde_json::{Value, json};

use super::envoys::{self, DIRECT, Site, Subject};
use super::load::{Http, Load, Pace};
use super::request::READ;
use super::rows::rows;
use super::tokens::{Again, Kind, Mint};
use super::{CLOSED, Failed, POLICY, ROUNDS, cores, median};

pub(crate) fn run(out: &Path) -> Result<(), Failed> {
    let empty = envoys::module(envoys::EMPTY)?;
    let jwks = json!({});
    let thousand = ControlPlane::with_policy("prod", &policy(1_000))?;
    let starts = starts(&site(&thousand, &empty, &jwks))?;
    println!("ready, ms: {starts}");
    let memory = memory(&site(&thousand, &empty, &jwks))?;
    println!("memory of an idle worker, KiB: {memory}");
    let flat = flat(&|control| site(control, &empty, &jwks).launch(Subject::Gatepass, 1))?;
    println!("a seen gatepass, us: {flat}");
    let report = json!({ "ready_ms": starts, "worker_kib": memory, "seen_cpu_us": flat });
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("footprint.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    Ok(())
}

fn site<'a>(control: &'a ControlPlane, empty: &'a Path, jwks: &'a Value) -> Site<'a> {
    let nowhere = ([127, 0, 0, 1], 1).into();
    Site { control, jwks, empty, upstream: nowhere, ext_authz: nowhere }
}

/// Milliseconds from the start of the process to the first answer of a listener, whatever it says: medians.
fn starts(site: &Site<'_>) -> Result<Value, Failed> {
    let mut times = SUBJECTS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, subject), times) in SUBJECTS.iter().zip(&mut times) {
            let start = Instant::now();
            let envoy = site.launch(*subject, 1)?;
            let mut stream = TcpStream::connect(envoy.address(DIRECT)?)?;
            stream.write_all(b"GET /orders/1 HTTP/1.1\r\nhost: orders.example\r\n\r\n")?;
            stream.read_exact(&mut [0; 12])?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(named(times.map(median)))
}

/// Waits until all VMs, the main thread's too, say that they have state.
fn settled(envoy: &Envoy, workers: u32) -> Result<(), Failed> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let vms = envoy.wasm_stat("gatepass_vms").unwrap_or(0);
        let sequence = envoy.wasm_stat("gatepass_position_sequence").unwrap_or(0);
        if vms > u64::from(workers) && sequence > 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{vms} VMs, and not all have state").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// KiB that each further worker takes, its VM and all else of it, two seconds after it has state.
fn memory(site: &Site<'_>) -> Result<Value, Failed> {
    let mut sizes = SUBJECTS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, subject), sizes) in SUBJECTS.iter().zip(&mut sizes) {
            let [few, many] = [1, 1 + FURTHER].map(|workers| {
                let envoy = site.launch(*subject, workers)?;
                if *subject == Subject::Gatepass {
                    settled(&envoy, workers)?;
                }
                std::thread::sleep(Duration::from_secs(2));
                private(envoy.id())
            });
            sizes.push((many? - few?) / f64::from(FURTHER));
        }
    }
    Ok(named(sizes.map(median)))
}

/// KiB of memory that no other process has (proc(5), `smaps_rollup`).
fn private(process: u32) -> Result<f64, Failed> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.ok_or("no such line")?.parse::<f64>().map_err(Failed::from)
    };
    Ok(of("Private_Clean:")? + of("Private_Dirty:")?)
}

fn named(all: [f64; 3]) -> Value {
    SUBJECTS
        .iter()
        .zip(all)
        .map(|((name, _), one)| ((*name).to_owned(), json!(one.round())))
        .collect()
}

/// Microseconds of CPU of a seen gatepass: medians of rounds that take turns.
fn flat(launch: &dyn Fn(&ControlPlane) -> Result<Envoy, Failed>) -> Result<Value, Failed> {
    let row =
        rows().into_iter().find(|row| row.name == "gatepass_recurring_200").ok_or("no row")?;
    let mut worlds = Vec::new();
    for (name, routes, revocations) in WORLDS {
        let control = ControlPlane::with_policy("prod", &policy(routes))?;
        let envoy = launch(&control)?;
        let mint = control.with(|store| Mint::new(store))?;
        for from in (0..revocations).step_by(REVOKED_AT_ONCE) {
            let ids = from..revocations.min(from + REVOKED_AT_ONCE);
            let all = ids.map(|id| Revoke::new(Revokes::Credential, &format!("gone-{id}"), now()));
            control.with(|store| store.revoke(all.collect(), now()))?;
        }
        let credentials = Again::new(mint.make(Kind::Good, 200)?);
        worlds.push((name, envoy, credentials, Vec::new(), control));
    }
    cores::settle()?;
    for round in 0..=ROUNDS {
        for (_, envoy, credentials, times, _) in &mut worlds {
            let address = envoy.address(DIRECT)?;
            let lasting = if round == 0 { SETTLING } else { CLOSED };
            let (http, pace, expected) = (Http::One, Pace::Closed, &row.expected);
            let before = cores::run_time(envoy.id())?;
            let outcome =
                Load { address, asked: &READ, http, pace, lasting, expected }.run(credentials)?;
            let taken = cores::run_time(envoy.id())? - before;
            // The first may come before the state does.
            if round > 0 {
                if let Some(example) = outcome.example {
                    return Err(format!("an answer that was not expected: {example}").into());
                }
                times.push(taken / outcome.answered as f64);
            }
        }
    }
    let medians = worlds.into_iter().map(|(name, _, _, times, _)| {
        (name.to_owned(), json!((median(times) * 10.0).round() / 10.0))
    });
    Ok(medians.collect())
}

/// The benchmark's policy with so many routes besides.
fn policy(routes: usize) -> String {
    let more =
        |at: usize| format!("      - match: GET /more{at}/{{id}}\n        action: orders:read\n");
    POLICY.to_owned() + &(1..routes).map(more).collect::<String>()
}

const SUBJECTS: [(&str, Subject); 3] =
    [("none", Subject::Plain), ("wasm_empty", Subject::Empty), ("gatepass", Subject::Gatepass)];
const WORLDS: [(&str, usize, usize); 4] = [
    ("1_route", 1, 0),
    ("10000_routes", 10_000, 0),
    ("100000_revocations", 1, 100_000),
    ("1000000_revocations", 1, 1_000_000),
];
/// Workers more, of which the mean is taken.
const FURTHER: u32 = 8;
const REVOKED_AT_ONCE: usize = 50_000;
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Until all have the newest state.
const SETTLING: Duration = Duration::from_secs(5);
