//! A second plugin in the same Envoy that overwrites the shared data: it can close the gate for a
//! while, and it can open nothing.

use std::time::{Duration, Instant};

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::hostile::{Answer, HostileFeed};
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::{Connection, request};

use crate::desk::{Pass, QUICK, SLOW, STALE_AFTER, SharedDesk, key, resigned};
use crate::gated::{CUT, Gated, IN, SOON, WORKERS, pause};
use crate::overwriter::{self, CAPTURE, ROUNDS, Way};

#[test]
fn who_overwrites_the_shared_state_opens_nothing_and_the_gate_recovers() {
    let desk = SharedDesk::new("prod");
    let feed = HostileFeed::start(|_| Answer::Reset).unwrap();
    let mut plugin = desk.lock().plugin();
    // A denial that would pass is to be seen at once.
    plugin.hold_ms = 0;
    let folder = tempfile::tempdir().unwrap();
    let forged = {
        let snapshot = desk.lock().snapshot();
        resigned(&snapshot, &key("elsewhere", 9), |batch| batch.header.to += 1_000)
    };
    let hostile = overwriter::write(folder.path(), &plugin, &forged);
    let upstream = Upstream::start().unwrap();
    let gate = Gate::new(filter::path().unwrap(), &plugin);
    let overwriter = Gate::raw(hostile, &plugin.vm_id(), "").named("overwriter");
    let bootstrap = Bootstrap::new()
        .workers(WORKERS)
        .listener(Listener::forwarding(IN, upstream.address()).gate(gate))
        .listener(Listener::responding(THEIRS, 204, "").gate(overwriter))
        .feed(feed.address());
    let mut gated = Gated::of(Envoy::launch(&bootstrap).unwrap(), upstream, &[IN]);

    let revoked = desk.issue(QUICK);
    desk.revoke(&revoked.jti);
    let (quick, slow) = (desk.issue(QUICK), desk.issue(SLOW));
    // Before the first batch: what is forged makes nothing ready.
    command(&gated, Way::Forgery.path());
    gated.until_stat(ROUNDS, |count| count > 20);
    gated.until_stat("gatepass_shared_state_forged", |count| count > 0);
    for pass in [&revoked, &quick, &slow] {
        assert_eq!(gated.ask("/quick", &pass.token), "503 not_ready");
    }
    command(&gated, Way::Stop.path());
    feed.conduct(desk.honest());
    gated.until("/quick", &quick.token, "200");
    for way in [Way::Garbage, Way::Forgery, Way::NoLeader, Way::Replay] {
        let victim = desk.issue(QUICK);
        gated.until("/quick", &victim.token, "200");
        command(&gated, CAPTURE);
        // What was captured is of the past from here on.
        desk.revoke("somebody");
        let moved = desk.issue(QUICK);
        gated.until("/quick", &moved.token, "200");

        let forged = gated.stat("gatepass_shared_state_forged");
        let rounds = gated.stat(ROUNDS);
        command(&gated, way.path());
        gated.until_stat(ROUNDS, |count| count > rounds + 20);
        let begun = Instant::now();
        desk.revoke(&victim.jti);
        let seen = watch(&mut gated, begun, &revoked, &victim, &quick);
        println!("overwritten ({way:?}): {seen:?}, {} polls", feed.polls(begun).len());
        if way != Way::Replay {
            gated.until_stat("gatepass_shared_state_forged", |count| count > forged);
        }
        let most = feed.most_within(Duration::from_secs(1), begun);
        assert!(most <= MOST_POLLS_OF_ALL, "{way:?}: {most} polls within a second");

        command(&gated, Way::Stop.path());
        let stopped = Instant::now();
        gated.until("/quick", &quick.token, "200");
        gated.until("/quick", &victim.token, "401 revoked_credential");
        gated.until_positions(&desk.lock().position().to_string());
        println!("overwritten ({way:?}): back after {} ms", stopped.elapsed().as_millis());
        assert!(stopped.elapsed() < SOON / 2);
        assert_eq!(gated.ask("/quick", &revoked.token), "401 revoked_credential");
        assert_eq!(gated.ask("/slow", &slow.token), "200");
        gated.assert_no_crash();
    }
}

/// What came of the gatepasses while the state was overwritten.
#[derive(Debug, Default)]
struct Watched {
    rounds: u32,
    /// When a worker last let the one pass that is revoked meanwhile.
    victim_allowed: Duration,
    /// When a worker first knew of it.
    victim_denied: Option<Duration>,
    good_allowed: u32,
    good_denied: std::collections::BTreeMap<String, u32>,
}

/// Asks for longer than the staleness bound. An allow that should be a denial stops it.
fn watch(gated: &mut Gated, begun: Instant, revoked: &Pass, victim: &Pass, good: &Pass) -> Watched {
    let mut out = Watched::default();
    while begun.elapsed() < BOUND + Duration::from_secs(1) {
        out.rounds += 1;
        for verdict in gated.verdicts("/quick", &revoked.token) {
            assert!(is_denied(&verdict), "revoked before: {verdict}");
        }
        for verdict in gated.verdicts("/quick", &victim.token) {
            if verdict == "200" {
                out.victim_allowed = begun.elapsed();
            } else {
                assert!(is_denied(&verdict), "revoked meanwhile: {verdict}");
                out.victim_denied.get_or_insert(begun.elapsed());
            }
        }
        for verdict in gated.verdicts("/quick", &good.token) {
            if verdict == "200" {
                out.good_allowed += 1;
            } else {
                assert!(verdict.starts_with("503 ") || verdict == CUT, "{verdict}");
                *out.good_denied.entry(verdict).or_default() += 1;
            }
        }
        pause();
    }
    // The bound counts from the last proof, which was heard before the revocation.
    assert!(out.victim_allowed < BOUND + Duration::from_millis(500), "{out:?}");
    out
}

fn is_denied(verdict: &str) -> bool {
    verdict == "401 revoked_credential" || verdict.starts_with("503 ") || verdict == CUT
}

fn command(gated: &Gated, path: &str) {
    let mut connection = Connection::open(gated.envoy.address(THEIRS).unwrap()).unwrap();
    let response = connection.exchange(&request("GET", "theirs.example", path, &[])).unwrap();
    assert_eq!(response.status, 204);
}

const THEIRS: &str = "theirs";
const BOUND: Duration = Duration::from_secs(STALE_AFTER as u64);
/// Where the lease is overwritten, each VM polls for itself.
const MOST_POLLS_OF_ALL: usize = 60;
