//! The rules of an action, where not everything is known that they ask for.
//!
//! A condition is taken apart where it is a row of `&&`: each part is decided by the engine, in its order, until one
//! is false or asks for what is not known. Where nothing is lacking the engine decides the whole.

use std::collections::BTreeSet;

use gatepass_engine::denial::Code;
use gatepass_engine::policy::{
    Applies, BadProgram, Effect, Facts, Kind, Node, Outcome, Program, Rule, Rules, Slot,
};

/// What an expression asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asks {
    Of(Slot),
    /// Whether the agent is of some blueprint.
    Blueprint,
}

/// Says what of it is lacking, in words.
pub(super) type Lacks<'a> = dyn Fn(Asks) -> Option<String> + 'a;

/// What the rules come to.
pub(super) enum Ruled {
    Permitted,
    Denied {
        code: Code,
        rules: Vec<String>,
    },
    /// It rests on these.
    Unclear(BTreeSet<String>),
}

/// The enforced rules of a policy, taken apart.
pub(super) struct Apart {
    /// By their number; none for those in shadow mode.
    rules: Vec<Option<Parted>>,
    /// The rules of each action, by its number.
    actions: Vec<Applies>,
    /// Each part of a condition as if it were an action of its own, with that part as its only permit.
    parts: Rules,
}

struct Parted {
    id: String,
    effect: Effect,
    /// Their number in `parts`, with what they ask for.
    parts: Vec<(u32, BTreeSet<Asks>)>,
}

/// Whether a rule holds.
enum Holds {
    Yes,
    No,
    Failed,
    Unclear(BTreeSet<String>),
}

impl Apart {
    /// # Errors
    /// More parts than a program has rules.
    pub(super) fn of(program: Program) -> Result<Self, BadProgram> {
        let (mut parts, mut actions) = (Vec::new(), Vec::new());
        let mut rules = Vec::with_capacity(program.rules.len());
        for rule in &program.rules {
            if rule.shadow {
                rules.push(None);
                continue;
            }
            let mut conditions = Vec::new();
            if let Some(condition) = rule.condition {
                take_apart(&program, condition, &mut conditions);
            }
            let mut own = Vec::new();
            for condition in conditions {
                let nth = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                parts.push(Rule {
                    id: "part".to_owned(),
                    effect: Effect::Permit,
                    shadow: false,
                    code: None,
                    message: None,
                    condition: Some(condition),
                });
                actions.push(Applies { rules: vec![nth] });
                own.push((nth, asked_for(&program, condition)));
            }
            rules.push(Some(Parted { id: rule.id.clone(), effect: rule.effect, parts: own }));
        }
        let count = actions.len();
        let before = program.actions.clone();
        let parts = Rules::check(Program { rules: parts, actions, ..program }, count)?;
        Ok(Self { rules, actions: before, parts })
    }

    /// By the rules of one action. `whole` are those that were taken apart.
    pub(super) fn decide(
        &self,
        whole: &Rules,
        action: u32,
        facts: &Facts<'_>,
        lacks: &Lacks<'_>,
    ) -> Ruled {
        let mut forbids = Sorted::default();
        let mut permits = Sorted::default();
        let at = usize::try_from(action).ok();
        let applies = at.and_then(|at| self.actions.get(at)).map_or(&[] as &[u32], |of| &of.rules);
        let rule = |at: &u32| self.rules.get(usize::try_from(*at).ok()?)?.as_ref();
        for rule in applies.iter().filter_map(rule) {
            let sorted = match rule.effect {
                Effect::Forbid => &mut forbids,
                Effect::Permit => &mut permits,
            };
            sorted.add(rule, self.holds(rule, facts, lacks));
        }
        if forbids.unclear.is_empty() && permits.unclear.is_empty() {
            return decided(whole, action, facts);
        }
        let denied = |code, rules| Ruled::Denied { code, rules };
        if !forbids.yes.is_empty() {
            return denied(Code::PolicyDenied, forbids.yes);
        }
        if !forbids.failed.is_empty() {
            return denied(Code::PolicyError, forbids.failed);
        }
        match (permits.yes.is_empty(), forbids.unclear.is_empty(), permits.unclear.is_empty()) {
            (false, true, _) => Ruled::Permitted,
            (false, false, _) => Ruled::Unclear(forbids.unclear),
            (true, _, true) if permits.failed.is_empty() => denied(Code::PolicyDenied, Vec::new()),
            (true, _, true) => denied(Code::PolicyError, permits.failed),
            (true, _, false) => {
                permits.unclear.append(&mut forbids.unclear);
                Ruled::Unclear(permits.unclear)
            }
        }
    }

