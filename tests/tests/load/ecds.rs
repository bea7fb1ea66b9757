//! The filter by extension discovery with its module from a URL, as Istio brings a plugin to Envoy.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use gatepass_engine::revocation::Kind;
use gatepass_envoy::check::check;
use gatepass_envoy::{Code, Envoy, EnvoyBinary, Manifest, Platform, PluginConfig, Settings};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::lasting::Lasting;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::{ControlPlane, bearing, grant, until};
use sha2::{Digest as _, Sha256};

use crate::operator::{SOON, THEIRS, ask, decides};

/// An Envoy that discovers its gate, and what is around it.
struct Discovered {
    control: ControlPlane,
    envoy: Envoy,
    manifest: Manifest,
    folder: tempfile::TempDir,
}

impl Discovered {
    /// `sha256`: what the module must have, by its true one.
    fn launch(upstream: SocketAddr, sha256: impl FnOnce(String) -> String) -> Self {
        let control = ControlPlane::start("prod").unwrap();
        let module = std::fs::read(filter::path().unwrap()).unwrap();
        let digest: String = Sha256::digest(&module).iter().map(|b| format!("{b:02x}")).collect();
        let code = Code::Remote {
            url: format!("http://{}/gatepass_filter.wasm", host(module)),
            sha256: sha256(digest),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut plugin = control.plugin().unwrap();
        // As an operator has it.
        plugin.expose_position = false;
        let mut manifest = Manifest::new(plugin, &control.address().to_string(), code);
        manifest.ecds_path = folder.path().join("gatepass.ecds.yaml");
        std::fs::write(&manifest.ecds_path, manifest.ecds_file().unwrap()).unwrap();

        let theirs = THEIRS
            .replace("# PATHS\n", &pasted(10, &manifest.path_settings().unwrap()))
            .replace("# FILTER\n", &pasted(10, &manifest.http_filter(Platform::Ecds).unwrap()))
            .replace("# CLUSTERS\n", &pasted(2, &manifest.clusters().unwrap()))
            .replace("THEIR_PORT", &upstream.port().to_string());
        let binary = EnvoyBinary::find().unwrap();
        let envoy = Envoy::launch_yaml(&binary, &theirs, &Settings::default()).unwrap();
        Self { control, envoy, manifest, folder }
    }

    /// Gives the gate another configuration, as whoever serves the discovery does.
    fn configure(&mut self, change: impl FnOnce(&mut PluginConfig)) {
        change(&mut self.manifest.plugin);
        let next = self.folder.path().join("next");
        std::fs::write(&next, self.manifest.ecds_file().unwrap()).unwrap();
        std::fs::rename(next, &self.manifest.ecds_path).unwrap();
    }
}

#[test]
fn a_discovered_gate_with_a_fetched_module_decides() {
    let upstream = Upstream::start().unwrap();
    let it = Discovered::launch(upstream.address(), |digest| digest);
    decides(&it.envoy, &it.control);

    let forwarded = upstream.take();
    assert!(forwarded.iter().all(|request| request.header("x-gatepass-action") == ["orders:read"]));
    let checked = check(&it.envoy.admin("/config_dump").unwrap()).unwrap();
    assert_eq!(checked.findings, [], "the dump shows what was discovered");
    assert_eq!(checked.gates.len(), 1);
    assert!(checked.gates[0].plugin.is_some());
}

/// The twin: nothing is different but the digest that the module must have.
#[test]
fn a_module_with_another_digest_lets_nothing_through() {
    let upstream = Upstream::start().unwrap();
    let it = Discovered::launch(upstream.address(), |_| "0".repeat(64));
    let reading = it.control.issue(&grant("orders:read").unwrap()).unwrap();
    let failed = "wasm.remote_load_fetch_failures";
    it.envoy
        .until("a refused module", SOON, |envoy| {
            Ok(envoy.stats()?.get(failed).copied().filter(|count| *count > 0))
        })
        .unwrap();
    for gatepass in [None, Some(reading.as_str())] {
        let answer = ask(&it.envoy, gatepass);
        assert_eq!(answer.status, 503, "{}", answer.verdict());
    }
    assert_eq!(upstream.take(), []);
}

/// What was opened under the configuration before is watched until it ends.
#[test]
fn a_stream_that_is_older_than_the_gates_configuration_ends_all_the_same() {
    let upstream = Lasting::start().unwrap();
    let mut it = Discovered::launch(upstream.address(), |digest| digest);
    until(SOON, || Ok(ask(&it.envoy, None)), |answer| answer.verdict() == "401 no_credential")
        .unwrap();
    let mut streams = ["dead", "alive"].map(|task| {
        let mut grant = grant("orders:read").unwrap();
        task.clone_into(&mut grant.task);
        let token = it.control.issue(&grant).unwrap();
        let mut connection = Connection::open(it.envoy.address("shop").unwrap()).unwrap();
        connection.send(&bearing("GET", "/orders", Some(&token))).unwrap();
        assert_eq!(connection.receive_head().unwrap().status, 200);
        connection
    });
    it.configure(|plugin| plugin.expose_position = true);
    let exposed = |answer: &Response| answer.header("x-gatepass-vm").is_some();
    until(SOON, || Ok(ask(&it.envoy, None)), exposed).unwrap();
    it.control.revoke(Kind::Task, "dead").unwrap();
    assert!(upstream.broke("dead"));
    assert!(!streams[0].is_open_for(SOON).unwrap());
    assert!(streams[1].is_open_for(Duration::from_millis(100)).unwrap());
}

/// Serves these bytes to whoever asks, until the process ends.
fn host(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head: Vec<u8> = Vec::new();
            let mut chunk = [0; 1024];
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(count) if count > 0 => head.extend(&chunk[..count]),
                    Ok(_) | Err(_) => break,
                }
            }
            let length = bytes.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            // The peer may have gone; it then asks again or not.
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&bytes));
        }
    });
    address
}

fn pasted(indent: usize, block: &str) -> String {
    let margin = " ".repeat(indent);
    block.lines().map(|line| format!("{margin}{line}\n")).collect()
}
