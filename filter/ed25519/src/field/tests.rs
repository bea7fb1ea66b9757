use super::*;

/// Every multiple of `2^unit` that is no larger than `most` times that. An operation that could leave the
/// numbers which a double holds exactly panics.
#[derive(Clone, Copy, Debug)]
struct Exact {
    most: u128,
    unit: i32,
}

impl Exact {
    const NONE: Self = Self { most: 0, unit: 0 };

    #[track_caller]
    fn checked(most: u128, unit: i32) -> Self {
        assert!(most <= 1 << 53, "2^{} units", most.ilog2());
        assert!((-1000..900).contains(&unit));
        Self { most, unit }
    }

    fn in_units_of(self, unit: i32) -> u128 {
        if self.most == 0 { 0 } else { self.most << (self.unit - unit) }
    }

    #[track_caller]
    fn added(self, other: Self) -> Self {
        match (self.most, other.most) {
            (0, _) => other,
            (_, 0) => self,
            _ => {
                let unit = self.unit.min(other.unit);
                Self::checked(self.in_units_of(unit) + other.in_units_of(unit), unit)
            }
        }
    }

    fn times(self, factor: u128) -> Self {
        Self { most: self.most * factor, ..self }
    }

    fn is_at_most(self, other: Self) -> bool {
        self.unit >= other.unit && self.in_units_of(other.unit) <= other.most
    }
}

impl Add for Exact {
    type Output = Self;

    #[track_caller]
    fn add(self, other: Self) -> Self {
        self.added(other)
    }
}

impl Sub for Exact {
    type Output = Self;

    #[track_caller]
    fn sub(self, other: Self) -> Self {
        self.added(other)
    }
}

impl Mul for Exact {
    type Output = Self;

    #[track_caller]
    fn mul(self, other: Self) -> Self {
        Self::checked(self.most * other.most, self.unit + other.unit)
    }
}

impl Limb for Exact {
    const ROUNDINGS: &'static [Self; LIMBS] = &{
        let mut all = [Self::NONE; LIMBS];
        let mut i = 0;
        while i < LIMBS {
            // What `lanes::rounding` says: the last bit is where the next limb starts.
            all[i] = Self { most: 3 << 51, unit: STARTS[i + 1] as i32 };
            i += 1;
        }
        all
    };

    fn both(number: f64) -> Self {
        if number == 0.0 {
            return Self::NONE;
        }
        let bits = number.abs().to_bits();
        let (mantissa, exponent) = (bits & ((1 << 52) - 1) | 1 << 52, (bits >> 52) as i32 - 1075);
        let zeros = mantissa.trailing_zeros();
        Self::checked((mantissa >> zeros).into(), exponent + zeros as i32)
    }

    #[track_caller]
    fn times_plus(self, factor: Self, more: Self) -> Self {
        // Both the product and the sum are exact: rounded once or twice, nothing is lost.
        self * factor + more
    }

    /// To nearest, as Wasm and IEEE 754 have it unless told otherwise.
    fn split(self, rounding: Self) -> (Self, Self) {
        let unit = rounding.unit;
        let below = (unit - self.unit) as u32;
        // With it the sum stays where the last bit of a double is `unit`.
        assert!(self.most <= (1 << 51) << below, "{self:?} {rounding:?}");
        let low = Self::checked((1 << (below - 1)).min(self.most), self.unit);
        (low, Self::checked(self.most.div_ceil(1 << below), unit))
    }
}

fn product(f: &[Exact; LIMBS], g: &[Exact; LIMBS]) -> [Exact; LIMBS] {
    let mut factor = Factor([Exact::NONE; 2 * LIMBS]);
    factor.set_limbs(g);
    let mut out = [Exact::NONE; LIMBS];
    multiply(f, &factor, &mut out);
    out
}

