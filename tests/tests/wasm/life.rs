//! Before the first batch, and while a request waits for one.

use gatepass_engine::position::Position;
use gatepass_tests::host::{Outcome, Request, Stream, Vm};
use gatepass_tests::kit::signed::{EPOCH, grant};
use gatepass_tests::kit::site::{Site, order, verdict};

/// A site that has heard nothing, and a good gatepass for its policy.
fn cold() -> (Site, Request) {
    let site = Site::cold(1, |_| {}).unwrap();
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    (site, order("GET", "/orders", Some(&token)))
}

fn state(vm: &Vm, stream: Stream) -> String {
    verdict(&vm.outcome(stream).unwrap())
}

#[test]
fn before_the_first_batch_a_request_without_a_credential_is_refused_at_once() {
    let (mut site, _) = cold();
    let outcome = site.workers[0].decide(order("GET", "/orders", None)).unwrap();
    let Outcome::Replied(reply) = &outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(verdict(&outcome), "503 not_ready");
    assert_eq!(reply.details, "gatepass_denied_not_ready");
    assert_eq!(reply.headers.text("retry-after"), Some("1"));
    assert_eq!(reply.headers.text("www-authenticate"), None);
    assert_eq!(site.metric("gatepass_decisions_by_code.deny.not_ready"), 1, "it is counted");
    for odd in ["", "Bearer", "Basic eA==", "Bearer a.b", "Bearer a b"] {
        let request = order("GET", "/orders", None).header("authorization", odd);
        assert_eq!(site.ask(0, request).unwrap(), "503 not_ready", "{odd:?}");
    }
    assert_eq!(site.metric("gatepass_requests_held"), 0);
}

#[test]
fn a_request_with_a_gatepass_waits_for_the_first_batch_and_is_then_decided() {
    let (mut site, good) = cold();
    let other = site.control.issue(&grant("orders:create"), site.now()).unwrap();
    let bad = order("GET", "/orders", Some(&other));
    let waiting = site.workers[0].send(good).unwrap();
    let denied = site.workers[0].send(bad).unwrap();
    site.advance(500);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], waiting), "held");
    assert_eq!(state(&site.workers[0], denied), "held");
    assert_eq!(site.metric("gatepass_requests_held"), 2);
    site.hear_snapshot().unwrap();
    assert_eq!(state(&site.workers[0], waiting), "held", "before its tick");
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], waiting), "allow");
    assert_eq!(state(&site.workers[0], denied), "403 action_not_granted", "ready is not enough");
    let upstream = site.workers[0].forwarded(waiting).unwrap();
    assert_eq!(upstream.text("x-gatepass-action"), Some("orders:read"));
    assert_eq!(upstream.text("authorization"), None);
}

#[test]
fn when_the_hold_time_is_over_a_held_request_is_refused() {
    let (mut site, good) = cold();
    let waiting = site.workers[0].send(good).unwrap();
    site.advance(1_999);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], waiting), "held");
    site.advance(1);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], waiting), "503 not_ready");
    site.hear_snapshot().unwrap();
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], waiting), "503 not_ready");
}

#[test]
fn without_a_hold_time_nothing_is_held() {
    let mut site = Site::cold(1, |c| c["hold_ms"] = 0.into()).unwrap();
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    let request = order("GET", "/orders", Some(&token));
    assert_eq!(site.ask(0, request).unwrap(), "503 not_ready");
    assert_eq!(site.metric("gatepass_requests_held"), 0);
}

#[test]
fn one_vm_holds_256_requests_and_refuses_the_next_until_one_leaves() {
    let (mut site, good) = cold();
    let worker = &mut site.workers[0];
    let held: Vec<Stream> = (0..256).map(|_| worker.send(good.clone()).unwrap()).collect();
    assert!(held.iter().all(|stream| state(worker, *stream) == "held"));
    let next = worker.send(good.clone()).unwrap();
    assert_eq!(state(worker, next), "503 not_ready");
    worker.abandon(held[7]).unwrap();
    let next = worker.send(good.clone()).unwrap();
    assert_eq!(state(worker, next), "held", "the place is free again");
    let full = worker.send(good.clone()).unwrap();
    assert_eq!(state(worker, full), "503 not_ready", "but only one");
    // All of them come to an end, and all places are free again.
    site.advance(2_000);
    (0..9).for_each(|_| site.tick().unwrap());
    let worker = &mut site.workers[0];
    for (nth, stream) in held.iter().chain([&next]).enumerate() {
        let expected = if nth == 7 { "reset" } else { "503 not_ready" };
        assert_eq!(state(worker, *stream), expected, "{nth}");
    }
    let again: Vec<Stream> = (0..257).map(|_| worker.send(good.clone()).unwrap()).collect();
    let held = again.iter().filter(|stream| state(worker, **stream) == "held");
    assert_eq!(held.count(), 256);
}

