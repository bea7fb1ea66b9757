//! Tables of a point's multiples, and the sum of two multiples.
//!
//! A scalar is 32 signed digits of 8 bits; the table has every multiple of every digit's place that a
//! digit can ask for, so that each digit is one addition.

use crate::point::{Addend, Point};

/// The multiples of one point: 480 KiB.
pub struct Table {
    /// Of each place, 1 to 128 times.
    addends: Vec<Addend>,
}

impl Table {
    /// The table of a point in its canonical encoding (RFC 8032 section 5.1.2). `None` for what is no
    /// point.
    #[must_use]
    pub fn new(point: &[u8; 32]) -> Option<Self> {
        let mut place = Point::decode(point)?;
        let mut addends = Vec::with_capacity(PLACES * MULTIPLES);
        for _ in 0..PLACES {
            let [one] = Point::addends(&[place])?.try_into().ok()?;
            let mut multiples = Vec::with_capacity(MULTIPLES);
            for _ in 0..MULTIPLES {
                multiples.push(multiples.last().unwrap_or(&Point::IDENTITY).plus(&one));
            }
            addends.extend(Point::addends(&multiples)?);
            place = multiples.last()?.doubled();
        }
        Some(Self { addends })
    }

    /// Adds the digit's multiple of its place.
    fn add(&self, sum: Point, place: usize, digit: i16) -> Point {
        let multiple = usize::from(digit.unsigned_abs());
        let at = (place * MULTIPLES + multiple).checked_sub(1);
        match at.and_then(|at| self.addends.get(at)) {
            Some(addend) if digit > 0 => sum.plus(addend),
            Some(addend) if digit < 0 => sum.less(addend),
            _ => sum,
        }
    }
}

/// The encoding of `[s]P + [h]Q`. Both scalars are little endian and below 2^253, as whatever is reduced
/// modulo the group's order is. `None` for a larger one.
#[must_use]
pub fn combine(p: &Table, s: &[u8; 32], q: &Table, h: &[u8; 32]) -> Option<[u8; 32]> {
    let digits =
        |scalar: &[u8; 32]| scalar.last().is_some_and(|top| *top < 32).then(|| digits(scalar));
    let mut sum = Point::IDENTITY;
    for (place, (s, h)) in digits(s)?.into_iter().zip(digits(h)?).enumerate() {
        sum = p.add(sum, place, s);
        sum = q.add(sum, place, h);
    }
    sum.encode()
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
/// The largest digit in size.
const MULTIPLES: usize = 128;

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
