//! A program as it came, checked: numbers name what is there, operands come first, and the depth and the steps
//! of everything are within bounds. Whoever signs a program that is not so is refused, and the gate stays on
//! the one before.

use super::condition::{Condition, Conditions, Laying};
use super::evaluate::MAX_MEMBERS;
use super::guard::{Guard, Wanted};
use super::{Effect, Node, Program, Rule, Slot};
use crate::ids::is_token;

/// A program that was checked, with the rules of each action by their effect.
#[derive(Debug, Default)]
pub struct Rules {
    /// A program without a rule permits nothing; no program at all leaves it to the gatepass.
    are_there: bool,
    program: Program,
    conditions: Conditions,
    actions: Vec<Split>,
    uses_source: bool,
    budgets: usize,
}

/// The rules of one action.
#[derive(Clone, Debug, Default)]
struct Split {
    /// Those that forbid come first.
    rules: Vec<Applied>,
    forbids: usize,
    uses_time: bool,
    wanted: Wanted,
}

/// Of a rule, what deciding takes: the rules of an action lie side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    pub(super) rule: u32,
    pub(super) condition: Option<Condition>,
    pub(super) shadow: bool,
    pub(super) guard: Option<Guard>,
}

/// Why a program is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProgram {
    #[error("its bytes do not decode")]
    Bytes,
    #[error("it has rules for {0} actions, and the bundle has {1}")]
    Actions(usize, usize),
    #[error("more than {MAX_RULES} rules, {MAX_NODES} expressions, or {MAX_INPUTS} inputs")]
    TooMany,
    #[error("{what} {at} names what is not there")]
    Names { what: &'static str, at: usize },
    #[error("rule {0} has an id, a code or a message that cannot be told")]
    Texts(usize),
    #[error("the condition of `{0}` is deeper than {MAX_DEPTH}")]
    TooDeep(String),
    #[error("the condition of `{0}` takes more than {MAX_STEPS} steps")]
    TooLong(String),
    #[error("the rules of action {0} take more than {MAX_STEPS_OF_ACTION} steps together")]
    TooLongTogether(usize),
}

/// What is known of a rule before anything is decided.
struct Known {
    steps: u64,
    uses_time: bool,
    condition: Option<Condition>,
    guard: Option<Guard>,
}

/// What is known of a node before anything is decided.
#[derive(Clone, Copy)]
struct Measure {
    depth: u32,
    /// To evaluate it once.
    steps: u64,
    /// To look at all of its value once more: sets that are written out are evaluated where they are looked at.
    extent: u64,
    /// Sets and records inside each other: comparing two takes twice as long with each.
    nest: u32,
    uses_time: bool,
}