    fn holds(&self, rule: &Parted, facts: &Facts<'_>, lacks: &Lacks<'_>) -> Holds {
        for (part, asks) in &rule.parts {
            let lacking: BTreeSet<String> = asks.iter().filter_map(|ask| lacks(*ask)).collect();
            if !lacking.is_empty() {
                return Holds::Unclear(lacking);
            }
            match self.parts.decide(*part, facts).outcome {
                Outcome::Permitted => {}
                Outcome::NotPermitted => return Holds::No,
                Outcome::PermitFailed(_) | Outcome::Forbidden | Outcome::ForbidFailed(_) => {
                    return Holds::Failed;
                }
            }
        }
        Holds::Yes
    }
}

/// The rules of one effect.
#[derive(Default)]
struct Sorted {
    yes: Vec<String>,
    failed: Vec<String>,
    unclear: BTreeSet<String>,
}

impl Sorted {
    fn add(&mut self, rule: &Parted, holds: Holds) {
        match holds {
            Holds::Yes => self.yes.push(rule.id.clone()),
            Holds::Failed => self.failed.push(rule.id.clone()),
            Holds::No => {}
            Holds::Unclear(what) => {
                let id = &rule.id;
                self.unclear.extend(what.into_iter().map(|what| format!("{what}, for `{id}`")));
            }
        }
    }
}

fn decided(rules: &Rules, action: u32, facts: &Facts<'_>) -> Ruled {
    let verdict = rules.decide(action, facts);
    let code = match verdict.outcome {
        Outcome::Permitted => return Ruled::Permitted,
        Outcome::Forbidden | Outcome::NotPermitted => Code::PolicyDenied,
        Outcome::ForbidFailed(_) | Outcome::PermitFailed(_) => Code::PolicyError,
    };
    let named = verdict.causes.iter().filter_map(|at| Some(rules.rule(at)?.id.clone()));
    Ruled::Denied { code, rules: named.collect() }
}

/// The parts of a row of `&&`, in its order. No deeper than the engine lets conditions be.
fn take_apart(program: &Program, node: u32, parts: &mut Vec<u32>) {
    match find(program, node) {
        Some(Node::And(left, right)) => {
            take_apart(program, left, parts);
            take_apart(program, right, parts);
        }
        Some(_) | None => parts.push(node),
    }
}

fn find(program: &Program, node: u32) -> Option<Node> {
    program.nodes.get(usize::try_from(node).ok()?).copied()
}

fn asked_for(program: &Program, node: u32) -> BTreeSet<Asks> {
    let mut asks = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut left = vec![node];
    while let Some(at) = left.pop() {
        let Some(node) = find(program, at).filter(|_| seen.insert(at)) else { continue };
        match node {
            Node::Slot(slot) | Node::Has(slot) => {
                asks.insert(Asks::Of(slot));
            }
            Node::Entity(Kind::Blueprint, _) => {
                asks.insert(Asks::Blueprint);
            }
            other => left.extend(operands(program, other)),
        }
    }
    asks
}

fn operands(program: &Program, node: Node) -> Vec<u32> {
    let list = |from: u32, count: u32| -> Vec<u32> {
        let range = usize::try_from(from).ok().zip(usize::try_from(count).ok());
        let found =
            range.and_then(|(from, count)| program.lists.get(from..from.checked_add(count)?));
        found.unwrap_or_default().to_vec()
    };
    match node {
        Node::Boolean(_)
        | Node::Long(_)
        | Node::Text(_)
        | Node::Decimal(_)
        | Node::Datetime(_)
        | Node::Duration(_)
        | Node::Net(_)
        | Node::Entity(..)
        | Node::Principal
        | Node::Action
        | Node::Resource
        | Node::Slot(_)
        | Node::Has(_) => Vec::new(),
        Node::Not(one)
        | Node::Negate(one)
        | Node::Is(one, _)
        | Node::IsEmpty(one)
        | Node::Like(one, _)
        | Node::Attribute(one, _)
        | Node::HasAttribute(one, _)
        | Node::IsIpv4(one)
        | Node::IsIpv6(one)
        | Node::IsLoopback(one)
        | Node::IsMulticast(one)
        | Node::ToDate(one)
        | Node::ToTime(one)
        | Node::Whole(one, _) => vec![one],
        Node::And(left, right)
        | Node::Or(left, right)
        | Node::Equal(left, right)
        | Node::Less(left, right)
        | Node::LessOrEqual(left, right)
        | Node::Add(left, right)
        | Node::Subtract(left, right)
        | Node::Multiply(left, right)
        | Node::In(left, right)
        | Node::Contains(left, right)
        | Node::ContainsAll(left, right)
        | Node::ContainsAny(left, right)
        | Node::DecimalLess(left, right)
        | Node::DecimalLessOrEqual(left, right)
        | Node::IsInRange(left, right)
        | Node::Offset(left, right)
        | Node::DurationSince(left, right) => vec![left, right],
        Node::If(test, then, other) => vec![test, then, other],
        Node::Set(from, count) => list(from, count),
        // The names among them are texts, not nodes: skipped.
        Node::Record(from, count) => {
            let pairs = list(from, count.saturating_mul(2));
            pairs.into_iter().skip(1).step_by(2).collect()
        }
    }
}
