//! Before anything was heard from a control plane.

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, PluginConfig, Roots};
use gatepass_tests::kit::{filter, upstream::Upstream, wire};

const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

#[test]
fn a_gate_that_never_heard_of_its_control_plane_lets_nothing_through() {
    let upstream = Upstream::start().unwrap();
    let roots = Roots { keys: vec![KEY.into()], threshold: 1 };
    let gate = Gate::new(filter::path().unwrap(), &PluginConfig::new("prod", "prod", roots));
    let bootstrap = Bootstrap::new()
        .listener(Listener::forwarding("in", upstream.address()).gate(gate))
        .feed("127.0.0.1:1");
    let envoy = Envoy::launch(&bootstrap).unwrap();
    let mut connection = wire::Connection::open(envoy.address("in").unwrap()).unwrap();
    let request = wire::request("GET", "orders.example", "/orders", &[]);
    let response = connection.exchange(&request).unwrap();
    assert_eq!(response.verdict(), "503 not_ready");
    assert_eq!(response.header("retry-after"), Some("1"));
    let hostile = b"GET / HTTP/1.1\r\nhost: orders.example\r\nx-a: \xff\xfe\r\n\r\n";
    assert_eq!(connection.exchange(hostile).unwrap().verdict(), "503 not_ready");
    let request = wire::request("GET", "Orders.example", "/orders", &[]);
    assert_eq!(connection.exchange(&request).unwrap().verdict(), "400 ambiguous_request");
    assert_eq!(upstream.take(), vec![]);
}
