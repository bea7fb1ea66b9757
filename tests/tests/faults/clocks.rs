//! Wall clocks that jump an hour, of real processes: an Envoy's and the control plane's, ahead and back.

use std::time::{Duration, Instant};

use gatepass_envoy::{Bootstrap, Envoy};
use gatepass_tests::kit::clock::TestClock;
use gatepass_tests::kit::edge::{Edge, ask};

use crate::watched::{
    ALLOWED, Gatepasses, HIGH, LOW, ORDERS, REVOKED, SLACK, SOON, STALE, Watched, bootstrap, edge,
    turn,
};

#[test]
fn an_hour_on_a_gates_clock_closes_it_and_revives_nothing() {
    let _turn = turn();
    let edge = edge();
    let gatepasses = Gatepasses::issue(&edge);
    let [ahead, behind, right] = ["ahead", "behind", "right"].map(|name| {
        let clock = TestClock::start().unwrap();
        let lives_by =
            |bootstrap: Bootstrap, (key, value): (&str, String)| bootstrap.env(key, &value);
        let bootstrap = clock.env().into_iter().fold(bootstrap(&edge, edge.desk.feed()), lives_by);
        let envoy = Envoy::launch(&bootstrap).unwrap();
        let watched = Watched::start(name, envoy.address("in").unwrap(), &gatepasses);
        Gated { watched, envoy, clock }
    });
    let all = [&ahead, &behind, &right];
    all.iter().for_each(|gate| gate.watched.until_all_are_allowed());
    let long = edge.issued_for("orders:read", 3_600).unwrap();
    let short = edge.issued_for("orders:read", 3).unwrap();
    for gate in all {
        gate.until(&long.token, ALLOWED);
        gate.until(&short.token, EXPIRED);
    }
    // A batch that was signed after it had expired: the gate knows that it is that late.
    let marker = edge.issued().unwrap();
    assert_eq!(edge.revoke(&marker.jti).unwrap().status, 200);
    all.iter().for_each(|gate| gate.until(&marker.token, REVOKED));

    behind.clock.jump(-HOUR).unwrap();
    ahead.clock.jump(HOUR / 2).unwrap();
    let jumped = Instant::now();
    assert_eq!(ahead.says(ORDERS, &long.token), STALE, "good for half an hour yet");
    ahead.clock.jump(HOUR).unwrap();
    for token in [&long, &gatepasses.low, &short].map(|issued| &issued.token) {
        assert_eq!(ahead.says(ORDERS, token), EXPIRED);
    }
    assert_eq!(ahead.says("/healthz", &long.token), ALLOWED, "what is public has no time");
    // The twin: what has not expired goes on until it is stale.
    assert_eq!(behind.says(ORDERS, &short.token), EXPIRED);
    assert_eq!(behind.says(ORDERS, &long.token), ALLOWED);

    let answered = gatepasses.revoke_victims(&edge);
    for victim in right.watched.victims() {
        victim.until(REVOKED, SOON).unwrap();
    }
    // Everything that it hears is of the future, so it is as if it were cut off.
    behind.watched.turns_stale(jumped);
    assert!(behind.envoy.wasm_stat("gatepass_batch_refusals.clock_skew").unwrap() > 0);
    let now = Instant::now();
    for (watch, _) in ahead.watched.all() {
        assert_eq!(watch.allows_between(jumped, now), 0, "{}", watch.what());
    }

    for gate in [&ahead, &behind] {
        gate.clock.jump(0).unwrap();
        gate.watched.recovers(Instant::now(), SOON);
        assert_eq!(gate.says(ORDERS, &short.token), EXPIRED);
        assert_eq!(gate.says(ORDERS, &long.token), ALLOWED);
    }
    right.watched.was_undisturbed(answered);
}

