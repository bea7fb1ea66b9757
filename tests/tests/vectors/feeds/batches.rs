//! Batches: identity, time, order, and what they carry.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::keyring::IssuerKey;
use gatepass_engine::refusal::RefusalCode;
use gatepass_engine::revocation::{Below, Change, HashKey, Kind};

use super::{Accepted, At, FeedBook, FeedScene};
use crate::keys::{FEED, ISSUER, OTHER_ISSUER, STRANGER};
use crate::message::{AT, ENVIRONMENT, EPOCH, Message, Root, encoded, hash_key, issuer_key};
use crate::policy;

/// The issuer keys of a list, registered around a time.
type MakeKeys = fn(u64) -> Vec<IssuerKey>;

const DELTA: &str = "delta";
const SNAPSHOT: &str = "first_snapshot";
const CHECKPOINT: &str = "checkpoint";
const PARTS: &str = "last_part";

pub(super) fn book() -> FeedBook {
    let mut b = FeedBook::new("batches", "Batches");
    accepted(&mut b);
    known(&mut b);
    identity(&mut b);
    time(&mut b);
    order(&mut b);
    parts(&mut b);
    bundles(&mut b);
    poison(&mut b);
    b
}

fn accepted(b: &mut FeedBook) {
    b.accept(Accepted::Moved, DELTA, "The next delta joins on.", |_| {}).live();
    b.accept(Accepted::Moved, SNAPSHOT, "A first state is a snapshot.", FeedScene::cold).live();
    b.accept(Accepted::Renewed, CHECKPOINT, "It proves the position in force.", checkpoint).live();
    b.accept(Accepted::Moved, PARTS, "The position moves with the last part.", last_part);
    b.accept(Accepted::Part, "first_part", "A part alone moves nothing.", |s| {
        s.cold();
        s.batch = parts_of(s, AT).swap_remove(0);
    });
    b.accept(Accepted::Moved, "newer_snapshot", "A snapshot may skip deltas.", |s| {
        s.batch = Message::snapshot(AT + 9, &s.audience, s.start);
    })
    .live();
    b.accept(Accepted::Moved, "snapshot_of_a_new_epoch", "An epoch starts with a snapshot.", |s| {
        s.batch = Message::snapshot(3, &s.audience, s.start).epoch(EPOCH + 1, s.start);
    })
    .live();
    b.accept(Accepted::Moved, "overlapping_delta", "It may start before the position.", |s| {
        (s.batch.header.from, s.batch.header.to) = (1, AT + 1);
    });
    b.accept(Accepted::Moved, "delta_that_revokes", "Revocations of the epoch's hash key.", |s| {
        let revoked = [(Kind::Task, "task-1", Below::Always)];
        s.batch = s.batch.clone().revoking(&revoked, s.start);
    });
    b.accept(Accepted::Moved, "delta_with_issuer_keys", "Of keys that the root names.", |s| {
        let keys = vec![issuer_key(ISSUER, s.start), issuer_key(OTHER_ISSUER, s.start)];
        s.batch = s.batch.clone().keys(2, keys);
    });
    b.accept(Accepted::Moved, "delta_with_a_bundle", "A new policy.", |s| {
        s.batch = s.batch.clone().bundle(&policy::bundle());
    });
    b.accept(Accepted::Moved, "issued_30_s_ahead", "Clocks may differ by 30 s.", |s| {
        s.batch.header.issued_at.0 = s.now + 30;
    });
    b.accept(Accepted::Moved, "a_second_before_it_expires", "`expires_at` is exclusive.", |s| {
        s.batch.header.expires_at.0 = s.now + 1;
    });
    b.accept(Accepted::Moved, "reset_after_a_stolen_key", "A root may allow a lower position.", {
        |s: &mut FeedScene| {
            reset(s);
        }
    })
    .live();
}

fn checkpoint(s: &mut FeedScene) {
    s.now = s.start + 20;
    s.batch = Message::checkpoint(AT, &s.audience, s.now);
}

fn parts_of(s: &FeedScene, to: u64) -> Vec<Message> {
    let revoked = ["t1", "t2", "t3"].map(|task| (Kind::Task, task, Below::Always));
    Message::snapshot(to, &s.audience, s.start).in_parts(3, &revoked, s.start)
}

/// Two of three parts were heard, together.
fn last_part(s: &mut FeedScene) {
    s.cold();
    let mut parts = parts_of(s, AT);
    s.batch = parts.pop().unwrap();
    s.heard = vec![(s.roots.clone(), parts)];
    s.before.root_version = 1;
}

