//! Gatepasses whose signature was verified, by their exact text: a second look costs no signature and
//! no parsing.
//!
//! INVARIANT: what is kept is a function of the bytes alone (these bytes verify under the key that they
//! name, and say this). Expiry, revocation, the key's window, issuer, environment, audience, scopes and
//! policy are asked on each hit as on each miss, because [`Signed`] says nothing of them.
//!
//! Bounded in bytes. Only what is signed by an issuer key gets in, so whoever sends junk neither fills it
//! nor drives anything out. The whole text is compared: no two texts are ever taken for each other.
//!
//! Who stays when there is no room is decided as S3-FIFO does (Yang and others, "FIFO queues are all you
//! need for cache eviction", 2023): newcomers queue in a tenth of the room, whoever is used again there, or
//! comes back soon after, moves to the rest. A flood of gatepasses that are used once drives out no others.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::gatepass::Signed;

/// The cache of one gate in one VM.
pub struct TokenCache {
    most: usize,
    index: HashMap<u64, usize, BuildHasherDefault<AlreadyHashed>>,
    slots: Vec<Option<Slot>>,
    /// Places in `slots` that hold nothing.
    free: Vec<usize>,
    /// Oldest first.
    newcomers: Queue,
    residents: Queue,
    /// Fingerprints of newcomers that went unused, each in the one place that it can be in, where the next
    /// takes it: what is forgotten so is only a newcomer again.
    left: Vec<u64>,
}

struct Slot {
    text: Box<[u8]>,
    fingerprint: u64,
    /// Shared with the open requests that it granted.
    signed: Arc<Signed>,
    weight: usize,
    used: Cell<bool>,
}

/// Which queue has no room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Full {
    Newcomers,
    Residents,
}

#[derive(Default)]
struct Queue {
    places: VecDeque<usize>,
    bytes: usize,
}

/// Where a gatepass is kept, until the next [`TokenCache::keep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl TokenCache {
    /// One that takes so many bytes at most; the newest is kept whatever it takes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            index: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            newcomers: Queue::default(),
            residents: Queue::default(),
            left: Vec::new(),
        }
    }

    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<Place> {
        let at = *self.index.get(&fingerprint(text)?)?;
        self.slots.get(at)?.as_ref().filter(|slot| same(&slot.text, text)).map(|_| Place(at))
    }

    /// It was of use: found, and in its time. One that has expired is no reason to keep it.
    pub fn note_used(&self, place: Place) {
        if let Some(Some(slot)) = self.slots.get(place.0) {
            slot.used.set(true);
        }
    }

    #[must_use]
    pub fn get(&self, place: Place) -> Option<&Arc<Signed>> {
        self.slots.get(place.0)?.as_ref().map(|slot| &slot.signed)
    }

    /// Keeps a gatepass, at the cost of others where there is no room.
    pub fn keep(&mut self, text: &[u8], signed: Signed) -> Option<Place> {
        let fingerprint = fingerprint(text)?;
        let signed = Arc::new(signed);
        if let Some(at) = self.index.get(&fingerprint).copied() {
            self.replace(at, text, signed);
            return Some(Place(at));
        }
        let weight = weight(text, &signed);
        let comes_back = self.left_lately(fingerprint);
        while let Some(full) = self.full(weight, comes_back)
            && self.make_room(full)
        {}
        let slot = Slot { text: text.into(), fingerprint, signed, weight, used: Cell::new(false) };
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slots.push(None);
                self.slots.len().saturating_sub(1)
            }
        };
        *self.slots.get_mut(at)? = Some(slot);
        self.index.insert(fingerprint, at);
        match comes_back {
            true => self.residents.push(at, weight),
            false => self.newcomers.push(at, weight),
        }
        Some(Place(at))
    }

    /// Bytes taken, as they are counted.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.newcomers.bytes.saturating_add(self.residents.bytes)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The same again, or another text of the same fingerprint, for which whoever signs would have to
    /// sign two with one `R`: it is counted as the one before.
    fn replace(&mut self, at: usize, text: &[u8], signed: Arc<Signed>) {
        if let Some(Some(slot)) = self.slots.get_mut(at) {
            (slot.text, slot.signed) = (text.into(), signed);
        }
    }

    /// Which queue must let one go before another of that weight comes. Newcomers keep to their part even
    /// while the rest is empty: a flood of gatepasses that are used once then grows nothing, and its
    /// memory stays in the processor's cache.
    fn full(&self, weight: usize, comes_back: bool) -> Option<Full> {
        let share = self.most / NEWCOMERS_SHARE;
        let newcomers = self.newcomers.bytes.saturating_add(weight) > share;
        if newcomers && !comes_back && !self.newcomers.places.is_empty() {
            return Some(Full::Newcomers);
        }
        if self.bytes().saturating_add(weight) <= self.most {
            return None;
        }
        let newcomers = self.newcomers.bytes > share || self.residents.places.is_empty();
        Some(if newcomers { Full::Newcomers } else { Full::Residents })
    }

    /// Lets one go, or a newcomer that was used move on. False when there is none.
    fn make_room(&mut self, full: Full) -> bool {
        for step in 0..=MAX_STEPS {
            let queue = match full {
                Full::Newcomers => &mut self.newcomers,
                Full::Residents => &mut self.residents,
            };
            let Some(at) = queue.places.pop_front() else { return false };
            let Some(slot) = self.slots.get_mut(at) else { return false };
            let (weight, used) =
                slot.as_ref().map_or((0, false), |slot| (slot.weight, slot.used.get()));
            queue.bytes = queue.bytes.saturating_sub(weight);
            if used && step < MAX_STEPS {
                if let Some(slot) = slot {
                    slot.used.set(false);
                }
                self.residents.push(at, weight);
                match full {
                    Full::Newcomers => return true,
                    Full::Residents => continue,
                }
            }
            if let Some(gone) = slot.take() {
                self.free.push(at);
                self.index.remove(&gone.fingerprint);
                if full == Full::Newcomers {
                    self.remember(gone.fingerprint);
                }
            }
            return true;
        }
        false
    }

    fn remember(&mut self, fingerprint: u64) {
        if self.left.is_empty() {
            self.left = vec![0; LEFT_PLACES];
        }
        if let Some(place) = self.left.get_mut(place_of(fingerprint)) {
            *place = fingerprint;
        }
    }

    fn left_lately(&self, fingerprint: u64) -> bool {
        self.left.get(place_of(fingerprint)) == Some(&fingerprint)
    }
}

