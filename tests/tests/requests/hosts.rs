//! One host per request, in one spelling, and the one that the upstream sees.

use gatepass_tests::kit::http2::Request;

use crate::ask::{Ask, Sent};
use crate::gates::{RAW, SHIPPED, turn};

/// Name and value.
type Field<'f> = (&'f [u8], &'f [u8]);

const AMBIGUOUS: &str = "400 ambiguous_request";
const REFUSED: &str = "400 | gone";
/// Envoy refuses over HTTP/2 alone.
const GONE: &str = "400 ambiguous_request | gone";
const NO_ROUTE: &str = "403 no_route";
const ORDERS: &str = "200: GET /orders at orders.example as orders:read";

/// The host as `Host` and as `:authority`, and what the gate says.
const HOSTS: &[(&[u8], &str)] = &[
    (b"Orders.example", AMBIGUOUS),
    (b"ORDERS.EXAMPLE", AMBIGUOUS),
    (b"orders.example.", AMBIGUOUS),
    (b"orders.example.:80", AMBIGUOUS),
    (b"orders..example", AMBIGUOUS),
    (b".orders.example", AMBIGUOUS),
    (b"orders.example:", AMBIGUOUS),
    (b"orders.example:0", AMBIGUOUS),
    (b"orders.example:080", AMBIGUOUS),
    (b"orders.example:99999", AMBIGUOUS),
    (b"orders.example:80:80", AMBIGUOUS),
    (b"orders.example:80,static.example", AMBIGUOUS),
    (b"orders.example, static.example", REFUSED),
    (b"orders.example, static.example", REFUSED),
    (b"orders.example,orders.example", AMBIGUOUS),
    (b"orders.example static.example", REFUSED),
    (b"user@orders.example", GONE),
    (b"static.example@orders.example", GONE),
    (b"orders.example@static.example", GONE),
    (b"user:pass@orders.example", GONE),
    (b"static.example:80@orders.example", GONE),
    (b"orders.example/orders", REFUSED),
    (b"static.example/../orders.example", REFUSED),
    (b"static.example#orders.example", REFUSED),
    (b"static.example?orders.example", REFUSED),
    (b"static.example\\orders.example", REFUSED),
    (b"http://orders.example", REFUSED),
    (b"orders%2Eexample", AMBIGUOUS),
    (b"orders.example%00.static.example", AMBIGUOUS),
    (b"orders.example\x00", REFUSED),
    (b"orders.example\xff", REFUSED),
    (b"\xef\xbd\x8frders.example", REFUSED),
    (b"*", AMBIGUOUS),
    (b"", GONE),
    (b"[::ffff:127.0.0.1]", NO_ROUTE),
    (b"[::1", AMBIGUOUS),
    (b"orders.example\r\nhost: static.example", GONE),
    (b"other.example", NO_ROUTE),
    (b"orders", NO_ROUTE),
    (b"[::1]", NO_ROUTE),
    (b"127.0.0.1", NO_ROUTE),
];

#[test]
fn a_host_in_a_second_spelling_is_denied() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let twin = Ask::get("/orders").bearing(&read);
    for (host, expected) in HOSTS {
        let hostile = Ask::get("/orders").at(host).bearing(&read);
        for listener in [RAW, SHIPPED] {
            turn.pair(listener, &hostile, expected, &twin, ORDERS);
        }
    }
    turn.finish();
}

#[test]
fn a_port_is_no_part_of_the_host_and_arrives_as_it_came() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let ask = Ask::get("/orders").at("orders.example:8443").bearing(&read);
    for sent in ask.both() {
        let expected = "200: GET /orders at orders.example:8443 as orders:read";
        turn.row(RAW, &sent, expected);
        turn.row(SHIPPED, &sent, expected);
    }
    turn.finish();
}

