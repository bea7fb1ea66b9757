//! Revocations: each kind, whom in the chain it hits, and below which position.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::denial::Code;
use gatepass_engine::revocation::{Below, Kind, Revocation};
use serde_json::json;

use crate::case::Family;
use crate::message::{AT, EPOCH, hash_key};
use crate::scene::{
    AGENT, BLUEPRINT, OWNER, PRIOR_AGENT, PRIOR_BLUEPRINT, PRIOR_OWNER, Scene, USER,
};

pub(crate) fn family() -> Family {
    let mut f = Family::new(700, "Revocations");
    for_good(&mut f);
    below_a_position(&mut f);
    by_a_delta(&mut f);
    ending(&mut f);
    f
}

fn for_good(f: &mut Family) {
    for (name, kind, id, other, code) in [
        ("credential", Kind::Credential, "jti-1", "jti-2", Code::RevokedCredential),
        ("ancestor", Kind::Credential, "jti-grandparent", "jti-x", Code::RevokedAncestor),
        ("task", Kind::Task, "task-1", "task-2", Code::RevokedTask),
    ] {
        let twin = format!("another_{name}_revoked");
        f.allow(&twin, "A revocation hits what it names.", move |s| {
            s.revoke(kind, other, Below::Always);
        });
        f.deny(
            code,
            format!("{name}_revoked"),
            (&twin, &format!("it names `{id}`")),
            "What is revoked for good is dead at every position.",
            move |s| {
                s.revoked.clear();
                s.revoke(kind, id, Below::Always);
            },
        )
        .live();
    }
    f.deny(
        Code::RevokedAncestor,
        "parent_revoked",
        ("another_ancestor_revoked", "it names `jti-parent`"),
        "Every ancestor counts.",
        |s| {
            s.revoked.clear();
            s.revoke(Kind::Credential, "jti-parent", Below::Always);
        },
    );
}

fn below_a_position(f: &mut Family) {
    for (name, kind, id, code) in [
        ("person", Kind::Subject, USER, Code::RevokedSubject),
        ("acting_agent", Kind::Agent, AGENT, Code::RevokedAgent),
        ("prior_agent", Kind::Agent, PRIOR_AGENT, Code::RevokedAgent),
        ("owner", Kind::Owner, OWNER, Code::RevokedOwner),
        ("prior_owner", Kind::Owner, PRIOR_OWNER, Code::RevokedOwner),
        ("blueprint", Kind::Blueprint, BLUEPRINT, Code::RevokedBlueprint),
        ("prior_blueprint", Kind::Blueprint, PRIOR_BLUEPRINT, Code::RevokedBlueprint),
    ] {
        let twin = format!("{name}_revoked_before");
        f.allow(&twin, "It was issued at the revocation's position: the thing came back.", {
            move |s: &mut Scene| s.revoke(kind, id, Below::Sequence(AT))
        });
        f.deny(
            code,
            format!("{name}_revoked"),
            (&twin, "the revocation's position is one higher"),
            "What was issued below the position is dead.",
            move |s| {
                s.revoked.clear();
                s.revoke(kind, id, Below::Sequence(AT + 1));
            },
        )
        .live();
    }
    f.deny(
        Code::RevokedAgent,
        "agent_revoked_for_good",
        ("acting_agent_revoked_before", "it holds for good"),
        "What is revoked for good is dead at every position.",
        |s| {
            s.revoked.clear();
            s.revoke(Kind::Agent, AGENT, Below::Always);
        },
    );
    f.allow("agent_of_an_agent_revoked_before", "The subject may be an agent.", |s| {
        s.pass.set("sub", json!(PRIOR_AGENT));
        s.revoke(Kind::Agent, PRIOR_AGENT, Below::Sequence(AT));
    });
    f.deny(
        Code::RevokedAgent,
        "agent_that_is_the_subject_revoked",
        ("agent_of_an_agent_revoked_before", "the revocation's position is one higher"),
        "A subject that is an agent is hit as an agent too.",
        |s| {
            s.revoked.clear();
            s.revoke(Kind::Agent, PRIOR_AGENT, Below::Sequence(AT + 1));
        },
    );
    f.deny(
        Code::RevokedSubject,
        "agent_revoked_as_a_subject",
        ("agent_of_an_agent_revoked_before", "it names the same agent as a subject"),
        "A subject that is an agent is hit as a subject too.",
        |s| {
            s.revoked.clear();
            s.revoke(Kind::Subject, PRIOR_AGENT, Below::Sequence(AT + 1));
        },
    );
    f.allow("person_revoked_as_an_owner", "The kind is part of the name.", |s| {
        s.revoke(Kind::Owner, USER, Below::Always);
        s.revoke(Kind::Subject, OWNER, Below::Always);
    });
    f.deny(
        Code::RevokedOwner,
        "stricter_of_two",
        ("owner_revoked_before", "a second revocation names a higher position"),
        "Of two for the same thing the stricter holds.",
        |s| s.revoke(Kind::Owner, OWNER, Below::Sequence(AT + 1)),
    );
}

