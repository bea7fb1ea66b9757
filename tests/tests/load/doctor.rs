//! `doctor` beside a real Envoy: all well, and each ill by one change.

use gatepass_envoy::doctor::{Doctor, Line, Outcome};
use gatepass_envoy::{Envoy, Mode, PluginConfig, Roots};
use gatepass_tests::kit::world::{ControlPlane, World, grant, until};

use crate::operator::SOON;

/// A world whose gate has heard its feed.
fn warm(change: impl FnOnce(&mut PluginConfig)) -> World {
    let control = ControlPlane::start("prod").unwrap();
    let mut plugin = control.plugin().unwrap();
    plugin.expose_position = false;
    change(&mut plugin);
    let world = World::with(control, &plugin, 2).unwrap();
    let reading = world.control.issue(&grant("orders:read").unwrap()).unwrap();
    let ready = || world.ask("GET", "/orders", Some(&reading));
    until(SOON, ready, |response| response.status == 200).unwrap();
    world
        .envoy
        .until("the gauges of the gate", SOON, |envoy| {
            Ok((envoy.wasm_stat("gatepass_position_sequence")? > 0).then_some(()))
        })
        .unwrap();
    world
}

fn doctor(world: &World) -> Doctor {
    let pinned = world.control.plugin().unwrap().roots;
    Doctor {
        admin: world.envoy.admin_address().to_string(),
        feed: format!("http://{}", world.control.address()),
        listener: None,
        upstream: None,
        roots: Some(pinned),
    }
}

/// Every line that is not ok, as `check: outcome`.
fn ills(lines: &[Line]) -> Vec<String> {
    let ill = lines.iter().filter(|line| line.outcome != Outcome::Ok);
    ill.map(|line| {
        assert!(!line.fix.is_empty(), "{line} says nothing to do");
        format!("{}: {:?}", line.check, line.outcome)
    })
    .collect()
}

fn line<'l>(lines: &'l [Line], check: &str) -> &'l Line {
    lines.iter().find(|line| line.check == check).unwrap_or_else(|| panic!("no {check}"))
}

#[test]
fn all_is_well_with_a_gate_that_has_heard_its_feed() {
    let world = warm(|_| {});
    let lines = doctor(&world).examine();
    assert_eq!(ills(&lines), Vec::<String>::new(), "{lines:#?}");
    let checks: Vec<_> = lines.iter().map(|line| line.check).collect();
    assert_eq!(
        checks,
        [
            "envoy",
            "filter",
            "failure_policy",
            "configuration",
            "roots",
            "mode",
            "feed_cluster",
            "state",
            "crashes",
            "refusals",
            "feed",
            "clock"
        ]
    );
}

#[test]
fn a_dead_feed_is_found() {
    let mut world = warm(|_| {});
    world.control.stop();
    let doctor = doctor(&world);
    let found = world.envoy.until("a doctor that finds it", SOON, |_| {
        let ills = ills(&doctor.examine());
        let all = ["feed_cluster: Problem", "feed: Problem"].map(str::to_owned);
        Ok(all.iter().all(|ill| ills.contains(ill)).then_some(ills))
    });
    assert!(!found.unwrap().contains(&"roots: Problem".to_owned()));
}

#[test]
fn other_roots_than_expected_are_found() {
    let world = warm(|_| {});
    let other = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
    let mut doctor = doctor(&world);
    doctor.roots = Some(Roots { keys: vec![other.clone()], threshold: 1 });
    let lines = doctor.examine();
    assert_eq!(ills(&lines), ["roots: Problem"]);
    assert!(line(&lines, "roots").seen.contains(&other));
    // The right key is not enough: fewer signatures would do.
    doctor.roots = world.control.plugin().ok().map(|plugin| Roots { threshold: 2, ..plugin.roots });
    assert_eq!(ills(&doctor.examine()), ["roots: Problem"]);
}

#[test]
fn a_gate_in_shadow_is_found() {
    let world = warm(|plugin| plugin.mode = Mode::Shadow);
    assert_eq!(ills(&doctor(&world).examine()), ["mode: Warning"]);
}

#[test]
fn what_guards_and_what_can_be_reached_past_it_are_told_apart() {
    let world = warm(|_| {});
    let mut doctor = doctor(&world);
    let gated = format!("http://{}/orders", world.envoy.address("in").unwrap());
    let open = format!("http://{}/orders", world.upstream.address());
    doctor.listener = Some(gated);
    doctor.upstream = Some(open.clone());
    let lines = doctor.examine();
    assert_eq!(ills(&lines), ["upstream: Warning"], "{lines:#?}");
    // Asked by its address, which is no host of the policy.
    let seen = &line(&lines, "listener").seen;
    assert!(seen.ends_with("answers 401 no_credential"), "{seen}");
    // The same address as a listener: nobody asks for a gatepass there.
    doctor.listener = Some(open);
    doctor.upstream = Some("http://127.0.0.1:1/".to_owned());
    assert_eq!(ills(&doctor.examine()), ["listener: Problem"]);
}

#[test]
fn an_envoy_without_a_gate_or_none_at_all_is_found() {
    let world = warm(|_| {});
    let bare = gatepass_envoy::Bootstrap::new()
        .listener(gatepass_envoy::Listener::responding("in", 200, ""));
    let bare = Envoy::launch(&bare).unwrap();
    let mut doctor = doctor(&world);
    doctor.admin = bare.admin_address().to_string();
    assert_eq!(ills(&doctor.examine()), ["filter: Problem"]);
    drop(bare);
    assert_eq!(ills(&doctor.examine()), ["envoy: Problem"]);
}
