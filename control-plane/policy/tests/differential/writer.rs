//! Writes rules over the product's own schema: expressions are made by type, so that most of them pass strict
//! validation, and what may be missing is asked for first.

use crate::dice::Dice;
use crate::pools::{
    ACTIONS, AGENTS, BLUEPRINTS, DECIMALS, DURATIONS, GROUPS, LARGE, LONGS, MOMENTS, NETS, PERSONS,
    SYSTEMS, TEXTS, quoted,
};

mod conditions;
mod edges;
mod entities;
mod scopes;
mod sets;

/// A type of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    Long,
    Text,
    Decimal,
    Datetime,
    Duration,
    Net,
    Agent,
    Person,
    System,
    Blueprint,
    Action,
    /// `{"a": Long, "b c": Text, "yes": Boolean, "inner": {"a": Long}}`, as everywhere here.
    Record,
    Texts,
    Longs,
    Agents,
    Decimals,
    SetsOfTexts,
    Records,
}

/// Writes one rule.
pub(crate) struct Writer<'d> {
    dice: &'d mut Dice,
    /// What the expression that is being written needs to be there.
    needs: Vec<&'static str>,
}

impl<'d> Writer<'d> {
    pub(crate) const fn new(dice: &'d mut Dice) -> Self {
        Self { dice, needs: Vec::new() }
    }

    /// An expression of a type, so deep at most.
    fn of(&mut self, of: Type, depth: usize) -> String {
        if depth > 0 && of != Type::Boolean && self.dice.percent(8) {
            let test = self.condition(depth - 1);
            let (then, other) = (self.of(of, depth - 1), self.of(of, depth - 1));
            return format!("(if {test} then {then} else {other})");
        }
        if depth > 0
            && matches!(of, Type::Long | Type::Text | Type::Boolean)
            && self.dice.percent(4)
        {
            return self.member(of, depth - 1);
        }
        match of {
            Type::Boolean => self.condition(depth),
            Type::Long => self.long(depth),
            Type::Text => self.text(),
            Type::Decimal => self.decimal(),
            Type::Datetime => self.datetime(depth),
            Type::Duration => self.duration(depth),
            Type::Net => format!("ip({})", quoted(self.dice.pick(NETS))),
            Type::Agent if self.dice.percent(50) => "principal".to_owned(),
            Type::Agent => entity("Gatepass::Agent", self.dice.pick(AGENTS)),
            Type::Person => self.person(),
            Type::System if self.dice.percent(50) => "resource".to_owned(),
            Type::System => entity("Gatepass::System", self.dice.pick(SYSTEMS)),
            Type::Blueprint => entity("Gatepass::Blueprint", self.dice.pick(BLUEPRINTS)),
            Type::Action if self.dice.percent(50) => "action".to_owned(),
            Type::Action if self.dice.percent(50) => entity("Action", self.dice.pick(GROUPS)),
            Type::Action => entity("Action", self.dice.pick(ACTIONS)),
            Type::Record => self.record(depth),
            Type::Texts
            | Type::Longs
            | Type::Agents
            | Type::Decimals
            | Type::SetsOfTexts
            | Type::Records => self.set(of, depth),
        }
    }

    fn long(&mut self, depth: usize) -> String {
        if depth == 0 || self.dice.percent(35) {
            return match self.dice.roll(11) {
                10 => match self.dice.roll(2) {
                    0 => self.optional("context.budget has counts", "context.budget.counts"),
                    _ => self.optional("context.budget has uses", "context.budget.uses"),
                },
                0..4 => self.optional("context.inputs has count", "context.inputs.count"),
                4 if self.dice.percent(30) => {
                    self.optional("context.inputs has kind", "context.inputs.kind")
                }
                5 => format!("({})", self.dice.pick(LARGE)),
                _ => format!("({})", self.dice.pick(LONGS)),
            };
        }
        let depth = depth - 1;
        match self.dice.roll(8) {
            0..2 => format!("({} + {})", self.long(depth), self.long(depth)),
            2..4 => format!("({} - {})", self.long(depth), self.long(depth)),
            4 => format!("({} * {})", self.long(depth), self.long(depth)),
            5 => format!("(-{})", self.long(depth)),
            _ => {
                let duration = self.of(Type::Duration, depth);
                let unit = self.dice.pick(&[
                    "toMilliseconds",
                    "toSeconds",
                    "toMinutes",
                    "toHours",
                    "toDays",
                ]);
                format!("({duration}).{unit}()")
            }
        }
    }

