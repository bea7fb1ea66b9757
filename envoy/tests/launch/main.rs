//! The launcher and the rendered configurations against a real Envoy.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod probe;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gatepass_envoy::{
    Bootstrap, Envoy, EnvoyBinary, EnvoyError, Gate, LaunchError, Listener, Mode, OperatorConfig,
    PluginConfig, Roots, Settings,
};

const SOON: Duration = Duration::from_secs(10);
const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// A port of the loopback where nobody listens: no system hands it out.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn an_envoy_serves_on_ports_that_the_system_chose() {
    let bootstrap = Bootstrap::new()
        .listener(Listener::responding("one", 200, "from one"))
        .listener(Listener::responding("two", 418, "from two"));
    let envoy = Envoy::launch(&bootstrap).unwrap();

    assert_eq!(request(address(&envoy, "one"), "GET / HTTP/1.1"), (200, "from one".to_owned()));
    assert_eq!(request(address(&envoy, "two"), "GET / HTTP/1.1"), (418, "from two".to_owned()));
    assert_eq!(envoy.stats().unwrap()["server.concurrency"], 2);
    assert!(envoy.log().contains("starting main dispatch loop"), "{}", envoy.log());
    let error = envoy.port("three").unwrap_err().to_string();
    assert_eq!(error, "no listener is named `three`: there are [\"one\", \"two\"]");
}

#[test]
fn a_dropped_envoy_is_gone() {
    let bootstrap = Bootstrap::new().listener(Listener::responding("in", 200, ""));
    let envoy = Envoy::launch(&bootstrap).unwrap();
    let (admin, listener) = (envoy.admin_address(), address(&envoy, "in"));
    assert!(TcpStream::connect(admin).is_ok());
    drop(envoy);
    assert!(TcpStream::connect(admin).is_err());
    assert!(TcpStream::connect(listener).is_err());
}

#[test]
fn a_configuration_that_envoy_refuses_gives_envoys_own_reason() {
    let binary = EnvoyBinary::find().unwrap();
    let yaml = "admin: { no_such_field: 1 }";
    for result in
        [Envoy::launch_yaml(&binary, yaml, &Settings::default()).map(|_| ()), binary.validate(yaml)]
    {
        let error = result.unwrap_err();
        assert!(matches!(error, LaunchError::Ended { .. }), "{error}");
        assert!(error.to_string().contains("no_such_field"), "{error}");
    }
}

#[test]
fn a_missing_filter_gives_envoys_own_reason() {
    let error = Envoy::launch(&gated(Gate::raw("/no/such/filter.wasm", "vm", ""))).unwrap_err();
    assert!(error.to_string().contains("/no/such/filter.wasm"), "{error}");
}

#[test]
fn a_filter_that_refuses_its_configuration_keeps_envoy_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let error = Envoy::launch(&gated(Gate::raw(
        probe::write(folder.path(), false, &[], &[]),
        "vm",
        serde_json::json!({ "environment": 7 }),
    )))
    .unwrap_err();
    assert!(matches!(error, LaunchError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("Unable to create Wasm"), "{error}");
}

#[test]
fn an_envoy_that_does_not_become_ready_is_given_up() {
    // Envoy waits for the endpoints of this cluster before it serves.
    let yaml = r#"
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
node: { id: theirs, cluster: theirs }
static_resources:
  clusters:
  - name: nobody
    load_assignment:
      cluster_name: nobody
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 1 } } }
  - name: waits
    type: EDS
    eds_cluster_config:
      eds_config:
        resource_api_version: V3
        initial_fetch_timeout: 0s
        api_config_source:
          api_type: REST
          transport_api_version: V3
          cluster_names: [nobody]
          refresh_delay: 1s
"#;
    let settings = Settings { ready_within: Duration::from_secs(1), ..Settings::default() };
    let error = Envoy::launch_yaml(&EnvoyBinary::find().unwrap(), yaml, &settings).unwrap_err();
    assert!(matches!(error, LaunchError::NotReady { .. }), "{error}");
}

#[test]
fn an_ambiguous_path_reaches_the_gate_only_without_normalization() {
    let open = || Listener::responding("in", 200, "");
    for (listener, slashes, underscore) in
        [(open(), 400, 400), (open().without_path_normalization(), 200, 200)]
    {
        let envoy = Envoy::launch(&Bootstrap::new().listener(listener)).unwrap();
        let at = address(&envoy, "in");
        assert_eq!(request(at, "GET /a%2fb HTTP/1.1").0, slashes);
        assert_eq!(request(at, "GET /a HTTP/1.1\r\nx_gatepass_agent: a").0, underscore);
        assert_eq!(request(at, "GET /a/b HTTP/1.1").0, 200);
    }
}