/// A stolen feed key has brought the gate far ahead; root 2 allows to go back.
fn reset(s: &mut FeedScene) {
    let far = Message::snapshot(u64::MAX - 1, &s.audience, s.start);
    s.heard = vec![(s.roots.clone(), vec![far])];
    s.before.position = Some([EPOCH, u64::MAX - 1]);
    let mut second = Root::version(2, s.start);
    second.document.reset = true;
    s.roots.push(second);
    s.batch = Message::snapshot(AT + 1, &s.audience, s.start);
    s.batch.header.root_version = 2;
}

fn known(b: &mut FeedBook) {
    let mut known = |name: &str, why: &str, make: fn(&mut FeedScene)| {
        b.accept(Accepted::Known, name, why, make);
    };
    known("same_snapshot_again", "A batch that is heard twice renews nothing.", |s| {
        s.now = s.start + 20;
        s.batch = Message::snapshot(AT, &s.audience, s.start);
    });
    known("older_delta", "What is older has nothing to tell, however late it is signed.", |s| {
        (s.batch.header.from, s.batch.header.to) = (AT - 2, AT - 1);
    });
    known("older_snapshot", "What is older has nothing to tell.", |s| {
        s.batch = Message::snapshot(AT - 1, &s.audience, s.start);
    });
    known("snapshot_of_an_older_epoch", "What is older has nothing to tell.", |s| {
        s.batch = Message::snapshot(AT + 9, &s.audience, s.start).epoch(EPOCH - 1, s.start);
    });
    known("older_checkpoint", "It proves a position that is not in force.", |s| {
        s.batch = Message::checkpoint(AT - 1, &s.audience, s.start);
    });
    known("lower_position_without_a_reset", "A newer root alone takes no position back.", |s| {
        reset(s);
        s.roots[1].document.reset = false;
    });
}

fn identity(b: &mut FeedBook) {
    let mut refuse = |code, name: &str, twin: (&str, &str), make: fn(&mut FeedScene)| {
        let why = "A batch is for one environment, one feed audience, and filters that read it.";
        b.refuse(code, At::Batch, name, twin, why, make).live();
    };
    let (environment, audience) = (RefusalCode::WrongEnvironment, RefusalCode::WrongAudience);
    refuse(environment, "another_environment", (DELTA, "its environment is `dev`"), |s| {
        s.batch.header.environment = "dev".into();
    });
    refuse(environment, "environment_cut_short", (DELTA, "its environment is `pro`"), |s| {
        s.batch.header.environment = "pro".into();
    });
    refuse(audience, "another_audience", (DELTA, "its audience is a canary's"), |s| {
        s.batch.header.feed_audience = "canary".into();
    });
    refuse(audience, "no_audience", (SNAPSHOT, "its audience is empty"), |s| {
        s.batch.header.feed_audience.clear();
    });
    refuse(
        RefusalCode::FilterTooOld,
        "newer_filter",
        (DELTA, "it needs the filter level after this one"),
        |s| {
            s.batch.header.min_filter = gatepass_engine::FILTER_LEVEL + 1;
        },
    );
    refuse(RefusalCode::BadSignature, "delta_of_a_stranger", (DELTA, "another key signed"), |s| {
        s.batch.signers = vec![STRANGER];
    });
    refuse(
        RefusalCode::BadPayloadType,
        "delta_typed_as_a_root",
        (DELTA, "its payload type is a root's"),
        |s| s.batch.payload_type = gatepass_engine::envelope::PayloadType::Root.as_str(),
    );
}

fn time(b: &mut FeedBook) {
    let skew = RefusalCode::ClockSkew;
    b.refuse(
        skew,
        At::Batch,
        "issued_31_s_ahead",
        ("issued_30_s_ahead", "`issued_at` is a second later"),
        "Clocks may differ by 30 s.",
        |s| s.batch.header.issued_at.0 = s.now + 31,
    );
    b.refuse(
        skew,
        At::Batch,
        "issued_at_the_end_of_time",
        (DELTA, "`issued_at` is the largest number"),
        "It would stop every later batch.",
        |s| s.batch.header.issued_at.0 = u64::MAX,
    )
    .live();
    b.refuse(
        RefusalCode::Expired,
        At::Batch,
        "expires_now",
        ("a_second_before_it_expires", "`expires_at` is a second earlier"),
        "`expires_at` is exclusive.",
        |s| s.batch.header.expires_at.0 = s.now,
    )
    .live();
    b.refuse(
        RefusalCode::Rollback,
        At::Batch,
        "issued_before_the_one_in_force",
        (DELTA, "`issued_at` is a second earlier"),
        "`issued_at` never falls.",
        |s| s.batch.header.issued_at.0 = s.start - 1,
    )
    .live();
}

