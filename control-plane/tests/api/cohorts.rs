//! Cohorts: each is told in its own name, has a policy before all others where somebody says so, and
//! is stopped with all others at the same position.

use gatepass_engine::batch::Feed;
use gatepass_engine::refusal::RefusalCode;
use gatepass_engine::{Code, Position};
use serde_json::{Value, json};

use crate::kit::{Ask, Follower, POLICY, Plan, Plane, poll, poll_of};

/// Reading an order takes a scope that nobody has asked for.
pub(crate) fn stricter() -> String {
    let strict = POLICY.replace(
        "orders:read:\n    risk: low",
        "orders:read:\n    risk: low\n    scopes: {all: [x]}",
    );
    assert_ne!(strict, POLICY);
    strict
}

pub(crate) fn with_canary() -> Plane {
    let plane = Plane::furnished();
    // For long enough to have heard of every Envoy.
    plane.pass(30);
    plane.change("/v1/cohorts", json!({ "name": "canary" }));
    plane
}

fn publish(plane: &Plane, policy: &str) -> Value {
    plane.change("/v1/policies", json!({ "content": policy, "cohort": "canary" }))
}

/// What is known of the cohort `canary`.
pub(crate) fn canary(plane: &Plane) -> Value {
    let all = plane.get("/v1/cohorts");
    all.as_array().unwrap().iter().find(|cohort| cohort["name"] == "canary").unwrap().clone()
}

#[test]
fn a_cohort_has_a_policy_before_all_others_until_it_is_promoted() {
    let plane = with_canary();
    let agent = plane.agent(1);
    let token = agent.gatepass(&plane, &Ask::read());
    let mut main = Follower::of(&plane);
    let mut canary = Follower::of_audience(&plane, "canary");
    assert_eq!((main.reads(&token), canary.reads(&token)), (Ok(()), Ok(())));
    let done = publish(&plane, &stricter());
    assert_eq!(done["result"]["version"], 2);
    assert_eq!(main.now_reads(&plane, &token), Ok(()));
    assert_eq!(canary.now_reads(&plane, &token), Err(Code::InsufficientScope));
    assert_eq!(main.position(), canary.position(), "all pass the same positions");
    // Also whoever comes anew.
    assert_eq!(Follower::of(&plane).reads(&token), Ok(()));
    let fresh = Follower::of_audience(&plane, "canary");
    assert_eq!(fresh.reads(&token), Err(Code::InsufficientScope));
    assert_eq!(plane.get("/v1/policies/current")["version"], 1, "the policy of all");

    let done = plane.change("/v1/policies/promote", json!({ "despite_denials": true }));
    assert_eq!(done["result"]["version"], 2, "the very version, and not another");
    assert_eq!(main.now_reads(&plane, &token), Err(Code::InsufficientScope));
    assert_eq!(canary.now_reads(&plane, &token), Err(Code::InsufficientScope));
    assert_eq!(main.position(), canary.position());
    assert_eq!(plane.get("/v1/policies/current")["version"], 2);
    // From now on it has what all have.
    plane.change("/v1/policies", json!({ "content": POLICY }));
    assert_eq!(main.now_reads(&plane, &token), Ok(()));
    assert_eq!(canary.now_reads(&plane, &token), Ok(()));
}

#[test]
fn what_is_withdrawn_is_gone_from_the_cohort_at_a_newer_position() {
    let plane = with_canary();
    let token = plane.agent(1).gatepass(&plane, &Ask::read());
    let mut main = Follower::of(&plane);
    let mut canary = Follower::of_audience(&plane, "canary");
    let start = canary.position();
    publish(&plane, &stricter());
    let told = poll_of(&plane, "canary", Some(start), &[]);
    let tried = Feed::decode(&told.body).unwrap().batches[0].to_vec();
    assert_eq!(canary.now_reads(&plane, &token), Err(Code::InsufficientScope));
    let there = canary.position();
    plane.change("/v1/policies/withdraw", json!({}));
    assert_eq!(canary.now_reads(&plane, &token), Ok(()));
    assert!(canary.position() > there, "forward, and not back");
    assert_eq!(main.now_reads(&plane, &token), Ok(()));
    // Heard again, it takes nobody back.
    let there = canary.position();
    canary.hear(&tried);
    assert_eq!((canary.position(), canary.reads(&token)), (there, Ok(())));
    assert_eq!(crate::cohorts::canary(&plane)["is_canary"], false);
    // Promoting what is not there any more is refused, as is withdrawing it again.
    for path in ["/v1/policies/promote", "/v1/policies/withdraw"] {
        let answer = plane.change_as(&plane.admin, path, json!({ "cohort": "canary" }));
        assert_eq!(answer.status, 409, "{}", answer.text());
    }
}

