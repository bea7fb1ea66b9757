//! Conditions: what is true or false.

use super::{Type, Writer, entity};
use crate::pools::{BLUEPRINTS, PATTERNS};

pub(super) const ORDER: &[&str] = &["<", "<=", ">", ">=", "==", "!="];
const DECIMAL_ORDER: &[&str] =
    &["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"];

impl Writer<'_> {
    /// It asks itself for all that may be missing.
    pub(super) fn condition(&mut self, depth: usize) -> String {
        if depth == 0 || self.dice.percent(40) {
            return self.asked(depth);
        }
        let depth = depth - 1;
        match self.dice.roll(20) {
            0..7 => format!("({} && {})", self.condition(depth), self.condition(depth)),
            7..13 => format!("({} || {})", self.condition(depth), self.condition(depth)),
            13..16 => format!("!({})", self.condition(depth)),
            16..18 => {
                let test = self.condition(depth);
                let (then, other) = (self.condition(depth), self.condition(depth));
                format!("(if {test} then {then} else {other})")
            }
            18 => format!("({} == {})", self.condition(depth), self.condition(depth)),
            _ => {
                let (one, two) = (self.condition(depth), self.condition(depth));
                format!("[{one}, {two}].contains({})", self.condition(depth))
            }
        }
    }

    /// A plain condition behind the questions that it needs.
    fn asked(&mut self, depth: usize) -> String {
        let before = core::mem::take(&mut self.needs);
        let plain = self.plain(depth);
        let needs = core::mem::replace(&mut self.needs, before);
        if needs.is_empty() {
            return plain;
        }
        let has = needs.join(" && ");
        match self.dice.roll(40) {
            0..24 => format!("({has} && {plain})"),
            24..39 => format!("(if {has} then {plain} else {})", self.dice.percent(60)),
            // Refused by the validator.
            _ => plain,
        }
    }

    fn plain(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        match self.dice.roll(36) {
            24..29 => self.touchy(),
            29..33 => self.of_times(),
            33.. => self.of_nets(),
            0..5 => {
                let (left, right) = (self.of(Type::Long, depth), self.of(Type::Long, depth));
                format!("({left} {} {right})", self.dice.pick(ORDER))
            }
            5..8 => {
                let kind = self.dice.pick(&[Type::Datetime, Type::Duration]);
                let (left, right) = (self.of(kind, depth), self.of(kind, depth));
                format!("({left} {} {right})", self.dice.pick(ORDER))
            }
            8..10 => {
                let (left, right) = (self.of(Type::Decimal, depth), self.of(Type::Decimal, depth));
                match self.dice.roll(5) {
                    0 => format!("({left} == {right})"),
                    _ => format!("({left}).{}({right})", self.dice.pick(DECIMAL_ORDER)),
                }
            }
            10..12 => {
                let (left, right) = (self.of(Type::Text, depth), self.of(Type::Text, depth));
                format!("({left} {} {right})", self.dice.pick(&["==", "==", "!="]))
            }
            12..14 => {
                let text = self.of(Type::Text, depth);
                format!("({text} like \"{}\")", self.dice.pick(PATTERNS))
            }
            14 => self.of_nets(),
            15..17 => self.of_entities(depth),
            17..20 => self.of_sets(depth),
            20 => self.of_records(depth),
            21..23 => self.has(),
            23 => match self.dice.roll(6) {
                0 => "true".to_owned(),
                1 => "false".to_owned(),
                _ => self.optional("context.inputs has rush", "context.inputs.rush"),
            },
        }
    }

    fn of_records(&mut self, depth: usize) -> String {
        let record = self.of(Type::Record, depth);
        match self.dice.roll(4) {
            0..2 => {
                let other = self.of(Type::Record, depth);
                format!("({record} {} {other})", self.dice.pick(&["==", "!="]))
            }
            // The same twice: otherwise two are hardly ever equal.
            2 => format!("({record} == {record})"),
            _ => {
                let name =
                    self.dice.pick(&["a", "\"b c\"", "nothing", "inner", "inner.a", "inner.b"]);
                format!("({record} has {name})")
            }
        }
    }

    fn has(&mut self) -> String {
        if self.dice.percent(12) {
            return self.optional("context has approval", "(context.approval has by)");
        }
        if self.dice.percent(12) {
            return self
                .optional("context.inputs has amount", "(context.inputs.amount has currency)");
        }
        let (of, names): (&str, &[&str]) = self.dice.pick(&[
            (
                "context",
                &[
                    "approval",
                    "approval.by",
                    "approval.nothing",
                    "inputs.count",
                    "inputs.amount.amount",
                    "inputs.limit.nothing",
                    "task.id",
                    "nothing",
                    "gatepass.scopes",
                    "budget",
                    "budget.day",
                    "budget.uses",
                ],
            ),
            ("context.inputs", &["amount", "limit", "count", "rate", "rush", "note", "tags"]),
            ("context.inputs", &["amount.amount", "kind", "nothing"]),
            ("context.budget", &["day", "rates", "counts", "uses", "nothing"]),
            ("context.request", &["time", "nothing"]),
            ("principal", &["owner", "nothing"]),
            ("resource", &["nothing"]),
            ("action", &["nothing"]),
        ]);
        format!("({of} has {})", self.dice.pick(names))
    }

    pub(super) fn blueprint(&mut self) -> String {
        entity("Gatepass::Blueprint", self.dice.pick(BLUEPRINTS))
    }
}
