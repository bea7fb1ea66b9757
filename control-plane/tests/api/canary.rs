//! What holds a promotion: what gates report of decisions on verified gatepasses, and nothing else.

use serde_json::{Value, json};

use crate::cohorts::{canary, stricter, with_canary};
use crate::kit::{Answer, Ask, Follower, Plane, poll_of};

/// One poll of an Envoy that reports itself to be up to date.
fn report(plane: &Plane, audience: &str, envoy: &str, decided: &str) {
    report_with(plane, audience, envoy, decided, &[]);
}

fn report_with(plane: &Plane, audience: &str, envoy: &str, decided: &str, other: &[(&str, &str)]) {
    let here = plane.standing().0;
    let mut headers = vec![
        ("x-gatepass-node", envoy),
        ("x-gatepass-mode", "enforce"),
        ("x-gatepass-position", here.as_str()),
        ("x-gatepass-policy", here.as_str()),
        ("x-gatepass-vms", "3"),
        ("x-gatepass-decided", decided),
    ];
    headers.retain(|(name, _)| other.iter().all(|(known, _)| known != name));
    headers.extend(other);
    assert_eq!(poll_of(plane, audience, None, &headers).status, 200);
}

fn promote(plane: &Plane) -> Answer {
    plane.change_as(&plane.admin, "/v1/policies/promote", json!({}))
}

/// Where the policy that the canary has, and that of all, were published.
fn positions(plane: &Plane) -> (String, String) {
    let fleet = plane.get("/v1/fleet");
    let of = |value: &Value| value["policy"].as_str().unwrap().to_owned();
    (of(&fleet["cohorts"][0]), of(&fleet))
}

fn trying() -> (Plane, String, String) {
    let plane = with_canary();
    plane.change("/v1/policies", json!({ "content": stricter(), "cohort": "canary" }));
    let (here, there) = positions(&plane);
    (plane, here, there)
}

fn held(plane: &Plane, why: &str) {
    let before = plane.standing();
    let answer = promote(plane);
    assert_eq!(answer.status, 409, "{}", answer.text());
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(why), "{detail}");
    assert!(detail.contains("--despite-denials"), "{detail}");
    let shown = canary(plane)["held"].clone();
    assert!(shown.as_array().unwrap().iter().any(|hold| detail.contains(hold.as_str().unwrap())));
    assert_eq!(plane.standing(), before, "nothing was done");
}

#[test]
fn a_promotion_is_held_when_denials_jump_and_its_twin_is_not() {
    let (plane, here, there) = trying();
    report(&plane, "prod", "b1", &format!("{there} 990 10"));
    report(&plane, "canary", "a1", &format!("{here} 170 30"));
    held(&plane, "30 of 200 (15.0%) were denied in the cohort and 10 of 1000 (1.0%) elsewhere");
    // One thing changed: fewer were denied.
    report(&plane, "canary", "a1", &format!("{here} 197 3"));
    assert_eq!(canary(&plane)["held"], json!([]));
    assert_eq!(promote(&plane).status, 200);
}

#[test]
fn elsewhere_is_what_was_decided_there_in_the_same_time() {
    let plane = with_canary();
    let (_, there) = positions(&plane);
    report(&plane, "prod", "b1", &format!("{there} 100000 0"));
    plane.change("/v1/policies", json!({ "content": stricter(), "cohort": "canary" }));
    let (here, _) = positions(&plane);
    report(&plane, "canary", "a1", &format!("{here} 90 10"));
    report(&plane, "prod", "b1", &format!("{there} 100090 0"));
    held(&plane, "to compare with");
    report(&plane, "prod", "b1", &format!("{there} 100190 10"));
    assert_eq!(canary(&plane)["elsewhere"], json!({ "allowed": 190, "denied": 10 }));
    // As many are denied there now: what changed is not the policy. Its twin: fewer are.
    assert_eq!(canary(&plane)["held"], json!([]));
    report(&plane, "prod", "b1", &format!("{there} 100199 1"));
    held(&plane, "1 of 200 (0.5%) elsewhere");
    // An Envoy that says less than before has decided nothing.
    report(&plane, "prod", "b1", &format!("{there} 5 0"));
    held(&plane, "to compare with");
    // A process that is started anew is another Envoy, and all of what it says is lately.
    report(&plane, "prod", "b2", &format!("{there} 90 10"));
    assert_eq!(promote(&plane).status, 200);
}

#[test]
fn whoever_says_so_promotes_it_all_the_same_and_that_is_on_record() {
    let (plane, here, there) = trying();
    report(&plane, "prod", "b1", &format!("{there} 1000 0"));
    report(&plane, "canary", "a1", &format!("{here} 50 50"));
    held(&plane, "50 of 100");
    let body = json!({ "despite_denials": true, "reason": "those agents are to be stopped" });
    plane.change("/v1/policies/promote", body);
    let record = plane.export();
    let line = record.lines().find(|line| line.contains("policy.promote")).unwrap();
    let record: Value = serde_json::from_str(line).unwrap();
    let text = record.to_string();
    assert!(text.contains("those agents are to be stopped"), "{text}");
    assert!(text.contains("50 of 100 (50.0%)"), "{text}");
}

