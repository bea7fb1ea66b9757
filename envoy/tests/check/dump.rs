//! What a running Envoy says that it runs, read by `check`.

use gatepass_envoy::check::{Defect, check};
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};

use crate::{plugin, probe};

fn launch(change: impl FnOnce(Gate) -> Gate, bare: bool) -> Envoy {
    let folder = tempfile::tempdir().unwrap();
    let wasm = probe::write(folder.path(), true, &[], &[]);
    let gate = change(Gate::new(wasm, &plugin()));
    let gated = Listener::forwarding("in", "127.0.0.1:1").gate(gate);
    let mut bootstrap = Bootstrap::new().listener(gated).feed("127.0.0.1:1");
    if bare {
        bootstrap = bootstrap.listener(Listener::forwarding("past", "127.0.0.1:1"));
    }
    Envoy::launch(&bootstrap).unwrap()
}

#[test]
fn nothing_is_found_in_the_dump_of_a_good_envoy() {
    let envoy = launch(|gate| gate, false);
    let dump = envoy.admin("/config_dump").unwrap();
    let checked = check(&dump).unwrap();
    assert_eq!(checked.findings, []);
    assert_eq!(checked.gates[0].plugin, Some(plugin()));
    assert!(checked.gates[0].place.starts_with("configs["), "{}", checked.gates[0].place);
}

#[test]
fn a_way_past_the_gate_is_found_in_the_dump() {
    let envoy = launch(|gate| gate.vm_id(""), true);
    let checked = check(&envoy.admin("/config_dump").unwrap()).unwrap();
    let found: Vec<_> = checked.findings.iter().map(|finding| finding.defect).collect();
    assert_eq!(found, [Defect::PastGate, Defect::NoVmId]);
    assert_eq!(checked.findings[0].detail, "127.0.0.1:1");
}

#[test]
fn the_doctor_ends_with_1_where_there_is_a_problem() {
    let envoy = launch(|gate| gate, false);
    let admin = envoy.admin_address().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gatepass-envoy"))
        .args(["doctor", "--admin", &admin, "--feed", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("ok       envoy           LIVE\n"), "{said}");
    for line in ["problem  state ", "problem  feed ", "ok       configuration "] {
        assert!(said.contains(line), "{said}");
    }
}
