//! Each stop reaches what it should, at a gate that follows the feed, and nothing that returns
//! brings an old gatepass back.

use gatepass_engine::Code;
use serde_json::json;

use crate::kit::{Ask, Follower, Plane, claims, post};

#[test]
fn a_suspended_agent_is_stopped_and_reactivation_revives_nothing() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let old = agent.gatepass(&plane, &Ask::read());
    let mut gate = Follower::of(&plane);
    assert_eq!(gate.reads(&old), Ok(()));
    plane.change(&format!("/v1/agents/{}/suspend", agent.id), json!({}));
    assert_eq!(gate.now_reads(&plane, &old), Err(Code::RevokedAgent));
    assert_eq!(agent.refused(&plane, &Ask::read()), "unauthorized_client");
    plane.change(&format!("/v1/agents/{}/activate", agent.id), json!({}));
    assert_eq!(gate.now_reads(&plane, &old), Err(Code::RevokedAgent));
    let new = agent.gatepass(&plane, &Ask::read());
    assert_eq!(gate.now_reads(&plane, &new), Ok(()));
}

#[test]
fn a_retired_agent_is_so_for_good() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let old = agent.gatepass(&plane, &Ask::read());
    plane.change(&format!("/v1/agents/{}/retire", agent.id), json!({}));
    assert_eq!(Follower::of(&plane).reads(&old), Err(Code::RevokedAgent));
    assert_eq!(agent.refused(&plane, &Ask::read()), "unauthorized_client");
    for what in ["activate", "suspend", "retire"] {
        let answer =
            plane.change_as(&plane.admin, &format!("/v1/agents/{}/{what}", agent.id), json!({}));
        assert_eq!(answer.status, 409, "{what}: {}", answer.text());
    }
    let owner = json!({ "owner": "user:corp/bob" });
    let path = format!("/v1/agents/{}/owner", agent.id);
    assert_eq!(plane.change_as(&plane.admin, &path, owner).status, 409);
    assert_eq!(plane.state_of(&agent.id), "retired");
}

#[test]
fn a_disabled_blueprint_stops_all_its_agents() {
    let plane = Plane::furnished();
    plane.blueprint("reader", json!({ "entries": [{ "actions": ["orders:read"] }] }));
    let (one, two) = (plane.agent(1), plane.agent(2));
    let other = plane.agent_of(3, "reader", "user:corp/alice", "p1");
    let old: Vec<String> =
        [&one, &two, &other].iter().map(|agent| agent.gatepass(&plane, &Ask::read())).collect();
    plane.change("/v1/blueprints/buyer/disable", json!({}));
    let mut gate = Follower::of(&plane);
    assert_eq!(gate.reads(&old[0]), Err(Code::RevokedBlueprint));
    assert_eq!(gate.reads(&old[1]), Err(Code::RevokedBlueprint));
    assert_eq!(gate.reads(&old[2]), Ok(()), "of another blueprint");
    assert_eq!(one.refused(&plane, &Ask::read()), "unauthorized_client");
    // Nobody is let in under it either.
    let staged = plane.change(
        "/v1/agents",
        crate::kit::registration(plane.now(), 4, "buyer", "user:corp/alice", "p1"),
    );
    let path = format!("/v1/agents/{}/activate", staged["result"]["id"].as_str().unwrap());
    assert_eq!(plane.change_as(&plane.admin, &path, json!({})).status, 409);
    plane.change("/v1/blueprints/buyer/enable", json!({}));
    assert_eq!(gate.now_reads(&plane, &old[0]), Err(Code::RevokedBlueprint));
    let new = one.gatepass(&plane, &Ask::read());
    assert_eq!(gate.now_reads(&plane, &new), Ok(()));
}

