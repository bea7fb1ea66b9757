//! What a record costs: Envoy's own CPU for the same requests, with records and without. Printed and not judged:
//! instructions are (`tests/tests/wasm/fuel.rs`).

use gatepass_envoy::{Envoy, Records};
use gatepass_tests::kit::edge::Edge;
use gatepass_tests::kit::wire::{Connection, request};

use super::{HOST, SOON, ask, policy, until};

const ROUNDS: usize = 7;
const REQUESTS: usize = 20_000;
const AT_ONCE: usize = 20;

#[test]
fn what_a_record_costs_is_printed() {
    let edge = Edge::start().unwrap();
    policy(&edge);
    let with = |enabled: bool| {
        let mut plugin = edge.desk.plugin().unwrap();
        plugin.records = Some(Records { enabled, low_allows_per_mille: 1_000 });
        edge.envoy_with(&plugin).unwrap()
    };
    let both = [with(false), with(true)];
    let token = edge.reading().unwrap();
    for envoy in &both {
        until(SOON, || ask(envoy, "/orders", Some(&token)), |answer| answer.status == 200).unwrap();
    }
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (envoy, costs) in both.iter().zip(&mut costs) {
            let before = cpu(envoy);
            run(envoy, &token);
            costs.push((cpu(envoy) - before) / REQUESTS as f64);
        }
        drop(edge.upstream.take());
    }
    let [without, with] = costs.map(|mut costs| {
        costs.sort_by(f64::total_cmp);
        println!("{costs:.1?}");
        costs[ROUNDS / 2]
    });
    println!("{without:.2} us without a record, {with:.2} us with one: {:+.2} us", with - without);
}

fn run(envoy: &Envoy, token: &str) {
    let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
    let one = request("GET", HOST, "/orders", &[("authorization", &format!("Bearer {token}"))]);
    for _ in 0..REQUESTS / AT_ONCE {
        connection.send(&one.repeat(AT_ONCE)).unwrap();
        for _ in 0..AT_ONCE {
            assert_eq!(connection.receive().unwrap().status, 200);
        }
    }
}

/// Microseconds that the process has taken, in user mode and in the kernel.
fn cpu(envoy: &Envoy) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", envoy.id())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap() * 10_000.0).sum()
}
