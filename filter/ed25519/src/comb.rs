//! Tables of a point's multiples, and the sum of two multiples.
//!
//! A scalar is 32 signed digits of 8 bits; the table has every multiple of every digit's place that a
//! digit can ask for, so that each digit is one addition. Both sums run side by side.

use crate::point::{Addend, Addends, Points};

/// The multiples of one point: 452 KiB.
pub struct Table {
    /// Of each place, 0 to 128 times.
    addends: Vec<Addend>,
}

impl Table {
    /// The table of a point in its canonical encoding (RFC 8032 section 5.1.2). `None` for what is no
    /// point.
    #[must_use]
    pub fn new(point: &[u8; 32]) -> Option<Self> {
        let low = Points::decode(point)?;
        let high = (0..PLACES * 8 / 2).fold(low, |point, _| point.doubled());
        // The lower half of the places, and the higher half beside it.
        let mut places = low.beside(&high);
        let mut halves = [PLACES, PLACES / 2].map(|places| Vec::with_capacity(places * MULTIPLES));
        let (mut multiples, mut addends) = (Vec::with_capacity(MULTIPLES), Addends::none());
        for _ in 0..PLACES / 2 {
            let [one] = Points::addends(&[places])?.try_into().ok()?;
            let [first, second] = &one;
            addends.set([first, second], [false, false]);
            multiples.clear();
            let mut multiple = Points::identity();
            for _ in 1..MULTIPLES {
                multiple.add(&mut addends);
                multiples.push(multiple);
            }
            halves.iter_mut().for_each(|half| half.push(Addend::identity()));
            for both in Points::addends(&multiples)? {
                halves.iter_mut().zip(both).for_each(|(half, addend)| half.push(addend));
            }
            places = multiple.doubled();
        }
        let [mut addends, high] = halves;
        addends.extend(high);
        Some(Self { addends })
    }

    #[inline(always)]
    fn addend(&self, place: usize, digit: i16) -> Option<&Addend> {
        self.addends.get(place * MULTIPLES + usize::from(digit.unsigned_abs()))
    }
}

/// The encoding of `[s]P + [h]Q`. Both scalars are little endian and below 2^253, as whatever is reduced
/// modulo the group's order is. `None` for a larger one.
#[must_use]
pub fn combine(p: &Table, s: &[u8; 32], q: &Table, h: &[u8; 32]) -> Option<[u8; 32]> {
    let digits =
        |scalar: &[u8; 32]| scalar.last().is_some_and(|top| *top < 32).then(|| digits(scalar));
    let (s, h) = (digits(s)?, digits(h)?);
    fetch(p, &s, q, &h);
    let (mut sums, mut addends) = (Points::identity(), Addends::none());
    for (place, (s, h)) in s.into_iter().zip(h).enumerate() {
        addends.set([p.addend(place, s)?, q.addend(place, h)?], [s < 0, h < 0]);
        sums.add(&mut addends);
    }
    sums.sum()
}

/// Reads a little of all that will be asked for: what is not in the processor's cache comes side by side, not
/// one after the other.
fn fetch(p: &Table, s: &[i16; PLACES], q: &Table, h: &[i16; PLACES]) {
    let mut seen = 0;
    for (place, (s, h)) in s.iter().zip(h).enumerate() {
        for addend in [p.addend(place, *s), q.addend(place, *h)].into_iter().flatten() {
            seen ^= addend.touch();
        }
    }
    core::hint::black_box(seen);
}

/// Digits of -128 to 127, lowest first. The last carries nothing on, as the highest byte is small.
fn digits(scalar: &[u8; 32]) -> [i16; PLACES] {
    let mut carry = 0;
    scalar.map(|byte| {
        let digit = i16::from(byte) + carry;
        carry = i16::from(digit >= 128);
        digit - carry * 256
    })
}

const PLACES: usize = 32;
/// None, and up to the largest digit in size.
const MULTIPLES: usize = 129;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_say_the_scalar() {
        for scalar in [[0; 32], [127; 32], [128; 32], core::array::from_fn(|at| (at * 37) as u8)] {
            let mut scalar: [u8; 32] = scalar;
            scalar[31] &= 31;
            let mut bytes = Vec::new();
            let mut carry = 0;
            for digit in digits(&scalar) {
                assert!((-128..=127).contains(&digit));
                let value = digit + carry;
                bytes.push(value.rem_euclid(256) as u8);
                carry = value.div_euclid(256);
            }
            assert_eq!((bytes.as_slice(), carry), (scalar.as_slice(), 0));
        }
    }
}
