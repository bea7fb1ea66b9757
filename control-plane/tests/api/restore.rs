//! A copy comes back: nothing issued before lives, nothing that was stopped returns, and nothing
//! is issued until somebody says so. And an old copy that nobody restored gives itself away.

use gatepass_engine::refusal::RefusalCode;
use gatepass_engine::{Code, Position};
use serde_json::json;

use crate::kit::{Ask, Follower, NOW, Plane, poll};

#[test]
fn a_restored_copy_is_a_new_epoch_with_issuance_closed() {
    let mut plane = Plane::furnished();
    let agent = plane.agent(1);
    let before = agent.gatepass(&plane, &Ask::read());
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    let after = agent.gatepass(&plane, &Ask::read());
    let mut gate = Follower::of(&plane);
    assert_eq!((gate.reads(&before), gate.reads(&after)), (Ok(()), Ok(())));
    assert!(plane.restore(Some(&copy)).unwrap_err().contains("served by another process"));
    plane.stop();
    let restored = plane.restore(Some(&copy)).unwrap();
    assert!(restored.to.epoch > restored.from.epoch);
    plane.start();
    assert_eq!(gate.now_reads(&plane, &before), Err(Code::WrongEpoch));
    assert_eq!(gate.reads(&after), Err(Code::WrongEpoch));
    assert_eq!(agent.refused(&plane, &Ask::read()), "temporarily_unavailable");
    let given = Ask::default().with("token", &before);
    let asked = agent.post(&plane, "/oauth2/introspect", &given).json();
    assert_eq!(asked, json!({ "active": false }));
    let ask = Ask::exchange(&before, json!({ "actions": ["orders:read"] }));
    plane.change("/v1/open", json!({}));
    assert_eq!(agent.refused(&plane, &ask), "invalid_grant");
    let new = agent.gatepass(&plane, &Ask::read());
    assert_eq!(gate.now_reads(&plane, &new), Ok(()));
}

#[test]
fn what_was_stopped_after_the_copy_stays_stopped() {
    let mut plane = Plane::furnished();
    let retired = plane.agent(1);
    let alive = plane.agent(2);
    let orphan = plane.agent_of(3, "buyer", "user:corp/bob", "p1");
    let suspended = plane.agent(5);
    let keyless = plane.agent(6);
    let task = alive.task(&plane);
    let stolen = plane.operator("stolen", "admin", None);
    let twice = plane.operator("twice", "admin", None);
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    plane.change(&format!("/v1/agents/{}/retire", retired.id), json!({}));
    plane.change(&format!("/v1/agents/{}/suspend", suspended.id), json!({}));
    plane.change("/v1/people/user%3Acorp%2Fbob/end", json!({}));
    plane.change("/v1/operators/stolen/end", json!({}));
    let operators = plane.get("/v1/operators");
    let known = operators.as_array().unwrap().iter().find(|o| o["id"] == "twice").unwrap();
    let id = known["tokens"][0]["id"].as_str().unwrap();
    plane.change(&format!("/v1/tokens/{id}/end"), json!({}));
    let dossier = plane.get(&format!("/v1/agents/{}", keyless.id));
    let thumbprint = dossier["keys"][0]["thumbprint"].as_str().unwrap();
    plane.change(&format!("/v1/agents/{}/keys/{thumbprint}/remove", keyless.id), json!({}));
    assert_eq!(
        alive.post(&plane, "/v1/tasks/complete", &Ask::default().with("task", &task)).status,
        200
    );
    plane.stop();
    plane.restore(Some(&copy)).unwrap();
    plane.start();
    plane.change("/v1/open", json!({}));
    for token in [&stolen, &twice] {
        assert_eq!(plane.admin_as(token, "GET", "/v1/environment", &json!(null)).status, 401);
    }
    assert_eq!(plane.state_of(&retired.id), "retired");
    assert_eq!(plane.state_of(&suspended.id), "suspended");
    assert_eq!(plane.state_of(&orphan.id), "orphaned");
    assert_eq!(plane.get("/v1/people")[1]["state"], "ended");
    assert_eq!(retired.refused(&plane, &Ask::read()), "unauthorized_client");
    assert_eq!(keyless.refused(&plane, &Ask::read()), "invalid_client");
    assert_eq!(alive.refused(&plane, &Ask::read().with("task", &task)), "invalid_request");
    alive.gatepass(&plane, &Ask::read());
}

#[test]
fn a_copy_of_another_environment_is_not_put_in_force() {
    let (mut here, there) = (
        Plane::new(),
        Plane::with(&crate::kit::Plan {
            issuer: "https://issuer.example/other".to_owned(),
            ..crate::kit::Plan::default()
        }),
    );
    let copy = here.file("copy.db");
    there.backup(&copy);
    let before = here.standing();
    here.stop();
    let refused = here.restore(Some(&copy)).unwrap_err();
    assert!(refused.contains("another environment"), "{refused}");
    here.start();
    assert_eq!(here.standing(), before);
}

