//! An agent is suspended while it is being issued gatepasses as fast as it can ask.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use gatepass_engine::Code;
use serde_json::json;

use crate::kit::{Follower, Issued, Site, Wire};

/// What must never be: a gatepass that was issued and recorded after the suspension's position was
/// read, so that the revocation does not reach it.
#[test]
fn what_was_issued_before_or_alongside_a_suspension_is_dead() {
    let site = Site::new(crate::binary(), &std::env::temp_dir());
    let served = site.serve();
    served.furnish();
    let agent = served.agent("busy");
    let mut wire = Wire::connect(served.agents).unwrap();
    let task = agent.open_task(&mut wire).unwrap().json();
    let task = task["task"].as_str().unwrap();

    let mut gate = Follower::new(&site);
    let first = Issued::of(&agent.ask(&mut wire, Some(task)).unwrap());
    gate.catch_up(served.feed);
    assert_eq!(gate.denies(&first.token), None);

    let (asked, issued) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (tell, told) = mpsc::channel();
    let ask = |tell: mpsc::Sender<()>| {
        let mut wire = Wire::connect(served.agents).unwrap();
        let (mut tokens, mut refused) = (Vec::new(), 0);
        while asked.fetch_add(1, Ordering::Relaxed) < REQUESTS {
            let answer = agent.ask(&mut wire, Some(task)).unwrap();
            if answer.status == 200 {
                tokens.push(Issued::of(&answer).token);
                if issued.fetch_add(1, Ordering::Relaxed) == BEFORE {
                    tell.send(()).unwrap();
                }
            } else {
                let body = answer.json();
                assert_eq!(body["error"], "unauthorized_client", "{body}");
                assert_eq!(body["error_description"], "the agent is suspended");
                refused += 1;
            }
        }
        (tokens, refused)
    };
    let ask = &ask;
    let suspended_after = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..CONNECTIONS)
            .map(|_| tell.clone())
            .map(|tell| scope.spawn(move || ask(tell)))
            .collect();
        drop(tell);
        // Fails where all of them ended before.
        told.recv().unwrap();
        let done = served.change(&format!("/v1/agents/{}/suspend", agent.id), json!({}));
        let suspended_after = issued.load(Ordering::Relaxed);
        let position = gate.catch_up(served.feed);
        assert_eq!(done["position"], position.to_string());
        let (mut tokens, mut refused) = (vec![first.token.clone()], 0);
        for asker in askers {
            let (own, none) = asker.join().unwrap();
            tokens.extend(own);
            refused += none;
        }
        assert!(refused > 0, "the suspension came after the last request");
        assert_eq!(tokens.len() + refused, REQUESTS + 1);
        for token in &tokens {
            assert_eq!(gate.denies(token), Some(Code::RevokedAgent));
        }
        suspended_after
    });
    assert!(suspended_after >= BEFORE);

    // The twin: with the agent active again, one issued since is good and the old stay dead.
    served.change(&format!("/v1/agents/{}/activate", agent.id), json!({}));
    // The server closes what was idle for a minute, which the race may take on a slow machine.
    let mut wire = Wire::connect(served.agents).unwrap();
    let again = Issued::of(&agent.ask(&mut wire, Some(task)).unwrap());
    gate.catch_up(served.feed);
    assert_eq!(gate.denies(&again.token), None);
    assert_eq!(gate.denies(&first.token), Some(Code::RevokedAgent));
}

const REQUESTS: usize = 10_000;
/// Gatepasses that are out when the suspension is asked for.
const BEFORE: usize = 4000;
const CONNECTIONS: usize = 32;
