//! Snapshots in parts.

use super::*;
use crate::revocation::MAX_REVOCATIONS;

const REVOKED: [(Kind, &str, Below); 4] = [
    (Kind::Task, "t0", Below::Always),
    (Kind::Task, "t1", Below::Always),
    (Kind::Task, "t2", Below::Always),
    (Kind::Task, "t3", Below::Always),
];

/// A snapshot of three parts.
fn three(to: u64) -> Vec<Message> {
    Message::snapshot(to).in_parts(3, &REVOKED)
}

fn revoked(gate: &Gate) -> usize {
    let table = gate.revocations();
    let hits = |id: &str| table.is_some_and(|table| table.hits(Kind::Task, id, AT));
    REVOKED.iter().filter(|(_, id, _)| hits(id)).count()
}

#[test]
fn parts_in_order_make_the_gate_ready_with_the_last() {
    let mut gate = gate();
    let parts = three(AT);
    for part in &parts[..2] {
        assert_eq!(feed(&mut gate, part), Ok(Applied::Part));
        assert_eq!(gate.position(), None);
        assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    }
    assert_eq!(feed(&mut gate, &parts[2]), moved(EPOCH, AT));
    assert_eq!(revoked(&gate), 4);
    assert_eq!(denial(&gate, now()), None);
    for part in &parts {
        assert_eq!(feed(&mut gate, part), Ok(Applied::Known));
    }
    assert_eq!(gate.position(), at(AT));
}

#[test]
fn a_missing_part_is_a_gap_and_a_part_twice_is_known() {
    let mut gate = gate();
    let parts = three(AT);
    assert_eq!(feed(&mut gate, &parts[1]), Err(RefusalCode::Gap));
    assert_eq!(feed(&mut gate, &parts[2]), Err(RefusalCode::Gap));
    assert_eq!(feed(&mut gate, &parts[0]), Ok(Applied::Part));
    assert_eq!(feed(&mut gate, &parts[2]), Err(RefusalCode::Gap));
    assert_eq!(feed(&mut gate, &parts[0]), Ok(Applied::Known));
    assert_eq!(feed(&mut gate, &parts[1]), Ok(Applied::Part));
    assert_eq!(feed(&mut gate, &parts[1]), Ok(Applied::Known));
    assert_eq!(feed(&mut gate, &parts[0]), Ok(Applied::Known));
    assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    assert_eq!(feed(&mut gate, &parts[2]), moved(EPOCH, AT));
    assert_eq!(denial(&gate, now()), None);
}

#[test]
fn a_part_of_another_snapshot_is_refused_and_the_first_goes_on() {
    let other_content = Message::snapshot(AT).in_parts(3, &REVOKED[..2]);
    let other_split = Message::snapshot(AT).in_parts(4, &REVOKED);
    let other_position = three(AT + 1);
    for other in [other_content, other_split, other_position] {
        let mut gate = gate();
        let parts = three(AT);
        feed(&mut gate, &parts[0]).unwrap();
        let before = gate.state();
        assert_eq!(feed(&mut gate, &other[1]), Err(RefusalCode::Gap));
        assert_eq!(gate.state(), before);
        assert_eq!(feed(&mut gate, &parts[1]), Ok(Applied::Part));
        let before = gate.state();
        assert_eq!(feed(&mut gate, other.last().unwrap()), Err(RefusalCode::Gap));
        assert_eq!(gate.state(), before);
        assert_eq!(feed(&mut gate, &parts[2]), moved(EPOCH, AT));
    }
}

#[test]
fn a_snapshot_can_be_started_again_in_the_middle() {
    for again in [
        Message::snapshot(AT).in_parts(2, &REVOKED),
        Message::snapshot(AT + 1).in_parts(2, &REVOKED),
        Message::snapshot(AT - 1).in_parts(2, &REVOKED),
    ] {
        let mut gate = gate();
        feed(&mut gate, &three(AT)[0]).unwrap();
        feed(&mut gate, &three(AT)[1]).unwrap();
        assert_eq!(feed(&mut gate, &again[0]), Ok(Applied::Part));
        let to = again[1].header.to;
        assert_eq!(feed(&mut gate, &again[1]), moved(EPOCH, to));
        assert_eq!(revoked(&gate), 4);
    }
    let mut gate = gate();
    feed(&mut gate, &three(AT)[0]).unwrap();
    assert_eq!(feed(&mut gate, &Message::snapshot(AT)), moved(EPOCH, AT));
}

