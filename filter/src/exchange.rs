//! How the VMs of one Envoy share one state: publish and check (02-wire-formats, "Within one
//! Envoy").
//!
//! **Invariant:** a VM never answers from a state older than one that any VM of this Envoy has
//! answered from. `tests/tests/exchange_model.rs` explores the protocol exhaustively.
//!
//! *Check*, on each request and tick: (1) read the number x of `gen`; equal to the one remembered:
//! nothing new. (2) Else read `log` with its number y and apply what is newer. (3) If x is not
//! later than y, write `gen` before answering. (4) Remember x, but only when everything could be
//! applied: else the next check would take an older state for the newest.
//!
//! *Publish*, by the leader: read `log`, append what joins on, write with the number read; on a
//! mismatch start again; then write `gen`, also when there was nothing to append and `gen` is
//! older than `log`, because the leader that wrote it may have died in between. The leader, too,
//! applies only through the check.
//!
//! `log` is made with the number of `gen`: no other key can ever carry it, while any constant
//! could be given out to `log` itself.

use std::collections::HashMap;

use gatepass_engine::Gate;
use gatepass_engine::batch::{Feed, Header};
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::gate::Authentic;
use gatepass_engine::position::Position;
use gatepass_engine::refusal::{Refusal, RefusalCode};
use sha2::{Digest, Sha256};

use crate::attempts;
use crate::configuration::Prefix;
use crate::log::{EnvelopeDigest, Log, Stored};
use crate::shared::{SharedData, When, is_later};

mod append;
mod seen;

use append::Writer;
use seen::{Seen, inspect};

/// One VM's side of the exchange.
#[derive(Debug)]
pub struct Exchange {
    prefix: Prefix,
    /// Asked for by every request.
    gen_key: String,
    remembered: Option<u32>,
    /// The envelopes of the newest log that this VM has looked at, and what it found.
    seen: HashMap<EnvelopeDigest, Seen>,
    roots_seen: Option<[u8; 32]>,
    /// The number of the `log` that could not be applied whole, and when.
    failed: Option<(u32, Milliseconds)>,
    want_seen: Option<u32>,
    /// The number of the log that was looked at last as leader.
    stood_at: Option<u32>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Something was read and may have been applied.
    pub news: bool,
    /// There is more that the next check takes.
    pub more: bool,
    /// `log` or something in it does not verify.
    pub forged: u32,
    pub refusals: Vec<Refusal>,
}

/// What a publish did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub written: bool,
    /// As in [`Checked`]: workers need not have read what the leader writes anew.
    pub forged: u32,
    /// The feed must be asked for a snapshot next.
    pub wants_snapshot: bool,
    pub refusals: Vec<Refusal>,
}

/// What the leader knows of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The newest position that the log leads to.
    pub newest: Option<Position>,
    /// A new base is due: none is there, it outgrew its bound, half of its life is over, or
    /// somebody wants it.
    pub wants_snapshot: bool,
}

impl Exchange {
    #[must_use]
    pub fn new(prefix: Prefix) -> Self {
        Self {
            gen_key: prefix.key("gen"),
            prefix,
            remembered: None,
            seen: HashMap::new(),
            roots_seen: None,
            failed: None,
            want_seen: None,
            stood_at: None,
        }
    }

