//! A permit ends: what was let on is watched until it is over, and what is held is bounded. What ends an open
//! stream before its time: `open_streams`.

use gatepass_tests::host::{Outcome, Stream, Vm};
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::{Site, order, verdict};

pub(crate) fn state(vm: &Vm, stream: Stream) -> String {
    verdict(&vm.outcome(stream).unwrap())
}

#[test]
fn a_response_that_outlives_its_permit_is_cut() {
    let mut site = Site::start(1).unwrap();
    let token = site.control.issue(&grant("orders:note"), site.now()).unwrap();
    let request = order("POST", "/orders/1/notes", Some(&token));
    let send = |site: &mut Site| {
        let worker = &mut site.workers[0];
        let stream = worker.send(request.clone()).unwrap();
        worker.response(stream, &[(":status", "200")], false).unwrap();
        stream
    };
    let first = send(&mut site);
    site.advance(1_000);
    let second = send(&mut site);
    let ended = send(&mut site);
    site.workers[0].finish(ended).unwrap();
    site.advance(58_900);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], first), "allow");
    site.advance(100);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], first), "reset");
    assert_eq!(state(&site.workers[0], second), "allow");
    site.advance(1_000);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], second), "reset");
    assert_eq!(state(&site.workers[0], ended), "allow", "it was over before");
    assert_eq!(site.metric("gatepass_permits_ended"), 2);
    assert_eq!(site.metric("gatepass_permit_ends.duration_over"), 2);
}

#[test]
fn a_permit_counts_from_when_the_request_went_on() {
    let mut site = Site::cold(1, |_| {}).unwrap();
    let token = site.control.issue(&grant("orders:note"), site.now()).unwrap();
    let held = site.workers[0].send(order("POST", "/orders/1/notes", Some(&token))).unwrap();
    site.advance(1_500);
    site.hear_snapshot().unwrap();
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], held), "allow");
    site.advance(59_000);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], held), "allow");
    site.advance(1_000);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], held), "reset");
}

#[test]
fn requests_that_ended_leave_nothing_behind() {
    let mut site = Site::start(1).unwrap();
    let public = order("GET", "/healthz", None);
    let worker = &mut site.workers[0];
    for _ in 0..1_000 {
        worker.decide(public.clone()).unwrap();
    }
    let before = worker.memory_size();
    for nth in 0..70_000 {
        let outcome = worker.decide(public.clone()).unwrap();
        assert!(matches!(outcome, Outcome::Continued(_)), "{nth}");
    }
    assert_eq!(worker.memory_size(), before);
}

/// One worker watches 65,536, half of them without a gatepass.
#[test]
fn more_open_requests_than_are_watched_are_refused_until_some_end() {
    let mut site = Site::start(1).unwrap();
    let token = site.control.issue(&grant("orders:note"), site.now()).unwrap();
    let worker = &mut site.workers[0];
    let public = order("GET", "/healthz", None);
    let known = order("POST", "/orders/1/notes", Some(&token));
    let open: Vec<Stream> = (0..32_768).map(|_| worker.send(public.clone()).unwrap()).collect();
    assert!(open.iter().all(|stream| state(worker, *stream) == "allow"));
    let full = "503 too_many_open";
    let next = worker.send(public.clone()).unwrap();
    assert_eq!(state(worker, next), full);
    assert_eq!(worker.forwarded(next), None);
    let recorded = String::from_utf8_lossy(worker.filter_state(next, "gatepass").unwrap());
    assert!(recorded.starts_with("decision=deny code=too_many_open id="), "{recorded}");
    // Nobody without a gatepass keeps out who has one.
    let those: Vec<Stream> = (0..32_768).map(|_| worker.send(known.clone()).unwrap()).collect();
    assert!(those.iter().all(|stream| state(worker, *stream) == "allow"));
    let refused = worker.send(known.clone()).unwrap();
    assert_eq!(state(worker, refused), full);
    let recorded = String::from_utf8_lossy(worker.filter_state(refused, "gatepass").unwrap());
    assert!(recorded.contains(" agent=agent:") && recorded.contains(" action=orders:note "));
    worker.finish(open[9]).unwrap();
    let next = worker.send(known.clone()).unwrap();
    assert_eq!(state(worker, next), "allow");
    assert_eq!(site.metric("gatepass_decisions_by_code.deny.too_many_open"), 2);
    assert_eq!(site.metric("gatepass_decisions_by_action.deny.orders:note"), 1);
    assert_eq!(site.metric("gatepass_decisions_by_code.allow.public"), 32_768);
    assert_eq!(site.metric("gatepass_decisions_by_code.allow.decided"), 32_769);
    // Their time is over: all are cut, in as many ticks as that takes, and all places are free.
    site.advance(60_000);
    while site.metric("gatepass_permits_ended") < 65_536 {
        let before = site.metric("gatepass_permits_ended");
        site.tick().unwrap();
        assert!(site.metric("gatepass_permits_ended") > before);
    }
    let worker = &mut site.workers[0];
    assert_eq!(state(worker, open[0]), "reset");
    assert_eq!(state(worker, next), "reset");
    let next = worker.send(public).unwrap();
    assert_eq!(state(worker, next), "allow");
}

#[test]
fn a_held_request_may_not_fill_envoys_buffers() {
    let mut site = Site::cold(1, |_| {}).unwrap();
    site.envoy.allow_on_headers_stop_iteration(true);
    let token = site.control.issue(&grant("orders:note"), site.now()).unwrap();
    let note = order("POST", "/orders/1/notes", Some(&token)).with_body();
    let worker = &mut site.workers[0];
    let small = worker.send(note.clone()).unwrap();
    let large = worker.send(note).unwrap();
    worker.request_body(small, &[0; 65_536], false).unwrap();
    worker.request_body(large, &[0; 65_536], false).unwrap();
    assert_eq!(state(worker, small), "held");
    worker.request_body(large, &[0], false).unwrap();
    assert_eq!(state(worker, large), "413 body_too_large");
    site.hear_snapshot().unwrap();
    site.tick().unwrap();
    let worker = &mut site.workers[0];
    assert_eq!(state(worker, small), "allow");
    assert_eq!(worker.forwarded_body(small).len(), 65_536);
    assert_eq!(worker.forwarded(large), None);
    // Once it goes on, the size of a body is the upstream's business.
    worker.request_body(small, &[0; 1 << 20], true).unwrap();
    assert_eq!(worker.forwarded_body(small).len(), 65_536 + (1 << 20));
}
