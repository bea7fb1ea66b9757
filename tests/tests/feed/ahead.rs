//! A gatepass that is newer than the gate's state is held until the gate has caught up, for so
//! long and no longer.

use std::time::{Duration, Instant};

use gatepass_engine::position::Position;
use gatepass_tests::kit::hostile::Answer;
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::bearing;

use crate::desk::{SLOW, SharedDesk};
use crate::gated::{Gated, each_worker};

#[test]
fn a_gatepass_ahead_of_the_gate_is_held_and_then_decided_on_the_newer_state() {
    let desk = SharedDesk::new("prod");
    let feed = desk.serve();
    let mut plugin = desk.lock().plugin();
    plugin.hold_ms = HOLD;
    let mut gated = Gated::launch(&plugin, &feed);
    let known = desk.issue(SLOW);
    gated.until("/slow", &known.token, "200");
    let mut waiting = each_worker(&gated.envoy, "in");

    for (is_revoked, expected) in [(false, "200"), (true, "401 revoked_credential")] {
        // The feed pauses, the control plane goes on.
        feed.conduct(|_| Answer::Later);
        desk.revoke("somebody");
        let newer = desk.issue(SLOW);
        if is_revoked {
            desk.revoke(&newer.jti);
        }
        let before = gated.stat("gatepass_requests_held");
        send(&mut waiting, &newer.token);
        let all = u64::try_from(waiting.len()).unwrap();
        gated.until_stat("gatepass_requests_held", |held| held >= before + all);
        assert_eq!(gated.ask("/slow", &known.token), "200", "others are not held up");
        let released = Instant::now();
        feed.conduct(desk.honest());
        assert_eq!(received(&mut waiting), vec![expected; waiting.len()]);
        println!("held: {expected} {} ms after the feed goes on", released.elapsed().as_millis());
    }

    let here = desk.lock().position();
    let beyond = [
        Position { sequence: here.sequence + 9, ..here },
        Position { epoch: here.epoch + 1, sequence: 1 },
    ];
    for position in beyond {
        let pass = desk.lock().issue_at(SLOW, position);
        let sent = Instant::now();
        send(&mut waiting, &pass.token);
        assert_eq!(received(&mut waiting), vec!["503 behind"; waiting.len()], "{position}");
        let held = sent.elapsed();
        println!("held: behind after {} ms", held.as_millis());
        assert!(held >= Duration::from_millis(HOLD), "{held:?}");
        assert!(held < Duration::from_millis(HOLD * 3), "{held:?}");
    }
    let older = Position { epoch: here.epoch - 1, ..here };
    let pass = desk.lock().issue_at(SLOW, older);
    assert_eq!(gated.ask("/slow", &pass.token), "401 wrong_epoch", "nothing to wait for");
    let forwarded = gated.upstream.take();
    assert!(forwarded.iter().all(|request| request.header("authorization").is_empty()));
    gated.assert_no_crash();
}

fn send(connections: &mut [Connection], token: &str) {
    for connection in connections {
        connection.send(&bearing("GET", "/slow", Some(token))).unwrap();
    }
}

fn received(connections: &mut [Connection]) -> Vec<String> {
    let all = connections.iter_mut();
    let responses = all.map(|connection| connection.receive().unwrap());
    responses.map(|response: Response| response.verdict()).collect()
}

/// Milliseconds.
const HOLD: u64 = 1_500;
