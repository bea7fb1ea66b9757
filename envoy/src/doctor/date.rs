//! The time in a `Date` header (RFC 9110, section 5.6.7), in the one form that servers may send.

/// Unix seconds of `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()?;
    let year: u64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let clock_fits = hour < 24 && minute < 60 && second <= 60;
    let day_fits = (1970..=9999).contains(&year) && (1..=31).contains(&day);
    if parts.next() != Some("GMT") || !clock_fits || !day_fits {
        return None;
    }
    // Days from the era's start, with March as the first month, so that a leap day ends its year.
    let (shifted, years) = if month < 2 { (month + 10, year - 1) } else { (month - 2, year) };
    let days = years * 365 + years / 4 - years / 100 + years / 400;
    let days = (days + (shifted * 153 + 2) / 5 + day).checked_sub(DAYS_TO_1970)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS_TO_1970: u64 = 719_469;

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn dates_are_unix_seconds() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Sun, 06 Nov 1994 18446744073709551615:00:00 GMT", None),
            ("Sun, 06 Nov 18446744073709551615 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
