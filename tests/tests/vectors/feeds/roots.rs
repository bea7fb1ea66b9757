//! Root documents: who may sign, how they are walked, what they may say.

use gatepass_engine::refusal::RefusalCode;
use gatepass_engine::root::{Role, RoleKey, RootKeys};

use super::{Accepted, At, FeedBook, FeedScene};
use crate::keys::{
    FEED, ISSUER, NEW_FEED, ROOT, SECOND_ROOT, STRANGER, Seed, THIRD_ROOT, b64, public,
};
use crate::message::{AT, Message, Root};

/// Writes a document's text another way.
type Respell = fn(String) -> String;

/// The case that most others differ from.
const FIRST: &str = "first_root";
const SECOND: &str = "two_roots";

pub(super) fn book() -> FeedBook {
    let mut b = FeedBook::new("roots", "Root documents");
    accepted(&mut b);
    signatures(&mut b);
    walk(&mut b);
    contents(&mut b);
    encoding(&mut b);
    b
}

fn keys(seeds: &[Seed], threshold: usize) -> RootKeys {
    RootKeys { threshold, keys: seeds.iter().map(|seed| b64(public(*seed))).collect() }
}

fn root(s: &mut FeedScene, nth: usize) -> &mut Root {
    s.roots.get_mut(nth).unwrap()
}

fn two(s: &mut FeedScene) {
    let roots = [1, 2].map(|version| Root::version(version, s.start));
    s.chain(roots.into());
}

/// Pins three root keys, of which two must sign.
fn two_of_three(s: &mut FeedScene) {
    let mut first = Root::version(1, s.start);
    first.document.root = keys(&[ROOT, SECOND_ROOT, THIRD_ROOT], 2);
    first.signers = vec![ROOT, THIRD_ROOT];
    s.pinned = (vec![ROOT, SECOND_ROOT, THIRD_ROOT], 2);
    s.chain(vec![first]);
}

/// The second document has another root key, and both sign it.
fn new_root_key(s: &mut FeedScene) {
    two(s);
    let second = root(s, 1);
    second.document.root = keys(&[SECOND_ROOT], 1);
    second.signers = vec![ROOT, SECOND_ROOT];
}

fn accepted(b: &mut FeedBook) {
    b.accept(Accepted::Moved, FIRST, "Signed by the pinned key.", FeedScene::cold).live();
    b.accept(Accepted::Moved, SECOND, "Each version follows the one before.", two).live();
    b.accept(Accepted::Moved, "threshold_of_two", "Two of three keys signed.", two_of_three).live();
    b.accept(
        Accepted::Moved,
        "new_root_key",
        "The old root's threshold and the new root's signed.",
        new_root_key,
    )
    .live();
    b.accept(
        Accepted::Moved,
        "expired_in_between",
        "Those in between may have expired, the last must not.",
        |s| {
            two(s);
            root(s, 0).document.expires.0 = s.start - 1;
        },
    );
    b.accept(
        Accepted::Moved,
        "min_root_version_met",
        "The last is what is held against it.",
        |s| {
            two(s);
            s.min_root_version = 2;
        },
    );
    b.accept(Accepted::Moved, "rotation_in_service", "A gate goes on under a newer root.", |s| {
        let second = Root::version(2, s.start);
        s.roots.push(second);
        s.batch.header.root_version = 2;
    })
    .live();
    b.accept(Accepted::Moved, "new_feed_key", "The newer root's feed key signs the batch.", |s| {
        let mut second = Root::version(2, s.start);
        second.document.keys[0].public = b64(public(NEW_FEED));
        s.roots.push(second);
        s.batch.header.root_version = 2;
        s.batch.signers = vec![NEW_FEED];
    })
    .live();
    b.accept(
        Accepted::Known,
        "same_root_again",
        "A chain that is no longer changes nothing.",
        |s| {
            s.batch = Message::snapshot(AT, &s.audience, s.start);
        },
    );
}

fn signatures(b: &mut FeedBook) {
    let refused = RefusalCode::BadSignature;
    let mut bad = |name: &str, twin: (&str, &str), why: &str, make: fn(&mut FeedScene)| {
        b.refuse(refused, At::Roots, name, twin, why, make).live();
    };
    bad("signed_by_a_stranger", (FIRST, "another key signed"), "The pinned key signs.", |s| {
        root(s, 0).signers = vec![STRANGER];
    });
    bad("signed_by_the_feed_key", (FIRST, "the feed key signed"), "A key has one role.", |s| {
        root(s, 0).signers = vec![FEED];
    });
    bad("unsigned", (FIRST, "there is no signature"), "The pinned key signs.", |s| {
        root(s, 0).signers.clear();
    });
    bad(
        "below_the_threshold",
        ("threshold_of_two", "one key signed"),
        "As many distinct keys as the threshold sign.",
        |s| root(s, 0).signers = vec![ROOT],
    );
    bad(
        "one_key_twice",
        ("threshold_of_two", "one key signed twice"),
        "Keys are counted, not signatures.",
        |s| root(s, 0).signers = vec![ROOT, ROOT],
    );
    bad(
        "not_signed_by_the_old_root",
        ("new_root_key", "only the new key signed"),
        "The old root's threshold signs too.",
        |s| root(s, 1).signers = vec![SECOND_ROOT],
    );
    bad(
        "not_signed_by_the_new_root",
        ("new_root_key", "only the old key signed"),
        "The new root's own threshold signs too.",
        |s| root(s, 1).signers = vec![ROOT],
    );
    bad(
        "own_threshold_not_met",
        (FIRST, "it names a second root key and a threshold of 2"),
        "A root that cannot be followed is not taken.",
        |s| root(s, 0).document.root = keys(&[ROOT, SECOND_ROOT], 2),
    );
}

