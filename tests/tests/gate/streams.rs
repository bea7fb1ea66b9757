//! Streams of each kind through a real Envoy: each ends with what let it on, and its twin goes on to its end.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gatepass::issue::Grant;
use gatepass_engine::revocation::Kind as Revoked;
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, PluginConfig};
use gatepass_tests::kit::http2::{self, Answer};
use gatepass_tests::kit::lasting::{LAST, Lasting};
use gatepass_tests::kit::orders::HOST;
use gatepass_tests::kit::wire::{Connection, WireError, request};
use gatepass_tests::kit::world::{ControlPlane, Failed, bearing, grant, until};
use gatepass_tests::kit::{filter, orders};

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Server-sent events.
    EventsOverHttp1,
    EventsOverHttp2,
    /// A response of many messages.
    Grpc,
    Upload,
    WebSocket,
    /// By extended CONNECT (RFC 8441).
    WebSocketOverHttp2,
}

const KINDS: [Kind; 6] = [
    Kind::EventsOverHttp1,
    Kind::EventsOverHttp2,
    Kind::Grpc,
    Kind::Upload,
    Kind::WebSocket,
    Kind::WebSocketOverHttp2,
];

impl Kind {
    const fn action(self) -> &'static str {
        match self {
            Self::EventsOverHttp1 | Self::EventsOverHttp2 => "orders:read",
            Self::Grpc | Self::Upload => "orders:note",
            Self::WebSocket | Self::WebSocketOverHttp2 => "orders:chat",
        }
    }
}

/// An Envoy with two workers in front of an upstream whose answers last.
struct Place {
    control: ControlPlane,
    upstream: Lasting,
    envoy: Envoy,
}

impl Place {
    fn start() -> Self {
        Self::under(&policy())
    }

    fn under(policy: &str) -> Self {
        Self::served_by(2, policy)
    }

    fn served_by(workers: u32, policy: &str) -> Self {
        let control = ControlPlane::with_policy("prod", policy).unwrap();
        let plugin = control.plugin().unwrap();
        let place = Self::with(control, &plugin, workers);
        let ready = || Ok(place.connect()?.exchange(&bearing("GET", "/orders", None))?);
        until(SOON, ready, |answer| answer.verdict() == "401 no_credential").unwrap();
        place
    }

    fn with(control: ControlPlane, plugin: &PluginConfig, workers: u32) -> Self {
        let upstream = Lasting::start().unwrap();
        let gate = Gate::new(filter::path().unwrap(), plugin);
        let listener = Listener::forwarding("in", upstream.address()).gate(gate).with_upgrades();
        let bootstrap =
            Bootstrap::new().listener(listener).feed(control.address()).workers(workers);
        let envoy = Envoy::launch(&bootstrap).unwrap();
        Self { control, upstream, envoy }
    }

    fn connect(&self) -> Result<Connection, Failed> {
        Ok(Connection::open(self.envoy.address("in")?)?)
    }

    fn issue(&self, action: &str, change: impl FnOnce(&mut Grant)) -> String {
        let mut grant = grant(action).unwrap();
        change(&mut grant);
        self.control.issue(&grant).unwrap()
    }

