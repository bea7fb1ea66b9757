//! The leaver: an owner goes, and nothing that hung on them works any more.

use gatepass_engine::Code;
use serde_json::json;

use crate::kit::{Ask, Follower, Plane};

const ALICE: &str = "/v1/people/user%3Acorp%2Falice";

#[test]
fn an_owner_who_leaves_takes_their_agents_authority_with_them() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let bobs = plane.agent_of(2, "buyer", "user:corp/bob", "p1");
    let token = agent.gatepass(&plane, &Ask::read());
    let twin = bobs.gatepass(&plane, &Ask::read());
    let mut gate = Follower::of(&plane);
    assert_eq!(gate.reads(&token), Ok(()));
    plane.change(&format!("{ALICE}/end"), json!({}));
    assert_eq!(gate.now_reads(&plane, &token), Err(Code::RevokedOwner));
    assert_eq!(gate.reads(&twin), Ok(()), "of another owner");
    assert_eq!(plane.state_of(&agent.id), "orphaned");
    assert_eq!(agent.refused(&plane, &Ask::read()), "unauthorized_client");
    // Who returns gets nothing back by it.
    plane.change(&format!("{ALICE}/return"), json!({}));
    assert_eq!(plane.state_of(&agent.id), "orphaned");
    assert_eq!(gate.now_reads(&plane, &token), Err(Code::RevokedOwner));
    assert_eq!(agent.refused(&plane, &Ask::read()), "unauthorized_client");
    let activate = format!("/v1/agents/{}/activate", agent.id);
    assert_eq!(plane.change_as(&plane.admin, &activate, json!({})).status, 409);
}

#[test]
fn an_orphan_works_again_only_for_an_owner_who_accepted_and_by_a_new_decision() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let token = agent.gatepass(&plane, &Ask::read());
    let bob = plane.operator("bob", "viewer", Some("user:corp/bob"));
    let alice = plane.operator("alice", "admin", Some("user:corp/alice"));
    plane.change(&format!("{ALICE}/end"), json!({}));
    let path = |what: &str| format!("/v1/agents/{}/{what}", agent.id);
    let tried = |token: &str, what: &str| plane.change_as(token, &path(what), json!({})).status;
    assert_eq!(tried(&bob, "accept"), 409, "nobody was asked");
    plane.change(&path("owner"), json!({ "owner": "user:corp/bob" }));
    assert_eq!(tried(&plane.admin, "activate"), 409, "nobody has accepted");
    assert_eq!(tried(&plane.admin, "accept"), 403, "not their token");
    assert_eq!(tried(&alice, "accept"), 401, "a leaver's token is dead");
    assert_eq!(tried(&bob, "accept"), 200);
    assert_eq!(plane.state_of(&agent.id), "orphaned");
    assert_eq!(agent.refused(&plane, &Ask::read()), "unauthorized_client");
    assert_eq!(tried(&plane.admin, "activate"), 200);
    let new = agent.gatepass(&plane, &Ask::read());
    assert_eq!(crate::kit::claims(&new)["owner"], "user:corp/bob");
    let gate = Follower::of(&plane);
    assert_eq!(gate.reads(&new), Ok(()));
    assert_eq!(gate.reads(&token), Err(Code::RevokedAgent));
}

#[test]
fn asking_another_owner_asks_anew() {
    let plane = Plane::furnished();
    plane.change("/v1/people", json!({ "id": "user:corp/carol", "name": "c", "contact": "c" }));
    let agent = plane.agent(1);
    let bob = plane.operator("bob", "viewer", Some("user:corp/bob"));
    let path = |what: &str| format!("/v1/agents/{}/{what}", agent.id);
    plane.change(&path("owner"), json!({ "owner": "user:corp/bob" }));
    assert_eq!(plane.change_as(&bob, &path("accept"), json!({})).status, 200);
    plane.change(&path("owner"), json!({ "owner": "user:corp/carol" }));
    let activate = plane.change_as(&plane.admin, &path("activate"), json!({}));
    assert_eq!(activate.status, 409, "Carol has accepted nothing");
    assert_eq!(plane.change_as(&bob, &path("accept"), json!({})).status, 403);
    // Carol leaves before she answers: on record at the agent too.
    plane.change("/v1/people/user%3Acorp%2Fcarol/end", json!({}));
    let dossier = plane.get(&format!("/v1/agents/{}", agent.id));
    assert_eq!(dossier["agent"]["proposed_owner"], json!(null));
    assert_eq!(dossier["history"][0]["action"], "person.end");
}

#[test]
fn a_leaver_is_no_operator_any_more() {
    let plane = Plane::furnished();
    let alice = plane.operator("alice", "admin", Some("user:corp/alice"));
    let asked = |token: &str| plane.admin_as(token, "GET", "/v1/environment", &json!(null)).status;
    assert_eq!(asked(&alice), 200);
    plane.change(&format!("{ALICE}/end"), json!({}));
    assert_eq!(asked(&alice), 401);
    let again = json!({ "id": "alice2", "person": "user:corp/alice" });
    assert_eq!(plane.change_as(&plane.admin, "/v1/operators", again).status, 409);
    plane.change(&format!("{ALICE}/return"), json!({}));
    assert_eq!(asked(&alice), 200);
}

#[test]
fn somebody_can_always_administer() {
    let plane = Plane::furnished();
    let alice = plane.operator("alice", "admin", Some("user:corp/alice"));
    assert_eq!(plane.change_as(&alice, "/v1/operators/admin/end", json!({})).status, 200);
    let end = plane.change_as(&alice, &format!("{ALICE}/end"), json!({}));
    assert_eq!(end.status, 409, "{}", end.text());
    let end = plane.change_as(&alice, "/v1/operators/alice/end", json!({}));
    assert_eq!(end.status, 409, "{}", end.text());
}