impl Rules {
    /// Of a bundle with so many actions; empty bytes are no rules at all.
    ///
    /// # Errors
    /// [`BadProgram`].
    pub fn read(bytes: &[u8], actions: usize) -> Result<Self, BadProgram> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let (program, rest) =
            postcard::take_from_bytes::<Program>(bytes).map_err(|_| BadProgram::Bytes)?;
        if !rest.is_empty() {
            return Err(BadProgram::Bytes);
        }
        Self::check(program, actions)
    }

    /// The same of a program that was just compiled.
    ///
    /// # Errors
    /// [`BadProgram`].
    pub fn check(program: Program, actions: usize) -> Result<Self, BadProgram> {
        if program.actions.len() != actions {
            return Err(BadProgram::Actions(program.actions.len(), actions));
        }
        if program.rules.len() > MAX_RULES
            || program.nodes.len() > MAX_NODES
            || program.inputs.len() > MAX_INPUTS
        {
            return Err(BadProgram::TooMany);
        }
        let measures = measure(&program)?;
        let mut laying = Laying::of(&program);
        let mut of_rules = Vec::with_capacity(program.rules.len());
        for (at, rule) in program.rules.iter().enumerate() {
            let (steps, uses_time) = check_rule(rule, at, &measures)?;
            let condition = rule.condition.map(|condition| laying.add(condition));
            let guard = rule.condition.and_then(|condition| Guard::of(&program, condition));
            of_rules.push(Known { steps, uses_time, condition, guard });
        }
        let conditions = laying.end();
        let mut split = Vec::with_capacity(actions);
        for (at, applies) in program.actions.iter().enumerate() {
            split.push(check_action(&program, &applies.rules, at, &of_rules)?);
        }
        check_names(&program)?;
        let uses_source = program
            .nodes
            .iter()
            .any(|node| matches!(node, Node::Slot(Slot::Source) | Node::Has(Slot::Source)));
        let budget = |node: &Node| match node {
            Node::Slot(Slot::Budget(nth)) | Node::Has(Slot::Budget(nth)) => {
                Some(usize::from(*nth).saturating_add(1))
            }
            _ => None,
        };
        let budgets = program.nodes.iter().filter_map(budget).max().unwrap_or_default();
        Ok(Self { are_there: true, program, conditions, actions: split, uses_source, budgets })
    }

    pub(super) const fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    pub(super) const fn program(&self) -> &Program {
        &self.program
    }

    /// Whether nobody wrote any, so that nothing is asked of them.
    #[must_use]
    pub const fn are_none(&self) -> bool {
        !self.are_there
    }

    #[must_use]
    pub fn rule(&self, at: u32) -> Option<&Rule> {
        self.program.rules.get(usize::try_from(at).ok()?)
    }

    /// The rules of an action that have an effect.
    pub(super) fn of(&self, action: u32, effect: Effect) -> &[Applied] {
        let split = usize::try_from(action).ok().and_then(|at| self.actions.get(at));
        let Some(split) = split else { return &[] };
        let (forbids, permits) = split.rules.split_at_checked(split.forbids).unwrap_or_default();
        match effect {
            Effect::Forbid => forbids,
            Effect::Permit => permits,
        }
    }

    /// The facts that the guards of an action ask for.
    pub(super) fn wanted(&self, action: u32) -> Wanted {
        self.split(action).map_or_else(Wanted::default, |split| split.wanted)
    }

    /// Whether time alone may change what the rules of an action come to.
    #[must_use]
    pub fn use_time(&self, action: u32) -> bool {
        self.split(action).is_some_and(|split| split.uses_time)
    }

    /// Whether any of them looks at the caller's address.
    #[must_use]
    pub const fn use_source(&self) -> bool {
        self.uses_source
    }

    /// How many budgets there must be for each that they name to be one.
    #[must_use]
    pub const fn budgets(&self) -> usize {
        self.budgets
    }

    fn split(&self, action: u32) -> Option<&Split> {
        self.actions.get(usize::try_from(action).ok()?)
    }

    /// The names of the inputs, in the order of their numbers.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        let text = |at: &u32| self.program.texts.get(usize::try_from(*at).ok()?);
        self.program.inputs.iter().map(move |at| text(at).map_or("", String::as_str))
    }
}

/// Its steps, and whether it speaks of the time.
fn check_rule(rule: &Rule, at: usize, measures: &[Measure]) -> Result<(u64, bool), BadProgram> {
    if !is_token(&rule.id)
        || rule.code.as_deref().is_some_and(|code| !is_code(code))
        || rule.message.as_deref().is_some_and(|message| !is_message(message))
    {
        return Err(BadProgram::Texts(at));
    }
    let Some(condition) = rule.condition else { return Ok((1, false)) };
    let found = usize::try_from(condition).ok().and_then(|condition| measures.get(condition));
    let Some(found) = found else { return Err(BadProgram::Names { what: "rule", at }) };
    if found.depth > MAX_DEPTH {
        return Err(BadProgram::TooDeep(rule.id.clone()));
    }
    if found.steps > MAX_STEPS {
        return Err(BadProgram::TooLong(rule.id.clone()));
    }
    Ok((found.steps, found.uses_time))
}

/// What a rule may say as its `@code`: 1 to 64 of `a-z`, `0-9` and `_`.
#[must_use]
pub fn is_code(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_CODE).contains(&text.len()) && text.bytes().all(plain)
}