#[test]
fn parts_that_do_not_have_the_digest_of_the_whole_never_make_the_gate_ready() {
    let mut gate = gate();
    let mut parts = three(AT);
    for part in &mut parts {
        part.header.whole_digest = [7; 32];
    }
    feed(&mut gate, &parts[0]).unwrap();
    feed(&mut gate, &parts[1]).unwrap();
    assert_eq!(feed(&mut gate, &parts[2]), Err(RefusalCode::Poison));
    assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    assert_eq!(feed(&mut gate, &parts[2]), Err(RefusalCode::Gap), "it starts anew");
    for part in &three(AT)[..2] {
        feed(&mut gate, part).unwrap();
    }
    assert_eq!(feed(&mut gate, &three(AT)[2]), moved(EPOCH, AT));
}

#[test]
fn a_single_part_snapshot_is_held_against_its_digest_too() {
    let mut gate = gate();
    let bad = Message::snapshot(AT).with(|m| m.keeps_digest = true);
    assert_eq!(feed(&mut gate, &bad), Err(RefusalCode::Poison));
    assert_eq!(gate.position(), None);
}

#[test]
fn a_snapshot_of_the_same_epoch_is_merged_while_the_gate_goes_on_deciding() {
    let mut gate = ready();
    let parts = three(AT + 5);
    feed(&mut gate, &parts[0]).unwrap();
    assert_eq!(gate.position(), at(AT));
    assert_eq!(denial(&gate, now()), None);
    assert!(revoked(&gate) > 0, "what came so far denies already");
    feed(&mut gate, &parts[1]).unwrap();
    assert_eq!(gate.age(later(9)), Some(9000), "parts are no proof of freshness");
    assert_eq!(feed(&mut gate, &parts[2]), moved(EPOCH, AT + 5));
    assert_eq!(revoked(&gate), 4);
}

#[test]
fn a_delta_in_between_wins_and_the_snapshot_starts_again() {
    let mut gate = ready();
    let parts = three(AT + 5);
    feed(&mut gate, &parts[0]).unwrap();
    let delta = next().revoking(&[(Kind::Agent, AGENT, Below::Always)]);
    assert_eq!(feed(&mut gate, &delta), moved(EPOCH, AT + 1));
    assert_eq!(denial(&gate, now()), Some(Code::RevokedAgent));
    for (part, expected) in
        parts.iter().zip([Ok(Applied::Part), Ok(Applied::Part), moved(EPOCH, AT + 5)])
    {
        assert_eq!(feed(&mut gate, part), expected);
    }
    assert_eq!(denial(&gate, now()), Some(Code::RevokedAgent), "never forgotten");
}

#[test]
fn a_delta_beyond_the_snapshot_in_between_is_not_undone_by_it() {
    let mut gate = ready();
    let parts = three(AT + 5);
    feed(&mut gate, &parts[0]).unwrap();
    feed(&mut gate, &Message::delta(AT, AT + 9)).unwrap();
    let before = gate.state();
    feed(&mut gate, &parts[0]).unwrap();
    assert_eq!(feed(&mut gate, &parts[1]), Ok(Applied::Known));
    assert_eq!(gate.state(), before);
    assert_eq!(gate.position(), at(AT + 9));
}

#[test]
fn a_checkpoint_in_between_renews_and_loading_goes_on() {
    let mut gate = ready();
    let parts = three(AT + 5);
    feed(&mut gate, &parts[0]).unwrap();
    let checkpoint = Message::checkpoint(AT).issued_at(NOW + 5);
    assert_eq!(feed_at(&mut gate, &checkpoint, later(5)), Ok(Applied::Renewed));
    // Parts signed before that checkpoint are older than what is in force.
    assert_eq!(feed_at(&mut gate, &parts[1], later(5)), Err(RefusalCode::Rollback));
    let newer: Vec<Message> = parts.into_iter().map(|m| m.issued_at(NOW + 6)).collect();
    assert_eq!(feed_at(&mut gate, &newer[1], later(6)), Ok(Applied::Part));
    assert_eq!(feed_at(&mut gate, &newer[2], later(6)), moved(EPOCH, AT + 5));
}

