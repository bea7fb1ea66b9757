//! Requests that were let on and have not ended. A permit ends: what the engine would deny now is cut,
//! or a gatepass of minutes would be good for a stream of days.
//!
//! Each is decided again after news, and when time may have ended it. What a worker does for that in one
//! tick is bounded, and so is what it keeps. Requests without a gatepass have half of the places and a small
//! part of the memory at most, so that nobody without one keeps others out or makes much grow.

use core::net::IpAddr;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use gatepass_engine::Gate;
use gatepass_engine::clock::{Milliseconds, Now};
use gatepass_engine::decision::{Request, Standing};
use gatepass_engine::denial::Denial;
use gatepass_engine::token_cache::TokenCache;

use crate::decision_id::DecisionId;
use crate::pairs;
use crate::progress::Known;

/// The open requests of one gate in this VM.
#[derive(Default)]
pub(crate) struct Open {
    /// Boxed: they are moved about on every request.
    requests: HashMap<u32, Box<OpenRequest>, BuildHasherDefault<Spread>>,
    all: Share,
    /// Of those without a gatepass.
    unknown: Share,
    /// Something was read since the last round began.
    news: bool,
    /// Still to be decided again in this round. What was opened since was decided on what is newest.
    round: Vec<u32>,
    /// Those whose time may be over, as they were found: all of them have their turn before any has another.
    due: Vec<u32>,
}

/// One of them.
pub(crate) struct OpenRequest {
    standing: Standing,
    /// Of the decision that let it on.
    pub(crate) id: DecisionId,
    /// As it was decided on.
    source: Source,
    /// The header map as it came, where it is kept.
    headers: Option<Vec<u8>>,
    /// As it was decided on.
    body: Known,
    /// The gate's own state is to blame, and until then it may mend.
    patience: Option<Milliseconds>,
}

/// The caller's address, as a decision knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// No rule spoke of it.
    NotAsked,
    /// None where Envoy has none.
    Known(Option<IpAddr>),
}

impl Source {
    pub(crate) const fn address(self) -> Option<IpAddr> {
        match self {
            Self::NotAsked => None,
            Self::Known(address) => address,
        }
    }
}

#[derive(Default)]
struct Share {
    places: usize,
    bytes: usize,
}

