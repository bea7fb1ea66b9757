//! Numbers modulo p = 2^255 - 19, two at a time: each is the sum of twelve doubles, its limbs. Limb `i` is a
//! multiple of 2^ceil(21.25 i), of 22 bits or 21, with a sign (Bernstein, "Curve25519: new Diffie-Hellman
//! speed records", 2006, which has twelve such limbs of 80-bit floating point).
//!
//! What may go into a product is four times as large as what comes out. `tests::nothing_is_ever_rounded`
//! runs the very code below on what is known of numbers instead of numbers, and proves it.

#![expect(
    clippy::indexing_slicing,
    reason = "twelve limbs, indexed by constants and by loops that end at twelve"
)]

use core::hint::black_box;
use core::ops::{Add, Mul, Sub};

use crate::lanes::{Lanes, Limb};

/// Two numbers modulo p; the same number has many limbs. Only [`Pair::to_bytes`] is canonical.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair([Lanes; LIMBS]);

/// A pair as the right side of a product: the limbs that a product's columns ask for, twice, first
/// those that are carried round from 2^255 (`19 / 2^255` times as large).
#[derive(Clone, Copy)]
pub(crate) struct Factor<L = Lanes>([L; 2 * LIMBS]);

impl Pair {
    /// The same number twice.
    pub(crate) fn both(number: &[u8; 32]) -> Self {
        Self::from_bytes([number, number])
    }

    /// Little endian; the highest bit is ignored.
    pub(crate) fn from_bytes(numbers: [&[u8; 32]; 2]) -> Self {
        Self(core::array::from_fn(|i| {
            let [first, second] = numbers.map(|bytes| {
                bits_of(bytes, STARTS[i], STARTS[i + 1] - STARTS[i]) as f64
                    * power_of_two(STARTS[i])
            });
            Lanes::new(first, second)
        }))
    }

    /// The canonical 32 bytes of each, little endian, below p.
    pub(crate) fn to_bytes(self) -> [[u8; 32]; 2] {
        // A product with one makes the limbs small.
        let small = self.times(&Self::both(&ONE).factor()).0;
        [small.map(Lanes::first), small.map(Lanes::second)].map(canonical)
    }

    pub(crate) fn factor(&self) -> Factor {
        let mut factor = Factor::none();
        factor.set(self);
        factor
    }

    pub(crate) fn times(&self, factor: &Factor) -> Self {
        let mut out = Self([Lanes::both(0.0); LIMBS]);
        multiply(&self.0, factor, &mut out.0);
        out
    }

    #[inline]
    pub(crate) fn times_into(&self, factor: &Factor, out: &mut Self) {
        multiply(&self.0, factor, &mut out.0);
    }

    /// `self * factor + more`, each limb for itself: for the sign of a number.
    pub(crate) fn scaled_plus(&self, factor: Lanes, more: &Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i].times_plus(factor, more.0[i])))
    }

    /// The limbs of both as a table keeps them, of no more than two products.
    pub(crate) fn packed(&self) -> [[u32; PACKED]; 2] {
        let mut limbs = self.0;
        carry(&mut limbs);
        [limbs.map(Lanes::first), limbs.map(Lanes::second)].map(|limbs| {
            let mut out = [0; PACKED];
            for (i, limb) in limbs.iter().enumerate() {
                let limb = (limb * power_of_two(STARTS[i]).recip()) as i32 as u32 & 0xff_ffff;
                let (word, shift) = (24 * i / 32, 24 * i % 32);
                out[word] |= limb << shift;
                if shift > 8 {
                    out[word + 1] |= limb >> (32 - shift);
                }
            }
            out
        })
    }

    /// One number of each: the first ones, or the second ones.
    pub(crate) fn firsts(a: &Self, b: &Self) -> Self {
        Self(core::array::from_fn(|i| Lanes::new(a.0[i].first(), b.0[i].first())))
    }

    pub(crate) fn seconds(a: &Self, b: &Self) -> Self {
        Self(core::array::from_fn(|i| Lanes::new(a.0[i].second(), b.0[i].second())))
    }

    /// Both squared so many times.
    pub(crate) fn squared(self, times: u32) -> Self {
        (0..times).fold(self, |square, _| square * square)
    }
}