#[test]
fn a_follower_ahead_of_the_database_closes_issuance_until_a_restore() {
    let mut plane = Plane::furnished();
    let agent = plane.agent(1);
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    plane.change(&format!("/v1/agents/{}/suspend", agent.id), json!({}));
    let mut gate = Follower::of(&plane);
    // Somebody puts the copy back by hand.
    plane.stop();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(plane.dir().join(format!("gatepass.db{suffix}")));
    }
    std::fs::copy(&copy, plane.dir().join("gatepass.db")).unwrap();
    plane.start();
    let old = agent.gatepass(&plane, &Ask::read());
    let answer = poll(&plane, Some(gate.position()), &[]);
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("old_copy")));
    assert_eq!(agent.refused(&plane, &Ask::read()), "temporarily_unavailable");
    let open = plane.change_as(&plane.admin, "/v1/open", json!({}));
    assert_eq!(open.status, 409, "{}", open.text());
    plane.stop();
    plane.restore(None).unwrap();
    plane.start();
    assert_eq!(gate.now_reads(&plane, &old), Err(Code::WrongEpoch));
    plane.change("/v1/open", json!({}));
    let new = agent.gatepass(&plane, &Ask::read());
    assert_eq!(gate.now_reads(&plane, &new), Ok(()));
}

#[test]
fn a_restore_takes_back_the_time_that_a_clock_ahead_has_signed_and_nothing_else_does() {
    let mut plane = Plane::furnished();
    let agent = plane.agent(1);
    let before = agent.gatepass(&plane, &Ask::read());
    let mut gate = Follower::of(&plane);
    plane.pass(3600);
    plane.change("/v1/revocations", json!({ "kind": "credential", "id": "another" }));
    let ahead = agent.gatepass(&plane, &Ask::read());
    plane.set_clock(NOW);
    assert_eq!(gate.refuses(&plane), RefusalCode::ClockSkew);
    plane.stop();
    plane.start();
    assert_eq!(gate.refuses(&plane), RefusalCode::ClockSkew, "a restart is none");
    for _ in 0..2 {
        plane.stop();
        plane.restore(None).unwrap();
        plane.start();
        assert_eq!(gate.now_reads(&plane, &before), Err(Code::WrongEpoch));
    }
    plane.change("/v1/open", json!({}));
    let new = agent.gatepass(&plane, &Ask::read());
    assert_eq!(gate.now_reads(&plane, &new), Ok(()));
    // Within what clocks may differ by, time stays where it was.
    plane.pass(20);
    plane.change("/v1/revocations", json!({ "kind": "credential", "id": "another" }));
    gate.follow(&plane);
    plane.set_clock(plane.now() - 20);
    plane.stop();
    plane.restore(None).unwrap();
    plane.start();
    gate.follow(&plane);
    // What was issued in the future stays dead when its time has come.
    plane.set_clock(NOW + 3600);
    assert_eq!(gate.now_reads(&plane, &ahead), Err(Code::WrongEpoch));
}

/// Gates refuse an older list of keys, and each restore makes the list a newer one: also from a copy that
/// was made before other restores, whether or not the database that they made is still there.
#[test]
fn gates_believe_a_copy_that_was_made_before_other_restores() {
    for is_lost in [false, true] {
        let mut plane = Plane::furnished();
        let agent = plane.agent(1);
        let copy = plane.file("copy.db");
        plane.backup(&copy);
        let mut gate = Follower::of(&plane);
        for from in [None, None, Some(copy.as_path()), Some(copy.as_path())] {
            let before = agent.gatepass(&plane, &Ask::read());
            assert_eq!(gate.now_reads(&plane, &before), Ok(()));
            plane.stop();
            plane.pass(60);
            if is_lost && from.is_some() {
                for suffix in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(plane.dir().join(format!("gatepass.db{suffix}")));
                }
            }
            plane.restore(from).unwrap();
            plane.start();
            plane.change("/v1/open", json!({}));
            let new = agent.gatepass(&plane, &Ask::read());
            assert_eq!(gate.now_reads(&plane, &new), Ok(()), "lost: {is_lost}, {from:?}");
            assert_eq!(gate.reads(&before), Err(Code::WrongEpoch));
        }
    }
}

#[test]
fn a_follower_that_is_not_ahead_closes_nothing() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let here = Follower::of(&plane).position();
    for after in [here, Position { sequence: 1, ..here }, Position { epoch: 1, sequence: 999 }] {
        assert_eq!(poll(&plane, Some(after), &[]).status, 200);
    }
    agent.gatepass(&plane, &Ask::read());
}

#[test]
fn a_join_token_follows_the_feed_and_does_nothing_else() {
    let plane =
        Plane::with(&crate::kit::Plan { followers: "join_token", ..crate::kit::Plan::default() });
    let add = |fleet: &str, life: u64| {
        let secret = format!("gpj_{fleet}");
        let body = json!({
            "fleet": fleet, "digest": gatepass::desk::operators::digest_text(&secret),
            "expires_at": plane.now() + life,
        });
        let made = plane.change("/v1/join-tokens", body);
        (secret, made["result"]["id"].as_str().unwrap().to_owned())
    };
    let polled = |secret: &str| {
        let bearer = format!("Bearer {secret}");
        poll(&plane, None, &[("authorization", &bearer)]).status
    };
    let (secret, id) = add("edge", 1000);
    let (short, _) = add("short", 10);
    assert_eq!(polled(&secret), 200);
    assert_eq!(polled(&short), 200);
    assert_eq!(polled("gpj_unknown"), 401);
    assert_eq!(polled(&plane.admin), 401, "an operator's token follows nothing");
    assert_eq!(poll(&plane, None, &[]).status, 401);
    assert_eq!(plane.admin_as(&secret, "GET", "/v1/environment", &json!(null)).status, 401);
    plane.pass(10);
    assert_eq!(polled(&short), 401, "expired");
    plane.change(&format!("/v1/join-tokens/{id}/end"), json!({}));
    assert_eq!(polled(&secret), 401, "ended");
}
