//! What holds for every sequence of deliveries. The dice are the same in each run.

use super::*;
use crate::testkit::Dice;

const KINDS: [Kind; 7] = [
    Kind::Credential,
    Kind::Task,
    Kind::Key,
    Kind::Subject,
    Kind::Agent,
    Kind::Owner,
    Kind::Blueprint,
];
/// Ids that revocations and questions are about.
const IDS: usize = 12;

fn revocation(dice: &mut Dice) -> (Kind, String, Below) {
    let kind = KINDS[dice.roll(KINDS.len())];
    let below = match dice.roll(4) {
        0 => Below::Always,
        _ => Below::Sequence(dice.roll(AT as usize + 20) as u64),
    };
    (kind, format!("id-{}", dice.roll(IDS)), below)
}

fn borrowed(all: &[(Kind, String, Below)]) -> Vec<(Kind, &str, Below)> {
    all.iter().map(|(kind, id, below)| (*kind, id.as_str(), *below)).collect()
}

/// What the gate answers to every question about every id.
fn hits(gate: &Gate) -> Vec<bool> {
    let Some(table) = gate.revocations() else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for kind in KINDS {
        for id in 0..IDS {
            let id = format!("id-{id}");
            for sequence in (0..AT + 20).step_by(5) {
                all.push(table.hits(kind, &id, sequence));
            }
        }
    }
    all
}

#[test]
fn a_snapshot_and_deltas_are_the_full_snapshot() {
    let mut dice = Dice::new(1);
    for _ in 0..20 {
        let all: Vec<_> = (0..dice.roll(60)).map(|_| revocation(&mut dice)).collect();
        let mut full = gate();
        feed(&mut full, &Message::snapshot(AT).revoking(&borrowed(&all))).unwrap();

        let (first, mut rest) = all.split_at(dice.roll(all.len() + 1));
        let mut stepwise = gate();
        let mut to = 10;
        let parts = 1 + dice.roll(4) as u16;
        for part in Message::snapshot(to).in_parts(parts, &borrowed(first)) {
            feed(&mut stepwise, &part).unwrap();
        }
        while to < AT {
            let (now, later) = rest.split_at(dice.roll(rest.len() + 1));
            let step = (to + 1 + dice.roll(20) as u64).min(AT);
            let share = if step == AT { rest } else { now };
            // A delta may start before the position in force, and tell again what is known.
            let from = 1 + dice.roll(to as usize) as u64;
            let delta = Message::delta(from, step).revoking(&borrowed(share));
            feed(&mut stepwise, &delta).unwrap();
            (rest, to) = (later, step);
        }
        assert_eq!(stepwise.position(), full.position());
        assert_eq!(hits(&stepwise), hits(&full));
    }
}

#[test]
fn what_is_revoked_stays_revoked_in_whatever_order_batches_are_delivered_again() {
    let mut dice = Dice::new(2);
    for _ in 0..10 {
        let mut history = Vec::new();
        let mut known: Vec<(Kind, String, Below)> = Vec::new();
        for to in 1..=12 {
            let new: Vec<_> = (0..dice.roll(4)).map(|_| revocation(&mut dice)).collect();
            known.extend(new.clone());
            let from = dice.roll(to).max(1) as u64;
            let time = NOW + dice.roll(3) as u64;
            let to = to as u64;
            if from < to {
                // Everything since `from` would be in it; telling all is the same and shorter.
                let delta = Message::delta(from, to).revoking(&borrowed(&known));
                history.push(delta.issued_at(time));
            }
            history.push(Message::checkpoint(to).issued_at(time));
            let snapshot = Message::snapshot(to).revoking(&borrowed(&known)).issued_at(time);
            history.push(snapshot.clone());
            history.extend(snapshot.in_parts(2, &borrowed(&known)));
        }
        let mut gate = gate();
        let mut before = hits(&gate);
        let mut position = None;
        for _ in 0..120 {
            let message = &history[dice.roll(history.len())];
            let _ = feed_at(&mut gate, message, later(3));
            let after = hits(&gate);
            for (was, is) in before.iter().zip(&after) {
                assert!(!was || *is, "a revocation was forgotten");
            }
            assert!(gate.position() >= position, "the position fell");
            (before, position) = (after, gate.position());
        }
    }
}

#[test]
fn age_never_falls_without_a_newer_proof() {
    let mut dice = Dice::new(3);
    let mut gate = ready();
    let messages = [
        Message::snapshot(AT),
        Message::checkpoint(AT),
        Message::delta(AT - 1, AT),
        Message::checkpoint(AT - 1),
        Message::snapshot(AT - 1),
        Message::checkpoint(AT + 1),
        Message::checkpoint(AT).issued_at(NOW - 5),
    ];
    for second in 0..100 {
        let message = &messages[dice.roll(messages.len())];
        let _ = feed_at(&mut gate, message, later(second));
        assert_eq!(gate.age(later(second)), Some(second * 1000));
    }
}

#[test]
fn a_truncated_or_bit_flipped_envelope_never_changes_the_gate() {
    let mut gate = ready();
    let delta = next().revoking(&[(Kind::Agent, AGENT, Below::Always)]);
    for message in [delta, Message::checkpoint(AT).issued_at(NOW + 1)] {
        let good = message.sealed();
        let before = (gate.state(), gate.behind());
        for length in 0..good.len() {
            gate.apply(&good[..length], Milliseconds(0), now()).unwrap_err();
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            gate.apply(&bad, Milliseconds(0), now()).unwrap_err();
        }
        assert_eq!((gate.state(), gate.behind()), before);
    }
}

#[test]
fn a_truncated_or_bit_flipped_root_never_changes_the_gate() {
    let mut gate = ready();
    let before = gate.state();
    let good = Root::version(2).sealed();
    for length in 0..good.len() {
        let cut = &good[..length];
        gate.take_roots(&[cut], UnixSeconds(NOW)).unwrap_err();
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // One that now says an older version is passed over before its signatures are looked at.
        let _ = gate.take_roots(&[&bad], UnixSeconds(NOW));
    }
    assert_eq!(gate.state(), before);
}

#[test]
fn garbage_in_a_good_signature_never_panics() {
    let mut dice = Dice::new(4);
    let seeds = [
        Message::snapshot(AT + 1).payload(),
        next().keys(&issuer_keys()).payload(),
        Message::snapshot(AT + 1).in_parts(2, &[])[0].payload(),
    ];
    let mut gate = ready();
    for _ in 0..1000 {
        let mut payload = seeds[dice.roll(seeds.len())].clone();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(payload.len());
            payload[at] = dice.roll(256) as u8;
        }
        let sealed = seal(PayloadType::Batch, payload, &[FEED]);
        let _ = gate.apply(&sealed, Milliseconds(MONOTONIC), now());
        let _ = denial(&gate, now());
        if gate.position() != at(AT) {
            gate = ready();
        }
    }
}
