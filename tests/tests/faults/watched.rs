//! An Envoy that is asked all the time for what has a short staleness bound, for what has a longer one,
//! and with gatepasses that are revoked on the way.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatepass_envoy::{Bootstrap, Gate, Listener};
use gatepass_tests::kit::edge::{Edge, Issued, POLICY};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::watch::Watch;

/// What is asked with, by the bound of its action.
#[derive(Clone)]
pub(crate) struct Gatepasses {
    pub(crate) high: Issued,
    pub(crate) low: Issued,
    pub(crate) high_victim: Issued,
    pub(crate) low_victim: Issued,
}

/// The clients of one Envoy.
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) high: Watch,
    pub(crate) low: Watch,
    pub(crate) high_victim: Watch,
    pub(crate) low_victim: Watch,
}

impl Gatepasses {
    pub(crate) fn issue(edge: &Edge) -> Self {
        let of = |action| edge.issued_for(action, 300).unwrap();
        Self {
            high: of("orders:list"),
            low: of("orders:read"),
            high_victim: of("orders:list"),
            low_victim: of("orders:read"),
        }
    }

    /// When both revocations were answered.
    pub(crate) fn revoke_victims(&self, edge: &Edge) -> Instant {
        for victim in [&self.high_victim, &self.low_victim] {
            let answer = edge.revoke(&victim.jti).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.verdict());
        }
        Instant::now()
    }
}

impl Watched {
    /// Connections are made where the calling thread is.
    pub(crate) fn start(name: &str, listener: SocketAddr, with: &Gatepasses) -> Self {
        let watch = |what: &str, path: &str, issued: &Issued| {
            Watch::start(&format!("{name}, {what}"), listener, path, &issued.token)
        };
        Self {
            name: name.to_owned(),
            high: watch("high risk", LISTS, &with.high),
            low: watch("low risk", ORDERS, &with.low),
            high_victim: watch("high risk, revoked", LISTS, &with.high_victim),
            low_victim: watch("low risk, revoked", ORDERS, &with.low_victim),
        }
    }

    /// Each with its staleness bound.
    pub(crate) fn all(&self) -> [(&Watch, Duration); 4] {
        [(&self.high, HIGH), (&self.low, LOW), (&self.high_victim, HIGH), (&self.low_victim, LOW)]
    }

    pub(crate) fn victims(&self) -> [&Watch; 2] {
        [&self.high_victim, &self.low_victim]
    }

    pub(crate) fn until_all_are_allowed(&self) {
        for (watch, _) in self.all() {
            watch.until(ALLOWED, SOON).unwrap();
        }
    }

    /// High risk is refused while low risk goes on, then low risk is; nothing at all is let through past
    /// its bound, counted from when it was cut off. Tells how long each went on.
    pub(crate) fn turns_stale(&self, cut: Instant) {
        self.high.until(STALE, HIGH + SOON).unwrap();
        self.low.until(STALE, LOW + SOON).unwrap();
        let now = Instant::now();
        let first = self.high.since(cut).into_iter().find(|told| told.verdict == STALE).unwrap();
        let meanwhile = self.low.allows_between(first.started, now);
        assert!(meanwhile > 0, "{}: low risk did not go on", self.name);
        for (watch, bound) in self.all() {
            let late = watch.allows_between(cut + bound + SLACK, now);
            assert_eq!(late, 0, "{}: allowed past its bound", watch.what());
        }
        let lasted = |watch: &Watch| {
            watch.last_allow().map_or(0, |last| last.saturating_duration_since(cut).as_millis())
        };
        println!(
            "{}: cut off, high risk went on for {} ms of {HIGH:?}, low risk for {} ms of {LOW:?}",
            self.name,
            lasted(&self.high),
            lasted(&self.low)
        );
    }

    /// What was not revoked is let through again, and what was is never. Tells how long it took.
    pub(crate) fn recovers(&self, healed: Instant, within: Duration) {
        self.low.until(ALLOWED, within).unwrap();
        self.high.until(ALLOWED, within).unwrap();
        let first = |watch: &Watch| {
            let since = watch.since(healed).into_iter();
            let first =
                since.filter(|told| told.verdict == ALLOWED).map(|told| told.started).next();
            first.unwrap().saturating_duration_since(healed).as_millis()
        };
        let took = first(&self.low).max(first(&self.high));
        for victim in self.victims() {
            victim.until(REVOKED, SOON).unwrap();
            let revived = victim.allows_between(healed, Instant::now());
            assert_eq!(revived, 0, "{}: allowed after it was healed", victim.what());
        }
        println!("{}: back {took} ms after it was healed", self.name);
    }

    /// Through all of it: nothing but its revocations, from when they were pushed.
    pub(crate) fn was_undisturbed(&self, answered: Instant) {
        for (watch, _) in [self.all()[0], self.all()[1]] {
            let others: Vec<_> =
                watch.all().into_iter().filter(|told| told.verdict != ALLOWED).collect();
            // Before it had heard anything.
            let first = watch.all().iter().find(|told| told.verdict == ALLOWED).unwrap().started;
            let disturbed: Vec<_> = others.iter().filter(|told| told.started > first).collect();
            assert!(disturbed.is_empty(), "{}: {disturbed:?}", watch.what());
        }
        for victim in self.victims() {
            let last = victim.last_allow().unwrap();
            let revived = victim.until(REVOKED, SOON).unwrap();
            assert!(last < revived.started, "{}", victim.what());
            println!(
                "{}: let through until {} ms after the answer",
                victim.what(),
                last.saturating_duration_since(answered).as_millis()
            );
        }
    }
}

/// One of these tests at a time: their bounds are seconds, and several fill the machine with Envoys.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An edge whose bounds a test can wait for.
pub(crate) fn edge() -> Edge {
    let edge = Edge::start().unwrap();
    let bounded = POLICY.replace("60s", "14s").replace("3s", "6s");
    let policy = edge.desk.file("bounds.yaml", &bounded).unwrap();
    edge.desk.done(&["policy", "publish", &policy, "--reason", "shorter bounds"]).unwrap();
    edge
}

/// An Envoy that answers by itself: what a test cuts is its feed alone.
pub(crate) fn bootstrap(edge: &Edge, feed: SocketAddr) -> Bootstrap {
    let plugin = edge.desk.plugin().unwrap();
    let gate = Gate::new(filter::path().unwrap(), &plugin).host_env("GATEPASS_JOIN_TOKEN");
    Bootstrap::new()
        .listener(Listener::responding("in", 200, "{}").gate(gate))
        .feed(feed)
        .workers(1)
        .env("GATEPASS_JOIN_TOKEN", edge.join())
}

pub(crate) const ALLOWED: &str = "200";
pub(crate) const STALE: &str = "503 stale";
pub(crate) const REVOKED: &str = "401 revoked_credential";
pub(crate) const ORDERS: &str = "/orders";
const LISTS: &str = "/lists";
pub(crate) const HIGH: Duration = Duration::from_secs(6);
pub(crate) const LOW: Duration = Duration::from_secs(14);
/// Past a bound: the age counts from when a proof was received, which a busy machine may do late, and by
/// whole seconds of the wall clock.
pub(crate) const SLACK: Duration = Duration::from_secs(2);
/// Whatever is to happen at once, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);
