//! Each denial code: a request that is allowed, and its twin with one thing changed that is
//! denied with that code. Then the order of the checks, and who is let through without one.

mod bodies;
mod budgets;
mod calls;
mod grace;
mod live;
mod noted;
mod order;
mod passing;
mod restrictions;
mod revocation;
mod rules;
mod standing;
mod time;
mod uses;

use std::collections::BTreeSet;

use passing::{upgrade, upgrades};
use serde_json::json;

use super::*;
use crate::bundle::{Assurance, Binding, Risk};
use crate::clock::Milliseconds;
use crate::position::Position;
use crate::revocation::Below;
use crate::testkit::{
    AGENT, AT, AUDIENCE, BLUEPRINT, EPOCH, Heard, ISSUER, NOW, OTHER_ISSUER, OWNER, STRANGER,
    Scene, USER, action, kid, later,
};

type Change = fn(&mut Scene);

pub(super) fn listing() -> Listing {
    calls::listing()
}

/// Decides the good scene with `change` in every way that there is: `decide`, `explain`, and in
/// shadow mode. `None` is allowed.
fn check(change: impl FnOnce(&mut Scene), expected: Option<Code>) {
    check_scene(&Scene::with(change), expected, "");
}

fn check_scene(scene: &Scene, expected: Option<Code>, why: &str) {
    let mut gate = scene.gate();
    let decision = scene.decide_at(&gate);
    let (explained, trace) = scene.request(|request| explain(request, &gate, scene.now));
    assert_eq!(explained, decision, "explain and decide differ: {why}");
    let failed = trace.0.iter().find_map(|(_, outcome)| match outcome {
        Outcome::Failed(code, _) => Some(*code),
        Outcome::Passed | Outcome::NotAsked(_) => None,
    });
    assert_eq!(failed, expected, "{why}: {decision:?}");
    gate.in_shadow();
    let shadow = scene.decide_at(&gate);
    match (&decision, shadow) {
        (Decision::Allow(permit), Decision::Allow(same)) => {
            assert_eq!(expected, None, "{why}");
            assert!(matches!(permit.reason(), Reason::Decided(_)), "{why}");
            assert_eq!(permit, &same, "{why}");
        }
        (Decision::Deny(denial), Decision::Allow(permit)) => {
            assert_eq!(Some(denial.code()), expected, "{why}: {denial}");
            assert_eq!(permit.reason(), &Reason::Shadow(denial.clone()), "{why}");
            let waits = matches!(denial.code(), Code::NotReady | Code::Behind);
            assert!(waits || denial.hold().is_none(), "{why}: {denial} is held");
        }
        (_, Decision::Deny(denial)) => panic!("denied in shadow mode: {denial}"),
        (Decision::Redeem(_), _) | (_, Decision::Redeem(_)) => panic!("to redeem: {why}"),
        (Decision::Read(_), _) | (_, Decision::Read(_)) => panic!("{why}: waits for a body"),
    }
}