#[test]
fn a_new_ceiling_ends_what_was_issued_under_the_old_one() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let old = agent.gatepass(&plane, &Ask::read());
    let list = json!({ "entries": [{ "actions": ["orders:list"] }] });
    plane.change("/v1/blueprints/buyer/ceiling", json!({ "ceiling": list }));
    assert_eq!(Follower::of(&plane).reads(&old), Err(Code::RevokedBlueprint));
    assert_eq!(agent.refused(&plane, &Ask::read()), "invalid_authorization_details");
    agent.gatepass(&plane, &Ask::actions(&["orders:list"]));
}

#[test]
fn stopping_everything_kills_all_and_closes_issuance() {
    let plane = Plane::furnished();
    plane.blueprint("reader", json!({ "entries": [{ "actions": ["orders:read"] }] }));
    let one = plane.agent(1);
    let two = plane.agent_of(2, "reader", "user:corp/bob", "p2");
    let old = [one.gatepass(&plane, &Ask::read()), two.gatepass(&plane, &Ask::read())];
    plane.change("/v1/stop", json!({}));
    let mut gate = Follower::of(&plane);
    for token in &old {
        assert_eq!(gate.reads(token), Err(Code::RevokedBlueprint));
    }
    assert_eq!(one.refused(&plane, &Ask::read()), "temporarily_unavailable");
    plane.change("/v1/open", json!({}));
    assert_eq!(gate.now_reads(&plane, &old[0]), Err(Code::RevokedBlueprint));
    let new = one.gatepass(&plane, &Ask::read());
    assert_eq!(gate.now_reads(&plane, &new), Ok(()));
}

#[test]
fn a_completed_task_ends_what_was_issued_under_it() {
    let plane = Plane::furnished();
    let (agent, other) = (plane.agent(1), plane.agent(2));
    let (task, kept) = (agent.task(&plane), agent.task(&plane));
    let under = |task: &str| agent.gatepass(&plane, &Ask::read().with("task", task));
    let (ended, alive) = (under(&task), under(&kept));
    // Not by somebody else.
    let named = Ask::default().with("task", &task);
    let answer = other.post(&plane, "/v1/tasks/complete", &named);
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")));
    let mut gate = Follower::of(&plane);
    assert_eq!(gate.reads(&ended), Ok(()));
    assert_eq!(agent.post(&plane, "/v1/tasks/complete", &named).status, 200);
    assert_eq!(gate.now_reads(&plane, &ended), Err(Code::RevokedTask));
    assert_eq!(gate.reads(&alive), Ok(()));
    // Again: nothing more. And nothing under it.
    assert_eq!(agent.post(&plane, "/v1/tasks/complete", &named).status, 200);
    assert_eq!(agent.refused(&plane, &Ask::read().with("task", &task)), "invalid_request");
    // An operator ends one too.
    plane.change(&format!("/v1/tasks/{kept}/end"), json!({}));
    assert_eq!(gate.now_reads(&plane, &alive), Err(Code::RevokedTask));
}

#[test]
fn an_agent_gives_back_its_own_gatepass_and_no_other() {
    let plane = Plane::furnished();
    let (agent, other) = (plane.agent(1), plane.agent(2));
    let token = agent.gatepass(&plane, &Ask::read());
    let twin = agent.gatepass(&plane, &Ask::read());
    let given = Ask::default().with("token", &token);
    let before = plane.standing();
    assert_eq!(other.post(&plane, "/oauth2/revoke", &given).status, 200);
    assert_eq!(plane.standing(), before, "another's token is passed over without a word");
    assert_eq!(
        other.post(&plane, "/oauth2/revoke", &Ask::default().with("token", "x")).status,
        200
    );
    assert_eq!(post(&plane, "/oauth2/revoke", &given).status, 401);
    let mut gate = Follower::of(&plane);
    assert_eq!(gate.reads(&token), Ok(()));
    assert_eq!(agent.post(&plane, "/oauth2/revoke", &given).status, 200);
    assert_eq!(gate.now_reads(&plane, &token), Err(Code::RevokedCredential));
    assert_eq!(gate.reads(&twin), Ok(()));
    let asked = agent.post(&plane, "/oauth2/introspect", &given).json();
    assert_eq!(asked, json!({ "active": false }));
    let asked =
        agent.post(&plane, "/oauth2/introspect", &Ask::default().with("token", &twin)).json();
    assert_eq!((&asked["active"], &asked["client_id"]), (&json!(true), &json!(agent.id)));
}

