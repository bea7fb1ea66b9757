//! The one Envoy that all tables share: a listener for each way to set up a gate.
//!
//! Tests take turns, because what the upstream received is judged after every request. The last
//! test that uses the Envoy kills it: a static would outlive the binary's end as an orphan.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use gatepass::issue::{Constraint, Grant};
use gatepass_engine::bundle::{
    Bundle, Input, InputKind, Recording, Route, RouteTarget, Source, Treatment,
};
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, Mode};
use gatepass_tests::kit::bodies::{self, joined};
use gatepass_tests::kit::orders::POLICY;
use gatepass_tests::kit::upstream::{Received, Upstream};
use gatepass_tests::kit::wire::{Response, WireError};
use gatepass_tests::kit::world::{AGENT, ControlPlane, Failed, OWNER, TASK, compile, grant, now};
use gatepass_tests::kit::{filter, http2, wire};

use crate::ask::{Ask, Sent};

/// Envoy's connection manager set up as we ship it.
pub(crate) const SHIPPED: &str = "shipped";
/// Without path normalization and with underscores in header names: the gate refuses by itself.
pub(crate) const RAW: &str = "raw";
/// As [`RAW`], and Envoy lets upgrades and CONNECT reach the gate.
pub(crate) const STREAMS: &str = "streams";
/// As [`RAW`], with a gate in shadow mode.
pub(crate) const SHADOW: &str = "shadow";
/// In front of an upstream that speaks in the gate's name.
pub(crate) const IMPOSTOR: &str = "impostor";
/// The outcome of a request on which Envoy closes an HTTP/2 connection without a word.
const GONE: &str = "gone";
/// No gate: Envoy alone answers 200.
pub(crate) const BARE: &str = "bare";

pub(crate) struct Gates {
    /// First, so that it is killed before what it talks to.
    pub(crate) envoy: Envoy,
    control: ControlPlane,
    upstream: Upstream,
    impostor: Upstream,
    pub(crate) passes: Passes,
    /// How many requests Envoy had sent to the upstreams when it was last asked.
    counted: AtomicU64,
}

/// Gatepasses that are good for the tables' twins.
pub(crate) struct Passes {
    pub(crate) read: String,
    /// At most 500 EUR.
    pub(crate) create: String,
    pub(crate) note: String,
}

/// A test's turn at the gates.
pub(crate) struct Turn {
    _turn: MutexGuard<'static, ()>,
    gates: Arc<Gates>,
    /// Requests on which Envoy is to close the connection: it takes a second over each, so they go
    /// all at once in the end.
    closed: Vec<(String, Sent)>,
    wrong: Vec<String>,
    rows: usize,
}

/// Waits for the turn; the first one starts everything.
pub(crate) fn turn() -> Turn {
    let gates = {
        let mut known = GATES.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(Gates::start().unwrap());
            *known = Arc::downgrade(&fresh);
            fresh
        })
    };
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Turn { _turn: turn, gates, closed: Vec::new(), wrong: Vec::new(), rows: 0 }
}

impl core::ops::Deref for Turn {
    type Target = Gates;

    fn deref(&self) -> &Gates {
        &self.gates
    }
}

impl Turn {
    /// Sends `hostile` in both versions, each followed by its twin, which must be `allowed`.
    ///
    /// `expected` is [`Gates::outcome`], as `HTTP/1.1 | HTTP/2` where the two differ.
    pub(crate) fn pair(
        &mut self,
        listener: &str,
        hostile: &Ask,
        expected: &str,
        twin: &Ask,
        allowed: &str,
    ) {
        let expected = split(expected);
        let allowed = split(allowed);
        for (version, sent) in hostile.both().iter().enumerate() {
            let expected = expected.get(version).copied().unwrap_or_default();
            self.row(listener, sent, expected);
        }
        for (version, sent) in twin.both().iter().enumerate() {
            let allowed = allowed.get(version).copied().unwrap_or_default();
            self.row(listener, sent, allowed);
        }
    }

