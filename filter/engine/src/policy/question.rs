//! One question of a condition. What rules mostly ask, a fact beside a constant, is one of its own and answered
//! without a [`super::Value`]; all else is a node.
//!
//! A question and its node have one answer: where a fact is not of the constant's type, the node is asked.

use super::evaluate::{DAY, Evaluation, MAX_MEMBERS};
use super::facts::moment;
use super::guard::Fact;
use super::{Node, Program, Slot, Stop};
use crate::fold::{same, same_bytes};
use crate::inputs;

/// Texts, nodes and lists by their numbers in the program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Node,
    HasInput(u16),
    HasApproval,
    /// Whether a fact is this text.
    Is(Fact, u32),
    /// Or one of these: where their nodes begin in [`Program::lists`], and how many they are.
    IsOneOf(Fact, u32, u32),
    /// Whether an input that is a text, or the currency of one that is money, is this.
    InputIs(u16, u32),
    CurrencyIs(u16, u32),
    /// Whether a text is like a pattern.
    IsLike(Fact, u32),
    InputIsLike(u16, u32),
    /// Whether the gatepass has this scope.
    Scope(u32),
    AllScopes(u32, u32),
    Number(Number, Order, i64),
}

/// A fact that is a number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(u16),
    Decimal(u16),
    Amount(u16),
    Time,
    /// Since midnight.
    Hour,
    Issued,
    Expires,
}

/// How it must stand to the constant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

impl Question {
    /// Of a node whose numbers were checked.
    pub(super) fn of(program: &Program, at: u32) -> Self {
        Self::short(program, at).unwrap_or(Self::Node)
    }