/// What a rule may say as its `@message`: one line of 1 to 256 bytes.
#[must_use]
pub fn is_message(text: &str) -> bool {
    (1..=MAX_MESSAGE).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn check_action(
    program: &Program,
    rules: &[u32],
    at: usize,
    of_rules: &[Known],
) -> Result<Split, BadProgram> {
    let names = || BadProgram::Names { what: "action", at };
    let mut split = Split::default();
    let mut permits = Vec::new();
    let mut steps = 0_u64;
    let mut before = None;
    for number in rules {
        let nth = usize::try_from(*number).map_err(|_| names())?;
        // Ascending, so that none is there twice.
        let rises = before.replace(*number).is_none_or(|before| before < *number);
        let rule = program.rules.get(nth).filter(|_| rises).ok_or_else(names)?;
        let known = of_rules.get(nth).ok_or_else(names)?;
        steps = steps.saturating_add(known.steps);
        // A rule in shadow mode must not have an open request looked at more often, or cut.
        split.uses_time |= known.uses_time && !rule.shadow;
        if let Some(guard) = known.guard {
            split.wanted.add(guard);
        }
        let Known { condition, guard, .. } = *known;
        let applied = Applied { rule: *number, condition, shadow: rule.shadow, guard };
        match rule.effect {
            Effect::Forbid => split.rules.push(applied),
            Effect::Permit => permits.push(applied),
        }
    }
    if steps > MAX_STEPS_OF_ACTION {
        return Err(BadProgram::TooLongTogether(at));
    }
    split.forbids = split.rules.len();
    split.rules.extend(permits);
    split.rules.shrink_to_fit();
    Ok(split)
}

fn check_names(program: &Program) -> Result<(), BadProgram> {
    let is_text = |at: u32| usize::try_from(at).is_ok_and(|at| at < program.texts.len());
    let mut names = std::collections::HashSet::new();
    for (at, name) in program.inputs.iter().enumerate() {
        let text = usize::try_from(*name).ok().and_then(|name| program.texts.get(name));
        if !text.is_some_and(|text| names.insert(text)) {
            return Err(BadProgram::Names { what: "input", at });
        }
    }
    for (at, (action, group)) in program.groups.iter().enumerate() {
        if !is_text(*action) || !is_text(*group) {
            return Err(BadProgram::Names { what: "group", at });
        }
    }
    for (at, net) in program.nets.iter().enumerate() {
        if !net.is_sound() {
            return Err(BadProgram::Names { what: "range of addresses", at });
        }
    }
    for (at, pattern) in program.patterns.iter().enumerate() {
        if pattern.0.is_empty() {
            return Err(BadProgram::Names { what: "pattern", at });
        }
    }
    Ok(())
}

/// Of each node, from those before it.
fn measure(program: &Program) -> Result<Vec<Measure>, BadProgram> {
    let mut measures: Vec<Measure> = Vec::with_capacity(program.nodes.len());
    for (at, node) in program.nodes.iter().enumerate() {
        let measure = Measures { program, known: &measures }.of(node);
        measures.push(measure.ok_or(BadProgram::Names { what: "expression", at })?);
    }
    Ok(measures)
}

struct Measures<'p> {
    program: &'p Program,
    known: &'p [Measure],
}