#[test]
fn what_is_revoked_is_revoked_for_every_audience_at_the_same_position() {
    let mut plane = with_canary();
    plane.change("/v1/cohorts", json!({ "name": "early" }));
    // Another policy, under which the gatepass is as good.
    publish(&plane, &POLICY.replace("risk: medium", "risk: low"));
    let mut gates = ["prod", "canary", "early"].map(|name| Follower::of_audience(&plane, name));
    for (number, (path, code)) in [
        ("/v1/agents/{agent}/suspend", Code::RevokedAgent),
        ("/v1/agents/{agent}/retire", Code::RevokedAgent),
        ("/v1/agents/suspend", Code::RevokedAgent),
        ("/v1/blueprints/buyer/ceiling", Code::RevokedBlueprint),
        ("/v1/revocations", Code::RevokedTask),
        ("/v1/people/user%3Acorp%2Falice/end", Code::RevokedOwner),
        ("/v1/stop", Code::RevokedBlueprint),
    ]
    .into_iter()
    .enumerate()
    {
        let seed = u8::try_from(number + 1).unwrap();
        let owner = if code == Code::RevokedOwner { "user:corp/alice" } else { "user:corp/bob" };
        let agent = plane.agent_of(seed, "buyer", owner, "p2");
        let task = agent.task(&plane);
        let token = agent.gatepass(&plane, &Ask::read().with("task", &task));
        for gate in &mut gates {
            assert_eq!(gate.now_reads(&plane, &token), Ok(()), "{path}");
        }
        let body = match path {
            "/v1/agents/suspend" => json!({ "project": "p2" }),
            "/v1/revocations" => json!({ "kind": "task", "id": task }),
            path if path.ends_with("ceiling") => json!({ "ceiling": crate::kit::ceiling() }),
            _ => json!({}),
        };
        let done = plane.change(&path.replace("{agent}", &agent.id), body);
        let at: Position = done["position"].as_str().unwrap().parse().unwrap();
        for gate in &mut gates {
            assert_eq!(gate.now_reads(&plane, &token), Err(code), "{path}");
            assert_eq!(gate.position(), at, "{path}");
        }
        // Also who comes anew, and after a start from what is on the disk.
        for name in ["canary", "early"] {
            let fresh = Follower::of_audience(&plane, name);
            assert_eq!(fresh.reads(&token), Err(code), "{path}");
        }
        if number % 3 == 1 {
            plane.stop();
            plane.start();
        }
    }
}

