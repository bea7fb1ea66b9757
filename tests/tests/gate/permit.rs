//! A permit ends.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::world::{ControlPlane, bearing, grant, until};
use gatepass_tests::kit::{filter, orders, wire};

#[test]
fn a_stream_that_outlives_its_routes_longest_duration_is_cut_and_a_short_one_is_not() {
    // Answers the head at once and never the body, as an event stream does.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let upstream = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let head =
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\n";
            let _ = stream.write_all(head);
            kept.push(stream);
        }
    });
    let short = "match: GET /orders\n        action: orders:read\n        max_duration: 1s";
    let policy = orders::POLICY.replace("match: GET /orders\n        action: orders:read", short);
    assert_ne!(policy, orders::POLICY);
    let control = ControlPlane::with_policy("prod", &policy).unwrap();
    let gate = Gate::new(filter::path().unwrap(), &control.plugin().unwrap());
    let bootstrap = Bootstrap::new()
        .listener(Listener::forwarding("in", upstream).gate(gate))
        .feed(control.address())
        .workers(1);
    let envoy = Envoy::launch(&bootstrap).unwrap();
    let connect = || wire::Connection::open(envoy.address("in").unwrap());
    let ready = || Ok(connect()?.exchange(&bearing("GET", "/orders", None))?);
    until(Duration::from_secs(5), ready, |r| r.verdict() == "401 no_credential").unwrap();

    let token = control.issue(&grant("orders:read").unwrap()).unwrap();
    let start = Instant::now();
    let mut long = connect().unwrap();
    let cut = long.exchange(&bearing("GET", "/orders", Some(&token))).unwrap_err();
    let lasted = start.elapsed();
    assert!(matches!(cut, wire::WireError::Closed(_) | wire::WireError::Io(_)), "{cut}");
    assert!(lasted >= Duration::from_millis(900), "cut after {lasted:?}");
    assert!(lasted < Duration::from_secs(10), "cut after {lasted:?}");
    let counted = envoy.until("the count", Duration::from_secs(5), |envoy| {
        Ok((envoy.wasm_stat("gatepass_permits_ended")? == 1).then_some(()))
    });
    counted.unwrap();
    // The twin: the same stream on a route with the default of 60 s is still open after that time.
    let mut other = connect().unwrap();
    other.send(&bearing("GET", "/orders/7", Some(&token))).unwrap();
    assert!(other.is_open_for(Duration::from_millis(1_500)).unwrap());
}
