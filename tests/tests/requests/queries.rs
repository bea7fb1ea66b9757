//! Query keys and headers that feed an input: one spelling, once.

use gatepass::issue::Constraint;
use gatepass_tests::kit::world::grant;

use crate::ask::Ask;
use crate::gates::{RAW, SHIPPED, turn};

const AMBIGUOUS: &str = "400 ambiguous_request";
const VIOLATED: &str = "403 constraint_violated";
const GOOD: &str = "/orders?amount=100&currency=EUR&item=pen";

/// What stands for `amount=100` in the query of [`GOOD`]; a gatepass allows 500 EUR.
const AMOUNTS: &[(&[u8], &str)] = &[
    (b"amount=900", VIOLATED),
    (b"amount=500.0001", VIOLATED),
    (b"amount=1e2", VIOLATED),
    (b"amount=0x1", VIOLATED),
    (b"amount=%2B100", VIOLATED),
    (b"amount=%20100", VIOLATED),
    (b"amount=100%20", VIOLATED),
    (b"amount=1,00", VIOLATED),
    (b"amount=", VIOLATED),
    (b"amount", VIOLATED),
    (b"other=100", VIOLATED),
    (b"amount=100&amount=900", AMBIGUOUS),
    (b"amount=900&amount=100", AMBIGUOUS),
    (b"amount=100&amount=100", AMBIGUOUS),
    (b"amount=100&amount", AMBIGUOUS),
    (b"amount=100&amount=", AMBIGUOUS),
    (b"amount=100&Amount=900", AMBIGUOUS),
    (b"amount=100&AMOUNT=900", AMBIGUOUS),
    (b"Amount=100", AMBIGUOUS),
    (b"amount=100&%61mount=900", AMBIGUOUS),
    (b"%61mount=100", AMBIGUOUS),
    (b"a%6Dount=100", AMBIGUOUS),
    (b"amount=100&amount[]=900", AMBIGUOUS),
    (b"amount=100&amount%5B%5D=900", AMBIGUOUS),
    (b"amount=100&amount[0]=900", AMBIGUOUS),
    (b"amount=100&amount[=900", AMBIGUOUS),
    (b"amount[]=100", AMBIGUOUS),
    // Rack and qs read what stands in the first brackets.
    (b"amount=100&[amount]=900", AMBIGUOUS),
    (b"amount=100&[amount=900", AMBIGUOUS),
    (b"amount=100&amount]=900", AMBIGUOUS),
    (b"amount=100&%5Bamount%5D=900", AMBIGUOUS),
    (b"amount=100&amount_=900", AMBIGUOUS),
    (b"amount=100&Amount[x]=900", AMBIGUOUS),
    // PHP drops white space before a key.
    (b"amount=100&%20amount=900", AMBIGUOUS),
    (b"amount=100&+amount=900", AMBIGUOUS),
    (b"amount=+100", AMBIGUOUS),
    (b"amount=100+", AMBIGUOUS),
    (b"amount=100;amount=900", AMBIGUOUS),
    (b"x=1;amount=900&amount=100", AMBIGUOUS),
    (b"amount=100&amount%00=900", AMBIGUOUS),
    (b"amount=100%00", AMBIGUOUS),
    (b"amount=100%", AMBIGUOUS),
    (b"amount=100&%u0061mount=900", AMBIGUOUS),
    (b"amount=100&x=\xff", "400 | 400 ambiguous_request"),
    (b"amount=100&x=%FF", AMBIGUOUS),
    (b"amount=100&x=%C0%AF", AMBIGUOUS),
    (b"amount=100&x=\\", AMBIGUOUS),
    (b"amount=100&x=\"", AMBIGUOUS),
    (b"amount=100&x=<", AMBIGUOUS),
    (b"amount=100&currency=USD", AMBIGUOUS),
];

#[test]
fn an_amount_is_read_from_one_key_in_one_spelling() {
    let mut turn = turn();
    let create = turn.passes.create.clone();
    let twin = Ask::new("POST", GOOD).bearing(&create);
    let allowed = format!("200: POST {GOOD} at orders.example as orders:create");
    for (amount, expected) in AMOUNTS {
        let path = [b"/orders?", *amount, b"&currency=EUR&item=pen"].concat();
        let hostile = Ask::new("POST", path).bearing(&create);
        turn.pair(RAW, &hostile, expected, &twin, &allowed);
        turn.pair(SHIPPED, &hostile, expected, &twin, &allowed);
    }
    turn.finish();
}

