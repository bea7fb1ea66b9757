//! What one callback answers, lets on or cuts is bounded. Envoy does that after the callback, each inside of the
//! one before it: a thousand slow uploads that were answered in one tick went deeper than its stack, and ended
//! the VM with all that it had (`make bench-bodies` sends them to a real one).

use gatepass::issue::{Constraint, Entry};
use gatepass::publish::{Changes, Revoke};
use gatepass_engine::revocation::Kind;
use gatepass_tests::host::{Outcome, Stream};
use gatepass_tests::kit::documents;
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::{Site, order, verdict};
use gatepass_tests::kit::world::compile;
use serde_json::json;

const MANY: usize = 100;
const AT_ONCE: usize = 32;

fn site() -> Site {
    let mut site = Site::cold(1, |_| {}).unwrap();
    site.envoy.allow_on_headers_stop_iteration(true);
    let changes = Changes::bundle(compile(documents::POLICY).unwrap());
    site.control.publisher().advance(&changes).unwrap();
    site.hear_snapshot().unwrap();
    site.load().unwrap();
    site
}

fn token(site: &Site) -> String {
    let most = Constraint { max: Some(json!("500.00 EUR")), ..Constraint::default() };
    let mut grant = grant(documents::ACTIONS[0]);
    grant.scopes = vec![documents::SCOPE.to_owned()];
    grant.entries = vec![Entry {
        actions: documents::ACTIONS.map(str::to_owned).to_vec(),
        constraints: [("amount".to_owned(), most)].into(),
        ..Entry::default()
    }];
    site.control.issue(&grant, site.now()).unwrap()
}

/// Orders whose bodies are still to come.
fn begun(site: &mut Site) -> Vec<Stream> {
    let token = token(site);
    let request = order("POST", documents::ORDERS, Some(&token)).with_body();
    let headers = documents::ORDER_HEADERS.iter();
    let request = headers.fold(request, |request, (name, value)| request.header(name, value));
    let vm = &mut site.workers[0];
    (0..MANY).map(|_| vm.send(request.clone()).unwrap()).collect()
}

/// How many of them are over, and that each of those was told this.
fn over(site: &Site, streams: &[Stream], expected: &str) -> usize {
    let outcomes = streams.iter().map(|stream| site.workers[0].outcome(*stream).unwrap());
    let over: Vec<Outcome> = outcomes
        .filter(|outcome| !matches!(outcome, Outcome::Paused | Outcome::Continued(_)))
        .collect();
    over.iter().for_each(|outcome| assert_eq!(verdict(outcome), expected));
    over.len()
}

#[test]
fn slow_bodies_are_refused_some_at_a_time() {
    let mut site = site();
    let streams = begun(&mut site);
    site.advance(14_900);
    site.workers[0].tick().unwrap();
    assert_eq!(over(&site, &streams, ""), 0);
    site.advance(200);
    for ticks in 1..=4 {
        site.workers[0].tick().unwrap();
        let expected = MANY.min(ticks * AT_ONCE);
        assert_eq!(over(&site, &streams, "408 body_too_slow"), expected);
    }
}

#[test]
fn permits_are_ended_some_at_a_time_and_all_of_them() {
    let mut site = site();
    let streams = begun(&mut site);
    let body = documents::order(1 << 10, "1.00");
    for stream in &streams {
        let outcome = site.workers[0].request_body(*stream, &body, true).unwrap();
        assert_eq!(verdict(&outcome), "allow");
    }
    let revoke = Revoke::new(Kind::Agent, gatepass_tests::kit::signed::AGENT, site.now());
    let delta = site.control.delta(&Changes::revoke(vec![revoke]), site.now()).unwrap();
    site.hear(&[delta]).unwrap();
    let mut before = 0;
    for _ in 0..20 {
        site.workers[0].tick().unwrap();
        let ended = over(&site, &streams, "reset");
        assert!(ended <= before + AT_ONCE, "{before} -> {ended}");
        before = ended;
    }
    assert_eq!(before, MANY);
}
