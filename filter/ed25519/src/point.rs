//! Points of edwards25519: -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032 section 5.1), in extended coordinates
//! (Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited", 2008). The additions are complete:
//! no two points need another formula.

use crate::field::{Field, LIMBS};
use crate::inverse::invert;

/// `x = X/Z`, `y = Y/Z`, `T = XY/Z`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    x: Field,
    y: Field,
    z: Field,
    t: Field,
}

/// A point that is added often: `y + x`, `y - x`, `2dxy`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addend {
    plus: [i32; LIMBS],
    minus: [i32; LIMBS],
    t2d: [i32; LIMBS],
}

impl Point {
    pub(crate) const IDENTITY: Self =
        Self { x: Field::ZERO, y: Field::ONE, z: Field::ONE, t: Field::ZERO };

    /// RFC 8032 section 5.1.3, for encodings that the caller knows to be canonical.
    pub(crate) fn decode(bytes: &[u8; 32]) -> Option<Self> {
        let y = Field::from_bytes(bytes);
        let (u, v) = (y * y - Field::ONE, constant(&D) * y * y + Field::ONE);
        let v3 = v * v * v;
        let x = u * v3 * power(u * v3 * v3 * v);
        let square = v * x * x;
        let x = if (square - u).is_zero() {
            x
        } else if (square + u).is_zero() {
            x * constant(&ROOT_OF_MINUS_ONE)
        } else {
            return None;
        };
        let odd = bytes.last().is_some_and(|last| last >> 7 == 1);
        let x = if x.is_odd() == odd { x } else { x.negated() };
        Some(Self { x, y, z: Field::ONE, t: x * y })
    }

    /// RFC 8032 section 5.1.2. `None` never comes of a point.
    pub(crate) fn encode(&self) -> Option<[u8; 32]> {
        let z = invert(self.z)?;
        let mut bytes = (self.y * z).to_bytes();
        if let Some(last) = bytes.last_mut() {
            *last |= u8::from((self.x * z).is_odd()) << 7;
        }
        Some(bytes)
    }

    pub(crate) fn plus(&self, other: &Addend) -> Self {
        self.sum(&other.plus, &other.minus, Field::unpacked(&other.t2d))
    }

    /// The negative of a point has `y + x` and `y - x` in each other's place.
    pub(crate) fn less(&self, other: &Addend) -> Self {
        self.sum(&other.minus, &other.plus, Field::unpacked(&other.t2d).negated())
    }

    fn sum(&self, plus: &[i32; LIMBS], minus: &[i32; LIMBS], t2d: Field) -> Self {
        let a = (self.y - self.x) * Field::unpacked(minus);
        let b = (self.y + self.x) * Field::unpacked(plus);
        let c = self.t * t2d;
        let d = self.z + self.z;
        let (e, f, g, h) = (b - a, d - c, d + c, b + a);
        Self { x: e * f, y: g * h, z: f * g, t: e * h }
    }

    /// The point twice.
    pub(crate) fn doubled(&self) -> Self {
        let (a, b) = (self.x * self.x, self.y * self.y);
        let c = self.z * self.z;
        let both = self.x + self.y;
        // A product's limbs, or the sums below would be too large for the next product.
        let e = (a + b - both * both) * Field::ONE;
        let g = (a - b) * Field::ONE;
        let (f, h) = ((c + c + g) * Field::ONE, a + b);
        Self { x: e * f, y: g * h, z: f * g, t: e * h }
    }

    /// Points as addends, with one inversion for all (Montgomery's trick).
    pub(crate) fn addends(points: &[Self]) -> Option<Vec<Addend>> {
        let mut products = Vec::with_capacity(points.len());
        let mut product = Field::ONE;
        for point in points {
            products.push(product);
            product = product * point.z;
        }
        let mut inverse = invert(product)?;
        let twice_d = (constant(&D) + constant(&D)) * Field::ONE;
        let mut out = Vec::with_capacity(points.len());
        for (point, before) in points.iter().zip(&products).rev() {
            let z = inverse * *before;
            inverse = inverse * point.z;
            let (x, y) = (point.x * z, point.y * z);
            let t2d = x * y * twice_d;
            out.push(Addend { plus: (y + x).packed(), minus: (y - x).packed(), t2d: t2d.packed() });
        }
        out.reverse();
        Some(out)
    }
}

fn constant(bytes: &[u8; 32]) -> Field {
    Field::from_bytes(bytes)
}

/// `number^((p - 5) / 8)`, where `(p - 5) / 8 = 2^252 - 3`.
fn power(number: Field) -> Field {
    // Runs of ones, doubled: 1, 2, 4, 5, 10, 20, 40, 50, 100, 200, 250 bits of them.
    let ones = |run: Field, times: u32, other: Field| run.squared(times) * other;
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
        let small = |n: i64| Field([n, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let d = constant(&D);
        assert!((d * small(121_666) + small(121_665)).is_zero());
        let root = constant(&ROOT_OF_MINUS_ONE);
        assert!((root * root + Field::ONE).is_zero());
    }
}