#[test]
fn a_step_carries_the_same_revocations_to_all_and_a_bundle_only_where_it_changed() {
    let plane = with_canary();
    let here = Follower::of(&plane).position();
    plane.change("/v1/revocations", json!({ "kind": "credential", "id": "j1" }));
    publish(&plane, &stricter());
    let told = |audience| {
        let answer = poll_of(&plane, audience, Some(here), &[]);
        let feed = Feed::decode(&answer.body).unwrap();
        let read = |bytes: &[u8]| {
            let opened = gatepass_engine::envelope::Unverified::from_postcard(bytes).unwrap();
            let batch = gatepass_engine::batch::Batch::decode(opened.unverified_payload()).unwrap();
            let header = &batch.header;
            let positions = (header.from, header.to, header.feed_audience.clone());
            (positions, batch.revocations.map(<[u8]>::to_vec), batch.bundle.is_some())
        };
        feed.batches.iter().map(|batch| read(batch)).collect::<Vec<_>>()
    };
    let (main, canary) = (told("prod"), told("canary"));
    assert_eq!((main.len(), canary.len()), (3, 3), "two deltas and a checkpoint");
    for (one, other) in main.iter().zip(&canary) {
        assert_eq!((one.0.0, one.0.1), (other.0.0, other.0.1));
        assert_eq!((one.0.2.as_str(), other.0.2.as_str()), ("prod", "canary"));
        assert_eq!(one.1, other.1);
    }
    assert!(main[0].1.is_some());
    assert_eq!(main.iter().map(|told| told.2).collect::<Vec<_>>(), [false, false, false]);
    assert_eq!(canary.iter().map(|told| told.2).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn a_gate_refuses_what_is_signed_for_another_audience() {
    let plane = with_canary();
    let token = plane.agent(1).gatepass(&plane, &Ask::read());
    let mut main = Follower::of(&plane);
    let mut canary = Follower::of_audience(&plane, "canary");
    let here = main.position();
    publish(&plane, &stricter());
    for after in [Some(here), None] {
        let for_canary = poll_of(&plane, "canary", after, &[]);
        for batch in &Feed::decode(&for_canary.body).unwrap().batches {
            assert_eq!(main.refuses_batch(batch), Some(RefusalCode::WrongAudience));
        }
        let for_main = poll(&plane, after, &[]);
        for batch in &Feed::decode(&for_main.body).unwrap().batches {
            assert_eq!(canary.refuses_batch(batch), Some(RefusalCode::WrongAudience));
        }
    }
    assert_eq!(main.position(), here);
    // The twin: each takes its own.
    assert_eq!(main.now_reads(&plane, &token), Ok(()));
    assert_eq!(canary.now_reads(&plane, &token), Err(Code::InsufficientScope));
}

#[test]
fn nothing_is_put_in_force_for_all_while_a_cohort_tries_a_policy() {
    let plane = with_canary();
    plane.change("/v1/policies", json!({ "content": POLICY }));
    publish(&plane, &stricter());
    let before = plane.standing();
    for (path, body) in
        [("/v1/policies", json!({ "content": POLICY })), ("/v1/policies/1/rollback", json!({}))]
    {
        let answer = plane.change_as(&plane.admin, path, body);
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert!(answer.text().contains("gatepass policy promote --cohort canary"));
        assert!(answer.text().contains("gatepass policy withdraw --cohort canary"));
    }
    assert_eq!(plane.standing(), before);
    // A newer try takes the place of the one before; and its twin once it is withdrawn.
    publish(&plane, &stricter());
    plane.change("/v1/policies/withdraw", json!({ "cohort": "canary" }));
    plane.change("/v1/policies/1/rollback", json!({}));
}

#[test]
fn of_two_that_try_different_policies_none_is_promoted_over_the_other() {
    let plane = with_canary();
    plane.change("/v1/cohorts", json!({ "name": "early" }));
    publish(&plane, &stricter());
    plane.change("/v1/policies", json!({ "content": POLICY, "cohort": "early" }));
    let ask = |cohort: Option<&str>| {
        let mut body = json!({ "despite_denials": true });
        if let Some(cohort) = cohort {
            body["cohort"] = cohort.into();
        }
        plane.change_as(&plane.admin, "/v1/policies/promote", body)
    };
    assert_eq!(ask(None).status, 400, "which of them");
    let answer = ask(Some("canary"));
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("`early` tries another version, 3"), "{}", answer.text());
    // The twin: both try the same.
    plane.change("/v1/policies", json!({ "content": stricter(), "cohort": "early" }));
    let mut early = Follower::of_audience(&plane, "early");
    let token = plane.agent(1).gatepass(&plane, &Ask::read());
    assert_eq!(ask(Some("canary")).status, 200);
    assert_eq!(early.now_reads(&plane, &token), Err(Code::InsufficientScope));
    assert_eq!(canary(&plane)["policy_version"], 2);
}

#[test]
fn names_are_checked_and_there_are_sixteen_at_most() {
    let plane = Plane::new();
    let add = |name: &str| {
        let answer = plane.change_as(&plane.admin, "/v1/cohorts", json!({ "name": name }));
        (answer.status, answer.text())
    };
    let long = "a".repeat(65);
    for wrong in ["", "Canary", "a b", "a.b", "prod", long.as_str(), "ca\u{301}"] {
        assert_eq!(add(wrong).0, 400, "{wrong}");
    }
    for number in 0..16 {
        assert_eq!(add(&format!("c-{number}")).0, 200);
    }
    assert_eq!(add("c-0").0, 409, "twice");
    let (status, text) = add("one-more");
    assert_eq!(status, 409);
    assert!(text.contains("16 cohorts"), "{text}");
    plane.pass(30);
    plane.change("/v1/cohorts/c-3/remove", json!({}));
    assert_eq!(add("one-more").0, 200);
    assert_eq!(plane.get("/v1/cohorts").as_array().unwrap().len(), 16);
    let unknown = json!({ "content": POLICY, "cohort": "nowhere" });
    assert_eq!(plane.change_as(&plane.admin, "/v1/policies", unknown).status, 404);
    // A policy to go back to comes first.
    let first = json!({ "content": POLICY, "cohort": "c-0" });
    assert_eq!(plane.change_as(&plane.admin, "/v1/policies", first.clone()).status, 409);
    plane.change("/v1/policies", json!({ "content": POLICY }));
    plane.change("/v1/policies", first);
}

#[test]
fn nothing_is_said_to_a_cohort_that_was_removed_and_one_of_its_name_is_another() {
    let mut plane = with_canary();
    let token = plane.agent(1).gatepass(&plane, &Ask::read());
    publish(&plane, &stricter());
    let mut canary = Follower::of_audience(&plane, "canary");
    let remove = |plane: &Plane, despite: bool| {
        let body = json!({ "despite_followers": despite });
        plane.change_as(&plane.admin, "/v1/cohorts/canary/remove", body)
    };
    assert_eq!(remove(&plane, true).status, 409, "it tries a policy");
    plane.change("/v1/policies/withdraw", json!({}));
    let answer = remove(&plane, false);
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("follow it"), "{}", answer.text());
    plane.pass(60);
    // Nobody knows who follows it when the control plane has just started.
    plane.stop();
    plane.start();
    let answer = remove(&plane, false);
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("runs too short a time"), "{}", answer.text());
    plane.pass(26);
    assert_eq!(remove(&plane, false).status, 409);
    // The twin: nobody has asked for it for a while.
    plane.pass(1);
    assert_eq!(remove(&plane, false).status, 200);
    assert_eq!(poll_of(&plane, "canary", Some(canary.position()), &[]).status, 400);
    assert_eq!(poll_of(&plane, "canary", None, &[]).status, 400);
    assert_eq!(poll(&plane, None, &[]).status, 200);
    plane.change("/v1/cohorts", json!({ "name": "canary" }));
    // It had the stricter one and slept since: what it hears is the policy of all.
    assert_eq!(canary.reads(&token), Err(Code::InsufficientScope));
    assert_eq!(canary.now_reads(&plane, &token), Ok(()));
    assert_eq!(remove(&plane, true).status, 200, "though it follows");
}