fn walk(b: &mut FeedBook) {
    b.refuse(
        RefusalCode::Gap,
        At::Roots,
        "version_left_out",
        (SECOND, "the second document has version 3"),
        "Documents are walked one version at a time.",
        |s| root(s, 1).document.version = 3,
    )
    .live();
    b.refuse(
        RefusalCode::BadSignature,
        At::Batch,
        "no_document",
        (FIRST, "no document came"),
        "Before the first document no feed key is believed.",
        |s| s.roots.clear(),
    )
    .live();
    b.refuse(
        RefusalCode::Rollback,
        At::Roots,
        "below_min_root_version",
        ("min_root_version_met", "the second document did not come"),
        "The configuration pins the lowest version.",
        |s| s.roots.truncate(1),
    )
    .live();
    b.refuse(
        RefusalCode::Expired,
        At::Roots,
        "last_has_expired",
        ("expired_in_between", "the second document did not come"),
        "The last document must not have expired.",
        |s| s.roots.truncate(1),
    )
    .live();
    b.refuse(
        RefusalCode::Expired,
        At::Roots,
        "expires_now",
        (FIRST, "it expires now"),
        "`expires` is exclusive.",
        |s| root(s, 0).document.expires.0 = s.now,
    );
    b.refuse(
        RefusalCode::WrongEnvironment,
        At::Roots,
        "another_environment",
        (FIRST, "its environment is `dev`"),
        "A root is of one environment.",
        |s| root(s, 0).document.environment = "dev".into(),
    )
    .live();
}

fn contents(b: &mut FeedBook) {
    let mut poison = |name: &str, changed: &str, why: &str, make: fn(&mut FeedScene)| {
        b.refuse(RefusalCode::Poison, At::Roots, name, (FIRST, changed), why, make);
    };
    poison("version_0", "its version is 0", "Versions start at 1.", |s| {
        root(s, 0).document.version = 0;
    });
    poison("threshold_0", "its threshold is 0", "At least one key must sign.", |s| {
        root(s, 0).document.root.threshold = 0;
    });
    poison("threshold_over_the_keys", "its threshold is 2", "It could never be met.", |s| {
        root(s, 0).document.root.threshold = 2;
    });
    poison("no_root_keys", "it has no root keys", "It could never be followed.", |s| {
        root(s, 0).document.root.keys.clear();
    });
    poison("root_key_twice", "its root key occurs twice", "Keys are distinct.", |s| {
        root(s, 0).document.root = keys(&[ROOT, ROOT], 1);
    });
    poison("key_of_two_roles", "the issuer key is a feed key too", "A key has one role.", |s| {
        let public = b64(public(ISSUER));
        root(s, 0).document.keys.push(RoleKey { role: Role::Feed, public });
    });
    poison(
        "root_key_as_an_issuer",
        "the root key is an issuer key too",
        "A key has one role.",
        |s| {
            let public = b64(public(ROOT));
            root(s, 0).document.keys.push(RoleKey { role: Role::Issuer, public });
        },
    );
    poison(
        "small_order_key",
        "it names a key of small order",
        "With such a key one signature could be valid for several messages.",
        |s| {
            let mut identity = [0; 32];
            identity[0] = 1;
            let public = b64(identity);
            root(s, 0).document.keys.push(RoleKey { role: Role::Audit, public });
        },
    );
    poison("short_key", "it names a key of 31 bytes", "A public key has 32 bytes.", |s| {
        let public = b64([7; 31]);
        root(s, 0).document.keys.push(RoleKey { role: Role::Audit, public });
    });
    poison("too_many_keys", "it names 65 keys", "Lists are bounded.", |s| {
        let key = root(s, 0).document.keys[0].clone();
        root(s, 0).document.keys = vec![key; 65];
    });
}

fn encoding(b: &mut FeedBook) {
    let payload = |s: &mut FeedScene, change: Respell| {
        let text = serde_json::to_string(&root(s, 0).document).unwrap();
        root(s, 0).payload = Some(change(text).into_bytes());
    };
    let changes: [(&str, &str, Respell); 5] = [
        ("unknown_member", "it has a member `comment`", |t| t.replacen('{', "{\"comment\":1,", 1)),
        ("member_twice", "`version` occurs twice", |t| t.replacen('{', "{\"version\":1,", 1)),
        ("unknown_role", "a key has the role `admin`", |t| t.replacen("\"feed\"", "\"admin\"", 1)),
        ("bytes_behind", "an object follows", |t| t + "{}"),
        ("not_json", "it is no JSON", |_| "root".to_owned()),
    ];
    for (name, changed, change) in changes {
        b.refuse(
            RefusalCode::Poison,
            At::Roots,
            name,
            (FIRST, changed),
            "A document is strict JSON of known members.",
            move |s| payload(s, change),
        );
    }
    b.live();
    b.refuse(
        RefusalCode::BadPayloadType,
        At::Roots,
        "type_of_a_batch",
        (FIRST, "its payload type is a batch's, and signed so"),
        "The payload type is exact.",
        |s| root(s, 0).payload_type = gatepass_engine::envelope::PayloadType::Batch.as_str(),
    )
    .live();
    b.refuse(
        RefusalCode::BadPayloadType,
        At::Roots,
        "type_of_another_version",
        (FIRST, "its payload type is of version 2, and signed so"),
        "The payload type is exact.",
        |s| root(s, 0).payload_type = "application/vnd.gatepass.root.v2+json",
    );
}
