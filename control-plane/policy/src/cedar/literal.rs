//! Values that are written out with a constructor: `decimal("1.5")`, `ip("10.0.0.0/8")`, `datetime("2026-01-01")`,
//! `duration("1h")`. Cedar's validator has refused the ill-formed ones.

use core::net::IpAddr;

use cedar_policy_core::ast::{Literal, Name, RestrictedExpr, ValueKind};
use cedar_policy_core::evaluator::RestrictedEvaluator;
use cedar_policy_core::extensions::Extensions;
use gatepass_engine::policy::Net;

/// Ten-thousandths; 1 to 4 places.
pub(super) fn decimal(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.')?;
    let negative = whole.starts_with('-');
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole.strip_prefix('-').unwrap_or(whole)) || !plain(fraction) || fraction.len() > 4 {
        return None;
    }
    let whole: i64 = whole.parse::<i64>().ok()?.checked_mul(10_000)?;
    let fraction: i64 = format!("{fraction:0<4}").parse().ok()?;
    if negative { whole.checked_sub(fraction) } else { whole.checked_add(fraction) }
}

pub(super) fn net(text: &str) -> Option<Net> {
    match text.split_once('/') {
        None => text.parse::<IpAddr>().ok().map(Net::of),
        Some((address, prefix)) => Net::new(address.parse().ok()?, prefix.parse().ok()?),
    }
}

/// Milliseconds since 1970.
pub(super) fn datetime(text: &str) -> Option<i64> {
    let start = call("datetime", vec![RestrictedExpr::val("1970-01-01")])?;
    let time = call("datetime", vec![RestrictedExpr::val(text)])?;
    long(call("toMilliseconds", vec![call("durationSince", vec![time, start])?])?)
}

/// Milliseconds.
pub(super) fn duration(text: &str) -> Option<i64> {
    let duration = call("duration", vec![RestrictedExpr::val(text)])?;
    long(call("toMilliseconds", vec![duration])?)
}

fn call(name: &str, arguments: Vec<RestrictedExpr>) -> Option<RestrictedExpr> {
    Some(RestrictedExpr::call_extension_fn(Name::parse_unqualified_name(name).ok()?, arguments))
}

/// As Cedar itself reads it.
fn long(expression: RestrictedExpr) -> Option<i64> {
    let evaluator = RestrictedEvaluator::new(Extensions::all_available());
    let value = evaluator.interpret(expression.as_borrowed()).ok()?;
    match value.value {
        ValueKind::Lit(Literal::Long(value)) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructors_are_read_as_cedar_reads_them() {
        for (text, value) in [
            ("0.0", 0),
            ("1.5", 15_000),
            ("-0.0001", -1),
            ("-1.5", -15_000),
            ("922337203685477.5807", i64::MAX),
            ("-922337203685477.5808", i64::MIN),
        ] {
            assert_eq!(decimal(text), Some(value), "{text}");
        }
        for bad in ["1", "1.", ".1", "1.23456", "+1.0", "922337203685477.5808", "--1.0", "1.-1"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
        assert_eq!(datetime("1970-01-02"), Some(86_400_000));
        assert_eq!(datetime("1969-12-31T23:59:59.500Z"), Some(-500));
        assert_eq!(datetime("2024-13-01"), None);
        assert_eq!(duration("-1d2h3m4s5ms"), Some(-93_784_005));
        assert_eq!(duration("1"), None);
        assert!(net("10.0.0.0/8").is_some() && net("10.0.0.0/33").is_none());
    }
}
