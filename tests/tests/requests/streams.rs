//! Upgrades and tunnels: streams that would outlive their permit. No upstream sees one, whatever
//! the host, because none of these routes means one (tests/tests/gate/streams.rs has those that do), and
//! no route can mean a tunnel; a gate in shadow mode lets through what it would deny.

use gatepass_tests::kit::http2::Request;

use crate::ask::{Ask, Sent};
use crate::gates::{RAW, SHADOW, STREAMS, turn};

const STREAM: &str = "403 stream_not_allowed";

#[test]
fn an_upgrade_reaches_no_upstream() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let orders = "200: GET /orders at orders.example as orders:read";
    for (ask, allowed, without) in [
        (Ask::get("/orders").bearing(&read), orders, STREAM),
        (Ask::get("/healthz").bearing(&read), "200: GET /healthz at orders.example", STREAM),
        (Ask::get("/healthz"), "200: GET /healthz at orders.example", "401 no_credential"),
        (
            Ask::get("/any").at("static.example").bearing(&read),
            "200: GET /any at static.example",
            STREAM,
        ),
        (
            Ask::get("/any").at("static.example"),
            "200: GET /any at static.example",
            "401 no_credential",
        ),
    ] {
        for protocol in ["websocket", "WebSocket"] {
            let upgrade = ask
                .clone()
                .with("connection", "Upgrade")
                .with("upgrade", protocol)
                .with("sec-websocket-version", "13")
                .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
            turn.row(STREAMS, &upgrade.http1(), without);
            turn.row(STREAMS, &ask.http1(), allowed);
            // Without upgrade_configs Envoy refuses by itself.
            turn.row(RAW, &upgrade.http1(), "403");
        }
        // Envoy knows no such upgrade.
        let unknown = ask.clone().with("connection", "Upgrade").with("upgrade", "websocket, h2c");
        turn.row(STREAMS, &unknown.http1(), "403");
        // Envoy takes `h2c` off and lets the request go on as a plain one.
        let clear = ask
            .clone()
            .with("connection", "Upgrade, HTTP2-Settings")
            .with("upgrade", "h2c")
            .with("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA");
        turn.row(STREAMS, &clear.http1(), allowed);
        turn.row(RAW, &clear.http1(), allowed);
    }
    // So it does with half of an upgrade.
    let bare = Ask::get("/orders").bearing(&read).with("upgrade", "websocket");
    turn.row(STREAMS, &bare.http1(), orders);
    let half = Ask::get("/orders").bearing(&read).with("connection", "upgrade");
    turn.row(STREAMS, &half.http1(), orders);
    turn.finish();
}

#[test]
fn http2_has_no_upgrade_header() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let ask = || Ask::get("/orders").bearing(&read);
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("connection", "close"),
        ("keep-alive", "x"),
        ("proxy-connection", "x"),
        ("te", "gzip"),
    ] {
        let request = ask().with(name, value).http2();
        turn.row(STREAMS, &Sent::Http2(request), "gone");
    }
    let twin = ask().with("te", "trailers").http2();
    let allowed = "200: GET /orders at orders.example as orders:read";
    turn.row(STREAMS, &Sent::Http2(twin), allowed);
    turn.finish();
}

#[test]
fn a_tunnel_reaches_no_upstream() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let authorization = format!("Bearer {read}");
    for (authority, gatepass, expected) in [
        ("orders.example:443", true, STREAM),
        ("orders.example:443", false, "401 no_credential"),
        ("static.example:443", true, STREAM),
        ("static.example:443", false, "401 no_credential"),
        ("other.example:443", true, STREAM),
        ("other.example:443", false, "401 no_credential"),
        ("Orders.example:443", true, "400 ambiguous_request"),
    ] {
        let mut one = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n");
        let mut fields: Vec<(&[u8], &[u8])> =
            vec![(b":method", b"CONNECT"), (b":authority", authority.as_bytes())];
        if gatepass {
            one.push_str(&format!("authorization: {authorization}\r\n"));
            fields.push((b"authorization", authorization.as_bytes()));
        }
        one.push_str("\r\n");
        let two = Sent::Http2(Request::of(fields));
        turn.row(STREAMS, &one.clone().into_bytes().into(), expected);
        turn.row(STREAMS, &two, expected);
        // Without upgrade_configs Envoy refuses by itself.
        turn.row(RAW, &one.into_bytes().into(), "403");
        turn.row(RAW, &two, "403");
    }
    turn.finish();
}

#[test]
fn extended_connect_reaches_no_upstream() {
    let mut turn = turn();
    let authorization = format!("Bearer {}", turn.passes.read);
    let credential: (&[u8], &[u8]) = (b"authorization", authorization.as_bytes());
    let ask = |protocol: &'static [u8], authority: &'static [u8], path: &'static [u8]| {
        Request::of([
            (b":method".as_slice(), b"CONNECT".as_slice()),
            (b":protocol", protocol),
            (b":scheme", b"http"),
            (b":authority", authority),
            (b":path", path),
            credential,
        ])
    };
    for (protocol, authority, path, expected) in [
        (b"websocket".as_slice(), b"orders.example".as_slice(), b"/orders".as_slice(), STREAM),
        (b"websocket", b"orders.example", b"/healthz", STREAM),
        (b"websocket", b"static.example", b"/any", STREAM),
        (b"websocket", b"orders.example", b"/orders/../x", "400 ambiguous_request"),
        (b"connect-udp", b"orders.example", b"/orders", "404"),
        (b"", b"orders.example", b"/orders", "gone"),
    ] {
        turn.row(STREAMS, &Sent::Http2(ask(protocol, authority, path)), expected);
    }
    // `:protocol` belongs to CONNECT alone.
    let get = Request::of([
        (b":method".as_slice(), b"GET".as_slice()),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b":authority", b"orders.example"),
        (b":path", b"/orders"),
        credential,
    ]);
    turn.row(STREAMS, &Sent::Http2(get), "gone");
    turn.finish();
}

#[test]
fn a_gate_in_shadow_mode_lets_a_stream_through() {
    let mut turn = turn();
    let upgrade = Ask::get("/orders").with("connection", "Upgrade").with("upgrade", "websocket");
    turn.row(SHADOW, &upgrade.http1(), "200: GET /orders at orders.example +connection +upgrade");
    let tunnel = b"CONNECT orders.example:443 HTTP/1.1\r\nhost: orders.example:443\r\n\r\n";
    let expected = "200: CONNECT orders.example:443 at orders.example:443";
    turn.row(SHADOW, &tunnel.to_vec().into(), expected);
    turn.finish();
}
