//! What the rules of an action come to: deny by default, a `forbid` wins, and each denial names the rules that
//! caused it.

use super::evaluate::Evaluation;
use super::guard::{Guard, Hashes};
use super::{Effect, Facts, Rules, Stop};

/// What the rules say, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The rules that the outcome rests on: one that permits, or those that deny. None where nothing permits.
    pub causes: Causes,
    /// Rules in shadow mode that would have had a part in it: their condition holds, or is an error of a
    /// `forbid`.
    pub shadow: Causes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Permitted,
    /// A `forbid` holds.
    Forbidden,
    /// Whether a `forbid` holds cannot be said, so it does.
    ForbidFailed(Stop),
    /// No `permit` holds.
    NotPermitted,
    /// None holds, and of one it cannot be said.
    PermitFailed(Stop),
}

/// Rules by their number, as many as are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    rules: [u32; MAX_NAMED],
    count: usize,
}

impl Causes {
    const fn one(rule: u32) -> Self {
        let mut causes = Self { rules: [0; MAX_NAMED], count: 0 };
        causes.add(rule);
        causes
    }

    const fn add(&mut self, rule: u32) {
        if let Some(place) = self.rules.as_mut_slice().split_at_mut(self.count).1.first_mut() {
            *place = rule;
            self.count = self.count.saturating_add(1);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.rules.iter().copied().take(self.count)
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Rules {
    /// Decides by the rules of one action, by its number in the bundle. Without a request
    /// ([`Facts::asked`]), it is permitted where some request might be.
    #[must_use]
    pub fn decide(&self, action: u32, facts: &Facts<'_>) -> Verdict {
        let evaluation = Evaluation { program: self.program(), facts };
        let hashes = Hashes::of(facts, self.wanted(action));
        let is_out = |guard: Option<Guard>| guard.is_some_and(|guard| hashes.rule_out(guard));
        let mut shadow = Causes::default();
        let mut forbidden = Causes::default();
        let mut failed = None;
        for rule in self.of(action, Effect::Forbid) {
            if is_out(rule.guard) {
                continue;
            }
            let holds = match rule.condition {
                None => Ok(true),
                Some(condition) => evaluation.decide(self.conditions(), condition),
            };
            match holds {
                Ok(false) | Err(Stop::Unknown) => {}
                Ok(true) | Err(_) if rule.shadow => shadow.add(rule.rule),
                Ok(true) => forbidden.add(rule.rule),
                Err(stop) => {
                    let (causes, _) = failed.get_or_insert((Causes::default(), stop));
                    causes.add(rule.rule);
                }
            }
        }
        let mut permitted = None;
        let mut unclear = None;
        for rule in self.of(action, Effect::Permit) {
            if (permitted.is_some() && !rule.shadow) || is_out(rule.guard) {
                continue;
            }
            let holds = match rule.condition {
                None => Ok(true),
                Some(condition) => evaluation.decide(self.conditions(), condition),
            };
            match holds {
                Ok(true) | Err(Stop::Unknown) if rule.shadow => shadow.add(rule.rule),
                Ok(true) | Err(Stop::Unknown) => permitted = Some(rule.rule),
                Ok(false) => {}
                Err(stop) if !rule.shadow => {
                    let (causes, _) = unclear.get_or_insert((Causes::default(), stop));
                    causes.add(rule.rule);
                }
                Err(_) => {}
            }
        }
        let (outcome, causes) = match (forbidden.is_empty(), failed, permitted, unclear) {
            (false, ..) => (Outcome::Forbidden, forbidden),
            (true, Some((causes, stop)), ..) => (Outcome::ForbidFailed(stop), causes),
            (true, None, Some(rule), _) => (Outcome::Permitted, Causes::one(rule)),
            (true, None, None, Some((causes, stop))) => (Outcome::PermitFailed(stop), causes),
            (true, None, None, None) => (Outcome::NotPermitted, Causes::default()),
        };
        Verdict { outcome, causes, shadow }
    }
}

/// Rules that one verdict names.
const MAX_NAMED: usize = 8;
