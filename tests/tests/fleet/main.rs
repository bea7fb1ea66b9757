//! The fleet as operators see it: real Envoys behind a real control plane, asked for by the commands
//! that operators run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod cohorts;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gatepass::fleet::{FleetView, Follower, State};
use gatepass_tests::kit::desk::{Desk, Said};
use gatepass_tests::kit::edge::{ALICE, Edge, FLEET, POLICY, ask, signal};
use gatepass_tests::kit::world::until;

#[test]
fn an_envoy_that_stops_is_named_by_wait_and_shown_as_lost_and_its_twin_is_not() {
    let edge = Edge::start().unwrap();
    let (first, second) = (edge.envoy().unwrap(), edge.envoy().unwrap());
    let both = edge.until_fleet(SOON, |view| all_enforce(view, 2)).unwrap();
    assert_eq!(both.policy_version, 1);
    for envoy in &both.envoys {
        assert_eq!((envoy.node.as_str(), envoy.identity.as_str()), (FLEET, "join_token"));
        assert_eq!((envoy.mode.as_str(), envoy.workers.as_str()), ("enforce", "3"));
        assert_eq!((&envoy.version, envoy.root_version), (&both.version, Some(1)));
        assert_eq!(envoy.address, "127.0.0.1");
        assert!(!envoy.verified && envoy.last_refusal.is_none());
    }

    // All is well, so it returns.
    let said = publish(&edge, &["--wait"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(said.text.contains("every Envoy enforces"), "{}", said.text);
    assert_eq!(edge.fleet().unwrap().policy_version, 2);

    // The twins differ in nothing but the signal.
    let asked = || ask(&first, "/healthz", None);
    until(SOON, asked, |response| response.status == 200).unwrap();
    signal(second.id(), "STOP").unwrap();
    let said = publish(&edge, &["--wait=3"]);
    assert_eq!(said.code, Some(NOT_ENFORCED), "{}", said.text);
    assert!(said.text.contains("1 of 2 Envoys do not enforce it"), "{}", said.text);
    let lost = edge.until_fleet(MISSED, |view| count(view, State::Lost) == 1).unwrap();
    let [worst, best] = lost.envoys.as_slice() else { panic!("{lost:#?}") };
    assert_eq!((worst.state, best.state), (State::Lost, State::Enforcing), "the worst first");
    assert!(said.text.contains(&worst.envoy), "{}", said.text);
    assert!(!said.text.contains(&best.envoy), "{}", said.text);
    assert_ne!(worst.policy, lost.policy);
    assert_eq!(best.position, lost.position);
    let shown = edge.desk.done(&["fleet"]).unwrap();
    assert!(shown.contains("Envoys: 1 lost, 1 enforcing"), "{shown}");
    let line = shown.lines().find(|line| line.contains(&worst.envoy)).unwrap();
    assert!(line.starts_with("lost"), "{shown}");
    let metrics = metrics(&edge);
    for told in ["gatepass_fleet{state=\"lost\"} 1", "gatepass_fleet{state=\"enforcing\"} 1"] {
        assert!(metrics.contains(told), "{metrics}");
    }
    let slowest = best.position.split_once('.').unwrap().1;
    assert!(metrics.contains(&format!("gatepass_fleet_slowest_sequence {slowest}\n")), "{metrics}");

    // A revocation is named to be missing there as well, unless the operator leaves lost ones out.
    let said = revoke(&edge, &["--wait=2"]);
    assert_eq!(said.code, Some(NOT_ENFORCED), "{}", said.text);
    assert!(said.text.contains(&worst.envoy), "{}", said.text);
    let said = revoke(&edge, &["--wait", "--without-lost"]);
    assert_eq!(said.code, Some(0), "{}", said.text);

    // It wakes up, catches up, and is the same Envoy.
    signal(second.id(), "CONT").unwrap();
    let back = edge.until_fleet(SOON, |view| all_enforce(view, 2)).unwrap();
    assert!(back.envoys.iter().any(|envoy| envoy.envoy == worst.envoy), "{back:#?}");
    let said = revoke(&edge, &["--wait"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
}

#[test]
fn an_envoy_that_is_gone_is_lost_and_one_that_takes_its_place_is_another() {
    let edge = Edge::start().unwrap();
    let mut first = edge.envoy().unwrap();
    let one = edge.until_fleet(SOON, |view| all_enforce(view, 1)).unwrap();
    first.kill();
    let _second = edge.envoy().unwrap();
    let two = edge.until_fleet(MISSED, |view| {
        count(view, State::Lost) == 1 && count(view, State::Enforcing) == 1
    });
    let two = two.unwrap();
    assert_eq!(two.envoys.first().map(|envoy| &envoy.envoy), one.envoys.first().map(|e| &e.envoy));
}

#[test]
fn waiting_for_a_fleet_without_envoys_does_not_succeed() {
    let edge = Edge::start().unwrap();
    let said = publish(&edge, &["--wait=1"]);
    assert_eq!(said.code, Some(NOT_ENFORCED), "{}", said.text);
    assert!(said.text.contains("no Envoy reports"), "{}", said.text);
    // Without the flag nobody is waited for.
    let said = publish(&edge, &[]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    let text = edge.desk.done(&["fleet"]).unwrap();
    assert!(text.contains("no Envoy has reported"), "{text}");
}

#[test]
fn a_change_that_waits_for_a_second_person_is_not_waited_for() {
    let desk = Desk::start("prod", true).unwrap();
    let file = desk.file("policy.yaml", POLICY).unwrap();
    let command = ["policy", "publish", &file, "--reason", "first", "--wait"];
    let said = desk.run(&command).unwrap();
    assert_eq!(said.code, Some(NOT_ENFORCED), "{}", said.text);
    assert!(said.text.contains("it takes a second person"), "{}", said.text);
    // The twin: it is proposed, and that is all that was asked for.
    let said = desk.run(&command[..5]).unwrap();
    assert_eq!(said.code, Some(0), "{}", said.text);
}

#[test]
fn a_report_follows_a_change_though_the_polls_are_long() {
    let edge = Edge::start().unwrap();
    // A poll may now wait for 20 s.
    let slow = POLICY.replace("staleness: 3s", "staleness: 60s").replace("high", "low");
    let file = edge.desk.file("slow.yaml", &slow).unwrap();
    let _envoy = edge.envoy().unwrap();
    edge.until_fleet(SOON, |view| all_enforce(view, 1)).unwrap();
    // Also past the time in which a control plane that was started has not heard everybody.
    edge.desk.done(&["policy", "publish", &file, "--reason", "slow", "--wait"]).unwrap();
    let start = Instant::now();
    let said = revoke(&edge, &["--wait=15"]);
    let took = start.elapsed();
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(took < Duration::from_secs(15), "{took:?}");
    println!("revoke --wait: {} ms with polls of 20 s", took.as_millis());
}

fn publish(edge: &Edge, with: &[&str]) -> Said {
    let file = edge.desk.file("policy.yaml", POLICY).unwrap();
    let command = ["policy", "publish", &file, "--reason", "again"];
    edge.desk.run(&[&command, with].concat()).unwrap()
}

fn revoke(edge: &Edge, with: &[&str]) -> Said {
    let command = ["revoke", "owner", ALICE, "--reason", "a drill"];
    edge.desk.run(&[&command, with].concat()).unwrap()
}

fn count(view: &FleetView, state: State) -> usize {
    view.envoys.iter().filter(|envoy| envoy.state == state).count()
}

fn all_enforce(view: &FleetView, envoys: usize) -> bool {
    let enforces = |envoy: &Follower| envoy.state == State::Enforcing;
    view.envoys.len() == envoys && view.envoys.iter().all(enforces)
}

fn metrics(edge: &Edge) -> String {
    let mut stream = TcpStream::connect(edge.desk.metrics()).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: metrics\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

const SOON: Duration = Duration::from_secs(20);
/// A poll's wait, the bound after which its Envoy is lost, and as much again.
const MISSED: Duration = Duration::from_secs(30);
const NOT_ENFORCED: i32 = 3;
