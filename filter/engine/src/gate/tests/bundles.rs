//! A refused bundle, a snapshot that lacks something, and the baseline.

use super::*;
use crate::testkit::{bare_gate, bundle};

fn bad_bundle() -> Message {
    next().with(|m| m.bundle = Some(b"not a bundle".to_vec()))
}

#[test]
fn after_a_refused_bundle_the_position_moves_and_freshness_does_not() {
    let mut gate = ready();
    let bad = bad_bundle().issued_at(NOW + 10);
    assert_eq!(feed_at(&mut gate, &bad, later(10)), Err(RefusalCode::BundleRefused));
    assert_eq!(gate.position(), at(AT + 1));
    assert_eq!(gate.bundle_position(), at(AT));
    assert_eq!(gate.age(later(10)), Some(10_000));
    // Deltas still apply; neither they nor checkpoints are proof of freshness.
    let revoked = [(Kind::Task, "task-9", Below::Always)];
    let delta = Message::delta(AT + 1, AT + 2).issued_at(NOW + 20).revoking(&revoked);
    assert_eq!(feed_at(&mut gate, &delta, later(20)), Err(RefusalCode::BundleRefused));
    assert!(gate.revocations().unwrap().hits(Kind::Task, "task-9", 1));
    assert_eq!(gate.position(), at(AT + 2));
    let checkpoint = Message::checkpoint(AT + 2).issued_at(NOW + 30);
    let refused = feed_at(&mut gate, &checkpoint, later(30));
    assert_eq!(refused, Err(RefusalCode::BundleRefused));
    assert_eq!(gate.age(later(30)), Some(30_000));
    assert_eq!(denial(&gate, later(60)), None, "the bundle before it is in force");
    assert_eq!(denial(&gate, later(61)), Some(Code::Stale));
    // A second refused one is no successor.
    let worse =
        Message::delta(AT + 2, AT + 3).issued_at(NOW + 61).with(|m| m.bundle = Some(vec![]));
    assert_eq!(feed_at(&mut gate, &worse, later(61)), Err(RefusalCode::BundleRefused));
    // The successor is.
    let good = Message::delta(AT + 3, AT + 4).issued_at(NOW + 62).bundle(&bundle());
    assert_eq!(feed_at(&mut gate, &good, later(62)), moved(EPOCH, AT + 4));
    assert_eq!(gate.bundle_position(), at(AT + 4));
    assert_eq!(denial(&gate, later(62)), None);
    let checkpoint = Message::checkpoint(AT + 4).issued_at(NOW + 63);
    assert_eq!(feed_at(&mut gate, &checkpoint, later(63)), Ok(Applied::Renewed));
}

#[test]
fn a_base_brings_the_same_bundle_at_its_own_position() {
    let mut other = bundle();
    other.actions[0].scopes_all = vec!["x".into()];
    let mut gate = gate();
    assert_eq!(gate.bundle_in_force(), None);
    let mut gate_hears = |message: &Message| {
        feed(&mut gate, message).unwrap();
        gate.bundle_in_force().unwrap()
    };
    let (at, first) = gate_hears(&Message::snapshot(AT));
    assert_eq!(at.sequence, AT);
    let (at, again) = gate_hears(&Message::snapshot(AT + 3));
    assert_eq!((at.sequence, again), (AT + 3, first));
    let (at, without) = gate_hears(&Message::delta(AT + 3, AT + 4));
    assert_eq!((at.sequence, without), (AT + 3, first));
    let (at, delta) = gate_hears(&Message::delta(AT + 4, AT + 5).bundle(&other));
    assert_eq!(at.sequence, AT + 5);
    assert_ne!(delta, first, "its twin is another");
    let (at, base) = gate_hears(&Message::snapshot(AT + 6).bundle(&other));
    assert_eq!((at.sequence, base), (AT + 6, delta));
}

#[test]
fn a_snapshot_can_be_the_successor_of_a_refused_bundle() {
    let mut gate = ready();
    feed(&mut gate, &bad_bundle()).unwrap_err();
    let snapshot = Message::snapshot(AT + 2).issued_at(NOW + 5);
    assert_eq!(feed_at(&mut gate, &snapshot, later(5)), moved(EPOCH, AT + 2));
    assert_eq!(gate.age(later(5)), Some(0));
}

#[test]
fn each_way_to_break_a_bundle_is_refused_and_counted_as_one_refusal() {
    let whole = encoded(&bundle());
    let mut gate = ready();
    for length in 0..whole.len() {
        let to = AT + 1 + length as u64;
        let cut = Message::delta(to - 1, to).with(|m| m.bundle = Some(whole[..length].to_vec()));
        assert_eq!(feed(&mut gate, &cut), Err(RefusalCode::BundleRefused), "{length}");
    }
    assert_eq!(gate.bundle_position(), at(AT));
}

