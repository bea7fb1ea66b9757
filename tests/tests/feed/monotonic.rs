//! No request is answered from a state older than one that any worker of the Envoy has served: counted
//! by clients of a real Envoy that follows a real control plane, while positions move all the time, each
//! thread of Envoy stands still in turn (so the lease is taken over, and who led wakes up with old
//! news), Envoy sleeps past what deltas reach, the control plane is killed, and a copy of its database
//! is put in force, which begins a new epoch.
//!
//! `REQUESTS` says how many answers at least; `make monotonic` asks for 100,000.

use std::collections::BTreeSet;
use std::path::Path;

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::desk::{Agent, Desk};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::seen::stale_after_new;
use gatepass_tests::kit::standstill::{Standstill, threads};
use gatepass_tests::kit::world::bearing;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod asking;
mod publishing;

use asking::{Asking, Late};
use publishing::Publishing;

#[test]
fn no_answer_is_older_than_one_that_ended_before_its_request_began() {
    let found = run(&filter::path().unwrap(), requests());
    assert_eq!(found.stale, 0, "of {} answers", found.answers);
}

/// The twin: what is counted is there to be found.
#[test]
fn without_the_check_on_each_request_the_same_finds_older_answers() {
    let found = run(&filter::unchecked_path().unwrap(), LEAST_REQUESTS);
    assert!(found.stale > 0, "none of {} answers", found.answers);
}

struct Found {
    stale: usize,
    answers: usize,
}

fn run(wasm: &Path, requests: usize) -> Found {
    let mut desk = furnished();
    let agent = desk.agent("reader-1", "reader", OWNER).unwrap();
    let mut token = gatepass(&agent);
    let envoy = launch(&desk, wasm);
    let asking = Asking::start(&envoy, &token);
    let mut epochs = 1;
    let publishing = Publishing::start(&desk);
    loop {
        let main = i32::try_from(envoy.id()).unwrap();
        // The VM of the main thread leads first; after that, one of those that took over.
        for (number, thread) in [main].into_iter().chain(workers(&envoy)).enumerate() {
            let publishes = if number == 1 { ASLEEP_FOR } else { A_FEW };
            let still = Standstill::between_events(thread).unwrap();
            let newest = publishing.wait(publishes);
            // Whoever still works has heard it, led by another where it was the leader that stands.
            asking.until(newest);
            let late = Late::ask(&envoy, &token);
            drop(still);
            asking.add(late.answers());
            asking.until_all(newest);
        }
        // Past what deltas reach: the position jumps, by a snapshot.
        signal(&envoy, Signal::SIGSTOP);
        let newest = publishing.wait(PAST_THE_DELTAS);
        signal(&envoy, Signal::SIGCONT);
        asking.until_all(newest);

        desk.kill();
        asking.until_more(A_FEW);
        desk.serve().unwrap();
        asking.until_all(publishing.wait(A_FEW));

        // A copy that is older than what everybody has seen.
        let copy = desk.dir().join(format!("copy-{epochs}.db"));
        let (dir, copy) = (desk.dir(), copy.to_str().unwrap().to_owned());
        let dir = dir.to_str().unwrap();
        desk.done(&["backup", "--dir", dir, &copy]).unwrap();
        let before = publishing.wait(A_FEW);
        desk.kill();
        desk.done(&["restore", "--dir", dir, &copy]).unwrap();
        desk.serve().unwrap();
        desk.done(&["open", "--reason", "a test"]).unwrap();
        let newest = publishing.wait(A_FEW);
        assert!(newest.epoch > before.epoch, "{before} {newest}");
        asking.until_all(newest);
        epochs += 1;
        token = gatepass(&agent);
        asking.ask_with(&token);
        if asking.count() >= requests {
            break;
        }
    }
    publishing.end();
    let told = asking.end();
    assert!(told.widest_jump >= ASLEEP_FOR, "no worker slept for {ASLEEP_FOR} publishes");
    // Of the epoch before, until all were in the new one.
    let expected = ["200", "401 wrong_epoch"];
    let unexpected: Vec<&String> =
        told.verdicts.keys().filter(|verdict| !expected.contains(&verdict.as_str())).collect();
    assert!(unexpected.is_empty(), "{:?}", told.verdicts);
    assert!(
        expected.iter().all(|verdict| told.verdicts.contains_key(*verdict)),
        "{:?}",
        told.verdicts
    );
    let seen = told.seen.iter().filter_map(|seen| seen.position);
    let seen: BTreeSet<u64> = seen.map(|position| position.epoch).collect();
    assert_eq!(seen.len(), epochs, "{seen:?}");
    let found = Found { stale: stale_after_new(&told.seen), answers: told.seen.len() };
    println!(
        "{} answers in {epochs} epochs, {} stale after new, a worker slept for {} publishes",
        found.answers, found.stale, told.widest_jump
    );
    found
}