fn by_a_delta(f: &mut Family) {
    f.allow("delta_revokes_another", "A delta's revocation hits what it names.", |s| {
        let start = s.start;
        s.delta(|delta| {
            *delta = delta.clone().revoking(&[(Kind::Task, "task-2", Below::Always)], start);
        });
    });
    f.deny(
        Code::RevokedTask,
        "delta_revokes_the_task",
        ("delta_revokes_another", "it names `task-1`"),
        "A delta is in force as soon as it is applied.",
        |s| {
            let start = s.start;
            s.more.clear();
            s.delta(|delta| {
                *delta = delta.clone().revoking(&[(Kind::Task, "task-1", Below::Always)], start);
            });
        },
    )
    .live();
    f.deny(
        Code::RevokedTask,
        "revocation_beside_a_bad_bundle",
        ("delta_revokes_another", "it names `task-1`, and brings a bundle that does not decode"),
        "A bad bundle never costs a revocation.",
        |s| {
            let start = s.start;
            s.more.clear();
            s.delta(|delta| {
                *delta = delta.clone().revoking(&[(Kind::Task, "task-1", Below::Always)], start);
                delta.bundle = Some(vec![0xff]);
            });
        },
    );
    f.allow("reissued_after_the_revocation", "What is issued at its position is good.", |s| {
        let start = s.start;
        s.delta(|delta| {
            let revoked = [(Kind::Owner, OWNER, Below::Sequence(AT + 1))];
            *delta = delta.clone().revoking(&revoked, start);
        });
        s.pass.set("seq", json!([EPOCH, AT + 1]));
    })
    .live();
    f.deny(
        Code::RevokedOwner,
        "issued_before_the_revocation",
        ("reissued_after_the_revocation", "`seq` is the position before"),
        "What was issued below the position is dead.",
        |s| s.pass.set("seq", json!([EPOCH, AT])),
    );
}

/// A revocation of the task that may be dropped once the feed's time is past `after`.
fn revoke_until(s: &mut Scene, after: u64) {
    let item = Revocation {
        kind: Kind::Task,
        key: hash_key(EPOCH).hash(Kind::Task, "task-1"),
        below: Below::Always,
        drop_after: UnixSeconds(after),
    };
    let start = s.start;
    s.snapshot_age = 30;
    s.more.clear();
    s.delta(|delta| {
        delta.header.issued_at.0 = start - 30;
        *delta = delta.clone().revoking_items(vec![item]);
    });
    s.delta(|_| {});
}

fn ending(f: &mut Family) {
    f.allow("revocation_past_its_end", "The feed's time is past `drop_after`.", |s| {
        let after = s.start - 1;
        revoke_until(s, after);
    });
    f.deny(
        Code::RevokedTask,
        "revocation_at_its_end",
        ("revocation_past_its_end", "`drop_after` is a second later"),
        "A revocation ends past `drop_after` by the feed's time, never by the gate's clock.",
        |s| {
            let after = s.start;
            revoke_until(s, after);
        },
    );
}
