//! Uses are spent once, whoever asks, however many ask at once, and whatever becomes of the database.

use std::sync::Arc;

use gatepass::config::Config;
use gatepass::desk::Refused;
use gatepass::desk::redeem::{Asks, Question, redeem};
use gatepass::server::Unserved;
use gatepass_engine::Position;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::redeem::Verdict;
use serde_json::json;

use crate::kit::{Agent, Ask, NOW, ORDERS, Plan, Plane, claims, send};

fn once() -> Ask {
    Ask::entry(json!({ "actions": ["orders:read"], "uses": 1 })).with("resource", ORDERS)
}

/// What a gate that follows asks of this gatepass.
pub(crate) fn question(plane: &Plane, token: &str, nonce: &str) -> Question {
    let claims = claims(token);
    Question {
        jti: claims["jti"].as_str().unwrap().to_owned(),
        nonce: format!("nonce-0123456789-{nonce}"),
        expires: UnixSeconds(claims["exp"].as_u64().unwrap()),
        position: plane.db().book().position(),
        asks: Asks::Use(None),
    }
}

impl Plane {
    pub(crate) fn redeems(
        &self,
        gate: &'static str,
        question: &Question,
    ) -> Result<Verdict, String> {
        let asked = question.clone();
        let decided: Result<_, Refused> =
            self.block_on(self.db().write(async move |tx| redeem(tx, gate, &asked).await));
        decided.map(|decided| decided.verdict).map_err(|refused| refused.code().to_owned())
    }

    pub(crate) fn redeemed(&self, gate: &'static str, question: &Question) -> Verdict {
        self.redeems(gate, question).unwrap()
    }
}

fn furnished() -> (Plane, Agent) {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    (plane, agent)
}

#[test]
fn a_use_is_granted_once_and_to_the_same_question_again() {
    let (plane, agent) = furnished();
    let token = agent.gatepass(&plane, &once());
    let first = question(&plane, &token, "1");
    assert_eq!(plane.redeemed("gate-1", &first), Verdict::Granted);
    assert_eq!(plane.redeemed("gate-1", &first), Verdict::Granted, "the answer was lost");
    assert_eq!(plane.redeemed("gate-2", &first), Verdict::Spent, "another gate with that nonce");
    let second = question(&plane, &token, "2");
    assert_eq!(plane.redeemed("gate-1", &second), Verdict::Spent);
    let other = question(&plane, &agent.gatepass(&plane, &once()), "2");
    assert_eq!(plane.redeemed("gate-1", &other), Verdict::Granted, "another gatepass");
}

#[test]
fn each_use_has_its_audit_record_and_a_question_that_spends_nothing_has_none() {
    let (plane, agent) = furnished();
    let token = agent.gatepass(&plane, &once());
    let asked = question(&plane, &token, "1");
    let before = plane.standing();
    assert_eq!(plane.redeemed("gate-1", &asked), Verdict::Granted);
    let (position, records) = plane.standing();
    assert_eq!((position, records), (before.0, before.1 + 1));
    for _ in 0..2 {
        plane.redeemed("gate-1", &question(&plane, &token, "2"));
        plane.redeemed("gate-1", &asked);
    }
    assert_eq!(plane.standing().1, records);
    let export = plane.export();
    let uses: Vec<&str> = export.lines().filter(|line| line.contains("gatepass.use")).collect();
    let [text] = uses[..] else { panic!("{uses:?}") };
    assert!(text.contains("gate-1"), "{text}");
    assert!(text.contains(&asked.jti), "{text}");
}

#[test]
fn of_all_who_ask_at_once_one_is_told_that_it_is_granted() {
    let (plane, agent) = furnished();
    let plane = Arc::new(plane);
    let tokens: Vec<String> = (0..8).map(|_| agent.gatepass(&plane, &once())).collect();
    let granted = plane.block_on(async {
        let mut asked = Vec::new();
        for nonce in 0..64 {
            for token in &tokens {
                let question = question(&plane, token, &nonce.to_string());
                let db = plane.db();
                asked.push(async move {
                    let jti = question.jti.clone();
                    let decided: Result<_, Refused> =
                        db.write(async move |tx| redeem(tx, "gate-1", &question).await).await;
                    (jti, decided.unwrap().verdict)
                });
            }
        }
        futures(asked).await
    });
    for token in &tokens {
        let jti = claims(token)["jti"].as_str().unwrap().to_owned();
        let of = |wanted| {
            granted.iter().filter(|(id, verdict)| *id == jti && *verdict == wanted).count()
        };
        assert_eq!((of(Verdict::Granted), of(Verdict::Spent)), (1, 63));
    }
}

