//! Root documents and what they do to batches and gatepasses.

use super::*;
use crate::root::{Role, RoleKey};
use crate::testkit::{b64, bare_gate, public};

/// Named as a feed key by later roots only.
const NEW_FEED: u8 = 12;

fn take(gate: &mut Gate, root: &Root) -> Result<(), RefusalCode> {
    gate.take_roots(&[&root.sealed()], UnixSeconds(NOW)).map_err(|refusal| refusal.code)
}

/// Version 2, with [`NEW_FEED`] in place of the feed's key.
fn without_feed() -> Root {
    Root::version(2).with(|d| {
        d.keys.retain(|key| key.role != Role::Feed);
        d.keys.push(RoleKey { role: Role::Feed, public: b64(public(NEW_FEED)) });
    })
}

#[test]
fn a_gate_without_a_root_believes_nothing() {
    let mut gate = bare_gate(settings());
    assert_eq!(feed(&mut gate, &Message::snapshot(AT)), Err(RefusalCode::BadSignature));
    assert_eq!(take(&mut gate, &Root::version(1)), Ok(()));
    assert_eq!(feed(&mut gate, &Message::snapshot(AT)), moved(EPOCH, AT));
}

#[test]
fn a_feed_key_that_a_newer_root_dropped_signs_nothing_any_more() {
    let mut gate = ready();
    take(&mut gate, &without_feed()).unwrap();
    for message in [next(), next().root_version(2), Message::checkpoint(AT).root_version(2)] {
        assert_eq!(feed(&mut gate, &message), Err(RefusalCode::BadSignature));
    }
    let by_new = next().signed_by(NEW_FEED);
    assert_eq!(feed(&mut gate, &by_new), Err(RefusalCode::Rollback), "an older root");
    let good = by_new.root_version(2);
    assert_eq!(feed(&mut gate, &good), moved(EPOCH, AT + 1));
}

#[test]
fn an_issuer_key_that_a_newer_root_dropped_is_gone_at_once() {
    let mut gate = ready();
    assert_eq!(denial(&gate, now()), None);
    let dropped = Root::version(2).with(|d| d.keys.retain(|k| k.public != b64(public(ISSUER))));
    take(&mut gate, &dropped).unwrap();
    assert_eq!(denial(&gate, now()), Some(Code::UnknownKey));
    // And a list that names it is refused.
    let back = next().root_version(2).keys(&issuer_keys());
    assert_eq!(feed(&mut gate, &back), Err(RefusalCode::Poison));
    assert_eq!(denial(&gate, now()), Some(Code::UnknownKey));
}

#[test]
fn a_root_that_is_not_signed_as_it_must_be_changes_nothing() {
    let mut gate = ready();
    let before = gate.state();
    let by = |signers: &[u8]| {
        let mut root = without_feed();
        root.signers = signers.to_vec();
        root
    };
    for (root, expected) in [
        (by(&[STRANGER]), RefusalCode::BadSignature),
        (by(&[]), RefusalCode::BadSignature),
        (by(&[FEED]), RefusalCode::BadSignature),
        (Root::version(3), RefusalCode::Gap),
        (without_feed().with(|d| d.environment = "dev".into()), RefusalCode::WrongEnvironment),
        (without_feed().with(|d| d.expires = UnixSeconds(NOW)), RefusalCode::Expired),
        (
            without_feed().with(|d| d.root.keys = vec![b64(public(STRANGER))]),
            RefusalCode::BadSignature,
        ),
        (without_feed().with(|d| d.root.threshold = 0), RefusalCode::Poison),
        (without_feed().with(|d| d.root.threshold = 2), RefusalCode::Poison),
    ] {
        assert_eq!(take(&mut gate, &root), Err(expected));
        assert_eq!(gate.state(), before);
    }
    assert_eq!(take(&mut gate, &without_feed()), Ok(()));
    assert_eq!(gate.root_version(), 2);
}

#[test]
fn an_older_root_does_not_come_back() {
    let mut gate = ready();
    take(&mut gate, &without_feed()).unwrap();
    let before = gate.state();
    assert_eq!(take(&mut gate, &Root::version(1)), Ok(()));
    assert_eq!(take(&mut gate, &Root::version(2)), Ok(()));
    assert_eq!(gate.state(), before);
}

#[test]
fn a_batch_under_a_root_that_did_not_come_is_a_gap() {
    let mut gate = ready();
    assert_eq!(feed(&mut gate, &next().root_version(2)), Err(RefusalCode::Gap));
    take(&mut gate, &Root::version(2)).unwrap();
    assert_eq!(feed(&mut gate, &next()), Err(RefusalCode::Rollback));
    assert_eq!(feed(&mut gate, &next().root_version(2)), moved(EPOCH, AT + 1));
}

