//! One spelling of a path: with Envoy's normalization and without it.

use crate::ask::{Ask, Sent};
use crate::gates::{BARE, RAW, SHIPPED, turn};

const AMBIGUOUS: &str = "400 ambiguous_request";
const NO_ROUTE: &str = "403 no_route";
const REFUSED: &str = "400 | gone";
const SPLIT: &str = "200: GET /orders/7 at orders.example as orders:read | gone";
/// A request line without a version is HTTP/0.9, which Envoy answers with Upgrade Required.
const OLD: &str = "426 | gone";
const ORDER: &str = "200: GET /orders/7 at orders.example as orders:read";
const ORDERS: &str = "200: GET /orders at orders.example as orders:read";

#[test]
fn the_http2_client_sends_what_it_is_told_and_reads_what_comes() {
    let mut turn = turn();
    turn.row(BARE, &Sent::Http2(Ask::get("/").http2()), "200");
    let mut large = Ask::new("POST", "/").body(vec![b'x'; 30_000]);
    large.headers.push((b"x-long".to_vec(), vec![b'y'; 20_000]));
    turn.row(BARE, &Sent::Http2(large.http2()), "200");
    let answer = turn.exchange(BARE, &Sent::Http2(Ask::get("/").http2()));
    let gatepass_tests::kit::http2::Answer::Response(response) = answer.unwrap() else {
        panic!("no response");
    };
    assert_eq!(response.body, b"bare");
    assert_eq!(response.header("content-length"), Some("4"));
    assert_eq!(response.header("server"), Some("envoy"));
    turn.row(BARE, &Sent::Http2(Ask::get("no-slash").http2()), "gone");
    turn.finish();
}