/// All of them at once.
async fn futures<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done = Vec::new();
    core::future::poll_fn(|context| {
        all.retain_mut(|one| match one.as_mut().poll(context) {
            core::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            core::task::Poll::Pending => true,
        });
        if all.is_empty() { core::task::Poll::Ready(()) } else { core::task::Poll::Pending }
    })
    .await;
    done
}

#[test]
fn only_a_living_gatepass_that_was_issued_here_is_redeemed() {
    let (plane, agent) = furnished();
    let token = agent.gatepass(&plane, &once());
    let good = question(&plane, &token, "1");
    type Change = fn(&mut Question);
    let wrong: [(&str, Change); 4] = [
        ("another id", |q| q.jti = "0198-unknown".to_owned()),
        ("another end", |q| q.expires = q.expires.plus(1)),
        ("an older epoch", |q| q.position.epoch -= 1),
        ("the end of another", |q| q.expires = UnixSeconds(NOW)),
    ];
    for (name, change) in wrong {
        let mut asked = good.clone();
        change(&mut asked);
        assert_eq!(plane.redeemed("gate-1", &asked), Verdict::Refused, "{name}");
    }
    let mut ahead = good.clone();
    ahead.position = Position { sequence: good.position.sequence + 1, ..good.position };
    assert_eq!(plane.redeems("gate-1", &ahead), Err("closed".to_owned()), "an old copy");
    // None of them has spent it.
    assert_eq!(plane.redeemed("gate-1", &good), Verdict::Granted);
}

#[test]
fn what_is_revoked_or_over_is_refused_and_its_twin_is_not() {
    let (plane, agent) = furnished();
    let other = plane.agent(2);
    let (revoked, suspended) = (agent.gatepass(&plane, &once()), other.gatepass(&plane, &once()));
    let late = agent.gatepass(&plane, &once());
    let alive = agent.gatepass(&plane, &once());
    let jti = claims(&revoked)["jti"].as_str().unwrap().to_owned();
    plane.change("/v1/revocations", json!({ "kind": "credential", "id": jti }));
    plane.change(&format!("/v1/agents/{}/suspend", other.id), json!({}));
    for token in [&revoked, &suspended] {
        assert_eq!(plane.redeemed("gate-1", &question(&plane, token, "1")), Verdict::Refused);
    }
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &alive, "1")), Verdict::Granted);
    plane.pass(claims(&late)["exp"].as_u64().unwrap() - plane.now());
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &late, "1")), Verdict::Refused);
}

#[test]
fn a_use_that_was_spent_after_the_copy_was_made_is_not_granted_by_the_copy() {
    let (mut plane, agent) = furnished();
    let token = agent.gatepass(&plane, &once());
    let copy = plane.file("copy.db");
    plane.backup(&copy);
    let asked = question(&plane, &token, "1");
    assert_eq!(plane.redeemed("gate-1", &asked), Verdict::Granted);
    plane.stop();
    plane.restore(Some(&copy)).unwrap();
    plane.start();
    plane.change("/v1/open", json!({}));
    for nonce in ["1", "2"] {
        // Whether the gate has heard of the new epoch or not.
        let here = question(&plane, &token, nonce);
        let there = Question { position: asked.position, ..here.clone() };
        assert_eq!(plane.redeemed("gate-1", &here), Verdict::Refused);
        assert_eq!(plane.redeemed("gate-1", &there), Verdict::Refused);
    }
    let new = agent.gatepass(&plane, &once());
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &new, "1")), Verdict::Granted);
}