#[test]
fn what_feeds_no_input_may_occur_as_it_likes() {
    let mut turn = turn();
    let create = turn.passes.create.clone();
    for more in [
        "&amounts=900",
        "&x=1&x=2",
        "&X[]=1&x%5B%5D=2",
        "&=amount",
        "&",
        "&x=a+b",
        "?amount=900",
        "&x=amount=900",
        "%20pen",
    ] {
        let path = format!("{GOOD}{more}");
        let ask = Ask::new("POST", &path).bearing(&create);
        for sent in ask.both() {
            let expected = format!("200: POST {path} at orders.example as orders:create");
            turn.row(RAW, &sent, &expected);
        }
    }
    turn.finish();
}

#[test]
fn a_query_names_no_other_method() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let twin = Ask::get("/orders?method=DELETE").bearing(&read);
    let allowed = "200: GET /orders?method=DELETE at orders.example as orders:read";
    for query in [
        "_method=DELETE",
        "_METHOD=DELETE",
        "x=1&%5Fmethod=DELETE",
        "_method",
        "X-HTTP-Method-Override=DELETE",
    ] {
        let hostile = Ask::get(format!("/orders?{query}")).bearing(&read);
        turn.pair(RAW, &hostile, AMBIGUOUS, &twin, allowed);
    }
    turn.finish();
}

/// `order_id` is what PHP makes of each of these.
#[test]
fn a_key_with_an_underscore_has_no_second_spelling_either() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let twin = Ask::get("/lines?order_id=7").bearing(&read);
    let allowed = "200: GET /lines?order_id=7 at orders.example as orders:read";
    for more in [
        "order_id",
        "order.id",
        "order%20id",
        "order+id",
        "order[id",
        "orderId",
        "order-id",
        "Order.Id",
        "+order_id",
        "order_id[]",
        "order.id[]",
    ] {
        let path = format!("/lines?order_id=7&{more}=8");
        let hostile = Ask::get(path).bearing(&read);
        turn.pair(RAW, &hostile, AMBIGUOUS, &twin, allowed);
    }
    turn.finish();
}

#[test]
fn a_header_that_feeds_an_input_occurs_once() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let ask = || Ask::get("/stock").bearing(&read);
    let allowed = "200: GET /stock at orders.example as orders:read";
    let twin = ask().with("x-site", "north");
    turn.pair(
        RAW,
        &ask().with("x-site", "north").with("x-site", "south"),
        AMBIGUOUS,
        &twin,
        allowed,
    );
    for (name, value) in [
        ("x-site", b"north,south".as_slice()),
        ("x-site", b"north, south"),
        ("x-site", b"nor\xffth"),
        ("x_site", b"south"),
        ("X_Site", b"south"),
    ] {
        let hostile =
            if name == "x-site" { ask().with(name, value) } else { twin.clone().with(name, value) };
        turn.pair(RAW, &hostile, AMBIGUOUS, &twin, allowed);
    }
    // HTTP/1.1 has no white space at a value's ends: over HTTP/2 it arrives at the gate, and the
    // upstream would read another value than the one decided on.
    for value in ["north ", " north", "\tnorth"] {
        let hostile = ask().with("x-site", value).http2();
        turn.row(RAW, &hostile.into(), AMBIGUOUS);
    }
    // Envoy takes a lone CR out of a value before the gate sees it.
    let mut bound = grant("orders:read").unwrap();
    for entry in &mut bound.entries {
        let north = Constraint { equals: Some("north".into()), ..Constraint::default() };
        entry.constraints.insert("site".to_owned(), north);
    }
    let bound = turn.issue(&bound);
    let ask = |site: &str| Ask::get("/stock").bearing(&bound).with("x-site", site).http1();
    turn.row(RAW, &ask("nor\rth"), allowed);
    turn.row(RAW, &ask("south"), VIOLATED);
    turn.finish();
}
