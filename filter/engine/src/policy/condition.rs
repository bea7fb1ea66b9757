//! Conditions as they are decided: the questions of one stand in a row, and each says which is next where it is true
//! and which where it is not. So what joins them (`&&`, `||`, `!`, `if`) takes no step and no call of its own.
//!
//! They are made in each worker of nodes that were checked, and never sent.

use core::num::NonZeroU32;

use super::evaluate::Evaluation;
use super::question::Question;
use super::{Node, Program, Stop};

/// Of all rules, one row after the other.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    steps: Vec<Step>,
}

/// Where a condition begins, counted from one: each action has its list of them, and none takes no room of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition(NonZeroU32);

#[derive(Clone, Copy, Debug)]
struct Step {
    question: Question,
    node: u32,
    /// What follows, counted from the beginning. INVARIANT: it is further on, so a condition ends.
    yes: u8,
    no: u8,
}

/// Conditions of a program that are being laid.
pub(super) struct Laying<'p> {
    program: &'p Program,
    done: Conditions,
    /// By the number of a condition's node, where it was laid.
    begin: Vec<Option<Condition>>,
    /// Of the one at hand, from its end.
    row: Vec<Step>,
}

impl<'p> Laying<'p> {
    pub(super) fn of(program: &'p Program) -> Self {
        let begin = vec![None; program.nodes.len()];
        Self { program, done: Conditions::default(), begin, row: Vec::new() }
    }

    /// One whose numbers and depth were checked. Rules with one condition share its row.
    pub(super) fn add(&mut self, condition: u32) -> Condition {
        let known = self.begin.get(condition as usize).copied().flatten();
        if let Some(begin) = known {
            return begin;
        }
        // No more than the rules times their questions, which are far fewer.
        let begin = u32::try_from(self.done.steps.len()).unwrap_or(u32::MAX);
        let begin = Condition(NonZeroU32::MIN.saturating_add(begin));
        self.row.clear();
        if self.lay(condition, HOLDS, FAILS).is_none() {
            self.row.clear();
            self.ask(Question::Node, condition, HOLDS, FAILS);
        }
        let last = self.row.len().saturating_sub(1);
        let turned = |to: u8| match to {
            HOLDS | FAILS => to,
            at => u8::try_from(last.saturating_sub(usize::from(at))).unwrap_or(FAILS),
        };
        let turn = |step: &Step| Step { yes: turned(step.yes), no: turned(step.no), ..*step };
        self.done.steps.extend(self.row.iter().rev().map(turn));
        if let Some(place) = self.begin.get_mut(condition as usize) {
            *place = Some(begin);
        }
        begin
    }

    pub(super) fn end(mut self) -> Conditions {
        self.done.steps.shrink_to_fit();
        self.done
    }

    /// Where it begins, if this is followed by that; none where there are too many.
    fn lay(&mut self, at: u32, yes: u8, no: u8) -> Option<u8> {
        match *self.program.nodes.get(usize::try_from(at).ok()?)? {
            Node::And(left, right) => {
                let right = self.lay(right, yes, no)?;
                self.lay(left, right, no)
            }
            Node::Or(left, right) => {
                let right = self.lay(right, yes, no)?;
                self.lay(left, yes, right)
            }
            Node::Not(operand) => self.lay(operand, no, yes),
            Node::If(test, then, other) => {
                let other = self.lay(other, yes, no)?;
                let then = self.lay(then, yes, no)?;
                self.lay(test, then, other)
            }
            _ => self.ask(Question::of(self.program, at), at, yes, no),
        }
    }

    fn ask(&mut self, question: Question, node: u32, yes: u8, no: u8) -> Option<u8> {
        let at = u8::try_from(self.row.len()).ok().filter(|at| *at < MAX_QUESTIONS)?;
        self.row.push(Step { question, node, yes, no });
        Some(at)
    }
}

impl Evaluation<'_> {
    /// Whether a condition holds, of those that were made of the same program.
    pub(super) fn decide(&self, all: &Conditions, condition: Condition) -> Result<bool, Stop> {
        let before = (condition.0.get() as usize).saturating_sub(1);
        let row = all.steps.get(before..).unwrap_or_default();
        let mut at = 0;
        loop {
            let step = row.get(usize::from(at)).ok_or(Stop::Type)?;
            at = if self.answer(step.question, step.node)? { step.yes } else { step.no };
            match at {
                HOLDS => return Ok(true),
                FAILS => return Ok(false),
                _ => {}
            }
        }
    }
}

/// A condition with more stays as it is: a row for each path through nodes that are used again and again could be
/// longer than all of them.
const MAX_QUESTIONS: u8 = 32;
/// No place in a row.
const HOLDS: u8 = u8::MAX;
const FAILS: u8 = u8::MAX - 1;

#[cfg(test)]
mod tests;
