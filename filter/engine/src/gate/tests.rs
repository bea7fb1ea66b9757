//! The gate against a hostile feed: each refusal with its accepted twin, and what may never change
//! whatever is delivered, in whatever order.

mod bundles;
mod parts;
mod properties;
mod roots;

use std::collections::BTreeSet;

use super::*;
use crate::batch::MAX_PART_BYTES;
use crate::decision::{Decision, Reason};
use crate::denial::Code;
use crate::envelope::PayloadType;
use crate::keyring::{IssuerKey, IssuerKeys};
use crate::revocation::{Below, Change, HashKey, Revocation};
use crate::testkit::{
    AGENT, AT, EPOCH, FEED, ISSUER, MONOTONIC, Message, NOW, OTHER_ISSUER, ROOT, Root, STRANGER,
    Scene, encoded, feed, feed_at, gate, hash_key, issuer_key, issuer_keys, later, now, seal,
    settings,
};

impl Gate {
    /// The same state in shadow mode.
    pub(crate) fn in_shadow(&mut self) {
        self.settings.mode = Mode::Shadow;
    }

    /// Starts with tables that the first list of issuer keys can take over.
    pub(crate) fn prime(&mut self, tables: Keyring) {
        self.keyring = tables;
    }

    /// Everything that a batch can change, but for the knowledge of being behind.
    fn state(&self) -> String {
        let keys: Vec<_> = self
            .keyring
            .keys()
            .iter()
            .map(|key| (key.id, &key.issuer, key.algorithm, key.not_before, key.not_after))
            .collect();
        format!(
            "{:?}",
            (
                (&self.trust, self.keyring.version(), keys),
                (&self.revocations, &self.index, self.bundle),
                (self.newest, &self.progress, self.freshness, self.floor),
            )
        )
    }
}

/// A gate with the good snapshot at [`AT`], issued and received now.
fn ready() -> Gate {
    Scene::good().gate()
}

fn next() -> Message {
    Message::delta(AT, AT + 1)
}

/// The denial of the good request, or `None`.
fn denial(gate: &Gate, now: Now) -> Option<Code> {
    denial_of(&Scene::good(), gate, now)
}

