//! What follows the headers: nothing where the action says `body: none`, all of it where it says
//! `body: unread`.

use gatepass_tests::kit::http2::Request;
use gatepass_tests::kit::world::grant;

use crate::ask::{Ask, Sent};
use crate::gates::{RAW, SHIPPED, turn};

const NOT_ALLOWED: &str = "403 body_not_allowed";
const CREATE: &str = "/orders?amount=100&currency=EUR&item=pen";
const CREATED: &str = "200: POST /orders?amount=100&currency=EUR&item=pen at orders.example \
    as orders:create";

#[test]
fn an_action_without_a_body_takes_none_in_any_form() {
    let mut turn = turn();
    let create = turn.passes.create.clone();
    let ask = || Ask::new("POST", CREATE).bearing(&create);
    let head = format!(
        "POST {CREATE} HTTP/1.1\r\nhost: orders.example\r\nauthorization: Bearer {create}\r\n"
    );
    let http1 = |more: &str| Sent::Http1(format!("{head}{more}").into_bytes());
    let http2 = |data: &[&str], trailers: &[(&[u8], &[u8])]| {
        let mut request = ask().http2();
        request.data = data.iter().map(|part| part.as_bytes().to_vec()).collect();
        request.trailers = Request::of(trailers.iter().copied()).fields;
        Sent::Http2(request)
    };
    for (sent, expected) in [
        (http1("\r\n"), CREATED),
        (http1("content-length: 0\r\n\r\n"), CREATED),
        (http1("content-length: 00\r\n\r\n"), CREATED),
        (http1("content-length: 1\r\n\r\nx"), NOT_ALLOWED),
        (http1("content-length: 9\r\n\r\namount=9 "), NOT_ALLOWED),
        (http1("transfer-encoding: chunked\r\n\r\n0\r\n\r\n"), NOT_ALLOWED),
        (http1("transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"), NOT_ALLOWED),
        (
            http1("transfer-encoding: chunked\r\ntrailer: x-a\r\n\r\n0\r\nx-a: b\r\n\r\n"),
            NOT_ALLOWED,
        ),
        // Decided before the body was there.
        (http1("content-length: 5\r\n\r\n"), NOT_ALLOWED),
        (http1("transfer-encoding: chunked\r\n\r\n"), NOT_ALLOWED),
        (http2(&[], &[]), CREATED),
        (http2(&["x"], &[]), NOT_ALLOWED),
        (http2(&["amount", "=900"], &[]), NOT_ALLOWED),
        (http2(&[""], &[]), NOT_ALLOWED),
        (http2(&[], &[(b"x-gatepass-agent", b"agent:evil")]), NOT_ALLOWED),
        (http2(&["x"], &[(b"x-a", b"b")]), NOT_ALLOWED),
    ] {
        turn.row(RAW, &sent, expected);
        turn.row(SHIPPED, &sent, expected);
    }
    let read = turn.passes.read.clone();
    let with_body = Ask::get("/orders").bearing(&read).body("{}");
    let twin = Ask::get("/orders").bearing(&read);
    let allowed = "200: GET /orders at orders.example as orders:read";
    turn.pair(RAW, &with_body, NOT_ALLOWED, &twin, allowed);
    turn.finish();
}

#[test]
fn a_length_that_is_a_lie_goes_nowhere() {
    let mut turn = turn();
    let create = turn.passes.create.clone();
    let ask = || Ask::new("POST", CREATE).bearing(&create);
    for length in ["0", "1", "-1", "x"] {
        let mut lying = ask().with("content-length", length).http2();
        lying.data.push(b"{}".to_vec());
        let expected = match length {
            "-1" | "x" => "gone",
            _ => "reset 1",
        };
        turn.row(RAW, &Sent::Http2(lying), expected);
    }
    let promised = ask().with("content-length", "2").http2();
    turn.row(RAW, &Sent::Http2(promised), "gone");
    let twin = ask().with("content-length", "0").http2();
    turn.row(RAW, &Sent::Http2(twin), CREATED);
    let chunked = ask().with("transfer-encoding", "chunked").http2();
    turn.row(RAW, &Sent::Http2(chunked), "gone");
    turn.finish();
}

#[test]
fn a_body_that_the_action_leaves_unread_arrives_whole() {
    let mut turn = turn();
    let note = turn.passes.note.clone();
    let ask = || Ask::new("POST", "/orders/7/notes").bearing(&note);
    let allowed = "200: POST /orders/7/notes at orders.example as orders:note";
    for size in [1, 1_000, 60_000] {
        for sent in ask().body(vec![b'n'; size]).both() {
            turn.row(RAW, &sent, &format!("{allowed} +{size} bytes"));
        }
    }
    for sent in ask().both() {
        turn.row(RAW, &sent, allowed);
    }
    let mut parts = ask().http2();
    parts.data = vec![b"one".to_vec(), Vec::new(), b"two".to_vec()];
    turn.row(RAW, &Sent::Http2(parts), &format!("{allowed} +6 bytes"));
    let chunked = format!(
        "POST /orders/7/notes HTTP/1.1\r\nhost: orders.example\r\nauthorization: Bearer {note}\r\n\
         transfer-encoding: chunked\r\n\r\n3\r\none\r\n3;ext=1\r\ntwo\r\n0\r\nx-gatepass-agent: x\r\n\r\n"
    );
    turn.row(RAW, &chunked.into_bytes().into(), &format!("{allowed} +6 bytes"));
    let mut trailers = ask().http2();
    trailers.data.push(b"one".to_vec());
    trailers.trailers = Request::of([(b"x-gatepass-agent".as_slice(), b"x".as_slice())]).fields;
    turn.row(RAW, &Sent::Http2(trailers), &format!("{allowed} +3 bytes"));
    // The twin: a gatepass for something else.
    let read = turn.passes.read.clone();
    let denied = Ask::new("POST", "/orders/7/notes").bearing(&read).body("n");
    for sent in denied.both() {
        turn.row(RAW, &sent, "403 action_not_granted");
    }
    turn.finish();
}

#[test]
fn a_constraint_grants_nothing_where_a_body_stays_unread() {
    let mut turn = turn();
    let mut bound = grant("orders:note").unwrap();
    for entry in &mut bound.entries {
        let seven = gatepass::issue::Constraint { equals: Some("7".into()), ..Default::default() };
        entry.constraints.insert("id".to_owned(), seven);
    }
    let bound = turn.issue(&bound);
    let note = turn.passes.note.clone();
    let ask = |pass: &str| Ask::new("POST", "/orders/7/notes").bearing(pass).body("n");
    turn.pair(
        RAW,
        &ask(&bound),
        "403 unsupported_restriction",
        &ask(&note),
        "200: POST /orders/7/notes at orders.example as orders:note +1 bytes",
    );
    turn.finish();
}