#[test]
fn a_new_epoch_in_parts_denies_until_the_last() {
    let mut gate = ready();
    assert_eq!(denial(&gate, now()), None);
    let parts = Message::snapshot(3).epoch(EPOCH + 1).in_parts(3, &REVOKED);
    let new = Scene::with(|s| {
        s.pass.set("seq", serde_json::json!([EPOCH + 1, 3]));
    });
    for part in &parts[..2] {
        assert_eq!(feed(&mut gate, part), Ok(Applied::Part));
        assert_eq!(gate.position(), None);
        assert_eq!(denial(&gate, now()), Some(Code::NotReady));
        assert_eq!(denial_of(&new, &gate, now()), Some(Code::NotReady));
        // Nothing of the old epoch makes it ready in between.
        for old in [Message::checkpoint(AT), next()] {
            assert_eq!(feed(&mut gate, &old), Err(RefusalCode::Gap));
            assert_eq!(denial(&gate, now()), Some(Code::NotReady));
        }
        let public = Scene::with(|s| s.ask("GET", "/health"));
        assert_eq!(denial_of(&public, &gate, now()), None);
    }
    assert_eq!(feed(&mut gate, &parts[2]), moved(EPOCH + 1, 3));
    assert_eq!(denial(&gate, now()), Some(Code::WrongEpoch));
    assert_eq!(denial_of(&new, &gate, now()), None);
}

#[test]
fn a_new_epoch_that_breaks_off_keeps_denying_and_can_be_started_again() {
    let mut gate = ready();
    let mut parts = Message::snapshot(3).epoch(EPOCH + 1).in_parts(2, &REVOKED);
    feed(&mut gate, &parts[0]).unwrap();
    let good = parts.clone();
    parts[1].revocations = None;
    assert_eq!(feed(&mut gate, &parts[1]), Err(RefusalCode::Poison));
    assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    feed(&mut gate, &good[0]).unwrap();
    assert_eq!(feed(&mut gate, &good[1]), moved(EPOCH + 1, 3));
    assert_eq!(revoked(&gate), 4);
}

#[test]
fn part_numbers_that_contradict_each_other_are_poison() {
    for (part, parts) in [(0, 0), (1, 1), (2, 2), (0, 257), (9, 3), (u16::MAX, u16::MAX)] {
        let mut gate = gate();
        let odd = Message::snapshot(AT).with(|m| (m.header.part, m.header.parts) = (part, parts));
        assert_eq!(feed(&mut gate, &odd), Err(RefusalCode::Poison), "{part}/{parts}");
    }
}

#[test]
fn the_bundle_of_all_parts_is_one() {
    let mut gate = gate();
    let mut parts = three(AT);
    parts[1].bundle = None;
    crate::testkit::redigest(&mut parts);
    feed(&mut gate, &parts[0]).unwrap();
    feed(&mut gate, &parts[1]).unwrap();
    assert_eq!(feed(&mut gate, &parts[2]), Err(RefusalCode::BundleRefused));
    assert_eq!(revoked(&gate), 4);
    assert_eq!(denial(&gate, now()), Some(Code::NotReady));
}

/// A full table: one that is over gives its place to what is new, and one that is in force does not.
#[test]
fn what_is_over_keeps_no_revocation_out() {
    for (drop_after, expected) in
        [(NOW - 1, moved(EPOCH, AT + 1)), (NOW + 3600, Err(RefusalCode::Poison))]
    {
        let mut gate = gate();
        feed(&mut gate, &Message::snapshot(AT)).unwrap();
        let table = gate.revocations.as_mut().unwrap();
        let drop_after = UnixSeconds(drop_after);
        for key in 1..=MAX_REVOCATIONS as u64 {
            // Spread as hashes are.
            let key = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(key);
            let (kind, below) = (Kind::Task, Below::Always);
            table.insert(&Revocation { kind, key, below, drop_after });
        }
        assert_eq!(table.len(), MAX_REVOCATIONS);
        let delta = Message::delta(AT, AT + 1).revoking(&REVOKED);
        assert_eq!(feed(&mut gate, &delta), expected);
        assert_eq!(revoked(&gate), if expected.is_ok() { 4 } else { 0 });
    }
}