/// Envoy counts contexts up, so nobody chooses them; a multiplication spreads them (Knuth, The Art of
/// Computer Programming 6.4).
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32((*byte).into()));
    }

    fn write_u32(&mut self, value: u32) {
        let mixed = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl OpenRequest {
    pub(crate) fn new(standing: Standing, id: DecisionId, source: Source) -> Box<Self> {
        Box::new(Self { standing, id, source, headers: None, body: Known::None, patience: None })
    }

    fn kept(&self) -> usize {
        let headers = self.headers.as_ref().map_or(0, Vec::len);
        headers.saturating_add(length(&self.body))
    }

    /// What it would be denied with now. `hold` is how long the gate's own state may take to mend.
    fn decide_again(
        &mut self,
        gate: &Gate,
        cache: &mut TokenCache,
        hold: u64,
        now: Now,
    ) -> Result<(), Denial> {
        // What was not asked for then is not known now: a rule that speaks of it could not be held to.
        let asks = gate.index().is_some_and(|index| index.rules().use_source());
        let known = !asks || self.source != Source::NotAsked;
        let headers = self.headers.as_deref();
        let headers = headers.filter(|_| known && self.standing.needs_request(gate));
        let decided = match headers.map(pairs::read) {
            Some(Ok(headers)) => {
                let request = Request {
                    headers: &headers,
                    body: self.body.as_body(),
                    source: self.source.address(),
                };
                self.standing.decide_anew(&request, gate, cache, now)
            }
            Some(Err(_)) | None => self.standing.still_stands(gate, now),
        };
        match decided {
            Ok(()) => {
                self.patience = None;
                Ok(())
            }
            Err(denial) if denial.hold().is_some() => {
                let until = *self.patience.get_or_insert(now.monotonic.plus(hold));
                if now.monotonic < until { Ok(()) } else { Err(denial) }
            }
            Err(denial) => Err(denial),
        }
    }

    fn is_due(&self, gate: &Gate, now: Now) -> bool {
        match self.patience {
            Some(until) => until <= now.monotonic,
            None => self.standing.is_due(gate, now),
        }
    }

    fn work(&self, gate: &Gate) -> usize {
        if self.standing.is_dear(gate) { DEAR } else { 1 }
    }
}

impl Open {
    /// Whether another fits: otherwise it must not go on, for nobody would watch it.
    pub(crate) fn has_room(&self, standing: &Standing) -> bool {
        self.all.places < MAX_OPEN && (standing.is_granted() || self.unknown.places < MAX_UNKNOWN)
    }

    /// Watches a request that [`Open::has_room`] for. Its headers, and the body where that was read, are kept
    /// while there is room for them; without them it ends when the policy changes.
    pub(crate) fn insert(
        &mut self,
        context: u32,
        mut request: Box<OpenRequest>,
        headers: Vec<u8>,
        body: Known,
    ) {
        let more = headers.len().saturating_add(length(&body));
        let after = |share: &Share| share.bytes.saturating_add(more);
        let granted = request.standing.is_granted();
        if headers.len() <= MAX_HEADER_BYTES
            && length(&body) <= MAX_BODY_BYTES
            && after(&self.all) <= MAX_BYTES
            && (granted || after(&self.unknown) <= MAX_UNKNOWN_BYTES)
        {
            request.headers = Some(headers);
            request.body = body;
        }
        self.place(context, request);
    }

    fn place(&mut self, context: u32, request: Box<OpenRequest>) {
        self.all.add(request.kept());
        if !request.standing.is_granted() {
            self.unknown.add(request.kept());
        }
        if let Some(old) = self.requests.insert(context, request) {
            self.give_back(&old);
        }
    }

    /// Watches one again that was taken out and could not be ended.
    pub(crate) fn put_back(&mut self, context: u32, request: Box<OpenRequest>) {
        self.place(context, request);
        self.note_news();
    }

    pub(crate) fn remove(&mut self, context: u32) -> Option<Box<OpenRequest>> {
        let request = self.requests.remove(&context)?;
        self.give_back(&request);
        Some(request)
    }

    fn give_back(&mut self, request: &OpenRequest) {
        self.all.take(request.kept());
        if !request.standing.is_granted() {
            self.unknown.take(request.kept());
        }
    }

    /// What was decided before may be decided otherwise now.
    pub(crate) const fn note_news(&mut self) {
        self.news = true;
    }

    /// Takes out those that would be denied now, each with its denial, so many at most.
    pub(crate) fn take_denied(
        &mut self,
        gate: &Gate,
        cache: &mut TokenCache,
        hold: u64,
        now: Now,
        most: usize,
    ) -> Vec<(u32, Box<OpenRequest>, Denial)> {
        let mut due = self.next_of_round(gate);
        let of_round = due.len();
        due.extend(self.next_that_is_due(gate, now));
        let mut denied = Vec::new();
        for (nth, context) in due.into_iter().enumerate() {
            if denied.len() >= most {
                let place = if nth < of_round { &mut self.round } else { &mut self.due };
                place.push(context);
                continue;
            }
            let Some(request) = self.requests.get_mut(&context) else { continue };
            let granted = request.standing.is_granted();
            let decided = request.decide_again(gate, cache, hold, now);
            self.moved(context, granted);
            if let Err(denial) = decided
                && let Some(request) = self.remove(context)
            {
                denied.push((context, request, denial));
            }
        }
        denied
    }

    /// As many as one tick has time for. A round is ended before the next begins, so that none waits
    /// for ever while news keeps coming.
    fn next_of_round(&mut self, gate: &Gate) -> Vec<u32> {
        if self.round.is_empty() && core::mem::take(&mut self.news) {
            self.round = self.requests.keys().copied().collect();
        }
        let mut work = 0_usize;
        let mut next = Vec::new();
        while work < WORK_OF_A_TICK
            && let Some(context) = self.round.pop()
        {
            if let Some(request) = self.requests.get(&context) {
                work = work.saturating_add(request.work(gate));
                next.push(context);
            }
        }
        next
    }

    /// As many as one tick has time for. Looking for them begins anew when all that were found had their turn.
    fn next_that_is_due(&mut self, gate: &Gate, now: Now) -> Vec<u32> {
        if self.due.is_empty() {
            let all = self.requests.iter().filter(|(_, request)| request.is_due(gate, now));
            self.due = all.map(|(context, _)| *context).collect();
        }
        let mut work = 0_usize;
        let mut next = Vec::new();
        while work < WORK_OF_A_TICK
            && let Some(context) = self.due.pop()
        {
            // It may have ended since, or have been decided again.
            let request = self.requests.get(&context);
            if let Some(request) = request.filter(|request| request.is_due(gate, now)) {
                work = work.saturating_add(request.work(gate));
                next.push(context);
            }
        }
        next
    }

    /// Another bundle may ask for a gatepass where none was asked for, or for none.
    fn moved(&mut self, context: u32, was_granted: bool) {
        let Some(request) = self.requests.get(&context) else { return };
        match (was_granted, request.standing.is_granted()) {
            (false, true) => self.unknown.take(request.kept()),
            (true, false) => self.unknown.add(request.kept()),
            (true, true) | (false, false) => {}
        }
    }
}

fn length(body: &Known) -> usize {
    match body {
        Known::Whole(bytes) => bytes.len(),
        Known::None | Known::ToCome | Known::Unfinished(_) => 0,
    }
}

impl Share {
    const fn add(&mut self, bytes: usize) {
        self.places = self.places.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn take(&mut self, bytes: usize) {
        self.places = self.places.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Requests that one worker has open at once.
const MAX_OPEN: usize = 65_536;
/// Bytes of headers and bodies that one worker keeps of them, and of one.
const MAX_BYTES: usize = 32 << 20;
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_BODY_BYTES: usize = 64 << 10;
/// Of both, what those without a gatepass may have.
const MAX_UNKNOWN: usize = 32_768;
const MAX_UNKNOWN_BYTES: usize = 4 << 20;
/// What deciding again costs at most in one tick, for news and for time each, counted in looks.
const WORK_OF_A_TICK: usize = 16_384;
/// A first look, or a whole decision, beside one more look.
const DEAR: usize = 8;
