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
use gatepass_engine::batch::{Feed, Header, Shape};
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::position::Position;
use gatepass_engine::refusal::{Refusal, RefusalCode};
use sha2::{Digest, Sha256};

use crate::attempts;
use crate::configuration::Prefix;
use crate::log::{BankKey, EnvelopeDigest, Log, MAX_ENVELOPES, Place, Stored};
use crate::shared::{SharedData, When, is_later};

/// One VM's side of the exchange.
#[derive(Debug)]
pub struct Exchange {
    prefix: Prefix,
    remembered: Option<u32>,
    /// The envelopes of the newest log that this VM has looked at, and what it found.
    seen: HashMap<EnvelopeDigest, Seen>,
    roots_seen: Option<[u8; 32]>,
    want_seen: Option<u32>,
}

/// What this VM found of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Its signature and identity are right.
    Verified {
        position: Position,
        issued_at: UnixSeconds,
        expires_at: UnixSeconds,
        /// The gate has taken it, or has found that it never will.
        settled: bool,
    },
    /// It is none that this gate would ever take.
    Refused,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Something was read and may have been applied.
    pub news: bool,
    /// `log` or something in it does not verify.
    pub forged: u32,
    pub refusals: Vec<Refusal>,
}

/// What a publish did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub written: bool,
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
            prefix,
            remembered: None,
            seen: HashMap::new(),
            roots_seen: None,
            want_seen: None,
        }
    }

    /// Brings `gate` up to the newest state that any VM of this Envoy has served.
    pub fn check(&mut self, data: &mut impl SharedData, gate: &mut Gate, now: Now) -> Checked {
        let gen_key = self.prefix.key("gen");
        let x = data.number(&gen_key);
        if x.is_some() && x == self.remembered {
            return Checked::default();
        }
        let mut checked = Checked {
            news: true,
            ..Checked::default()
        };
        let mut y = None;
        if let Some((bytes, number)) = data.read(&self.prefix.key("log")) {
            y = Some(number);
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
            let _ = data.write(&gen_key, &[], When::Always);
        }
        if gate.behind().is_some() {
            let _ = data.write(&self.prefix.key("want"), &[], When::Always);
        }
        let whole = checked.forged == 0
            && !checked
                .refusals
                .iter()
                .any(|refusal| refusal.code == RefusalCode::Gap);
        if whole {
            self.remembered = x;
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
        let mut out = Published {
            written: false,
            wants_snapshot: false,
            refusals: Vec::new(),
        };
        if !feed.roots.is_empty() {
            // From the pinned keys, as a VM that starts anew will walk them; then from those in
            // force, without which the batches beside them could not be verified.
            let walked = gate
                .check_roots(&feed.roots, now.unix)
                .and_then(|_| gate.take_roots(&feed.roots, now.unix));
            if let Err(refusal) = walked {
                out.refusals.push(refusal);
                return out;
            }
        }
        let mut fresh: Vec<(Header, &[u8])> = Vec::new();
        for envelope in &feed.batches {
            match gate.preview(envelope, now) {
                Ok(header) => {
                    self.seen
                        .insert(EnvelopeDigest::of(envelope), Seen::of(&header));
                    fresh.push((header, envelope));
                }
                Err(refusal) => out.refusals.push(refusal),
            }
        }
        let key = self.prefix.key("log");
        for _ in 0..MAX_TRIES {
            let (mut log, when) = match data.read(&key) {
                None => (Log::default(), When::Still(self.gen_number(data))),
                Some((bytes, number)) => {
                    (Log::decode(&bytes).unwrap_or_default(), When::Still(number))
                }
            };
            let mut ignored = Checked::default();
            self.learn(&log, data, gate, now, &mut ignored);
            if ignored.forged > 0 {
                log = Log::default();
            }
            let appended = self.append(&mut log, feed, &fresh, data, owner, now.monotonic);
            out.wants_snapshot = appended.wants_snapshot || log.wants_base();
            if !appended.changed {
                if let (Some(x), When::Still(y)) = (data.number(&self.prefix.key("gen")), when)
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
        let log = data
            .read(&self.prefix.key("log"))
            .and_then(|(bytes, _)| Log::decode(&bytes).ok());
        let Some(log) = log else {
            return Standing {
                newest: None,
                wants_snapshot: true,
            };
        };
        let mut ignored = Checked::default();
        self.learn(&log, data, gate, now, &mut ignored);
        let newest = self.newest(&log);
        let aged = log
            .base
            .iter()
            .chain(&log.deltas)
            .any(|stored| self.half_over(stored, now.unix));
        let wanted = self.wanted(data);
        let lost = gate.position() > newest;
        let wants_snapshot =
            newest.is_none() || ignored.forged > 0 || aged || wanted || lost || log.wants_base();
        Standing {
            newest,
            wants_snapshot,
        }
    }

    /// A new leader writes `gen` again: the one before may have died between its two writes.
    pub fn announce(&self, data: &mut impl SharedData) {
        let _ = data.write(&self.prefix.key("gen"), &[], When::Always);
    }

    /// The number of `gen`, which is set first where it is missing.
    fn gen_number(&self, data: &mut impl SharedData) -> u32 {
        let key = self.prefix.key("gen");
        if let Some(number) = data.number(&key) {
            return number;
        }
        self.announce(data);
        data.number(&key).unwrap_or(u32::MAX)
    }

    fn wanted(&mut self, data: &mut impl SharedData) -> bool {
        let number = data.number(&self.prefix.key("want"));
        let changed = number.is_some() && number != self.want_seen;
        self.want_seen = number;
        changed
    }

    fn half_over(&self, stored: &Stored, now: UnixSeconds) -> bool {
        match self.seen.get(&stored.digest) {
            Some(Seen::Verified {
                issued_at,
                expires_at,
                ..
            }) => {
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
        for stored in log.envelopes() {
            // One that was only learnt of as leader, or that did not join on yet, is not settled.
            if let Some(found) = before.get(&stored.digest) {
                self.seen.insert(stored.digest, *found);
                if found.is_settled() {
                    continue;
                }
            }
            let Some(bytes) = Log::fetch(stored, data, &self.prefix) else {
                checked.forged = checked.forged.saturating_add(1);
                continue;
            };
            let Some(mut found) = inspect(gate, &bytes, now, checked) else {
                continue;
            };
            if let Seen::Verified { settled, .. } = &mut found {
                *settled = self.apply(stored, &bytes, data, gate, now, checked);
            }
            self.seen.insert(stored.digest, found);
        }
    }

    /// Applies one envelope under the count of attempts; false when it should be tried again.
    fn apply(
        &self,
        stored: &Stored,
        bytes: &[u8],
        data: &mut impl SharedData,
        gate: &mut Gate,
        now: Now,
        checked: &mut Checked,
    ) -> bool {
        let key = self.prefix.key("try");
        if attempts::is_poison(data, &key, stored.digest, now.monotonic) {
            checked.refusals.push(Refusal {
                code: RefusalCode::Poison,
                detail: "applying it ended several VMs before".to_owned(),
            });
            return true;
        }
        attempts::begin(data, &key, stored.digest, now.monotonic);
        let applied = gate.apply(bytes, stored.received.min(now.monotonic), now);
        attempts::end(data, &key, stored.digest);
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
        for stored in log.envelopes() {
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
                    if let Some(found) = inspect(gate, &bytes, now, checked) {
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
        log.base
            .iter()
            .chain(&log.deltas)
            .last()
            .and_then(|stored| self.position_of(stored))
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

    fn append(
        &self,
        log: &mut Log,
        feed: &Feed<'_>,
        fresh: &[(Header, &[u8])],
        data: &mut impl SharedData,
        owner: u8,
        received: Milliseconds,
    ) -> Appended {
        let mut out = Appended::default();
        let bank = log.bank_of(owner).unwrap_or(0) & 1;
        let parts: Vec<&(Header, &[u8])> = fresh
            .iter()
            .filter(|(h, _)| h.shape() == Shape::Snapshot)
            .collect();
        if let Some((first, _)) = parts.first() {
            let whole = parts.len() == usize::from(first.parts)
                && (0..first.parts).zip(&parts).all(|(part, (header, _))| {
                    header.part == part
                        && header.position() == first.position()
                        && header.whole_digest == first.whole_digest
                });
            let known = log.base.first().is_some_and(|stored| {
                stored.digest == EnvelopeDigest::of(parts.first().map_or(&[], |p| p.1))
            });
            let newer_root = feed.roots.len() > log.roots.len();
            if whole && !known && (newer_root || Some(first.position()) >= self.newest(log)) {
                let base: Option<Vec<Stored>> = (0..)
                    .zip(&parts)
                    .map(|(number, (_, envelope))| {
                        let key = BankKey {
                            owner,
                            bank: bank ^ 1,
                            number,
                        };
                        Log::store(key, envelope, received, data, &self.prefix)
                    })
                    .collect();
                if let Some(base) = base {
                    *log = Log {
                        roots: core::mem::take(&mut log.roots),
                        base,
                        ..Log::default()
                    };
                    out.changed = true;
                }
            }
        }
        if feed.roots.len() > log.roots.len() || log.roots.is_empty() {
            log.roots = feed.roots.iter().map(|root| root.to_vec()).collect();
            out.changed |= !feed.roots.is_empty();
        }
        for (header, envelope) in fresh {
            match header.shape() {
                Shape::Snapshot => {}
                Shape::Delta => {
                    out.merge(self.append_delta(log, header, envelope, data, owner, received))
                }
                Shape::Checkpoint => {
                    out.merge(self.append_checkpoint(log, header, envelope, received))
                }
            }
        }
        out
    }

    fn append_delta(
        &self,
        log: &mut Log,
        header: &Header,
        envelope: &[u8],
        data: &mut impl SharedData,
        owner: u8,
        received: Milliseconds,
    ) -> Appended {
        let Some(newest) = self.newest(log) else {
            return Appended::wanting();
        };
        if header.position() <= newest {
            return Appended::default();
        }
        let joins = header.epoch == newest.epoch && header.from <= newest.sequence;
        if !joins || log.len() >= MAX_ENVELOPES {
            return Appended::wanting();
        }
        let Ok(number) = u16::try_from(log.len()) else {
            return Appended::wanting();
        };
        let key = BankKey {
            owner,
            bank: log.bank_of(owner).unwrap_or(0) & 1,
            number,
        };
        match Log::store(key, envelope, received, data, &self.prefix) {
            Some(stored) => {
                log.deltas.push(stored);
                log.checkpoint = None;
                Appended {
                    changed: true,
                    wants_snapshot: false,
                }
            }
            None => Appended::wanting(),
        }
    }

    fn append_checkpoint(
        &self,
        log: &mut Log,
        header: &Header,
        envelope: &[u8],
        received: Milliseconds,
    ) -> Appended {
        if self.newest(log) != Some(header.position()) {
            return Appended::default();
        }
        let last = log
            .envelopes()
            .last()
            .and_then(|stored| self.issued_at_of(stored));
        if last >= Some(header.issued_at) {
            return Appended::default();
        }
        let digest = EnvelopeDigest::of(envelope);
        log.checkpoint = Some(Stored {
            received,
            digest,
            place: Place::Here(envelope.to_vec()),
        });
        Appended {
            changed: true,
            wants_snapshot: false,
        }
    }
}

impl Seen {
    const fn of(header: &Header) -> Self {
        Self::Verified {
            position: header.position(),
            issued_at: header.issued_at,
            expires_at: header.expires_at,
            settled: false,
        }
    }

    const fn is_settled(self) -> bool {
        match self {
            Self::Verified { settled, .. } => settled,
            Self::Refused => true,
        }
    }
}

/// What appending did.
#[derive(Clone, Copy, Debug, Default)]
struct Appended {
    changed: bool,
    wants_snapshot: bool,
}

impl Appended {
    const fn wanting() -> Self {
        Self {
            changed: false,
            wants_snapshot: true,
        }
    }

    fn merge(&mut self, other: Self) {
        self.changed |= other.changed;
        self.wants_snapshot |= other.wants_snapshot;
    }
}

/// Verifies an envelope. `None`: not usable now, perhaps later (a clock that is behind).
fn inspect(gate: &Gate, bytes: &[u8], now: Now, checked: &mut Checked) -> Option<Seen> {
    match gate.preview(bytes, now) {
        Ok(header) => Some(Seen::of(&header)),
        Err(refusal) => {
            let forged = matches!(
                refusal.code,
                RefusalCode::BadSignature
                    | RefusalCode::BadPayloadType
                    | RefusalCode::Poison
                    | RefusalCode::WrongEnvironment
                    | RefusalCode::WrongAudience
            );
            let passing = refusal.code == RefusalCode::ClockSkew;
            if forged {
                checked.forged = checked.forged.saturating_add(1);
            }
            checked.refusals.push(refusal);
            if passing { None } else { Some(Seen::Refused) }
        }
    }
}

/// Times that a publish starts again when another VM wrote first.
const MAX_TRIES: usize = 16;
