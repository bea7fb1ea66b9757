//! What a revocation of each kind hits.

use super::*;
use crate::testkit::{PRIOR_AGENT, PRIOR_BLUEPRINT, PRIOR_OWNER};

/// Everything in the good gatepass that can be revoked.
const NAMED: &[(Kind, &str, Code)] = &[
    (Kind::Credential, "jti-1", Code::RevokedCredential),
    (Kind::Credential, "jti-parent", Code::RevokedAncestor),
    (Kind::Credential, "jti-grandparent", Code::RevokedAncestor),
    (Kind::Task, "task-1", Code::RevokedTask),
    (Kind::Subject, USER, Code::RevokedSubject),
    (Kind::Agent, AGENT, Code::RevokedAgent),
    (Kind::Agent, PRIOR_AGENT, Code::RevokedAgent),
    (Kind::Owner, OWNER, Code::RevokedOwner),
    (Kind::Owner, PRIOR_OWNER, Code::RevokedOwner),
    (Kind::Blueprint, BLUEPRINT, Code::RevokedBlueprint),
    (Kind::Blueprint, PRIOR_BLUEPRINT, Code::RevokedBlueprint),
];

#[test]
fn each_thing_in_the_chain_can_be_revoked_below_a_position_or_for_good() {
    for (kind, id, code) in NAMED {
        let revoked = |below| Scene::with(|s| s.revoke(*kind, id, below));
        check_scene(&revoked(Below::Always), Some(*code), id);
        check_scene(&revoked(Below::Sequence(u64::MAX)), Some(*code), id);
        check_scene(&revoked(Below::Sequence(AT + 1)), Some(*code), id);
        check_scene(&revoked(Below::Sequence(AT)), None, id);
        check_scene(&revoked(Below::Sequence(0)), None, id);
    }
}

#[test]
fn a_revocation_of_one_kind_hits_no_other() {
    let kinds = [
        Kind::Credential,
        Kind::Task,
        Kind::Key,
        Kind::Subject,
        Kind::Agent,
        Kind::Owner,
        Kind::Blueprint,
    ];
    for (kind, id, _) in NAMED {
        for other in kinds.iter().filter(|other| *other != kind) {
            check(|s| s.revoke(*other, id, Below::Always), None);
        }
    }
}

#[test]
fn an_agent_that_acts_for_itself_is_revoked_as_subject_and_as_agent() {
    let alone = |s: &mut Scene| {
        s.pass.set("sub", json!(AGENT)).remove("act");
    };
    check(alone, None);
    for (kind, code) in [(Kind::Subject, Code::RevokedSubject), (Kind::Agent, Code::RevokedAgent)] {
        let mut scene = Scene::with(alone);
        scene.revoke(kind, AGENT, Below::Always);
        check_scene(&scene, Some(code), "alone");
    }
}

#[test]
fn an_agent_that_is_acted_for_is_revoked_as_an_agent() {
    let b_for_a = |s: &mut Scene| {
        s.pass.set("sub", json!(PRIOR_AGENT));
    };
    check(b_for_a, None);
    let mut scene = Scene::with(b_for_a);
    scene.revoke(Kind::Agent, PRIOR_AGENT, Below::Sequence(AT + 1));
    check_scene(&scene, Some(Code::RevokedAgent), "B for A");
}

#[test]
fn a_key_is_revoked_whatever_the_position() {
    check(|s| s.revoke(Kind::Key, &kid(ISSUER), Below::Sequence(1)), Some(Code::RevokedKey));
    check(|s| s.revoke(Kind::Key, &kid(ISSUER), Below::Always), Some(Code::RevokedKey));
}

#[test]
fn one_that_came_back_gets_new_gatepasses_and_the_old_stay_dead() {
    let mut scene = Scene::with(|s| s.revoke(Kind::Agent, AGENT, Below::Sequence(40)));
    for (sequence, expected) in
        [(0, Some(Code::RevokedAgent)), (39, Some(Code::RevokedAgent)), (40, None), (AT, None)]
    {
        scene.pass.set("seq", json!([EPOCH, sequence]));
        check_scene(&scene, expected, &format!("issued at {sequence}"));
    }
}

#[test]
fn a_revocation_that_arrives_later_kills_what_was_allowed_before() {
    for (kind, id, code) in NAMED {
        let scene = Scene::good();
        let mut gate = scene.gate();
        assert!(matches!(scene.decide_at(&gate), Decision::Allow(_)));
        let delta = crate::testkit::Message::delta(AT, AT + 1).revoking(&[(
            *kind,
            id,
            Below::Sequence(AT + 1),
        )]);
        crate::testkit::feed(&mut gate, &delta).unwrap();
        let Decision::Deny(denial) = scene.decide_at(&gate) else {
            panic!("{id} is still allowed");
        };
        assert_eq!(denial.code(), *code);
    }
}
