//! Numbers modulo p = 2^255 - 19, as ten signed limbs of 26 and 25 bits by turns (radix 2^25.5; Bernstein
//! and others, "High-speed high-security signatures", 2012).
//!
//! A product's limbs are at most 2^25.03 and 2^24.03 in size; what may go into a product is four times
//! that. `tests::no_accumulator_can_overflow` runs the very code below on intervals and proves it.

#![expect(
    clippy::indexing_slicing,
    reason = "ten limbs, indexed by loops that end at ten: the compiler drops the checks"
)]

use core::ops::{Add, Mul, Sub};

/// A number modulo p; the same number has many limbs. Only [`Field::to_bytes`] is canonical.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field(pub(crate) [i64; LIMBS]);

impl Field {
    pub(crate) const ZERO: Self = Self([0; LIMBS]);
    pub(crate) const ONE: Self = Self([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    /// Little endian; the highest bit is ignored.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut at = 0;
        Self(BITS.map(|bits| {
            let limb = bits_of(bytes, at, bits);
            at += bits as usize;
            limb as i64
        }))
    }

    /// The canonical 32 bytes, little endian, below p.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        // A product with one makes the limbs small.
        let mut limbs = multiply(&self.0, &Self::ONE.0);
        // How often p goes into it: 0 or 1 for a positive number, -1 for a negative one.
        let mut over = (19 * limbs[9] + (1 << 24)) >> 25;
        for (limb, bits) in limbs.iter().zip(BITS) {
            over = (limb + over) >> bits;
        }
        limbs[0] += 19 * over;
        let mut carry = 0;
        for (limb, bits) in limbs.iter_mut().zip(BITS) {
            let sum = *limb + carry;
            carry = sum >> bits;
            *limb = sum - (carry << bits);
        }
        let mut out = [0; 32];
        let mut at = 0_usize;
        for (limb, bits) in limbs.iter().zip(BITS) {
            let (byte, shift) = (at / 8, at % 8);
            for (more, place) in out[byte..].iter_mut().take(5).enumerate() {
                *place |= ((limb << shift) >> (8 * more)) as u8;
            }
            at += bits as usize;
        }
        out
    }

    pub(crate) fn is_zero(self) -> bool {
        self.to_bytes() == [0; 32]
    }

    /// The lowest bit of the canonical number: the sign of an `x`.
    pub(crate) fn is_odd(self) -> bool {
        self.to_bytes()[0] & 1 == 1
    }

    pub(crate) fn negated(self) -> Self {
        Self(self.0.map(|limb| -limb))
    }

    /// The limbs as a table keeps them; they are made small first.
    pub(crate) fn packed(self) -> [i32; LIMBS] {
        multiply(&self.0, &Self::ONE.0).map(|limb| limb as i32)
    }

    pub(crate) fn unpacked(limbs: &[i32; LIMBS]) -> Self {
        Self(limbs.map(i64::from))
    }

    /// Squared so many times.
    pub(crate) fn squared(self, times: u32) -> Self {
        (0..times).fold(self, |square, _| square * square)
    }
}

/// At most 32 bits of a little-endian number, from bit `at` on.
#[inline(always)]
pub(crate) fn bits_of(bytes: &[u8; 32], at: usize, bits: u32) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(at / 8)) {
        *to = *from;
    }
    (u64::from_le_bytes(word) >> (at % 8)) & ((1 << bits) - 1)
}

impl Add for Field {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let mut out = self.0;
        for (limb, more) in out.iter_mut().zip(other.0) {
            *limb += more;
        }
        Self(out)
    }
}

impl Sub for Field {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let mut out = self.0;
        for (limb, less) in out.iter_mut().zip(other.0) {
            *limb -= less;
        }
        Self(out)
    }
}

impl Mul for Field {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self(multiply(&self.0, &other.0))
    }
}

/// What limbs are made of: numbers, or in the proof intervals of them.
trait Limb: Copy + Add<Output = Self> + Mul<Output = Self> {
    /// Times a small constant.
    fn times(self, factor: i64) -> Self;
    /// `(low, high)` with `self = low + high * 2^bits`, `low` rounded to nearest.
    fn split(self, bits: u32) -> (Self, Self);
}

impl Limb for i64 {
    fn times(self, factor: i64) -> Self {
        self * factor
    }

    fn split(self, bits: u32) -> (Self, Self) {
        let high = (self + (1 << (bits - 1))) >> bits;
        (self - (high << bits), high)
    }
}