fn order(b: &mut FeedBook) {
    let (gap, rollback) = (RefusalCode::Gap, RefusalCode::Rollback);
    let mut refuse = |code, name: &str, twin: (&str, &str), why: &str, make: fn(&mut FeedScene)| {
        b.refuse(code, At::Batch, name, twin, why, make);
    };
    refuse(
        gap,
        "delta_that_starts_ahead",
        (DELTA, "it starts a step later"),
        "It must join on.",
        |s| {
            (s.batch.header.from, s.batch.header.to) = (AT + 1, AT + 2);
        },
    );
    refuse(
        gap,
        "delta_of_another_epoch",
        (DELTA, "it is of the next epoch"),
        "An epoch starts with a snapshot.",
        |s| s.batch = s.batch.clone().epoch(EPOCH + 1, s.start),
    );
    refuse(gap, "delta_first", (SNAPSHOT, "it is a delta"), "A first state is a snapshot.", |s| {
        s.batch = Message::delta(AT - 1, AT, &s.audience, s.start)
    });
    refuse(
        gap,
        "checkpoint_first",
        (SNAPSHOT, "it is a checkpoint"),
        "A first state is a snapshot.",
        |s| s.batch = Message::checkpoint(AT, &s.audience, s.start),
    );
    refuse(
        gap,
        "checkpoint_ahead",
        (CHECKPOINT, "it is of the next position"),
        "A checkpoint proves exactly the position in force.",
        |s| (s.batch.header.from, s.batch.header.to) = (AT + 1, AT + 1),
    );
    refuse(
        gap,
        "root_that_did_not_come",
        (DELTA, "it states root 2"),
        "A batch states the root that it is signed under.",
        |s| s.batch.header.root_version = 2,
    );
    refuse(
        rollback,
        "older_root",
        (DELTA, "it states root 0"),
        "A batch states the root that it is signed under.",
        |s| s.batch.header.root_version = 0,
    );
    refuse(
        gap,
        "another_hash_key",
        ("delta_that_revokes", "it states another hash key's id"),
        "With another hash key the revocations would hit nothing.",
        |s| s.batch.header.hash_key_id ^= 1,
    );
    refuse(
        gap,
        "delta_that_states_the_hash_key",
        ("delta_that_revokes", "it states the hash key too"),
        "The hash key is stated in a snapshot's first part and only there.",
        |s| {
            let hash_key = Some([EPOCH.to_le_bytes()[0]; 16]);
            s.batch.revocations = Some(encoded(&Change { hash_key, total: 0, items: vec![] }));
        },
    );
    refuse(
        gap,
        "epoch_with_a_second_hash_key",
        ("newer_snapshot", "it has another hash key"),
        "An epoch keeps its hash key.",
        |s| {
            let key = [99; 16];
            s.batch.header.hash_key_id = HashKey::new(ENVIRONMENT, &key).id();
            let change = Change { hash_key: Some(key), total: 0, items: vec![] };
            s.batch.revocations = Some(encoded(&change));
        },
    );
    refuse(
        rollback,
        "older_issuer_keys",
        ("delta_with_issuer_keys", "the list's version is 0"),
        "An older list of keys does not come back.",
        |s| s.batch = s.batch.clone().keys(0, vec![issuer_key(ISSUER, s.start)]),
    );
}

fn parts(b: &mut FeedBook) {
    b.refuse(
        RefusalCode::Gap,
        At::Batch,
        "part_missing",
        (PARTS, "the second part did not come"),
        "Parts come in order.",
        |s| s.heard[0].1.truncate(1),
    );
    b.refuse(
        RefusalCode::Gap,
        At::Batch,
        "parts_before_missing",
        ("first_part", "it is the second part"),
        "Parts come in order.",
        |s| s.batch = parts_of(s, AT).swap_remove(1),
    );
    b.refuse(
        RefusalCode::Gap,
        At::Batch,
        "part_of_another_snapshot",
        (PARTS, "it is the last part of a snapshot of the next position"),
        "All parts are of one snapshot.",
        |s| s.batch = parts_of(s, AT + 1).swap_remove(2),
    );
    b.refuse(
        RefusalCode::Poison,
        At::Batch,
        "snapshot_with_another_digest",
        (SNAPSHOT, "`whole_digest` is all zeros"),
        "The digest covers what all parts carry.",
        |s| s.batch.keeps_digest = true,
    )
    .live();
}

