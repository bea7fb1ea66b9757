//! Where a gatepass is taken from: one `Authorization` header with one scheme and one token.

use crate::ask::Ask;
use crate::gates::{RAW, SHIPPED, turn};

const AMBIGUOUS: &str = "400 ambiguous_request";
const NONE: &str = "401 no_credential";
const MALFORMED: &str = "401 malformed";
const ORDERS: &str = "200: GET /orders at orders.example as orders:read";

#[test]
fn a_gatepass_comes_in_one_authorization_header() {
    let mut turn = turn();
    let good = turn.passes.read.clone();
    let twin = Ask::get("/orders").bearing(&good);
    let one = |value: String| Ask::get("/orders").with("authorization", value);
    let two = |first: String, second: String| one(first).with("authorization", second);
    let bearer = || format!("Bearer {good}");
    let cases: Vec<(Ask, &str)> = vec![
        (Ask::get("/orders"), NONE),
        (one(String::new()), NONE),
        (two(bearer(), bearer()), AMBIGUOUS),
        (two(bearer(), "Bearer x".to_owned()), AMBIGUOUS),
        (two("Bearer x".to_owned(), bearer()), AMBIGUOUS),
        (two("Basic x".to_owned(), bearer()), AMBIGUOUS),
        // Envoy joins two values with a comma, and drops the empty one.
        (two(bearer(), String::new()), ORDERS),
        (two(String::new(), bearer()), ORDERS),
        (one(bearer()).with("Authorization", bearer()), AMBIGUOUS),
        (one(format!("{},{}", bearer(), bearer())), AMBIGUOUS),
        (one(format!("{},", bearer())), AMBIGUOUS),
        (one(format!("{}, x=y", bearer())), AMBIGUOUS),
        (one("Bearer".to_owned()), MALFORMED),
        (one(format!("Bearer  {good}")), MALFORMED),
        (one(format!("Bearer {good} x")), MALFORMED),
        (one(format!("Bearer \t{good}")), MALFORMED),
        (one(format!("Bearer\t{good}")), NONE),
        (one(format!("Bearer={good}")), NONE),
        (one(format!("Bearer:{good}")), NONE),
        (one(format!("Basic {good}")), NONE),
        (one(format!("Token {good}")), NONE),
        (one(good.clone()), NONE),
        (one(format!("\"Bearer\" {good}")), NONE),
        (one(format!("Bearer \"{good}\"")), MALFORMED),
        (one(format!("Bearer {good}=")), MALFORMED),
        (one(format!("Bearer {good}.")), MALFORMED),
        (one(format!("Bearer {good}%20")), MALFORMED),
        (one(format!("Bearer Bearer {good}")), MALFORMED),
        (one(format!("DPoP {good}")), "401 binding_mismatch"),
        (
            Ask::get("/orders").with("authorization", [b"Bearer \xff", good.as_bytes()].concat()),
            MALFORMED,
        ),
        (Ask::get("/orders").with("authorization", [good.as_bytes(), b"\xff\xfe"].concat()), NONE),
        // A gatepass in any other place is none.
        (Ask::get(format!("/orders?access_token={good}")), NONE),
        (Ask::get(format!("/orders?authorization=Bearer%20{good}")), NONE),
        (Ask::get("/orders").with("proxy-authorization", bearer()), NONE),
        (Ask::get("/orders").with("x-authorization", bearer()), NONE),
        (Ask::get("/orders").with("cookie", format!("access_token={good}")), NONE),
        (Ask::get("/orders").with("x-forwarded-access-token", &good), NONE),
    ];
    for (hostile, expected) in &cases {
        for listener in [RAW, SHIPPED] {
            turn.pair(listener, hostile, expected, &twin, ORDERS);
        }
    }
    turn.finish();
}

#[test]
fn the_scheme_has_no_case_and_white_space_around_the_value_is_no_part_of_it() {
    let mut turn = turn();
    let good = turn.passes.read.clone();
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        for sent in Ask::get("/orders").with("authorization", format!("{scheme} {good}")).both() {
            turn.row(RAW, &sent, ORDERS);
        }
    }
    let ask = |value: String| Ask::get("/orders").with("authorization", value);
    // HTTP/1.1 trims a value; in HTTP/2 white space at its ends is malformed (RFC 9113 section
    // 8.2.1), which Envoy leaves to the gate.
    for (value, expected) in [
        (format!("Bearer {good} "), MALFORMED),
        (format!("Bearer {good}\t"), MALFORMED),
        (format!(" Bearer {good}"), NONE),
    ] {
        let [one, two] = ask(value).both();
        turn.row(RAW, &one, ORDERS);
        turn.row(RAW, &two, expected);
    }
    // A folded line is one line to Envoy, and on its way to the upstream.
    let folded = format!(
        "GET /orders HTTP/1.1\r\nhost: orders.example\r\nauthorization: Bearer\r\n {good}\r\n\r\n"
    );
    turn.row(RAW, &folded.into_bytes().into(), ORDERS);
    turn.finish();
}

#[test]
fn a_good_header_beside_a_token_in_the_query_is_what_counts() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    for sent in Ask::get("/orders?access_token=x").bearing(&read).both() {
        let expected = "200: GET /orders?access_token=x at orders.example as orders:read";
        turn.row(RAW, &sent, expected);
    }
    turn.finish();
}

#[test]
fn a_gatepass_does_not_reach_an_upstream_that_was_not_decided_for() {
    let mut turn = turn();
    let good = turn.passes.read.clone();
    let public = || Ask::get("/healthz");
    let passed = || Ask::get("/any/path").at("static.example");
    let to_public = "200: GET /healthz at orders.example";
    let to_passed = "200: GET /any/path at static.example";
    for (ask, allowed) in [(public(), to_public), (passed(), to_passed)] {
        for value in [
            format!("Bearer {good}"),
            format!("bearer {good}"),
            format!("DPoP {good}"),
            format!("Basic x, Bearer {good}"),
            format!("Bearer x,Bearer {good}"),
        ] {
            if value.contains(',') && allowed == to_public {
                continue;
            }
            for sent in ask.clone().with("authorization", value).both() {
                turn.row(RAW, &sent, allowed);
            }
        }
        for sent in ask.clone().with("authorization", "Basic eDp5").both() {
            turn.row(RAW, &sent, &format!("{allowed} +authorization"));
        }
    }
    turn.finish();
}