impl Queue {
    fn push(&mut self, at: usize, weight: usize) {
        self.places.push_back(at);
        self.bytes = self.bytes.saturating_add(weight);
    }
}

/// The fingerprints are hashes already; hashing them again would cost and add nothing.
#[derive(Clone, Copy, Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

const fn place_of(fingerprint: u64) -> usize {
    fingerprint as usize & (LEFT_PLACES - 1)
}

fn weight(text: &[u8], signed: &Signed) -> usize {
    text.len().saturating_add(signed.weight()).saturating_add(OVERHEAD)
}

/// Twelve characters at the start of the signature: 72 bits that whoever signs cannot choose (`R` of
/// RFC 8032 section 5.1.6 is a hash). `None` for a text too short to be a gatepass.
fn fingerprint(text: &[u8]) -> Option<u64> {
    let start = text.len().checked_sub(SIGNATURE_CHARACTERS)?;
    let (low, rest) = text.get(start..)?.split_first_chunk::<8>()?;
    let (high, _) = rest.split_first_chunk::<4>()?;
    let mixed = u64::from_le_bytes(*low).wrapping_mul(ODD) ^ u64::from(u32::from_le_bytes(*high));
    let mixed = mixed.wrapping_mul(ODD);
    Some(mixed ^ (mixed >> 32))
}

/// Compared without an early end, so that sixteen bytes are at once; nothing here is secret.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// 64 bytes in base64url.
const SIGNATURE_CHARACTERS: usize = 86;
/// 2^64 divided by the golden ratio: spreads bits (Knuth, The Art of Computer Programming 6.4).
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bytes that a slot and its place in the index take beside what is counted, with the allocator's.
const OVERHEAD: usize = 160;
/// Used ones that move on before one goes, used or not.
const MAX_STEPS: usize = 64;
/// Newcomers have one part in so many of the room.
const NEWCOMERS_SHARE: usize = 10;
/// Of those that went unused, at most so many are known when they come back: 512 KiB, taken when the
/// first goes. A power of two.
const LEFT_PLACES: usize = 65_536;

#[cfg(test)]
mod tests;
