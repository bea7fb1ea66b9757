//! A feed that attacks: a cold gate never allows, a warm one keeps deciding on what it has, and
//! the next good batch is applied at once.

use std::time::{Duration, Instant};

use gatepass_tests::kit::hostile::{Answer, HostileFeed, Poll};

use crate::attacks::{ANYWHERE, Attack, COLD, Counted, GARBAGE, Past, Scene, WARM};
use crate::desk::{QUICK, SLOW, SharedDesk, bundle, revocation};
use crate::gated::{Gated, SOON, pause};
use gatepass::publish::Changes;

#[test]
fn a_warm_gate_decides_on_what_it_has_whatever_its_feed_says() {
    let desk = SharedDesk::new("prod");
    let past = past_of(&desk);
    let allowed = desk.issue(SLOW);
    let revoked = desk.issue(SLOW);
    desk.revoke(&revoked.jti);
    let feed = desk.serve();
    let mut gated = Gated::launch(&desk.lock().plugin(), &feed);
    gated.until("/slow", &allowed.token, "200");
    gated.until("/slow", &revoked.token, "401 revoked_credential");
    for attack in ANYWHERE.iter().chain(WARM) {
        let position = desk.lock().position();
        let good = desk.lock().foretold(&revocation(&allowed.jti));
        let begun = begin(attack, &feed, &gated, &desk, good, &past);
        begun.wait(attack, 2, &feed, &gated);
        assert_eq!(gated.ask("/slow", &allowed.token), "200", "{}", attack.name);
        assert_eq!(gated.ask("/slow", &revoked.token), "401 revoked_credential", "{}", attack.name);
        let held = vec![position.to_string(); gated.positions().len()];
        assert_eq!(gated.positions(), held, "{}", attack.name);
        assert_bounded(attack, &feed, begun.at);

        let next = desk.issue(SLOW);
        gated.until("/slow", &next.token, "200");
        desk.revoke(&next.jti);
        feed.conduct(desk.honest());
        let ended = Instant::now();
        gated.until("/slow", &next.token, "401 revoked_credential");
        let applied = Instant::now();
        let heard = feed.polls(ended).first().map(|poll| poll.at);
        println!(
            "warm: {}: the next good batch bites after {} ms, {} ms after it was asked for",
            attack.name,
            applied.duration_since(ended).as_millis(),
            heard.map_or(0, |at| applied.duration_since(at).as_millis()),
        );
        if let Some(heard) = heard {
            assert!(applied.duration_since(heard) < AT_ONCE, "{}", attack.name);
        }
    }
    gated.assert_no_crash();
}

#[test]
fn a_cold_gate_allows_nothing_whatever_its_feed_says() {
    let desk = SharedDesk::new("prod");
    let past = past_of(&desk);
    let allowed = desk.issue(SLOW);
    let feed = HostileFeed::start(|_| Answer::Later).unwrap();
    let mut plugin = desk.lock().plugin();
    // Nothing is worth waiting for here.
    plugin.hold_ms = 0;
    let mut gated = Gated::launch(&plugin, &feed);
    for attack in COLD.iter().chain(ANYWHERE) {
        let good = desk.lock().snapshot();
        let begun = begin(attack, &feed, &gated, &desk, good, &past);
        begun.wait(attack, 1, &feed, &gated);
        for (path, token) in
            [("/slow", allowed.token.as_str()), ("/slow", "none"), ("/healthz", "none")]
        {
            assert_eq!(gated.ask(path, token), "503 not_ready", "{}: {path}", attack.name);
        }
        assert_bounded(attack, &feed, begun.at);
    }
    assert_eq!(gated.upstream.take(), vec![], "nothing reached the target system");
    // A snapshot whose bundle is garbage: there is a position now, and no policy.
    let snapshot = desk.lock().snapshot();
    let broken = desk.lock().changed(&snapshot, |batch| batch.bundle = Some(GARBAGE));
    let body = desk.lock().body(&[broken]);
    feed.conduct(move |_| Answer::Body(body.clone()));
    gated.until_stat("gatepass_batch_refusals.bundle_refused", |count| count > 0);
    for (path, token) in [("/slow", allowed.token.as_str()), ("/healthz", "none")] {
        assert_eq!(gated.ask(path, token), "503 not_ready", "{path}");
    }
    // Its successor is owed, and comes.
    feed.conduct(desk.honest());
    desk.lock().step(&Changes::bundle(bundle()));
    let took = gated.until("/slow", &allowed.token, "200");
    println!("cold: ready {} ms after the attacks ended", took.as_millis());
    gated.assert_no_crash();
}