/// The code, what is right, and the one thing that makes it wrong.
const TWINS: &[(Code, Change, Change)] = &[
    (Code::NoCredential, |_| {}, |s| s.scheme = None),
    (Code::NoCredential, |_| {}, |s| s.scheme = Some("Basic")),
    (Code::NoCredential, |_| {}, |s| s.scheme = Some("")),
    (Code::NoCredential, |_| {}, |s| s.scheme = Some("Bearer\t")),
    (Code::Malformed, |s| s.scheme = Some("bEARER"), |s| s.scheme = Some("bEARER ")),
    (Code::Malformed, |_| {}, |s| s.authorization = Some(b"Bearer".to_vec())),
    (
        Code::Malformed,
        |s| {
            s.authorization = Some(format!("Bearer {}", s.pass.token()).into_bytes());
        },
        |s| s.authorization.get_or_insert_default().extend_from_slice(b" "),
    ),
    (
        Code::Malformed,
        |_| {},
        |s| {
            s.pass.set("client_id", json!(crate::testkit::PRIOR_AGENT));
        },
    ),
    (Code::UnsupportedAlgorithm, |_| {}, |s| s.pass.header["alg"] = json!("HS256")),
    (Code::UnsupportedAlgorithm, |_| {}, |s| s.pass.header["alg"] = json!("Ed25519")),
    (Code::UnknownKey, |_| {}, |s| s.pass.header["kid"] = json!(kid(OTHER_ISSUER))),
    (
        Code::RevokedKey,
        |s| s.revoke(Kind::Key, &kid(OTHER_ISSUER), Below::Always),
        |s| s.revoke(Kind::Key, &kid(ISSUER), Below::Always),
    ),
    (Code::RevokedKey, |s| s.keys[0].not_after.0 = NOW + 1, |s| s.keys[0].not_after.0 = NOW),
    (Code::RevokedKey, |s| s.keys[0].not_before.0 = NOW, |s| s.keys[0].not_before.0 = NOW + 1),
    (Code::BadSignature, |_| {}, |s| s.pass.signer = STRANGER),
    (Code::WrongIssuer, |s| s.keys[0].issuer = "https://second.example".into(), |_| {}),
    (
        Code::WrongEnvironment,
        |_| {},
        |s| {
            s.pass.set("env", json!("Prod"));
        },
    ),
    (
        Code::WrongAudience,
        |s| {
            s.pass.set("aud", json!(["https://else.example", AUDIENCE]));
        },
        |s| {
            s.pass.set("aud", json!(["https://else.example"]));
        },
    ),
    (
        Code::WrongAudience,
        |s| {
            s.pass.set("aud", json!(AUDIENCE));
        },
        |s| {
            s.pass.set("aud", json!("https://orders.example/"));
        },
    ),
    (
        Code::Expired,
        |s| {
            s.pass.set("exp", json!(NOW + 1));
        },
        |s| {
            s.pass.set("exp", json!(NOW));
        },
    ),
    (
        Code::NotYetValid,
        |s| {
            s.pass.set("iat", json!(NOW + 30));
        },
        |s| {
            s.pass.set("iat", json!(NOW + 31));
        },
    ),
    (
        Code::NotYetValid,
        |s| {
            s.pass.set("nbf", json!(NOW + 30));
        },
        |s| {
            s.pass.set("nbf", json!(NOW + 31));
        },
    ),
    (Code::TooOld, |s| s.action().max_age = Some(20), |s| s.action().max_age = Some(19)),
    (
        Code::TooOld,
        |s| {
            s.action().risk = Risk::High;
            s.action().staleness = 10;
        },
        |s| {
            s.pass.set("exp", json!(NOW + 281));
        },
    ),
    (
        Code::WrongEpoch,
        |_| {},
        |s| {
            s.pass.set("seq", json!([EPOCH - 1, u64::MAX]));
        },
    ),
    (
        Code::Behind,
        |_| {},
        |s| {
            s.pass.set("seq", json!([EPOCH, AT + 1]));
        },
    ),
    (
        Code::Behind,
        |_| {},
        |s| {
            s.pass.set("seq", json!([EPOCH + 1, 1]));
        },
    ),
    (
        Code::RevokedCredential,
        |s| s.revoke(Kind::Credential, "jti-2", Below::Always),
        |s| s.revoke(Kind::Credential, "jti-1", Below::Always),
    ),
    (
        Code::RevokedAncestor,
        |_| {},
        |s| s.revoke(Kind::Credential, "jti-grandparent", Below::Always),
    ),
    (
        Code::RevokedTask,
        |s| s.revoke(Kind::Task, "task-2", Below::Always),
        |s| s.revoke(Kind::Task, "task-1", Below::Always),
    ),
    (
        Code::RevokedSubject,
        |s| s.revoke(Kind::Subject, USER, Below::Sequence(AT)),
        |s| s.revoke(Kind::Subject, USER, Below::Sequence(AT + 1)),
    ),
    (
        Code::RevokedAgent,
        |s| s.revoke(Kind::Agent, AGENT, Below::Sequence(AT)),
        |s| s.revoke(Kind::Agent, AGENT, Below::Sequence(AT + 1)),
    ),
    (
        Code::RevokedOwner,
        |s| s.revoke(Kind::Owner, OWNER, Below::Sequence(AT)),
        |s| s.revoke(Kind::Owner, OWNER, Below::Sequence(AT + 1)),
    ),
    (
        Code::RevokedBlueprint,
        |s| s.revoke(Kind::Blueprint, BLUEPRINT, Below::Sequence(AT)),
        |s| s.revoke(Kind::Blueprint, BLUEPRINT, Below::Sequence(AT + 1)),
    ),
    (
        Code::AmbiguousRequest,
        |s| s.authority = "orders.example:8443".into(),
        |s| s.authority = "ORDERS.example:8443".into(),
    ),
    (Code::AmbiguousRequest, |_| {}, |s| s.path = "/orders//c1".into()),
    (Code::AmbiguousRequest, |_| {}, |s| s.path.push_str("&amount=1.00")),
    (Code::AmbiguousRequest, |_| {}, |s| s.headers.push(("authorization", b"Basic YTpi".to_vec()))),
    (Code::AmbiguousRequest, |_| {}, |s| s.headers.push(("Authorization", b"Basic YTpi".to_vec()))),
    (
        Code::AmbiguousRequest,
        |_| {},
        |s| {
            let value = format!("Bearer {}", s.pass.token()).into_bytes();
            s.scheme = None;
            s.headers.push(("Authorization", value));
        },
    ),
    (
        Code::AmbiguousRequest,
        |_| {},
        |s| {
            let token = s.pass.token();
            s.authorization = Some(format!("Basic YTpi, Bearer {token}").into_bytes());
        },
    ),
    (
        Code::AmbiguousRequest,
        |_| {},
        |s| {
            let token = s.pass.token();
            s.authorization = Some(format!("Bearer {token},{token}").into_bytes());
        },
    ),
    (Code::AmbiguousRequest, |_| {}, |s| s.headers.push((":method", b"GET".to_vec()))),
    (Code::AmbiguousRequest, |_| {}, |s| s.headers.push(("x_tag", b"red".to_vec()))),
    (Code::NoRoute, |_| {}, |s| s.method = "DELETE"),
    (Code::NoRoute, |_| {}, |s| s.method = "post"),
    (Code::NoRoute, |_| {}, |s| s.path = "/orders/c1/items".into()),
    (Code::NoRoute, |_| {}, |s| s.authority = "unknown.example".into()),
    (
        Code::InsufficientScope,
        |s| s.action().scopes_all = vec!["orders:read".into(), "orders:write".into()],
        |s| {
            s.pass.set("scope", json!("orders:read"));
        },
    ),
    (
        Code::InsufficientScope,
        |s| s.action().scopes_all = vec!["orders:write".into()],
        |s| {
            s.pass.remove("scope");
        },
    ),
    (
        Code::InsufficientScope,
        |s| s.action().scopes_any = vec!["admin".into(), "orders:write".into()],
        |s| {
            s.pass.set("scope", json!("orders:writer orders"));
        },
    ),
    (
        Code::ActionNotGranted,
        |_| {},
        |s| {
            s.pass.entry("actions", json!(["orders:list"]));
        },
    ),
    (
        Code::ActionNotGranted,
        |_| {},
        |s| {
            s.pass.entry("actions", json!(["orders", "orders:create:all", "*"]));
        },
    ),
    (
        Code::ActionNotGranted,
        |_| {},
        |s| {
            s.pass.remove("authorization_details");
        },
    ),
    (
        Code::ConstraintViolated,
        |s| {
            s.pass.entry("constraints", json!({"amount": {"max": "100.00 EUR"}}));
        },
        |s| s.path = s.path.replace("100.00", "100.01"),
    ),
    (
        Code::UnsupportedRestriction,
        |_| {},
        |s| {
            s.pass.set("cnf", json!({"jkt": "x"}));
        },
    ),
    (Code::BindingMismatch, |_| {}, |s| s.scheme = Some("DPoP")),
    (Code::BindingMismatch, |_| {}, |s| s.action().binding = Binding::Workload),
    (
        Code::InsufficientAssurance,
        |s| {
            s.action().assurance = Assurance::Federated;
            s.pass.set("assurance", json!("federated"));
        },
        |s| {
            s.pass.set("assurance", json!("static"));
        },
    ),
    (
        Code::InsufficientAssurance,
        |s| {
            s.pass.set("assurance", json!("static"));
        },
        |s| s.action().risk = Risk::Medium,
    ),
    (
        Code::ApprovalRequired,
        |s| {
            s.action().approval = true;
            s.pass.set("approval", Scene::approval(&Scene::digest()));
        },
        |s| {
            s.pass.remove("approval");
        },
    ),
    (
        Code::ApprovalMismatch,
        |s| {
            s.action().approval = true;
            s.pass.set("approval", Scene::approval(&Scene::digest()));
        },
        |s| s.path = s.path.replace("c1", "c2"),
    ),
    (Code::PolicyDenied, rules::permitted, rules::forbidden),
    (Code::PolicyDenied, |_| {}, rules::without_a_rule),
    (Code::PolicyError, rules::permitted, rules::failing),
    (Code::BodyNotAllowed, |_| {}, |s| s.ends_with_headers = false),
    (Code::StreamNotAllowed, |_| {}, |s| s.headers.push(("upgrade", b"websocket".to_vec()))),
    (Code::StreamNotAllowed, |_| {}, |s| s.headers.push((":protocol", b"websocket".to_vec()))),
    (Code::StreamNotAllowed, |_| {}, |s| s.method = "CONNECT"),
    (Code::StreamNotAllowed, upgrades, |s| *upgrade(s) = None),
    (Code::StreamNotAllowed, upgrades, |s| s.headers[0].1 = b"websocket, h2c".to_vec()),
    (Code::StreamNotAllowed, upgrades, |s| s.headers.push(("upgrade", b"websocket".to_vec()))),
    (Code::StreamNotAllowed, upgrades, |s| s.headers.push((":protocol", b"websocket".to_vec()))),
    (Code::StreamNotAllowed, upgrades, |s| s.method = "CONNECT"),
    (Code::InsufficientScope, upgrades, |s| s.bundle.actions[1].scopes_all = vec!["x".into()]),
    (Code::NotReady, |_| {}, |s| s.heard = Heard::Nothing),
    (Code::NotReady, |_| {}, |s| s.heard = Heard::Baseline),
    (Code::Stale, |s| s.now.monotonic.0 += 60_000, |s| s.now.monotonic.0 += 1),
];