impl<L: Limb> Factor<L> {
    #[inline(always)]
    fn set_limbs(&mut self, limbs: &[L; LIMBS]) {
        let round = L::both(ROUND);
        for (i, limb) in limbs.iter().enumerate() {
            self.0[i] = *limb * round;
            self.0[LIMBS + i] = *limb;
        }
    }
}

impl Factor {
    pub(crate) fn none() -> Self {
        Self([Lanes::both(0.0); 2 * LIMBS])
    }

    #[inline]
    pub(crate) fn set(&mut self, number: &Pair) {
        self.set_limbs(&number.0);
    }

    /// A number of each of two tables. A word more is read than it takes.
    #[inline]
    pub(crate) fn unpack(&mut self, first: &[u32], second: &[u32]) {
        let groups = first[..PACKED + 1].windows(4).zip(second[..PACKED + 1].windows(4));
        for (group, (first, second)) in groups.step_by(3).enumerate() {
            let four = |words: &[u32]| [words[0], words[1], words[2], words[3]];
            for (at, limb) in Lanes::unpack(four(first), four(second)).into_iter().enumerate() {
                let i = 4 * group + at;
                self.0[i] = limb * Lanes::both(power_of_two(STARTS[i]) * ROUND);
                self.0[LIMBS + i] = limb * Lanes::both(power_of_two(STARTS[i]));
            }
        }
    }
}

/// At most 32 bits of a little-endian number, from bit `at` on.
#[inline(always)]
pub(crate) fn bits_of(bytes: &[u8; 32], at: usize, bits: usize) -> u64 {
    let byte = |more: usize| bytes.get(at / 8 + more).copied().map_or(0, u64::from) << (8 * more);
    let word = byte(0) | byte(1) | byte(2) | byte(3) | byte(4);
    (word >> (at % 8)) & ((1 << bits) - 1)
}

/// Of limbs as they come out of a product.
fn canonical(limbs: [f64; LIMBS]) -> [u8; 32] {
    let mut limbs: [i64; LIMBS] =
        core::array::from_fn(|i| (limbs[i] * power_of_two(STARTS[i]).recip()) as i64);
    let bits = |i: usize| STARTS[i + 1] - STARTS[i];
    // How often p goes into it: 0 or 1 for a positive number, -1 for a negative one.
    let mut over = (19 * limbs[LIMBS - 1] + (1 << 20)) >> 21;
    for (i, limb) in limbs.iter().enumerate() {
        over = (limb + over) >> bits(i);
    }
    limbs[0] += 19 * over;
    let mut carry = 0;
    let mut out = [0; 32];
    for (i, limb) in limbs.iter().enumerate() {
        let sum = limb + carry;
        carry = sum >> bits(i);
        let low = sum - (carry << bits(i));
        let (byte, shift) = (STARTS[i] / 8, STARTS[i] % 8);
        for (more, place) in out[byte..].iter_mut().take(4).enumerate() {
            *place |= ((low << shift) >> (8 * more)) as u8;
        }
    }
    out
}

impl Add for &Pair {
    type Output = Pair;