#[test]
fn a_first_snapshot_with_a_refused_bundle_is_not_ready() {
    let mut gate = gate();
    let bad = Message::snapshot(AT).with(|m| m.bundle = Some(vec![1]));
    assert_eq!(feed(&mut gate, &bad), Err(RefusalCode::BundleRefused));
    assert_eq!(gate.age(now()), None);
    assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    let checkpoint = Message::checkpoint(AT);
    assert_eq!(feed(&mut gate, &checkpoint), Err(RefusalCode::BundleRefused));
    assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    let good = next().bundle(&bundle());
    assert_eq!(feed(&mut gate, &good), moved(EPOCH, AT + 1));
    assert_eq!(denial(&gate, now()), None);
}

#[test]
fn a_snapshot_without_a_bundle_leaves_no_older_policy_fresh() {
    let mut gate = ready();
    let bare = Message::snapshot(AT + 1).issued_at(NOW + 10).with(|m| m.bundle = None);
    assert_eq!(feed_at(&mut gate, &bare, later(10)), Err(RefusalCode::BundleRefused));
    assert_eq!(gate.age(later(10)), Some(10_000));
    let mut gate = crate::testkit::gate();
    let bare = Message::snapshot(AT).with(|m| m.bundle = None);
    assert_eq!(feed(&mut gate, &bare), Err(RefusalCode::BundleRefused));
    assert_eq!(denial(&gate, now()), Some(Code::NotReady));
}

#[test]
fn a_snapshot_without_keys_or_hash_key_is_refused_whole() {
    let mut gate = gate();
    let before = gate.state();
    let no_keys = Message::snapshot(AT).with(|m| m.keys = None);
    assert_eq!(feed(&mut gate, &no_keys), Err(RefusalCode::Poison));
    let no_revocations = Message::snapshot(AT).with(|m| m.revocations = None);
    assert_eq!(feed(&mut gate, &no_revocations), Err(RefusalCode::Gap));
    let other_id = Message::snapshot(AT).with(|m| m.header.hash_key_id ^= 1);
    assert_eq!(feed(&mut gate, &other_id), Err(RefusalCode::Gap));
    assert_eq!(gate.state(), before);
    assert_eq!(feed(&mut gate, &Message::snapshot(AT)), moved(EPOCH, AT));
}

#[test]
fn a_snapshot_with_an_empty_list_of_keys_believes_no_gatepass() {
    let mut gate = gate();
    let none = IssuerKeys { version: 1, keys: vec![] };
    feed(&mut gate, &Message::snapshot(AT).keys(&none)).unwrap();
    assert_eq!(denial(&gate, now()), Some(Code::UnknownKey));
}

/// A gate that took this as its baseline.
fn baseline(batches: &[Message]) -> (Gate, Result<(), RefusalCode>) {
    let mut gate = bare_gate(settings());
    let root = Root::version(1).sealed();
    let sealed: Vec<Vec<u8>> = batches.iter().map(Message::sealed).collect();
    let feed = Feed { roots: vec![&root], batches: sealed.iter().map(Vec::as_slice).collect() };
    let taken = gate.baseline(&feed, now()).map_err(|refusal| refusal.code);
    (gate, taken)
}

#[test]
fn a_baseline_brings_roots_and_a_bundle_and_never_freshness() {
    let (mut gate, taken) = baseline(&[Message::snapshot(AT)]);
    assert_eq!(taken, Ok(()));
    assert_eq!(gate.root_version(), 1);
    assert!(gate.index().is_some());
    assert_eq!(gate.position(), None);
    assert_eq!(gate.age(now()), None);
    assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    let public = Scene::with(|s| {
        s.ask("GET", "/health");
        s.scheme = None;
    });
    assert_eq!(denial_of(&public, &gate, later(1_000_000)), None);
    // Neither a checkpoint of it nor a delta on it makes the gate ready.
    for message in [Message::checkpoint(AT), next()] {
        assert_eq!(feed(&mut gate, &message), Err(RefusalCode::Gap));
        assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    }
    assert_eq!(feed(&mut gate, &Message::snapshot(AT)), moved(EPOCH, AT));
    assert_eq!(denial(&gate, now()), None);
}

#[test]
fn nothing_below_the_baseline_is_taken() {
    let (mut gate, _) = baseline(&[Message::snapshot(AT)]);
    let before = gate.state();
    for old in [
        Message::snapshot(AT - 1),
        Message::snapshot(u64::MAX).epoch(EPOCH - 1),
        Message::snapshot(AT).issued_at(NOW - 1),
    ] {
        assert_eq!(feed(&mut gate, &old), Err(RefusalCode::Rollback));
    }
    assert_eq!(feed(&mut gate, &Message::delta(1, AT - 1)), Ok(Applied::Known));
    assert_eq!(gate.state(), before);
    assert_eq!(feed(&mut gate, &Message::snapshot(AT + 1)), moved(EPOCH, AT + 1));
}

#[test]
fn an_expired_baseline_still_is_a_floor_and_serves_what_is_public() {
    let old = Message::snapshot(AT)
        .issued_at(NOW - 900)
        .with(|m| m.header.expires_at = UnixSeconds(NOW - 800));
    let (mut gate, taken) = baseline(&[old]);
    assert_eq!(taken, Ok(()));
    let below = Message::snapshot(AT - 1);
    assert_eq!(feed(&mut gate, &below), Err(RefusalCode::Rollback));
}