#[test]
fn what_says_too_little_holds_it_too() {
    let (plane, here, there) = trying();
    held(&plane, "no Envoy of the cohort has reported");
    report(&plane, "prod", "b1", &format!("{there} 1000 0"));
    report(&plane, "canary", "a1", &format!("{here} 99 0"));
    held(&plane, "99 decisions");
    // What was decided by the policy before is no evidence for this one.
    report(&plane, "canary", "a1", &format!("{there} 5000 0"));
    held(&plane, "0 decisions");
    // Two Envoys together have seen enough.
    report(&plane, "canary", "a1", &format!("{here} 60 0"));
    report(&plane, "canary", "a2", &format!("{here} 40 0"));
    assert_eq!(canary(&plane)["seen"], json!({ "allowed": 100, "denied": 0 }));
    // One of them does not enforce it.
    for other in [("x-gatepass-policy", there.as_str()), ("x-gatepass-mode", "shadow")] {
        report_with(&plane, "canary", "a2", &format!("{here} 40 0"), &[other]);
        held(&plane, "it is not enforced by 1 of the cohort, as far as is known: /a2");
    }
    // Or is where this database never was, by the word of a thief of the feed key.
    let ahead = "9999999999.1";
    let far = [("x-gatepass-position", ahead), ("x-gatepass-policy", ahead)];
    report_with(&plane, "canary", "a2", &format!("{here} 40 0"), &far);
    held(&plane, "it is not enforced by 1 of the cohort, as far as is known: /a2");
    report(&plane, "canary", "a2", &format!("{here} 40 0"));
    // And nothing elsewhere to compare with.
    report(&plane, "prod", "b1", &format!("{there} 99 0"));
    held(&plane, "to compare with");
    report(&plane, "prod", "b1", &format!("{there} 100 0"));
    assert_eq!(promote(&plane).status, 200);
}

#[test]
fn a_cohort_that_is_all_there_is_is_compared_with_what_it_denied_before() {
    let plane = with_canary();
    let (there, _) = positions(&plane);
    report(&plane, "canary", "a1", &format!("{there} 800 200"));
    plane.change("/v1/policies", json!({ "content": stricter(), "cohort": "canary" }));
    let (here, _) = positions(&plane);
    assert_eq!(canary(&plane)["before"], json!({ "allowed": 800, "denied": 200 }));
    report(&plane, "canary", "a1", &format!("{here} 40 60"));
    held(&plane, "200 of 1000 (20.0%) there before");
    // A second version that is tried is held against the policy of all, and not against the first.
    plane.change("/v1/policies", json!({ "content": stricter(), "cohort": "canary" }));
    let (here, _) = positions(&plane);
    assert_eq!(canary(&plane)["before"], json!({ "allowed": 800, "denied": 200 }));
    report(&plane, "canary", "a1", &format!("{here} 70 30"));
    assert_eq!(promote(&plane).status, 200);
}

#[test]
fn what_an_envoy_says_that_it_decided_is_bounded_and_nobody_is_counted_by_garbage() {
    let (plane, here, there) = trying();
    report(&plane, "prod", "b1", &format!("{there} 1000 0"));
    let (max, over) = (1u64 << 48, (1u64 << 48) + 1);
    for garbage in [
        String::new(),
        "x".repeat(500),
        format!("{here} 500"),
        format!("{here} -1 500"),
        format!("{here} 1e9 0"),
        format!("{here} {max}0 0"),
        format!("{here} {over} 0"),
        format!("{here} 0 {}", u64::MAX),
    ] {
        report(&plane, "canary", "a1", &garbage);
        held(&plane, "0 decisions");
    }
    for envoy in ["a1", "a2", "a3"] {
        report(&plane, "canary", envoy, &format!("{here} {max} {max}"));
    }
    held(&plane, "were denied in the cohort");
    assert_eq!(plane.get("/v1/fleet")["envoys"].as_array().unwrap().len(), 4);
}

#[test]
fn a_jump_of_denials_puts_no_older_policy_in_force_by_itself() {
    let (mut plane, here, there) = trying();
    let agent = plane.agent(1);
    let mut gate = Follower::of_audience(&plane, "canary");
    let denied = Err(gatepass_engine::Code::InsufficientScope);
    for round in 1..=12 {
        report(&plane, "prod", "b1", &format!("{there} {round}000 0"));
        report(&plane, "canary", "a1", &format!("{here} 0 {round}000"));
        held(&plane, "(100.0%) were denied in the cohort");
        plane.pass(300);
        let token = agent.gatepass(&plane, &Ask::read());
        assert_eq!(gate.now_reads(&plane, &token), denied);
        assert_eq!(Follower::of_audience(&plane, "canary").reads(&token), denied);
        assert_eq!(canary(&plane)["policy_version"], 2);
        if round % 5 == 0 {
            plane.stop();
            plane.start();
        }
    }
    let record = plane.export();
    assert!(!record.contains("policy.withdraw") && !record.contains("policy.rollback"));
    // Until somebody says so.
    let token = agent.gatepass(&plane, &Ask::read());
    assert_eq!(gate.now_reads(&plane, &token), denied);
    plane.change("/v1/policies/withdraw", json!({}));
    assert_eq!(gate.now_reads(&plane, &token), Ok(()));
}