#[test]
fn an_upgrade_passes_only_when_envoy_lets_it() {
    let upgrade = "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket";
    let forwarding = || Listener::forwarding("in", NOBODY);
    let responding = || Listener::responding("in", 418, "");
    for (listener, expected) in [
        (forwarding(), 403),
        (forwarding().with_upgrades(), 503),
        (responding(), 403),
        (responding().with_upgrades(), 418),
    ] {
        let envoy = Envoy::launch(&Bootstrap::new().listener(listener)).unwrap();
        assert_eq!(request(address(&envoy, "in"), upgrade).0, expected);
        assert_eq!(request(address(&envoy, "in"), "CONNECT a:1 HTTP/1.1").0, expected);
    }
}

#[test]
fn the_access_log_has_the_decision_and_no_query() {
    let folder = tempfile::tempdir().unwrap();
    let states = [
        ("gatepass", "decision=deny code=no_credential action=orders:create id=d1"),
        ("gatepass_code", "no_credential"),
    ];
    let wasm = probe::write(folder.path(), true, &[], &states);
    let envoy = Envoy::launch(&gated(Gate::new(wasm, &plugin()))).unwrap();
    assert_eq!(request(address(&envoy, "in"), "GET /orders?token=secret HTTP/1.1").0, 200);

    let line = envoy.until("a line in the access log", SOON, |envoy| Ok(envoy.access_log()?.pop()));
    let mut line = line.unwrap();
    let volatile = line.as_object_mut().unwrap();
    assert!(volatile.remove("time").unwrap().is_string());
    assert!(volatile.remove("duration_ms").unwrap().is_u64());
    let expected = serde_json::json!({
        "listener": "in", "method": "GET", "authority": "test.example", "path": "/orders",
        "status": 200, "details": "direct_response", "code": "no_credential",
        "gatepass": "decision=deny code=no_credential action=orders:create id=d1",
    });
    assert_eq!(line, expected);
}

#[test]
fn outcome_code_and_action_are_prometheus_labels() {
    let folder = tempfile::tempdir().unwrap();
    let counters = [
        "gatepass_decisions_by_code.deny.no_credential",
        "gatepass_decisions_by_code.allow.decided",
        "gatepass_decisions_by_action.allow.orders:create_all:v-2",
        "gatepass_shared_state_forged",
    ];
    let wasm = probe::write(folder.path(), true, &counters, &[]);
    let envoy = Envoy::launch(&gated(Gate::new(wasm, &plugin()))).unwrap();

    for counter in counters {
        assert!(envoy.wasm_stat(counter).unwrap() > 0, "{counter}: {:?}", envoy.stats());
    }
    let metrics = envoy.admin("/stats/prometheus").unwrap();
    for expected in [
        r#"gatepass_decisions_by_code{gatepass_outcome="deny",gatepass_code="no_credential"} "#,
        r#"gatepass_decisions_by_code{gatepass_outcome="allow",gatepass_code="decided"} "#,
        r#"gatepass_decisions_by_action{gatepass_outcome="allow",gatepass_action="orders:create_all:v-2"} "#,
        "gatepass_shared_state_forged{} ",
    ] {
        let ours: Vec<_> = metrics.lines().filter(|line| line.contains("gatepass_")).collect();
        assert!(metrics.contains(expected), "`{expected}` is missing from {ours:#?}");
    }
}

#[test]
fn a_full_bootstrap_is_accepted_by_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = probe::write(folder.path(), true, &[], &[]);
    let gate = || Gate::new(&wasm, &plugin()).host_env("GATEPASS_JOIN_TOKEN");
    let hostile = Gate::raw(&wasm, &plugin().vm_id(), "no JSON \u{2028}\n").named("hostile");
    let bootstrap = Bootstrap::new()
        .workers(4)
        .node("edge-1")
        .env("GATEPASS_JOIN_TOKEN", "t")
        .listener(Listener::forwarding("prod", "localhost:8080").gate(gate()).gate(hostile))
        .listener(
            Listener::forwarding("dev", "[::1]:8081").gate(gate().vm_id("dev")).with_upgrades(),
        )
        .listener(Listener::responding("open", 204, "").without_path_normalization())
        .feed(NOBODY)
        .feed_named("other", NOBODY);
    EnvoyBinary::find()
        .unwrap()
        .validate(&bootstrap.render("/dev/null".as_ref()).unwrap())
        .unwrap();
    let envoy = Envoy::launch(&bootstrap).unwrap();
    assert_eq!(envoy.stats().unwrap()["server.concurrency"], 4);
}