impl Measures<'_> {
    /// `None` where it names what is not there, or an operand that does not come before it.
    fn of(&self, node: &Node) -> Option<Measure> {
        match *node {
            Node::Boolean(_)
            | Node::Long(_)
            | Node::Decimal(_)
            | Node::Datetime(_)
            | Node::Duration(_)
            | Node::Principal
            | Node::Action
            | Node::Resource => Some(Measure::of_value(1)),
            // To compare it takes as long as it is.
            Node::Text(text) | Node::Entity(_, text) => {
                let pieces = self.text(text)?.len() as u64 / OF_A_TEXT;
                Some(Measure::of_value(pieces.saturating_add(1)))
            }
            Node::Net(net) => {
                self.program.nets.get(usize::try_from(net).ok()?)?;
                Some(Measure::of_value(1))
            }
            Node::Slot(slot) | Node::Has(slot) => self.slot(slot),
            Node::Not(one)
            | Node::Negate(one)
            | Node::Is(one, _)
            | Node::IsIpv4(one)
            | Node::IsIpv6(one)
            | Node::IsLoopback(one)
            | Node::IsMulticast(one)
            | Node::ToDate(one)
            | Node::ToTime(one)
            | Node::IsEmpty(one) => self.all(&[one], 0),
            Node::Whole(one, unit) => self.all(&[one], 0).filter(|_| unit > 0),
            Node::Like(one, pattern) => {
                let parts = &self.program.patterns.get(usize::try_from(pattern).ok()?)?.0;
                let of_parts =
                    parts.iter().map(|part| (part.len() as u64 / OF_A_TEXT).saturating_add(1));
                let text = self.one(one)?.extent.saturating_mul(OF_A_PATTERN);
                self.all(&[one], of_parts.fold(text, u64::saturating_add))
            }
            Node::And(left, right)
            | Node::Or(left, right)
            | Node::Less(left, right)
            | Node::LessOrEqual(left, right)
            | Node::Add(left, right)
            | Node::Subtract(left, right)
            | Node::Multiply(left, right)
            | Node::DecimalLess(left, right)
            | Node::DecimalLessOrEqual(left, right)
            | Node::IsInRange(left, right)
            | Node::Offset(left, right)
            | Node::DurationSince(left, right) => self.all(&[left, right], 0),
            // Each member of one beside each of the other, and both ways.
            Node::Equal(left, right) => self.all(&[left, right], self.product(left, right, 2)?),
            Node::Contains(left, right)
            | Node::ContainsAll(left, right)
            | Node::ContainsAny(left, right) => {
                self.all(&[left, right], self.product(left, right, 1)?)
            }
            Node::In(left, right) => {
                let groups = self.program.groups.len() as u64;
                let each = self.one(right)?.extent;
                self.all(&[left, right], each.saturating_mul(groups.saturating_add(1)))
            }
            Node::If(test, then, other) => {
                let (one, two) = (self.one(then)?, self.one(other)?);
                let all = self.all(&[test, then, other], 0)?;
                let (extent, nest) = (one.extent.max(two.extent), one.nest.max(two.nest));
                Some(Measure { extent, nest, ..all })
            }
            Node::Set(from, count) => {
                let members = self.list(from, u64::from(count))?;
                self.written_out(members.iter().copied())
            }
            Node::Record(from, count) => {
                let pairs = self.list(from, u64::from(count).saturating_mul(2))?;
                let (names, values) = (pairs.iter().step_by(2), pairs.iter().skip(1).step_by(2));
                names.copied().try_for_each(|name| self.text(name).map(drop))?;
                self.written_out(values.copied())
            }
            Node::Attribute(one, name) | Node::HasAttribute(one, name) => {
                self.text(name)?;
                let record = self.one(one)?;
                // The member is evaluated once more.
                let Measure { extent, nest, .. } = record;
                Some(Measure { extent, nest, ..self.all(&[one], extent)? })
            }
        }
    }

    fn one(&self, at: u32) -> Option<Measure> {
        self.known.get(usize::try_from(at).ok()?).copied()
    }

    fn text(&self, at: u32) -> Option<&str> {
        self.program.texts.get(usize::try_from(at).ok()?).map(String::as_str)
    }

    fn list(&self, from: u32, count: u64) -> Option<&[u32]> {
        let (from, count) = (usize::try_from(from).ok()?, usize::try_from(count).ok()?);
        self.program.lists.get(from..from.checked_add(count)?)
    }

    fn slot(&self, slot: Slot) -> Option<Measure> {
        let measure = match slot {
            Slot::Input(nth) | Slot::Amount(nth) | Slot::Currency(nth) => {
                self.program.inputs.get(usize::from(nth))?;
                Measure::of_value(MAX_MEMBERS as u64)
            }
            // A path is some kilobytes, and whose it is chooses it.
            Slot::Scopes | Slot::Through | Slot::Path => Measure::of_value(MAX_MEMBERS as u64),
            _ => Measure::of_value(1),
        };
        Some(Measure { uses_time: slot == Slot::Time, ..measure })
    }

    fn product(&self, left: u32, right: u32, times: u64) -> Option<u64> {
        let (left, right) = (self.one(left)?, self.one(right)?);
        let twice = 1_u64.checked_shl(left.nest.min(right.nest)).unwrap_or(u64::MAX);
        let product = left.extent.saturating_mul(right.extent);
        Some(product.saturating_mul(times).saturating_mul(twice))
    }

    /// Of a node with these operands, which takes so many steps itself.
    fn all(&self, operands: &[u32], steps: u64) -> Option<Measure> {
        let mut all = Measure { steps: steps.saturating_add(1), ..Measure::of_value(1) };
        for operand in operands {
            all = all.under(self.one(*operand)?);
        }
        Some(Measure { extent: 1, nest: 0, ..all })
    }

    fn written_out(&self, members: impl Iterator<Item = u32>) -> Option<Measure> {
        let mut all = Measure::of_value(1);
        for member in members {
            let member = self.one(member)?;
            let again = member.steps.saturating_add(member.extent);
            let extent = all.extent.saturating_add(again);
            let nest = all.nest.max(member.nest.saturating_add(1));
            all = Measure { extent, nest, ..all.under(member) };
        }
        Some(all)
    }
}

impl Measure {
    const fn of_value(extent: u64) -> Self {
        Self { depth: 1, steps: 1, extent, nest: 0, uses_time: false }
    }

    fn under(self, operand: Self) -> Self {
        Self {
            depth: self.depth.max(operand.depth.saturating_add(1)),
            steps: self.steps.saturating_add(operand.steps),
            extent: self.extent,
            nest: self.nest,
            uses_time: self.uses_time || operand.uses_time,
        }
    }
}

/// Bytes of a rule's code and message.
const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 256;
/// Rules of a bundle.
pub const MAX_RULES: usize = 20_000;
/// Expressions of a bundle.
const MAX_NODES: usize = 500_000;
/// Names of inputs that rules speak of.
const MAX_INPUTS: usize = 1_000;
/// Expressions inside each other.
pub const MAX_DEPTH: u32 = 64;
/// Steps of one condition: expressions, and members of sets that are looked at.
pub const MAX_STEPS: u64 = 50_000;
/// Of all rules of an action: some 10 ns each at the most, so two milliseconds.
const MAX_STEPS_OF_ACTION: u64 = 200_000;
/// Steps that a pattern counts for, and one more for each of its parts.
const OF_A_PATTERN: u64 = 16;
/// Bytes of a program's text that are compared in a step.
const OF_A_TEXT: u64 = 256;

#[cfg(test)]
mod tests;
