//! Two persons: what widens or reopens waits for another one, what stops does not.

use serde_json::{Value, json};

use crate::kit::{Agent, Ask, Plane, ceiling, key_of, registration};

/// An environment with a second admin, `second`, who agrees.
struct Pair {
    plane: Plane,
    second: String,
}

impl Pair {
    fn new() -> Self {
        let plane = Plane::of_two();
        // Until there is a second, the first brings them in alone.
        let second = plane.operator("second", "admin", None);
        Self { plane, second }
    }

    /// People, policy, blueprint and an active agent.
    fn furnished() -> (Self, Agent) {
        let pair = Self::new();
        for id in ["user:corp/alice", "user:corp/bob"] {
            pair.plane.change("/v1/people", json!({ "id": id, "name": "x", "contact": "x" }));
        }
        pair.both("/v1/policies", json!({ "content": crate::kit::POLICY }));
        let blueprint = json!({
            "id": "buyer", "purpose": "buys", "owners": "g", "ceiling": ceiling(),
        });
        pair.both("/v1/blueprints", blueprint);
        let made = registration(pair.plane.now(), 1, "buyer", "user:corp/alice", "p1");
        let made = pair.plane.change("/v1/agents", made);
        let agent = Agent::new(made["result"]["id"].as_str().unwrap(), 1);
        pair.both(&format!("/v1/agents/{}/activate", agent.id), json!({}));
        (pair, agent)
    }

    fn proposed(&self, path: &str, body: Value) -> String {
        let answer = self.plane.change_as(&self.plane.admin, path, body);
        assert_eq!(answer.status, 202, "{path}: {}", answer.text());
        answer.json()["proposal"].as_str().unwrap().to_owned()
    }

    fn decide(&self, token: &str, proposal: &str, what: &str) -> u16 {
        let path = format!("/v1/proposals/{proposal}/{what}");
        self.plane.change_as(token, &path, json!({})).status
    }

    /// Proposed by the first and accepted by the second.
    fn both(&self, path: &str, body: Value) {
        let proposal = self.proposed(path, body);
        assert_eq!(self.decide(&self.second, &proposal, "accept"), 200, "{path}");
    }
}

#[test]
fn what_widens_or_reopens_changes_nothing_until_another_accepts() {
    let (pair, agent) = Pair::furnished();
    let plane = &pair.plane;
    let policy = crate::kit::POLICY.replace("risk: medium", "risk: low");
    pair.both("/v1/policies", json!({ "content": policy }));
    plane.change(&format!("/v1/agents/{}/suspend", agent.id), json!({}));
    plane.change("/v1/blueprints/buyer/disable", json!({}));
    plane.change("/v1/people/user%3Acorp%2Fbob/end", json!({}));
    plane.change("/v1/stop", json!({}));
    let wide = json!({
        "entries": [{ "actions": ["orders:create"] }], "scopes": ["orders.write"],
    });
    let digest = |digit: &str| digest_of(digit);
    let expires_at = plane.now() + 1000;
    let changes = [
        ("/v1/policies", json!({ "content": crate::kit::POLICY })),
        ("/v1/policies/1/rollback", json!({})),
        ("/v1/blueprints/buyer/ceiling", json!({ "ceiling": wide })),
        ("/v1/blueprints", json!({ "id": "new", "purpose": "p", "owners": "o", "ceiling": wide })),
        ("/v1/blueprints/buyer/enable", json!({})),
        (&*format!("/v1/agents/{}/activate", agent.id), json!({})),
        (&*format!("/v1/agents/{}/keys", agent.id), json!({ "key": key_of(7) })),
        ("/v1/people/user%3Acorp%2Fbob/return", json!({})),
        ("/v1/open", json!({})),
        ("/v1/operators", json!({ "id": "third" })),
        (
            "/v1/tokens",
            json!({
                "operator": "admin", "role": "viewer", "digest": digest("a"), "expires_at": expires_at,
            }),
        ),
        (
            "/v1/join-tokens",
            json!({
                "fleet": "f", "digest": digest("b"), "expires_at": expires_at,
            }),
        ),
    ];
    for (path, body) in changes {
        let (position, records) = plane.standing();
        let proposal = pair.proposed(path, body);
        assert_eq!(plane.standing(), (position.clone(), records + 1), "{path}: on record, no more");
        assert_eq!(pair.decide(&plane.admin, &proposal, "accept"), 403, "{path}");
        assert_eq!(plane.standing(), (position, records + 1), "{path}");
        assert_eq!(pair.decide(&pair.second, &proposal, "accept"), 200, "{path}");
        assert!(plane.standing().1 >= records + 3, "{path}: the decision and the change");
        assert_eq!(pair.decide(&pair.second, &proposal, "accept"), 409, "{path}: once");
    }
    agent.gatepass(plane, &Ask::actions(&["orders:create"]).with("scope", "orders.write"));
}

