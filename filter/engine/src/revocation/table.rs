//! Twelve bytes for each revocation, found by its hash.
//!
//! Open addressing in [`SEGMENTS`] parts. Memory of Wasm never shrinks, so what is paid for is the
//! peak: a part that grows is copied by itself, and never the whole table beside its successor.
//! For the same reason, and so that a batch costs what it brings and not what is in force, what is
//! over is looked for in some parts at a time.

use super::{Below, Revocation, stricter};
use crate::clock::UnixSeconds;

/// What is in force, by hash.
#[derive(Clone, Debug)]
pub(super) struct Table {
    segments: Vec<Segment>,
    len: usize,
    /// The segment that is looked at next for what is over.
    sweep: usize,
}

/// One part. `keys` and `rules` are of one length.
#[derive(Clone, Debug, Default)]
struct Segment {
    /// [`EMPTY`] where there is none.
    keys: Vec<u64>,
    rules: Vec<u32>,
    len: usize,
    /// Those that four bytes do not say; a slot says which is its own.
    long: Vec<Rule>,
}

/// Which gatepasses are dead, and until when it is worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    below: Below,
    drop_after: UnixSeconds,
}

impl Table {
    /// With room for `total`.
    pub(super) fn new(total: usize) -> Self {
        let each = match total {
            0 => 0,
            // Parts are never filled all alike.
            _ => slots_for(total.div_ceil(SEGMENTS)).saturating_mul(33).div_ceil(32),
        };
        Self { segments: (0..SEGMENTS).map(|_| Segment::new(each)).collect(), len: 0, sweep: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn find(&self, key: u64) -> Option<Below> {
        let key = not_empty(key);
        let segment = self.segments.get(segment_of(key))?;
        segment.find(key).map(|rule| rule.below)
    }

    /// Merges one in; of two the stricter holds.
    pub(super) fn insert(&mut self, new: &Revocation) {
        let key = not_empty(new.key);
        let Some(segment) = self.segments.get_mut(segment_of(key)) else { return };
        let before = segment.len;
        segment.insert(key, Rule { below: new.below, drop_after: new.drop_after });
        self.len = self.len.saturating_add(segment.len.saturating_sub(before));
    }

    /// Ends what is over at `issued_at` in the next parts that hold `most` together, or in all of
    /// them. A key of `stays` never ends.
    pub(super) fn end(&mut self, issued_at: UnixSeconds, stays: &[u64], most: usize) {
        let mut looked_at = 0_usize;
        for _ in 0..SEGMENTS {
            let at = self.sweep % SEGMENTS;
            self.sweep = at.saturating_add(1);
            let Some(segment) = self.segments.get_mut(at) else { return };
            let before = segment.len;
            segment.end(issued_at, stays);
            self.len = self.len.saturating_sub(before.saturating_sub(segment.len));
            looked_at = looked_at.saturating_add(before);
            if looked_at > most {
                return;
            }
        }
    }
}

impl Segment {
    fn new(slots: usize) -> Self {
        Self { keys: vec![EMPTY; slots], rules: vec![0; slots], len: 0, long: Vec::new() }
    }

    /// The slot of the key, or the empty one where it would be; `None` when there is no slot.
    fn slot(&self, key: u64) -> Option<usize> {
        let start = first_slot(key, self.keys.len());
        let (before, from) = self.keys.split_at_checked(start)?;
        let fits = |found: &u64| *found == key || *found == EMPTY;
        match from.iter().position(fits) {
            Some(at) => Some(start.saturating_add(at)),
            None => before.iter().position(fits),
        }
    }

    fn find(&self, key: u64) -> Option<Rule> {
        let slot = self.slot(key).filter(|slot| self.keys.get(*slot) == Some(&key))?;
        self.rules.get(slot).map(|packed| self.unpacked(*packed))
    }

    fn insert(&mut self, key: u64, rule: Rule) {
        if let Some(old) = self.find(key) {
            let below = stricter(old.below, rule.below);
            let merged = Rule { below, drop_after: old.drop_after.max(rule.drop_after) };
            if merged != old {
                self.put(key, merged);
            }
            return;
        }
        if slots_for(self.len.saturating_add(1)) > self.keys.len() {
            let more = self.keys.len().saturating_div(4).saturating_add(8);
            self.rebuild(self.keys.len().saturating_add(more), |_, _| true);
        }
        self.put(key, rule);
        self.len = self.len.saturating_add(1);
    }

    fn end(&mut self, issued_at: UnixSeconds, stays: &[u64]) {
        let over = |key: u64, rule: Rule| issued_at > rule.drop_after && !stays.contains(&key);
        if self.all().any(|(key, rule)| over(key, rule)) {
            self.rebuild(self.keys.len(), |key, rule| !over(key, rule));
        }
    }

    /// Again, in so many slots, with those that are to be kept.
    fn rebuild(&mut self, slots: usize, keep: impl Fn(u64, Rule) -> bool) {
        let mut next = Self::new(slots);
        for (key, rule) in self.all().filter(|(key, rule)| keep(*key, *rule)) {
            next.put(key, rule);
            next.len = next.len.saturating_add(1);
        }
        *self = next;
    }

    fn all(&self) -> impl Iterator<Item = (u64, Rule)> {
        let used = self.keys.iter().zip(&self.rules).filter(|(key, _)| **key != EMPTY);
        used.map(|(key, packed)| (*key, self.unpacked(*packed)))
    }

    fn put(&mut self, key: u64, rule: Rule) {
        let slot = self.slot(key);
        // INVARIANT: there is an empty slot, since `insert` and `rebuild` see to it.
        let Some(slot) = slot else { return };
        let packed = self.packed(rule, self.rules.get(slot).copied().unwrap_or_default());
        if let (Some(at), Some(of)) = (self.keys.get_mut(slot), self.rules.get_mut(slot)) {
            *at = key;
            *of = packed;
        }
    }

    /// `old` is what the slot held; its place among the long ones is taken over.
    fn packed(&mut self, rule: Rule, old: u32) -> u32 {
        let seconds = u32::try_from(rule.drop_after.0).ok().filter(|at| *at < FIRST_LONG);
        if let (Below::Always, Some(seconds)) = (rule.below, seconds) {
            return seconds;
        }
        let place = place_of(old).unwrap_or(self.long.len());
        match self.long.get_mut(place) {
            Some(known) => *known = rule,
            None => self.long.push(rule),
        }
        // INVARIANT: a segment has fewer than a billion of them.
        u32::try_from(place).unwrap_or_default().saturating_add(FIRST_LONG)
    }

    fn unpacked(&self, packed: u32) -> Rule {
        let long = place_of(packed).and_then(|place| self.long.get(place));
        let short = Rule { below: Below::Always, drop_after: UnixSeconds(u64::from(packed)) };
        long.copied().unwrap_or(short)
    }
}

fn place_of(packed: u32) -> Option<usize> {
    packed.checked_sub(FIRST_LONG).and_then(|place| usize::try_from(place).ok())
}

/// One hash of 2^64 shares its neighbour's slot: it can only deny.
const fn not_empty(key: u64) -> u64 {
    if key == EMPTY { EMPTY.wrapping_add(1) } else { key }
}

const fn mixed(key: u64) -> u64 {
    key.wrapping_mul(ODD)
}

fn segment_of(key: u64) -> usize {
    usize::try_from(mixed(key) >> (64 - SEGMENT_BITS)).unwrap_or_default()
}

/// The bits below those that chose the segment, spread over the slots.
fn first_slot(key: u64, slots: usize) -> usize {
    let bits = mixed(key) << SEGMENT_BITS >> 32;
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    usize::try_from(bits.wrapping_mul(u64::from(slots)) >> 32).unwrap_or_default()
}

/// At most seven of eight are used, so that what is not there is soon known not to be.
const fn slots_for(len: usize) -> usize {
    len.saturating_mul(8).div_ceil(7)
}

const SEGMENT_BITS: u32 = 6;
const SEGMENTS: usize = 1 << SEGMENT_BITS;
const EMPTY: u64 = 0;
/// From here on a slot names a place among the long ones; before it, the second after which a revocation
/// for good ends, until the year 2072.
const FIRST_LONG: u32 = 0xc000_0000;
/// 2^64 over the golden ratio: what is no hash, in tests, is spread like one.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
