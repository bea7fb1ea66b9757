//! The vectors through the engine itself.

use gatepass_engine::batch::Feed;
use gatepass_engine::body::Body;
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::{Decision, Header, Reason, Request, decide};
use gatepass_engine::gate::{Applied, Gate};
use gatepass_engine::refusal::RefusalCode;

use crate::format::{After, FeedVector, GateConfiguration, GatepassVector};

/// Both clocks move together.
fn at(unix: u64) -> Now {
    Now { unix: UnixSeconds(unix), monotonic: Milliseconds(unix * 1000) }
}

fn gate(configuration: &GateConfiguration, heard_at: u64) -> Gate {
    let mut gate = Gate::new(configuration.settings(), configuration.pinned());
    if let Some(baseline) = &configuration.baseline {
        let bytes = baseline.decoded();
        gate.baseline(&Feed::decode(&bytes).unwrap(), at(heard_at)).unwrap();
    }
    gate
}

/// What becomes of the root documents, or of the last batch when they are taken.
fn hear(gate: &mut Gate, answer: &[u8], now: Now) -> Result<Option<Applied>, RefusalCode> {
    let feed = Feed::decode(answer).unwrap();
    if !feed.roots.is_empty() {
        gate.take_roots(&feed.roots, now.unix).map_err(|refusal| refusal.code)?;
    }
    let applied = feed.batches.iter().map(|batch| gate.apply(batch, now.monotonic, now));
    let last = applied.last().transpose();
    while gate.prepare() {}
    last.map_err(|refusal| refusal.code)
}

/// `allow` and the reason, or status and code.
pub(crate) fn verdict(vector: &GatepassVector) -> String {
    let mut gate = gate(&vector.gate, vector.heard_at);
    if let Some(feed) = &vector.feed {
        // Some gates are in their state because something was refused.
        let _ = hear(&mut gate, &feed.decoded(), at(vector.heard_at));
    }
    let values: Vec<Vec<u8>> = vector.request.headers.iter().map(|header| header.bytes()).collect();
    let headers: Vec<Header<'_>> = vector
        .request
        .headers
        .iter()
        .zip(&values)
        .map(|(header, value)| Header { name: header.name.as_bytes(), value })
        .collect();
    let request = Request {
        headers: &headers,
        body: Body::after_headers(vector.request.ends_with_headers),
        source: None,
    };
    match decide(&request, &gate, at(vector.now)) {
        Decision::Deny(denial) => format!("{} {}", denial.code().status(), denial.code()),
        // Nobody is asked here.
        Decision::Redeem(redemption) => {
            let denial = redemption.unconfirmed("");
            format!("{} {}", denial.code().status(), denial.code())
        }
        Decision::Allow(permit) => match permit.reason() {
            Reason::Decided(_) => "allow decided".to_owned(),
            Reason::Shadow(denial) => format!("allow shadow: {}", denial.code()),
            Reason::Public => "allow public".to_owned(),
            Reason::PassedThrough => "allow passed_through".to_owned(),
        },
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}

/// What the last answer came to, and the state after it.
pub(crate) fn outcome(vector: &FeedVector) -> (String, After) {
    let first = vector.heard.first().map_or(vector.now, |heard| heard.at);
    let mut gate = gate(&vector.gate, first);
    for heard in &vector.heard {
        hear(&mut gate, &heard.feed.decoded(), at(heard.at)).unwrap();
    }
    let now = at(vector.now);
    let outcome = match hear(&mut gate, &vector.feed.decoded(), now) {
        Ok(Some(Applied::Moved(_))) => "moved",
        Ok(Some(Applied::Renewed)) => "renewed",
        Ok(Some(Applied::Part)) => "part",
        Ok(Some(Applied::Known)) => "known",
        Ok(None) => "nothing",
        Err(code) => code.as_str(),
    };
    let position = gate.position();
    // Seen from far enough ahead that no `issued_at` lies in the future.
    let later = vector.now + 1_000;
    let after = After {
        root_version: gate.root_version(),
        position: position.map(|at| [at.epoch, at.sequence]),
        fresh_as_of: gate.age(at(later)).map(|age| later - age / 1000),
    };
    (outcome.to_owned(), after)
}
