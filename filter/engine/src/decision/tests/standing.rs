//! What is open is decided again as a request would be that came now.

use super::*;
use crate::clock::{Now, UnixSeconds};
use crate::gate::Mode;
use crate::keyring::Algorithm;
use crate::testkit::{Message, action, bundle, feed, feed_at, issuer_key};

fn open(scene: &Scene, gate: &Gate) -> Standing {
    match scene.decide_at(gate) {
        Decision::Allow(permit) => permit.into_standing(),
        Decision::Deny(denial) => panic!("denied: {denial}"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}

fn code(decided: Result<(), Denial>) -> Option<Code> {
    decided.err().map(|denial| denial.code())
}

fn anew(standing: &mut Standing, scene: &Scene, gate: &Gate) -> Option<Code> {
    let mut cache = TokenCache::new(0);
    scene.request(|request| code(standing.decide_anew(request, gate, &mut cache, scene.now)))
}

/// Every allowed request of the table of denials, and what changes under it: never itself.
fn changes() -> impl Iterator<Item = (Code, Scene, Scene)> {
    let twins = TWINS.iter().chain(LATER).map(|(code, right, wrong)| {
        let right = match code {
            Code::WrongIssuer => Scene::good(),
            _ => Scene::with(right),
        };
        let mut changed = right.clone();
        match code {
            Code::WrongIssuer => changed.keys[0].issuer = "https://second.example".into(),
            _ => wrong(&mut changed),
        }
        (*code, right, changed)
    });
    let bytes = |scene: &Scene| scene.request(|request| format!("{request:?}"));
    twins.filter(move |(_, right, changed)| {
        bytes(right) == bytes(changed) && right.settings.environment == changed.settings.environment
    })
}

/// What the table does not have because there it is the request that is wrong.
const LATER: &[(Code, Change, Change)] = &[
    (Code::UnsupportedAlgorithm, |_| {}, |s| s.keys[0].algorithm = Algorithm::Ed25519),
    (Code::UnknownKey, |_| {}, |s| s.keys = vec![issuer_key(OTHER_ISSUER)]),
    (Code::RevokedKey, |s| s.keys[0].not_after.0 = NOW + 9, |s| s.now = later(9)),
    (Code::Expired, |s| s.pass.claims["exp"] = json!(NOW + 50), |s| s.now = later(50)),
    (
        Code::NotYetValid,
        |s| {
            s.now = later(50);
            s.pass.claims["iat"] = json!(NOW + 50);
        },
        |s| s.now.unix.0 = NOW,
    ),
    (Code::TooOld, |s| s.action().max_age = Some(30), |s| s.now = later(11)),
];

#[test]
fn an_open_request_is_denied_for_what_a_new_one_would_be() {
    let (mut under_the_same, mut under_another) = (BTreeSet::new(), BTreeSet::new());
    for (expected, right, changed) in changes() {
        let before = right.gate();
        let mut standing = open(&right, &before);
        assert_eq!(code(standing.clone().still_stands(&before, right.now)), None, "{expected}");
        let gate = changed.gate();
        assert_eq!(code(standing.still_stands(&gate, changed.now)), Some(Code::PolicyChanged));
        assert_eq!(anew(&mut standing.clone(), &right, &before), None);
        assert_eq!(anew(&mut standing.clone(), &changed, &gate), Some(expected));
        under_another.insert(expected);
        if right.bundle == changed.bundle {
            standing.rebase(&gate);
            let again = code(standing.still_stands(&gate, changed.now));
            assert_eq!(again, Some(expected));
            under_the_same.insert(expected);
        }
    }
    assert_eq!(under_the_same.iter().copied().collect::<Vec<_>>(), AGAIN, "as its page says");
    assert!(under_another.is_superset(&under_the_same));
    let policy = [Code::InsufficientScope, Code::BindingMismatch];
    assert!(policy.iter().all(|code| under_another.contains(code)), "{under_another:?}");
}

/// Those of [`standing`](super::super::standing)'s page that a new request has too; `wrong_epoch` and
/// `behind` are below.
const AGAIN: &[Code] = &[
    Code::UnsupportedAlgorithm,
    Code::UnknownKey,
    Code::RevokedKey,
    Code::WrongIssuer,
    Code::Expired,
    Code::NotYetValid,
    Code::TooOld,
    Code::RevokedCredential,
    Code::RevokedAncestor,
    Code::RevokedTask,
    Code::RevokedSubject,
    Code::RevokedAgent,
    Code::RevokedOwner,
    Code::RevokedBlueprint,
    Code::NotReady,
    Code::Stale,
];

#[test]
fn what_is_revoked_ends_what_is_open_and_nothing_else() {
    let scene = Scene::good();
    let mut gate = scene.gate();
    let mut standing = open(&scene, &gate);
    let elsewhere = Message::delta(AT, AT + 1).revoking(&[(Kind::Task, "task-2", Below::Always)]);
    feed(&mut gate, &elsewhere).unwrap();
    assert_eq!(code(standing.still_stands(&gate, scene.now)), None);
    let here = Message::delta(AT + 1, AT + 2).revoking(&[(Kind::Task, "task-1", Below::Always)]);
    feed(&mut gate, &here).unwrap();
    let denial = standing.still_stands(&gate, scene.now).unwrap_err();
    assert_eq!(denial.code(), Code::RevokedTask);
    assert_eq!(denial.whom().agent.as_deref(), Some(AGENT));
    assert_eq!(denial.whom().action.as_deref(), Some("orders:create"));
}

#[test]
fn an_older_epoch_ends_and_a_gate_that_is_behind_may_wait() {
    let scene = Scene::good();
    let mut gate = scene.gate();
    let mut standing = open(&scene, &gate);
    gate.fall_behind(Position { epoch: EPOCH, sequence: AT + 1 });
    let denial = standing.still_stands(&gate, scene.now).unwrap_err();
    assert_eq!(denial.code(), Code::Behind);
    assert!(denial.hold().is_some());
    feed(&mut gate, &Message::delta(AT, AT + 1)).unwrap();
    assert_eq!(code(standing.still_stands(&gate, scene.now)), None);
    feed(&mut gate, &Message::snapshot(1).epoch(EPOCH + 1).revoking(&[])).unwrap();
    standing.rebase(&gate);
    assert_eq!(code(standing.still_stands(&gate, scene.now)), Some(Code::WrongEpoch));
    assert_eq!(anew(&mut standing, &scene, &gate), Some(Code::WrongEpoch));
}

#[test]
fn it_is_due_when_time_has_something_to_say_and_not_before() {
    let at = |unix: u64, monotonic: u64| Now {
        unix: UnixSeconds(NOW + unix),
        monotonic: Milliseconds(later(0).monotonic.0 + monotonic),
    };
    let by_key: Change = |s| s.keys[0].not_after.0 = NOW + 20;
    let by_age: Change = |s| s.action().max_age = Some(30);
    let by_expiry: Change = |s| s.pass.claims["exp"] = json!(NOW + 7);
    let nothing: Change = |_| {};
    for (change, before, then, expected) in [
        (by_key, at(19, 0), at(20, 0), Code::RevokedKey),
        (by_age, at(10, 0), at(11, 0), Code::TooOld),
        (by_expiry, at(6, 0), at(7, 0), Code::Expired),
        // 60 s both: fresh for as long as the route lasts.
        (nothing, at(0, 59_999), at(0, 60_000), Code::DurationOver),
        (|s| s.action().staleness = 5, at(5, 0), at(5, 5_001), Code::Stale),
    ] {
        let scene = Scene::with(change);
        let gate = scene.gate();
        let mut standing = open(&scene, &gate);
        assert!(standing.is_due(&gate, scene.now), "looked at once, to know when");
        assert_eq!(code(standing.still_stands(&gate, scene.now)), None);
        assert!(!standing.is_due(&gate, scene.now));
        assert!(!standing.is_due(&gate, before), "{expected}");
        assert_eq!(code(standing.still_stands(&gate, before)), None, "{expected}");
        assert!(standing.is_due(&gate, then), "{expected}");
        assert_eq!(code(standing.still_stands(&gate, then)), Some(expected));
    }
}

#[test]
fn fresh_state_gives_time_and_a_newer_proof_moves_it() {
    let scene = Scene::with(|s| s.action().staleness = 5);
    let mut gate = scene.gate();
    let mut standing = open(&scene, &gate);
    assert_eq!(code(standing.still_stands(&gate, later(5))), None);
    assert!(standing.is_due(&gate, later(6)));
    feed_at(&mut gate, &Message::checkpoint(AT).issued_at(NOW + 5), later(5)).unwrap();
    assert!(!standing.is_due(&gate, later(6)));
    assert_eq!(code(standing.still_stands(&gate, later(6))), None);
}

#[test]
fn under_another_bundle_the_whole_request_is_decided_again() {
    let health = Scene::with(|s| s.ask("GET", "/health"));
    let elsewhere = Scene::with(|s| s.authority = "open.example".into());
    let gone: fn(&mut Vec<crate::bundle::Host>) = |hosts| hosts.clear();
    for scene in [Scene::good(), health, elsewhere] {
        let mut gate = scene.gate();
        let mut standing = open(&scene, &gate);
        let same = Message::delta(AT, AT + 1).bundle(&bundle());
        feed(&mut gate, &same).unwrap();
        assert!(!standing.is_under(&gate));
        assert_eq!(anew(&mut standing, &scene, &gate), None);
        assert!(standing.is_under(&gate));
        assert_eq!(code(standing.still_stands(&gate, scene.now)), None);
        let mut without = bundle();
        gone(&mut without.hosts);
        feed(&mut gate, &Message::delta(AT + 1, AT + 2).bundle(&without)).unwrap();
        let denied = anew(&mut standing, &scene, &gate);
        assert!(matches!(denied, Some(Code::NoRoute | Code::NoCredential)), "{denied:?}");
    }
}

#[test]
fn its_time_runs_from_when_it_was_opened_whatever_the_bundle() {
    let scene = Scene::with(|s| s.ask("GET", "/health"));
    let mut gate = scene.gate();
    let mut standing = open(&scene, &gate);
    feed(&mut gate, &Message::delta(AT, AT + 1).bundle(&bundle())).unwrap();
    let end = Scene { now: later(60), ..scene.clone() };
    assert_eq!(anew(&mut standing.clone(), &end, &gate), Some(Code::DurationOver));
    let twin = Scene { now: later(59), ..scene };
    assert_eq!(anew(&mut standing, &twin, &gate), None);
}

#[test]
fn in_shadow_mode_nothing_ends() {
    let revoked = Message::delta(AT, AT + 1).revoking(&[(Kind::Task, "task-1", Below::Always)]);
    let ended = |scene: &Scene, gate: &mut Gate| {
        let mut standing = open(scene, gate);
        feed(gate, &revoked).unwrap();
        code(standing.still_stands(gate, later(3_000)))
    };
    let scene = Scene::good();
    assert_eq!(ended(&scene, &mut scene.gate()), Some(Code::Expired));
    let shadow = Scene::with(|s| s.settings.mode = Mode::Shadow);
    assert_eq!(ended(&shadow, &mut shadow.gate()), None);
    // The action's: until a bundle enforces it.
    let scene = Scene::with(|s| s.action().mode = ActionMode::Shadow);
    let mut gate = scene.gate();
    assert_eq!(ended(&scene, &mut gate), None);
    let mut standing = open(&scene, &gate);
    let mut enforced = bundle();
    enforced.actions[0] = action("orders:create");
    feed(&mut gate, &Message::delta(AT + 1, AT + 2).bundle(&enforced)).unwrap();
    assert_eq!(anew(&mut standing, &scene, &gate), Some(Code::RevokedTask));
}