/// Written out, because a loop over the columns is not unrolled and takes ten times as long.
#[inline(always)]
fn multiply<L: Limb>(f: &[L; LIMBS], g: &[L; LIMBS]) -> [L; LIMBS] {
    let [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9] = *f;
    let [g0, g1, g2, g3, g4, g5, g6, g7, g8, g9] = *g;
    // Two odd limbs lie half a bit too high each.
    let [t1, t3, t5, t7, t9] = [f1, f3, f5, f7, f9].map(|limb| limb.times(2));
    // 2^255 = 19.
    let [n1, n2, n3, n4, n5] = [g1, g2, g3, g4, g5].map(|limb| limb.times(19));
    let [n6, n7, n8, n9] = [g6, g7, g8, g9].map(|limb| limb.times(19));
    let mut h = [
        f0 * g0
            + t1 * n9
            + f2 * n8
            + t3 * n7
            + f4 * n6
            + t5 * n5
            + f6 * n4
            + t7 * n3
            + f8 * n2
            + t9 * n1,
        f0 * g1
            + f1 * g0
            + f2 * n9
            + f3 * n8
            + f4 * n7
            + f5 * n6
            + f6 * n5
            + f7 * n4
            + f8 * n3
            + f9 * n2,
        f0 * g2
            + t1 * g1
            + f2 * g0
            + t3 * n9
            + f4 * n8
            + t5 * n7
            + f6 * n6
            + t7 * n5
            + f8 * n4
            + t9 * n3,
        f0 * g3
            + f1 * g2
            + f2 * g1
            + f3 * g0
            + f4 * n9
            + f5 * n8
            + f6 * n7
            + f7 * n6
            + f8 * n5
            + f9 * n4,
        f0 * g4
            + t1 * g3
            + f2 * g2
            + t3 * g1
            + f4 * g0
            + t5 * n9
            + f6 * n8
            + t7 * n7
            + f8 * n6
            + t9 * n5,
        f0 * g5
            + f1 * g4
            + f2 * g3
            + f3 * g2
            + f4 * g1
            + f5 * g0
            + f6 * n9
            + f7 * n8
            + f8 * n7
            + f9 * n6,
        f0 * g6
            + t1 * g5
            + f2 * g4
            + t3 * g3
            + f4 * g2
            + t5 * g1
            + f6 * g0
            + t7 * n9
            + f8 * n8
            + t9 * n7,
        f0 * g7
            + f1 * g6
            + f2 * g5
            + f3 * g4
            + f4 * g3
            + f5 * g2
            + f6 * g1
            + f7 * g0
            + f8 * n9
            + f9 * n8,
        f0 * g8
            + t1 * g7
            + f2 * g6
            + t3 * g5
            + f4 * g4
            + t5 * g3
            + f6 * g2
            + t7 * g1
            + f8 * g0
            + t9 * n9,
        f0 * g9
            + f1 * g8
            + f2 * g7
            + f3 * g6
            + f4 * g5
            + f5 * g4
            + f6 * g3
            + f7 * g2
            + f8 * g1
            + f9 * g0,
    ];
    carry(&mut h);
    h
}

/// Two chains at once, so that neither waits for the other.
#[inline(always)]
fn carry<L: Limb>(h: &mut [L; LIMBS]) {
    carry_one::<0, 1, L>(h);
    carry_one::<4, 5, L>(h);
    carry_one::<1, 2, L>(h);
    carry_one::<5, 6, L>(h);
    carry_one::<2, 3, L>(h);
    carry_one::<6, 7, L>(h);
    carry_one::<3, 4, L>(h);
    carry_one::<7, 8, L>(h);
    carry_one::<4, 5, L>(h);
    carry_one::<8, 9, L>(h);
    carry_one::<9, 0, L>(h);
    carry_one::<0, 1, L>(h);
}

#[inline(always)]
fn carry_one<const FROM: usize, const TO: usize, L: Limb>(h: &mut [L; LIMBS]) {
    let (low, high) = h[FROM].split(BITS[FROM]);
    h[FROM] = low;
    h[TO] = h[TO] + if TO == 0 { high.times(19) } else { high };
}

pub(crate) const LIMBS: usize = 10;
const BITS: [u32; LIMBS] = [26, 25, 26, 25, 26, 25, 26, 25, 26, 25];

#[cfg(test)]
mod tests;