#[test]
fn an_envoy_that_is_silent_since_it_got_the_policy_holds_it() {
    let plane = with_canary();
    let (_, there) = positions(&plane);
    // One that was lost before, one that was there.
    report(&plane, "canary", "gone", &format!("{there} 5 0"));
    plane.pass(60);
    report(&plane, "canary", "a1", &format!("{there} 5 0"));
    plane.pass(2);
    plane.change("/v1/policies", json!({ "content": stricter(), "cohort": "canary" }));
    plane.pass(2);
    let (here, _) = positions(&plane);
    held(&plane, "no Envoy of the cohort has reported");
    held(&plane, "it is not enforced by 1 of the cohort, as far as is known: /a1");
    report(&plane, "prod", "b1", &format!("{there} 1000 0"));
    report(&plane, "canary", "a2", &format!("{here} 200 0"));
    held(&plane, "it is not enforced by 1 of the cohort, as far as is known: /a1");
    // The twin: it has it. Then the policy kills the other, and until it is back that holds.
    report(&plane, "canary", "a1", &format!("{here} 0 0"));
    assert_eq!(canary(&plane)["held"], json!([]));
    plane.pass(60);
    report(&plane, "canary", "a1", &format!("{here} 0 0"));
    held(&plane, "as far as is known: /a2");
    report(&plane, "canary", "a2", &format!("{here} 200 0"));
    assert_eq!(promote(&plane).status, 200);
}

#[test]
fn a_control_plane_that_has_just_started_promotes_nothing_by_itself() {
    let (mut plane, here, there) = trying();
    plane.stop();
    plane.start();
    let speak = |plane: &Plane| {
        report(plane, "prod", "b1", &format!("{there} 1000 0"));
        report(plane, "canary", "a1", &format!("{here} 200 0"));
    };
    speak(&plane);
    held(&plane, "runs too short a time to have heard of every Envoy: 27 s more");
    plane.pass(26);
    speak(&plane);
    held(&plane, "1 s more");
    // The twins: later, and whoever says so.
    plane.pass(1);
    assert_eq!(canary(&plane)["held"], json!([]));
    plane.stop();
    plane.start();
    speak(&plane);
    held(&plane, "27 s more");
    plane.change("/v1/policies/promote", json!({ "despite_denials": true }));
}

#[test]
fn what_is_tried_in_another_cohort_moves_no_mark() {
    let plane = with_canary();
    plane.change("/v1/cohorts", json!({ "name": "early" }));
    let (_, there) = positions(&plane);
    report(&plane, "prod", "b1", &format!("{there} 100 0"));
    let publish = |cohort: &str| {
        plane.change("/v1/policies", json!({ "content": stricter(), "cohort": cohort }));
    };
    let elsewhere = || canary(&plane)["elsewhere"]["allowed"].clone();
    publish("canary");
    report(&plane, "prod", "b1", &format!("{there} 150 0"));
    assert_eq!(elsewhere(), 50);
    publish("early");
    report(&plane, "prod", "b1", &format!("{there} 160 0"));
    assert_eq!(elsewhere(), 60);
    // Its own does, where it is done: one that is refused does nothing.
    let wrong = json!({ "content": "no policy", "cohort": "canary" });
    assert_eq!(plane.change_as(&plane.admin, "/v1/policies", wrong).status, 400);
    assert_eq!(elsewhere(), 60);
    publish("canary");
    assert_eq!(elsewhere(), 0);
}

#[test]
fn what_was_counted_under_no_policy_of_ours_is_not_counted() {
    let (plane, here, there) = trying();
    report(&plane, "prod", "b1", &format!("{there} 1000 0"));
    let (epoch, sequence) = here.split_once('.').unwrap();
    let (epoch, sequence): (u64, u64) = (epoch.parse().unwrap(), sequence.parse().unwrap());
    for never in [
        format!("{epoch}.{}", sequence + 1),
        format!("{epoch}.{}", u64::MAX),
        format!("{}.{sequence}", epoch + 1),
        format!("{}.{}", epoch - 1, u64::MAX),
    ] {
        report(&plane, "canary", "a1", &format!("{never} 500 0"));
        held(&plane, "0 decisions");
    }
    report(&plane, "canary", "a1", &format!("{here} 500 0"));
    assert_eq!(promote(&plane).status, 200);
}