    fn short(program: &Program, at: u32) -> Option<Self> {
        let node = |at: u32| program.nodes.get(usize::try_from(at).ok()?).copied();
        let are_texts = |from: u32, count: u32| {
            let from = usize::try_from(from).ok()?;
            let until = from.checked_add(usize::try_from(count).ok()?)?;
            let mut members = program.lists.get(from..until)?.iter();
            members.all(|member| matches!(node(*member), Some(Node::Text(_)))).then_some(())
        };
        if let Some((fact, text)) = Fact::asked(program, at) {
            return Some(Self::Is(fact, text));
        }
        Some(match node(at)? {
            Node::Has(Slot::Input(nth)) => Self::HasInput(nth),
            Node::Has(Slot::Approval) => Self::HasApproval,
            Node::Equal(left, right) => return Self::equal(program, node(left)?, node(right)?),
            Node::Less(left, right) => {
                return Self::ordered(program, node(left)?, Order::Less, node(right)?, false);
            }
            Node::LessOrEqual(left, right) => {
                return Self::ordered(
                    program,
                    node(left)?,
                    Order::LessOrEqual,
                    node(right)?,
                    false,
                );
            }
            Node::DecimalLess(left, right) => {
                return Self::ordered(program, node(left)?, Order::Less, node(right)?, true);
            }
            Node::DecimalLessOrEqual(left, right) => {
                return Self::ordered(program, node(left)?, Order::LessOrEqual, node(right)?, true);
            }
            Node::Like(text, pattern) => match node(text)? {
                Node::Slot(Slot::Input(nth)) => Self::InputIsLike(nth, pattern),
                Node::Slot(slot) => Self::IsLike(Fact::of(slot)?, pattern),
                _ => return None,
            },
            Node::Contains(set, member) => match (node(set)?, node(member)?) {
                (Node::Slot(Slot::Scopes), Node::Text(text)) => Self::Scope(text),
                (Node::Set(from, count), Node::Slot(slot)) => {
                    are_texts(from, count)?;
                    Self::IsOneOf(Fact::of(slot)?, from, count)
                }
                _ => return None,
            },
            Node::ContainsAll(all, some) => match (node(all)?, node(some)?) {
                (Node::Slot(Slot::Scopes), Node::Set(from, count)) => {
                    are_texts(from, count)?;
                    Self::AllScopes(from, count)
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    fn equal(program: &Program, left: Node, right: Node) -> Option<Self> {
        match (left, right) {
            (Node::Slot(Slot::Input(nth)), Node::Text(text))
            | (Node::Text(text), Node::Slot(Slot::Input(nth))) => Some(Self::InputIs(nth, text)),
            (Node::Slot(Slot::Currency(nth)), Node::Text(text))
            | (Node::Text(text), Node::Slot(Slot::Currency(nth))) => {
                Some(Self::CurrencyIs(nth, text))
            }
            _ => Number::beside(program, left, Order::Equal, right),
        }
    }

    /// Decimals have an order of their own; who asks the other of them gets none.
    fn ordered(
        program: &Program,
        left: Node,
        order: Order,
        right: Node,
        of_decimals: bool,
    ) -> Option<Self> {
        let is_decimal = |node: Node| matches!(node, Node::Decimal(_));
        if of_decimals != (is_decimal(left) || is_decimal(right)) {
            return None;
        }
        Number::beside(program, left, order, right)
    }
}

impl Number {
    /// The question of a fact beside a constant of its type, or the other way about.
    fn beside(program: &Program, left: Node, order: Order, right: Node) -> Option<Question> {
        let question = |(number, bound), order| Question::Number(number, order, bound);
        let straight = Self::with_bound(program, left, right).map(|found| question(found, order));
        let turned = || Self::with_bound(program, right, left);
        straight.or_else(|| turned().map(|found| question(found, order.turned())))
    }

    fn with_bound(program: &Program, fact: Node, constant: Node) -> Option<(Self, i64)> {
        Some(match (fact, constant) {
            (Node::Slot(Slot::Input(nth)), Node::Long(bound)) => (Self::Integer(nth), bound),
            (Node::Slot(Slot::Input(nth)), Node::Decimal(bound)) => (Self::Decimal(nth), bound),
            (Node::Slot(Slot::Amount(nth)), Node::Decimal(bound)) => (Self::Amount(nth), bound),
            (Node::Slot(Slot::Time), Node::Datetime(bound)) => (Self::Time, bound),
            (Node::Slot(Slot::Issued), Node::Datetime(bound)) => (Self::Issued, bound),
            (Node::Slot(Slot::Expires), Node::Datetime(bound)) => (Self::Expires, bound),
            (Node::ToTime(time), Node::Duration(bound)) => {
                let time = program.nodes.get(usize::try_from(time).ok()?);
                matches!(time, Some(Node::Slot(Slot::Time))).then_some((Self::Hour, bound))?
            }
            _ => return None,
        })
    }
}

impl Order {
    /// With its sides changed.
    const fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal => Self::Equal,
        }
    }

    const fn holds(self, number: i64, bound: i64) -> bool {
        match self {
            Self::Less => number < bound,
            Self::LessOrEqual => number <= bound,
            Self::Greater => number > bound,
            Self::GreaterOrEqual => number >= bound,
            Self::Equal => number == bound,
        }
    }
}

impl Evaluation<'_> {
    /// Of a question with its node.
    #[inline]
    pub(super) fn answer(&self, question: Question, node: u32) -> Result<bool, Stop> {
        match question {
            Question::Node => {}
            Question::HasInput(nth) => return Ok(self.facts.input(nth)?.is_some()),
            Question::HasApproval => return Ok(self.facts.claims.approval.is_some()),
            Question::Is(fact, text) => {
                let known = fact.text(self.facts).ok_or(Stop::Unknown)?;
                return Ok(same(known, self.text(text)?));
            }
            Question::IsOneOf(fact, from, count) => {
                let known = fact.text(self.facts).ok_or(Stop::Unknown)?;
                for member in self.list(from, count) {
                    if same(known, self.constant(*member)?) {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
            Question::InputIs(nth, text) => {
                let input = self.facts.input(nth)?.ok_or(Stop::Missing)?;
                if let inputs::Value::Text(input) = input {
                    return Ok(same(input, self.text(text)?));
                }
            }
            Question::CurrencyIs(nth, text) => {
                let input = self.facts.input(nth)?.ok_or(Stop::Missing)?;
                if let inputs::Value::Money(money) = input {
                    return Ok(same(money.currency(), self.text(text)?));
                }
            }
            Question::IsLike(fact, pattern) => {
                let known = fact.text(self.facts).ok_or(Stop::Unknown)?;
                return Ok(self.pattern(pattern)?.matches(known));
            }
            Question::InputIsLike(nth, pattern) => {
                let input = self.facts.input(nth)?.ok_or(Stop::Missing)?;
                if let inputs::Value::Text(input) = input {
                    return Ok(self.pattern(pattern)?.matches(input));
                }
            }
            Question::Scope(text) => return self.has_scope(self.text(text)?),
            Question::AllScopes(from, count) => {
                for member in self.list(from, count) {
                    if !self.has_scope(self.constant(*member)?)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            Question::Number(number, order, bound) => {
                if let Some(found) = self.number(number)? {
                    return Ok(order.holds(found, bound));
                }
            }
        }
        self.holds(node)
    }

    /// None where the fact is of another type.
    fn number(&self, number: Number) -> Result<Option<i64>, Stop> {
        let input = |nth: u16| self.facts.input(nth)?.ok_or(Stop::Missing);
        Ok(Some(match number {
            Number::Integer(nth) => match input(nth)? {
                inputs::Value::Integer(value) => *value,
                _ => return Ok(None),
            },
            Number::Decimal(nth) => match input(nth)? {
                inputs::Value::Decimal(value) => value.ten_thousandths(),
                _ => return Ok(None),
            },
            Number::Amount(nth) => match input(nth)? {
                inputs::Value::Money(money) => money.amount.ten_thousandths(),
                _ => return Ok(None),
            },
            Number::Time => self.facts.time()?,
            Number::Hour => self.facts.time()?.rem_euclid(DAY),
            Number::Issued => moment(self.facts.claims.iat),
            Number::Expires => moment(self.facts.claims.exp),
        }))
    }

    /// As a set of the gatepass is looked at, so one that has more members may have to be an error.
    fn has_scope(&self, wanted: &str) -> Result<bool, Stop> {
        let Some(scopes) = self.facts.claims.scope.text() else { return Ok(false) };
        let scopes = scopes.as_bytes().split(|byte| *byte == b' ');
        for (nth, scope) in scopes.enumerate() {
            if nth >= MAX_MEMBERS {
                return Err(Stop::TooMany);
            }
            if same_bytes(scope, wanted.as_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The text of a node that is one.
    fn constant(&self, node: u32) -> Result<&str, Stop> {
        match self.program.nodes.get(node as usize) {
            Some(Node::Text(text)) => self.text(*text),
            _ => Err(Stop::Type),
        }
    }
}