#[test]
fn the_printed_configuration_works_in_a_foreign_bootstrap() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = probe::write(folder.path(), true, &["gatepass_configured"], &[]);
    let printed =
        OperatorConfig { plugin: plugin(), feed: NOBODY.to_owned(), wasm, host_env: Vec::new() };
    let foreign = include_str!("foreign.yaml")
        .replace("# PASTE path settings\n", &pasted(10, &printed.path_settings().unwrap()))
        .replace("# PASTE http filter\n", &pasted(10, &printed.http_filter().unwrap()))
        .replace("# PASTE cluster\n", &pasted(2, &printed.cluster().unwrap()))
        .replace("# PASTE stats\n", &pasted(0, &printed.stats_tags().unwrap()));
    assert!(!foreign.contains("PASTE"), "{foreign}");

    let binary = EnvoyBinary::find().unwrap();
    let envoy = Envoy::launch_yaml(&binary, &foreign, &Settings::default()).unwrap();
    assert!(envoy.wasm_stat("gatepass_configured").unwrap() > 0);
    let at = address(&envoy, "theirs");
    assert_eq!(request(at, "GET /a HTTP/1.1"), (200, "theirs".to_owned()));
    assert_eq!(request(at, "GET /a%2fb HTTP/1.1").0, 400);
    assert!(
        envoy.stats().unwrap().contains_key("cluster.gatepass_control_plane.upstream_cx_total")
    );
}

#[test]
fn the_printed_configuration_is_the_golden_file() {
    let arguments = [
        "config",
        "--environment",
        "prod",
        "--feed-audience",
        "prod",
        "--root-key",
        KEY,
        "--threshold",
        "1",
        "--feed",
        "gatepass.internal:8443",
        "--wasm",
        "/etc/gatepass/filter.wasm",
        "--host-env",
        "GATEPASS_JOIN_TOKEN",
        "--shadow",
    ];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gatepass-envoy"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed == include_str!("config.golden.yaml"),
        "the printed configuration is no longer envoy/tests/launch/config.golden.yaml. If the \
         change is meant, update it with\n  cargo run -q -p gatepass-envoy -- {} > \
         envoy/tests/launch/config.golden.yaml\nIt is now:\n{printed}",
        arguments.join(" ")
    );
}

#[test]
fn a_threshold_that_cannot_be_met_is_not_printed() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gatepass-envoy"))
        .args(["config", "--environment", "prod", "--feed-audience", "prod", "--root-key", KEY])
        .args(["--threshold", "2", "--feed", NOBODY, "--wasm", "filter.wasm"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("threshold 2 cannot be met by 1"), "{error}");
}

#[test]
fn the_path_printed_is_the_envoy_that_is_run() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gatepass-envoy"))
        .arg("path")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.trim_end(), EnvoyBinary::find().unwrap().path().to_str().unwrap());
}

#[test]
fn envoy_is_run_with_the_arguments_given() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gatepass-envoy"))
        .args(["run", "--version"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("version:"), "{printed}");
}

#[test]
fn waiting_ends_at_the_deadline() {
    let envoy = Envoy::launch(&Bootstrap::new()).unwrap();
    let waited = envoy.until("a miracle", Duration::from_millis(20), |_| Ok(None::<()>));
    assert!(matches!(waited, Err(EnvoyError::Deadline { .. })));
}

fn plugin() -> PluginConfig {
    let roots = Roots { keys: vec![KEY.to_owned()], threshold: 1 };
    PluginConfig { mode: Mode::Enforce, ..PluginConfig::new("prod", "prod", roots) }
}

fn gated(gate: Gate) -> Bootstrap {
    Bootstrap::new().listener(Listener::responding("in", 200, "").gate(gate)).feed(NOBODY)
}

fn address(envoy: &Envoy, listener: &str) -> SocketAddr {
    envoy.address(listener).unwrap()
}

/// Sends a request line (and headers after it) on a connection of its own; gives the status and
/// body of the answer.
fn request(at: SocketAddr, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let close = if head.contains("connection:") { "" } else { "connection: close\r\n" };
    write!(stream, "{head}\r\nhost: test.example\r\n{close}\r\n").unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    // A refused upgrade keeps the connection: the head of the answer is enough.
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") || !close.is_empty() {
        match stream.read(&mut chunk).unwrap() {
            0 => break,
            length => answer.extend(&chunk[..length]),
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn pasted(indent: usize, block: &str) -> String {
    let margin = " ".repeat(indent);
    block.lines().map(|line| format!("{margin}{line}\n")).collect()
}