#[test]
fn an_old_snapshot_or_one_checkpoint_for_ever_ends_in_stale_and_not_in_hot_polling() {
    let desk = SharedDesk::new("prod");
    let snapshot = desk.lock().snapshot();
    let old = desk.lock().changed(&snapshot, |batch| batch.header.issued_at.0 -= 3_600);
    let old = desk.lock().body(&[old]);
    let begun = Instant::now();
    let feed = HostileFeed::start(move |_| Answer::Body(old.clone())).unwrap();
    let mut gated = Gated::launch(&desk.lock().plugin(), &feed);
    let (quick, slow) = (desk.issue(QUICK), desk.issue(SLOW));
    // All that a cold gate can be told by a genuine batch of an hour ago is what is public.
    gated.until("/slow", &slow.token, "503 stale");
    gated.until("/healthz", "none", "200");
    assert_eq!(gated.ask("/quick", &quick.token), "503 stale");
    gated.until_stat("gatepass_position_sequence", |sequence| sequence > 0);
    assert!(feed.most_within(SECOND, begun) <= MOST_POLLS);
    feed.conduct(desk.honest());
    gated.until("/quick", &quick.token, "200");

    let frozen = Instant::now();
    let body = {
        let mut desk = desk.lock();
        let checkpoint = desk.checkpoint();
        desk.body(&[checkpoint])
    };
    feed.conduct(move |_| Answer::Body(body.clone()));
    let took = until_never_allowed(&mut gated, &quick.token);
    println!("frozen: stale after {} ms", took.as_millis());
    // The bound, and a second that `issued_at` does not show.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(gated.ask("/quick", &quick.token), "503 stale");
    assert_eq!(gated.ask("/slow", &slow.token), "200");
    assert!(feed.most_within(SECOND, frozen) <= MOST_POLLS);

    feed.conduct(desk.honest());
    let back = gated.until("/quick", &quick.token, "200");
    println!("frozen: back after {} ms", back.as_millis());
    gated.assert_no_crash();
}

#[test]
fn two_genuine_snapshots_in_turn_do_not_make_the_gate_poll_as_fast_as_it_can() {
    let desk = SharedDesk::new("prod");
    let first = desk.lock().snapshot();
    let feed = desk.serve();
    let mut gated = Gated::launch(&desk.lock().plugin(), &feed);
    let pass = desk.issue(SLOW);
    gated.until("/slow", &pass.token, "200");
    // A second later the same position has another snapshot.
    let second = gated.envoy.until("another second", SOON, |_| {
        let next = desk.lock().snapshot();
        Ok(Some(next).filter(|next| *next != first))
    });
    let bodies = [first, second.unwrap()].map(|snapshot| desk.lock().body(&[snapshot]));
    let begun = Instant::now();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    feed.conduct(move |_| {
        let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Answer::Body(bodies[turn % 2].clone())
    });
    gated
        .envoy
        .until("two seconds of it", SOON, |_| {
            let over = begun.elapsed() > SECOND * 2;
            Ok(over.then_some(()))
        })
        .unwrap();
    let most = feed.most_within(SECOND, begun);
    assert!(most <= MOST_POLLS, "{most} polls within a second");
    assert_eq!(gated.ask("/slow", &pass.token), "200");
    desk.revoke(&pass.jti);
    feed.conduct(desk.honest());
    gated.until("/slow", &pass.token, "401 revoked_credential");
}