fn denial_of(scene: &Scene, gate: &Gate, now: Now) -> Option<Code> {
    let mut scene = scene.clone();
    scene.now = now;
    match scene.decide_at(gate) {
        Decision::Allow(_) => None,
        Decision::Deny(denial) => Some(denial.code()),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}

fn moved(epoch: u64, sequence: u64) -> Result<Applied, RefusalCode> {
    Ok(Applied::Moved(Position { epoch, sequence }))
}

fn at(sequence: u64) -> Option<Position> {
    Some(Position { epoch: EPOCH, sequence })
}

type Twist = fn(Message) -> Message;

/// What is wrong with a delta that would otherwise be applied.
const REFUSED: &[(RefusalCode, &str, Twist)] = &[
    (RefusalCode::BadPayloadType, "a root's type", |m| {
        m.with(|m| m.payload_type = PayloadType::Root)
    }),
    (RefusalCode::BadSignature, "no key of ours", |m| m.signed_by(STRANGER)),
    (RefusalCode::BadSignature, "an issuer's key", |m| m.signed_by(ISSUER)),
    (RefusalCode::BadSignature, "the root key itself", |m| m.signed_by(ROOT)),
    (RefusalCode::BadSignature, "stripped", |m| m.with(|m| m.signers.clear())),
    (RefusalCode::WrongEnvironment, "dev", |m| m.with(|m| m.header.environment = "dev".into())),
    (RefusalCode::WrongEnvironment, "a prefix", |m| {
        m.with(|m| m.header.environment = "pro".into())
    }),
    (RefusalCode::WrongAudience, "a canary's", |m| {
        m.with(|m| m.header.feed_audience = "canary".into())
    }),
    (RefusalCode::WrongAudience, "none", |m| m.with(|m| m.header.feed_audience.clear())),
    (RefusalCode::FilterTooOld, "one level up", |m| {
        m.with(|m| m.header.min_filter = crate::FILTER_LEVEL + 1)
    }),
    (RefusalCode::ClockSkew, "31 s ahead", |m| m.issued_at(NOW + 31)),
    (RefusalCode::ClockSkew, "the end of time", |m| m.issued_at(u64::MAX)),
    (RefusalCode::Expired, "this second", |m| m.with(|m| m.header.expires_at = UnixSeconds(NOW))),
    (RefusalCode::Expired, "at 0", |m| m.with(|m| m.header.expires_at = UnixSeconds(0))),
    (RefusalCode::Rollback, "issued before the one in force", |m| m.issued_at(NOW - 1)),
    (RefusalCode::Rollback, "an older root", |m| m.root_version(0)),
    (RefusalCode::Rollback, "older issuer keys", |m| {
        m.keys(&IssuerKeys { version: 0, ..issuer_keys() })
    }),
    (RefusalCode::Gap, "starts ahead", |m| {
        m.with(|m| (m.header.from, m.header.to) = (AT + 1, AT + 2))
    }),
    (RefusalCode::Gap, "a root that did not come", |m| m.root_version(2)),
    (RefusalCode::Gap, "a delta into another epoch", |m| m.epoch(EPOCH + 1)),
    (RefusalCode::Gap, "another hash key", |m| m.with(|m| m.header.hash_key_id ^= 1)),
    (RefusalCode::Gap, "a delta that states the hash key", |m| {
        m.with(|m| {
            m.revocations = Some(encoded(&Change {
                hash_key: Some([EPOCH as u8; 16]),
                total: 0,
                items: vec![],
            }))
        })
    }),
    (RefusalCode::Gap, "a checkpoint ahead", |m| {
        m.with(|m| (m.header.from, m.header.to) = (AT + 1, AT + 1))
    }),
    (RefusalCode::Gap, "a part without those before", |m| {
        m.with(|m| {
            m.header.from = 0;
            (m.header.part, m.header.parts) = (1, 2);
        })
    }),
    (RefusalCode::BundleRefused, "an empty bundle", |m| m.with(|m| m.bundle = Some(vec![]))),
    (RefusalCode::BundleRefused, "a policy condition", |m| {
        let mut bundle = crate::testkit::bundle();
        bundle.policy.push(0);
        m.bundle(&bundle)
    }),
    (RefusalCode::Poison, "part 1 of 1", |m| m.with(|m| m.header.part = 1)),
    (RefusalCode::Poison, "0 parts", |m| m.with(|m| m.header.parts = 0)),
    (RefusalCode::Poison, "a delta in parts", |m| m.with(|m| m.header.parts = 2)),
    (RefusalCode::Poison, "to below from", |m| m.with(|m| m.header.to = AT - 1)),
    (RefusalCode::Poison, "epoch 0", |m| m.with(|m| m.header.epoch = 0)),
    (RefusalCode::Poison, "revocations that do not decode", |m| {
        m.with(|m| m.revocations = Some(vec![0xff; 9]))
    }),
    (RefusalCode::Poison, "bytes behind the revocations", |m| {
        m.revoking(&[]).with(|m| m.revocations.get_or_insert_default().push(0))
    }),
    (RefusalCode::Poison, "keys that do not decode", |m| m.with(|m| m.keys = Some(vec![]))),
    (RefusalCode::Poison, "a key that the root does not name", |m| {
        m.keys(&IssuerKeys { version: 2, keys: vec![issuer_key(STRANGER)] })
    }),
    (RefusalCode::Poison, "the feed's key as an issuer", |m| {
        m.keys(&IssuerKeys { version: 2, keys: vec![issuer_key(FEED)] })
    }),
    (RefusalCode::Poison, "a key twice", |m| {
        m.keys(&IssuerKeys { version: 2, keys: vec![issuer_key(ISSUER), issuer_key(ISSUER)] })
    }),
    (RefusalCode::Poison, "an issuer that is no URI", |m| {
        m.keys(&IssuerKeys {
            version: 2,
            keys: vec![IssuerKey { issuer: "desk".into(), ..issuer_key(ISSUER) }],
        })
    }),
    (RefusalCode::Poison, "another digest of the whole", |m| m.with(|m| m.keeps_digest = true)),
];

#[test]
fn each_refusal_has_an_accepted_twin_and_leaves_everything_as_it_was() {
    let mut fresh = ready();
    assert_eq!(feed(&mut fresh, &next()), moved(EPOCH, AT + 1));
    for (code, why, wrong) in REFUSED {
        let mut gate = ready();
        let before = gate.state();
        assert_eq!(feed(&mut gate, &wrong(next())), Err(*code), "{why}");
        if *code == RefusalCode::BundleRefused {
            assert_eq!(gate.position(), at(AT + 1), "{why}");
            assert_eq!(gate.bundle_position(), at(AT), "{why}");
        } else {
            assert_eq!(gate.state(), before, "{why}");
            assert_eq!(feed(&mut gate, &next()), moved(EPOCH, AT + 1), "{why}");
        }
    }
}

#[test]
fn every_refusal_code_is_reached() {
    let reached: BTreeSet<&str> = REFUSED.iter().map(|(code, ..)| code.as_str()).collect();
    let all: BTreeSet<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(reached, all);
}

#[test]
fn the_checks_of_a_batch_come_in_their_order() {
    // One way to be wrong for each check; each touches something that no other touches.
    let in_order: &[(RefusalCode, Twist)] = &[
        (RefusalCode::BadPayloadType, |m| m.with(|m| m.payload_type = PayloadType::Root)),
        (RefusalCode::BadSignature, |m| m.signed_by(STRANGER)),
        (RefusalCode::WrongEnvironment, |m| m.with(|m| m.header.environment = "dev".into())),
        (RefusalCode::WrongAudience, |m| m.with(|m| m.header.feed_audience = "canary".into())),
        (RefusalCode::FilterTooOld, |m| m.with(|m| m.header.min_filter = 9)),
        (RefusalCode::ClockSkew, |m| m.issued_at(NOW + 31)),
        (RefusalCode::Expired, |m| m.with(|m| m.header.expires_at = UnixSeconds(NOW))),
        (RefusalCode::BundleRefused, |m| m.with(|m| m.bundle = Some(vec![]))),
    ];
    for (nth, (code, wrong)) in in_order.iter().enumerate() {
        for (_, also_wrong) in &in_order[nth + 1..] {
            let message = also_wrong(wrong(next()));
            assert_eq!(feed(&mut ready(), &message), Err(*code));
        }
    }
}

#[test]
fn limits_to_the_second_are_accepted() {
    for (why, message) in [
        ("30 s ahead", next().issued_at(NOW + 30)),
        ("expires in a second", next().with(|m| m.header.expires_at = UnixSeconds(NOW + 1))),
        ("as old as the one in force", next().issued_at(NOW)),
        ("starts earlier", next().with(|m| (m.header.from, m.header.to) = (1, AT + 1))),
        ("the same issuer keys", next().keys(&issuer_keys())),
        ("signed by a stranger, too", next().with(|m| m.signers = vec![STRANGER, FEED])),
    ] {
        assert_eq!(feed(&mut ready(), &message), moved(EPOCH, AT + 1), "{why}");
    }
}

#[test]
fn an_older_batch_is_known_and_changes_nothing() {
    let mut gate = ready();
    feed(&mut gate, &next()).unwrap();
    let before = gate.state();
    for old in [
        Message::snapshot(AT),
        Message::snapshot(1),
        Message::snapshot(AT + 1),
        next(),
        Message::delta(1, AT),
        Message::checkpoint(AT),
        Message::snapshot(u64::MAX).epoch(EPOCH - 1),
        Message::delta(1, u64::MAX).epoch(EPOCH - 1),
        Message::checkpoint(u64::MAX).epoch(EPOCH - 1),
    ] {
        // However late it was signed and received.
        let old = old.issued_at(NOW + 5);
        assert_eq!(feed_at(&mut gate, &old, later(5)), Ok(Applied::Known));
        assert_eq!(gate.state(), before);
    }
}

#[test]
fn a_replayed_batch_does_not_renew_freshness() {
    let mut gate = gate();
    let snapshot = Message::snapshot(AT);
    feed(&mut gate, &snapshot).unwrap();
    for second in [1, 30, 59] {
        assert_eq!(feed_at(&mut gate, &snapshot, later(second)), Ok(Applied::Known));
        assert_eq!(gate.age(later(second)), Some(second * 1000));
    }
    assert_eq!(denial(&gate, later(60)), None);
    assert_eq!(denial(&gate, later(61)), Some(Code::Stale));
}

#[test]
fn a_replayed_checkpoint_is_as_old_as_its_first_hearing() {
    let mut gate = ready();
    let checkpoint = Message::checkpoint(AT).issued_at(NOW + 10);
    assert_eq!(feed_at(&mut gate, &checkpoint, later(10)), Ok(Applied::Renewed));
    assert_eq!(gate.age(later(10)), Some(0));
    assert_eq!(feed_at(&mut gate, &checkpoint, later(50)), Ok(Applied::Renewed));
    assert_eq!(gate.age(later(50)), Some(40_000));
    // With the wall clock standing still.
    let stopped = Now { unix: UnixSeconds(NOW + 10), monotonic: Milliseconds(MONOTONIC + 90_000) };
    assert_eq!(feed_at(&mut gate, &checkpoint, stopped), Ok(Applied::Renewed));
    assert_eq!(gate.age(stopped), Some(80_000));
    assert_eq!(denial(&gate, stopped), Some(Code::Stale));
}

#[test]
fn a_frozen_feed_goes_stale_and_recovers_with_a_new_proof() {
    let mut gate = ready();
    assert_eq!(denial(&gate, later(60)), None);
    assert_eq!(denial(&gate, later(61)), Some(Code::Stale));
    let checkpoint = Message::checkpoint(AT).issued_at(NOW + 61);
    feed_at(&mut gate, &checkpoint, later(61)).unwrap();
    assert_eq!(denial(&gate, later(61)), None);
}

#[test]
fn a_checkpoint_renews_only_at_exactly_the_position_in_force() {
    for (message, expected) in [
        (Message::checkpoint(AT), Ok(Applied::Renewed)),
        (Message::checkpoint(AT - 1), Ok(Applied::Known)),
        (Message::checkpoint(AT + 1), Err(RefusalCode::Gap)),
        (Message::checkpoint(AT).epoch(EPOCH + 1), Err(RefusalCode::Gap)),
        (Message::checkpoint(AT).epoch(EPOCH - 1), Ok(Applied::Known)),
        (Message::checkpoint(AT).signed_by(STRANGER), Err(RefusalCode::BadSignature)),
        (Message::checkpoint(AT).revoking(&[]), Err(RefusalCode::Poison)),
        (Message::checkpoint(AT).with(|m| m.bundle = Some(vec![])), Err(RefusalCode::Poison)),
    ] {
        let mut gate = ready();
        let message = message.issued_at(NOW + 20);
        assert_eq!(feed_at(&mut gate, &message, later(20)), expected);
        let age = if expected == Ok(Applied::Renewed) { 0 } else { 20_000 };
        assert_eq!(gate.age(later(20)), Some(age), "{expected:?}");
    }
}

#[test]
fn a_checkpoint_issued_before_the_one_in_force_is_refused() {
    let mut gate = ready();
    let new = Message::checkpoint(AT).issued_at(NOW + 20);
    feed_at(&mut gate, &new, later(20)).unwrap();
    let old = Message::checkpoint(AT).issued_at(NOW + 19);
    assert_eq!(feed_at(&mut gate, &old, later(21)), Err(RefusalCode::Rollback));
    assert_eq!(gate.age(later(21)), Some(1000));
    let older_delta = next().issued_at(NOW + 19);
    assert_eq!(feed_at(&mut gate, &older_delta, later(21)), Err(RefusalCode::Rollback));
}

#[test]
fn a_checkpoint_makes_no_gate_ready() {
    let mut gate = gate();
    for message in [Message::checkpoint(AT), next(), Message::delta(1, 2)] {
        assert_eq!(feed(&mut gate, &message), Err(RefusalCode::Gap));
        assert_eq!(gate.position(), None);
        assert_eq!(denial(&gate, now()), Some(Code::NotReady));
    }
}

#[test]
fn a_gate_that_knows_of_newer_state_serves_nothing_older() {
    let mut gate = ready();
    assert_eq!(denial(&gate, now()), None);
    let ahead = Message::delta(AT + 4, AT + 5);
    assert_eq!(feed(&mut gate, &ahead), Err(RefusalCode::Gap));
    assert_eq!(gate.behind(), at(AT + 5));
    assert_eq!(denial(&gate, now()), Some(Code::Behind));
    feed(&mut gate, &Message::delta(AT, AT + 4)).unwrap();
    assert_eq!(denial(&gate, now()), Some(Code::Behind));
    feed(&mut gate, &ahead).unwrap();
    assert_eq!(gate.behind(), None);
    assert_eq!(denial(&gate, now()), None);
}

#[test]
fn a_newer_batch_that_cannot_be_applied_leaves_nothing_older_in_service() {
    for broken in [
        next().with(|m| m.revocations = Some(vec![0xff; 9])),
        next().with(|m| m.keys = Some(vec![])),
        next().with(|m| m.header.hash_key_id ^= 1),
        next().with(|m| m.keeps_digest = true),
        Message::snapshot(AT + 1).with(|m| m.keeps_digest = true),
        Message::snapshot(AT + 1).with(|m| m.keys = None),
    ] {
        let mut gate = ready();
        feed(&mut gate, &broken).unwrap_err();
        assert_eq!(denial(&gate, now()), Some(Code::Behind));
        feed(&mut gate, &next()).unwrap();
        assert_eq!(denial(&gate, now()), None);
    }
    // A refused bundle is no such thing: what revokes was applied.
    let mut gate = ready();
    feed(&mut gate, &next().with(|m| m.bundle = Some(vec![]))).unwrap_err();
    assert_eq!(denial(&gate, now()), None);
}

#[test]
fn a_refused_batch_that_nobody_of_ours_signed_does_not_make_the_gate_fall_behind() {
    let mut gate = ready();
    for message in [
        Message::delta(AT + 4, AT + 5).signed_by(STRANGER),
        Message::delta(AT + 4, AT + 5).with(|m| m.header.environment = "dev".into()),
        Message::delta(AT + 4, AT + 5).with(|m| m.header.feed_audience = "x".into()),
        Message::delta(AT + 4, AT + 5).with(|m| m.header.expires_at = UnixSeconds(NOW)),
    ] {
        feed(&mut gate, &message).unwrap_err();
        assert_eq!(denial(&gate, now()), None);
    }
}

#[test]
fn the_wall_clock_cannot_be_used_to_keep_an_expired_batch_or_root_alive() {
    let mut gate = ready();
    let new = Message::checkpoint(AT).issued_at(NOW + 100);
    feed_at(&mut gate, &new, later(100)).unwrap();
    // The wall clock is set back to the first moment; the floor is what was accepted.
    let expired =
        next().issued_at(NOW + 100).with(|m| m.header.expires_at = UnixSeconds(NOW + 100));
    let back = Now { unix: UnixSeconds(NOW + 71), monotonic: Milliseconds(MONOTONIC + 101_000) };
    assert_eq!(feed_at(&mut gate, &expired, back), Err(RefusalCode::Expired));

    let mut gate = crate::testkit::bare_gate(settings());
    let root = Root::version(1).with(|d| d.expires = UnixSeconds(NOW + 100));
    gate.take_roots(&[&root.sealed()], UnixSeconds(NOW)).unwrap();
    feed(&mut gate, &Message::snapshot(AT)).unwrap();
    let last = Message::checkpoint(AT).issued_at(NOW + 100);
    assert_eq!(feed_at(&mut gate, &last, later(99)), Ok(Applied::Renewed));
    let after = next().issued_at(NOW + 100);
    assert_eq!(feed_at(&mut gate, &after, back), Err(RefusalCode::Expired));
    assert_eq!(feed_at(&mut gate, &after, later(100)), Err(RefusalCode::Expired));
}

#[test]
fn an_envelope_over_512_kib_is_refused_before_anything_else() {
    let mut gate = ready();
    let big = next().with(|m| m.bundle = Some(vec![0; MAX_PART_BYTES]));
    assert_eq!(feed(&mut gate, &big), Err(RefusalCode::Poison));
    assert_eq!(gate.position(), at(AT));
}

#[test]
fn a_stated_total_reserves_no_more_than_the_limit() {
    let mut gate = gate();
    let mut snapshot = Message::snapshot(AT);
    snapshot.revocations = Some(encoded(&Change {
        hash_key: Some([EPOCH as u8; 16]),
        total: u32::MAX,
        items: vec![],
    }));
    assert_eq!(feed(&mut gate, &snapshot), moved(EPOCH, AT));
}

#[test]
fn a_revocation_ends_by_the_feeds_time_and_never_by_the_gates_clock() {
    let item = Revocation {
        kind: Kind::Agent,
        key: hash_key(EPOCH).hash(Kind::Agent, AGENT),
        below: Below::Always,
        drop_after: UnixSeconds(NOW + 50),
    };
    let mut gate = gate();
    feed(&mut gate, &Message::snapshot(AT).revoking_items(vec![item])).unwrap();
    let hit = |gate: &Gate| gate.revocations().unwrap().hits(Kind::Agent, AGENT, AT);
    // Received much later, issued early.
    let delta = Message::delta(AT, AT + 1).issued_at(NOW + 50);
    feed_at(&mut gate, &delta, later(5000)).unwrap();
    assert!(hit(&gate));
    let delta = Message::delta(AT + 1, AT + 2).issued_at(NOW + 51);
    feed_at(&mut gate, &delta, later(5000)).unwrap();
    assert!(!hit(&gate));
    // What it could have hit has expired for good.
    let scene = Scene::with(|s| {
        s.pass.set("exp", serde_json::json!(NOW + 50));
    });
    assert_eq!(denial_of(&scene, &gate, now()), Some(Code::Expired));
}

#[test]
fn a_revoked_issuer_key_stays_revoked_while_the_root_names_it() {
    let key = crate::testkit::kid(ISSUER);
    let item = Revocation {
        kind: Kind::Key,
        key: hash_key(EPOCH).hash(Kind::Key, &key),
        below: Below::Always,
        drop_after: UnixSeconds(NOW),
    };
    let mut gate = gate();
    feed(&mut gate, &Message::snapshot(AT).revoking_items(vec![item])).unwrap();
    let delta = next().issued_at(NOW + 1000);
    feed_at(&mut gate, &delta, later(1000)).unwrap();
    let scene = Scene::with(|s| {
        s.pass.set("iat", serde_json::json!(NOW + 900)).set("exp", serde_json::json!(NOW + 1100));
    });
    assert_eq!(denial_of(&scene, &gate, later(1000)), Some(Code::RevokedKey));
}

#[test]
fn issuer_keys_change_with_a_delta_and_an_older_list_does_not_come_back() {
    let mut gate = ready();
    assert_eq!(denial(&gate, now()), None);
    let rotated = IssuerKeys { version: 2, keys: vec![issuer_key(OTHER_ISSUER)] };
    feed(&mut gate, &next().keys(&rotated)).unwrap();
    assert_eq!(denial(&gate, now()), Some(Code::UnknownKey));
    let back = Message::delta(AT + 1, AT + 2).keys(&issuer_keys());
    assert_eq!(feed(&mut gate, &back), Err(RefusalCode::Rollback));
    let snapshot = Message::snapshot(AT + 2);
    assert_eq!(feed(&mut gate, &snapshot), Err(RefusalCode::Rollback));
    assert_eq!(denial(&gate, now()), Some(Code::UnknownKey));
}

#[test]
fn the_leaders_preview_applies_nothing_and_refuses_what_no_vm_would_believe() {
    let gate = ready();
    let before = gate.state();
    assert_eq!(gate.preview(&next().sealed(), now()).unwrap().to, AT + 1);
    for (code, why, wrong) in REFUSED {
        let shallow = matches!(
            code,
            RefusalCode::BadPayloadType
                | RefusalCode::BadSignature
                | RefusalCode::WrongEnvironment
                | RefusalCode::WrongAudience
                | RefusalCode::FilterTooOld
                | RefusalCode::ClockSkew
                | RefusalCode::Expired
        );
        if shallow {
            let refused = gate.preview(&wrong(next()).sealed(), now());
            assert_eq!(refused.map_err(|r| r.code), Err(*code), "{why}");
        }
    }
    assert_eq!(gate.state(), before);
}

#[test]
fn the_leader_vouches_for_nothing_that_no_gate_could_apply() {
    let gate = ready();
    let before = gate.state();
    let vouched = |message: Message| {
        let header = gate.vouch(&message.sealed(), now());
        header.map(|header| header.to).map_err(|refusal| refusal.code)
    };
    assert_eq!(vouched(next()), Ok(AT + 1));
    for (code, why, wrong) in REFUSED {
        let found = vouched(wrong(next()));
        match code {
            // Its revocations are to be applied, so everybody must get it.
            RefusalCode::BundleRefused => assert!(found.is_ok(), "{why}: {found:?}"),
            // Whether it joins on is seen when it is appended.
            RefusalCode::Gap => assert!(found.is_ok() || found == Err(*code), "{why}: {found:?}"),
            _ => assert_eq!(found, Err(*code), "{why}"),
        }
    }
    assert_eq!(gate.state(), before);
}

#[test]
fn a_new_epoch_replaces_the_table_and_kills_every_older_gatepass() {
    let mut gate = gate();
    let revoked = [(Kind::Owner, "user:corp/zoe", Below::Always)];
    feed(&mut gate, &Message::snapshot(AT).revoking(&revoked)).unwrap();
    assert_eq!(denial(&gate, now()), None);
    let table = |gate: &Gate| gate.revocations().unwrap().len();
    assert_eq!(table(&gate), 1);
    let renewed = Message::snapshot(3).epoch(EPOCH + 1);
    assert_eq!(feed(&mut gate, &renewed), moved(EPOCH + 1, 3));
    assert_eq!(table(&gate), 0);
    assert_eq!(denial(&gate, now()), Some(Code::WrongEpoch));
    let scene = Scene::with(|s| {
        s.pass.set("seq", serde_json::json!([EPOCH + 1, 3]));
    });
    assert_eq!(denial_of(&scene, &gate, now()), None);
    // Nothing of the old epoch is taken any more.
    for old in [Message::snapshot(AT + 9), next()] {
        assert_eq!(feed(&mut gate, &old), Ok(Applied::Known));
    }
    assert_eq!(gate.position().unwrap().epoch, EPOCH + 1);
}

#[test]
fn an_epoch_keeps_its_hash_key() {
    let mut gate = ready();
    let mut rekeyed = Message::snapshot(AT + 1);
    rekeyed.revocations =
        Some(encoded(&Change { hash_key: Some([99; 16]), total: 0, items: vec![] }));
    rekeyed.header.hash_key_id = HashKey::new("prod", &[99; 16]).id();
    let before = gate.state();
    assert_eq!(feed(&mut gate, &rekeyed), Err(RefusalCode::Gap));
    assert_eq!(gate.state(), before);
}

#[test]
fn a_shadow_gate_refuses_batches_all_the_same() {
    let mut gate = ready();
    gate.in_shadow();
    assert_eq!(feed(&mut gate, &next().signed_by(STRANGER)), Err(RefusalCode::BadSignature));
    let Decision::Allow(permit) = Scene::with(|s| s.now = later(61)).decide_at(&gate) else {
        panic!("denied in shadow");
    };
    assert!(matches!(permit.reason(), Reason::Shadow(d) if d.code() == Code::Stale));
}