    /// One request on a connection of its own.
    pub(crate) fn row(&mut self, listener: &str, sent: &Sent, expected: &str) {
        self.rows = self.rows.saturating_add(1);
        if expected == GONE {
            self.closed.push((listener.to_owned(), sent.clone()));
            return;
        }
        let outcome = self.outcome(listener, sent).unwrap_or_else(|error| format!("{error}"));
        if outcome != expected {
            self.differs(listener, &shown(sent), expected, &outcome);
        }
    }

    fn close_all(&mut self) {
        let closed = core::mem::take(&mut self.closed);
        let gates = &self.gates;
        let outcomes: Vec<String> = std::thread::scope(|scope| {
            let ask = |(listener, sent): &(String, Sent)| match gates.exchange(listener, sent) {
                Ok(answer) => answer.verdict(),
                Err(error) => format!("{error}"),
            };
            let asked: Vec<_> = closed.iter().map(|row| scope.spawn(move || ask(row))).collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for ((listener, sent), outcome) in closed.iter().zip(outcomes) {
            if outcome != GONE {
                self.differs(listener, &shown(sent), GONE, &outcome);
            }
        }
        let received = self.with_received(String::new()).unwrap();
        if !received.is_empty() {
            self.differs("one of the closed connections", "", "", &received);
        }
    }

    fn differs(&mut self, listener: &str, sent: &str, expected: &str, outcome: &str) {
        self.wrong
            .push(format!("{listener}: {sent}\n   expected: {expected}\n        got: {outcome}"));
    }

    /// A request that goes on as it was sent: one, and its very bytes.
    pub(crate) fn arrives(&mut self, listener: &str, sent: &Sent, action: &str, body: &[u8]) {
        self.rows = self.rows.saturating_add(1);
        let answer = self.exchange(listener, sent);
        let mut outcome = answer.map_or_else(|error| format!("{error}"), |one| one.verdict());
        let received = self.received();
        let whole = |one: &Received| {
            one.body == body
                && one.trailers.is_empty()
                && one.header("x-gatepass-action") == [action]
        };
        match received.as_slice() {
            [one] if whole(one) => {}
            all => outcome.push_str(&format!(": {all:?}")),
        }
        if outcome != "200" {
            let expected = format!("200: one as {action} +{} bytes", body.len());
            let start: String = outcome.chars().take(400).collect();
            self.differs(listener, &shown(sent), &expected, &start);
        }
    }

    /// Nothing reached an upstream since it was last asked.
    pub(crate) fn quiet(&mut self, when: &str) {
        let received = self.with_received(String::new()).unwrap();
        if !received.is_empty() {
            self.differs(when, "", "", &received);
        }
    }

    /// Counts what a test holds by itself.
    pub(crate) fn holds(&mut self, what: &str, outcome: &str, expected: &str) {
        self.rows = self.rows.saturating_add(1);
        if outcome != expected {
            self.differs(what, "", expected, outcome);
        }
    }

    /// Everything that comes back on one HTTP/1.1 connection: the answers, then what the upstream
    /// received for all of them.
    pub(crate) fn talk(&mut self, listener: &str, bytes: &[u8], answers: &[&str], received: &str) {
        self.rows = self.rows.saturating_add(1);
        let outcome = self
            .conversation(listener, bytes, answers.len())
            .unwrap_or_else(|error| format!("{error}"));
        let mut expected = answers.join(", ");
        if !received.is_empty() {
            expected = format!("{expected}: {received}");
        }
        if outcome != expected {
            self.differs(listener, &readable(bytes), &expected, &outcome);
        }
    }

    /// Every row was as expected, there was at least one, and no VM crashed on any.
    pub(crate) fn finish(mut self) {
        assert!(self.rows > 0);
        self.close_all();
        assert!(
            self.wrong.is_empty(),
            "{} of {} rows:\n{}",
            self.wrong.len(),
            self.rows,
            self.wrong.join("\n")
        );
        self.survived();
    }

    /// Whatever was sent, the one worker's VM lives and decides.
    pub(crate) fn survived(self) {
        let stats = self.envoy.stats().unwrap();
        assert!(stats.keys().any(|name| name.contains("vm_reload")), "Envoy counts no reloads");
        assert_eq!(crashes(&stats), vec![]);
        let ask = Ask::get("/orders/1").bearing(&self.passes.read).http1();
        assert_eq!(
            self.outcome(RAW, &ask).unwrap(),
            "200: GET /orders/1 at orders.example as orders:read"
        );
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Another test may keep the Envoy alive, whose own drop would print its log.
        if std::thread::panicking() && Arc::strong_count(&self.gates) > 1 {
            let log = self.envoy.log();
            let lines: Vec<&str> = log.lines().rev().take(30).collect();
            for line in lines.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

impl Gates {
    fn start() -> Result<Self, Failed> {
        let control = ControlPlane::start("prod")?;
        let bundle = with_more_routes(compile(POLICY)?);
        let bundle = joined(bundle, compile(bodies::POLICY)?);
        let bundle = joined(bundle, compile(crate::guide::policy())?);
        control.with(|store| store.publish(bundle, now()))?;
        let upstream = Upstream::start()?;
        let impostor = Upstream::answering(IMPOSTURE, "{}")?;
        let plugin = control.plugin()?;
        let mut shadow = plugin.clone();
        shadow.mode = Mode::Shadow;
        let wasm = filter::path()?;
        let (gate, shadow) = (Gate::new(&wasm, &plugin), Gate::new(&wasm, &shadow));
        let to = |name: &str| Listener::forwarding(name, upstream.address());
        let raw = |name: &str| to(name).without_path_normalization();
        let bootstrap = Bootstrap::new()
            .listener(to(SHIPPED).gate(gate.clone()))
            .listener(raw(RAW).gate(gate.clone()))
            .listener(raw(STREAMS).gate(gate.clone()).with_upgrades())
            .listener(raw(SHADOW).gate(shadow).with_upgrades())
            .listener(Listener::forwarding(IMPOSTOR, impostor.address()).gate(gate))
            .listener(Listener::responding(BARE, 200, "bare").without_path_normalization())
            .feed(control.address())
            // One, so that one worker sees the whole corpus.
            .workers(1);
        let envoy = Envoy::launch(&bootstrap)?;
        let passes = Passes::issue(&control)?;
        let counted = AtomicU64::new(0);
        let gates = Self { envoy, control, upstream, impostor, passes, counted };
        gates.until_fresh()?;
        Ok(gates)
    }

    /// Every listener's gate follows the feed.
    fn until_fresh(&self) -> Result<(), Failed> {
        let ask = Ask::get("/orders/1").bearing(&self.passes.read).http1();
        for listener in [SHIPPED, RAW, STREAMS, SHADOW, IMPOSTOR] {
            let start = Instant::now();
            loop {
                let outcome = self.outcome(listener, &ask)?;
                if outcome.ends_with("as orders:read") {
                    break;
                }
                if start.elapsed() > Duration::from_secs(20) {
                    return Err(format!("{listener} still answers `{outcome}`").into());
                }
            }
        }
        Ok(())
    }

    /// Issues one more gatepass.
    pub(crate) fn issue(&self, grant: &Grant) -> String {
        self.control.issue(grant).unwrap()
    }

    /// The verdict, then every request that an upstream received for it: `400 ambiguous_request`,
    /// `200: GET /orders at orders.example as orders:read`.
    pub(crate) fn outcome(&self, listener: &str, sent: &Sent) -> Result<String, Failed> {
        let verdict = match self.exchange(listener, sent)? {
            http2::Answer::Response(response) => verdict(&response),
            answer => answer.verdict(),
        };
        self.with_received(verdict)
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn exchange(&self, listener: &str, sent: &Sent) -> Result<http2::Answer, Failed> {
        let address = self.envoy.address(listener)?;
        let http1 = |bytes: &[u8], head: bool| {
            let mut connection = wire::Connection::open(address)?;
            connection.send(bytes)?;
            let response = if head { connection.receive_head() } else { connection.receive() };
            match response {
                Ok(response) => Ok(http2::Answer::Response(response)),
                Err(WireError::Closed(_)) => Ok(http2::Answer::Gone(None)),
                Err(error) => Err(error),
            }
        };
        Ok(match sent {
            Sent::Http1(bytes) => http1(bytes, false)?,
            Sent::Http1Head(bytes) => http1(bytes, true)?,
            Sent::Http2(request) => {
                let mut connection = http2::Connection::open(address)?;
                if request.data.iter().map(Vec::len).sum::<usize>() >= FIRST_WINDOW {
                    connection.settled()?;
                }
                connection.exchange(request)?
            }
        })
    }

    /// Reads `least` answers, then all that come although nothing more is sent.
    fn conversation(&self, listener: &str, bytes: &[u8], least: usize) -> Result<String, Failed> {
        let mut connection = wire::Connection::open(self.envoy.address(listener)?)?;
        connection.send(bytes)?;
        let mut verdicts = Vec::new();
        loop {
            if verdicts.len() == least {
                // Fails where Envoy has closed the connection.
                let _ = connection.end();
            }
            match connection.receive() {
                Ok(response) => verdicts.push(verdict(&response)),
                Err(WireError::Closed(rest)) if rest.is_empty() => break,
                Err(WireError::Io(error)) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.with_received(verdicts.join(", "))
    }

    fn with_received(&self, verdict: String) -> Result<String, Failed> {
        let mut received = self.upstream.take();
        received.extend(self.impostor.take());
        let mut out = verdict;
        for (at, request) in received.iter().enumerate() {
            out.push_str(if at == 0 { ": " } else { "; " });
            out.push_str(&summary(request));
        }
        // What Envoy sent and the upstream has not read yet counts too.
        let forwarded = self.forwarded()?;
        if usize::try_from(forwarded)? != received.len() {
            out.push_str(&format!(" ({forwarded} forwarded)"));
        }
        Ok(out)
    }

    /// What the upstream received since it was last asked.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.forwarded().unwrap();
        self.upstream.take()
    }

    /// How many requests Envoy has sent to the upstreams since it was last asked.
    fn forwarded(&self) -> Result<u64, Failed> {
        let text = self.envoy.admin("/stats?filter=upstream_rq_total")?;
        let all: u64 = text
            .lines()
            .filter(|line| line.starts_with("cluster.upstream_of_"))
            .filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok())
            .sum();
        Ok(all.saturating_sub(self.counted.swap(all, Ordering::Relaxed)))
    }
}

impl Passes {
    fn issue(control: &ControlPlane) -> Result<Self, Failed> {
        let mut create = grant("orders:create")?;
        for entry in &mut create.entries {
            let most = Constraint { max: Some("500.00 EUR".into()), ..Constraint::default() };
            entry.constraints.insert("amount".to_owned(), most);
        }
        Ok(Self {
            read: control.issue(&grant("orders:read")?)?,
            create: control.issue(&create)?,
            note: control.issue(&grant("orders:note")?)?,
        })
    }
}

/// What Envoy counts when a VM crashed or was replaced.
pub(crate) fn crashes(stats: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    stats
        .iter()
        .filter(|(name, count)| {
            **count > 0
                && (name.contains("vm_reload")
                    || name.contains("crash")
                    || (name.starts_with("wasm.") && name.contains("fail")))
        })
        .map(|(name, count)| (name.as_str(), *count))
        .collect()
}

/// A gRPC denial has its status in a header.
fn verdict(response: &Response) -> String {
    let mut out = response.verdict();
    if let Some(status) = response.header("grpc-status") {
        out.push_str(&format!(" grpc-status {status}"));
    }
    out
}

/// What the upstream received, and everything about it that no table expects by default.
fn summary(received: &Received) -> String {
    let line = received.line();
    let line = line.strip_suffix(" HTTP/1.1").unwrap_or(&line);
    let mut out = format!("{line} at {}", received.header("host").join(" and "));
    let action = received.header("x-gatepass-action");
    if !action.is_empty() {
        out.push_str(&format!(" as {}", action.join(" and ")));
        let identity =
            [("x-gatepass-agent", AGENT), ("x-gatepass-owner", OWNER), ("x-gatepass-task", TASK)];
        for (name, value) in identity {
            if received.header(name) != [value] {
                out.push_str(&format!(" +{name} {:?}", received.header(name)));
            }
        }
    }
    let head = String::from_utf8_lossy(&received.head).into_owned();
    for line in head.lines().skip(1) {
        let name = line.split(':').next().unwrap_or_default();
        let ours = matches!(
            name,
            "x-gatepass-agent"
                | "x-gatepass-owner"
                | "x-gatepass-task"
                | "x-gatepass-action"
                | "x-gatepass-decision-id"
        );
        if is_notable(name) && (action.is_empty() || !ours) {
            out.push_str(&format!(" +{name}"));
        }
    }
    if !received.body.is_empty() {
        out.push_str(&format!(" +{} bytes", received.body.len()));
    }
    out
}

/// What an upstream must see only where a test says so.
fn is_notable(name: &str) -> bool {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    plain.starts_with("x-gatepass")
        || matches!(
            plain.as_str(),
            "authorization"
                | "txn-token"
                | "x-http-method-override"
                | "x-http-method"
                | "x-method-override"
                | "x-original-method"
                | "x-original-url"
                | "x-rewrite-url"
                | "dpop"
                | "upgrade"
                | "connection"
                | "http2-settings"
        )
}

fn shown(sent: &Sent) -> String {
    match sent {
        Sent::Http1(bytes) | Sent::Http1Head(bytes) => {
            readable(bytes.get(..LONGEST_SHOWN).unwrap_or(bytes))
        }
        Sent::Http2(request) => request
            .fields
            .iter()
            .map(|(name, value)| format!("{}: {}", readable(name), readable(value)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Escaped, and without the 600 characters of a gatepass.
fn readable(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    let mut parts = text.split("eyJhbGci");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        out.push_str("<gatepass>");
        out.push_str(part.trim_start_matches(of_token));
    }
    out
}

/// `HTTP/1.1 | HTTP/2`, or one for both.
fn split(expected: &str) -> [&str; 2] {
    let (one, two) = expected.split_once(" | ").unwrap_or((expected, expected));
    [one, two]
}

/// What the orders policy has no example of: an input from a header, and methods of their own.
fn with_more_routes(mut bundle: Bundle) -> Bundle {
    let read = bundle
        .actions
        .iter()
        .position(|action| action.name == "orders:read")
        .and_then(|at| u32::try_from(at).ok())
        .unwrap();
    let route = |methods: &[&str], path: &str, target, inputs| Route {
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        path: path.to_owned(),
        target,
        inputs,
        call: None,
        max_body: 65_536,
        max_duration: 60,
        upgrade: None,
    };
    let site = Input {
        name: "site".to_owned(),
        kind: InputKind::Text,
        source: Source::Header("x-site".to_owned()),
        record: Recording::None,
    };
    let order_id = Input {
        name: "order".to_owned(),
        kind: InputKind::Text,
        source: Source::Query("order_id".to_owned()),
        record: Recording::None,
    };
    let action = RouteTarget::Action(read);
    for host in &mut bundle.hosts {
        if let Treatment::Guarded(routes) = &mut host.treatment {
            routes.push(route(&["GET"], "/stock", action, vec![site.clone()]));
            routes.push(route(&["GET"], "/lines", action, vec![order_id.clone()]));
            routes.push(route(&["HEAD", "TRACE"], "/probe", action, vec![]));
            routes.push(route(&["OPTIONS"], "/orders", RouteTarget::Public, vec![]));
        }
    }
    bundle
}

/// Bytes of a request.
const LONGEST_SHOWN: usize = 2_000;
/// Bytes that may be sent before the peer has said more (RFC 9113 section 6.9.2).
const FIRST_WINDOW: usize = 65_535;
static GATES: Mutex<Weak<Gates>> = Mutex::new(Weak::new());
static TURN: Mutex<()> = Mutex::new(());
/// An upstream's attempt to speak in the gate's name.
const IMPOSTURE: &str = "content-type: application/json\r\nx-gatepass-agent: agent:evil\r\n\
    x-gatepass-position: 9.9\r\nX-Gatepass-Vm: evil\r\nx_gatepass_code: x\r\nx-other: stays\r\n";
