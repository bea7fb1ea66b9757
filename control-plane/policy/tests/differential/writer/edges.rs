//! Conditions close to where something changes: beyond 64 bits, before 1970, at the ends of ranges.

use super::conditions::ORDER;
use super::{Type, Writer};
use crate::pools::{DURATIONS, LARGE, MOMENTS, UNITS, quoted};

const WHOLE: &[&str] = &["toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"];
/// Of `1d2h3m4s5ms`.
const LENGTH: &[(&str, i64)] = &[
    ("toMilliseconds", 93_784_005),
    ("toSeconds", 93_784),
    ("toMinutes", 1_563),
    ("toHours", 26),
    ("toDays", 1),
];
/// Moments with their days and their times.
const DAYS: &[(&str, &str, &str)] = &[
    ("1969-12-31T23:59:59.999Z", "1969-12-31", "23h59m59s999ms"),
    ("1969-12-31T12:00:00Z", "1969-12-31", "12h"),
    ("1969-12-30", "1969-12-30", "0ms"),
    ("1970-01-01", "1970-01-01", "0ms"),
    ("2027-01-15T08:00:00.001Z", "2027-01-15", "8h1ms"),
    ("0001-01-01T00:00:00.001Z", "0001-01-01", "1ms"),
];
/// Ranges at the edge of what a function asks for, and just beyond it.
const LOOPBACK: &[&str] =
    &["127.0.0.0/8", "127.0.0.0/7", "127.0.0.1/31", "126.255.255.255", "::1", "::1/127", "::2"];
const MULTICAST: &[&str] = &[
    "224.0.0.0/4",
    "224.0.0.0/3",
    "239.255.255.255",
    "240.0.0.0",
    "ff00::/8",
    "ff00::/7",
    "fe00::",
];

impl Writer<'_> {
    /// Close to what 64 bits hold, or beyond it.
    pub(super) fn touchy(&mut self) -> String {
        let order = self.dice.pick(ORDER);
        match self.dice.roll(6) {
            0..2 => {
                let operator = self.dice.pick(&["+", "-", "*"]);
                let (count, large) = (self.count(), self.dice.pick(LARGE));
                format!("(({count} {operator} ({large})) {order} {})", self.of(Type::Long, 0))
            }
            2 => {
                let (count, by) = (self.count(), self.of(Type::Long, 1));
                format!("(-({count} * {by}) {order} {})", self.of(Type::Long, 0))
            }
            3..5 => {
                let (time, by) = (self.of(Type::Datetime, 0), self.of(Type::Duration, 0));
                let later = format!("(({time}).offset(duration(\"106751990000d\"))).offset({by})");
                format!("({later} {order} {})", self.of(Type::Datetime, 1))
            }
            _ => {
                let by = self.of(Type::Duration, 0);
                let (time, other) = (self.of(Type::Datetime, 0), self.of(Type::Datetime, 0));
                let since = format!("(({time}).offset({by})).durationSince({other})");
                format!("({since} {order} {})", self.of(Type::Duration, 0))
            }
        }
    }

    fn count(&mut self) -> String {
        self.optional("context.inputs has count", "context.inputs.count")
    }

    /// What a length or a moment comes to, or what is next to that.
    pub(super) fn of_times(&mut self) -> String {
        let order = self.dice.pick(ORDER);
        match self.dice.roll(6) {
            0..2 => {
                let (unit, whole) = self.dice.pick(LENGTH);
                let (sign, whole) = self.dice.pick(&[("", whole), ("-", -whole)]);
                let beside = whole + self.dice.pick(&[-1, 0, 0, 1]);
                format!("((duration(\"{sign}1d2h3m4s5ms\")).{unit}() {order} ({beside}))")
            }
            2..4 => {
                let (moment, date, time) = self.dice.pick(DAYS);
                let moment = format!("datetime(\"{moment}\")");
                if self.dice.percent(50) {
                    format!("(({moment}).toDate() {order} datetime(\"{date}\"))")
                } else {
                    format!("(({moment}).toTime() {order} duration(\"{time}\"))")
                }
            }
            _ => self.of_any_times(),
        }
    }

    fn of_any_times(&mut self) -> String {
        let order = self.dice.pick(ORDER);
        match self.dice.roll(5) {
            0..2 => {
                let of = if self.dice.percent(60) {
                    format!("duration({})", quoted(self.dice.pick(DURATIONS)))
                } else {
                    format!("({}).durationSince({})", self.moment(), self.moment())
                };
                format!("(({of}).{}() {order} {})", self.dice.pick(WHOLE), self.dice.pick(UNITS))
            }
            2 => format!("(({}).toDate() {order} ({}).toDate())", self.moment(), self.moment()),
            3 => format!("(({}).toDate() {order} {})", self.moment(), self.moment()),
            _ => {
                let length = self.dice.pick(&["0ms", "8h", "23h59m59s999ms", "1d", "12h", "1ms"]);
                format!("(({}).toTime() {order} duration({}))", self.moment(), quoted(length))
            }
        }
    }

    fn moment(&mut self) -> String {
        let moment = format!("datetime({})", quoted(self.dice.pick(MOMENTS)));
        match self.dice.roll(4) {
            0 => self.of(Type::Datetime, 0),
            1 => {
                let by = self.dice.pick(&["-1ms", "1ms", "-1d", "-12h"]);
                format!("{moment}.offset(duration({}))", quoted(by))
            }
            _ => moment,
        }
    }

    pub(super) fn of_nets(&mut self) -> String {
        match self.dice.roll(8) {
            0..3 => {
                let (net, range) = (self.of(Type::Net, 0), self.of(Type::Net, 1));
                format!("({net}).isInRange({range})")
            }
            3 => format!("({} == {})", self.of(Type::Net, 0), self.of(Type::Net, 0)),
            4 => {
                let what = self.dice.pick(&["isIpv4", "isIpv6", "isLoopback", "isMulticast"]);
                format!("({}).{what}()", self.of(Type::Net, 1))
            }
            5..7 => format!("(ip({})).isLoopback()", quoted(self.dice.pick(LOOPBACK))),
            _ => format!("(ip({})).isMulticast()", quoted(self.dice.pick(MULTICAST))),
        }
    }
}
