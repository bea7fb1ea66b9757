//! What happened: counts, and the last events before something went wrong.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display};

use super::clock::{Moment, SECOND};

/// Of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// Simulated milliseconds.
    pub(crate) simulated: Moment,
    pub(crate) events: BTreeMap<&'static str, u64>,
    pub(crate) requests: u64,
    pub(crate) allowed: u64,
    pub(crate) denied: BTreeMap<String, u64>,
    /// Of those allowed: after it had waited.
    pub(crate) held: u64,
    /// Requests that had to be allowed.
    pub(crate) owed: u64,
    pub(crate) owed_allowed: u64,
    /// Gatepasses that were dead when they were shown and refused, or cut.
    pub(crate) dead_refused: u64,
    pub(crate) cut: u64,
    pub(crate) counted: BTreeMap<String, u64>,
    pub(crate) violation: Option<Violation>,
    /// Of all that happened: the same for the same seed.
    pub(crate) fingerprint: u64,
    trace: VecDeque<String>,
}

/// What must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) at: Moment,
    pub(crate) text: String,
}

/// The promises that are held against what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Allowed, or still open, longer after it was stopped than a push takes, though all was well.
    Push,
    /// Allowed longer after it was stopped than its action's staleness bound.
    Stale,
    /// Answered from an older position or policy than one that its Envoy has answered from.
    Monotonic,
    /// Allowed with an expired gatepass.
    Expired,
    /// Allowed with what was never issued for it.
    Never,
    /// Denied though all was well.
    Owed,
    /// A policy or a cohort was changed although that had to be refused, or is not as it was left.
    Trial,
}

impl Report {
    pub(crate) fn of(seed: u64) -> Self {
        Self { seed, fingerprint: seed, ..Self::default() }
    }

    pub(crate) fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    pub(crate) fn note(&mut self, at: Moment, text: impl Display) {
        let line = format!("{:>12.3} {text}", at as f64 / SECOND as f64);
        self.mix(at);
        if self.trace.len() >= TRACED {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    pub(crate) fn mix(&mut self, what: u64) {
        // FNV-1a.
        for byte in what.to_le_bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    pub(crate) fn deny(&mut self, code: &str) {
        self.mix(code.len() as u64);
        match self.denied.get_mut(code) {
            Some(count) => *count += 1,
            None => drop(self.denied.insert(code.to_owned(), 1)),
        }
    }

    /// The first counts: what follows may follow from it.
    pub(crate) fn violate(&mut self, rule: Rule, at: Moment, text: String) {
        self.note(at, format_args!("VIOLATION {rule:?}: {text}"));
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, at, text });
        }
    }

    /// Takes the counts of another run in.
    pub(crate) fn add(&mut self, other: &Self) {
        self.simulated += other.simulated;
        self.requests += other.requests;
        self.allowed += other.allowed;
        self.held += other.held;
        self.owed += other.owed;
        self.owed_allowed += other.owed_allowed;
        self.dead_refused += other.dead_refused;
        self.cut += other.cut;
        for (event, count) in &other.events {
            *self.events.entry(event).or_default() += count;
        }
        for (mine, others) in
            [(&mut self.denied, &other.denied), (&mut self.counted, &other.counted)]
        {
            for (name, count) in others {
                *mine.entry(name.clone()).or_default() += count;
            }
        }
    }

    /// What a person needs to look into it.
    pub(crate) fn failure(&self) -> String {
        let Some(violation) = &self.violation else { return String::new() };
        let trace: Vec<&str> = self.trace.iter().map(String::as_str).collect();
        format!(
            "seed {}: {:?} at {:.3} s: {}\nrepeat it with GATEPASS_SEED={} make sim\nthe last events, in \
             seconds:\n{}",
            self.seed,
            violation.rule,
            violation.at as f64 / SECOND as f64,
            violation.text,
            self.seed,
            trace.join("\n")
        )
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "simulated: {:.1} h", self.simulated as f64 / 3_600_000.0)?;
        writeln!(f, "events: {:?}", self.events)?;
        writeln!(
            f,
            "requests: {}; allowed {} ({} of them had waited); denied {:?}",
            self.requests, self.allowed, self.held, self.denied
        )?;
        writeln!(
            f,
            "of these had to be allowed {}, and were {}; stopped before they were shown, and refused {}; \
             streams cut {}",
            self.owed, self.owed_allowed, self.dead_refused, self.cut
        )?;
        write!(f, "counted by the gates: {:?}", self.counted)
    }
}

/// Lines kept of what happened last.
const TRACED: usize = 80;
