//! No bytes kill a worker: a header that is not UTF-8 once did, through the SDK.

use gatepass_tests::kit::world::{World, bearing, grant};

use crate::ask::Ask;
use crate::gates::{RAW, crashes, turn};

#[test]
fn a_header_that_is_not_utf8_is_data_to_every_worker() {
    const WORKERS: u32 = 4;
    let world = World::start(WORKERS).unwrap();
    let read = world.control.issue(&grant("orders:read").unwrap()).unwrap();
    gatepass_tests::kit::world::until(
        std::time::Duration::from_secs(20),
        || world.ask("GET", "/orders", Some(&read)),
        |response| response.status == 200,
    )
    .unwrap();
    let mut workers = world.connections(4).unwrap();
    let _ = world.upstream.take();
    for (vm, connection) in &mut workers {
        for value in [b"\xff\xfe".as_slice(), b"\xed\xa0\x80", b"\x80", b"\xf8\x88\x80\x80\x80"] {
            for name in [b"x-a".as_slice(), b"x-gatepass-agent", b"cookie", b"user-agent"] {
                let good = Ask::get("/orders").bearing(&read).with(name, value);
                let response = connection.exchange(&good.http1_bytes()).unwrap();
                assert_eq!(response.verdict(), "200");
                assert_eq!(response.header("x-gatepass-vm"), Some(vm.as_str()));
                let received = world.upstream.take();
                assert_eq!(received.len(), 1);
                let arrived = received
                    .iter()
                    .any(|request| request.head.windows(value.len()).any(|part| part == value));
                assert_eq!(arrived, name != b"x-gatepass-agent".as_slice());
                let denied = Ask::get("/orders").with(name, value);
                let response = connection.exchange(&denied.http1_bytes()).unwrap();
                assert_eq!(response.verdict(), "401 no_credential");
                assert_eq!(world.upstream.take(), vec![]);
            }
        }
        let response = connection.exchange(&bearing("GET", "/orders", Some(&read))).unwrap();
        assert_eq!(response.verdict(), "200");
        assert_eq!(response.header("x-gatepass-vm"), Some(vm.as_str()));
        let _ = world.upstream.take();
    }
    assert_eq!(crashes(&world.envoy.stats().unwrap()), vec![]);
}

#[test]
fn header_names_of_any_form_are_data() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let orders = "200: GET /orders at orders.example as orders:read";
    let ask = || Ask::get("/orders").bearing(&read);
    for (name, expected) in [
        (b"x-\xff".as_slice(), "400 | gone"),
        (b"\xc3\xa9", "400 | gone"),
        (b"x y", "400 | gone"),
        (b"x:y", "200: GET /orders at orders.example as orders:read | gone"),
        (b"x\0", "400 | gone"),
        (b"", "400 | gone"),
        (b"x!#$%&'*+.^_`|~", orders),
        (b"0", orders),
    ] {
        turn.pair(RAW, &ask().with(name, "v"), expected, &ask(), orders);
    }
    let mut many = ask();
    for at in 0..90 {
        many = many.with(format!("x-{at}"), [0xff_u8; 100]);
    }
    turn.pair(RAW, &many, orders, &ask(), orders);
    let mut too_many = ask();
    for at in 0..120 {
        too_many = too_many.with(format!("x-{at}"), "v");
    }
    turn.pair(RAW, &too_many, "431 | reset 2", &ask(), orders);
    let large = ask().with("x-large", vec![b'a'; 50_000]);
    turn.pair(RAW, &large, orders, &ask(), orders);
    turn.finish();
}