#[test]
fn a_removed_key_ends_what_it_was_used_to_get_and_is_of_no_more_use() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let token = agent.gatepass(&plane, &Ask::read());
    let second = json!({ "key": crate::kit::key_of(9) });
    plane.change(&format!("/v1/agents/{}/keys", agent.id), second.clone());
    // While the keys of the first request are still known.
    crate::kit::Agent::new(&agent.id, 9).gatepass(&plane, &Ask::read());
    let dossier = plane.get(&format!("/v1/agents/{}", agent.id));
    let x = crate::kit::key_of(1)["x"].clone();
    let is_first =
        |key: &&serde_json::Value| key["jwk"].as_str().unwrap().contains(x.as_str().unwrap());
    let keys = dossier["keys"].as_array().unwrap();
    let thumbprint = keys.iter().find(is_first).unwrap()["thumbprint"].as_str().unwrap();
    plane.change(&format!("/v1/agents/{}/keys/{thumbprint}/remove", agent.id), json!({}));
    assert_eq!(Follower::of(&plane).reads(&token), Err(Code::RevokedAgent));
    assert_eq!(agent.refused(&plane, &Ask::read()), "invalid_client");
    crate::kit::Agent::new(&agent.id, 9).gatepass(&plane, &Ask::read());
    // A key speaks for one agent, ever: not again for this one, and not for another.
    let path = format!("/v1/agents/{}/keys", plane.agent(2).id);
    assert_eq!(plane.change_as(&plane.admin, &path, second).status, 409);
    let path = format!("/v1/agents/{}/keys", agent.id);
    let first = json!({ "key": crate::kit::key_of(1) });
    assert_eq!(plane.change_as(&plane.admin, &path, first).status, 409);
}

#[test]
fn every_kind_of_revocation_reaches_the_gate() {
    for (kind, code) in [
        ("credential", Code::RevokedCredential),
        ("task", Code::RevokedTask),
        ("agent", Code::RevokedAgent),
        ("owner", Code::RevokedOwner),
        ("blueprint", Code::RevokedBlueprint),
        ("subject", Code::RevokedSubject),
    ] {
        let plane = Plane::furnished();
        let agent = plane.agent(1);
        let token = agent.gatepass(&plane, &Ask::read());
        let held = claims(&token);
        let member = match kind {
            "credential" => "jti",
            "task" => "txn",
            "agent" => "client_id",
            "owner" => "owner",
            "blueprint" => "blueprint",
            _ => "sub",
        };
        plane.change("/v1/revocations", json!({ "kind": kind, "id": held[member] }));
        assert_eq!(Follower::of(&plane).reads(&token), Err(code), "{kind}");
        let given = Ask::default().with("token", &token);
        let asked = agent.post(&plane, "/oauth2/introspect", &given).json();
        assert_eq!(asked, json!({ "active": false }), "{kind}");
    }
}

#[test]
fn a_revocation_outlives_what_it_kills_though_the_clock_goes_back() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let mut gate = Follower::of(&plane);
    plane.pass(7200);
    let token = agent.gatepass(&plane, &Ask::read().with("lifetime", "1800"));
    assert_eq!(gate.now_reads(&plane, &token), Ok(()));
    plane.set_clock(plane.now() - 7200);
    plane.change(&format!("/v1/agents/{}/suspend", agent.id), json!({}));
    plane.set_clock(plane.now() + 7200);
    assert_eq!(gate.now_reads(&plane, &token), Err(Code::RevokedAgent));
    assert_eq!(Follower::of(&plane).reads(&token), Err(Code::RevokedAgent));
}
