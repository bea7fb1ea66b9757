//! The records of one VM until the control plane has them: a ring of fixed size, numbered and chained
//! (`gatepass_engine::record`).
//!
//! **When it is full, the newest are dropped.** Were it the oldest, whoever has done what they want nobody to
//! see would only have to make noise until it is gone. What was dropped is counted by outcome and code, and
//! the count is an entry of the chain as soon as there is room: a gap that says its size.
//!
//! **Who is unknown pushes nobody out.** Decisions without a verified gatepass have entries of their own for a
//! few in a second, within an eighth of the room, and are counted beyond; denials of verified ones have half
//! of it. What is allowed has all: it is what reached a system.

use std::collections::VecDeque;

use gatepass_engine::clock::Milliseconds;
use gatepass_engine::record::{
    Counted, Decision, Entry, Hash, Header, MAX_ENTRY_BYTES, Outcome, Reporter, Sayings, Scratch,
    Why, append, chain, read_entry,
};
use sha2::{Digest as _, Sha256};

/// What a decision may take of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Allowed,
    /// Of a verified gatepass.
    Denied,
    Unverified,
}

/// What was decided and is not acknowledged.
#[derive(Default)]
pub struct Records {
    /// The reporter, encoded.
    who: Vec<u8>,
    open: Open,
    /// Of the first entry of `open`.
    first: u64,
    /// Of the last batch that was closed.
    head: Hash,
    closed: VecDeque<Closed>,
    /// Of `closed` and `open` together.
    held: Held,
    counters: Vec<Counter>,
    /// Of `open`.
    sayings: Sayings,
    scratch: Scratch,
    /// The second, and how many without a gatepass may still have an entry in it.
    turns: (u64, u32),
    /// Unix milliseconds at a monotonic time.
    clock: (u64, Milliseconds),
    now: Milliseconds,
    age: Option<u64>,
    /// Since it was asked last.
    dropped: u64,
}

/// The batch that is written.
#[derive(Default)]
struct Open {
    bytes: Vec<u8>,
    count: u32,
    hash: Sha256,
    held: Held,
    /// When its first entry or the first count came.
    since: Option<Milliseconds>,
}

/// A batch that is whole.
struct Closed {
    first: u64,
    count: u32,
    prev: Hash,
    hash: Hash,
    bytes: Vec<u8>,
    held: Held,
}

/// Bytes by what they are of.
#[derive(Clone, Copy, Default)]
struct Held {
    all: usize,
    denied: usize,
    unverified: usize,
}

struct Counter {
    why: Why,
    outcome: Outcome,
    code: &'static str,
    count: u64,
    from: u64,
    to: u64,
}

impl Records {
    #[must_use]
    pub fn new(reporter: &Reporter<'_>) -> Self {
        let who = postcard::to_allocvec(reporter).unwrap_or_default();
        let open = Open { hash: chain(&Hash::default(), 0, &who), ..Open::default() };
        // Of no second yet.
        Self { who, open, turns: (u64::MAX, 0), ..Self::default() }
    }

    /// What the wall says at this monotonic time.
    pub fn set_clock(&mut self, wall: u64, now: Milliseconds) {
        self.clock = (wall, now);
    }

    /// The time of what is added next, and the age of the state it is decided on.
    pub fn begin(&mut self, now: Milliseconds, age: Option<u64>) {
        self.now = now;
        self.age = age;
    }

    #[must_use]
    pub const fn age(&self) -> Option<u64> {
        self.age
    }

    /// Unix milliseconds.
    fn time(&self) -> u64 {
        self.clock.0.saturating_add(self.now.since(self.clock.1))
    }

    /// Whether one more without a verified gatepass may have an entry in this second.
    pub fn has_turn(&mut self) -> bool {
        let second = self.now.0 / 1_000;
        if self.turns.0 != second {
            self.turns = (second, UNVERIFIED_A_SECOND);
        }
        let left = self.turns.1.checked_sub(1);
        self.turns.1 = left.unwrap_or(0);
        left.is_some()
    }

