//! What the leader heard, appended to the log: roots that go on, a new base, deltas that join on, a
//! newer checkpoint.

use gatepass_engine::Gate;
use gatepass_engine::batch::{Header, Shape};
use gatepass_engine::clock::Milliseconds;
use gatepass_engine::refusal::{Refusal, RefusalCode};

use super::Exchange;
use crate::log::{BankKey, EnvelopeDigest, Log, MAX_ENVELOPES, Place, Stored};
use crate::shared::SharedData;

impl Exchange {
    pub(super) fn append(
        &self,
        log: &mut Log,
        gate: &Gate,
        roots: &[&[u8]],
        fresh: &[(Header, &[u8])],
        data: &mut impl SharedData,
        by: Writer,
    ) -> Appended {
        let Writer { owner, received } = by;
        let mut out = Appended::default();
        if roots.is_empty() && log.roots.is_empty() && !fresh.is_empty() {
            out.refuse(RefusalCode::Gap, "no root document came with it");
            return out;
        }
        let bank = log.bank_of(owner).unwrap_or(0) & 1;
        let parts: Vec<&(Header, &[u8])> =
            fresh.iter().filter(|(h, _)| h.shape() == Shape::Snapshot).collect();
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
            let at = Some(first.position());
            let floor = self.newest(log).max(gate.position());
            // A newer root may keep the position or, to reset it, lower it.
            let follows = (roots.len() > log.roots.len() || log.is_empty()) && gate.is_next(first);
            // So it is while a reset is owed: the first snapshot under its root may have come before the
            // date that a thief gave to what is in force, and was refused by every VM.
            let owed = gate.is_next(first) && at < gate.position() && self.renews(log, first);
            let accepted =
                follows || owed || at > floor || (at == floor && self.renews(log, first));
            if !whole {
                out.refuse(RefusalCode::Gap, "a part of the snapshot is missing");
                out.wants_snapshot = true;
            } else if !accepted && at < floor {
                out.refuse(RefusalCode::Rollback, "the snapshot is older than what is in force");
            }
            if whole && !known && accepted {
                let base: Option<Vec<Stored>> = (0..)
                    .zip(&parts)
                    .map(|(number, (_, envelope))| {
                        let key = BankKey { owner, bank: bank ^ 1, number };
                        Log::store(key, envelope, received, data, &self.prefix)
                    })
                    .collect();
                if let Some(base) = base {
                    *log = Log { roots: core::mem::take(&mut log.roots), base, ..Log::default() };
                    out.changed = true;
                }
            }
        }
        if roots.len() > log.roots.len() {
            log.roots = roots.iter().map(|root| root.to_vec()).collect();
            out.changed = true;
        }
        for (header, envelope) in fresh {
            if header.shape() != Shape::Snapshot
                && Some(header.position()) < self.newest(log)
                && !log.holds(EnvelopeDigest::of(envelope))
            {
                out.refuse(RefusalCode::Rollback, "older than what is in force");
                continue;
            }
            if gate.position().is_none() && log.is_empty() && header.shape() != Shape::Snapshot {
                out.refuse(RefusalCode::Gap, "there is no snapshot that it could join on to");
            }
            match header.shape() {
                Shape::Snapshot => {}
                Shape::Delta => out.merge(self.append_delta(log, header, envelope, data, by)),
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
        Writer { owner, received }: Writer,
    ) -> Appended {
        let Some(newest) = self.newest(log) else {
            return Appended::wanting();
        };
        if header.position() <= newest {
            return Appended::default();
        }
        if header.epoch != newest.epoch || header.from > newest.sequence {
            let mut out = Appended::wanting();
            out.refuse(RefusalCode::Gap, "the delta does not join on");
            return out;
        }
        if log.len() >= MAX_ENVELOPES {
            return Appended::wanting();
        }
        // Without the checkpoint, which comes and goes: a number must not be given out twice.
        let Ok(number) = u16::try_from(log.base.len().saturating_add(log.deltas.len())) else {
            return Appended::wanting();
        };
        let key = BankKey { owner, bank: log.bank_of(owner).unwrap_or(0) & 1, number };
        match Log::store(key, envelope, received, data, &self.prefix) {
            Some(stored) => {
                log.deltas.push(stored);
                log.checkpoint = None;
                Appended::changed()
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
        let newest = self.newest(log);
        if newest != Some(header.position()) {
            let mut out = Appended::default();
            if newest.is_some() {
                // What led there was not told.
                out.wants_snapshot = true;
                out.refuse(RefusalCode::Gap, "a checkpoint of a position that is not in force");
            }
            return out;
        }
        let at = Some(header.issued_at);
        let last = self.last_issued_at(log);
        // One of the same second as the base still renews VMs that had the base's position.
        if last > at || (last == at && log.checkpoint.is_some()) {
            return Appended::default();
        }
        let digest = EnvelopeDigest::of(envelope);
        log.checkpoint = Some(Stored { received, digest, place: Place::Here(envelope.to_vec()) });
        Appended::changed()
    }

    /// Whether a snapshot of the same position is a newer one than the log's base, and no older
    /// than its newest proof: two genuine ones in turn must not replace each other for ever.
    fn renews(&self, log: &Log, header: &Header) -> bool {
        let base = log.base.first().and_then(|stored| self.issued_at_of(stored));
        let last = self.last_issued_at(log);
        base < Some(header.issued_at) && last <= Some(header.issued_at)
    }
}

/// Who appends, and when it heard what it appends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer {
    pub(super) owner: u8,
    pub(super) received: Milliseconds,
}

/// What appending did.
#[derive(Clone, Debug, Default)]
pub(super) struct Appended {
    pub(super) changed: bool,
    pub(super) wants_snapshot: bool,
    pub(super) refusals: Vec<Refusal>,
}

impl Appended {
    fn changed() -> Self {
        Self { changed: true, ..Self::default() }
    }

    fn wanting() -> Self {
        Self { wants_snapshot: true, ..Self::default() }
    }

    fn refuse(&mut self, code: RefusalCode, why: &str) {
        self.refusals.push(Refusal { code, detail: why.to_owned() });
    }

    fn merge(&mut self, other: Self) {
        self.changed |= other.changed;
        self.wants_snapshot |= other.wants_snapshot;
        self.refusals.extend(other.refusals);
    }
}