fn bundles(b: &mut FeedBook) {
    let mut refuse = |name: &str, twin: (&str, &str), make: fn(&mut FeedScene)| {
        let why = "Revocations and keys are applied, the position moves, and nothing is renewed.";
        b.refuse(RefusalCode::BundleRefused, At::Batch, name, twin, why, make);
    };
    let with_bundle = "delta_with_a_bundle";
    refuse("empty_bundle", (with_bundle, "the bundle is empty"), |s| {
        s.batch.bundle = Some(vec![]);
    });
    refuse("bundle_followed_by_a_byte", (with_bundle, "a byte follows"), |s| {
        s.batch.bundle.get_or_insert_default().push(0);
    });
    refuse("bundle_with_a_policy", (with_bundle, "it has a policy condition"), |s| {
        let mut bundle = policy::bundle();
        bundle.policy.push(0);
        s.batch = s.batch.clone().bundle(&bundle);
    });
    refuse("bundle_with_a_dangling_route", (with_bundle, "its actions are left out"), |s| {
        let mut bundle = policy::bundle();
        bundle.actions.clear();
        s.batch = s.batch.clone().bundle(&bundle);
    });
    b.live();
}

fn poison(b: &mut FeedBook) {
    let mut poison = |name: &str, twin: (&str, &str), why: &str, make: fn(&mut FeedScene)| {
        b.refuse(RefusalCode::Poison, At::Batch, name, twin, why, make);
    };
    let header = "The header's numbers fit each other.";
    poison("part_1_of_1", (DELTA, "its part is 1"), header, |s| s.batch.header.part = 1);
    poison("no_parts", (DELTA, "its parts are 0"), header, |s| s.batch.header.parts = 0);
    poison("delta_in_parts", (DELTA, "its parts are 2"), header, |s| s.batch.header.parts = 2);
    poison("backwards", (DELTA, "`to` is below `from`"), header, |s| s.batch.header.to = AT - 1);
    poison("epoch_0", (DELTA, "its epoch is 0"), header, |s| s.batch.header.epoch = 0);
    poison("checkpoint_with_changes", (CHECKPOINT, "it carries a bundle"), header, |s| {
        s.batch.bundle = Some(vec![]);
    });
    let whole = "Postcard is decoded whole, with nothing behind it.";
    poison("payload_followed_by_a_byte", (DELTA, "a byte follows"), whole, |s| {
        s.batch.garble = Some(|bytes| [bytes, vec![0]].concat());
    });
    poison("payload_cut_short", (DELTA, "its last byte is left out"), whole, |s| {
        s.batch.garble = Some(|mut bytes| {
            bytes.pop();
            bytes
        });
    });
    poison("empty_payload", (DELTA, "it is empty"), whole, |s| {
        s.batch.garble = Some(|_| Vec::new());
    });
    poison("revocations_garbled", ("delta_that_revokes", "they do not decode"), whole, |s| {
        s.batch.revocations = Some(vec![0xff; 9]);
    });
    poison(
        "revocations_followed_by_a_byte",
        ("delta_that_revokes", "a byte follows"),
        whole,
        |s| {
            s.batch.revocations.get_or_insert_default().push(0);
        },
    );
    poison("keys_garbled", ("delta_with_issuer_keys", "they do not decode"), whole, |s| {
        s.batch.keys = Some(vec![]);
    });
    let named = "Issuer keys are keys that the root names as issuers', each once, with a URI.";
    let keys: [(&str, &str, MakeKeys); 5] = [
        ("issuer_key_of_a_stranger", "a key is one that the root does not name", |at| {
            vec![issuer_key(STRANGER, at)]
        }),
        ("feed_key_as_an_issuer", "a key is the feed's", |at| vec![issuer_key(FEED, at)]),
        ("issuer_key_twice", "a key occurs twice", |at| vec![issuer_key(ISSUER, at); 2]),
        ("issuer_without_a_uri", "an issuer is no URI", |at| {
            vec![IssuerKey { issuer: "desk".into(), ..issuer_key(ISSUER, at) }]
        }),
        ("nine_issuer_keys", "there are nine", |at| vec![issuer_key(ISSUER, at); 9]),
    ];
    for (name, changed, make) in keys {
        b.refuse(
            RefusalCode::Poison,
            At::Batch,
            name,
            ("delta_with_issuer_keys", changed),
            named,
            move |s| s.batch = s.batch.clone().keys(2, make(s.start)),
        );
    }
    b.live();
    b.refuse(
        RefusalCode::Poison,
        At::Batch,
        "snapshot_without_issuer_keys",
        (SNAPSHOT, "it states no issuer keys"),
        "A snapshot is full.",
        |s| s.batch.keys = None,
    );
    // A revocation's end is data of the formats like its start.
    b.accept(Accepted::Moved, "revocation_that_never_ends", "`drop_after` may be any time.", |s| {
        let item = gatepass_engine::revocation::Revocation {
            kind: Kind::Agent,
            key: hash_key(EPOCH).hash(Kind::Agent, "agent:x"),
            below: Below::Sequence(u64::MAX),
            drop_after: UnixSeconds(u64::MAX),
        };
        s.batch = s.batch.clone().revoking_items(vec![item]);
    });
}