/// Codes that no change of the scene without a body leads to, or none yet.
const NOT_REACHABLE_YET: &[(Code, &str)] = &[
    (Code::Replayed, "of what the gate remembers: `uses`"),
    (Code::ReplayTableFull, "of what the gate remembers: `uses`"),
    (Code::ConfirmationFailed, "of what the control plane says: `uses`"),
    (Code::BodyTooLarge, "`bodies` has its twins"),
    (Code::BodyTooSlow, "`bodies` has its twins"),
    (Code::GateBusy, "`bodies` has its twins"),
    (Code::BodyMalformed, "`bodies` has its twins"),
    (Code::HeaderBodyMismatch, "`calls` has its twins"),
    (Code::BudgetMissing, "`budgets` has its twins: what is under one is spent"),
    (Code::TooManyOpen, "the shell counts what is open"),
    (Code::DurationOver, "told of what is open: `standing`"),
    (Code::PolicyChanged, "told of what is open: `standing`"),
];

#[test]
fn the_good_request_is_allowed_for_the_acting_agent() {
    let Decision::Allow(permit) = Scene::good().decide() else {
        panic!("denied");
    };
    let expected = Reason::Decided(Identity {
        agent: AGENT.into(),
        owner: OWNER.into(),
        task: "task-1".into(),
    });
    assert_eq!(permit.reason(), &expected);
    assert_eq!(permit.action(), Some("orders:create"));
    assert!(permit.strips_authorization());
}