#[test]
fn a_connection_that_hangs_is_given_up_before_the_state_is_stale() {
    let desk = SharedDesk::new("prod");
    let begins = Instant::now();
    let feed = desk.serve();
    let mut gated = Gated::launch(&desk.lock().plugin(), &feed);
    let quick = desk.issue(QUICK);
    let launched = Instant::now();
    gated.until("/quick", &quick.token, "200");
    // The one that waits is to hang: before it came one that asks for a proof at once.
    let waits = |poll: &Poll| poll.parameter("wait") == Some("20");
    while !feed.polls(begins).iter().any(waits) {
        assert!(launched.elapsed() < SOON, "no poll waits");
        pause();
    }
    let begun = Instant::now();
    let honest = desk.honest();
    feed.conduct(move |poll| if poll.at < begun { Answer::Hang } else { honest(poll) });
    let mut denied = 0;
    while feed.polls(begun).len() < 2 && begun.elapsed() < SOON {
        let found = gated.verdicts("/quick", &quick.token);
        denied += usize::from(found.iter().any(|verdict| verdict != "200"));
        pause();
    }
    let polls = feed.polls(begun);
    let given_up = polls[0].at.duration_since(begun);
    println!("hang: given up after {} ms, {denied} rounds denied", given_up.as_millis());
    // On a quiet machine before the bound of 3 s. What is asserted holds on a loaded one: it does
    // not wait for the 25 s that a poll without this care would last.
    assert!(given_up < Duration::from_secs(15), "{given_up:?}");
    // The next one asks for a proof at once, and the one after it waits again.
    assert_eq!(polls[0].parameter("wait"), Some("0"));
    assert_eq!(polls[1].parameter("wait"), Some("20"));
    assert_eq!(gated.ask("/quick", &quick.token), "200");
    gated.assert_no_crash();
}

/// When an attack began, and what was counted before.
struct Begun {
    at: Instant,
    counted: u64,
}

fn begin(
    attack: &Attack,
    feed: &HostileFeed,
    gated: &Gated,
    desk: &SharedDesk,
    good: Vec<u8>,
    past: &Past,
) -> Begun {
    let answer = (attack.answer)(&Scene { desk: &desk.lock(), good, past });
    let counted = counter(attack).map_or(0, |name| gated.stat(&name));
    let at = Instant::now();
    feed.conduct(move |_| answer.clone());
    Begun { at, counted }
}

impl Begun {
    /// Until it was counted and the gate has asked as often as that.
    fn wait(&self, attack: &Attack, asked: usize, feed: &HostileFeed, gated: &Gated) {
        if let Some(name) = counter(attack) {
            let start = Instant::now();
            while gated.stat(&name) <= self.counted {
                assert!(
                    start.elapsed() < SOON,
                    "{}: {name} is still {}",
                    attack.name,
                    self.counted
                );
            }
        }
        // One that hangs is asked no second time.
        let enough = if attack.name == "nothing is answered" { 0 } else { asked };
        let asked = gated
            .envoy
            .until(attack.name, SOON, |_| Ok((feed.polls(self.at).len() >= enough).then_some(())));
        asked.unwrap();
    }
}

fn counter(attack: &Attack) -> Option<String> {
    match attack.counted {
        Counted::As(code) => Some(format!("gatepass_batch_refusals.{code}")),
        Counted::FailedPoll => Some("gatepass_polls_failed".to_owned()),
        Counted::Not => None,
    }
}

fn assert_bounded(attack: &Attack, feed: &HostileFeed, since: Instant) {
    let most = feed.most_within(SECOND, since);
    assert!(most <= MOST_POLLS, "{}: {most} polls within a second", attack.name);
}

/// Until no worker allows it any more.
pub(crate) fn until_never_allowed(gated: &mut Gated, token: &str) -> Duration {
    let start = Instant::now();
    loop {
        let found = gated.verdicts("/quick", token);
        if found.iter().all(|verdict| verdict == "503 stale") {
            return start.elapsed();
        }
        assert!(start.elapsed() < SOON, "{found:?}");
        pause();
    }
}

fn past_of(desk: &SharedDesk) -> Past {
    let mut desk = desk.lock();
    let snapshot = desk.snapshot();
    let checkpoint = desk.checkpoint();
    let delta = desk.step(&revocation("somebody"));
    desk.step(&revocation("somebody else"));
    Past { snapshot, delta, checkpoint }
}

const SECOND: Duration = Duration::from_secs(1);
/// The back-off begins at 50 ms and doubles: five or six polls in the first second.
pub(crate) const MOST_POLLS: usize = 15;
/// From a poll to a decision on what it brought: no round of polls later, however busy the machine is.
const AT_ONCE: Duration = Duration::from_secs(5);
