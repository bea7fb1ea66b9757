//! gRPC by its own library at both ends: a client that writes many messages on one long stream.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use gatepass_engine::revocation::Kind;
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::orders::{HOST, POLICY};
use gatepass_tests::kit::world::{ControlPlane, bearing, grant, until};
use gatepass_tests::kit::{filter, wire};

#[test]
fn a_revocation_ends_a_stream_of_requests_and_its_twin_goes_on() {
    let policy = POLICY.replace("match: POST /orders/{id}/notes", &format!("match: POST {METHOD}"));
    assert_ne!(policy, POLICY);
    let control = ControlPlane::with_policy("prod", &policy).unwrap();
    let mut server = Peer::start(&["serve"]);
    let port = server.says("listens ");
    let upstream = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let gate = Gate::new(filter::path().unwrap(), &control.plugin().unwrap());
    let bootstrap = Bootstrap::new()
        .listener(Listener::forwarding_http2("in", upstream).gate(gate))
        .feed(control.address())
        .workers(2);
    let envoy = Envoy::launch(&bootstrap).unwrap();
    let address = envoy.address("in").unwrap();
    let ready = || Ok(wire::Connection::open(address)?.exchange(&bearing("GET", "/orders", None))?);
    until(SOON, ready, |answer| answer.verdict() == "401 no_credential").unwrap();

    let upload = |task: &str, action: &str| {
        let mut grant = grant(action).unwrap();
        grant.task = task.to_owned();
        let token = control.issue(&grant).unwrap();
        Peer::start(&["upload", &address.to_string(), HOST, METHOD, &token])
    };
    let mut dead = upload("dead", "orders:note");
    server.says("began dead");
    let mut alive = upload("alive", "orders:note");
    server.says("began alive");
    // What a gatepass for something else begins never arrives.
    assert_eq!(upload("other", "orders:read").says("ended "), "permission_denied");

    let revoked = Instant::now();
    control.revoke(Kind::Task, "dead").unwrap();
    let heard = server.says("broke dead ");
    let broke = revoked.elapsed().as_millis();
    // Envoy's reset, after which the server knows nothing that it could have said.
    let ended = dead.says("ended ");
    println!(
        "broke {broke} ms after the revocation, {heard} messages in; the client was told `{ended}`"
    );
    envoy
        .until("the count", SOON, |envoy| {
            Ok((envoy.wasm_stat("gatepass_permit_ends.revoked_task")? == 1).then_some(()))
        })
        .unwrap();

    alive.end();
    let whole: u64 = server.says("whole alive ").parse().unwrap();
    assert_eq!(alive.says("whole ").parse::<u64>().unwrap(), whole);
    assert!(whole > 1, "one message is no stream");
    assert_eq!(envoy.wasm_stat("gatepass_permits_ended").unwrap(), 1);
    assert_eq!(server.passed, Vec::<String>::new(), "nobody else's began or broke");
}

/// One run of `tests/peers/grpc_streams.py`, killed when it is dropped.
struct Peer {
    child: Child,
    lines: Receiver<String>,
    /// Lines that nobody waited for.
    passed: Vec<String>,
}

impl Peer {
    fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/grpc_streams.py");
        let mut child = Command::new(interpreter())
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, passed: Vec::new() }
    }

    /// The rest of its next line that begins like this.
    fn says(&mut self, begins: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON);
            assert!(line.is_ok(), "no `{begins}`: {:?}", self.passed);
            let line = line.unwrap();
            match line.strip_prefix(begins) {
                Some(rest) => return rest.to_owned(),
                None => self.passed.push(line),
            }
        }
    }

    /// Has it end its stream.
    fn end(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing is skipped where it is missing: the library is the point of the test.
fn interpreter() -> PathBuf {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/python");
    let found = std::env::var_os("GATEPASS_PYTHON").map_or(made, PathBuf::from);
    assert!(found.exists(), "no Python with grpcio at `{}`: run `make tools`", found.display());
    found
}

const METHOD: &str = "/orders.Notes/Write";
/// How long anything may take.
const SOON: Duration = Duration::from_secs(20);
