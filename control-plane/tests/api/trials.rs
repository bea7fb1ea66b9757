//! A trial of a policy in a cohort is named by the change that ends it: what somebody agreed to is what
//! is done, or nothing is.

use serde_json::{Value, json};

use crate::cohorts::{canary, stricter, with_canary};
use crate::kit::{POLICY, Plane};

struct Pair {
    plane: Plane,
    second: String,
}

impl Pair {
    /// A policy of all, and a cohort.
    fn new() -> Self {
        let plane = Plane::of_two();
        let second = plane.operator("second", "admin", None);
        let pair = Self { plane, second };
        assert_eq!(pair.both("/v1/policies", json!({ "content": POLICY })), 200);
        pair.plane.change("/v1/cohorts", json!({ "name": "canary" }));
        pair
    }

    fn proposed(&self, path: &str, body: Value) -> Value {
        let answer = self.plane.change_as(&self.plane.admin, path, body);
        assert_eq!(answer.status, 202, "{path}: {}", answer.text());
        answer.json()
    }

    fn accept(&self, proposed: &Value) -> u16 {
        let id = proposed["proposal"].as_str().unwrap();
        let path = format!("/v1/proposals/{id}/accept");
        self.plane.change_as(&self.second, &path, json!({})).status
    }

    fn both(&self, path: &str, body: Value) -> u16 {
        self.accept(&self.proposed(path, body))
    }

    fn try_it(&self, content: &str) {
        let body = json!({ "content": content, "cohort": "canary" });
        assert_eq!(self.both("/v1/policies", body), 200);
    }

    fn promotion(&self) -> Value {
        self.proposed("/v1/policies/promote", json!({ "despite_denials": true }))
    }
}

#[test]
fn what_the_second_agrees_to_is_what_is_promoted() {
    let pair = Pair::new();
    pair.try_it(&stricter());
    let waiting = pair.promotion();
    let since = canary(&pair.plane)["policy"].as_str().unwrap().to_owned();
    let trial = format!("version 2 that `canary` tries since {since}");
    assert_eq!(waiting["trial"], trial.as_str());
    // The second reads it too.
    let all = pair.plane.get("/v1/proposals");
    let mut all = all.as_array().unwrap().iter();
    let shown = all.find(|proposal| proposal["id"] == waiting["proposal"]).unwrap();
    let change: Value = serde_json::from_str(shown["change"].as_str().unwrap()).unwrap();
    assert_eq!((&change["version"], &change["since"]), (&json!(2), &json!(since)));
    // Meanwhile the cohort tries another.
    pair.try_it(&POLICY.replace("risk: medium", "risk: low"));
    let before = pair.plane.standing();
    assert_eq!(pair.accept(&waiting), 409);
    assert_eq!(pair.plane.standing(), before, "nothing was done");
    // Nor when the same is tried again: what was seen of it then is not what was agreed to.
    pair.plane.change("/v1/policies/withdraw", json!({}));
    assert_eq!(pair.accept(&waiting), 409);
    pair.try_it(&stricter());
    assert_eq!(pair.accept(&waiting), 409);
    assert_eq!(pair.plane.get("/v1/policies/current")["version"], 1);
    // The twin: it tries what it did when this was asked for.
    assert_eq!(pair.accept(&pair.promotion()), 200);
    assert_eq!(pair.plane.get("/v1/policies/current")["version"], 4);
}

#[test]
fn who_names_a_trial_ends_no_other() {
    let plane = with_canary();
    let publish = || {
        plane.change("/v1/policies", json!({ "content": stricter(), "cohort": "canary" }));
        canary(&plane)["policy"].as_str().unwrap().to_owned()
    };
    let (first, second) = (publish(), publish());
    for (path, flag) in
        [("/v1/policies/promote", "despite_denials"), ("/v1/policies/withdraw", "cohort")]
    {
        let ask = |version: Value, since: &str| {
            let mut body = json!({ "version": version, "since": since, "cohort": "canary" });
            if flag == "despite_denials" {
                body[flag] = true.into();
            }
            plane.change_as(&plane.admin, path, body)
        };
        let before = plane.standing();
        assert_eq!(ask(json!(2), &second).status, 409, "{path}: the version before");
        assert_eq!(ask(json!(3), &first).status, 409, "{path}: of the trial before");
        assert_eq!(ask(json!(4), &second).status, 409, "{path}: one to come");
        for wrong in ["", "x", "1", "1.2.3"] {
            assert_eq!(ask(json!(3), wrong).status, 400, "{path}: {wrong}");
        }
        assert_eq!(plane.standing(), before, "{path}: nothing was done");
    }
    // The twins.
    let named = json!({ "version": 3, "since": second });
    let done = plane.change("/v1/policies/withdraw", named);
    assert_eq!(done["result"]["trial"], format!("version 3 that `canary` tries since {second}"));
    let third = publish();
    let named = json!({ "version": 4, "since": third, "despite_denials": true });
    assert_eq!(plane.change("/v1/policies/promote", named)["result"]["version"], 4);
}

#[test]
fn what_waits_for_a_cohort_does_not_outlive_it() {
    let pair = Pair::new();
    let join = |digit: &str| {
        json!({
            "fleet": "edge", "cohort": "canary", "digest": digit.repeat(64),
            "expires_at": pair.plane.now() + 1000,
        })
    };
    let policy = json!({ "content": stricter(), "cohort": "canary" });
    let ask = |digit: &str| {
        [
            pair.proposed("/v1/policies", policy.clone()),
            pair.proposed("/v1/join-tokens", join(digit)),
        ]
    };
    let waiting = ask("a");
    let of_all = pair.proposed("/v1/policies", json!({ "content": stricter() }));
    pair.plane.change("/v1/cohorts/canary/remove", json!({ "despite_followers": true }));
    pair.plane.change("/v1/cohorts", json!({ "name": "canary" }));
    for proposed in &waiting {
        assert_eq!(pair.accept(proposed), 409, "it was for another of this name");
    }
    assert_eq!(canary(&pair.plane)["is_canary"], false);
    // The twins: what is asked for since, and what names no cohort.
    assert_eq!(pair.accept(&of_all), 200);
    for proposed in &ask("b") {
        assert_eq!(pair.accept(proposed), 200);
    }
    let gone = json!({
        "fleet": "edge", "cohort": "nowhere", "digest": "c".repeat(64),
        "expires_at": pair.plane.now() + 1000,
    });
    let answer = pair.plane.change_as(&pair.plane.admin, "/v1/join-tokens", gone);
    assert_eq!(answer.status, 404, "{}", answer.text());
}