/// A gate that a stolen feed key has brought far ahead.
fn fast_forwarded() -> Gate {
    let mut gate = ready();
    feed(&mut gate, &Message::delta(AT, 1_000_000)).unwrap();
    gate
}

#[test]
fn only_a_root_that_says_reset_lets_the_position_fall() {
    let back = Message::snapshot(AT + 1).root_version(2);
    let mut gate = fast_forwarded();
    take(&mut gate, &Root::version(2)).unwrap();
    assert_eq!(feed(&mut gate, &back), Ok(Applied::Known));
    assert_eq!(gate.position(), at(1_000_000));

    let mut gate = fast_forwarded();
    take(&mut gate, &Root::version(2).with(|d| d.reset = true)).unwrap();
    let delta = Message::delta(1, AT + 1).root_version(2);
    assert_eq!(feed(&mut gate, &delta), Ok(Applied::Known), "a delta never resets");
    assert_eq!(feed(&mut gate, &back), moved(EPOCH, AT + 1));
    // Only the first batch after it.
    let further = Message::snapshot(AT - 9).root_version(2);
    assert_eq!(feed(&mut gate, &further), Ok(Applied::Known));
    assert_eq!(gate.position(), at(AT + 1));
}

#[test]
fn a_reset_can_go_back_to_an_older_epoch_and_takes_its_table() {
    let mut gate = ready();
    let stolen =
        Message::snapshot(1).epoch(u64::MAX).revoking(&[(Kind::Agent, AGENT, Below::Always)]);
    feed(&mut gate, &stolen).unwrap();
    take(&mut gate, &Root::version(2).with(|d| d.reset = true)).unwrap();
    let back = Message::snapshot(AT + 1).root_version(2);
    assert_eq!(feed(&mut gate, &back), moved(EPOCH, AT + 1));
    assert_eq!(denial(&gate, now()), None);
}

#[test]
fn a_reset_does_not_take_a_batch_that_is_dated_before_the_one_in_force() {
    let mut gate = fast_forwarded();
    take(&mut gate, &Root::version(2).with(|d| d.reset = true)).unwrap();
    let old = Message::snapshot(AT + 1).root_version(2).issued_at(NOW - 1);
    assert_eq!(feed(&mut gate, &old), Err(RefusalCode::Rollback));
}

#[test]
fn a_reset_in_parts_moves_with_its_last_part() {
    let mut gate = fast_forwarded();
    take(&mut gate, &Root::version(2).with(|d| d.reset = true)).unwrap();
    let parts = Message::snapshot(AT + 1).root_version(2).in_parts(2, &[]);
    assert_eq!(feed(&mut gate, &parts[0]), Ok(Applied::Part));
    assert_eq!(gate.position(), None, "what the thief said is gone with the first part");
    assert_eq!(feed(&mut gate, &parts[1]), moved(EPOCH, AT + 1));
}

#[test]
fn a_gate_that_is_reset_no_longer_waits_for_the_position_of_the_thief() {
    let mut gate = ready();
    feed(&mut gate, &Message::delta(999_999, 1_000_000)).unwrap_err();
    assert_eq!(denial(&gate, now()), Some(Code::Behind));
    take(&mut gate, &Root::version(2).with(|d| d.reset = true)).unwrap();
    let back = Message::snapshot(AT + 1).root_version(2);
    assert_eq!(feed(&mut gate, &back), moved(EPOCH, AT + 1));
    assert_eq!(denial(&gate, now()), None);
}

#[test]
fn roots_can_be_walked_from_the_pinned_keys_without_being_taken() {
    let mut gate = ready();
    take(&mut gate, &without_feed()).unwrap();
    let before = gate.state();
    let chain = [Root::version(1).sealed(), Root::version(2).sealed()];
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    assert_eq!(gate.check_roots(&chain, UnixSeconds(NOW)).unwrap(), 2);
    let gap = [chain[0], &Root::version(3).sealed()];
    let refused = gate.check_roots(&gap, UnixSeconds(NOW)).unwrap_err();
    assert_eq!(refused.code, RefusalCode::Gap);
    assert_eq!(gate.state(), before);
}

#[test]
fn a_root_below_the_pinned_minimum_is_refused_even_by_a_gate_that_knows_none() {
    let pinned = Pinned::new("prod", &[b64(public(ROOT))], 1, 2).unwrap();
    let mut gate = Gate::new(settings(), pinned);
    assert_eq!(take(&mut gate, &Root::version(1)), Err(RefusalCode::Rollback));
    assert_eq!(gate.root_version(), 0);
    let chain = [Root::version(1).sealed(), Root::version(2).sealed()];
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    gate.take_roots(&chain, UnixSeconds(NOW)).unwrap();
    assert_eq!(gate.root_version(), 2);
}