    /// Opens a stream that tells how it ended.
    fn open(&self, kind: Kind, token: &str) -> Receiver<String> {
        let (tell, told) = channel();
        let address = self.envoy.address("in").unwrap();
        let (token, upstream) = (format!("Bearer {token}"), self.upstream.clone());
        std::thread::spawn(move || {
            let one = || Connection::open(address).unwrap();
            let two = || http2::Connection::open(address).unwrap();
            let ended = match kind {
                Kind::EventsOverHttp1 => {
                    let asked = request("GET", HOST, "/orders", &[("authorization", &token)]);
                    whole(one().exchange(&asked).map(Answer::Response))
                }
                Kind::EventsOverHttp2 => {
                    let headers: [(&[u8], &[u8]); 1] = [(b"authorization", token.as_bytes())];
                    let asked = http2::Request::new(b"GET", HOST.as_bytes(), b"/orders", &headers);
                    whole(two().exchange(&asked))
                }
                Kind::Grpc => {
                    let headers: [(&[u8], &[u8]); 3] = [
                        (b"authorization", token.as_bytes()),
                        (b"content-type", b"application/grpc"),
                        (b"te", b"trailers"),
                    ];
                    let path = b"/orders/7/notes";
                    let mut asked = http2::Request::new(b"POST", HOST.as_bytes(), path, &headers);
                    asked.data = vec![b"\0\0\0\0\x01x".to_vec()];
                    whole(two().exchange(&asked))
                }
                Kind::Upload => upload(one(), &token, &upstream),
                Kind::WebSocket => chat(one(), &token, &upstream),
                Kind::WebSocketOverHttp2 => chat_over_http2(two(), &token, &upstream),
            };
            // Nobody waits for those that outlive their test.
            let _ = tell.send(ended);
        });
        told
    }

    fn stat(&self, name: &str, expected: u64) {
        let counted = self
            .envoy
            .until(name, SOON, |envoy| Ok((envoy.wasm_stat(name)? == expected).then_some(())));
        counted.unwrap();
    }
}

/// All of these are streams for as long as they may be.
fn policy() -> String {
    let chat = "actions:\n  orders:chat: {risk: low, body: unread}\n";
    let route =
        "      - match: GET /chat\n        action: orders:chat\n        upgrade: websocket\n";
    let policy =
        orders::POLICY.replace("actions:\n", chat).replace("staleness: 30s", "staleness: 3s");
    policy.replace("    routes:\n", &format!("    routes:\n{route}"))
}

