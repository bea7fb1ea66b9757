//! Points of edwards25519: -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032 section 5.1), in extended coordinates
//! (Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited", 2008), two at a time. The additions
//! are complete: no two points need another formula.

#![expect(clippy::indexing_slicing, reason = "a table's words, by constants")]

use crate::field::{Factor, ONE, PACKED, Pair};
use crate::inverse::invert;
use crate::lanes::Lanes;

/// Two points; of each, `x = X/Z`, `y = Y/Z`, `T = XY/Z`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Points {
    x: Pair,
    y: Pair,
    z: Pair,
    t: Pair,
}

/// A point that is added often: `y + x`, `y - x`, `2dxy`. A word more than they take, so that the last four
/// words can be read at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addend([u32; 3 * PACKED + 1]);

/// Two addends, one for each point, in the order that the signs ask for; and room to work in, because a
/// copy of so much is a call out of Wasm.
pub(crate) struct Addends {
    plus: Factor,
    minus: Factor,
    t2d: Factor,
    /// 1 or -1.
    signs: Lanes,
    f: Factor,
    h: Factor,
}

impl Points {
    /// The identity twice.
    pub(crate) fn identity() -> Self {
        let (zero, one) = (Pair::both(&[0; 32]), Pair::both(&ONE));
        Self { x: zero, y: one, z: one, t: zero }
    }

    /// The same point twice. RFC 8032 section 5.1.3, for encodings that the caller knows to be canonical.
    pub(crate) fn decode(bytes: &[u8; 32]) -> Option<Self> {
        let one = Pair::both(&ONE);
        let y = Pair::both(bytes) * one;
        let (u, v) = (&(y * y) - &one, &(Pair::both(&D) * y * y) + &one);
        let v3 = v * v * v;
        let x = u * v3 * power(u * v3 * v3 * v);
        let square = v * x * x;
        let x = if is_zero(&(&square - &u)) {
            x
        } else if is_zero(&(&square + &u)) {
            x * Pair::both(&ROOT_OF_MINUS_ONE)
        } else {
            return None;
        };
        let odd = bytes.last().is_some_and(|last| last >> 7 == 1);
        let [known, _] = x.to_bytes();
        let x = if is_odd(&known) == odd { x } else { &Pair::both(&[0; 32]) - &x };
        Some(Self { x, y, z: one, t: x * y })
    }

    /// The sum of the two points, in the encoding of RFC 8032 section 5.1.2. `None` never comes of points.
    pub(crate) fn sum(&self) -> Option<[u8; 32]> {
        let (less, more) = (&self.y - &self.x, &self.y + &self.x);
        let ab = Pair::firsts(&less, &more) * Pair::seconds(&less, &more);
        // 2d for T, 2 for Z.
        let mut two = [0; 32];
        two[0] = 2;
        let twice = Pair::both(&two) * Pair::firsts(&Pair::both(&D), &Pair::both(&ONE));
        let cd = Pair::firsts(&self.t, &self.z) * Pair::seconds(&self.t, &self.z) * twice;
        let [a, c] = [ab, cd].map(|pair| Pair::firsts(&pair, &pair));
        let [b, d] = [ab, cd].map(|pair| Pair::seconds(&pair, &pair));
        let (e, f, g, h) = (&b - &a, &d - &c, &d + &c, &b + &a);
        let [z, _] = (f * g).to_bytes();
        let xy = Pair::firsts(&e, &g) * Pair::firsts(&f, &h) * Pair::both(&invert(&z)?);
        let [x, mut out] = xy.to_bytes();
        if let Some(last) = out.last_mut() {
            *last |= u8::from(is_odd(&x)) << 7;
        }
        Some(out)
    }

    /// Adds to each its addend.
    #[inline]
    pub(crate) fn add(&mut self, addends: &mut Addends) {
        let Addends { plus, minus, t2d, signs, f, h } = addends;
        let a = (&self.y - &self.x).times(minus);
        let b = (&self.y + &self.x).times(plus);
        let c = self.t.times(t2d);
        let d = &self.z + &self.z;
        let e = &b - &a;
        let g = c.scaled_plus(*signs, &d);
        f.set(&c.scaled_plus(Lanes::new(0.0, 0.0) - *signs, &d));
        h.set(&(&b + &a));
        e.times_into(f, &mut self.x);
        g.times_into(f, &mut self.z);
        g.times_into(h, &mut self.y);
        e.times_into(h, &mut self.t);
    }

    /// Both twice.
    pub(crate) fn doubled(&self) -> Self {
        let (a, b) = (self.x * self.x, self.y * self.y);
        let c = self.z * self.z;
        let both = &self.x + &self.y;
        let h = &a + &b;
        let e = &h - &(both * both);
        let g = &a - &b;
        let f = &(&c + &c) + &g;
        Self { x: e * f, y: g * h, z: f * g, t: e * h }
    }

    /// The first of these and the first of the others.
    pub(crate) fn beside(&self, other: &Self) -> Self {
        let beside = |ours: &Pair, theirs: &Pair| Pair::firsts(ours, theirs);
        Self {
            x: beside(&self.x, &other.x),
            y: beside(&self.y, &other.y),
            z: beside(&self.z, &other.z),
            t: beside(&self.t, &other.t),
        }
    }

