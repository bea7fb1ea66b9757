//! One agent acts for another (RFC 8693): who it says acts, and what ends it.

use gatepass_engine::Code;
use serde_json::json;

use crate::kit::{Agent, Ask, Follower, Plane, claims};

/// Alice's A has a gatepass that Bob's B exchanged; both gatepasses.
fn delegated(plane: &Plane) -> (Agent, Agent, String, String) {
    plane.blueprint("reader", json!({ "entries": [{ "actions": ["orders:read"] }] }));
    let a = plane.agent(1);
    let b = plane.agent_of(2, "reader", "user:corp/bob", "p2");
    let parent = a.gatepass(plane, &Ask::read());
    let child = b.gatepass(plane, &Ask::exchange(&parent, json!({ "actions": ["orders:read"] })));
    (a, b, parent, child)
}

#[test]
fn the_child_says_who_acts_for_whom() {
    let plane = Plane::furnished();
    let (a, b, parent, child) = delegated(&plane);
    let (parent, held) = (claims(&parent), claims(&child));
    assert_eq!(held["sub"], a.id);
    assert_eq!(held["client_id"], b.id);
    assert_eq!((&held["owner"], &held["blueprint"]), (&json!("user:corp/bob"), &json!("reader")));
    let actor = json!({
        "sub": b.id, "owner": "user:corp/bob", "blueprint": "reader",
        "act": { "sub": a.id, "owner": "user:corp/alice", "blueprint": "buyer" },
    });
    assert_eq!(held["act"], actor);
    assert_eq!(held["anc"], json!([parent["jti"]]));
    assert_eq!(held["txn"], parent["txn"]);
    assert_eq!(Follower::of(&plane).reads(&child), Ok(()));
}

#[test]
fn whatever_stops_either_stops_the_child() {
    type Stop = fn(&Plane, &Agent, &Agent, &str);
    let stops: [(&str, Stop, Code); 11] = [
        (
            "suspend A",
            |p, a, _, _| {
                p.change(&format!("/v1/agents/{}/suspend", a.id), json!({}));
            },
            Code::RevokedAgent,
        ),
        (
            "suspend B",
            |p, _, b, _| {
                p.change(&format!("/v1/agents/{}/suspend", b.id), json!({}));
            },
            Code::RevokedAgent,
        ),
        (
            "retire A",
            |p, a, _, _| {
                p.change(&format!("/v1/agents/{}/retire", a.id), json!({}));
            },
            Code::RevokedAgent,
        ),
        (
            "revoke the parent",
            |p, _, _, parent| {
                let id = claims(parent)["jti"].clone();
                p.change("/v1/revocations", json!({ "kind": "credential", "id": id }));
            },
            Code::RevokedAncestor,
        ),
        (
            "A gives the parent back",
            |p, a, _, parent| {
                let given = Ask::default().with("token", parent);
                assert_eq!(a.post(p, "/oauth2/revoke", &given).status, 200);
            },
            Code::RevokedAncestor,
        ),
        (
            "A completes the task",
            |p, a, _, parent| {
                let task = claims(parent)["txn"].as_str().unwrap().to_owned();
                let done = a.post(p, "/v1/tasks/complete", &Ask::default().with("task", &task));
                assert_eq!(done.status, 200);
            },
            Code::RevokedTask,
        ),
        (
            "revoke A's owner",
            |p, _, _, _| {
                p.change("/v1/revocations", json!({ "kind": "owner", "id": "user:corp/alice" }));
            },
            Code::RevokedOwner,
        ),
        (
            "revoke B's owner",
            |p, _, _, _| {
                p.change("/v1/revocations", json!({ "kind": "owner", "id": "user:corp/bob" }));
            },
            Code::RevokedOwner,
        ),
        (
            "disable A's blueprint",
            |p, _, _, _| {
                p.change("/v1/blueprints/buyer/disable", json!({}));
            },
            Code::RevokedBlueprint,
        ),
        (
            "disable B's blueprint",
            |p, _, _, _| {
                p.change("/v1/blueprints/reader/disable", json!({}));
            },
            Code::RevokedBlueprint,
        ),
        (
            "stop everything",
            |p, _, _, _| {
                p.change("/v1/stop", json!({}));
            },
            Code::RevokedBlueprint,
        ),
    ];
    for (what, stop, code) in stops {
        let plane = Plane::furnished();
        let (a, b, parent, child) = delegated(&plane);
        let mut gate = Follower::of(&plane);
        assert_eq!(gate.reads(&child), Ok(()), "{what}");
        stop(&plane, &a, &b, &parent);
        assert_eq!(gate.now_reads(&plane, &child), Err(code), "{what}");
        let given = Ask::default().with("token", &child);
        let asked = b.post(&plane, "/oauth2/introspect", &given).json();
        assert_eq!(asked, json!({ "active": false }), "{what}");
    }
}

#[test]
fn the_owner_of_the_parent_leaves_and_the_child_is_dead() {
    let plane = Plane::furnished();
    let (.., child) = delegated(&plane);
    plane.change("/v1/people/user%3Acorp%2Falice/end", json!({}));
    assert_eq!(Follower::of(&plane).reads(&child), Err(Code::RevokedOwner));
}

#[test]
fn what_is_dead_is_exchanged_no_more() {
    type Stop = fn(&Plane, &Agent, &str);
    let stops: [(&str, Stop); 5] = [
        ("suspended", |p, a, _| {
            p.change(&format!("/v1/agents/{}/suspend", a.id), json!({}));
        }),
        ("given back", |p, a, parent| {
            assert_eq!(
                a.post(p, "/oauth2/revoke", &Ask::default().with("token", parent)).status,
                200
            );
        }),
        ("completed", |p, a, parent| {
            let task = claims(parent)["txn"].as_str().unwrap().to_owned();
            a.post(p, "/v1/tasks/complete", &Ask::default().with("task", &task));
        }),
        ("expired", |p, _, _| p.pass(301)),
        ("reactivated", |p, a, _| {
            p.change(&format!("/v1/agents/{}/suspend", a.id), json!({}));
            p.change(&format!("/v1/agents/{}/activate", a.id), json!({}));
        }),
    ];
    for (what, stop) in stops {
        let plane = Plane::furnished();
        let (a, b, parent, _) = delegated(&plane);
        stop(&plane, &a, &parent);
        let ask = Ask::exchange(&parent, json!({ "actions": ["orders:read"] }));
        assert_eq!(b.refused(&plane, &ask), "invalid_grant", "{what}");
    }
}

#[test]
fn the_task_of_a_delegation_is_not_the_childs_to_end_or_to_choose() {
    let plane = Plane::furnished();
    let (_, b, parent, child) = delegated(&plane);
    let task = claims(&parent)["txn"].as_str().unwrap().to_owned();
    let done = b.post(&plane, "/v1/tasks/complete", &Ask::default().with("task", &task));
    assert_eq!(done.status, 400);
    let own = b.task(&plane);
    let ask = Ask::exchange(&parent, json!({ "actions": ["orders:read"] }));
    assert_eq!(b.refused(&plane, &ask.clone().with("task", &own)), "invalid_request");
    b.gatepass(&plane, &ask.with("task", &task));
    // Nor can it issue itself more under the task of another.
    assert_eq!(b.refused(&plane, &Ask::read().with("task", &task)), "invalid_request");
    assert_eq!(Follower::of(&plane).reads(&child), Ok(()));
}
