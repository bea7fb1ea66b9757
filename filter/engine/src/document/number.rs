//! The canonical text of a number (RFC 8785 section 3.2.2.3, which is ECMAScript's), without floating point.
//!
//! ECMAScript writes the shortest digits that read back as the same IEEE 754 double. Of a number with at most
//! fifteen significant digits these are its own digits, and of a whole number up to 2^53 too; so nothing has
//! to be converted. Others are refused: two of them may be one double, and then one digest would stand for two
//! bodies, which a reader with more precision tells apart.

/// The canonical text of a number as JSON writes it.
pub(super) fn canonical(written: &str) -> Option<String> {
    let (negative, unsigned) = match written.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, written),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, exponent(unsigned.get(at.checked_add(1)?..)?)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let leading = all.len().checked_sub(digits.len())?;
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        // Zero has no sign there (section 3.2.2.3 writes -0 as 0).
        return Some("0".to_owned());
    }
    // The number is 0.<digits> times ten to this.
    let point = signed(whole.len())?.checked_sub(signed(leading)?)?.checked_add(exponent)?;
    let exact = digits.len() <= EXACT_DIGITS || is_safe_integer(digits, point);
    if !exact || !(SMALLEST..=LARGEST).contains(&point) {
        return None;
    }
    let text = placed(digits, point)?;
    Some(if negative { format!("-{text}") } else { text })
}

fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value: i64 = digits.parse().ok()?;
    if negative { value.checked_neg() } else { Some(value) }
}

/// A whole number that every double up to it is told apart from: at most 2^53.
fn is_safe_integer(digits: &str, point: i64) -> bool {
    signed(digits.len()) == Some(point)
        && digits.parse::<u64>().is_ok_and(|value| value <= LARGEST_SAFE)
}

/// ECMA-262, `Number::toString`, steps 6 to 12, with `point` for its `n`.
fn placed(digits: &str, point: i64) -> Option<String> {
    let count = signed(digits.len())?;
    if count <= point && point <= 21 {
        let zeros = usize::try_from(point.checked_sub(count)?).ok()?;
        return Some(format!("{digits}{}", "0".repeat(zeros)));
    }
    if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at_checked(usize::try_from(point).ok()?)?;
        return Some(format!("{whole}.{fraction}"));
    }
    if -6 < point && point <= 0 {
        let zeros = usize::try_from(point.checked_neg()?).ok()?;
        return Some(format!("0.{}{digits}", "0".repeat(zeros)));
    }
    let exponent = point.checked_sub(1)?;
    let sign = if exponent < 0 { '-' } else { '+' };
    let exponent = exponent.unsigned_abs();
    let (first, rest) = digits.split_at_checked(1)?;
    let dot = if rest.is_empty() { "" } else { "." };
    Some(format!("{first}{dot}{rest}e{sign}{exponent}"))
}

fn signed(length: usize) -> Option<i64> {
    i64::try_from(length).ok()
}

/// Any decimal of so many digits reads back from a double as itself (`DBL_DIG`).
const EXACT_DIGITS: usize = 15;
/// 2^53.
const LARGEST_SAFE: u64 = 9_007_199_254_740_992;
/// Well inside the normal doubles, whose precision does not fall off: 10^-300 to 10^300.
const SMALLEST: i64 = -300;
const LARGEST: i64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, expected: Option<&str>) {
        assert_eq!(canonical(written).as_deref(), expected, "{written}");
    }

    #[test]
    fn numbers_of_the_rfc_are_written_as_it_says() {
        // RFC 8785 appendix B, in decimal, and the sample of section 3.2.4.
        for (written, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("9007199254740992", "9007199254740992"),
            ("-9007199254740992", "-9007199254740992"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("9.5367431640625e-7", "9.5367431640625e-7"),
            ("0.000001", "0.000001"),
            ("333333333.3333333", "333333333.3333333"),
            ("1E30", "1e+30"),
            ("4.50", "4.5"),
            ("2e-3", "0.002"),
            ("0.000000000000000000000000001", "1e-27"),
            ("1e-7", "1e-7"),
            ("123e2", "12300"),
            ("-1.50e1", "-15"),
        ] {
            if expected == "333333333.3333333" {
                // Sixteen digits: see below.
                continue;
            }
            check(written, Some(expected));
        }
    }

    #[test]
    fn what_a_double_does_not_hold_exactly_has_no_canonical_text() {
        for written in [
            "9007199254740993",
            "295147905179352830000",
            "333333333.33333329",
            "333333333.3333333",
            "0.1234567890123456",
            "1e400",
            "5e-324",
            "1.7976931348623157e308",
            "1e99999999999999999999",
        ] {
            check(written, None);
        }
    }

    #[test]
    fn it_is_what_doubles_are_written_as() {
        let mut state = 7_u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let digits = (state >> 20) % 1_000_000_000_000_000;
            let exponent = i32::try_from((state >> 3) % 560).unwrap() - 290;
            let written = format!("{digits}e{exponent}");
            let Some(text) = canonical(&written) else { continue };
            // It reads back as the same double, and no shorter text does: the digits are those of the
            // shortest form, which Rust writes too.
            let value: f64 = written.parse().unwrap();
            assert_eq!(text.parse::<f64>().unwrap(), value, "{written}");
            let shortest = format!("{value:e}");
            let plain = |text: &str| {
                let mantissa = text.split('e').next().unwrap().replace('.', "");
                mantissa.trim_matches('0').to_owned()
            };
            assert_eq!(plain(&text), plain(&shortest), "{written}");
        }
    }
}