#[test]
fn stopping_takes_one() {
    let (pair, agent) = Pair::furnished();
    let plane = &pair.plane;
    let task = agent.task(plane);
    let token = agent.gatepass(plane, &Ask::read());
    let jti = crate::kit::claims(&token)["jti"].clone();
    let join = json!({ "fleet": "f", "digest": digest_of("c"), "expires_at": plane.now() + 1000 });
    pair.both("/v1/join-tokens", join);
    let thumbprint =
        plane.get(&format!("/v1/agents/{}", agent.id))["keys"][0]["thumbprint"].clone();
    let at = |what: &str| format!("/v1/agents/{}/{what}", agent.id);
    let mut narrow = ceiling();
    narrow["scopes"] = json!([]);
    for (path, body) in [
        (format!("/v1/tasks/{task}/end"), json!({})),
        ("/v1/revocations".to_owned(), json!({ "kind": "credential", "id": jti })),
        ("/v1/blueprints/buyer/ceiling".to_owned(), json!({ "ceiling": narrow })),
        (at("suspend"), json!({})),
        (at(&format!("keys/{}/remove", thumbprint.as_str().unwrap())), json!({})),
        ("/v1/blueprints/buyer/disable".to_owned(), json!({})),
        ("/v1/people/user%3Acorp%2Fbob/end".to_owned(), json!({})),
        (at("retire"), json!({})),
        ("/v1/stop".to_owned(), json!({})),
        ("/v1/operators/second/end".to_owned(), json!({})),
    ] {
        let answer = plane.change_as(&plane.admin, &path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}

#[test]
fn a_ceiling_is_narrowed_by_one_and_widened_by_two() {
    let (pair, _) = Pair::furnished();
    let base = ceiling();
    let changed = |change: fn(&mut Value)| {
        let mut ceiling = base.clone();
        change(&mut ceiling);
        ceiling
    };
    let cases: [(&str, Value, u16); 13] = [
        ("the same", base.clone(), 200),
        ("fewer entries", changed(|c| drop(c["entries"].as_array_mut().unwrap().pop())), 200),
        (
            "a lower bound",
            changed(|c| {
                c["entries"][0]["constraints"]["amount"]["max"] = "499.99 EUR".into();
            }),
            200,
        ),
        (
            "one more constraint",
            changed(|c| {
                c["entries"][1]["constraints"] = json!({ "id": { "equals": "1" } });
            }),
            200,
        ),
        ("fewer scopes", changed(|c| c["scopes"] = json!([])), 200),
        ("a shorter life", changed(|c| c["lifetime"] = json!({ "low": 60 })), 200),
        ("another action", changed(|c| c["entries"][1]["actions"] = json!(["orders:create"])), 202),
        (
            "a higher bound",
            changed(|c| {
                c["entries"][0]["constraints"]["amount"]["max"] = "500.01 EUR".into();
            }),
            202,
        ),
        (
            "another currency",
            changed(|c| {
                c["entries"][0]["constraints"]["amount"]["max"] = "1.00 KWD".into();
            }),
            202,
        ),
        (
            "no constraint",
            changed(|c| {
                c["entries"][0].as_object_mut().unwrap().remove("constraints");
            }),
            202,
        ),
        (
            "everywhere",
            changed(|c| {
                c["entries"][1].as_object_mut().unwrap().remove("locations");
            }),
            202,
        ),
        ("one more scope", changed(|c| c["scopes"] = json!(["orders.write", "all"])), 202),
        ("a longer life", changed(|c| c["lifetime"] = json!({})), 202),
    ];
    for (what, ceiling, status) in cases {
        let plane = &pair.plane;
        let body = json!({ "ceiling": ceiling });
        let answer = plane.change_as(&plane.admin, "/v1/blueprints/buyer/ceiling", body);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if status == 200 {
            // Back to where it was, which widens.
            let back = json!({ "ceiling": base });
            let answer = plane.change_as(&plane.admin, "/v1/blueprints/buyer/ceiling", back);
            if answer.status == 202 {
                let id = answer.json()["proposal"].as_str().unwrap().to_owned();
                assert_eq!(pair.decide(&pair.second, &id, "accept"), 200, "{what}");
            }
        }
    }
}

#[test]
fn the_proposer_is_not_the_second_whatever_they_hold() {
    let (pair, _) = Pair::furnished();
    let plane = &pair.plane;
    let person = |id: &str| json!({ "id": id, "person": "user:corp/alice" });
    for id in ["alice-1", "alice-2"] {
        pair.both("/v1/operators", person(id));
    }
    let token = |operator: &str, role: &str| {
        let (secret, body) = plane.new_token(operator, role);
        pair.both("/v1/tokens", body);
        secret
    };
    let (first, again) = (token("alice-1", "operator"), token("alice-1", "approver"));
    let other_self = token("alice-2", "admin");
    let widen = json!({ "ceiling": { "entries": [{ "actions": ["orders:create"] }] } });
    let answer = plane.change_as(&first, "/v1/blueprints/buyer/ceiling", widen);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let proposal = answer.json()["proposal"].as_str().unwrap().to_owned();
    let before = plane.standing();
    assert_eq!(pair.decide(&first, &proposal, "accept"), 403);
    assert_eq!(pair.decide(&again, &proposal, "accept"), 403, "another token of theirs");
    assert_eq!(pair.decide(&other_self, &proposal, "accept"), 403, "another operator of theirs");
    assert_eq!(plane.standing(), before);
    assert_eq!(pair.decide(&pair.second, &proposal, "accept"), 200);
}

#[test]
fn a_proposal_ends_with_a_no_with_time_and_with_its_proposer() {
    let pair = Pair::new();
    let plane = &pair.plane;
    let operator = |id: &str| json!({ "id": id });
    let rejected = pair.proposed("/v1/operators", operator("a"));
    assert_eq!(pair.decide(&pair.second, &rejected, "reject"), 200);
    assert_eq!(pair.decide(&pair.second, &rejected, "accept"), 409);
    assert_eq!(pair.decide(&plane.admin, &rejected, "reject"), 409);
    let own = pair.proposed("/v1/operators", operator("b"));
    assert_eq!(pair.decide(&plane.admin, &own, "reject"), 200, "one may take one's own back");
    let late = pair.proposed("/v1/operators", operator("c"));
    let (third, body) = plane.new_token("third", "admin");
    pair.both("/v1/operators", operator("third"));
    let orphan = {
        let mut body = body;
        body["expires_at"] = (plane.now() + 80 * 86_400).into();
        pair.both("/v1/tokens", body);
        let answer = plane.change_as(&third, "/v1/operators", operator("d"));
        assert_eq!(answer.status, 202);
        answer.json()["proposal"].as_str().unwrap().to_owned()
    };
    plane.change("/v1/operators/third/end", json!({}));
    assert_eq!(pair.decide(&pair.second, &orphan, "accept"), 409, "its proposer has gone");
    plane.pass(24 * 3600);
    let (again, mut body) = plane.new_token("second", "admin");
    body["expires_at"] = (plane.now() + 1000).into();
    // The second's token has expired with the day, so the first is alone; nobody brings them back.
    assert_eq!(plane.change_as(&plane.admin, "/v1/tokens", body).status, 202);
    assert_eq!(pair.decide(&again, &late, "accept"), 401);
    let known = plane.get("/v1/operators");
    let ids: Vec<&str> =
        known.as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["admin", "second", "third"]);
}

#[test]
fn an_expired_proposal_is_accepted_by_nobody() {
    let pair = Pair::new();
    let plane = &pair.plane;
    let (long, mut body) = plane.new_token("second", "approver");
    body["expires_at"] = (plane.now() + 80 * 86_400).into();
    pair.both("/v1/tokens", body);
    let late = pair.proposed("/v1/operators", json!({ "id": "c" }));
    plane.pass(24 * 3600);
    assert_eq!(pair.decide(&long, &late, "accept"), 409);
    let in_time = pair.proposed("/v1/operators", json!({ "id": "c" }));
    plane.pass(24 * 3600 - 1);
    assert_eq!(pair.decide(&long, &in_time, "accept"), 200);
}

#[test]
fn the_first_brings_in_a_second_and_then_never_again() {
    let plane = Plane::of_two();
    assert_eq!(
        plane.change_as(&plane.admin, "/v1/operators", json!({ "id": "watcher" })).status,
        200
    );
    plane.token("watcher", "viewer");
    let second = plane.operator("second", "approver", None);
    let asked = |body: Value| plane.change_as(&plane.admin, "/v1/operators", body).status;
    assert_eq!(asked(json!({ "id": "puppet" })), 202);
    // Ending the second opens nothing: else one could make a second of one's own.
    plane.change("/v1/operators/second/end", json!({}));
    assert_eq!(asked(json!({ "id": "puppet2" })), 202);
    let (_, body) = plane.new_token("watcher", "admin");
    assert_eq!(plane.change_as(&plane.admin, "/v1/tokens", body).status, 202);
    assert_eq!(plane.admin_as(&second, "GET", "/v1/people", &Value::Null).status, 401);
}

#[test]
fn where_one_person_is_enough_one_is() {
    let plane = Plane::furnished();
    let wide = json!({ "ceiling": { "entries": [{ "actions": ["orders:create"] }] } });
    plane.change("/v1/blueprints/buyer/ceiling", wide);
    plane.change("/v1/policies", json!({ "content": crate::kit::POLICY }));
}

fn digest_of(digit: &str) -> String {
    digit.repeat(64)
}
