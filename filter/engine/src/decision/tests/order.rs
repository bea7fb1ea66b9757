//! The order of the checks: a request that is wrong in two ways is told of the earlier one.

use super::*;
use crate::testkit::{PRIOR_AGENT, b64};

/// One way to be wrong for each check, in the order of 02-wire-formats but for claims, which are
/// read once their key is known; those with the same number exclude each other. Each touches something that no other touches.
pub(super) const IN_ORDER: &[(u8, Code, Change)] = &[
    (1, Code::AmbiguousRequest, |s| s.authority = "orders.example:0443".into()),
    (2, Code::NotReady, |s| s.heard = Heard::Baseline),
    (3, Code::NoCredential, |s| s.scheme = None),
    (4, Code::Malformed, |s| s.pass.header["typ"] = json!("JWT")),
    (5, Code::UnsupportedAlgorithm, |s| s.pass.header["alg"] = json!("none")),
    (6, Code::UnknownKey, |s| s.pass.header["kid"] = json!(kid(STRANGER))),
    (7, Code::RevokedKey, |s| s.revoke(Kind::Key, &kid(ISSUER), Below::Always)),
    (8, Code::Malformed, |s| {
        s.pass.set("client_id", json!(PRIOR_AGENT));
    }),
    (9, Code::BadSignature, |s| s.pass.signer = STRANGER),
    (10, Code::WrongIssuer, |s| {
        s.pass.set("iss", json!("https://else.example"));
    }),
    (11, Code::WrongEnvironment, |s| {
        s.pass.set("env", json!("dev"));
    }),
    (12, Code::WrongAudience, |s| {
        s.pass.set("aud", json!(["https://else.example"]));
    }),
    (13, Code::Expired, |s| {
        s.pass.set("exp", json!(NOW));
    }),
    (14, Code::NotYetValid, |s| {
        s.pass.set("nbf", json!(NOW + 31));
    }),
    (15, Code::NoRoute, |s| s.method = "DELETE"),
    (16, Code::StreamNotAllowed, |s| s.headers.push(("upgrade", b"websocket".to_vec()))),
    (17, Code::BodyNotAllowed, |s| s.ends_with_headers = false),
    (18, Code::Stale, |s| s.now.monotonic.0 += 60_001),
    (19, Code::WrongEpoch, |s| {
        s.pass.set("seq", json!([EPOCH - 1, AT]));
    }),
    (19, Code::Behind, |s| {
        s.pass.set("seq", json!([EPOCH, AT + 1]));
    }),
    (20, Code::RevokedCredential, |s| s.revoke(Kind::Credential, "jti-1", Below::Always)),
    (21, Code::RevokedAncestor, |s| s.revoke(Kind::Credential, "jti-parent", Below::Always)),
    (22, Code::RevokedTask, |s| s.revoke(Kind::Task, "task-1", Below::Always)),
    (23, Code::RevokedSubject, |s| s.revoke(Kind::Subject, USER, Below::Always)),
    (24, Code::RevokedAgent, |s| s.revoke(Kind::Agent, AGENT, Below::Always)),
    (25, Code::RevokedOwner, |s| s.revoke(Kind::Owner, OWNER, Below::Always)),
    (26, Code::RevokedBlueprint, |s| s.revoke(Kind::Blueprint, BLUEPRINT, Below::Always)),
    (27, Code::TooOld, |s| s.action().max_age = Some(19)),
    (28, Code::InsufficientScope, |s| s.action().scopes_all = vec!["admin".into()]),
    (29, Code::UnsupportedRestriction, |s| {
        s.pass.set("cnf", json!({}));
    }),
    (30, Code::ActionNotGranted, |s| {
        s.pass.entry("actions", json!(["orders:list"]));
    }),
    (31, Code::ConstraintViolated, |s| {
        s.pass.entry("constraints", json!({"count": {"max": 4}}));
    }),
    (32, Code::BindingMismatch, |s| s.action().binding = Binding::Key),
    (33, Code::InsufficientAssurance, |s| {
        s.action().assurance = Assurance::Federated;
        s.pass.set("assurance", json!("static"));
    }),
    (34, Code::ApprovalRequired, |s| s.action().approval = true),
    (34, Code::ApprovalMismatch, |s| {
        s.pass.set("approval", Scene::approval(&b64([0; 32])));
    }),
    (35, Code::PolicyDenied, rules::forbidden),
    (35, Code::PolicyError, rules::failing),
];

#[test]
fn a_request_that_is_wrong_in_two_ways_gets_the_earlier_code() {
    for (at, (place, code, wrong)) in IN_ORDER.iter().enumerate() {
        check(wrong, Some(*code));
        for (later_place, later_code, also_wrong) in &IN_ORDER[at + 1..] {
            if place == later_place {
                continue;
            }
            let mut scene = Scene::with(wrong);
            also_wrong(&mut scene);
            let Decision::Deny(denial) = scene.decide() else {
                panic!("{code} and {later_code} together are allowed");
            };
            assert_eq!(denial.code(), *code, "{code} and {later_code} together");
        }
    }
}

#[test]
fn every_reachable_code_has_its_place_in_the_order() {
    let placed: BTreeSet<Code> = IN_ORDER.iter().map(|(_, code, _)| *code).collect();
    let reachable: BTreeSet<Code> = TWINS.iter().map(|(code, ..)| *code).collect();
    assert_eq!(placed, reachable);
}
