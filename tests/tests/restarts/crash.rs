//! A worker's VM ends: the next one has the newest state from shared data, the control plane needed or
//! not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::edge::{ALICE, Edge, WORKERS};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::{bearing, until};

use crate::crashing::{DEADLY, crashing};

#[test]
fn a_vm_that_ends_is_replaced_with_the_newest_state_while_the_control_plane_is_gone() {
    let mut edge = Edge::start().unwrap();
    let dead = edge.reading().unwrap();
    edge.desk.done(&["revoke", "owner", ALICE, "--reason", "before the crash"]).unwrap();
    let good = edge.reading().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("crashing.wasm");
    let shipped = std::fs::read(filter::path().unwrap()).unwrap();
    std::fs::write(&module, crashing(&shipped)).unwrap();
    let gate = Gate::new(&module, &edge.desk.plugin().unwrap()).host_env("GATEPASS_JOIN_TOKEN");
    let deadly = "x".repeat(usize::try_from(DEADLY).unwrap());
    // One configuration, so one VM for both listeners on each worker.
    let bootstrap = Bootstrap::new()
        .listener(Listener::forwarding("in", edge.upstream.address()).gate(gate.clone()))
        .listener(Listener::responding("deadly", 200, &deadly).gate(gate))
        .feed(edge.desk.feed())
        .workers(WORKERS)
        .env("GATEPASS_JOIN_TOKEN", edge.join());
    let envoy = Envoy::launch(&bootstrap).unwrap();
    let asked = || Ok(ask(&envoy, "in", &good));
    until(SOON, asked, |response| response.status == 200).unwrap();
    let (before, mut workers) = each_worker(&envoy);
    edge.desk.kill();

    let crashed = Connection::open(envoy.address("deadly").unwrap())
        .and_then(|mut connection| connection.exchange(&bearing("GET", "/orders", Some(&good))));
    if let Ok(response) = &crashed {
        assert_ne!(response.status, 200, "{}", response.verdict());
    }
    let begun = Instant::now();
    let reloads = "wasm.gatepass.vm_reload_success";
    // What each worker says from here on is right from its first answer on: a VM is never there
    // without the state of the others. While there is none, Envoy itself answers 503.
    let mut renewed = BTreeSet::new();
    while renewed.len() < WORKERS as usize || envoy.stats().unwrap().get(reloads) != Some(&1) {
        for connection in &mut workers {
            let response = connection.exchange(&bearing("GET", "/orders", Some(&good))).unwrap();
            if response.header("x-gatepass-vm").is_none() {
                assert_eq!(response.verdict(), "503", "nothing passes without a VM");
                continue;
            }
            assert_eq!(response.status, 200, "{}", response.verdict());
            renewed.insert(vm(&response));
            let response = connection.exchange(&bearing("GET", "/orders", Some(&dead))).unwrap();
            assert_eq!(response.verdict(), "401 revoked_owner");
        }
        assert!(begun.elapsed() < SOON, "{renewed:?} of {before:?}");
    }
    println!("a VM is replaced {} ms after it ended", begun.elapsed().as_millis());
    let new: Vec<&String> = renewed.difference(&before).collect();
    assert_eq!(new.len(), 1, "{renewed:?} after {before:?}");
}

/// The twin: the same module ends no VM over a body of another size.
#[test]
fn the_same_module_serves_other_bodies() {
    let edge = Edge::start().unwrap();
    let good = edge.reading().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("crashing.wasm");
    let shipped = std::fs::read(filter::path().unwrap()).unwrap();
    std::fs::write(&module, crashing(&shipped)).unwrap();
    let gate = Gate::new(&module, &edge.desk.plugin().unwrap()).host_env("GATEPASS_JOIN_TOKEN");
    let harmless = "x".repeat(usize::try_from(DEADLY - 1).unwrap());
    let bootstrap = Bootstrap::new()
        .listener(Listener::responding("deadly", 200, &harmless).gate(gate))
        .feed(edge.desk.feed())
        .workers(WORKERS)
        .env("GATEPASS_JOIN_TOKEN", edge.join());
    let envoy = Envoy::launch(&bootstrap).unwrap();
    let asked = || Ok(ask(&envoy, "deadly", &good));
    until(SOON, asked, |response| response.status == 200).unwrap();
    assert_eq!(ask(&envoy, "deadly", &good).body.len() as u64, DEADLY - 1);
}

fn ask(envoy: &Envoy, listener: &str, gatepass: &str) -> Response {
    let mut connection = Connection::open(envoy.address(listener).unwrap()).unwrap();
    connection.exchange(&bearing("GET", "/orders", Some(gatepass))).unwrap()
}

/// The VMs of the workers, and one kept-alive connection to each.
fn each_worker(envoy: &Envoy) -> (BTreeSet<String>, Vec<Connection>) {
    let (mut vms, mut connections) = (BTreeSet::new(), Vec::new());
    for _ in 0..200 {
        let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
        let response = connection.exchange(&bearing("GET", "/healthz", None)).unwrap();
        if vms.insert(vm(&response)) {
            connections.push(connection);
        }
        if vms.len() == WORKERS as usize {
            return (vms, connections);
        }
    }
    panic!("{vms:?} are all the workers that were reached");
}

fn vm(response: &Response) -> String {
    response.header("x-gatepass-vm").unwrap().to_owned()
}

const SOON: Duration = Duration::from_secs(20);