#[test]
fn each_denial_has_an_allowed_twin() {
    for (nth, (code, right, wrong)) in TWINS.iter().enumerate() {
        let mut scene = Scene::with(right);
        let allowed = if *code == Code::WrongIssuer {
            // Here the wrong thing is what is registered: the twin is the good scene.
            Scene::good()
        } else {
            scene.clone()
        };
        check_scene(&allowed, None, &format!("twin {nth} of {code}"));
        wrong(&mut scene);
        check_scene(&scene, Some(*code), &format!("case {nth} of {code}"));
    }
}

#[test]
fn every_code_has_a_twin_or_a_reason_why_not() {
    let mut covered: BTreeSet<Code> = TWINS.iter().map(|(code, ..)| *code).collect();
    for (code, why) in NOT_REACHABLE_YET {
        assert!(covered.insert(*code), "{code} is reachable, but: {why}");
    }
    let all: BTreeSet<Code> = Code::ALL.iter().copied().collect();
    assert_eq!(covered, all);
}

#[test]
fn a_request_before_the_first_batch_is_held_only_with_a_credential_of_the_right_shape() {
    let held = |change: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::with(|s| s.heard = Heard::Nothing);
        change(&mut scene);
        match scene.decide() {
            Decision::Deny(denial) => {
                assert_eq!(denial.code(), Code::NotReady);
                denial.hold()
            }
            Decision::Allow(permit) => panic!("{permit:?}"),
            Decision::Redeem(redemption) => panic!("{redemption:?}"),
            Decision::Read(awaited) => panic!("{awaited:?}"),
        }
    };
    assert_eq!(held(&|_| {}), Some(HoldUntil::Ready));
    assert_eq!(held(&|s| s.heard = Heard::Baseline), Some(HoldUntil::Ready));
    assert_eq!(held(&|s| s.scheme = Some("DPoP")), Some(HoldUntil::Ready));
    assert_eq!(held(&|s| s.scheme = None), None);
    assert_eq!(held(&|s| s.scheme = Some("Basic")), None);
    for value in ["Bearer", "Bearer a.b", "Bearer a.b.c", "Bearer e30.e30.e30", "Bearer .."] {
        let value = value.as_bytes().to_vec();
        assert_eq!(held(&|s| s.authorization = Some(value.clone())), None);
    }
    let long = format!("Bearer {}", "A".repeat(9000)).into_bytes();
    assert_eq!(held(&|s| s.authorization = Some(long.clone())), None);
}