    /// Brings `gate` up to the newest state that any VM of this Envoy has served.
    pub fn check(&mut self, data: &mut impl SharedData, gate: &mut Gate, now: Now) -> Checked {
        let x = data.number(&self.gen_key);
        if x.is_some() && x == self.remembered {
            return Checked::default();
        }
        let mut checked = Checked { news: true, ..Checked::default() };
        let mut y = None;
        if let Some((bytes, number)) = data.read(&self.prefix.key("log")) {
            y = Some(number);
            let failed_just_now = self.failed.is_some_and(|(log, at)| {
                log == number && at <= now.monotonic && now.monotonic.since(at) < RETRY_EVERY
            });
            if failed_just_now && x.is_some() {
                // The same log would fail the same way; what it made known stays known.
                return Checked::default();
            }
            match Log::decode(&bytes) {
                Ok(log) => self.take(&log, data, gate, now, &mut checked),
                Err(_) => checked.forged = checked.forged.saturating_add(1),
            }
        }
        let later = match (x, y) {
            (Some(x), Some(y)) => is_later(x, y),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !later && y.is_some() {
            // Cannot fail: it has no condition.
            let _ = data.write(&self.gen_key, &[], When::Always);
        }
        if gate.behind().is_some() || checked.forged > 0 {
            let _ = data.write(&self.prefix.key("want"), &[], When::Always);
        }
        let failed = checked.forged > 0
            || checked
                .refusals
                .iter()
                .any(|refusal| matches!(refusal.code, RefusalCode::Gap | RefusalCode::ClockSkew));
        self.failed = None;
        if !failed && !checked.more {
            self.remembered = x;
        } else if let Some(y) = y
            && failed
        {
            self.failed = Some((y, now.monotonic));
        }
        checked
    }

    /// Appends what `feed` brings and joins on. `received` is now.
    /// `owner` is this VM's place.
    pub fn publish(
        &mut self,
        data: &mut impl SharedData,
        gate: &mut Gate,
        feed: &Feed<'_>,
        owner: u8,
        now: Now,
    ) -> Published {
        let mut out =
            Published { written: false, forged: 0, wants_snapshot: false, refusals: Vec::new() };
        // The root documents, if another VM that has only them gets to where this one is.
        let mut roots: &[&[u8]] = &[];
        if !feed.roots.is_empty() {
            // From the pinned keys, as a VM that starts anew will walk them; then from those in
            // force, without which the batches beside them could not be verified.
            let walked = gate
                .check_roots(&feed.roots, now.unix)
                .and_then(|version| gate.take_roots(&feed.roots, now.unix).map(|()| version));
            match walked {
                Ok(version) if version == gate.root_version() => roots = &feed.roots,
                Ok(_) => {}
                Err(refusal) => {
                    out.refusals.push(refusal);
                    return out;
                }
            }
        }
        let mut fresh: Vec<(Header, &[u8])> = Vec::new();
        for envelope in &feed.batches {
            match gate.vouch(envelope, now) {
                Ok(header) => {
                    self.seen.insert(EnvelopeDigest::of(envelope), Seen::of(&header));
                    fresh.push((header, envelope));
                }
                Err(refusal) => out.refusals.push(refusal),
            }
        }
        if out.refusals.iter().any(|refusal| refusal.code == RefusalCode::ClockSkew) {
            // The signer's clock was ahead, and ours reaches one of its batches after the other: each would pass
            // for fresh then, though what came after it has long been said.
            fresh.clear();
        }
        let by = Writer { owner, received: now.monotonic };
        let key = self.prefix.key("log");
        let of_batches = out.refusals.len();
        for _ in 0..MAX_TRIES {
            out.refusals.truncate(of_batches);
            let mut found = Checked::default();
            let (mut log, when) = match data.read(&key) {
                None => (Log::default(), When::Still(self.gen_number(data))),
                Some((bytes, number)) => {
                    let log = Log::decode(&bytes).unwrap_or_else(|_| {
                        found.forged = 1;
                        Log::default()
                    });
                    (log, When::Still(number))
                }
            };
            self.learn(&log, data, gate, now, &mut found);
            out.forged = found.forged;
            if found.forged > 0 {
                log = Log::default();
            }
            let appended = self.append(&mut log, gate, roots, &fresh, data, by);
            out.wants_snapshot = appended.wants_snapshot || log.wants_base();
            out.refusals.extend(appended.refusals);
            out.wants_snapshot |= out.refusals.iter().any(is_mended_by_snapshot);
            if !appended.changed {
                if let (Some(x), When::Still(y)) = (data.number(&self.gen_key), when)
                    && !is_later(x, y)
                {
                    self.announce(data);
                }
                return out;
            }
            let Some(bytes) = log.encode() else {
                return out;
            };
            if data.write(&key, &bytes, when).is_ok() {
                self.announce(data);
                out.written = true;
                return out;
            }
        }
        out
    }

    /// What the leader asks the feed for next.
    pub fn standing(&mut self, data: &mut impl SharedData, gate: &mut Gate, now: Now) -> Standing {
        let log =
            data.read(&self.prefix.key("log")).and_then(|(bytes, _)| Log::decode(&bytes).ok());
        let Some(log) = log else {
            return Standing { newest: None, wants_snapshot: true };
        };
        let mut ignored = Checked::default();
        self.learn(&log, data, gate, now, &mut ignored);
        let newest = self.newest(&log);
        let head = log.base.first();
        let aged = head.iter().copied().chain(&log.deltas).any(|s| self.half_over(s, now.unix));
        let wanted = self.wanted(data);
        let lost = gate.position() > newest;
        let wants_snapshot =
            newest.is_none() || ignored.forged > 0 || aged || wanted || lost || log.wants_base();
        Standing { newest, wants_snapshot }
    }

    /// [`Exchange::standing`] when somebody wrote `log` since this was asked last. `gen` does not
    /// tell: who overwrites `log` alone leaves it as it is.
    pub fn standing_anew(
        &mut self,
        data: &mut impl SharedData,
        gate: &mut Gate,
        now: Now,
    ) -> Option<Standing> {
        let number = data.read(&self.prefix.key("log")).map(|(_, number)| number);
        if number == self.stood_at {
            return None;
        }
        self.stood_at = number;
        Some(self.standing(data, gate, now))
    }

    /// A new leader writes `gen` again: the one before may have died between its two writes.
    pub fn announce(&self, data: &mut impl SharedData) {
        let _ = data.write(&self.gen_key, &[], When::Always);
    }

    /// The number of `gen`, which is set first where it is missing.
    fn gen_number(&self, data: &mut impl SharedData) -> u32 {
        if let Some(number) = data.number(&self.gen_key) {
            return number;
        }
        self.announce(data);
        data.number(&self.gen_key).unwrap_or(u32::MAX)
    }

    /// Whether a VM asked for a new base since this was asked last.
    pub fn wanted(&mut self, data: &mut impl SharedData) -> bool {
        let number = data.number(&self.prefix.key("want"));
        let changed = number.is_some() && number != self.want_seen;
        self.want_seen = number;
        changed
    }

    fn half_over(&self, stored: &Stored, now: UnixSeconds) -> bool {
        match self.seen.get(&stored.digest) {
            Some(Seen::Verified { issued_at, expires_at, .. }) => {
                let life = expires_at.since(*issued_at);
                now.since(*issued_at) > life / 2
            }
            Some(Seen::Refused) | None => true,
        }
    }

    /// Applies what is new in `log`, oldest first.
    fn take(
        &mut self,
        log: &Log,
        data: &mut impl SharedData,
        gate: &mut Gate,
        now: Now,
        checked: &mut Checked,
    ) {
        self.take_roots(log, gate, now, checked);
        let before = core::mem::take(&mut self.seen);
        let mut spent = 0_usize;
        for (place, stored) in log.envelopes().enumerate() {
            // One that was only learnt of as leader, or that did not join on yet, is not settled.
            if let Some(found) = before.get(&stored.digest) {
                self.seen.insert(stored.digest, *found);
                if found.is_settled() {
                    continue;
                }
            }
            if place > 0 && place < log.base.len() && self.has_base(log, gate) {
                continue;
            }
            // A gate without position and policy answers nothing, so it may take what it loads in turns.
            if spent >= AT_ONCE && gate.position().is_none() && gate.index().is_none() {
                checked.more = true;
                continue;
            }
            let Some(bytes) = Log::fetch(stored, data, &self.prefix) else {
                checked.forged = checked.forged.saturating_add(1);
                continue;
            };
            spent = spent.saturating_add(bytes.len());
            let Some(authentic) = inspect(gate, &bytes, now, checked) else {
                continue;
            };
            let found = match authentic {
                None => Seen::Refused,
                Some(authentic) => {
                    let found = Seen::of(authentic.header());
                    match self.apply(stored, &authentic, data, gate, now, checked) {
                        true => found.settled(),
                        false => found,
                    }
                }
            };
            self.seen.insert(stored.digest, found);
        }
    }

    /// Whether the gate is where the base leads to, as its first part says: then the others say nothing
    /// new, and verifying a million revocations again would stop the worker for most of a second.
    fn has_base(&self, log: &Log, gate: &Gate) -> bool {
        let base = log.base.first().and_then(|first| self.position_of(first));
        base.is_some() && gate.position() >= base && !gate.is_loading() && gate.behind().is_none()
    }

    /// Applies one envelope under the count of attempts; false when it should be tried again.
    fn apply(
        &self,
        stored: &Stored,
        authentic: &Authentic,
        data: &mut impl SharedData,
        gate: &mut Gate,
        now: Now,
        checked: &mut Checked,
    ) -> bool {
        let key = self.prefix.key("try");
        let content = content_of(authentic.header());
        if attempts::is_poison(data, &key, content, now.monotonic) {
            checked.refusals.push(Refusal {
                code: RefusalCode::Poison,
                detail: "applying it ended several VMs before".to_owned(),
            });
            // The record is nobody's word, the batch is ours: what is in force is older than it.
            gate.fall_behind(authentic.header().position());
            return true;
        }
        attempts::begin(data, &key, content, now.monotonic);
        let received = stored.received.min(now.monotonic);
        let bundle = bundle_of(content);
        let mut open = Some(content);
        // A bundle that ends VMs costs no revocation: those are in force by then, and counted apart.
        let applied = gate.apply_authentic(authentic, received, now, || {
            if let Some(content) = open.take() {
                attempts::end(data, &key, content);
            }
            if attempts::is_poison(data, &key, bundle, now.monotonic) {
                return false;
            }
            attempts::begin(data, &key, bundle, now.monotonic);
            open = Some(bundle);
            true
        });
        if let Some(begun) = open {
            attempts::end(data, &key, begun);
        }
        match applied {
            Ok(_) => true,
            Err(refusal) => {
                let settled = refusal.code != RefusalCode::Gap;
                checked.refusals.push(refusal);
                settled
            }
        }
    }

    /// Verifies what is new in `log` without applying it: the leader's view before it appends.
    fn learn(
        &mut self,
        log: &Log,
        data: &mut impl SharedData,
        gate: &mut Gate,
        now: Now,
        checked: &mut Checked,
    ) {
        self.take_roots(log, gate, now, checked);
        for (place, stored) in log.envelopes().enumerate() {
            if place > 0 && place < log.base.len() && self.has_base(log, gate) {
                continue;
            }
            match self.seen.get(&stored.digest) {
                Some(Seen::Verified { .. }) => continue,
                Some(Seen::Refused) => {
                    checked.forged = checked.forged.saturating_add(1);
                    continue;
                }
                None => {}
            }
            match Log::fetch(stored, data, &self.prefix) {
                None => checked.forged = checked.forged.saturating_add(1),
                Some(bytes) => {
                    if let Some(read) = inspect(gate, &bytes, now, checked) {
                        let found = read.map_or(Seen::Refused, |batch| Seen::of(batch.header()));
                        self.seen.insert(stored.digest, found);
                    }
                }
            }
        }
    }

    fn take_roots(&mut self, log: &Log, gate: &mut Gate, now: Now, checked: &mut Checked) {
        if log.roots.is_empty() {
            return;
        }
        let mut hash = Sha256::new();
        for root in &log.roots {
            hash.update((root.len() as u64).to_le_bytes());
            hash.update(root);
        }
        let digest: [u8; 32] = hash.finalize().into();
        if self.roots_seen == Some(digest) {
            return;
        }
        let roots: Vec<&[u8]> = log.roots.iter().map(Vec::as_slice).collect();
        match gate.take_roots(&roots, now.unix) {
            Ok(()) => {
                self.roots_seen = Some(digest);
                // What an older root did not vouch for may be vouched for now.
                self.seen.retain(|_, found| *found != Seen::Refused);
            }
            Err(refusal) => {
                checked.forged = checked.forged.saturating_add(1);
                checked.refusals.push(refusal);
            }
        }
    }

    fn newest(&self, log: &Log) -> Option<Position> {
        log.deltas.last().or(log.base.first()).and_then(|stored| self.position_of(stored))
    }

    /// When the newest of the log was issued; a base by its first part.
    fn last_issued_at(&self, log: &Log) -> Option<UnixSeconds> {
        let last = log.checkpoint.as_ref().or(log.deltas.last()).or(log.base.first());
        last.and_then(|stored| self.issued_at_of(stored))
    }

    fn position_of(&self, stored: &Stored) -> Option<Position> {
        match self.seen.get(&stored.digest) {
            Some(Seen::Verified { position, .. }) => Some(*position),
            Some(Seen::Refused) | None => None,
        }
    }

    fn issued_at_of(&self, stored: &Stored) -> Option<UnixSeconds> {
        match self.seen.get(&stored.digest) {
            Some(Seen::Verified { issued_at, .. }) => Some(*issued_at),
            Some(Seen::Refused) | None => None,
        }
    }
}

fn is_mended_by_snapshot(refusal: &Refusal) -> bool {
    matches!(refusal.code, RefusalCode::Gap | RefusalCode::Poison)
}

/// What a batch says, whoever signed it when: a snapshot that is signed anew every second ends the
/// VM all the same.
fn content_of(header: &Header) -> EnvelopeDigest {
    let mut hash = Sha256::new();
    for number in [header.epoch, header.from, header.to, u64::from(header.part)] {
        hash.update(number.to_le_bytes());
    }
    hash.update(header.whole_digest);
    EnvelopeDigest(hash.finalize().into())
}

/// The bundle of such a batch, counted apart.
fn bundle_of(content: EnvelopeDigest) -> EnvelopeDigest {
    let mut hash = Sha256::new();
    hash.update(content.0);
    hash.update(b"bundle");
    EnvelopeDigest(hash.finalize().into())
}

/// Bytes that one check reads of what a gate without a position loads: some hundredths of a second.
const AT_ONCE: usize = 256 * 1024;
/// Milliseconds after which a log that could not be applied whole is tried again: without it each
/// request would do the work of verifying it anew.
const RETRY_EVERY: u64 = 50;
/// Times that a publish starts again when another VM wrote first.
const MAX_TRIES: usize = 16;
