//! Bodies that wait: bounded in number, bytes and time, in all and for each agent, and given back however they end.

use gatepass::publish::Changes;
use gatepass_engine::bundle::{Currency, Input, InputKind, Recording, Source, Treatment};
use gatepass_tests::host::{Request, Stream};
use gatepass_tests::kit::bodies::{HOST, MOST, ORDER, POLICY, USUAL, joined, order};
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::Site;
use gatepass_tests::kit::world::compile;

use crate::permits::state;

/// One worker under the orders API and the host that reads bodies.
fn site(change: impl FnOnce(&mut gatepass_engine::bundle::Bundle)) -> Site {
    let mut site = Site::cold(1, |_| {}).unwrap();
    site.envoy.allow_on_headers_stop_iteration(true);
    let orders = site.control.publisher().index().bundle().clone();
    let mut bundle = joined(orders, compile(POLICY).unwrap());
    change(&mut bundle);
    site.control.publisher().advance(&Changes::bundle(bundle)).unwrap();
    site.hear_snapshot().unwrap();
    site.tick().unwrap();
    site
}

/// A request of the nth agent whose body is to be read.
fn upload(site: &Site, nth: usize, path: &str, action: &str) -> Request {
    let mut grant = grant(action);
    grant.agent.id = format!("agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d{nth:04x}");
    let token = site.control.issue(&grant, site.now()).unwrap();
    let request =
        Request::to("POST", HOST, path).header("authorization", format!("Bearer {token}"));
    request.header("content-type", "application/json").with_body()
}

fn pay(site: &Site, nth: usize) -> Request {
    upload(site, nth, "/pay", "bodies:pay")
}

/// Begins so many, each with a first part of its body that must be taken.
fn begin(site: &mut Site, request: &Request, count: usize, part: &[u8]) -> Vec<Stream> {
    let worker = &mut site.workers[0];
    (0..count)
        .map(|nth| {
            let stream = worker.send(request.clone()).unwrap();
            if !part.is_empty() {
                worker.request_body(stream, part, false).unwrap();
            }
            assert_eq!(state(worker, stream), "held", "{nth}");
            stream
        })
        .collect()
}

/// A callback answers 32 of those that are late, and the next tick comes soon.
fn until_all_are_answered(site: &mut Site) {
    (0..8_192 / 32 + 1).for_each(|_| site.tick().unwrap());
}

fn refused(site: &mut Site, request: &Request) -> String {
    let worker = &mut site.workers[0];
    let stream = worker.send(request.clone()).unwrap();
    let said = state(worker, stream);
    assert_eq!(worker.forwarded(stream), None);
    said
}

#[test]
fn as_many_uploads_wait_as_there_are_places_and_each_is_answered_in_time() {
    let mut site = site(|_| {});
    let requests: Vec<Request> = (0..9).map(|nth| pay(&site, nth)).collect();
    let before = site.workers[0].memory_size();
    let mut all = begin(&mut site, &requests[0], 1_000, b"{");
    let with_thousand = site.workers[0].memory_size();
    all.extend(begin(&mut site, &requests[0], 24, b"{"));
    assert_eq!(refused(&mut site, &requests[0]), BUSY, "an agent has an eighth");
    for request in &requests[1..8] {
        all.extend(begin(&mut site, request, 1_024, b"{"));
        assert_eq!(refused(&mut site, request), BUSY);
    }
    assert_eq!(all.len(), 8_192);
    assert_eq!(refused(&mut site, &requests[8]), BUSY, "none is left");
    println!(
        "memory of a worker: {before} bytes, {} more with 1,000 slow uploads, {} more with 8,192",
        with_thousand - before,
        site.workers[0].memory_size() - before
    );
    assert!(with_thousand - before <= 2 << 20);
    assert!(site.workers[0].memory_size() - before <= 16 << 20);
    // Trickling does not help.
    site.advance(14_900);
    site.tick().unwrap();
    let worker = &mut site.workers[0];
    for stream in &all {
        worker.request_body(*stream, b" ", false).unwrap();
        assert_eq!(state(worker, *stream), "held");
    }
    site.advance(100);
    until_all_are_answered(&mut site);
    for stream in &all {
        assert_eq!(state(&site.workers[0], *stream), "408 body_too_slow");
        assert_eq!(site.workers[0].forwarded(*stream), None);
    }
    assert_eq!(site.metric("gatepass_decisions_by_code.deny.body_too_slow"), 8_192);
    assert_eq!(site.metric("gatepass_decisions_by_code.deny.gate_busy"), 9);
    // Every place is free again, and no more than before.
    site.hear_checkpoint().unwrap();
    site.tick().unwrap();
    for nth in 0..8 {
        let request = pay(&site, nth);
        begin(&mut site, &request, 1_024, b"");
    }
    let ninth = pay(&site, 8);
    assert_eq!(refused(&mut site, &ninth), BUSY);
}

