//! A hot restart: a new process takes the listener over while clients ask.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use gatepass::fleet::State;
use gatepass_envoy::{Envoy, EnvoyBinary, HotRestart, Settings};
use gatepass_tests::kit::edge::{ALICE, Edge, WORKERS, ask};
use gatepass_tests::kit::world::until;

use crate::traffic::Traffic;

#[test]
fn a_hot_restart_fails_no_request_and_forgets_no_revocation() {
    let edge = Edge::start().unwrap();
    let dead = edge.reading().unwrap();
    edge.desk.done(&["revoke", "owner", ALICE, "--reason", "before the restart"]).unwrap();
    let good = edge.reading().unwrap();
    let processes = Processes::of(&edge);
    let parent = processes.start(0);
    let asked = || ask(&parent, "/orders", Some(&good));
    until(SOON, asked, |response| response.status == 200).unwrap();
    assert_eq!(ask(&parent, "/orders", Some(&dead)).unwrap().verdict(), "401 revoked_owner");

    // One client's gatepass is good, the other's is dead: the child holds both until it knows.
    let asks = [("/orders", Some(good.clone())), ("/orders?dead", Some(dead.clone()))];
    let traffic = Traffic::start(parent.address("in").unwrap(), &asks);
    let mut child = processes.start(1);
    let before = traffic.answers();
    child
        .until("the end of the parent", SOON, |_| {
            // Ended, and not waited for yet.
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", parent.id()));
            Ok(stat.is_ok_and(|stat| stat.contains(") Z ")).then_some(()))
        })
        .unwrap();
    // The child alone has answered since.
    let asked = || ask(&child, "/orders", Some(&good));
    until(SOON, asked, |response| response.status == 200).unwrap();
    let again = traffic.asked_again();
    let answers = traffic.end();
    println!(
        "hot restart: {before:?} before the parent ended, {answers:?} in all, {again} sent again"
    );
    let verdicts: Vec<&str> = answers.keys().map(String::as_str).collect();
    assert_eq!(verdicts, ["/orders 200", "/orders?dead 401 revoked_owner"], "{answers:?}");
    for (verdict, count) in &answers {
        assert!(count > before.get(verdict).unwrap_or(&0), "{verdict}");
    }

    // Another process is another Envoy; the one that ended is lost, once it is missed.
    let view = edge.until_fleet(MISSED, |view| view.envoys.iter().any(|e| e.state == State::Lost));
    let states: Vec<State> = view.unwrap().envoys.iter().map(|envoy| envoy.state).collect();
    assert_eq!(states, [State::Lost, State::Enforcing]);
    child.kill();
}

/// Processes that follow one another on one port.
struct Processes {
    yaml: String,
    base_id: u32,
    env: Vec<(String, String)>,
}

impl Processes {
    fn of(edge: &Edge) -> Self {
        let bootstrap = edge.bootstrap(&edge.desk.plugin().unwrap()).unwrap();
        let yaml = bootstrap.render(Path::new("/dev/null")).unwrap();
        // The child finds its parent's socket by its address, so it needs a port of its own.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let (admin, rest) = yaml.split_once("static_resources:").unwrap();
        let listener = rest.replacen("port_value: 0", &format!("port_value: {port}"), 1);
        Self {
            yaml: format!("{admin}static_resources:{listener}"),
            base_id: u32::from(port),
            env: vec![("GATEPASS_JOIN_TOKEN".to_owned(), edge.join().to_owned())],
        }
    }

    fn start(&self, epoch: u32) -> Envoy {
        let restart =
            HotRestart { base_id: self.base_id, epoch, drain_seconds: 1, parent_seconds: 3 };
        let settings = Settings {
            workers: WORKERS,
            env: self.env.clone(),
            hot_restart: Some(restart),
            ..Settings::default()
        };
        Envoy::launch_yaml(&EnvoyBinary::find().unwrap(), &self.yaml, &settings).unwrap()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // Envoy keeps it for a successor; there is none.
        let name = format!("/dev/shm/envoy_shared_memory_{}", u64::from(self.base_id) * 10);
        let _ = std::fs::remove_file(name);
    }
}

const SOON: Duration = Duration::from_secs(20);
const MISSED: Duration = Duration::from_secs(30);