#[test]
fn a_gatepass_ahead_of_the_gate_is_held_until_its_position() {
    for (epoch, sequence) in [(EPOCH, AT + 1), (EPOCH + 1, 1), (u64::MAX, u64::MAX)] {
        let scene = Scene::with(|s| {
            s.pass.set("seq", json!([epoch, sequence]));
        });
        let Decision::Deny(denial) = scene.decide() else {
            panic!("allowed");
        };
        let reached = HoldUntil::Reached(Position { epoch, sequence });
        assert_eq!(denial.hold(), Some(reached));
    }
}

#[test]
fn a_held_gatepass_is_decided_anew_when_the_gate_has_caught_up() {
    let scene = Scene::with(|s| {
        s.pass.set("seq", json!([EPOCH, AT + 1]));
    });
    let mut gate = scene.gate();
    assert!(matches!(scene.decide_at(&gate), Decision::Deny(_)));
    let delta = crate::testkit::Message::delta(AT, AT + 1);
    crate::testkit::feed(&mut gate, &delta).unwrap();
    assert!(matches!(scene.decide_at(&gate), Decision::Allow(_)));
}

#[test]
fn a_denial_names_the_agent_only_after_its_gatepass_was_verified() {
    let whom = |change: Change| match Scene::with(change).decide() {
        Decision::Deny(denial) => denial.whom().clone(),
        Decision::Allow(permit) => panic!("{permit:?}"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    };
    let expired = whom(|s| {
        s.pass.set("exp", json!(NOW));
    });
    assert_eq!(expired.agent, None);
    let forged = whom(|s| s.pass.signer = STRANGER);
    assert_eq!(forged.agent, None);
    let not_granted = whom(|s| {
        s.pass.remove("authorization_details");
    });
    assert_eq!(not_granted.agent.as_deref(), Some(AGENT));
    assert_eq!(not_granted.action.as_deref(), Some("orders:create"));
}

#[test]
fn missing_scopes_are_named() {
    let scene = Scene::with(|s| {
        s.action().scopes_all = vec!["a".into(), "orders:read".into(), "b".into()];
    });
    let Decision::Deny(denial) = scene.decide() else {
        panic!("allowed");
    };
    assert_eq!(
        denial.challenge().as_deref(),
        Some("Bearer error=\"insufficient_scope\", scope=\"a b\"")
    );
}