    /// Points as addends, with one inversion for all in a lane (Montgomery's trick).
    pub(crate) fn addends(points: &[Self]) -> Option<Vec<[Addend; 2]>> {
        let mut products = Vec::with_capacity(points.len());
        let mut product = Pair::both(&ONE);
        for point in points {
            products.push(product);
            product = product * point.z;
        }
        let [first, second] = product.to_bytes();
        let mut inverse = Pair::from_bytes([&invert(&first)?, &invert(&second)?]);
        let twice_d = (&Pair::both(&D) + &Pair::both(&D)).factor();
        let mut factor = Factor::none();
        let mut out = Vec::with_capacity(points.len());
        for (point, before) in points.iter().zip(&products).rev() {
            factor.set(&inverse);
            let z = before.times(&factor);
            inverse = point.z.times(&factor);
            factor.set(&z);
            let (x, y) = (point.x.times(&factor), point.y.times(&factor));
            factor.set(&y);
            let t2d = x.times(&factor).times(&twice_d);
            out.push(Addend::both([&y + &x, &y - &x, t2d]));
        }
        out.reverse();
        Some(out)
    }
}

impl Addend {
    fn both(numbers: [Pair; 3]) -> [Self; 2] {
        let [a, b, c] = numbers.map(|number| number.packed());
        let join = |numbers: [[u32; PACKED]; 3]| {
            let mut words = [0; 3 * PACKED + 1];
            for (to, from) in words.chunks_mut(PACKED).zip(numbers) {
                to.copy_from_slice(&from);
            }
            Self(words)
        };
        let ([a0, a1], [b0, b1], [c0, c1]) = (a, b, c);
        [join([a0, b0, c0]), join([a1, b1, c1])]
    }

    /// What changes nothing.
    pub(crate) fn identity() -> Self {
        let [identity, _] = Self::both([Pair::both(&ONE), Pair::both(&ONE), Pair::both(&[0; 32])]);
        identity
    }

    /// A word of each cache line that it can lie in.
    #[inline(always)]
    pub(crate) fn touch(&self) -> u32 {
        self.0[0] ^ self.0[15] ^ self.0[27]
    }
}

impl Addends {
    pub(crate) fn none() -> Self {
        let none = Factor::none();
        Self { plus: none, minus: none, t2d: none, signs: Lanes::new(0.0, 0.0), f: none, h: none }
    }

    /// The negative of a point has `y + x` and `y - x` in each other's place.
    #[inline]
    pub(crate) fn set(&mut self, addends: [&Addend; 2], negative: [bool; 2]) {
        let [first, second] = addends.map(|addend| &addend.0);
        let set = |factor: &mut Factor, [one, two]: [usize; 2]| {
            factor.unpack(&first[one * PACKED..], &second[two * PACKED..]);
        };
        set(&mut self.plus, negative.map(usize::from));
        set(&mut self.minus, negative.map(|negative| usize::from(!negative)));
        set(&mut self.t2d, [2, 2]);
        let [one, two] = negative.map(|negative| if negative { -1.0 } else { 1.0 });
        self.signs = Lanes::new(one, two);
    }
}

fn is_zero(number: &Pair) -> bool {
    let [first, _] = number.to_bytes();
    first == [0; 32]
}

/// The sign of an `x`.
fn is_odd(number: &[u8; 32]) -> bool {
    number[0] & 1 == 1
}

/// `number^((p - 5) / 8)`, where `(p - 5) / 8 = 2^252 - 3`.
fn power(number: Pair) -> Pair {
    // Runs of ones, doubled: 1, 2, 4, 5, 10, 20, 40, 50, 100, 200, 250 bits of them.
    let ones = |run: Pair, times: u32, other: Pair| run.squared(times) * other;
    let two = ones(number, 1, number);
    let four = ones(two, 2, two);
    let five = ones(four, 1, number);
    let ten = ones(five, 5, five);
    let twenty = ones(ten, 10, ten);
    let forty = ones(twenty, 20, twenty);
    let fifty = ones(forty, 10, ten);
    let hundred = ones(fifty, 50, fifty);
    let two_hundred = ones(hundred, 100, hundred);
    let most = ones(two_hundred, 50, fifty);
    ones(most, 2, number)
}

/// -121665/121666, little endian.
const D: [u8; 32] = [
    0xa3, 0x78, 0x59, 0x13, 0xca, 0x4d, 0xeb, 0x75, 0xab, 0xd8, 0x41, 0x41, 0x4d, 0x0a, 0x70, 0x00,
    0x98, 0xe8, 0x79, 0x77, 0x79, 0x40, 0xc7, 0x8c, 0x73, 0xfe, 0x6f, 0x2b, 0xee, 0x6c, 0x03, 0x52,
];
/// 2^((p - 1) / 4), little endian.
const ROOT_OF_MINUS_ONE: [u8; 32] = [
    0xb0, 0xa0, 0x0e, 0x4a, 0x27, 0x1b, 0xee, 0xc4, 0x78, 0xe4, 0x2f, 0xad, 0x06, 0x18, 0x43, 0x2f,
    0xa7, 0xd7, 0xfb, 0x3d, 0x99, 0x00, 0x4d, 0x2b, 0x0b, 0xdf, 0xc1, 0x4f, 0x80, 0x24, 0x83, 0x2b,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_what_they_are_said_to_be() {
        let small = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            Pair::both(&bytes)
        };
        assert!(is_zero(&(&(Pair::both(&D) * small(121_666)) + &small(121_665))));
        let root = Pair::both(&ROOT_OF_MINUS_ONE);
        assert!(is_zero(&(&(root * root) + &Pair::both(&ONE))));
    }
}