    /// Writes one down, or counts it as dropped. Its time is set here.
    pub fn add(&mut self, class: Class, decision: Decision<'_>) {
        let (outcome, code) = (decision.outcome, decision.code);
        let mut decision = Decision { at: self.time(), ..decision };
        let written = self.has_room(class) && {
            let whole = self.decide(class, &decision);
            if !whole {
                // The policy shows much of large inputs: who and what comes before with which.
                decision.inputs.clear();
                decision.shadow_rules.clear();
            }
            whole || self.decide(class, &decision)
        };
        if !written {
            // INVARIANT: codes are the engine's own.
            let code = known_code(code);
            self.count(Why::Dropped, outcome, code);
        }
        if self.open.bytes.len() >= BATCH_BYTES {
            self.close();
        }
    }

    /// Counts one that has no entry.
    pub fn count(&mut self, why: Why, outcome: Outcome, code: &'static str) {
        let now = self.time();
        if why == Why::Dropped {
            self.dropped = self.dropped.saturating_add(1);
        }
        self.open.since.get_or_insert(self.now);
        let same =
            |known: &Counter| known.why == why && known.outcome == outcome && known.code == code;
        let at = self.counters.iter().position(same);
        if let Some(known) = at.and_then(|at| self.counters.get_mut(at)) {
            known.count = known.count.saturating_add(1);
            known.to = known.to.max(now);
        } else if self.counters.len() < MAX_COUNTERS {
            self.counters.push(Counter { why, outcome, code, count: 1, from: now, to: now });
        }
    }

    /// How many were dropped since this was asked last.
    pub fn take_dropped(&mut self) -> u64 {
        core::mem::take(&mut self.dropped)
    }

    /// Whether there is something to tell now.
    #[must_use]
    pub fn is_due(&self, now: Milliseconds) -> bool {
        !self.closed.is_empty()
            || self.open.since.is_some_and(|since| now.since(since) >= TELL_EVERY)
    }

    /// The oldest batch, as it is posted; the same until it was [`Records::taken`] or refused.
    pub fn oldest(&mut self) -> Option<Vec<u8>> {
        if self.closed.is_empty() {
            self.close();
        }
        let batch = self.closed.front()?;
        let reporter = postcard::from_bytes::<Reporter<'_>>(&self.who).ok()?;
        let header = Header {
            reporter,
            first: batch.first,
            count: batch.count,
            prev: batch.prev,
            hash: batch.hash,
        };
        let mut out = postcard::to_allocvec(&header).ok()?;
        out.extend_from_slice(&batch.bytes);
        Some(out)
    }

    /// The oldest was acknowledged.
    pub fn taken(&mut self) {
        if let Some(batch) = self.closed.pop_front() {
            self.held.take(batch.held);
        }
    }