fn whole(answer: Result<Answer, WireError>) -> String {
    match answer {
        Ok(Answer::Response(response)) if response.body.ends_with(LAST.as_bytes()) => WHOLE.into(),
        Ok(Answer::Response(response)) => response.verdict(),
        Ok(Answer::Reset(_) | Answer::Gone(_)) | Err(WireError::Closed(_)) => CUT.into(),
        Err(WireError::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => {
            CUT.into()
        }
        Err(error) => error.to_string(),
    }
}

/// Sends the half of it, and the rest when the upstream is told to end.
fn upload(mut connection: Connection, token: &str, upstream: &Lasting) -> String {
    let headers = [("authorization", token), ("content-length", "10")];
    connection.send(&request("POST", HOST, "/orders/7/notes", &headers)).unwrap();
    connection.send(b"01234").unwrap();
    while !upstream.is_over() {
        if !connection.is_open_for(GLANCE).unwrap() {
            return CUT.into();
        }
    }
    connection.send(b"56789").unwrap();
    match connection.receive() {
        Ok(response) if response.status == 200 => WHOLE.into(),
        answer => format!("{answer:?}"),
    }
}

/// Says something once it is switched, and once more at the end.
fn chat(mut connection: Connection, token: &str, upstream: &Lasting) -> String {
    let headers = [
        ("authorization", token),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    connection.send(&request("GET", HOST, "/chat", &headers)).unwrap();
    match connection.receive_head() {
        Ok(head) if head.status == 101 => {}
        answer => return format!("{answer:?}"),
    }
    while !upstream.is_over() {
        if !connection.is_open_for(GLANCE).unwrap() {
            return CUT.into();
        }
    }
    connection.send(b"HTTP/1.1 200 echoed\r\n\r\n").unwrap();
    match connection.receive_head() {
        Ok(head) if head.status == 200 => WHOLE.into(),
        answer => format!("{answer:?}"),
    }
}

fn chat_over_http2(mut connection: http2::Connection, token: &str, upstream: &Lasting) -> String {
    let (id, answer) = connection.begin(&extended(b"/chat", b"websocket", token)).unwrap();
    if answer.verdict() != "200" {
        return answer.verdict();
    }
    let mut said = |bytes: &[u8]| -> Option<http2::Heard> {
        connection.say(id, bytes).ok()?;
        connection.hear(id, SOON).ok()
    };
    loop {
        let over = upstream.is_over();
        match said(b"a word") {
            Some(http2::Heard::Bytes(bytes)) if bytes == b"a word" => {}
            Some(http2::Heard::Ended) | None => return CUT.into(),
            Some(other) => return format!("{other:?}"),
        }
        if over {
            return WHOLE.into();
        }
        std::thread::sleep(GLANCE);
    }
}

/// A CONNECT that asks for a protocol (RFC 8441 section 4).
fn extended(path: &[u8], protocol: &[u8], token: &str) -> Vec<http2::Field> {
    let fields: [(&[u8], &[u8]); 7] = [
        (b":method", b"CONNECT"),
        (b":protocol", protocol),
        (b":scheme", b"http"),
        (b":authority", HOST.as_bytes()),
        (b":path", path),
        (b"sec-websocket-version", b"13"),
        (b"authorization", token.as_bytes()),
    ];
    fields.map(|(name, value)| (name.to_vec(), value.to_vec())).to_vec()
}

#[test]
fn a_revocation_ends_a_stream_of_each_kind_and_no_other() {
    let place = Place::start();
    let mut open = 0;
    let streams = KINDS.map(|kind| {
        let dead = place.issue(kind.action(), |grant| grant.task = format!("dead-{kind:?}"));
        let alive = place.issue(kind.action(), |grant| grant.task = format!("alive-{kind:?}"));
        let streams = [place.open(kind, &dead), place.open(kind, &alive)];
        open += 2;
        assert!(place.upstream.began(open), "{kind:?}");
        (kind, streams)
    });
    for (kind, [dead, _]) in &streams {
        let revoked = Instant::now();
        place.control.revoke(Revoked::Task, &format!("dead-{kind:?}")).unwrap();
        assert!(place.upstream.broke(&format!("dead-{kind:?}")), "{kind:?}");
        let at_the_upstream = revoked.elapsed().as_millis();
        assert_eq!(dead.recv_timeout(SOON).unwrap(), CUT, "{kind:?}");
        let at_the_client = revoked.elapsed().as_millis();
        println!("{kind:?}: ended after {at_the_upstream} ms, closed after {at_the_client} ms");
    }
    place.stat("gatepass_permits_ended", STREAMS);
    place.stat("gatepass_permit_ends.revoked_task", STREAMS);
    for (kind, [_, alive]) in &streams {
        assert_eq!(alive.try_recv().unwrap_err(), std::sync::mpsc::TryRecvError::Empty, "{kind:?}");
    }
    place.upstream.end();
    for (kind, [_, alive]) in &streams {
        assert_eq!(alive.recv_timeout(SOON).unwrap(), WHOLE, "{kind:?}");
    }
    let logged = place.envoy.until("the access log", SOON, |envoy| {
        let lines = envoy.access_log()?;
        let ended = lines.iter().filter(|line| {
            let said = line["gatepass"].as_str().unwrap_or_default();
            line["code"] == "revoked_task"
                && said.starts_with("decision=ended code=revoked_task agent=agent:")
        });
        Ok((ended.count() == KINDS.len()).then_some(()))
    });
    logged.unwrap();
}

/// What one callback cuts, Envoy does after it, each inside of the one before: all at once would end the VM.
#[test]
fn a_thousand_streams_of_one_worker_end_with_one_revocation_and_the_worker_goes_on() {
    let place = Place::served_by(1, &policy());
    let open = |task: &str, count: usize| -> Vec<Connection> {
        let token = place.issue("orders:read", |grant| grant.task = task.to_owned());
        let asked = bearing("GET", "/orders", Some(&token));
        let one = |_| {
            let mut connection = place.connect().unwrap();
            connection.send(&asked).unwrap();
            assert_eq!(connection.receive_head().unwrap().status, 200);
            connection
        };
        (0..count).map(one).collect()
    };
    let mut alive = open("alive", 5);
    let mut dead = open("dead", MANY);
    place.stat("gatepass_permits_ended", 0);
    let revoked = Instant::now();
    place.control.revoke(Revoked::Task, "dead").unwrap();
    place.stat("gatepass_permits_ended", u64::try_from(MANY).unwrap());
    println!("{MANY} streams ended within {} ms", revoked.elapsed().as_millis());
    for connection in &mut dead {
        assert!(!connection.is_open_for(SOON).unwrap());
    }
    for connection in &mut alive {
        assert!(connection.is_open_for(Duration::from_millis(1)).unwrap());
    }
    let answer = place.connect().unwrap().exchange(&bearing("GET", "/orders", None)).unwrap();
    assert_eq!(answer.verdict(), "401 no_credential", "the same VM, or another");
    assert_eq!(
        place.envoy.wasm_stat("gatepass_permits_ended").unwrap(),
        u64::try_from(MANY).unwrap()
    );
}

#[test]
fn a_stream_ends_with_the_hours_that_a_rule_allows_it() {
    let soon = std::time::SystemTime::now() + Duration::from_secs(8);
    let soon = soon.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let rule = "permit (principal, action, resource) when { context.task.id == \"twin\" ||\n  \
                context.request.time.durationSince(datetime(\"1970-01-01\")).toSeconds() < ";
    let archive = format!("-- gatepass.yaml --\n{}-- hours.cedar --\n{rule}{soon} }};\n", policy());
    let place = Place::under(&archive);
    let streams = KINDS.map(|kind| {
        let short = place.issue(kind.action(), |grant| grant.task = "short".into());
        let twin = place.issue(kind.action(), |grant| grant.task = "twin".into());
        (kind, [place.open(kind, &short), place.open(kind, &twin)])
    });
    assert!(place.upstream.began(2 * KINDS.len()));
    for (kind, [short, _]) in &streams {
        assert_eq!(short.recv_timeout(SOON).unwrap(), CUT, "{kind:?}");
    }
    place.stat("gatepass_permit_ends.policy_denied", STREAMS);
    for (kind, [_, twin]) in &streams {
        assert_eq!(twin.try_recv().unwrap_err(), std::sync::mpsc::TryRecvError::Empty, "{kind:?}");
    }
    place.upstream.end();
    for (kind, [_, twin]) in &streams {
        assert_eq!(twin.recv_timeout(SOON).unwrap(), WHOLE, "{kind:?}");
    }
}

#[test]
fn the_end_of_a_gatepass_ends_its_streams() {
    let place = Place::start();
    let streams = KINDS.map(|kind| {
        let short = place.issue(kind.action(), |grant| {
            grant.lifetime = 3;
            grant.task = "short".into();
        });
        let long = place.issue(kind.action(), |_| {});
        (kind, [place.open(kind, &short), place.open(kind, &long)])
    });
    assert!(place.upstream.began(2 * KINDS.len()));
    for (kind, [short, _]) in &streams {
        assert_eq!(short.recv_timeout(SOON).unwrap(), CUT, "{kind:?}");
    }
    place.stat("gatepass_permit_ends.expired", STREAMS);
    place.upstream.end();
    for (kind, [_, long]) in &streams {
        assert_eq!(long.recv_timeout(SOON).unwrap(), WHOLE, "{kind:?}");
    }
}

#[test]
fn without_a_control_plane_a_stream_ends_when_its_action_may_not_be_decided_any_more() {
    let mut place = Place::start();
    // 3 s and 15 min.
    let (strict, patient) = (Kind::EventsOverHttp2, Kind::Grpc);
    let strict = place.open(strict, &place.issue(strict.action(), |_| {}));
    let patient = place.open(patient, &place.issue(patient.action(), |_| {}));
    assert!(place.upstream.began(2));
    assert_eq!(strict.recv_timeout(Duration::from_secs(4)), Err(RecvTimeoutError::Timeout));
    place.control.stop();
    assert_eq!(strict.recv_timeout(SOON).unwrap(), CUT);
    place.stat("gatepass_permit_ends.stale", 1);
    place.upstream.end();
    assert_eq!(patient.recv_timeout(SOON).unwrap(), WHOLE);
}

#[test]
fn a_policy_without_its_route_ends_a_stream() {
    let place = Place::start();
    let (gone, there) = (Kind::EventsOverHttp1, Kind::WebSocket);
    let gone = place.open(gone, &place.issue(gone.action(), |_| {}));
    let there = place.open(there, &place.issue(there.action(), |_| {}));
    assert!(place.upstream.began(2));
    let without = policy().replace("match: GET /orders\n", "match: GET /elsewhere\n");
    place.control.publish(&without).unwrap();
    assert_eq!(gone.recv_timeout(SOON).unwrap(), CUT);
    place.stat("gatepass_permit_ends.no_route", 1);
    place.upstream.end();
    assert_eq!(there.recv_timeout(SOON).unwrap(), WHOLE);
}

#[test]
fn an_upgrade_passes_where_the_route_means_it_and_nowhere_else() {
    let place = Place::start();
    let asked = |path: &str, name: &str, action: &str| {
        let token = format!("Bearer {}", place.issue(action, |_| {}));
        let headers =
            [("authorization", token.as_str()), ("connection", "Upgrade"), ("upgrade", name)];
        let mut connection = place.connect().unwrap();
        connection.send(&request("GET", HOST, path, &headers)).unwrap();
        let head = connection.receive_head().unwrap();
        (head.status, head.header("content-type").unwrap_or_default().to_owned())
    };
    let refused = (403, "application/problem+json".to_owned());
    assert_eq!(asked("/chat", "websocket", "orders:chat").0, 101);
    assert_eq!(asked("/chat", "WebSocket", "orders:chat").0, 101);
    assert_eq!(asked("/chat", "websocket", "orders:read"), refused, "another action");
    assert_eq!(asked("/orders", "websocket", "orders:read"), refused, "another route");
    place.stat("gatepass_decisions_by_code.deny.stream_not_allowed", 1);
    place.stat("gatepass_decisions_by_code.deny.action_not_granted", 1);
}

#[test]
fn a_request_that_was_held_is_decided_on_what_came_while_it_waited() {
    let mut control = ControlPlane::with_policy("prod", &policy()).unwrap();
    control.stop();
    let mut plugin = control.plugin().unwrap();
    plugin.hold_ms = 10_000;
    let mut place = Place::with(control, &plugin, 2);
    let kind = Kind::EventsOverHttp1;
    let dead = place.issue(kind.action(), |grant| grant.task = "dead".into());
    let alive = place.issue(kind.action(), |grant| grant.task = "alive".into());
    let streams = [place.open(kind, &dead), place.open(kind, &alive)];
    place.stat("gatepass_requests_held", 2);
    place.control.revoke(Revoked::Task, "dead").unwrap();
    place.control.serve().unwrap();
    assert_eq!(streams[0].recv_timeout(SOON).unwrap(), "401 revoked_task");
    assert!(place.upstream.began(1));
    place.upstream.end();
    assert_eq!(streams[1].recv_timeout(SOON).unwrap(), WHOLE);
}

#[test]
fn a_stream_lasts_as_long_as_its_route_says_and_no_longer() {
    let under = |duration: &str| {
        let longest = format!("        max_duration: {duration}\n");
        let policy = [
            "match: GET /orders\n        action: orders:read\n",
            "action: orders:note\n",
            "upgrade: websocket\n",
        ]
        .iter()
        .fold(policy(), |policy, route| {
            assert!(policy.contains(route), "{route}");
            // The last such line is the route's; an action's has no indent as deep.
            policy.replace(route, &format!("{route}{longest}"))
        });
        let place = Place::under(&policy);
        let streams =
            KINDS.map(|kind| (kind, place.open(kind, &place.issue(kind.action(), |_| {}))));
        assert!(place.upstream.began(KINDS.len()));
        (place, streams)
    };
    let (twin, going_on) = under("1h");
    let (place, streams) = under("2s");
    for (kind, stream) in &streams {
        assert_eq!(stream.recv_timeout(SOON).unwrap(), CUT, "{kind:?}");
    }
    place.stat("gatepass_permits_ended", STREAMS);
    place.stat("gatepass_permit_ends.duration_over", STREAMS);
    twin.upstream.end();
    for (kind, stream) in &going_on {
        assert_eq!(stream.recv_timeout(SOON).unwrap(), WHOLE, "{kind:?}");
    }
    twin.stat("gatepass_permits_ended", 0);
}

#[test]
fn extended_connect_is_the_upgrade_that_it_asks_for_and_another_is_none() {
    let place = Place::start();
    let asked = |path: &[u8], protocol: &[u8], action: &str| {
        let token = format!("Bearer {}", place.issue(action, |_| {}));
        let address = place.envoy.address("in").unwrap();
        let mut connection = http2::Connection::open(address).unwrap();
        connection.begin(&extended(path, protocol, &token)).unwrap().1.verdict()
    };
    assert_eq!(asked(b"/chat", b"websocket", "orders:chat"), "200");
    assert_eq!(asked(b"/chat", b"WebSocket", "orders:chat"), "200");
    assert_eq!(asked(b"/chat", b"websocket", "orders:read"), "403 action_not_granted");
    assert_eq!(asked(b"/orders", b"websocket", "orders:read"), "403 stream_not_allowed");
    assert_eq!(asked(b"/nowhere", b"websocket", "orders:chat"), "403 no_route");
    // Envoy knows no such upgrade.
    assert_eq!(asked(b"/chat", b"connect-udp", "orders:chat"), "404");
}

#[test]
fn classic_connect_passes_with_no_gatepass_whatever_routes_there_are() {
    let place = Place::start();
    let address = place.envoy.address("in").unwrap();
    for authority in ["orders.example:443", "orders.example:22", "static.example:443"] {
        for action in ["orders:chat", "orders:read"] {
            let token = format!("Bearer {}", place.issue(action, |_| {}));
            let one = format!(
                "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nauthorization: {token}\r\n\r\n"
            );
            let answer = place.connect().unwrap().exchange(one.as_bytes()).unwrap();
            assert_eq!(answer.verdict(), "403 stream_not_allowed", "{authority} {action}");
            let two: [(&[u8], &[u8]); 3] = [
                (b":method", b"CONNECT"),
                (b":authority", authority.as_bytes()),
                (b"authorization", token.as_bytes()),
            ];
            let two = two.map(|(name, value)| (name.to_vec(), value.to_vec()));
            let mut connection = http2::Connection::open(address).unwrap();
            let answer = connection.begin(&two).unwrap().1;
            assert_eq!(answer.verdict(), "403 stream_not_allowed", "{authority} {action}");
        }
    }
    // Envoy would let a tunnel through: tests/tests/requests/streams.rs has it pass a gate in shadow mode.
}

const CUT: &str = "cut";
const WHOLE: &str = "whole";
/// How long anything may take.
const SOON: Duration = Duration::from_secs(12);
/// As the gate counts them.
/// Below Envoy's bound of connections to one cluster.
const MANY: usize = 1_000;
const STREAMS: u64 = KINDS.len() as u64;
const GLANCE: Duration = Duration::from_millis(20);
