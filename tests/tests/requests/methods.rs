//! A method is what the route names, in that case, and nothing else.

use gatepass_tests::kit::http2::Request;

use crate::ask::{Ask, Sent};
use crate::gates::{RAW, SHIPPED, turn};

const NO_ROUTE: &str = "403 no_route";
/// Over HTTP/1.1 Envoy knows a list of methods.
const UNKNOWN: &str = "400 | 403 no_route";
const REFUSED: &str = "400 | gone";

#[test]
fn a_method_that_no_route_names_is_denied() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let twin = Ask::get("/orders/7").bearing(&read);
    let allowed = "200: GET /orders/7 at orders.example as orders:read";
    for (method, expected) in [
        ("get", UNKNOWN),
        ("Get", UNKNOWN),
        ("HEAD", "403 | 403"),
        ("OPTIONS", NO_ROUTE),
        ("TRACE", NO_ROUTE),
        ("PUT", NO_ROUTE),
        ("PATCH", NO_ROUTE),
        ("PROPFIND", NO_ROUTE),
        ("PURGE", NO_ROUTE),
        ("M-SEARCH", UNKNOWN),
        ("FOO", UNKNOWN),
        ("GETS", UNKNOWN),
        ("_", UNKNOWN),
        // Envoy takes two blanks for one.
        ("GET ", "200: GET /orders/7 at orders.example as orders:read | gone"),
        ("", REFUSED),
        ("GET\0", REFUSED),
        ("GET /orders HTTP/1.1\r\nx: y\r\n\r\nGET", REFUSED),
    ] {
        let hostile = Ask::new(method, "/orders/7").bearing(&read);
        for listener in [RAW, SHIPPED] {
            turn.pair(listener, &hostile, expected, &twin, allowed);
        }
    }
    turn.finish();
}

#[test]
fn a_method_that_a_route_names_is_that_route_alone() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let head = "200: HEAD /probe at orders.example as orders:read";
    let probe = Ask::new("HEAD", "/probe").bearing(&read);
    let other = Ask::get("/probe").bearing(&read);
    turn.pair(RAW, &other, NO_ROUTE, &probe, head);
    let preflight = Ask::new("OPTIONS", "/orders");
    turn.pair(
        RAW,
        &Ask::new("OPTIONS", "/orders/7"),
        "401 no_credential",
        &preflight,
        "200: OPTIONS /orders at orders.example",
    );
    turn.pair(
        RAW,
        &Ask::new("DELETE", "/orders").bearing(&read),
        "403 action_not_granted",
        &Ask::get("/orders").bearing(&read),
        "200: GET /orders at orders.example as orders:read",
    );
    for sent in Ask::new("OPTIONS", "*").bearing(&read).both() {
        turn.row(RAW, &sent, "404");
    }
    let two = Request::of([
        (b":method".as_slice(), b"\xff".as_slice()),
        (b":scheme", b"http"),
        (b":authority", b"orders.example"),
        (b":path", b"/orders"),
    ]);
    turn.row(RAW, &Sent::Http2(two), "gone");
    turn.finish();
}