#[test]
fn the_body_of_a_held_request_waits_with_it() {
    let (mut site, _) = cold();
    site.envoy.allow_on_headers_stop_iteration(true);
    let now = site.now();
    let note = site.control.issue(&grant("orders:note"), now).unwrap();
    let read = site.control.issue(&grant("orders:read"), now).unwrap();
    let worker = &mut site.workers[0];
    let allowed = order("POST", "/orders/1/notes", Some(&note)).with_body();
    let allowed = worker.send(allowed).unwrap();
    let denied = order("POST", "/orders/1/notes", Some(&read)).with_body();
    let denied = worker.send(denied).unwrap();
    for stream in [allowed, denied] {
        let outcome = worker.request_body(stream, b"first ", false).unwrap();
        assert_eq!(outcome, Outcome::Paused);
        assert_eq!(worker.forwarded(stream), None);
        assert_eq!(worker.forwarded_body(stream), b"");
    }
    site.hear_snapshot().unwrap();
    site.tick().unwrap();
    let worker = &mut site.workers[0];
    assert_eq!(worker.forwarded_body(allowed), b"first ");
    worker.request_body(allowed, b"second", true).unwrap();
    assert_eq!(worker.forwarded_body(allowed), b"first second");
    assert_eq!(state(worker, denied), "403 action_not_granted");
    assert_eq!(worker.forwarded(denied), None);
    assert_eq!(worker.forwarded_body(denied), b"");
}

#[test]
fn a_gatepass_from_ahead_of_the_gate_waits_for_it_to_catch_up() {
    let mut site = Site::start(1).unwrap();
    let here = site.control.position();
    let next = Position { epoch: EPOCH, sequence: here.sequence + 1 };
    let far = Position { epoch: EPOCH, sequence: here.sequence + 2 };
    let now = site.now();
    let mut ask = |position| {
        let token = site.control.issue_at(&grant("orders:read"), position, now).unwrap();
        site.workers[0].send(order("GET", "/orders", Some(&token))).unwrap()
    };
    let (soon, late) = (ask(next), ask(far));
    assert_eq!(state(&site.workers[0], soon), "held");
    assert_eq!(state(&site.workers[0], late), "held");
    site.revoke(gatepass_engine::revocation::Kind::Credential, "another").unwrap();
    (0..9).for_each(|_| site.tick().unwrap());
    assert_eq!(state(&site.workers[0], soon), "allow");
    assert_eq!(state(&site.workers[0], late), "held");
    site.advance(2_000);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], late), "503 behind");
}

#[test]
fn a_vm_that_is_configured_late_is_ready_at_once() {
    let site = Site::start(0).unwrap();
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    let mut late = site.another().unwrap();
    let outcome = late.decide(order("GET", "/orders", Some(&token))).unwrap();
    assert_eq!(verdict(&outcome), "allow");
    let outcome = late.decide(order("GET", "/orders", None)).unwrap();
    assert_eq!(verdict(&outcome), "401 no_credential");
}

#[test]
fn requests_that_wait_cost_nothing_until_there_is_news() {
    let mut site = Site::start(1).unwrap();
    let here = site.control.position();
    let next = Position { epoch: EPOCH, sequence: here.sequence + 1 };
    let token = site.control.issue_at(&grant("orders:read"), next, site.now()).unwrap();
    let request = order("GET", "/orders", Some(&token));
    let worker = &mut site.workers[0];
    let held: Vec<Stream> = (0..256).map(|_| worker.send(request.clone()).unwrap()).collect();
    worker.tick().unwrap();
    for _ in 0..30 {
        site.advance(50);
        site.leader.tick().unwrap();
        let ((), fuel) = site.workers[0].fuel_of(|worker| worker.tick().unwrap());
        assert!(fuel < 1_000_000, "{fuel}");
    }
    assert!(held.iter().all(|stream| state(&site.workers[0], *stream) == "held"));
    site.revoke(gatepass_engine::revocation::Kind::Credential, "another").unwrap();
    // A callback lets 32 on.
    (0..9).for_each(|_| site.tick().unwrap());
    let states: Vec<String> = held.iter().map(|stream| state(&site.workers[0], *stream)).collect();
    assert!(states.iter().all(|state| state == "allow"), "{states:?}");
}

#[test]
fn news_that_another_request_read_first_releases_those_that_wait() {
    let (mut site, good) = cold();
    let waiting = site.workers[0].send(good.clone()).unwrap();
    site.tick().unwrap();
    site.hear_snapshot().unwrap();
    assert_eq!(site.ask(0, good).unwrap(), "allow");
    assert_eq!(state(&site.workers[0], waiting), "held");
    site.workers[0].tick().unwrap();
    assert_eq!(state(&site.workers[0], waiting), "allow");
}

#[test]
fn a_request_of_a_configuration_that_nobody_knows_is_refused() {
    let mut site = Site::start(1).unwrap();
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    let good = order("GET", "/orders", Some(&token));
    assert_eq!(site.ask(0, good.clone()).unwrap(), "allow");
    assert_eq!(site.ask(0, good.clone().root(4_242)).unwrap(), "503 not_ready");
    assert_eq!(site.ask(0, good).unwrap(), "allow", "the VM lives on");
}
