//! The gate's own state: heard or not, fresh or stale, at which position.

use gatepass_engine::denial::Code;
use serde_json::json;

use super::GRANTED;
use crate::case::Family;
use crate::message::{AT, EPOCH};
use crate::scene::Heard;

pub(crate) fn family() -> Family {
    let mut f = Family::new(600, "The gate's state");
    ready(&mut f);
    fresh(&mut f);
    position(&mut f);
    f
}

fn ready(f: &mut Family) {
    for (name, heard, changed) in [
        ("nothing_heard", Heard::Nothing, "the gate heard no feed answer"),
        ("only_a_baseline", Heard::Baseline, "the same feed answer is the baseline instead"),
    ] {
        f.deny(
            Code::NotReady,
            name,
            (GRANTED, changed),
            "A gate decides once it has accepted a batch from the feed.",
            move |s| s.heard = heard,
        )
        .live();
    }
    f.allow("snapshot_in_parts", "The position moves with the last part.", |s| {
        s.parts = (3, 3);
    });
    f.deny(
        Code::NotReady,
        "last_part_missing",
        ("snapshot_in_parts", "the last part did not come"),
        "A part is no snapshot.",
        |s| s.parts = (3, 2),
    );
    f.deny(
        Code::NotReady,
        "only_a_delta",
        ("snapshot_and_delta", "the snapshot did not come"),
        "A first state is a snapshot.",
        |s| s.parts = (1, 0),
    );
    f.allow("snapshot_and_delta", "A delta joins on.", |s| s.delta(|_| {})).live();
    f.deny(
        Code::NotReady,
        "snapshot_of_a_stranger",
        (GRANTED, "its feed key is not the one that signed"),
        "What no feed key signed is nothing.",
        |s| {
            s.parts = (1, 0);
            let snapshot = crate::message::Message::snapshot(AT, &s.audience, s.start);
            s.more
                .push(crate::message::Message { signers: vec![crate::keys::STRANGER], ..snapshot });
        },
    )
    .live();
}

fn fresh(f: &mut Family) {
    f.allow("as_stale_as_allowed", "The action's bound is 60 s.", |s| s.now += 60);
    f.deny(
        Code::Stale,
        "a_second_too_stale",
        ("as_stale_as_allowed", "it is a second later"),
        "The last proof of freshness is older than the action accepts.",
        |s| s.now += 1,
    )
    .live();
    f.allow("old_snapshot_and_delta", "The delta renews freshness.", |s| {
        s.snapshot_age = 61;
        s.delta(|_| {});
    });
    f.deny(
        Code::Stale,
        "old_snapshot",
        ("old_snapshot_and_delta", "the delta did not come"),
        "A batch is as fresh as it was issued.",
        |s| s.more.clear(),
    );
    f.allow("old_snapshot_and_checkpoint", "A checkpoint renews freshness.", |s| {
        s.snapshot_age = 61;
        s.more.push(crate::message::Message::checkpoint(AT, &s.audience, s.start));
    });
    f.deny(
        Code::Stale,
        "checkpoint_of_an_older_position",
        ("old_snapshot_and_checkpoint", "the checkpoint is of the position before"),
        "A checkpoint proves only the position that it states.",
        |s| {
            let header = &mut s.more.last_mut().unwrap().header;
            (header.from, header.to) = (AT - 1, AT - 1);
        },
    );
    f.deny(
        Code::Stale,
        "refused_bundle",
        ("old_snapshot_and_delta", "the delta brings a bundle that does not decode"),
        "A batch that is refused in part renews nothing.",
        |s| s.more.last_mut().unwrap().bundle = Some(vec![]),
    )
    .live();
}

fn position(f: &mut Family) {
    f.allow("issued_long_before", "An older sequence of the epoch is good.", |s| {
        s.pass.set("seq", json!([EPOCH, 1]));
    })
    .live();
    f.deny(
        Code::WrongEpoch,
        "older_epoch",
        (GRANTED, "the epoch of `seq` is the one before"),
        "A new epoch ends every gatepass of the old one.",
        |s| s.pass.set("seq", json!([EPOCH - 1, AT])),
    )
    .live();
    f.deny(
        Code::Behind,
        "one_step_ahead",
        (GRANTED, "the sequence of `seq` is the next one"),
        "A gate serves no gatepass that is newer than its own state; it may be held first.",
        |s| s.pass.set("seq", json!([EPOCH, AT + 1])),
    )
    .live();
    f.deny(
        Code::Behind,
        "newer_epoch",
        (GRANTED, "the epoch of `seq` is the next one"),
        "A gate serves no gatepass that is newer than its own state; it may be held first.",
        |s| s.pass.set("seq", json!([EPOCH + 1, 1])),
    );
    f.allow("caught_up", "The delta brings the gate to the gatepass's position.", |s| {
        s.delta(|_| {});
        s.pass.set("seq", json!([EPOCH, AT + 1]));
    })
    .live();
}
