//! Gatepasses whose signature was verified, by their exact text: a second look costs no signature and
//! no parsing.
//!
//! INVARIANT: what is kept is a function of the bytes alone (these bytes verify under the key that they
//! name, and say this). Expiry, revocation, the key's window, issuer, environment, audience, scopes and
//! policy are asked on each hit as on each miss, because [`Signed`] says nothing of them.
//!
//! Bounded in bytes. Only what is signed by an issuer key gets in, so whoever sends junk neither fills it
//! nor drives anything out. The whole text is compared: no two texts are ever taken for each other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::gatepass::Signed;

/// The cache of one gate in one VM.
pub struct TokenCache {
    most: usize,
    bytes: usize,
    index: HashMap<u64, usize, BuildHasherDefault<AsIs>>,
    slots: Vec<Slot>,
    /// Where the next to go is looked for (the clock algorithm: who was used since the hand came by
    /// stays once more).
    hand: usize,
}

struct Slot {
    text: Box<[u8]>,
    signed: Signed,
    weight: usize,
    used: bool,
}

/// Where a gatepass is kept, until the next [`TokenCache::keep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl TokenCache {
    /// One that takes so many bytes at most; the newest is kept whatever it takes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, bytes: 0, index: HashMap::default(), slots: Vec::new(), hand: 0 }
    }

    #[must_use]
    pub fn find(&mut self, text: &[u8]) -> Option<Place> {
        let at = *self.index.get(&fingerprint(text)?)?;
        let slot = self.slots.get_mut(at).filter(|slot| same(&slot.text, text))?;
        slot.used = true;
        Some(Place(at))
    }

    #[must_use]
    pub fn get(&self, place: Place) -> Option<&Signed> {
        self.slots.get(place.0).map(|slot| &slot.signed)
    }

    /// Keeps a gatepass, at the cost of others where there is no room.
    pub fn keep(&mut self, text: &[u8], signed: Signed) -> Option<Place> {
        let key = fingerprint(text)?;
        if let Some(at) = self.index.get(&key).copied() {
            self.drop_slot(at);
        }
        let weight = text.len().saturating_add(signed.weight()).saturating_add(OVERHEAD);
        while !self.slots.is_empty() && self.bytes.saturating_add(weight) > self.most {
            let victim = self.victim();
            self.drop_slot(victim);
        }
        let at = self.slots.len();
        self.slots.push(Slot { text: text.into(), signed, weight, used: false });
        self.index.insert(key, at);
        self.bytes = self.bytes.saturating_add(weight);
        Some(Place(at))
    }

    /// Bytes taken, as they are counted.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The next that was not used lately; after [`MAX_STEPS`] the next whichever it is.
    fn victim(&mut self) -> usize {
        for _ in 0..MAX_STEPS {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            match self.slots.get_mut(self.hand) {
                Some(slot) if slot.used => slot.used = false,
                _ => break,
            }
            self.hand = self.hand.saturating_add(1);
        }
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
        self.hand
    }

    /// The last slot takes the place.
    fn drop_slot(&mut self, at: usize) {
        if at >= self.slots.len() {
            return;
        }
        let gone = self.slots.swap_remove(at);
        self.bytes = self.bytes.saturating_sub(gone.weight);
        if let Some(key) = fingerprint(&gone.text) {
            self.index.remove(&key);
        }
        if let Some(key) = self.slots.get(at).and_then(|moved| fingerprint(&moved.text)) {
            self.index.insert(key, at);
        }
    }
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

/// The fingerprint is a hash already.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// 64 bytes in base64url.
const SIGNATURE_CHARACTERS: usize = 86;
/// 2^64 divided by the golden ratio: spreads bits (Knuth, The Art of Computer Programming 6.4).
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bytes that a slot and its place in the index take beside what is counted, with the allocator's.
const OVERHEAD: usize = 160;
/// Slots that are looked at for one that may go.
const MAX_STEPS: usize = 64;

#[cfg(test)]
mod tests;