#[test]
fn a_baseline_whose_bundle_is_refused_still_is_a_floor() {
    let bad = Message::snapshot(AT).with(|m| m.bundle = Some(vec![1]));
    let (mut gate, taken) = baseline(&[bad]);
    assert_eq!(taken, Err(RefusalCode::BundleRefused));
    let below = Message::snapshot(AT - 1);
    assert_eq!(feed(&mut gate, &below), Err(RefusalCode::Rollback));
    assert_eq!(feed(&mut gate, &Message::snapshot(AT)), moved(EPOCH, AT));
}

#[test]
fn a_baseline_is_one_signed_snapshot_of_this_feed() {
    for (message, expected) in [
        (Message::snapshot(AT), Ok(())),
        (Message::snapshot(AT).signed_by(STRANGER), Err(RefusalCode::BadSignature)),
        (next(), Err(RefusalCode::Gap)),
        (Message::checkpoint(AT), Err(RefusalCode::Gap)),
        (Message::snapshot(AT).in_parts(2, &[]).swap_remove(0), Err(RefusalCode::Gap)),
        (
            Message::snapshot(AT).with(|m| m.header.environment = "dev".into()),
            Err(RefusalCode::WrongEnvironment),
        ),
        (
            Message::snapshot(AT).with(|m| m.header.feed_audience = "x".into()),
            Err(RefusalCode::WrongAudience),
        ),
        (Message::snapshot(AT).with(|m| m.header.min_filter = 9), Err(RefusalCode::FilterTooOld)),
        (Message::snapshot(AT).with(|m| m.keeps_digest = true), Err(RefusalCode::Poison)),
        (Message::snapshot(AT).with(|m| m.keys = None), Err(RefusalCode::Poison)),
    ] {
        assert_eq!(baseline(&[message]).1, expected);
    }
}

#[test]
fn the_revocations_of_a_baseline_stay_when_the_feed_is_heard() {
    let revoked = [(Kind::Agent, AGENT, Below::Always)];
    let (mut gate, _) = baseline(&[Message::snapshot(AT).revoking(&revoked)]);
    feed(&mut gate, &Message::snapshot(AT + 1)).unwrap();
    assert_eq!(denial(&gate, now()), Some(Code::RevokedAgent));
}

#[test]
fn garbage_inside_a_good_signature_is_poison_at_each_level() {
    let mut gate = ready();
    let before = gate.state();
    for payload in
        [vec![], vec![0], vec![0xff; 400], b"{}".to_vec(), [next().payload(), vec![0]].concat()]
    {
        let sealed = seal(PayloadType::Batch, payload, &[FEED]);
        let refused = gate.apply(&sealed, Milliseconds(MONOTONIC), now());
        assert_eq!(refused.unwrap_err().code, RefusalCode::Poison);
    }
    let whole = next().keys(&issuer_keys()).revoking(&[]).payload();
    for length in 0..whole.len() {
        let sealed = seal(PayloadType::Batch, whole[..length].to_vec(), &[FEED]);
        let refused = gate.apply(&sealed, Milliseconds(MONOTONIC), now());
        assert_eq!(refused.unwrap_err().code, RefusalCode::Poison, "{length}");
    }
    let revocations =
        next().revoking(&[(Kind::Agent, AGENT, Below::Sequence(300))]).revocations.unwrap();
    for length in 0..revocations.len() {
        let cut = next().with(|m| m.revocations = Some(revocations[..length].to_vec()));
        assert_eq!(feed(&mut gate, &cut), Err(RefusalCode::Poison), "{length}");
    }
    let keys = encoded(&issuer_keys());
    for length in 0..keys.len() {
        let cut = next().with(|m| m.keys = Some(keys[..length].to_vec()));
        assert_eq!(feed(&mut gate, &cut), Err(RefusalCode::Poison), "{length}");
    }
    assert_eq!(gate.state(), before);
    assert_eq!(feed(&mut gate, &next()), moved(EPOCH, AT + 1));
}

#[test]
fn a_bad_bundle_never_costs_a_revocation_and_a_bad_revocation_costs_the_batch() {
    let mut gate = ready();
    let revoked = [(Kind::Agent, AGENT, Below::Always)];
    let bad_keys = next().revoking(&revoked).with(|m| m.keys = Some(vec![0xff]));
    assert_eq!(feed(&mut gate, &bad_keys), Err(RefusalCode::Poison));
    assert_eq!(denial(&gate, now()), Some(Code::Behind));
    let bad_bundle = next().revoking(&revoked).with(|m| m.bundle = Some(vec![0xff]));
    assert_eq!(feed(&mut gate, &bad_bundle), Err(RefusalCode::BundleRefused));
    assert_eq!(denial(&gate, now()), Some(Code::RevokedAgent));
}
