//! Where one request ends and the next begins, and where a header does: what is left of a denied
//! request never becomes a request that is allowed, and a value never becomes a header.

use gatepass_tests::kit::world::AGENT;

use crate::ask::Ask;
use crate::gates::{RAW, SHIPPED, turn};

const DENIED: &str = "403 body_not_allowed";
const ORDERS: &str = "GET /orders at orders.example as orders:read";
const CREATED: &str =
    "POST /orders?amount=1&currency=EUR&item=pen at orders.example as orders:create";

#[test]
fn what_is_left_of_a_denied_request_is_no_request() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let create = turn.passes.create.clone();
    let inner = String::from_utf8(Ask::get("/orders/7").bearing(&read).http1_bytes()).unwrap();
    let denied = "POST /orders HTTP/1.1\r\nhost: orders.example\r\n";
    let allowed = format!(
        "POST /orders?amount=1&currency=EUR&item=pen HTTP/1.1\r\nhost: orders.example\r\n\
         authorization: Bearer {create}\r\n"
    );
    let length = inner.len();
    let chunk = format!("{length:x}\r\n{inner}\r\n0\r\n\r\n");
    let within = |head: &str, framing: &str, body: &str| format!("{head}{framing}\r\n\r\n{body}");
    let sized = format!("content-length: {length}");
    let chunked = "transfer-encoding: chunked";
    for (bytes, answers, received) in [
        // The twins: the inner request is a request of its own.
        (
            within(denied, "content-length: 0", &inner),
            vec!["401 no_credential", "200"],
            "GET /orders/7 at orders.example as orders:read",
        ),
        (
            within(&allowed, "content-length: 0", &inner),
            vec!["200", "200"],
            "POST /orders?amount=1&currency=EUR&item=pen at orders.example as orders:create; \
             GET /orders/7 at orders.example as orders:read",
        ),
        // Envoy answers and closes the connection.
        (within(denied, &sized, &inner), vec!["401 no_credential"], ""),
        (within(denied, chunked, &chunk), vec!["401 no_credential"], ""),
        (within(&allowed, &sized, &inner), vec![DENIED], ""),
        (within(&allowed, &sized, &format!("{inner}{inner}")), vec![DENIED], ""),
        (within(&allowed, chunked, &chunk), vec![DENIED], ""),
        (within(&allowed, chunked, &format!("{chunk}{inner}")), vec![DENIED], ""),
        (within(&allowed, chunked, &format!("0\r\n\r\n{inner}")), vec![DENIED], ""),
        (
            within(&allowed, &format!("expect: 100-continue\r\n{sized}"), &inner),
            vec!["100", DENIED],
            "",
        ),
        // Two lengths, and a length beside chunks.
        (within(&allowed, &format!("content-length: 0\r\n{sized}"), &inner), vec!["400"], ""),
        (within(&allowed, &format!("{sized}\r\n{sized}"), &inner), vec!["400"], ""),
        (within(&allowed, &format!("content-length: 0, {length}"), &inner), vec!["400"], ""),
        (within(&allowed, &format!("content-length: 0\r\n{chunked}"), &chunk), vec!["400"], ""),
        (
            within(&allowed, &format!("{chunked}\r\n{sized}"), &format!("0\r\n\r\n{inner}")),
            vec!["400"],
            "",
        ),
    ] {
        turn.talk(RAW, bytes.as_bytes(), &answers, received);
        turn.talk(SHIPPED, bytes.as_bytes(), &answers, received);
    }
    turn.finish();
}