#[test]
fn nothing_is_ever_rounded() {
    let times = |limbs: [Exact; LIMBS], times: u128| limbs.map(|limb| limb.times(times));
    // What a product gives of limbs four times a product's own: the least such bound, found by asking
    // again until it holds.
    let width = |i: usize| (STARTS[i + 1] - STARTS[i]) as u32;
    let mut of_product: [Exact; LIMBS] =
        core::array::from_fn(|i| Exact { most: 1 << (width(i) - 1), unit: STARTS[i] as i32 });
    for _ in 0..8 {
        let given = product(&times(of_product, 4), &times(of_product, 4));
        for (limb, given) in of_product.iter_mut().zip(given) {
            limb.most = limb.most.max(given.in_units_of(limb.unit));
        }
    }
    // It stands: what goes in four times as large comes out no larger.
    let given = product(&times(of_product, 4), &times(of_product, 4));
    for (i, (limb, given)) in of_product.iter().zip(given).enumerate() {
        assert!(given.is_at_most(*limb), "{given:?} {limb:?}");
        // A table keeps a limb in 24 bits; bytes are read as limbs at most twice as large as a product's.
        assert!(limb.most < 1 << 23);
        assert!(2 * limb.most >= 1 << width(i));
    }
    // What a table keeps of a sum of two is no larger either.
    let mut sum = times(of_product, 2);
    carry(&mut sum);
    assert!(sum.iter().zip(of_product).all(|(sum, limb)| sum.is_at_most(limb)));
    // In `point` no sum that goes into a product is larger than four of a product: `f` of a doubling is
    // four, `f` and `g` of an addition are three, twice `d` is four.
}

#[test]
fn limbs_of_a_table_are_those_that_were_packed() {
    let mut dice = Dice(3);
    for _ in 0..1_000 {
        let [first, second] = [dice.bytes(), dice.bytes()];
        let table = Pair::from_bytes([&first, &second]).packed().map(|words| {
            let mut words = words.to_vec();
            words.push(0xffff_ffff);
            words
        });
        let mut factor = Factor::none();
        factor.unpack(&table[0], &table[1]);
        let numbers = Pair::both(&ONE).times(&factor).to_bytes();
        assert_eq!(numbers, Pair::from_bytes([&first, &second]).to_bytes());
    }
}

#[test]
fn bytes_are_canonical() {
    let p: [u8; 32] = core::array::from_fn(|at| match at {
        0 => 0xed,
        31 => 0x7f,
        _ => 0xff,
    });
    let first = |number: &Pair| number.to_bytes()[0];
    let read = |bytes: &[u8; 32]| first(&Pair::both(bytes));
    assert_eq!(read(&p), [0; 32]);
    let (zero, one) = (Pair::both(&[0; 32]), Pair::both(&ONE));
    assert_eq!(first(&(&zero - &one))[0], 0xec);
    assert_eq!(first(&(&Pair::both(&p) - &one))[0], 0xec);
    assert_eq!(first(&(&(&zero - &one) - &(&one + &one)))[0], 0xea);
    // p - 1, p, p + 1 and 2^255 - 1, which is p + 18.
    for (low, expected) in [(0xec, 0xec), (0xed, 0), (0xee, 1), (0xff, 18)] {
        let mut bytes = p;
        bytes[0] = low;
        assert_eq!(read(&bytes)[0], expected);
    }
    for at in 0..255 {
        let mut bytes = [0; 32];
        bytes[at / 8] = 1 << (at % 8);
        assert_eq!(read(&bytes), bytes, "bit {at}");
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
    Pair::both(&low.map(|byte| byte as u8)).to_bytes()[0]
}

/// Numbers that are the same in every run; the highest bit is clear.
struct Dice(u64);

impl Dice {
    fn bytes(&mut self) -> [u8; 32] {
        let mut bytes: [u8; 32] = core::array::from_fn(|_| {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (self.0 >> 40) as u8
        });
        bytes[31] &= 127;
        bytes
    }
}

#[test]
fn products_and_sums_are_those_of_other_code() {
    let mut dice = Dice(7);
    let mut ones = [255; 32];
    ones[31] = 127;
    for round in 0..20_000 {
        let (mut a, mut b) = (dice.bytes(), dice.bytes());
        // Long runs of ones and of zeros.
        if round % 4 == 0 {
            a = a.map(|byte| if byte & 1 == 0 { 0 } else { 255 });
            a[31] &= 127;
        }
        if round % 6 == 0 {
            b = ones;
        }
        // Two products at once, each as if it were alone.
        let (x, y) = (Pair::from_bytes([&a, &ones]), Pair::from_bytes([&b, &a]));
        assert_eq!((x * y).to_bytes(), [slowly(&a, &b), slowly(&ones, &a)]);
        // (x + y)(x - y) = x^2 - y^2
        let difference = &((&x + &y) * (&x - &y)) - &(&(x * x) - &(y * y));
        assert_eq!(difference.to_bytes(), [[0; 32]; 2]);
    }
}