    #[inline(always)]
    fn add(self, other: Self) -> Pair {
        Pair(core::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Sub for &Pair {
    type Output = Pair;

    #[inline(always)]
    fn sub(self, other: Self) -> Pair {
        Pair(core::array::from_fn(|i| self.0[i] - other.0[i]))
    }
}

impl Mul for Pair {
    type Output = Self;

    /// Not inlined: tables are made of hundreds of these, once.
    #[inline(never)]
    fn mul(self, other: Self) -> Self {
        self.times(&other.factor())
    }
}

/// Column `k` has `f[i] * g[k - i]`, and what lies twelve limbs higher carried round. The limbs have their
/// places in them, so that no product lies half a bit off.
#[inline(never)]
fn multiply<L: Limb>(f: &[L; LIMBS], g: &Factor<L>, out: &mut [L; LIMBS]) {
    let [h0, h1, h2, h3, h4, h5] = columns::<0, L>(f, g);
    let [h6, h7, h8, h9, h10, h11] = columns::<6, L>(f, g);
    let mut h = [h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, h10, h11];
    carry(&mut h);
    *out = h;
}

/// Six columns: so many sums, and what they are made of, have room in sixteen registers.
#[inline(always)]
fn columns<const FROM: usize, L: Limb>(f: &[L; LIMBS], g: &Factor<L>) -> [L; 6] {
    let mut h = [L::both(0.0); 6];
    // Unrolled, everything would be loaded first, and be put away again: so the compiler does not know how
    // often, nor that `g` moves along.
    for turn in 0..black_box(LIMBS / STEP) {
        let f = f[LIMBS - STEP * (turn + 1)..].first_chunk::<STEP>();
        let g = g.0[FROM + 1 + STEP * turn..].first_chunk::<{ 5 + STEP }>();
        let Some((f, g)) = f.zip(black_box(g)) else { continue };
        for step in 0..STEP {
            h = core::array::from_fn(|k| f[STEP - 1 - step].times_plus(g[k + step], h[k]));
        }
    }
    h
}

/// Three chains at once, so that none waits for another.
#[inline(always)]
fn carry<L: Limb>(h: &mut [L; LIMBS]) {
    // From memory: a constant of two lanes takes three instructions.
    let roundings = black_box(L::ROUNDINGS);
    carry_one::<0, L>(h, roundings);
    carry_one::<4, L>(h, roundings);
    carry_one::<8, L>(h, roundings);
    carry_one::<1, L>(h, roundings);
    carry_one::<5, L>(h, roundings);
    carry_one::<9, L>(h, roundings);
    carry_one::<2, L>(h, roundings);
    carry_one::<6, L>(h, roundings);
    carry_one::<10, L>(h, roundings);
    carry_one::<3, L>(h, roundings);
    carry_one::<7, L>(h, roundings);
    carry_one::<11, L>(h, roundings);
    carry_one::<4, L>(h, roundings);
    carry_one::<8, L>(h, roundings);
    carry_one::<0, L>(h, roundings);
}

#[inline(always)]
fn carry_one<const FROM: usize, L: Limb>(h: &mut [L; LIMBS], roundings: &[L; LIMBS]) {
    let (low, high) = h[FROM].split(roundings[FROM]);
    h[FROM] = low;
    if FROM == LIMBS - 1 {
        h[0] = high.times_plus(L::both(ROUND), h[0]);
    } else {
        h[FROM + 1] = h[FROM + 1] + high;
    }
}

pub(crate) const fn power_of_two(exponent: usize) -> f64 {
    f64::from_bits((1023 + exponent as u64) << 52)
}

pub(crate) const LIMBS: usize = 12;
/// Limbs of the left side that a turn takes.
const STEP: usize = 2;
/// Words that twelve limbs of three bytes take.
pub(crate) const PACKED: usize = 9;
/// Where limbs begin, in bits, and where they end.
pub(crate) const STARTS: [usize; LIMBS + 1] =
    [0, 22, 43, 64, 85, 107, 128, 149, 170, 192, 213, 234, 255];
/// `19 / 2^255`: 2^255 is 19 modulo p.
const ROUND: f64 = 19.0 / power_of_two(255);
pub(crate) const ONE: [u8; 32] = {
    let mut one = [0; 32];
    one[0] = 1;
    one
};

#[cfg(test)]
mod tests;