#[test]
fn the_target_and_every_host_header_are_one_host() {
    let mut turn = turn();
    let authorization = format!("authorization: Bearer {}\r\n", turn.passes.read);
    for (head, expected) in [
        ("GET /orders HTTP/1.1\r\nhost: orders.example\r\n", ORDERS),
        ("GET /orders HTTP/1.1\r\nHOST: orders.example\r\n", ORDERS),
        ("GET /orders HTTP/1.1\r\nhost:orders.example \t\r\n", ORDERS),
        ("GET /orders HTTP/1.1\r\nhost: orders.example\r\nhost: static.example\r\n", AMBIGUOUS),
        ("GET /orders HTTP/1.1\r\nhost: static.example\r\nhost: orders.example\r\n", AMBIGUOUS),
        ("GET /orders HTTP/1.1\r\nhost: orders.example\r\nhost: orders.example\r\n", AMBIGUOUS),
        // Envoy joins two values with a comma, and drops the empty one.
        ("GET /orders HTTP/1.1\r\nhost: orders.example\r\nhost:\r\n", ORDERS),
        ("GET /orders HTTP/1.1\r\nhost:\r\nhost: orders.example\r\n", ORDERS),
        ("GET /orders HTTP/1.1\r\nhost: static.example\r\nhost : orders.example\r\n", "400"),
        ("GET /orders HTTP/1.1\r\nhost: static.example,\r\n orders.example\r\n", "400"),
        ("GET /orders HTTP/1.1\r\n host: orders.example\r\n", "400"),
        ("GET /orders HTTP/1.1\r\n", "400"),
        ("GET /orders HTTP/1.0\r\n", "426"),
        // An absolute target overrides `Host`: it is decided on, and it is what is sent on.
        ("GET http://orders.example/orders HTTP/1.1\r\nhost: orders.example\r\n", ORDERS),
        ("GET http://orders.example/orders HTTP/1.1\r\nhost: static.example\r\n", ORDERS),
        ("GET http://other.example/orders HTTP/1.1\r\nhost: orders.example\r\n", NO_ROUTE),
        (
            "GET http://static.example/orders HTTP/1.1\r\nhost: orders.example\r\n",
            "200: GET /orders at static.example",
        ),
        ("GET http://orders.example/orders HTTP/1.1\r\nhost: a\r\nhost: b\r\n", ORDERS),
        ("GET HTTP://ORDERS.example/orders HTTP/1.1\r\nhost: orders.example\r\n", AMBIGUOUS),
        // Envoy drops the user of an absolute target.
        (
            "GET http://static.example@orders.example/orders HTTP/1.1\r\nhost: orders.example\r\n",
            ORDERS,
        ),
        ("GET http://orders.example HTTP/1.1\r\nhost: orders.example\r\n", NO_ROUTE),
        ("GET http:///orders HTTP/1.1\r\nhost: orders.example\r\n", "400"),
        ("GET ftp://orders.example/orders HTTP/1.1\r\nhost: orders.example\r\n", "400"),
        ("GET http://orders.example//orders HTTP/1.1\r\nhost: orders.example\r\n", AMBIGUOUS),
        ("GET http://orders.example?/orders HTTP/1.1\r\nhost: orders.example\r\n", "404"),
    ] {
        let bytes = format!("{head}{authorization}\r\n").into_bytes();
        turn.row(RAW, &Sent::Http1(bytes), expected);
    }
    turn.finish();
}

#[test]
fn http2_pseudo_headers_occur_once_and_agree_with_the_host_header() {
    let mut turn = turn();
    let authorization = format!("Bearer {}", turn.passes.read);
    let base: [Field<'_>; 3] =
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/orders")];
    let authority: Field<'_> = (b":authority", b"orders.example");
    let other: Field<'_> = (b":authority", b"static.example");
    let host: Field<'_> = (b"host", b"orders.example");
    let other_host: Field<'_> = (b"host", b"static.example");
    let [method, scheme, path] = base;
    let cases: &[(&[Field<'_>], &str)] = &[
        (&[method, scheme, path, authority], ORDERS),
        (&[path, authority, scheme, method], ORDERS),
        (&[method, scheme, path, host], ORDERS),
        (&[method, scheme, path, authority, host], ORDERS),
        (&[method, scheme, path, authority, other_host], ORDERS),
        (&[method, scheme, path, other, host], "200: GET /orders at static.example"),
        (&[method, scheme, path, host, other_host], "gone"),
        (&[method, scheme, path, authority, other], "gone"),
        (&[method, scheme, path, authority, authority], "gone"),
        (&[method, scheme, path, path, authority], "gone"),
        (&[method, method, scheme, path, authority], "gone"),
        (&[method, scheme, scheme, path, authority], "gone"),
        (&[method, scheme, path], "gone"),
        (&[method, scheme, authority], "gone"),
        (&[scheme, path, authority], "gone"),
        (&[method, path, authority], "gone"),
        (&[method, scheme, path, host, authority], "gone"),
        (&[method, scheme, path, authority, (b":status", b"200")], "gone"),
        (&[method, scheme, path, authority, (b":other", b"x")], "gone"),
        (&[method, scheme, path, authority, (b"Host", b"x")], "gone"),
        (&[method, scheme, path, (b":Authority", b"orders.example")], "gone"),
        (&[method, (b":scheme", b"https"), path, authority], ORDERS),
        (&[method, (b":scheme", b"HTTP"), path, authority], ORDERS),
        (&[method, (b":scheme", b"ftp"), path, authority], ORDERS),
        (&[method, (b":scheme", b""), path, authority], "gone"),
    ];
    for (fields, expected) in cases {
        let credential: Field<'_> = (b"authorization", authorization.as_bytes());
        let request = Request::of(fields.iter().copied().chain([credential]));
        turn.row(RAW, &Sent::Http2(request), expected);
    }
    turn.finish();
}
