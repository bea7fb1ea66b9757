//! `[s]P + [h]Q` for two points of edwards25519 (RFC 8032 section 5.1) that are known ahead, in variable
//! time: the signature check of the gate, whose issuer keys are few and whose every input is public.
//!
//! Both points have a table of their multiples, so that no doubling is left: 64 additions, two side by side,
//! and one inversion. Numbers are sums of doubles, two in each SIMD register: Wasm has no 128-bit product of
//! integers, and of those of 64 bits no two at once.
//!
//! Reading order: [`Table`] and [`combine`] (`comb`), then `point`, `field`, `lanes`, `inverse`. No secret may
//! ever go in here. Whether scalars and points are those of a good signature is for the caller to check;
//! what this crate promises is the sum.
#![forbid(unsafe_code)]

mod comb;
mod field;
mod inverse;
mod lanes;
mod point;

pub use comb::{Table, combine};