/// A control plane with a policy, and an open feed.
fn furnished() -> Desk {
    let mut desk = Desk::start("prod", false).unwrap();
    desk.kill();
    desk.configure(|text| text.replace("\"join_token\"", "\"anyone\"")).unwrap();
    desk.serve().unwrap();
    let because = ["--reason", "a test"];
    let run = |arguments: &[&str]| desk.done(&[arguments, &because].concat()).unwrap();
    run(&["person", "add", OWNER, "--name", "Ann", "--contact", "ann@corp.example"]);
    let ceiling = desk.file("ceiling.json", CEILING).unwrap();
    let reads = ["--purpose", "reads orders", "--owners", "orders", "--ceiling", &ceiling];
    run(&[&["blueprint", "add", "reader"], &reads[..]].concat());
    let policy = desk.file("policy.yaml", POLICY).unwrap();
    run(&["policy", "publish", &policy]);
    desk
}

fn gatepass(agent: &Agent) -> String {
    let details = r#"[{"type":"agent_action","actions":["orders:read"]}]"#;
    let wanted = [
        ("resource", "https://orders.example"),
        ("authorization_details", details),
        ("lifetime", "3600"),
    ];
    agent.gatepass(&wanted).unwrap().token
}

/// Answers from Envoy itself, so that an answer says where its worker was when it decided.
fn launch(desk: &Desk, wasm: &Path) -> Envoy {
    let gate = Gate::new(wasm, &desk.plugin().unwrap());
    let bootstrap = Bootstrap::new()
        .listener(Listener::responding(IN, 200, "{}").gate(gate))
        .feed(desk.feed())
        .workers(WORKERS);
    Envoy::launch(&bootstrap).unwrap()
}

fn request(gatepass: &str) -> Vec<u8> {
    bearing("GET", "/orders", Some(gatepass))
}

fn workers(envoy: &Envoy) -> Vec<i32> {
    let found = threads(envoy.id(), "wrk:").unwrap();
    assert_eq!(found.len(), WORKERS as usize, "{found:?}");
    found
}

fn signal(envoy: &Envoy, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(envoy.id()).unwrap()), signal).unwrap();
}

fn requests() -> usize {
    let asked = std::env::var("REQUESTS").ok();
    asked.map_or(LEAST_REQUESTS, |text| text.parse().expect("REQUESTS is a number"))
}

const IN: &str = "in";
const WORKERS: u32 = 3;
const OWNER: &str = "user:corp/ann";
/// Some seconds of them: everything happens once or twice.
const LEAST_REQUESTS: usize = 10_000;
/// Publishes that a worker sleeps through.
const ASLEEP_FOR: u64 = 1_000;
const A_FEW: u64 = 30;
/// More than the 256 deltas that a control plane keeps.
const PAST_THE_DELTAS: u64 = 300;
const CEILING: &str =
    r#"{"entries":[{"actions":["orders:read"],"locations":["https://orders.example"]}]}"#;
const POLICY: &str = "\
actions:
  orders:read: {risk: low, staleness: 600s}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /orders
        action: orders:read
      - match: GET /healthz
        public: true
";
