//! Stopping many at once.

use gatepass_engine::Code;
use serde_json::json;

use crate::kit::{Agent, Ask, Follower, Plane};

fn three(plane: &Plane) -> Vec<(Agent, String)> {
    plane.blueprint("reader", json!({ "entries": [{ "actions": ["orders:read"] }] }));
    [(1, "buyer", "p1"), (2, "reader", "p1"), (3, "reader", "p2")]
        .into_iter()
        .map(|(seed, blueprint, project)| {
            let agent = plane.agent_of(seed, blueprint, "user:corp/alice", project);
            let token = agent.gatepass(plane, &Ask::read());
            (agent, token)
        })
        .collect()
}

#[test]
fn agents_are_stopped_by_project_or_by_blueprint() {
    for (what, state) in [("suspend", "suspended"), ("retire", "retired")] {
        for (by, stopped) in [
            (json!({ "project": "p1" }), [true, true, false]),
            (json!({ "blueprint": "reader" }), [false, true, true]),
        ] {
            let plane = Plane::furnished();
            let all = three(&plane);
            let done = plane.change(&format!("/v1/agents/{what}"), by.clone());
            assert_eq!(done["result"].as_array().unwrap().len(), 2);
            let gate = Follower::of(&plane);
            for ((agent, token), stopped) in all.iter().zip(stopped) {
                let (expected, says) =
                    if stopped { (state, Err(Code::RevokedAgent)) } else { ("active", Ok(())) };
                assert_eq!(plane.state_of(&agent.id), expected, "{what} {by}");
                assert_eq!(gate.reads(token), says, "{what} {by}");
                let dossier = plane.get(&format!("/v1/agents/{}", agent.id));
                let on_record = dossier["history"][0]["action"] == format!("agents.{what}");
                assert_eq!(on_record, stopped, "each has its own record");
            }
        }
    }
}

#[test]
fn everything_at_once_is_not_said_by_saying_nothing() {
    let plane = Plane::furnished();
    three(&plane);
    let before = plane.standing();
    for by in [
        json!({}),
        json!({ "project": "p1", "blueprint": "reader" }),
        json!({ "project": "%" }),
        json!({ "project": "p3" }),
    ] {
        for what in ["suspend", "retire"] {
            let answer = plane.change_as(&plane.admin, &format!("/v1/agents/{what}"), by.clone());
            assert!((400..500).contains(&answer.status), "{by}: {}", answer.text());
        }
    }
    assert_eq!(plane.standing(), before);
}