#[test]
fn the_bytes_that_wait_are_bounded_for_each_and_in_all() {
    let mut site = site(|_| {});
    let large = |site: &Site, nth| upload(site, nth, "/large", "bodies:send");
    let part = order(MOST);
    for nth in 0..8 {
        let request = large(&site, nth);
        let mut own = begin(&mut site, &request, 8, &part);
        // Its places are not used up, and its bytes are.
        let worker = &mut site.workers[0];
        let one_more = worker.send(request.clone()).unwrap();
        assert_eq!(state(worker, one_more), "held");
        worker.request_body(one_more, b"{", false).unwrap();
        assert_eq!(state(worker, one_more), BUSY);
        assert_eq!(worker.forwarded(one_more), None);
        if nth == 0 {
            // What ends makes room for as much.
            worker.request_body(own.pop().unwrap(), b"", true).unwrap();
            begin(&mut site, &request, 1, &part);
        }
    }
    let ninth = large(&site, 8);
    let worker = &mut site.workers[0];
    let stream = worker.send(ninth.clone()).unwrap();
    worker.request_body(stream, b"{", false).unwrap();
    assert_eq!(state(worker, stream), BUSY, "64 MiB wait");
    site.advance(15_000);
    until_all_are_answered(&mut site);
    site.hear_checkpoint().unwrap();
    let request = large(&site, 0);
    begin(&mut site, &request, 8, &part);
}

/// Each way for an upload to be over gives its place and its bytes back.
#[test]
fn an_upload_gives_back_what_it_had_however_it_ends() {
    let mut site = site(|_| {});
    type End = fn(&mut Site, Stream);
    let ways: [(&str, End, &str); 7] = [
        ("allowed", |site, at| part(site, at, ORDER, true), "allow"),
        ("malformed", |site, at| part(site, at, b"{", true), "400 body_malformed"),
        ("too long", |site, at| part(site, at, &order(USUAL + 1), false), "413 body_too_large"),
        (
            "too long at once",
            |site, at| part(site, at, &order(USUAL + 1), true),
            "413 body_too_large",
        ),
        ("the client leaves", |site, at| site.workers[0].abandon(at).unwrap(), "reset"),
        (
            "the host says more than there is",
            |site, at| {
                site.workers[0].request_body_of(at, ORDER, ORDER.len() + 1, true).unwrap();
            },
            "400 body_malformed",
        ),
        (
            "the host says less than there is",
            |site, at| {
                let said = ORDER.len();
                let more = [ORDER, b" "].concat();
                site.workers[0].request_body_of(at, &more, said, true).unwrap();
            },
            "400 body_malformed",
        ),
    ];
    for (way, end, expected) in ways {
        let request = pay(&site, 0);
        let all = begin(&mut site, &request, 1_024, b"");
        assert_eq!(refused(&mut site, &request), BUSY, "{way}");
        for stream in all {
            end(&mut site, stream);
            assert_eq!(state(&site.workers[0], stream), expected, "{way}");
            let forwarded = site.workers[0].forwarded_body(stream);
            assert_eq!(forwarded, if expected == "allow" { ORDER } else { b"" });
            site.workers[0].finish(stream).unwrap();
        }
    }
    // The bytes too: were some kept, so many would not fit in the end.
    let large = upload(&site, 0, "/large", "bodies:send");
    let body = order(MOST);
    for _ in 0..40 {
        for stream in begin(&mut site, &large, 8, &body) {
            site.workers[0].abandon(stream).unwrap();
        }
    }
}

fn part(site: &mut Site, stream: Stream, bytes: &[u8], ends: bool) {
    site.workers[0].request_body(stream, bytes, ends).unwrap();
}

#[test]
fn nothing_that_a_host_says_of_nothing_is_a_body() {
    let mut site = site(|_| {});
    let sign = || {
        let token = site.control.issue(&grant("bodies:sign"), site.now()).unwrap();
        let request =
            Request::to("POST", HOST, "/sign").header("authorization", format!("Bearer {token}"));
        request.header("content-type", "application/x-www-form-urlencoded").with_body()
    };
    let sign = sign();
    let worker = &mut site.workers[0];
    let empty = worker.send(sign.clone()).unwrap();
    worker.request_body(empty, b"", true).unwrap();
    assert_eq!(state(worker, empty), "allow");
    let lied = worker.send(sign).unwrap();
    worker.request_body_of(lied, b"amount=900", 0, true).unwrap();
    assert_eq!(state(worker, lied), "400 body_malformed");
    assert_eq!(worker.forwarded(lied), None);
}