#[test]
fn an_hour_back_on_the_control_planes_clock_delays_no_revocation() {
    let _turn = turn();
    let (edge, clock) = by_its_own_clock();
    let gatepasses = Gatepasses::issue(&edge);
    let envoy = Envoy::launch(&bootstrap(&edge, edge.desk.feed())).unwrap();
    let watched = Watched::start("control plane back", envoy.address("in").unwrap(), &gatepasses);
    watched.until_all_are_allowed();

    clock.jump(-HOUR).unwrap();
    let jumped = Instant::now();
    gatepasses.revoke_victims(&edge);
    // Signed with the newest time that there was, which proves less and less.
    for victim in watched.victims() {
        victim.until(REVOKED, SOON).unwrap();
    }
    watched.turns_stale(jumped);
    clock.jump(0).unwrap();
    watched.recovers(Instant::now(), SOON);
    for victim in watched.victims() {
        let first = victim.all().into_iter().find(|told| told.verdict == REVOKED).unwrap();
        let revived = victim.allows_between(first.started, Instant::now());
        assert_eq!(revived, 0, "{}", victim.what());
    }
}

#[test]
fn an_hour_ahead_on_the_control_planes_clock_closes_its_gates_until_it_is_restored() {
    let _turn = turn();
    let (mut edge, clock) = by_its_own_clock();
    let gatepasses = Gatepasses::issue(&edge);
    let envoy = Envoy::launch(&bootstrap(&edge, edge.desk.feed())).unwrap();
    let watched = Watched::start("control plane ahead", envoy.address("in").unwrap(), &gatepasses);
    watched.until_all_are_allowed();

    clock.jump(HOUR).unwrap();
    let jumped = Instant::now();
    gatepasses.revoke_victims(&edge);
    watched.turns_stale(jumped);
    // What was signed is signed: until then nothing is dated before it.
    clock.jump(0).unwrap();
    let refused = || envoy.wasm_stat("gatepass_batch_refusals.clock_skew").unwrap();
    let known = refused();
    envoy.until("another refusal", SOON, |_| Ok((refused() > known + 1).then_some(()))).unwrap();
    let now = Instant::now();
    watched.low.until(STALE, SOON).unwrap();
    for (watch, bound) in watched.all() {
        let late = watch.allows_between(jumped + bound + SLACK, now);
        assert_eq!(late, 0, "{}", watch.what());
    }

    // A new epoch, under which what was dated in the future is dead, begins at the time that it is.
    edge.desk.stop().unwrap();
    let dir = edge.desk.dir();
    edge.desk.done(&["restore", "--dir", dir.to_str().unwrap()]).unwrap();
    edge.desk.serve().unwrap();
    edge.desk.done(&["open", "--reason", "its clock is right again"]).unwrap();
    let fresh = edge.issued().unwrap();
    let restored = Instant::now();
    let gate = Gated { watched, envoy, clock };
    gate.until(&fresh.token, ALLOWED);
    println!("back {} ms after the restore", restored.elapsed().as_millis());
    for (watch, _) in gate.watched.all() {
        watch.until("401 wrong_epoch", SOON).unwrap();
        let revived = watch.allows_between(jumped + LOW.max(HIGH) + SLACK, Instant::now());
        assert_eq!(revived, 0, "{}", watch.what());
    }
}

struct Gated {
    watched: Watched,
    envoy: Envoy,
    clock: TestClock,
}

impl Gated {
    fn says(&self, path: &str, token: &str) -> String {
        ask(&self.envoy, path, Some(token)).unwrap().verdict()
    }

    fn until(&self, token: &str, verdict: &str) {
        let begun = Instant::now();
        loop {
            let said = self.says(ORDERS, token);
            if said == verdict {
                return;
            }
            assert!(begun.elapsed() < SOON, "{}: still `{said}`", self.watched.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A control plane whose clock the test moves.
fn by_its_own_clock() -> (Edge, TestClock) {
    let mut edge = edge();
    let clock = TestClock::start().unwrap();
    edge.desk.stop().unwrap();
    edge.desk.live_by(&clock);
    edge.desk.serve().unwrap();
    (edge, clock)
}

const HOUR: i64 = 3_600;
const EXPIRED: &str = "401 expired";