#[test]
fn a_restart_and_a_restore_keep_cohorts_and_what_they_try() {
    let mut plane = with_canary();
    let agent = plane.agent(1);
    let token = agent.gatepass(&plane, &Ask::read());
    publish(&plane, &stricter());
    let mut main = Follower::of(&plane);
    let mut canary = Follower::of_audience(&plane, "canary");
    plane.stop();
    plane.start();
    plane.change("/v1/revocations", json!({ "kind": "credential", "id": "j1" }));
    // Deltas join on over the restart.
    let told = poll_of(&plane, "canary", Some(canary.position()), &[]);
    assert_eq!(Feed::decode(&told.body).unwrap().batches.len(), 2, "a delta and a checkpoint");
    assert_eq!(canary.now_reads(&plane, &token), Err(Code::InsufficientScope));
    assert_eq!(main.now_reads(&plane, &token), Ok(()));
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    plane.change("/v1/policies/withdraw", json!({}));
    canary.follow(&plane);
    plane.stop();
    plane.restore(Some(&copy)).unwrap();
    plane.start();
    plane.change("/v1/open", json!({}));
    // A new epoch for all audiences.
    for gate in [&mut main, &mut canary] {
        assert_eq!(gate.now_reads(&plane, &token), Err(Code::WrongEpoch));
    }
    assert_eq!(main.position(), canary.position());
    let token = agent.gatepass(&plane, &Ask::read());
    assert_eq!(main.now_reads(&plane, &token), Ok(()));
    assert_eq!(canary.now_reads(&plane, &token), Err(Code::InsufficientScope));
    plane.change("/v1/policies/withdraw", json!({}));
    assert_eq!(canary.now_reads(&plane, &token), Ok(()));
}