    /// The oldest will never be taken. Its numbers stay missing, and its decisions are counted as dropped.
    pub fn refused(&mut self) {
        let Some(batch) = self.closed.pop_front() else { return };
        self.held.take(batch.held);
        let mut rest = batch.bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let size = usize::from(u16::from_le_bytes(*length));
            let Some((one, after)) = after.split_at_checked(size) else { return };
            let (outcome, times) = match read_entry(one) {
                Some(Entry::Decision(decision)) => (decision.outcome, 1),
                Some(Entry::Brief(brief)) => (brief.rest.outcome, 1),
                Some(Entry::Counted(counted)) => (counted.outcome, counted.count),
                None => return,
            };
            self.count(Why::Dropped, outcome, NOT_TAKEN);
            let others = times.saturating_sub(1);
            let same = |known: &&mut Counter| {
                known.why == Why::Dropped && known.outcome == outcome && known.code == NOT_TAKEN
            };
            if let Some(known) = self.counters.iter_mut().find(same) {
                known.count = known.count.saturating_add(others);
            }
            rest = after;
        }
    }

    fn has_room(&self, class: Class) -> bool {
        let after = self.held.all.saturating_add(MAX_ENTRY_BYTES);
        after <= RING_BYTES - COUNTS_BYTES
            && match class {
                Class::Allowed => true,
                Class::Denied => self.held.denied <= RING_BYTES / 2,
                Class::Unverified => self.held.unverified <= RING_BYTES / 8,
            }
    }

    /// False, and nothing is written, where it is too long.
    fn decide(&mut self, class: Class, decision: &Decision<'_>) -> bool {
        let start = self.open.bytes.len();
        let Open { bytes, count, .. } = &mut self.open;
        let fits = self.sayings.append(bytes, *count, decision, &mut self.scratch);
        if fits {
            self.written(class, start);
        }
        fits
    }

    fn write(&mut self, class: Class, entry: &Entry<'_>) -> bool {
        let start = self.open.bytes.len();
        let fits = append(&mut self.open.bytes, entry, &mut self.scratch);
        if fits {
            self.written(class, start);
        }
        fits
    }

    /// What stands behind `start` came to the open batch.
    fn written(&mut self, class: Class, start: usize) {
        let written = self.open.bytes.get(start..).unwrap_or_default();
        self.open.hash.update(written);
        let size = written.len();
        self.open.count = self.open.count.saturating_add(1);
        self.open.since.get_or_insert(self.now);
        for held in [&mut self.open.held, &mut self.held] {
            held.all = held.all.saturating_add(size);
            match class {
                Class::Allowed => {}
                Class::Denied => held.denied = held.denied.saturating_add(size),
                Class::Unverified => held.unverified = held.unverified.saturating_add(size),
            }
        }
    }

    /// Ends the batch that is written, with what was counted beside it.
    fn close(&mut self) {
        for counter in core::mem::take(&mut self.counters) {
            let Counter { why, outcome, code, count, from, to } = counter;
            let entry = Entry::Counted(Counted { why, outcome, code, count, from, to });
            let fits = self.held.all.saturating_add(COUNT_BYTES) <= RING_BYTES;
            if !fits || !self.write(Class::Allowed, &entry) {
                // It waits until something was acknowledged.
                self.counters.push(counter);
            }
        }
        if self.open.count == 0 {
            return;
        }
        let left = (!self.counters.is_empty()).then_some(self.now);
        let Open { bytes, count, hash, held, .. } = core::mem::take(&mut self.open);
        let hash = hash.finalize().into();
        self.closed.push_back(Closed {
            first: self.first,
            count,
            prev: self.head,
            hash,
            bytes,
            held,
        });
        self.first = self.first.saturating_add(count.into());
        self.head = hash;
        self.open.hash = chain(&self.head, self.first, &self.who);
        self.sayings.forget();
        self.open.since = left;
    }
}

impl Held {
    const fn take(&mut self, other: Self) {
        self.all = self.all.saturating_sub(other.all);
        self.denied = self.denied.saturating_sub(other.denied);
        self.unverified = self.unverified.saturating_sub(other.unverified);
    }
}

/// What a denial or a permit says of itself, as it stands in the program.
fn known_code(code: &str) -> &'static str {
    let codes = gatepass_engine::Code::ALL.iter().map(|code| code.as_str());
    let others = ["decided", "public", "passed_through"];
    codes.chain(others).find(|known| *known == code).unwrap_or(NOT_TAKEN)
}

/// The control plane took a batch of them as none.
const NOT_TAKEN: &str = "not_taken";
/// Bytes that wait at most, in each VM: some 14,000 decisions.
pub const RING_BYTES: usize = 4 << 20;
/// Of these, what only counts may have.
const COUNTS_BYTES: usize = 64 << 10;
/// More than one count takes.
const COUNT_BYTES: usize = 128;
/// A batch is closed when it has so many.
const BATCH_BYTES: usize = 128 << 10;
/// Milliseconds that an entry waits at most before it is posted.
const TELL_EVERY: u64 = 1_000;
/// Decisions without a verified gatepass that have an entry of their own, in one VM.
const UNVERIFIED_A_SECOND: u32 = 16;
/// More than there are kinds of counts.
const MAX_COUNTERS: usize = 1_024;

#[cfg(test)]
mod tests;