/// The path, what the gate says by itself, and what comes of it behind Envoy's normalization.
const SPELLINGS: &[(&[u8], &str, &str)] = &[
    (b"//orders/7", AMBIGUOUS, ORDER),
    (b"/orders//7", AMBIGUOUS, ORDER),
    (b"/orders/7//", AMBIGUOUS, NO_ROUTE),
    (b"/./orders/7", AMBIGUOUS, ORDER),
    (b"/orders/./7", AMBIGUOUS, ORDER),
    (b"/orders/.", AMBIGUOUS, NO_ROUTE),
    (b"/orders/..", AMBIGUOUS, NO_ROUTE),
    (b"/orders/../orders/7", AMBIGUOUS, ORDER),
    (b"/healthz/../orders", AMBIGUOUS, ORDERS),
    (b"/orders/../healthz", AMBIGUOUS, "200: GET /healthz at orders.example"),
    (b"/../orders", AMBIGUOUS, ORDERS),
    (b"/orders/%2e/7", AMBIGUOUS, ORDER),
    (b"/orders/%2e%2e/orders/7", AMBIGUOUS, ORDER),
    (b"/orders/%2E%2E/orders/7", AMBIGUOUS, ORDER),
    (b"/orders/.%2e/orders/7", AMBIGUOUS, ORDER),
    (b"/orders/7%2e", AMBIGUOUS, "200: GET /orders/7. at orders.example as orders:read"),
    (b"/orders%2f7", AMBIGUOUS, "400"),
    (b"/orders%2F7", AMBIGUOUS, "400"),
    (b"/orders/%2F", AMBIGUOUS, "400"),
    (b"/orders%5c7", AMBIGUOUS, "400"),
    (b"/orders%5C7", AMBIGUOUS, "400"),
    (b"/orders\\7", AMBIGUOUS, ORDER),
    (b"/orders/7\\..\\8", AMBIGUOUS, "200: GET /orders/8 at orders.example as orders:read"),
    (b"/orders/7;v=1", AMBIGUOUS, AMBIGUOUS),
    (b"/orders;v=1/7", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/..;/orders", AMBIGUOUS, ORDERS),
    (b"/orders/7%3Bv", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%00", AMBIGUOUS, "400"),
    (b"/orders/7%00.json", AMBIGUOUS, "400"),
    (b"/orders/%25", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%252e%252e", AMBIGUOUS, AMBIGUOUS),
    (b"/%6Frders/7", AMBIGUOUS, ORDER),
    (b"/%6frders/7", AMBIGUOUS, ORDER),
    (b"/orders/%37", AMBIGUOUS, ORDER),
    (b"/orders/%61", AMBIGUOUS, "200: GET /orders/a at orders.example as orders:read"),
    (b"/orders/%7E", AMBIGUOUS, "200: GET /orders/~ at orders.example as orders:read"),
    (b"/orders/%c3%a9", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%C0%AF", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%E0%80%AF", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%ED%A0%80", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%F4%90%80%80", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%C3", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%FF", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%u0037", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%4", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%zz", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%0A", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/%0D%0Ax:y", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/\xff", "400 | 400 ambiguous_request", "400 | 400 ambiguous_request"),
    (
        b"/orders/\xc3\xa9",
        "400 | 400 ambiguous_request",
        "400 | 200: GET /orders/%C3%A9 at orders.example as orders:read",
    ),
    (b"/orders/\xc0\xaf", "400 | 400 ambiguous_request", "400 | 400 ambiguous_request"),
    (b"/orders/\"7\"", AMBIGUOUS, "200: GET /orders/%227%22 at orders.example as orders:read"),
    (b"/orders/<7>", AMBIGUOUS, "200: GET /orders/%3C7%3E at orders.example as orders:read"),
    (b"/orders/{id}", AMBIGUOUS, "200: GET /orders/%7Bid%7D at orders.example as orders:read"),
    (b"/orders/7|8", AMBIGUOUS, "200: GET /orders/7%7C8 at orders.example as orders:read"),
    (b"/orders/^", AMBIGUOUS, "200: GET /orders/%5E at orders.example as orders:read"),
    (b"/orders/7#x", "400", "400"),
    (b"/orders/7#/../8", "400", "400"),
    (b"/orders/7?a#x", "400", "400"),
    (b"/ORDERS/7", AMBIGUOUS, AMBIGUOUS),
    (b"/Orders", AMBIGUOUS, AMBIGUOUS),
    (b"/orders/7/notes", NO_ROUTE, NO_ROUTE),
    (b"/orders/", NO_ROUTE, NO_ROUTE),
    (b"/", NO_ROUTE, NO_ROUTE),
    (b"orders/7", REFUSED, REFUSED),
    (b"*", REFUSED, REFUSED),
    (b"", REFUSED, REFUSED),
    (b"/orders/7 8", REFUSED, REFUSED),
    (b"/orders/7\t8", REFUSED, REFUSED),
    (b"/orders/7\x008", REFUSED, REFUSED),
    (b"/orders/7\x018", REFUSED, REFUSED),
    (b"/orders/7\x7f8", REFUSED, REFUSED),
    (b"/orders/7\r8", REFUSED, REFUSED),
    // Over HTTP/1.1 this is another request line and a header of its own.
    (b"/orders/7 HTTP/1.1\r\nx-injected: y\r\nx-rest:", SPLIT, SPLIT),
    (b"/orders/7\r\nx-injected: y", OLD, OLD),
    (b"/orders/7\nx-injected: y", OLD, OLD),
];

#[test]
fn a_path_with_a_second_spelling_goes_nowhere_or_on_in_the_one_that_was_decided() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let twin = Ask::get("/orders/7").bearing(&read);
    for (path, raw, shipped) in SPELLINGS {
        let hostile = Ask::get(path).bearing(&read);
        turn.pair(RAW, &hostile, raw, &twin, ORDER);
        turn.pair(SHIPPED, &hostile, shipped, &twin, ORDER);
    }
    turn.finish();
}

#[test]
fn encodings_that_are_needed_arrive_as_they_came() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    for path in [
        "/orders/a%20b",
        "/orders/%C3%A9",
        "/orders/%22",
        "/orders/%7B%7D",
        "/orders/%7C",
        "/orders/a:b@c",
        "/orders/~.-_",
        "/orders/...",
        "/orders/7?",
        "/orders/7?x=%2F..%2F&y=//",
    ] {
        let ask = Ask::get(path).bearing(&read);
        let expected = format!("200: GET {path} at orders.example as orders:read");
        for listener in [RAW, SHIPPED] {
            for sent in ask.both() {
                turn.row(listener, &sent, &expected);
            }
        }
    }
    turn.finish();
}

#[test]
fn limits_of_a_path_hold() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let twin = Ask::get("/orders/7").bearing(&read);
    let long = format!("/orders/{}", "a".repeat(9_000));
    let deep = "/a".repeat(33);
    for path in [long, deep] {
        let hostile = Ask::get(path).bearing(&read);
        turn.pair(RAW, &hostile, AMBIGUOUS, &twin, ORDER);
    }
    turn.finish();
}
