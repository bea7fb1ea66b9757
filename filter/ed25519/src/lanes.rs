//! Two floating-point numbers that every operation treats alike: one SIMD register in Wasm, an array elsewhere.
//!
//! Nothing here ever rounds but [`Limb::split`], which means to: `field::tests` proves that every other sum
//! and product is a number that a double holds exactly.

#![expect(clippy::indexing_slicing, reason = "limbs, by a loop that ends at their number")]

use core::ops::{Add, Mul, Sub};

use crate::field::{LIMBS, STARTS, power_of_two};

/// What limbs are made of: two doubles, or in the proof of exactness what is known of them.
pub(crate) trait Limb:
    'static + Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// The same in both lanes.
    fn both(number: f64) -> Self;
    /// `self * factor + more`.
    fn times_plus(self, factor: Self, more: Self) -> Self;
    /// Numbers so large that the last bit of each has the value of the first bit of the limb above.
    const ROUNDINGS: &'static [Self; LIMBS];
    /// `(low, high)` with `self = low + high`; `high` is the nearest multiple of the rounding's last bit.
    fn split(self, rounding: Self) -> (Self, Self);
}

pub(crate) use target::Lanes;

impl Limb for Lanes {
    const ROUNDINGS: &'static [Self; LIMBS] = &{
        let mut all = [Self::new(0.0, 0.0); LIMBS];
        let mut i = 0;
        while i < LIMBS {
            let number = rounding(i);
            all[i] = Self::new(number, number);
            i += 1;
        }
        all
    };

    fn both(number: f64) -> Self {
        Self::new(number, number)
    }

    #[inline(always)]
    fn times_plus(self, factor: Self, more: Self) -> Self {
        self * factor + more
    }

    #[inline(always)]
    fn split(self, rounding: Self) -> (Self, Self) {
        let high = (self + rounding) - rounding;
        (self - high, high)
    }
}

/// A double of this size is a multiple of where limb `i + 1` starts, and no finer.
pub(crate) const fn rounding(i: usize) -> f64 {
    power_of_two(STARTS[i + 1]) * 1.5 * power_of_two(52)
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod target {
    use core::arch::wasm32::{
        f64x2, f64x2_add, f64x2_convert_low_i32x4, f64x2_extract_lane, f64x2_mul, f64x2_sub,
        i8x16_shuffle, i32x4_shr, i32x4_shuffle, i64x2_shuffle, u32x4, v128,
    };

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Lanes(v128);

    impl Lanes {
        #[inline(always)]
        pub(crate) const fn new(first: f64, second: f64) -> Self {
            Self(f64x2(first, second))
        }

        #[inline(always)]
        pub(crate) fn first(self) -> f64 {
            f64x2_extract_lane::<0>(self.0)
        }

        #[inline(always)]
        pub(crate) fn second(self) -> f64 {
            f64x2_extract_lane::<1>(self.0)
        }

        /// As in the other module of this name.
        #[inline(always)]
        pub(crate) fn unpack(first: [u32; 4], second: [u32; 4]) -> [Self; 4] {
            let spread = |[a, b, c, d]: [u32; 4]| {
                let words = u32x4(a, b, c, d);
                // Three bytes each, at the top of a word of their own.
                let words = i8x16_shuffle::<16, 0, 1, 2, 16, 3, 4, 5, 16, 6, 7, 8, 16, 9, 10, 11>(
                    words, words,
                );
                i32x4_shr(words, 8)
            };
            let (first, second) = (spread(first), spread(second));
            let low = i32x4_shuffle::<0, 4, 1, 5>(first, second);
            let high = i32x4_shuffle::<2, 6, 3, 7>(first, second);
            let upper = |lanes| i64x2_shuffle::<1, 0>(lanes, lanes);
            [low, upper(low), high, upper(high)].map(|lanes| Self(f64x2_convert_low_i32x4(lanes)))
        }
    }

    impl core::ops::Add for Lanes {
        type Output = Self;

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(f64x2_add(self.0, other.0))
        }
    }

    impl core::ops::Sub for Lanes {
        type Output = Self;

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(f64x2_sub(self.0, other.0))
        }
    }

    impl core::ops::Mul for Lanes {
        type Output = Self;

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(f64x2_mul(self.0, other.0))
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod target {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Lanes([f64; 2]);

    impl Lanes {
        pub(crate) const fn new(first: f64, second: f64) -> Self {
            Self([first, second])
        }

        pub(crate) fn first(self) -> f64 {
            let [first, _] = self.0;
            first
        }

        pub(crate) fn second(self) -> f64 {
            let [_, second] = self.0;
            second
        }

        /// Four numbers of 24 bits from the first twelve bytes of each.
        pub(crate) fn unpack(first: [u32; 4], second: [u32; 4]) -> [Self; 4] {
            let (first, second) = (numbers(first), numbers(second));
            core::array::from_fn(|at| {
                let of = |numbers: [i32; 4]| numbers.get(at).copied().map_or(0.0, f64::from);
                Self::new(of(first), of(second))
            })
        }

        fn with(self, other: Self, operation: impl Fn(f64, f64) -> f64) -> Self {
            let ([a, b], [c, d]) = (self.0, other.0);
            Self([operation(a, c), operation(b, d)])
        }
    }

    fn numbers([a, b, c, _]: [u32; 4]) -> [i32; 4] {
        let low = u64::from(a) | u64::from(b) << 32;
        let high = u64::from(b) >> 16 | u64::from(c) << 16;
        // The lower 24 bits, signed.
        [low, low >> 24, high, high >> 24]
            .map(|bits| (bits as u32).wrapping_shl(8).cast_signed() >> 8)
    }

    impl core::ops::Add for Lanes {
        type Output = Self;

        fn add(self, other: Self) -> Self {
            self.with(other, |a, b| a + b)
        }
    }

    impl core::ops::Sub for Lanes {
        type Output = Self;

        fn sub(self, other: Self) -> Self {
            self.with(other, |a, b| a - b)
        }
    }

    impl core::ops::Mul for Lanes {
        type Output = Self;

        fn mul(self, other: Self) -> Self {
            self.with(other, |a, b| a * b)
        }
    }
}
