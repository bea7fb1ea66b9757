//! Trailers, where Envoy is told to keep them: they pass the gate after the decision, and some
//! upstreams merge them into the headers.

use std::path::Path;

use gatepass_envoy::{Bootstrap, Envoy, EnvoyBinary, Gate, Listener, Settings};
use gatepass_tests::kit::http2::{Connection, Request};
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::world::{ControlPlane, grant, until};
use gatepass_tests::kit::{filter, wire};

use crate::ask::Ask;

#[test]
fn trailers_do_not_speak_in_the_gates_name() {
    let control = ControlPlane::start("prod").unwrap();
    let upstream = Upstream::start().unwrap();
    let gate = Gate::new(filter::path().unwrap(), &control.plugin().unwrap());
    let yaml = Bootstrap::new()
        .listener(
            Listener::forwarding("in", upstream.address()).gate(gate).without_path_normalization(),
        )
        .feed(control.address())
        .render(Path::new("/dev/null"))
        .unwrap();
    let yaml = keeping_trailers(&yaml);
    let binary = EnvoyBinary::find().unwrap();
    let envoy = Envoy::launch_yaml(&binary, &yaml, &Settings::default()).unwrap();
    let address = envoy.address("in").unwrap();
    let note = control.issue(&grant("orders:note").unwrap()).unwrap();
    let ask = Ask::new("POST", "/orders/7/notes").bearing(&note);
    let plain = ask.http1_bytes();
    let answer = || Ok(wire::Connection::open(address)?.exchange(&plain)?);
    until(std::time::Duration::from_secs(20), answer, |response| response.status == 200).unwrap();
    assert!(!upstream.take().is_empty());

    let trailers = [
        ("x-gatepass-agent", "agent:evil"),
        ("x_gatepass_owner", "user:evil"),
        ("txn-token", "x"),
        ("x_http_method_override", "DELETE"),
        ("x-original-url", "/orders/8"),
        ("x-other", "stays"),
    ];
    let mut chunked = ask.clone().with("transfer-encoding", "chunked").http1_bytes();
    chunked.extend(b"3\r\none\r\n0\r\n");
    for (name, value) in trailers {
        chunked.extend(format!("{name}: {value}\r\n").bytes());
    }
    chunked.extend(b"\r\n");
    let response = wire::Connection::open(address).unwrap().exchange(&chunked).unwrap();
    assert_eq!(response.verdict(), "200");
    let mut framed = ask.http2();
    framed.data.push(b"one".to_vec());
    let fields = trailers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    framed.trailers = Request::of(fields).fields;
    let answer = Connection::open(address).unwrap().exchange(&framed).unwrap();
    assert_eq!(answer.verdict(), "200");
    let received = upstream.take();
    assert_eq!(received.len(), 2);
    for request in received {
        assert_eq!(request.body, b"one");
        assert_eq!(request.trailers.escape_ascii().to_string(), "x-other: stays\\r\\n");
    }
}

/// Envoy drops the trailers of HTTP/1.1 unless both sides are told to keep them.
fn keeping_trailers(yaml: &str) -> String {
    let listener = "          codec_type: AUTO\n";
    let cluster = "  - name: \"upstream_of_in\"\n";
    assert_eq!(yaml.matches(listener).count(), 1);
    assert_eq!(yaml.matches(cluster).count(), 1);
    yaml.replace(
        listener,
        &format!("{listener}          http_protocol_options: {{ enable_trailers: true }}\n"),
    )
    .replace(cluster, &format!("{cluster}{KEPT_UPSTREAM}"))
}

const KEPT_UPSTREAM: &str = "    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http_protocol_options: { enable_trailers: true }
";