#[test]
fn a_follower_of_a_cohort_that_is_ahead_gives_an_old_copy_away() {
    let plane = with_canary();
    let ahead = Position { epoch: plane.now() + 9, sequence: 1 };
    assert_eq!(poll_of(&plane, "canary", Some(ahead), &[]).status, 503);
    let closed = plane.get("/v1/environment")["issuance_closed"].clone();
    assert!(closed.as_str().unwrap().starts_with("a follower is ahead"), "{closed}");
}

#[test]
fn a_join_token_is_good_for_one_audience() {
    let plane = Plane::with(&Plan { followers: "join_token", ..Plan::default() });
    plane.furnish();
    plane.change("/v1/cohorts", json!({ "name": "canary" }));
    let joined = |cohort: Option<&str>| {
        let secret = gatepass::desk::operators::new_secret("gpj_").unwrap().to_string();
        let mut body = json!({
            "fleet": "edge", "expires_at": plane.now() + 86_400,
            "digest": gatepass::desk::operators::digest_text(&secret),
        });
        if let Some(cohort) = cohort {
            body["cohort"] = cohort.into();
        }
        (plane.change_as(&plane.admin, "/v1/join-tokens", body).status, format!("Bearer {secret}"))
    };
    let (status, of_all) = joined(None);
    assert_eq!(status, 200);
    let (status, of_canary) = joined(Some("canary"));
    assert_eq!(status, 200);
    assert_eq!(joined(Some("nowhere")).0, 404);
    for (audience, good, other) in [("prod", &of_all, &of_canary), ("canary", &of_canary, &of_all)]
    {
        let ask = |token: &str| poll_of(&plane, audience, None, &[("authorization", token)]);
        assert_eq!(ask(good).status, 200, "{audience}");
        let answer = ask(other);
        assert_eq!(answer.status, 403, "{audience}: {}", answer.text());
        assert!(answer.text().contains("good for the feed audience"));
    }
    // Two of a fleet for each audience.
    assert_eq!((joined(None).0, joined(None).0), (200, 409));
    assert_eq!((joined(Some("canary")).0, joined(Some("canary")).0), (200, 409));
    // With the cohort its tokens end, also for another of its name.
    plane.pass(60);
    plane.change("/v1/cohorts/canary/remove", json!({}));
    plane.change("/v1/cohorts", json!({ "name": "canary" }));
    let answer = poll_of(&plane, "canary", None, &[("authorization", &of_canary)]);
    assert_eq!(answer.status, 401);
    assert_eq!(poll(&plane, None, &[("authorization", &of_all)]).status, 200);
}

#[test]
fn what_is_tried_and_promoted_takes_two_and_going_back_does_not() {
    let plane = Plane::of_two();
    let second = plane.operator("second", "admin", None);
    let both = |path: &str, body: Value| {
        let answer = plane.change_as(&plane.admin, path, body);
        assert_eq!(answer.status, 202, "{path}: {}", answer.text());
        let id = answer.json()["proposal"].as_str().unwrap().to_owned();
        plane.change_as(&second, &format!("/v1/proposals/{id}/accept"), json!({})).status
    };
    assert_eq!(both("/v1/policies", json!({ "content": POLICY })), 200);
    plane.change("/v1/cohorts", json!({ "name": "canary" }));
    let try_it = json!({ "content": stricter(), "cohort": "canary" });
    assert_eq!(both("/v1/policies", try_it.clone()), 200);
    // Judged when the second agrees: nothing was seen of it.
    assert_eq!(both("/v1/policies/promote", json!({})), 409);
    plane.change("/v1/policies/withdraw", json!({}));
    assert_eq!(both("/v1/policies", try_it), 200);
    assert_eq!(both("/v1/policies/promote", json!({ "despite_denials": true })), 200);
    assert_eq!(plane.get("/v1/policies/current")["version"], 3);
}
