//! What happens while a body is under way: nothing of the request is at the upstream yet, and what is published
//! meanwhile counts.

use std::time::{Duration, Instant};

use gatepass_engine::revocation::Kind;
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::bodies::{MOST, ORDER, POLICY, USUAL, order};
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::WireError;
use gatepass_tests::kit::world::{ControlPlane, grant, until};
use gatepass_tests::kit::{filter, http2, wire};

use crate::ask::Ask;
use crate::gates::{RAW, turn};
use crate::reads::{ask, head, pass};

/// An Envoy of this test's alone: it publishes, revokes and is behind.
struct Place {
    /// First, so that it is killed before what it talks to.
    envoy: Envoy,
    upstream: Upstream,
    control: ControlPlane,
}

/// A request whose body is still coming.
enum Upload {
    Http1(wire::Connection),
    Http2(http2::Connection, u32),
}

impl Place {
    fn start() -> Self {
        let control = ControlPlane::with_policy("prod", POLICY).unwrap();
        let place = Self::behind(control);
        let token = place.issue("bodies:pass");
        let ready = || {
            let bytes = ask("/pass", &token).http1_bytes();
            Ok(wire::Connection::open(place.envoy.address("in")?)?.exchange(&bytes)?)
        };
        until(SOON, ready, |answer| answer.status == 200).unwrap();
        let _ = place.upstream.take();
        place
    }

    fn behind(control: ControlPlane) -> Self {
        let mut plugin = control.plugin().unwrap();
        plugin.hold_ms = 10_000;
        let upstream = Upstream::start().unwrap();
        let gate = Gate::new(filter::path().unwrap(), &plugin);
        let listener = Listener::forwarding("in", upstream.address()).gate(gate);
        let bootstrap = Bootstrap::new().listener(listener).feed(control.address()).workers(1);
        Self { envoy: Envoy::launch(&bootstrap).unwrap(), upstream, control }
    }

    fn issue(&self, action: &str) -> String {
        self.control.issue(&grant(action).unwrap()).unwrap()
    }

    /// Both versions of a request, with their headers and a first part of the body sent and read.
    fn begun(&self, ask: &Ask, first: &[u8]) -> [Upload; 2] {
        let before = self.stat("http.in.downstream_cx_rx_bytes_total");
        let address = self.envoy.address("in").unwrap();
        let mut one = wire::Connection::open(address).unwrap();
        let mut bytes = head(ask, "transfer-encoding: chunked\r\n");
        bytes.extend(chunk(first));
        one.send(&bytes).unwrap();
        let mut two = http2::Connection::open(address).unwrap();
        two.settled().unwrap();
        let id = two.start(&ask.http2().fields).unwrap();
        two.say(id, first).unwrap();
        let both = bytes.len().saturating_add(first.len());
        let sent = u64::try_from(both).unwrap();
        self.until_stat("http.in.downstream_cx_rx_bytes_total", before + sent);
        [Upload::Http1(one), Upload::Http2(two, id)]
    }

    fn stat(&self, name: &str) -> u64 {
        self.envoy.stats().unwrap().get(name).copied().unwrap_or(0)
    }

    fn until_stat(&self, name: &str, least: u64) {
        let start = Instant::now();
        while self.stat(name) < least {
            assert!(start.elapsed() < SOON, "{name} is {} and not {least}", self.stat(name));
        }
    }

    /// Every worker has a policy or a revocation that was published after all that is known now.
    fn until_known(&self, answers: &str, token: &str) {
        let asked = || {
            let bytes = ask("/pass", token).http1_bytes();
            Ok(wire::Connection::open(self.envoy.address("in")?)?.exchange(&bytes)?)
        };
        until(SOON, asked, |answer| answer.verdict() == answers).unwrap();
        let _ = self.upstream.take();
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.upstream.take().into_iter().map(|request| request.body).collect()
    }

    fn until_bodies(&self, count: usize) -> Vec<Vec<u8>> {
        let start = Instant::now();
        let mut all = self.bodies();
        while all.len() < count && start.elapsed() < SOON {
            all.extend(self.bodies());
        }
        all
    }
}

