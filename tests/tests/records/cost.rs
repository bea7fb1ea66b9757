//! What a record costs: Envoy's own CPU for the same requests, with records and without. Printed and not judged:
//! instructions are (`tests/tests/wasm/fuel.rs`).

use gatepass_envoy::{Envoy, Records};
use gatepass_tests::kit::edge::Edge;
use gatepass_tests::kit::wire::{Connection, request};

use super::{HOST, SOON, ask, policy, until};

const ROUNDS: usize = 60;
const REQUESTS: usize = 1_000;
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
    for round in 0..ROUNDS {
        // In turn, since the machine is not the same from one second to the next.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for at in order {
            let before = cpu(&both[at]);
            run(&both[at], &token);
            costs[at].push((cpu(&both[at]) - before) / REQUESTS as f64);
        }
        drop(edge.upstream.take());
    }
    let differences =
        costs[0].iter().zip(&costs[1]).map(|(without, with)| with - without).collect();
    let [without, with] = costs.map(quartiles);
    println!(
        "us of CPU for a request, quartiles: {without:.1?} without a record, {with:.1?} with one"
    );
    println!("difference of two in turn, quartiles: {:.2?}", quartiles(differences));
}

fn quartiles(mut of: Vec<f64>) -> [f64; 3] {
    of.sort_by(f64::total_cmp);
    [ROUNDS / 4, ROUNDS / 2, ROUNDS * 3 / 4].map(|at| of[at])
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

/// Microseconds that the process has taken: its threads are those of one worker and of the main thread's VM.
fn cpu(envoy: &Envoy) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", envoy.id())).unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1_000.0
    };
    tasks.map(of).sum()
}
