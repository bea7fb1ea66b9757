//! Answers of the feed that are hostile, broken or late: none is believed, none is asked for in a
//! hot loop, and the next good one is taken.

use std::time::Duration;

use gatepass::publish::{Changes, Genesis, Publisher, Revoke};
use gatepass_engine::batch::Feed;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::revocation::Kind;
use gatepass_tests::host::{Request, Vm};
use gatepass_tests::kit::signed::{FEED, ISSUER, JTI, STRANGER, Signed, grant};
use gatepass_tests::kit::site::{Site, answer, order};

const OK: &[(&str, &str)] = &[(":status", "200")];

/// One answer: its name, headers and body.
type Answer = (String, Vec<(&'static str, &'static str)>, Vec<u8>);

fn bearing(site: &Site, jti: &str) -> Request {
    let mut grant = grant("orders:read");
    grant.jti = jti.to_owned();
    let token = site.control.issue(&grant, site.now()).unwrap();
    order("GET", "/orders", Some(&token))
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

/// Everything that a gate must not take from `control` or from somebody in its place.
fn hostile(control: &mut Signed, now: UnixSeconds) -> Vec<Answer> {
    let mut all: Vec<Answer> = Vec::new();
    let good = control.snapshot(now).unwrap();
    let body = control.answer(&good).unwrap();
    for status in ["500", "503", "404", "302", "204", "201", "100", "0", "", "200 "] {
        all.push((format!("status {status:?}"), vec![(":status", status)], body.clone()));
    }
    all.push(("no status".into(), vec![("content-type", "x")], body.clone()));
    all.push(("no headers".into(), vec![], body.clone()));
    let mut add = |name: &str, body: Vec<u8>| all.push((name.to_owned(), OK.to_vec(), body));
    add("empty", vec![]);
    add("nothing", vec![0, 0]);
    add("text", b"<html>503</html>".to_vec());
    add("zeros", vec![0; 100_000]);
    add("ones", vec![0xff; 100_000]);
    let mut trailing = body.clone();
    trailing.push(0);
    add("a byte more", trailing);
    for cut in (0..body.len()).step_by(body.len() / 60) {
        add(&format!("cut at {cut}"), body[..cut].to_vec());
    }
    for at in (0..body.len()).step_by(body.len() / 120) {
        let mut flipped = body.clone();
        flipped[at] ^= 0x10;
        // The container, and the key ids in the roots' envelopes, are not signed, and what is
        // signed need not change by it.
        let same = Feed::decode(&flipped).is_ok_and(|feed| feed.batches == [good[0].as_slice()]);
        if !same {
            add(&format!("flipped at {at}"), flipped);
        }
    }
    for count in [1 << 20, 1 << 30, u64::MAX] {
        let mut huge = varint(count);
        add("a huge count of roots", huge.clone());
        huge.insert(0, 0);
        add("a huge count of batches", huge);
    }
    let raw = |roots: &[&[u8]], batches: &[&[u8]]| {
        Feed { roots: roots.to_vec(), batches: batches.to_vec() }.encode().unwrap()
    };
    let feed = Feed::decode(&body).unwrap();
    add("a root as a batch", raw(&feed.roots, &[feed.roots[0]]));
    add("a batch as a root", raw(&[&good[0]], &[&good[0]]));
    add("nine hundred roots", raw(&vec![feed.roots[0]; 900], &[&good[0]]));
    add("empty batches", raw(&feed.roots, &[&[][..]; 512]));
    add("too many batches", raw(&feed.roots, &[&[][..]; 513]));
    let mut state = control.publisher().state().clone();
    for (name, environment, audience) in
        [("environment", "dev", "prod"), ("audience", "prod", "canary")]
    {
        let mut other = Signed::of(environment, audience, now).unwrap();
        let batches = other.snapshot(now).unwrap();
        add(&format!("another {name}, its roots"), other.answer(&batches).unwrap());
        add(&format!("another {name}, our roots"), control.answer(&batches).unwrap());
    }
    for (name, seed) in [("stranger", STRANGER), ("issuer", ISSUER)] {
        control.signs_as(seed).unwrap();
        let batches = control.snapshot(now).unwrap();
        add(&format!("signed by a {name}"), control.answer(&batches).unwrap());
    }
    control.signs_as(FEED).unwrap();
    let bundle = gatepass_policy::compile(gatepass_tests::kit::orders::POLICY).unwrap().bundle;
    let mut dated = |name: &str, state: &gatepass::publish::State, at: UnixSeconds| {
        let key = gatepass::keys::SecretKey::from_seed(&[FEED; 32]).unwrap();
        let mut publisher = Publisher::restore(state.clone(), bundle.clone()).unwrap();
        let batches = publisher.snapshot(&key, at).unwrap();
        add(name, control.answer(&batches).unwrap());
    };
    state.issued_at = UnixSeconds(0);
    state.sequence += 100;
    // Further ahead than the test with this list lasts.
    dated("from the future", &state, now.plus(3_000));
    dated("from the far future", &state, now.plus(1 << 40));
    dated("expired", &state, UnixSeconds(now.0 - state.batch_life));
    state.root_version += 1;
    dated("under a root that did not come", &state, now);
    all
}

/// Sends an answer to the leader's next poll.
fn say(site: &mut Site, (name, headers, body): &Answer) {
    let token = site.poll().unwrap().token;
    let said = site.leader.answer_http_call(token, headers, body);
    said.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// The time goes back to when the answers were made: none is refused only because it is old.
fn at(site: &Site, now: UnixSeconds) {
    site.envoy.clock().set_wall(Duration::from_secs(now.0));
}

#[test]
fn a_cold_gate_believes_no_hostile_answer_and_then_a_good_one() {
    let mut site = Site::cold(1, |_| {}).unwrap();
    let good = bearing(&site, "jti-2");
    let now = site.now();
    for case in hostile(&mut site.control, now) {
        at(&site, now);
        say(&mut site, &case);
        let said = site.ask(0, good.clone()).unwrap();
        assert_eq!(said, "held", "{}", case.0);
        let said = site.ask(0, order("GET", "/orders", None)).unwrap();
        assert_eq!(said, "503 not_ready", "{}", case.0);
    }
    let small = site.leader.memory_size();
    assert!(small < 32 << 20, "{small}");
    site.hear_snapshot().unwrap();
    assert_eq!(site.ask(0, good).unwrap(), "allow");
    assert_eq!(site.metric("gatepass_shared_state_forged"), 0, "none was passed on");
}

#[test]
fn a_warm_gate_is_not_moved_by_hostile_answers() {
    let mut site = Site::start(1).unwrap();
    let doomed = bearing(&site, JTI);
    let good = bearing(&site, "jti-2");
    let old = site.control.snapshot(site.now()).unwrap();
    let gap = {
        let now = site.now();
        let mut ahead = Publisher::new(Genesis {
            environment: "prod".into(),
            audience: "prod".into(),
            epoch: 7,
            hash_key: [9; 16],
            root_version: 1,
            keys: vec![],
        })
        .unwrap();
        for _ in 0..9 {
            ahead.advance(&Changes::default()).unwrap();
        }
        let key = gatepass::keys::SecretKey::from_seed(&[FEED; 32]).unwrap();
        ahead.delta(&Changes::default(), &key, now).unwrap()
    };
    site.revoke(Kind::Credential, JTI).unwrap();
    site.tick().unwrap();
    let now = site.now();
    let mut cases = hostile(&mut site.control, now);
    for (name, batches) in [("an old snapshot", old), ("a gap", vec![gap])] {
        let body = site.control.answer(&batches).unwrap();
        cases.push((name.into(), OK.to_vec(), body));
    }
    for case in cases {
        say(&mut site, &case);
        assert_eq!(site.ask(0, doomed.clone()).unwrap(), "401 revoked_credential", "{}", case.0);
        assert_eq!(site.ask(0, good.clone()).unwrap(), "allow", "{}", case.0);
        site.advance(1_000);
        site.hear_checkpoint().unwrap();
        site.tick().unwrap();
    }
    let before = site.shared("log").unwrap().value;
    assert!(before.len() < 4_096, "{}", before.len());
}

#[test]
fn a_checkpoint_alone_makes_nothing_ready() {
    let mut site = Site::cold(1, |_| {}).unwrap();
    let good = bearing(&site, "jti-2");
    site.hear_checkpoint().unwrap();
    assert_eq!(site.ask(0, good.clone()).unwrap(), "held");
    site.hear_snapshot().unwrap();
    assert_eq!(site.ask(0, good).unwrap(), "allow");
}

#[test]
fn an_old_batch_played_again_proves_nothing() {
    let mut site = Site::start(1).unwrap();
    let first = site.control.checkpoint(site.now()).unwrap();
    let snapshot = site.control.snapshot(site.now()).unwrap();
    for second in 1..=40 {
        site.advance(1_000);
        site.tick().unwrap();
        let batches = if second % 2 == 0 { vec![first.clone()] } else { snapshot.clone() };
        site.hear(&batches).unwrap();
        let good = bearing(&site, "jti-2");
        let age = site.now().since(UnixSeconds(1_800_000_000));
        let expected = if age <= 30 { "allow" } else { "503 stale" };
        assert_eq!(site.ask(0, good).unwrap(), expected, "{age}");
    }
}

/// Answers every poll at once for 10 s and gives the number of polls.
fn polls(site: &mut Site, mut next: impl FnMut(&mut Site) -> Answer) -> usize {
    let mut polls = 0;
    for _ in 0..200 {
        site.advance(50);
        site.leader.tick().unwrap();
        while let Some(call) = site.leader.http_calls().pop() {
            let (_, headers, body) = next(site);
            site.leader.answer_http_call(call.token, &headers, &body).unwrap();
            polls += 1;
            assert!(polls < 500, "a hot loop");
        }
    }
    polls
}

#[test]
fn whatever_the_feed_answers_at_once_is_not_asked_for_in_a_hot_loop() {
    let mut site = Site::start(1).unwrap();
    let now = site.now();
    let body = |site: &mut Site, batches: &[Vec<u8>]| site.control.answer(batches).unwrap();
    let snapshot = site.control.snapshot(now).unwrap();
    let snapshot = body(&mut site, &snapshot);
    let checkpoint = site.control.checkpoint(now).unwrap();
    let checkpoint = body(&mut site, &[checkpoint]);
    let delta = site.control.revoke(Kind::Credential, "other", now).unwrap();
    let delta = body(&mut site, &[delta]);
    for (name, status, body) in [
        ("unavailable", "503", vec![]),
        ("garbage", "200", vec![7; 1000]),
        ("nothing", "200", vec![0, 0]),
        ("the same snapshot", "200", snapshot),
        ("the same checkpoint", "200", checkpoint),
        ("the same delta", "200", delta),
    ] {
        let asked = polls(&mut site, |_| (String::new(), vec![(":status", status)], body.clone()));
        assert!((8..=30).contains(&asked), "{name}: {asked} polls in 10 s");
    }
    // A feed that does not wait proves its freshness anew each second.
    let asked = polls(&mut site, |site| {
        let checkpoint = site.control.checkpoint(site.now()).unwrap();
        (String::new(), OK.to_vec(), site.control.answer(&[checkpoint]).unwrap())
    });
    assert!((10..=80).contains(&asked), "new checkpoints: {asked} polls in 10 s");
    let asked = polls(&mut site, |site| {
        let snapshot = site.control.snapshot(site.now()).unwrap();
        (String::new(), OK.to_vec(), site.control.answer(&snapshot).unwrap())
    });
    assert!((10..=80).contains(&asked), "new snapshots: {asked} polls in 10 s");
}

#[test]
fn an_answer_that_is_known_already_leaves_the_gate_listening_once() {
    let mut site = Site::start(1).unwrap();
    let now = site.now();
    let body = |site: &mut Site, id: &str| {
        let delta = site.control.revoke(Kind::Credential, id, now).unwrap();
        let checkpoint = site.control.checkpoint(now).unwrap();
        site.control.answer(&[delta, checkpoint]).unwrap()
    };
    let news = body(&mut site, "one");
    site.say(&news).unwrap();
    // As when another VM polled beside this one and was answered first. No time passes.
    let call = site.leader.http_calls().pop().expect("it polls again at once");
    answer(&mut site.leader, call.token, &news).unwrap();
    let call = site.leader.http_calls().pop().expect("known once is no failure");
    assert!(!call.path().contains("wait=0"), "{}", call.path());
    // Its twin: a feed that goes on to say what is known is not asked as fast as it answers.
    answer(&mut site.leader, call.token, &news).unwrap();
    assert!(site.leader.http_calls().is_empty(), "a hot loop");
    // Until something comes of it.
    let call = site.poll().unwrap();
    let news = body(&mut site, "two");
    answer(&mut site.leader, call.token, &news).unwrap();
    let call = site.leader.http_calls().pop().expect("it polls again at once");
    answer(&mut site.leader, call.token, &news).unwrap();
    assert_eq!(site.leader.http_calls().len(), 1);
}

#[test]
fn a_cluster_that_is_missing_is_asked_for_with_a_pause_and_named_in_the_log() {
    let mut site = Site::cold(0, |_| {}).unwrap();
    site.envoy.remove_cluster(gatepass_tests::kit::signed::CLUSTER);
    let before = site.leader.host_calls("proxy_http_call");
    for _ in 0..200 {
        site.advance(50);
        site.leader.tick().unwrap();
    }
    let calls = site.leader.host_calls("proxy_http_call") - before;
    assert!((8..=30).contains(&calls), "{calls}");
    assert!(site.leader.has_logged("`gatepass_control_plane`"));
}

#[test]
fn a_poll_that_is_never_answered_is_given_up() {
    let mut site = Site::start(0).unwrap();
    let lost = site.poll().unwrap();
    let mut given_up = 0;
    for _ in 0..60 {
        site.advance(1_000);
        site.leader.tick().unwrap();
        given_up = given_up.max(site.leader.http_calls().len());
    }
    assert!((2..=60).contains(&given_up), "{given_up}");
    // Its answer comes after all, and is nobody's.
    let body = site.control.snapshot(site.now()).unwrap();
    let body = site.control.answer(&body).unwrap();
    let before = site.shared("log").unwrap();
    answer(&mut site.leader, lost.token, &body).unwrap();
    assert_eq!(site.shared("log").unwrap().value, before.value);
}

#[test]
fn an_answer_of_many_empty_things_does_not_fill_the_memory() {
    for prefix in [&[][..], &[0]] {
        let mut site = Site::cold(0, |_| {}).unwrap();
        let mut body = prefix.to_vec();
        body.extend(varint(60_000_000));
        body.resize(body.len() + 60_000_000, 0);
        site.say(&body).unwrap();
        let size = |vm: &Vm| vm.memory_size() >> 20;
        // The answer itself, and room for its growth.
        assert!(size(&site.leader) < 160, "{} MiB", size(&site.leader));
        site.hear_snapshot().unwrap();
    }
}

#[test]
fn a_delta_that_does_not_join_on_is_mended_by_a_snapshot() {
    let mut site = Site::start(1).unwrap();
    let doomed = bearing(&site, JTI);
    let now = site.now();
    site.control.revoke(Kind::Credential, JTI, now).unwrap();
    let late = site.control.revoke(Kind::Credential, "other", now).unwrap();
    site.hear(&[late]).unwrap();
    let call = site.poll().unwrap();
    assert!(!call.path().contains("after="), "{}", call.path());
    site.hear_snapshot().unwrap();
    assert_eq!(site.ask(0, doomed).unwrap(), "401 revoked_credential");
}

#[test]
fn revocations_that_came_in_one_answer_with_garbage_are_enforced() {
    let mut site = Site::start(1).unwrap();
    let doomed = bearing(&site, JTI);
    let now = site.now();
    let delta = site.control.revoke(Kind::Credential, JTI, now).unwrap();
    let changes = Changes::revoke(vec![Revoke::new(Kind::Credential, "other", now)]);
    let mut forged = site.control.delta(&changes, now).unwrap();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    site.hear(&[delta, forged, b"garbage".to_vec()]).unwrap();
    assert_eq!(site.ask(0, doomed).unwrap(), "401 revoked_credential");
}

/// A gate that heard, in one answer, a revocation of `JTI` and a checkpoint after it, dated so many seconds
/// after its clock; the answer, and a request that the revocation ends.
fn told(revoked_at: i64, proved_at: i64) -> (Site, Vec<Vec<u8>>, Request) {
    let mut site = Site::start(1).unwrap();
    site.advance(10_000);
    site.hear_checkpoint().unwrap();
    let doomed = bearing(&site, JTI);
    let dated = |seconds| UnixSeconds(site.now().0.checked_add_signed(seconds).unwrap());
    let (revoked_at, proved_at) = (dated(revoked_at), dated(proved_at));
    let delta = site.control.revoke(Kind::Credential, JTI, revoked_at).unwrap();
    let checkpoint = site.control.checkpoint(proved_at).unwrap();
    let answer = vec![delta, checkpoint];
    assert_eq!(site.ask(0, doomed.clone()).unwrap(), "allow");
    site.hear(&answer).unwrap();
    (site, answer, doomed)
}

#[test]
fn nothing_is_taken_of_an_answer_that_is_partly_dated_ahead() {
    for (revoked_at, proved_at) in [(0, 31), (30, 31), (31, 31)] {
        let (mut site, answer, doomed) = told(revoked_at, proved_at);
        let case = format!("{revoked_at}, {proved_at}");
        assert!(
            !site.poll().unwrap().path().contains(&site.control.position().to_string()),
            "{case}"
        );
        assert_eq!(site.ask(0, doomed.clone()).unwrap(), "allow", "{case}");
        // No longer than staleness lets it: nothing of the answer was a proof.
        site.advance(20_000);
        assert_eq!(site.ask(0, doomed.clone()).unwrap(), "allow", "{case}");
        site.advance(11_000);
        assert_eq!(site.ask(0, doomed.clone()).unwrap(), "503 stale", "{case}");
        // Heard again when our clock has come there, all of it is taken.
        site.hear(&answer).unwrap();
        assert_eq!(site.ask(0, doomed).unwrap(), "401 revoked_credential", "{case}");
    }
}

#[test]
fn an_answer_is_taken_that_is_dated_no_further_ahead_than_clocks_may_differ() {
    for (revoked_at, proved_at) in [(-5, -4), (0, 0), (0, 30), (30, 30)] {
        let (mut site, _, doomed) = told(revoked_at, proved_at);
        let verdict = site.ask(0, doomed).unwrap();
        assert_eq!(verdict, "401 revoked_credential", "{revoked_at}, {proved_at}");
    }
}
