//! What only the gate may say, and what could change the request after the decision: it reaches
//! no upstream, whatever the reason for letting the request on.

use gatepass_tests::kit::http2::Answer;

use crate::ask::Ask;
use crate::gates::{IMPOSTOR, RAW, SHADOW, SHIPPED, turn};

/// Header names with hyphens.
const SPOOFED: &[&str] = &[
    "x-gatepass-agent",
    "X-Gatepass-Agent",
    "x-gatepass-owner",
    "x-gatepass-task",
    "x-gatepass-action",
    "x-gatepass-decision-id",
    "x-gatepass-anything",
    "x-gatepass-",
    "Txn-Token",
    "txn-token",
    "X-HTTP-Method-Override",
    "X-Http-Method",
    "X-Method-Override",
    "X-Original-Method",
    "X-Original-URL",
    "X-Rewrite-URL",
];

/// The same as upstreams with CGI-like variables read them.
const UNDERSCORED: &[&str] = &[
    "X_Gatepass_Agent",
    "x_gatepass_agent",
    "x-gatepass_agent",
    "x_gatepass-agent",
    "X_GATEPASS_OWNER",
    "txn_token",
    "Txn_Token",
    "X_HTTP_Method_Override",
    "x-http_method-override",
    "x_method_override",
    "x_http_method",
    "x_original_url",
    "X_Rewrite_URL",
];

/// The same with other bytes that are neither letters nor digits: some make `_` of each.
const DOTTED: &[&str] = &["x.gatepass.agent", "x-gatepass.agent", "X~Gatepass+Agent", "txn.token"];

/// One request for each reason to let it on, with what the upstream must receive.
fn reasons(read: &str) -> [(&'static str, Ask, &'static str); 5] {
    [
        (
            "decided",
            Ask::get("/orders").bearing(read),
            "200: GET /orders at orders.example as orders:read",
        ),
        ("public", Ask::get("/healthz"), "200: GET /healthz at orders.example"),
        (
            "passed through",
            Ask::get("/any").at("static.example"),
            "200: GET /any at static.example",
        ),
        (
            "an action in shadow mode",
            Ask::get("/audit").bearing(read),
            "200: GET /audit at orders.example",
        ),
        (
            "an action in shadow mode without a gatepass",
            Ask::get("/audit"),
            "200: GET /audit at orders.example",
        ),
    ]
}

#[test]
fn nobody_but_the_gate_speaks_in_its_name() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    for (_, ask, allowed) in reasons(&read) {
        for name in SPOOFED {
            for listener in [RAW, SHIPPED] {
                turn.pair(listener, &ask.clone().with(name, "DELETE"), allowed, &ask, allowed);
            }
        }
        for name in UNDERSCORED {
            let spoofed = ask.clone().with(name, "DELETE");
            turn.pair(RAW, &spoofed, allowed, &ask, allowed);
            turn.pair(SHIPPED, &spoofed, "400 | reset 2", &ask, allowed);
        }
        for name in DOTTED {
            for listener in [RAW, SHIPPED] {
                turn.pair(listener, &ask.clone().with(name, "DELETE"), allowed, &ask, allowed);
            }
        }
        // Several at once, twice each, and not UTF-8.
        let mut many = ask.clone();
        for name in SPOOFED.iter().chain(UNDERSCORED) {
            many = many.with(name, b"\xff\xfe").with(name, "");
        }
        turn.pair(RAW, &many, allowed, &ask, allowed);
    }
    turn.finish();
}

#[test]
fn a_gate_in_shadow_mode_strips_what_an_enforcing_one_strips() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    for (ask, allowed) in [
        (Ask::get("/orders"), "200: GET /orders at orders.example"),
        (Ask::new("DELETE", "/orders").bearing(&read), "200: DELETE /orders at orders.example"),
        (
            Ask::get("/orders").with("authorization", format!("Bearer {read}, Bearer {read}")),
            "200: GET /orders at orders.example",
        ),
        (Ask::get("/nowhere").at("other.example"), "200: GET /nowhere at other.example"),
        (
            Ask::get("//orders/%2e%2e/x").bearing(&read),
            "200: GET //orders/%2e%2e/x at orders.example",
        ),
    ] {
        let mut spoofed = ask.clone();
        for name in SPOOFED.iter().chain(UNDERSCORED) {
            spoofed = spoofed.with(name, "DELETE");
        }
        turn.pair(SHADOW, &spoofed, allowed, &ask, allowed);
    }
    turn.finish();
}

#[test]
fn naming_a_header_in_connection_does_not_take_it_away_from_the_upstream() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let allowed = "200: GET /orders at orders.example as orders:read";
    for named in [
        "x-gatepass-agent",
        "keep-alive, X-Gatepass-Agent, x-gatepass-owner",
        "close, x-gatepass-action",
    ] {
        let ask = Ask::get("/orders").bearing(&read).with("connection", named);
        turn.row(RAW, &ask.http1(), allowed);
    }
    // Envoy takes a named header away before the gate sees it.
    let named = Ask::get("/orders").bearing(&read).with("connection", "authorization");
    turn.row(RAW, &named.http1(), "401 no_credential");
    turn.finish();
}

/// From an address that Envoy takes for internal, these would rewrite or repeat a request.
#[test]
fn headers_to_envoy_itself_change_nothing_about_the_request() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let allowed = "200: GET /orders at orders.example as orders:read";
    let ask = || Ask::get("/orders").bearing(&read);
    for (name, value) in [
        ("x-envoy-original-path", "/orders/8"),
        ("x-envoy-original-host", "static.example"),
        ("x-envoy-original-dst-host", "127.0.0.1:1"),
        ("x-envoy-internal", "true"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "10.0.0.1"),
        (":path", "/orders/8"),
    ] {
        let [one, two] = ask().with(name, value).both();
        if name.starts_with(':') {
            turn.row(RAW, &one, "400");
            turn.row(RAW, &two, "gone");
        } else {
            turn.row(RAW, &one, allowed);
            turn.row(RAW, &two, allowed);
        }
    }
    let repeated = ask()
        .with("x-envoy-retry-on", "retriable-status-codes")
        .with("x-envoy-retriable-status-codes", "200")
        .with("x-envoy-max-retries", "3");
    for sent in repeated.both() {
        turn.row(RAW, &sent, allowed);
    }
    turn.finish();
}

#[test]
fn an_upstream_does_not_speak_in_the_gates_name_to_the_agent() {
    let mut turn = turn();
    let ask = Ask::get("/orders").bearing(&turn.passes.read.clone());
    for sent in ask.both() {
        let Answer::Response(response) = turn.exchange(IMPOSTOR, &sent).unwrap() else {
            panic!("no response");
        };
        assert_eq!(response.status, 200);
        assert_eq!(response.header("x-other"), Some("stays"));
        let ours: Vec<_> = response
            .headers
            .iter()
            .filter(|(name, _)| name.replace('_', "-").starts_with("x-gatepass"))
            .collect();
        // The gate's own, which only tests switch on.
        assert_eq!(ours.len(), 2, "{ours:?}");
        let vm = response.header("x-gatepass-vm").unwrap();
        assert_eq!(vm.len(), 16);
        assert_ne!(response.header("x-gatepass-position"), Some("9.9"));
        // So that the next turn starts from nothing.
        turn.outcome(IMPOSTOR, &sent).unwrap();
    }
    turn.row(IMPOSTOR, &ask.http1(), "200: GET /orders at orders.example as orders:read");
    turn.finish();
}
