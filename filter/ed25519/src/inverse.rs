//! The inverse modulo p in variable time, by division steps (Bernstein and Yang, "Fast constant-time gcd
//! computation and modular inversion", 2019), thirty at a time on the low bits.
//!
//! Nothing rests on this being right: [`invert`] multiplies what came out and gives `None` when it is
//! not one.

#![expect(clippy::indexing_slicing, reason = "nine limbs, indexed by loops that end at nine")]

use crate::field::{ONE, Pair, bits_of};

/// Of a canonical number. `None` for zero.
pub(crate) fn invert(number: &[u8; 32]) -> Option<[u8; 32]> {
    let inverse = found(number)?;
    let [product, _] = (Pair::both(number) * Pair::both(&inverse)).to_bytes();
    (product == ONE).then_some(inverse)
}

/// Nine signed limbs of 30 bits, lowest first.
type Limbs = [i32; 9];

fn found(bytes: &[u8; 32]) -> Option<[u8; 32]> {
    let (mut f, mut g) = (P, limbs(bytes));
    let (mut d, mut e): (Limbs, Limbs) = ([0; 9], [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut eta = -1;
    for _ in 0..MAX_ROUNDS {
        if g == [0; 9] {
            break;
        }
        let step = Step::thirty(&mut eta, f[0], g[0]);
        step.update(&mut d, &mut e);
        step.advance(&mut f, &mut g);
    }
    // The greatest common divisor is what is left: 1 or -1.
    let negative = f[8] < 0;
    Some(bytes_of(&normal(&d, negative)))
}

/// What thirty division steps do to `(f, g)`: `(u f + v g, q f + r g) / 2^30`.
struct Step {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

impl Step {
    fn thirty(eta: &mut i32, f: i32, g: i32) -> Self {
        let (mut u, mut v, mut q, mut r) = (1_i32, 0_i32, 0_i32, 1_i32);
        let (mut f, mut g) = (f, g);
        let mut left = 30_i32;
        loop {
            let zeros = (g | (-1_i32).wrapping_shl(left as u32)).trailing_zeros() as i32;
            g >>= zeros;
            u = u.wrapping_shl(zeros as u32);
            v = v.wrapping_shl(zeros as u32);
            *eta -= zeros;
            left -= zeros;
            if left == 0 {
                return Self { u: u.into(), v: v.into(), q: q.into(), r: r.into() };
            }
            if *eta < 0 {
                *eta = -*eta;
                (f, g) = (g, f.wrapping_neg());
                (u, q) = (q, u.wrapping_neg());
                (v, r) = (r, v.wrapping_neg());
            }
            // As many low bits of g as may go at once, by a multiple of f.
            let limit = (*eta + 1).min(left).min(6) as u32;
            let mask = (1_i32 << limit) - 1;
            // f * (f^2 - 2) is -1/f modulo 2^6 for odd f.
            let inverse = f.wrapping_mul(f.wrapping_mul(f).wrapping_sub(2));
            let w = g.wrapping_mul(inverse) & mask;
            g = g.wrapping_add(f.wrapping_mul(w));
            q = q.wrapping_add(u.wrapping_mul(w));
            r = r.wrapping_add(v.wrapping_mul(w));
        }
    }

    /// `(d, e)` goes the way of `(f, g)`, modulo p, so that a multiple of p is added first which makes
    /// the low thirty bits zero.
    fn update(&self, d: &mut Limbs, e: &mut Limbs) {
        let (d0, e0) = (i64::from(d[0]), i64::from(e[0]));
        let (d_sign, e_sign) = (i64::from(d[8] >> 31), i64::from(e[8] >> 31));
        let times = |by_d: i64, by_e: i64| {
            let times = (by_d & d_sign) + (by_e & e_sign);
            let low = by_d * d0 + by_e * e0;
            times - (P_INVERSE.wrapping_mul(low).wrapping_add(times) & MASK)
        };
        let times = (times(self.u, self.v), times(self.q, self.r));
        self.apply(d, e, times);
    }

    fn advance(&self, f: &mut Limbs, g: &mut Limbs) {
        self.apply(f, g, (0, 0));
    }

    /// `(u a + v b + times p, q a + r b + times p) / 2^30`.
    fn apply(&self, a: &mut Limbs, b: &mut Limbs, times: (i64, i64)) {
        let (mut a_sum, mut b_sum) = (0_i64, 0_i64);
        for i in 0..9 {
            let (low, high, p) = (i64::from(a[i]), i64::from(b[i]), i64::from(P[i]));
            a_sum += self.u * low + self.v * high + p * times.0;
            b_sum += self.q * low + self.r * high + p * times.1;
            if i > 0 {
                a[i - 1] = (a_sum & MASK) as i32;
                b[i - 1] = (b_sum & MASK) as i32;
            }
            a_sum >>= 30;
            b_sum >>= 30;
        }
        a[8] = a_sum as i32;
        b[8] = b_sum as i32;
    }
}

/// From -2p..p to 0..2^255, negated first where the divisor came out as -1.
fn normal(d: &Limbs, negate: bool) -> Limbs {
    let mut out = d.map(|limb| i64::from(if negate { -limb } else { limb }));
    for _ in 0..3 {
        settle(&mut out);
        let p = if out[8] < 0 { 1 } else { 0 };
        for (limb, of_p) in out.iter_mut().zip(P) {
            *limb += p * i64::from(of_p);
        }
    }
    settle(&mut out);
    if out[8] >> 15 > 0 {
        for (limb, of_p) in out.iter_mut().zip(P) {
            *limb -= i64::from(of_p);
        }
        settle(&mut out);
    }
    out.map(|limb| limb as i32)
}

fn settle(limbs: &mut [i64; 9]) {
    let mut carry = 0;
    for (at, limb) in limbs.iter_mut().enumerate() {
        *limb += carry;
        if at < 8 {
            carry = *limb >> 30;
            *limb &= MASK;
        }
    }
}

fn limbs(bytes: &[u8; 32]) -> Limbs {
    core::array::from_fn(|at| bits_of(bytes, at * 30, 30) as i32)
}

fn bytes_of(limbs: &Limbs) -> [u8; 32] {
    let mut out = [0; 32];
    for (at, limb) in limbs.iter().enumerate() {
        let (byte, shift) = (at * 30 / 8, at * 30 % 8);
        for (more, place) in out[byte..].iter_mut().take(5).enumerate() {
            *place |= ((i64::from(*limb) << shift) >> (8 * more)) as u8;
        }
    }
    out
}

/// 2^255 - 19.
const P: Limbs = [-19, 0, 0, 0, 0, 0, 0, 0, 1 << 15];
/// 1/p modulo 2^30.
const P_INVERSE: i64 = inverse_of_p();
const MASK: i64 = (1 << 30) - 1;
/// Rounds of thirty steps that 256-bit numbers take at most (741 steps; the paper's section 11).
const MAX_ROUNDS: usize = 25;

const fn inverse_of_p() -> i64 {
    // Newton: each step doubles the bits that are right, from three.
    let p: i64 = -19;
    let mut inverse = p;
    let mut step = 0;
    while step < 4 {
        inverse = (inverse * ((2 - ((p * inverse) & MASK)) & MASK)) & MASK;
        step += 1;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fermat: the slow way, by other code.
    fn by_power(number: &[u8; 32]) -> [u8; 32] {
        let number = Pair::both(number);
        // p - 2 = 2^255 - 21: all ones but bits 2 and 4.
        let square_and_multiply = |out: Pair, bit: u32| {
            let out = out * out;
            if bit == 2 || bit == 4 { out } else { out * number }
        };
        let [out, _] = (0..255).rev().fold(Pair::both(&ONE), square_and_multiply).to_bytes();
        out
    }

    fn canonical(number: &Pair) -> [u8; 32] {
        let [first, _] = number.to_bytes();
        first
    }

    fn number(seed: u64) -> Pair {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Pair::both(&core::array::from_fn(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        }))
    }

    #[test]
    fn it_is_the_inverse_of_every_kind_of_number() {
        let (zero, one) = (Pair::both(&[0; 32]), Pair::both(&ONE));
        assert!(invert(&[0; 32]).is_none());
        let mut edges: Vec<Pair> = (0..255)
            .map(|bit| {
                let mut bytes = [0; 32];
                bytes[bit / 8] = 1 << (bit % 8);
                Pair::both(&bytes)
            })
            .collect();
        edges.extend(edges.clone().iter().map(|edge| &zero - edge));
        edges.extend(edges.clone().iter().map(|edge| edge - &one));
        edges.extend((0..2000).map(number));
        for edge in edges {
            let edge = canonical(&edge);
            if edge != [0; 32] {
                assert_eq!(invert(&edge), Some(by_power(&edge)));
            }
        }
    }
}
