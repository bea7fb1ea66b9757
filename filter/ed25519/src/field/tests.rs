use super::*;

/// All numbers from the first to the second. An operation that could leave 64 bits panics.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interval(i128, i128);

impl Interval {
    fn checked(low: i128, high: i128) -> Self {
        let fits = |end: i128| i64::try_from(end).is_ok();
        assert!(low <= high && fits(low) && fits(high), "{low}..{high}");
        Self(low, high)
    }

    fn of_size(most: i128) -> Self {
        Self::checked(-most, most)
    }

    fn size(self) -> i128 {
        self.0.abs().max(self.1.abs())
    }
}

impl Add for Interval {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::checked(self.0 + other.0, self.1 + other.1)
    }
}

impl Mul for Interval {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let ends = [self.0 * other.0, self.0 * other.1, self.1 * other.0, self.1 * other.1];
        Self::checked(*ends.iter().min().unwrap(), *ends.iter().max().unwrap())
    }
}

impl Limb for Interval {
    fn times(self, factor: i64) -> Self {
        self * Self(factor.into(), factor.into())
    }

    fn split(self, bits: u32) -> (Self, Self) {
        let half = 1_i128 << (bits - 1);
        // The sum that is shifted must fit as well.
        let rounded = Self::checked(self.0 + half, self.1 + half);
        (Self::checked(-half, half), Self::checked(rounded.0 >> bits, rounded.1 >> bits))
    }
}

/// Limbs of at most `times` that of a product.
fn sized(product: &[Interval; LIMBS], times: i128) -> [Interval; LIMBS] {
    product.map(|limb| Interval::of_size(limb.size() * times))
}

#[test]
fn no_accumulator_can_overflow() {
    // What a product gives of limbs four times a product's own: the least such bound, found by asking
    // again until it holds.
    let mut product: [Interval; LIMBS] =
        core::array::from_fn(|i| Interval::of_size(1 << (BITS[i] - 1)));
    for _ in 0..8 {
        let given = multiply(&sized(&product, 4), &sized(&product, 4));
        for (limb, given) in product.iter_mut().zip(given) {
            *limb = Interval::of_size(limb.size().max(given.size()));
        }
    }
    // It stands: what goes in four times as large comes out no larger.
    let given = multiply(&sized(&product, 4), &sized(&product, 4));
    for ((limb, given), bits) in product.iter().zip(given).zip(BITS) {
        assert!(given.size() <= limb.size());
        // As the module says; and a table's limbs fit 32 bits.
        assert!(limb.size() <= (1 << (bits - 1)) + (1 << (bits - 7)), "{limb:?}");
        assert!(i32::try_from(limb.size()).is_ok());
    }
    // In `point` no sum that goes into a product is larger than four of a product: `d + c` is three, and
    // so is `y + x` of a decoded point, whose `y` counts twice; `D + D` is four.
}

fn from(number: i64) -> Field {
    Field([number, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

#[test]
fn bytes_are_canonical() {
    let p: [u8; 32] = core::array::from_fn(|at| match at {
        0 => 0xed,
        31 => 0x7f,
        _ => 0xff,
    });
    assert_eq!(Field::from_bytes(&p).to_bytes(), [0; 32]);
    assert!(Field::from_bytes(&p).is_zero());
    for (number, low) in [(0_i64, 0_u8), (1, 1), (255, 255), (-19, 0xda), (-1, 0xec)] {
        assert_eq!(from(number).to_bytes()[0], low, "{number}");
        let again = Field::from_bytes(&from(number).to_bytes());
        assert_eq!(again.to_bytes(), from(number).to_bytes());
    }
    // p - 1, p, p + 1 and 2^255 - 1, which is p + 18.
    for (low, expected) in [(0xec, 0xec), (0xed, 0), (0xee, 1), (0xff, 18)] {
        let mut bytes = p;
        bytes[0] = low;
        assert_eq!(Field::from_bytes(&bytes).to_bytes()[0], expected);
    }
    for at in 0..255 {
        let mut bytes = [0; 32];
        bytes[at / 8] = 1 << (at % 8);
        assert_eq!(Field::from_bytes(&bytes).to_bytes(), bytes, "bit {at}");
    }
}

/// Schoolbook multiplication on bytes, reduced by 38.
fn slowly(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut wide = [0_u64; 64];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            wide[i + j] += u64::from(*x) * u64::from(*y);
        }
    }
    let mut low: [u64; 32] = core::array::from_fn(|at| wide[at] + 38 * wide[at + 32]);
    for _ in 0..4 {
        let mut carry = 0;
        for place in &mut low {
            let sum = *place + carry;
            *place = sum & 255;
            carry = sum >> 8;
        }
        low[0] += 38 * carry;
    }
    let high = low[31] >> 7;
    low[31] &= 127;
    low[0] += 19 * high;
    for at in 0..31 {
        low[at + 1] += low[at] >> 8;
        low[at] &= 255;
    }
    Field::from_bytes(&low.map(|byte| byte as u8)).to_bytes()
}

#[test]
fn products_and_sums_are_those_of_other_code() {
    let mut state = 7_u64;
    let mut random = || -> [u8; 32] {
        core::array::from_fn(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 40) as u8
        })
    };
    let top = |bytes: &mut [u8; 32]| bytes[31] &= 127;
    for round in 0..20_000 {
        let (mut a, mut b) = (random(), random());
        // Long runs of ones and of zeros.
        if round % 4 == 0 {
            a = a.map(|byte| if byte & 1 == 0 { 0 } else { 255 });
        }
        if round % 6 == 0 {
            b = [255; 32];
        }
        top(&mut a);
        top(&mut b);
        let (x, y) = (Field::from_bytes(&a), Field::from_bytes(&b));
        assert_eq!((x * y).to_bytes(), slowly(&a, &b));
        // (x + y)(x - y) = x^2 - y^2
        assert!(((x + y) * (x - y) - (x * x - y * y)).is_zero());
    }
}
