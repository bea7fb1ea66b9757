//! Where one request ends and the next begins: what is left of a denied request never becomes a
//! request that is allowed.

use crate::ask::Ask;
use crate::gates::{RAW, SHIPPED, turn};

const DENIED: &str = "403 body_not_allowed";

#[test]
fn what_is_left_of_a_denied_request_is_no_request() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let create = turn.passes.create.clone();
    let inner = String::from_utf8(Ask::get("/orders/7").bearing(&read).http1_bytes()).unwrap();
    let last = "GET /healthz HTTP/1.1\r\nhost: orders.example\r\nconnection: close\r\n\r\n";
    let public = "200: GET /healthz at orders.example";
    let denied = "POST /orders HTTP/1.1\r\nhost: orders.example\r\n";
    let allowed = format!(
        "POST /orders?amount=1&currency=EUR&item=pen HTTP/1.1\r\nhost: orders.example\r\n\
         authorization: Bearer {create}\r\n"
    );
    let length = inner.len();
    let chunk = format!("{length:x}\r\n{inner}\r\n0\r\n\r\n");
    for (bytes, expected) in [
        // The twin: the inner request is a request of its own.
        (
            format!("{denied}content-length: 0\r\n\r\n{inner}{last}"),
            format!(
                "401 no_credential, 200, 200: GET /orders/7 at orders.example as orders:read; {}",
                "GET /healthz at orders.example"
            ),
        ),
        (
            format!("{denied}content-length: {length}\r\n\r\n{inner}{last}"),
            format!("401 no_credential, {public}"),
        ),
        (
            format!("{allowed}content-length: {length}\r\n\r\n{inner}{last}"),
            format!("{DENIED}, {public}"),
        ),
        (
            format!("{allowed}transfer-encoding: chunked\r\n\r\n{chunk}{last}"),
            format!("{DENIED}, {public}"),
        ),
        (
            format!(
                "{allowed}expect: 100-continue\r\ncontent-length: {length}\r\n\r\n{inner}{last}"
            ),
            format!("100, {DENIED}, {public}"),
        ),
        // Two lengths, and a length beside chunks.
        (
            format!("{allowed}content-length: 0\r\ncontent-length: {length}\r\n\r\n{inner}{last}"),
            "400".to_owned(),
        ),
        (
            format!(
                "{allowed}content-length: {length}\r\ncontent-length: {length}\r\n\r\n{inner}{last}"
            ),
            "400".to_owned(),
        ),
        (format!("{allowed}content-length: 0, {length}\r\n\r\n{inner}{last}"), "400".to_owned()),
        (
            format!(
                "{allowed}content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{last}"
            ),
            "400".to_owned(),
        ),
        (
            format!(
                "{allowed}transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n0\r\n\r\n{inner}{last}"
            ),
            "400".to_owned(),
        ),
    ] {
        turn.talk(RAW, bytes.as_bytes(), &expected);
        turn.talk(SHIPPED, bytes.as_bytes(), &expected);
    }
    // Spellings of the two headers that some parsers read and others do not.
    for spelling in [
        "content-length: +0\r\n",
        "content-length: 0x0\r\n",
        "content-length: -1\r\n",
        "content-length: 0 0\r\n",
        "content-length : 0\r\n",
        "content-length\t: 0\r\n",
        "content-length:\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding:\x0bchunked\r\n",
        "transfer-encoding:\r\n chunked\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "x: y\rtransfer-encoding: chunked\r\n",
        "x\0: y\r\n",
        "x: \0\r\n",
        ": y\r\n",
        "transfer-encoding\r\n",
    ] {
        let bytes = format!("{allowed}{spelling}\r\n{chunk}{last}");
        let expected = match spelling {
            _ if spelling.starts_with("transfer-encoding: ") && spelling.contains("identity") => {
                "501"
            }
            _ => "400",
        };
        turn.talk(RAW, bytes.as_bytes(), expected);
    }
    turn.finish();
}

#[test]
fn a_line_ends_in_one_way() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let request = Ask::get("/orders").bearing(&read).http1_bytes();
    let text = String::from_utf8(request).unwrap();
    for (bytes, expected) in [
        (text.replace("\r\n", "\n"), "400"),
        (text.replace("\r\n", "\r"), "400"),
        (text.replacen("\r\n", "\n", 1), "400"),
        (text.replacen(" HTTP/1.1", "  HTTP/1.1", 1), "400"),
        (text.replacen("GET ", "GET  ", 1), "400"),
        (text.replacen("GET ", " GET ", 1), "400"),
        (text.replacen("HTTP/1.1", "HTTP/1.2", 1), "400"),
        (text.replacen("HTTP/1.1", "http/1.1", 1), "400"),
        (text.replacen("HTTP/1.1", "HTTP/2.0", 1), "400"),
        (text.replacen(" HTTP/1.1", "", 1), "400"),
    ] {
        turn.talk(RAW, bytes.as_bytes(), expected);
    }
    turn.row(RAW, &text.into_bytes().into(), "200: GET /orders at orders.example as orders:read");
    turn.finish();
}