    fn text(&mut self) -> String {
        match self.dice.roll(14) {
            0 => "context.environment".to_owned(),
            1 => self.dice.pick(&["context.request.method", "context.request.host"]).to_owned(),
            2 => self.dice.pick(&["context.request.path", "context.request.route"]).to_owned(),
            3 => "context.gatepass.assurance".to_owned(),
            4 => self.dice.pick(&["context.gatepass.subject", "context.gatepass.id"]).to_owned(),
            5 => "context.task.id".to_owned(),
            6 => self.optional("context has approval", "context.approval.id"),
            7..9 => self.optional("context.inputs has note", "context.inputs.note"),
            9 if self.dice.percent(30) => {
                self.optional("context.inputs has kind", "context.inputs.kind")
            }
            9..11 => self.optional("context.inputs has amount", "context.inputs.amount.currency"),
            _ => quoted(self.dice.pick(TEXTS)),
        }
    }

    fn decimal(&mut self) -> String {
        match self.dice.roll(8) {
            6 => self.optional("context.budget has day", "context.budget.day"),
            7 => self.optional("context.budget has rates", "context.budget.rates"),
            0..2 => self.optional("context.inputs has amount", "context.inputs.amount.amount"),
            2 => self.optional("context.inputs has limit", "context.inputs.limit.amount"),
            3 => self.optional("context.inputs has rate", "context.inputs.rate"),
            _ => format!("decimal({})", quoted(self.dice.pick(DECIMALS))),
        }
    }

    fn datetime(&mut self, depth: usize) -> String {
        if depth > 0 && self.dice.percent(45) {
            let time = self.of(Type::Datetime, depth - 1);
            if self.dice.percent(40) {
                return format!("({time}).toDate()");
            }
            return format!("({time}).offset({})", self.of(Type::Duration, depth - 1));
        }
        match self.dice.roll(6) {
            0..2 => "context.request.time".to_owned(),
            2 => "context.gatepass.issued".to_owned(),
            3 => "context.gatepass.expires".to_owned(),
            _ => format!("datetime({})", quoted(self.dice.pick(MOMENTS))),
        }
    }

    fn duration(&mut self, depth: usize) -> String {
        if depth > 0 && self.dice.percent(50) {
            let time = self.of(Type::Datetime, depth - 1);
            if self.dice.percent(40) {
                return format!("({time}).toTime()");
            }
            return format!("({time}).durationSince({})", self.of(Type::Datetime, depth - 1));
        }
        format!("duration({})", quoted(self.dice.pick(DURATIONS)))
    }

    fn person(&mut self) -> String {
        match self.dice.roll(4) {
            0..2 => "principal.owner".to_owned(),
            2 => self.optional("context has approval", "context.approval.by"),
            _ => entity("Gatepass::Person", self.dice.pick(PERSONS)),
        }
    }

    /// Of a record that is written out.
    fn member(&mut self, of: Type, depth: usize) -> String {
        let record = self.of(Type::Record, depth);
        match of {
            Type::Long if self.dice.percent(20) => format!("({record}).inner.a"),
            Type::Long => format!("({record}).a"),
            Type::Text => format!("({record})[\"b c\"]"),
            _ => format!("({record}).yes"),
        }
    }

    fn record(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        let (a, inner) = (self.of(Type::Long, depth), self.of(Type::Long, 0));
        let (text, yes) = (self.of(Type::Text, 0), self.of(Type::Boolean, depth));
        if self.dice.percent(50) {
            format!(
                "{{\"a\": {a}, \"b c\": {text}, \"yes\": {yes}, \"inner\": {{\"a\": {inner}}}}}"
            )
        } else {
            format!("{{\"inner\": {{a: {inner}}}, yes: {yes}, a: {a}, \"b c\": {text}}}")
        }
    }

    /// What may be missing, and by what one asks.
    fn optional(&mut self, has: &'static str, value: &str) -> String {
        if !self.needs.contains(&has) {
            self.needs.push(has);
        }
        value.to_owned()
    }
}

pub(crate) fn entity(kind: &str, id: &str) -> String {
    format!("{kind}::{}", quoted(id))
}
