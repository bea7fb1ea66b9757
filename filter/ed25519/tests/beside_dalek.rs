//! Beside `curve25519-dalek`, which shares no code with this crate.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::sync::LazyLock;

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use gatepass_ed25519::{Table, combine};

fn table(point: &EdwardsPoint) -> Table {
    Table::new(&point.compress().to_bytes()).unwrap()
}

static BASE: LazyLock<Table> = LazyLock::new(|| table(&ED25519_BASEPOINT_POINT));

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 32) as u8
        })
    }

    /// Random, or with long runs of one kind of digit.
    fn scalar(&mut self) -> Scalar {
        let [kind, byte, from, to] = self.bytes();
        let mut bytes: [u8; 32] = self.bytes();
        if kind % 4 == 0 {
            let (from, to) = (usize::from(from % 32), usize::from(to % 32));
            bytes.iter_mut().skip(from.min(to)).take(from.abs_diff(to)).for_each(|b| *b = byte);
        }
        Scalar::from_bytes_mod_order(bytes)
    }
}

fn compare(point: &EdwardsPoint, table: &Table, s: &Scalar, h: &Scalar) {
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(h, point, s);
    let sum = combine(&BASE, s.as_bytes(), table, h.as_bytes());
    assert_eq!(sum, Some(expected.compress().to_bytes()), "{s:?} {h:?} {point:?}");
}

/// How many cases; `make differential` asks for ten million.
fn cases() -> u64 {
    std::env::var("CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

#[test]
fn random_sums_are_the_same() {
    let mut dice = Dice(0x5eed_0001);
    let each = 2_000;
    for _ in 0..cases().div_ceil(each) {
        let point = ED25519_BASEPOINT_POINT * dice.scalar();
        let table = table(&point);
        for _ in 0..each {
            compare(&point, &table, &dice.scalar(), &dice.scalar());
        }
    }
}

#[test]
fn sums_at_the_edges_are_the_same() {
    let mut scalars = vec![Scalar::ZERO, Scalar::ONE, -Scalar::ONE];
    scalars.extend((0..253).map(|bit| {
        let mut bytes = [0; 32];
        bytes[bit / 8] = 1 << (bit % 8);
        Scalar::from_bytes_mod_order(bytes)
    }));
    // Each digit at its largest and smallest, alone and everywhere.
    for byte in [0x7f, 0x80, 0x81, 0xff] {
        scalars.push(Scalar::from_bytes_mod_order([byte; 32]));
        scalars.extend((0..31).map(|at| {
            let mut bytes = [0; 32];
            bytes[at] = byte;
            Scalar::from_bytes_mod_order(bytes)
        }));
    }
    let points = [
        ED25519_BASEPOINT_POINT,
        -ED25519_BASEPOINT_POINT,
        ED25519_BASEPOINT_POINT * Scalar::from(8_u8),
        ED25519_BASEPOINT_POINT + EIGHT_TORSION[1],
    ];
    // Points of small order too: no key is one, and the sum is right all the same.
    for point in points.iter().chain(&EIGHT_TORSION) {
        let table = table(point);
        for (at, s) in scalars.iter().enumerate() {
            compare(point, &table, s, &scalars[(at * 7 + 3) % scalars.len()]);
            compare(point, &table, s, s);
            compare(point, &table, s, &-s);
        }
    }
}

#[test]
fn what_is_no_point_or_no_scalar_gives_nothing() {
    let mut none = 0;
    for low in 0..=255_u8 {
        let mut bytes = [0; 32];
        bytes[0] = low;
        let theirs = curve25519_dalek::edwards::CompressedEdwardsY(bytes).decompress();
        assert_eq!(Table::new(&bytes).is_some(), theirs.is_some(), "{low}");
        none += u32::from(theirs.is_none());
    }
    assert!(none > 100);
    let mut large = [0; 32];
    large[31] = 32;
    assert_eq!(combine(&BASE, &large, &BASE, &[0; 32]), None);
    assert_eq!(combine(&BASE, &[0; 32], &BASE, &large), None);
    large[31] = 31;
    assert!(combine(&BASE, &large, &BASE, &[0; 32]).is_some());
}