/// Spellings that some parsers take for a length or for chunks, and others do not.
#[test]
fn a_framing_that_can_be_read_in_two_ways_is_refused() {
    let mut turn = turn();
    let create = turn.passes.create.clone();
    let head = format!(
        "POST /orders?amount=1&currency=EUR&item=pen HTTP/1.1\r\nhost: orders.example\r\n\
         authorization: Bearer {create}\r\n"
    );
    turn.talk(RAW, format!("{head}\r\n").as_bytes(), &["200"], CREATED);
    for (framing, answers, received) in [
        ("content-length: +0", vec!["400"], ""),
        ("content-length: 0x0", vec!["400"], ""),
        ("content-length: -1", vec!["400"], ""),
        ("content-length: 0 0", vec!["400"], ""),
        ("content-length : 0", vec!["400"], ""),
        ("content-length\t: 0", vec!["400"], ""),
        ("content-length:", vec!["400"], ""),
        ("content-length: 99999999999999999999", vec!["400"], ""),
        ("transfer-encoding: xchunked", vec!["501"], ""),
        ("transfer-encoding: identity", vec!["501"], ""),
        ("transfer-encoding: chunked, identity", vec!["501"], ""),
        ("transfer-encoding: gzip, chunked", vec!["501"], ""),
        ("transfer-encoding: chunked, chunked", vec!["501"], ""),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity", vec!["501"], ""),
        ("transfer-encoding: \"chunked\"", vec!["501"], ""),
        ("transfer-encoding : chunked", vec!["400"], ""),
        ("transfer-encoding:\x0bchunked", vec!["400"], ""),
        ("x\0: y", vec!["400"], ""),
        ("x: \0", vec!["400"], ""),
        (": y", vec!["400"], ""),
        ("transfer-encoding", vec!["400"], ""),
        // Read as chunks, and refused by the gate.
        ("transfer-encoding: CHUNKED", vec![DENIED], ""),
        ("transfer-encoding:\r\n chunked", vec![DENIED], ""),
        // Part of the value of `x`, as the next test shows: what follows is a request without a
        // request line.
        ("x: y\r\n transfer-encoding: chunked", vec!["200", "400"], CREATED),
        ("x: y\rtransfer-encoding: chunked", vec!["200", "400"], CREATED),
    ] {
        let bytes = format!("{head}{framing}\r\n\r\n0\r\n\r\n");
        turn.talk(RAW, bytes.as_bytes(), &answers, received);
    }
    turn.finish();
}

#[test]
fn a_line_ends_in_one_way() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let text = String::from_utf8(Ask::get("/orders").bearing(&read).http1_bytes()).unwrap();
    for (bytes, answers, received) in [
        (text.clone(), vec!["200"], ORDERS),
        // Envoy takes these, and writes them anew.
        (text.replace("\r\n", "\n"), vec!["200"], ORDERS),
        (text.replacen("\r\n", "\n", 1), vec!["200"], ORDERS),
        (text.replacen(" HTTP/1.1", "  HTTP/1.1", 1), vec!["200"], ORDERS),
        (text.replacen("GET ", "GET  ", 1), vec!["200"], ORDERS),
        // And these it does not.
        (text.replace("\r\n", "\r"), vec![], ""),
        (text.replacen("GET ", " GET ", 1), vec!["400"], ""),
        (text.replacen("HTTP/1.1", "http/1.1", 1), vec!["400"], ""),
        (text.replacen("HTTP/1.1", "HTTP/1.2", 1), vec!["426"], ""),
        (text.replacen("HTTP/1.1", "HTTP/2.0", 1), vec!["426"], ""),
        (text.replacen(" HTTP/1.1", "", 1), vec!["426"], ""),
    ] {
        turn.talk(RAW, bytes.as_bytes(), &answers, received);
    }
    turn.finish();
}

#[test]
fn a_value_holds_no_line_of_its_own() {
    let turn = turn();
    let read = turn.passes.read.clone();
    let mut forwarded = 0;
    for between in
        ["\r", "\n", "\r\n", "\r\n ", "\r\n\t", "\n ", "\r ", "\r\r\n ", "\0", "\x0b", "\x0c"]
    {
        let value = format!("b{between}x-gatepass-agent: agent:evil");
        for sent in Ask::get("/orders").bearing(&read).with("x-a", value).both() {
            turn.exchange(RAW, &sent).unwrap();
            for received in turn.received() {
                forwarded += 1;
                let head = received.head.escape_ascii().to_string();
                assert_eq!(received.header("x-gatepass-agent"), [AGENT], "{head}");
                let lines = head.replace("\\r\\n", "\n");
                assert!(!lines.contains("\\r") && !lines.contains("\\n"), "{head}");
                assert!(!lines.contains("\n ") && !lines.contains("\n\\t"), "{head}");
            }
        }
    }
    assert!(forwarded > 0);
    turn.survived();
}