#[test]
fn a_record_is_stored_with_its_use_or_alone_and_never_twice() {
    let (plane, agent) = furnished();
    let token = agent.gatepass(&plane, &once());
    let record = json!({ "id": "d1" }).to_string();
    let stored = |nonce: &str, asks: Asks| {
        plane.redeemed("gate-1", &Question { asks, ..question(&plane, &token, nonce) })
    };
    assert_eq!(stored("1", Asks::Record(record.clone())), Verdict::Stored);
    assert_eq!(stored("1", Asks::Record(record.clone())), Verdict::Stored, "asked again");
    assert_eq!(stored("2", Asks::Use(Some(record.clone()))), Verdict::Granted);
    assert_eq!(stored("3", Asks::Use(Some(record.clone()))), Verdict::Spent);
    let kept: Vec<(String, String)> = plane
        .block_on(
            sqlx::query_as("SELECT nonce, record FROM confirmed_records ORDER BY nonce")
                .fetch_all(plane.db().readers()),
        )
        .unwrap();
    let nonces: Vec<&str> = kept.iter().map(|(nonce, _)| nonce.get(17..).unwrap()).collect();
    assert_eq!(nonces, ["1", "2"]);
    assert!(kept.iter().all(|(_, kept)| *kept == record));
}

#[test]
fn a_join_token_and_no_identity_at_all_are_refused_with_an_error_of_their_own() {
    for followers in ["join_token", "anyone"] {
        let plane = Plane::with(&Plan { followers, ..Plan::default() });
        let secret = "gpj_0123456789012345678901234567890123456789012";
        let bearer = format!("Bearer {secret}");
        let body = json!({
            "jti": "j", "nonce": "nonce-0123456789", "exp": NOW + 60, "kind": "use",
            "position": [1, 1],
        });
        for headers in [vec![], vec![("authorization", bearer.as_str())]] {
            let body = body.to_string();
            let to = plane.addresses().feed;
            let answer = send(to, "POST", "/v1/redeem", &headers, body.as_bytes());
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (403, Some("weak_identity"))
            );
            assert!(answer.is_problem());
        }
        let answer = send(plane.addresses().feed, "GET", "/v1/redeem", &[], b"");
        assert_eq!(answer.status, 405);
    }
}

#[test]
fn a_gatepass_with_a_use_is_issued_and_cannot_be_multiplied() {
    let (plane, agent) = furnished();
    plane.blueprint(
        "once",
        json!({ "entries": [{ "actions": ["orders:read"], "locations": [ORDERS], "uses": 1 }] }),
    );
    let bound = plane.agent_of(7, "once", "user:corp/alice", "p1");
    assert_eq!(bound.refused(&plane, &Ask::read()), "invalid_authorization_details");
    let token = bound.gatepass(&plane, &once());
    assert_eq!(claims(&token)["authorization_details"][0]["uses"], 1);
    // Whoever exchanges it would have one use for each child.
    for entry in
        [json!({ "actions": ["orders:read"], "uses": 1 }), json!({ "actions": ["orders:read"] })]
    {
        let ask = Ask::exchange(&token, entry);
        assert_eq!(bound.refused(&plane, &ask), "invalid_authorization_details");
        assert_eq!(agent.refused(&plane, &ask), "invalid_authorization_details");
    }
    let plain = agent.gatepass(&plane, &Ask::read());
    let narrowed = Ask::exchange(&plain, json!({ "actions": ["orders:read"], "uses": 1 }));
    let child = agent.gatepass(&plane, &narrowed);
    assert_eq!(claims(&child)["authorization_details"][0]["uses"], 1);
    for uses in [0, 2] {
        let ask = Ask::entry(json!({ "actions": ["orders:read"], "uses": uses }));
        let refused = agent.refused(&plane, &ask.with("resource", ORDERS));
        assert_eq!(refused, "invalid_authorization_details");
    }
}

#[test]
fn what_was_spent_stays_spent_where_the_clock_was_ahead_for_a_while() {
    let (mut plane, agent) = furnished();
    let token = agent.gatepass(&plane, &once());
    let first = question(&plane, &token, "1");
    assert_eq!(plane.redeemed("gate-1", &first), Verdict::Granted);
    plane.stop();
    let ahead: gatepass::feed::Clock = Arc::new(|| UnixSeconds(NOW + 6 * 3_600));
    plane.block_on(async {
        let config = Config::read(&plane.dir()).unwrap();
        let unserved = Unserved::open(config, ahead).await.unwrap();
        unserved.tidy().await.unwrap();
        unserved.close().await;
    });
    plane.start();
    // It lives again, and its use does not.
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &token, "2")), Verdict::Spent);
    let other = agent.gatepass(&plane, &once());
    assert_eq!(plane.redeemed("gate-1", &question(&plane, &other, "1")), Verdict::Granted);
}