#[test]
fn in_shadow_a_slow_body_goes_on_and_the_rest_of_it_follows() {
    let mut site = site(|_| {});
    let watch = upload(&site, 0, "/watch", "bodies:watch");
    let stream = begin(&mut site, &watch, 1, b"{\"a")[0];
    site.advance(15_000);
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], stream), "allow");
    part(&mut site, stream, b"\":1}", true);
    assert_eq!(site.workers[0].forwarded_body(stream), b"{\"a\":1}");
    assert_eq!(site.metric("gatepass_decisions_by_code.shadow.body_too_slow"), 1);
    // So does one for which there is no room.
    let pay = pay(&site, 0);
    begin(&mut site, &pay, 1_024, b"");
    let worker = &mut site.workers[0];
    let stream = worker.send(watch).unwrap();
    assert_eq!(state(worker, stream), "allow");
    worker.request_body(stream, b"{}", true).unwrap();
    assert_eq!(worker.forwarded_body(stream), b"{}");
}

#[test]
fn an_upload_that_was_held_before_counts_from_when_its_body_is_asked_for() {
    let mut site = Site::cold(1, |_| {}).unwrap();
    site.envoy.allow_on_headers_stop_iteration(true);
    let orders = site.control.publisher().index().bundle().clone();
    let bundle = joined(orders, compile(POLICY).unwrap());
    site.control.publisher().advance(&Changes::bundle(bundle)).unwrap();
    let request = pay(&site, 0);
    let worker = &mut site.workers[0];
    let whole = worker.send(request.clone()).unwrap();
    worker.request_body(whole, ORDER, true).unwrap();
    let half = worker.send(request).unwrap();
    worker.request_body(half, &ORDER[..9], false).unwrap();
    site.advance(1_000);
    site.hear_snapshot().unwrap();
    site.tick().unwrap();
    assert_eq!(state(&site.workers[0], whole), "allow");
    assert_eq!(site.workers[0].forwarded_body(whole), ORDER);
    assert_eq!(state(&site.workers[0], half), "held");
    site.advance(14_900);
    site.tick().unwrap();
    part(&mut site, half, &ORDER[9..], true);
    assert_eq!(state(&site.workers[0], half), "allow");
    assert_eq!(site.workers[0].forwarded_body(half), ORDER);
}

/// Many names, each escaped, and many inputs that look for theirs among them: dear, and bounded.
#[test]
fn the_dearest_body_does_not_stop_a_worker() {
    let mut site = site(|bundle| {
        for host in &mut bundle.hosts {
            let Treatment::Guarded(routes) = &mut host.treatment else { continue };
            for route in routes.iter_mut().filter(|route| route.path == "/large") {
                let place = |name: String| Source::Body(format!("/{name}"));
                let input = |nth: usize| Input {
                    name: format!("i{nth}"),
                    kind: InputKind::Money(Currency::From(place(format!("c{nth}")))),
                    source: place(format!("a{nth}")),
                    record: Recording::None,
                };
                route.inputs = (0..32).map(input).collect();
            }
        }
    });
    let request = upload(&site, 0, "/large", "bodies:send");
    let worker = &mut site.workers[0];
    worker.set_fuel_limit(4_000_000_000);
    for name in ["\\u0061", "a", "\\n", "\\ud83d\\ude00"] {
        let member = format!("\"{name}\":1,");
        let of = |count: usize| format!("{{{}\"z\":1}}", member.repeat(count - 1));
        let most = (MOST / member.len()).min(65_000) - 1;
        for (count, expected) in [(1_024, "allow"), (most, "400 body_malformed")] {
            let body = of(count);
            assert!(body.len() <= MOST);
            let stream = worker.send(request.clone()).unwrap();
            let (_, fuel) = worker
                .fuel_of(|worker| worker.request_body(stream, body.as_bytes(), true).unwrap());
            println!(
                "{count} members named `{name}`, 64 looks: {} M instructions",
                fuel / 1_000_000
            );
            assert_eq!(state(worker, stream), expected);
            assert!(fuel < 150_000_000, "{fuel}");
            worker.finish(stream).unwrap();
        }
    }
}

const BUSY: &str = "503 gate_busy";