impl Upload {
    fn say(&mut self, part: &[u8]) {
        match self {
            Self::Http1(one) => one.send(&chunk(part)).unwrap(),
            Self::Http2(two, id) => two.say(*id, part).unwrap(),
        }
    }

    fn end(&mut self) -> String {
        match self {
            Self::Http1(one) => {
                // Fails where Envoy has answered and closed already.
                let _ = one.send(b"0\r\n\r\n");
            }
            Self::Http2(two, id) => {
                let _ = two.end(*id);
            }
        }
        self.answer()
    }

    fn answer(&mut self) -> String {
        match self {
            Self::Http1(one) => match one.receive() {
                Ok(answer) => answer.verdict(),
                Err(WireError::Closed(_)) => "gone".to_owned(),
                Err(error) => error.to_string(),
            },
            Self::Http2(two, id) => two.answer(*id).unwrap().verdict(),
        }
    }
}

fn chunk(part: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", part.len()).into_bytes();
    out.extend(part);
    out.extend(b"\r\n");
    out
}

fn pay(token: &str) -> Ask {
    ask("/pay", token).with("content-type", "application/json")
}

#[test]
fn what_is_published_while_a_body_comes_counts() {
    let (start, rest) = ORDER.split_at(9);
    // Left alone it goes on, as it came.
    let place = Place::start();
    for upload in &mut place.begun(&pay(&place.issue("bodies:pay")), start) {
        assert_eq!(place.bodies(), Vec::<Vec<u8>>::new());
        upload.say(rest);
        assert_eq!(upload.end(), "200");
        assert_eq!(place.until_bodies(1), [ORDER]);
    }
    // Its task is over.
    let mut ended = grant("bodies:pay").unwrap();
    ended.task = "ended".to_owned();
    let ended_token = place.control.issue(&ended).unwrap();
    ended.entries[0].actions = vec!["bodies:pass".to_owned()];
    ended.jti = gatepass::issue::new_id().unwrap();
    let witness = place.control.issue(&ended).unwrap();
    let mut uploads = place.begun(&pay(&ended_token), start);
    place.control.revoke(Kind::Task, "ended").unwrap();
    place.until_known("401 revoked_task", &witness);
    for upload in &mut uploads {
        upload.say(rest);
        assert_eq!(upload.end(), "401 revoked_task");
    }
    // Another policy: another action, then no route, then a body that no longer fits.
    let note = place.issue("bodies:pass");
    for (from, to, code) in [
        (
            "action: bodies:pay\n        inputs: &pay",
            "action: bodies:send\n        inputs: &pay",
            "403 action_not_granted",
        ),
        ("match: POST /pay", "match: POST /paid", "403 no_route"),
        (
            "action: bodies:pay\n        inputs: &pay",
            "action: bodies:pay\n        max_body: 35B\n        inputs: &pay",
            "413 body_too_large",
        ),
    ] {
        place.control.publish(POLICY).unwrap();
        place.until_known("200", &note);
        let token = place.issue("bodies:pay");
        let mut uploads = place.begun(&pay(&token), start);
        assert!(POLICY.contains(from), "{from}");
        // It also takes the witness away, so that it is seen to be in force.
        let changed =
            POLICY.replacen(from, to, 1).replace("match: POST /pass", "match: POST /passed");
        place.control.publish(&changed).unwrap();
        place.until_known("403 no_route", &note);
        for upload in &mut uploads {
            upload.say(rest);
            assert_eq!(upload.end(), code, "{to}");
        }
    }
    assert_eq!(place.bodies(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_held_request_is_decided_with_its_body_once_the_gate_knows_more() {
    let mut control = ControlPlane::with_policy("prod", POLICY).unwrap();
    control.stop();
    let mut place = Place::behind(control);
    let (paid, noted) = (place.issue("bodies:pay"), place.issue("bodies:pass"));
    let (start, rest) = ORDER.split_at(9);
    // One for each: whole before the gate knows, half, and for an action that leaves it unread.
    let mut whole = place.begun(&pay(&paid), ORDER);
    let mut wrong = place.begun(&pay(&paid), b"{");
    for upload in whole.iter_mut().chain(&mut wrong) {
        match upload {
            Upload::Http1(one) => one.send(b"0\r\n\r\n").unwrap(),
            Upload::Http2(two, id) => two.end(*id).unwrap(),
        }
    }
    let mut half = place.begun(&pay(&paid), start);
    let mut unread = place.begun(&ask("/pass", &noted), start);
    let mut tall = place.begun(&pay(&paid), &order(USUAL / 2));
    place.until_stat("wasmcustom.gatepass_requests_held", 10);
    for upload in &mut tall {
        upload.say(&order(USUAL / 2 + 1));
        assert_eq!(upload.answer(), "413 body_too_large");
    }
    assert_eq!(place.bodies(), Vec::<Vec<u8>>::new());
    place.control.serve().unwrap();
    for upload in &mut whole {
        assert_eq!(upload.answer(), "200");
    }
    for upload in &mut wrong {
        assert_eq!(upload.answer(), "400 body_malformed");
    }
    assert_eq!(place.until_bodies(2), [ORDER, ORDER]);
    for upload in half.iter_mut().chain(&mut unread) {
        for part in rest.chunks(5) {
            upload.say(part);
        }
        assert_eq!(upload.end(), "200");
        assert_eq!(place.until_bodies(1), [ORDER], "in order and once");
    }
}

#[test]
fn a_body_that_ends_too_early_goes_nowhere() {
    let mut turn = turn();
    let paid = pass(&turn, "bodies:pay", true);
    let address = turn.envoy.address(RAW).unwrap();
    for (more, part) in [
        ("content-length: 36\r\n", &ORDER[..35]),
        ("content-length: 36\r\n", b""),
        ("transfer-encoding: chunked\r\n", b"24\r\n{\"amount\""),
        ("transfer-encoding: chunked\r\n", b""),
    ] {
        let mut connection = wire::Connection::open(address).unwrap();
        let mut bytes = head(&pay(&paid), more);
        bytes.extend(part);
        connection.send(&bytes).unwrap();
        connection.end().unwrap();
        assert!(connection.receive().is_err(), "{more}");
        turn.quiet(more);
    }
    for part in [&ORDER[..35], b"", ORDER] {
        let mut connection = http2::Connection::open(address).unwrap();
        let id = connection.start(&pay(&paid).http2().fields).unwrap();
        connection.say(id, part).unwrap();
        connection.reset(id).unwrap();
        // The connection lives, and the next request on it is decided.
        let next = connection.exchange(&pay(&paid).body(ORDER).http2()).unwrap();
        assert_eq!(next.verdict(), "200");
        let received = turn.received();
        turn.holds("what was taken back", &received.len().to_string(), "1");
    }
    // Nonsense where a chunk should be.
    let mut broken = head(&pay(&paid), "transfer-encoding: chunked\r\n");
    broken.extend(b"24\r\n");
    broken.extend(ORDER);
    broken.extend(b"xx\r\n0\r\n\r\n");
    // Envoy skips it, and what goes on is what was decided on, chunked anew.
    turn.arrives(RAW, &broken.into(), "bodies:pay", ORDER);
    turn.finish();
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on_and_still_decided() {
    let mut turn = turn();
    let paid = pass(&turn, "bodies:pay", true);
    let address = turn.envoy.address(RAW).unwrap();
    let expecting = head(&pay(&paid), "content-length: 36\r\nexpect: 100-continue\r\n");
    for waits in [true, false] {
        let mut connection = wire::Connection::open(address).unwrap();
        if waits {
            connection.send(&expecting).unwrap();
            assert_eq!(connection.receive_head().unwrap().status, 100);
            turn.quiet("before the body");
            connection.send(ORDER).unwrap();
        } else {
            connection.send(&[&expecting, ORDER].concat()).unwrap();
            assert_eq!(connection.receive_head().unwrap().status, 100);
        }
        let verdict = connection.receive().unwrap().verdict();
        turn.holds("expect", &verdict, "200");
        let received = turn.received();
        let told: Vec<_> = received.iter().map(|one| (&*one.body, one.header("expect"))).collect();
        assert_eq!(told, [(ORDER, Vec::<String>::new())]);
    }
    let wrong = "{\"amount\":\"900.00\",\"currency\":\"EUR\"}";
    assert_eq!(wrong.len(), 36);
    let mut connection = wire::Connection::open(address).unwrap();
    connection.send(&expecting).unwrap();
    assert_eq!(connection.receive_head().unwrap().status, 100);
    connection.send(wrong.as_bytes()).unwrap();
    let verdict = connection.receive().unwrap().verdict();
    turn.holds("expect", &verdict, "403 constraint_violated");
    turn.quiet("after a denial");
    // Envoy says so before it asks the gate, which says what it says of any such length.
    let mut connection = wire::Connection::open(address).unwrap();
    let tall = head(&pay(&paid), "content-length: 65537\r\nexpect: 100-continue\r\n");
    connection.send(&tall).unwrap();
    assert_eq!(connection.receive_head().unwrap().status, 100);
    let verdict = connection.receive().unwrap().verdict();
    turn.holds("expect", &verdict, "413 body_too_large");
    turn.quiet("after another");
    turn.finish();
}

/// Envoy keeps what waits, up to its own limit for a connection: then it answers by itself.
#[test]
fn envoys_own_limit_comes_first_where_it_is_lower() {
    let control = ControlPlane::with_policy("prod", POLICY).unwrap();
    let plugin = control.plugin().unwrap();
    let upstream = Upstream::start().unwrap();
    let gate = Gate::new(filter::path().unwrap(), &plugin);
    let listener = Listener::forwarding("in", upstream.address()).gate(gate);
    let yaml = Bootstrap::new()
        .listener(listener)
        .feed(control.address())
        .render(std::path::Path::new("/dev/null"))
        .unwrap();
    let place = "    enable_reuse_port: true\n";
    assert_eq!(yaml.matches(place).count(), 1);
    let yaml =
        yaml.replace(place, &format!("{place}    per_connection_buffer_limit_bytes: 32768\n"));
    let binary = gatepass_envoy::EnvoyBinary::find().unwrap();
    let envoy = Envoy::launch_yaml(&binary, &yaml, &gatepass_envoy::Settings::default()).unwrap();
    let address = envoy.address("in").unwrap();
    let token = |action: &str| control.issue(&grant(action).unwrap()).unwrap();
    let (paid, noted) = (token("bodies:pay"), token("bodies:pass"));
    let ready =
        || Ok(wire::Connection::open(address)?.exchange(&ask("/pass", &noted).http1_bytes())?);
    until(SOON, ready, |answer| answer.status == 200).unwrap();
    let _ = upstream.take();
    let answers = |ask: &Ask| {
        let one = wire::Connection::open(address).unwrap().exchange(&ask.http1_bytes()).unwrap();
        let mut two = http2::Connection::open(address).unwrap();
        two.settled().unwrap();
        let two = two.exchange(&ask.http2()).unwrap();
        [one.verdict(), two.verdict()]
    };
    let small = order(30_000);
    assert_eq!(answers(&pay(&paid).body(&small)), ["200", "200"]);
    let whole = upstream.take();
    assert!(whole.len() == 2 && whole.iter().all(|one| one.body == small));
    // Within the bound of the route: either is an answer, and what arrives is whole.
    let large = order(60_000);
    for verdict in answers(&pay(&paid).body(&large)) {
        assert!(["200", "413"].contains(&&*verdict), "{verdict}");
        println!("60,000 bytes where Envoy keeps 32,768: {verdict}");
        let received = upstream.take();
        assert!(received.iter().all(|one| one.body == large));
    }
    // What is not read is not kept.
    let most = order(MOST);
    assert_eq!(answers(&ask("/pass", &noted).body(&most)), ["200", "200"]);
    let whole = upstream.take();
    assert!(whole.len() == 2 && whole.iter().all(|one| one.body == most));
    assert_eq!(answers(&pay(&paid).body(order(USUAL + 1)))[0], "413 body_too_large");
    assert_eq!(upstream.take(), []);
}

/// How long anything may take.
const SOON: Duration = Duration::from_secs(20);
