//! Which rules had a part in the tests, and whether they are those that a test names.

use std::collections::BTreeSet;

use gatepass_engine::bundle::Bundle;
use gatepass_engine::decision::Noted;
use gatepass_engine::policy::{Causes, Rule};
use gatepass_policy::cases::{ExpectedRules, RuleName};
use gatepass_policy::rules_of;

use super::Report;

/// The rules of one decision, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// That it rests on.
    pub rules: Vec<String>,
    /// In shadow mode, that would have had a part in it.
    pub shadow_rules: Vec<String>,
}

impl Decided {
    /// Whether they are the rules that a test names, in any order; where it names none, any are.
    pub(super) fn fits(&self, expected: &ExpectedRules) -> bool {
        let same = |named: &Option<Vec<RuleName>>, found: &[String]| {
            let Some(named) = named else { return true };
            let named: BTreeSet<&str> = named.iter().map(|name| name.id.as_str()).collect();
            named == found.iter().map(String::as_str).collect()
        };
        same(&expected.rules, &self.rules) && same(&expected.shadow_rules, &self.shadow_rules)
    }
}

/// What follows the decision that is expected: `, rules: spend`.
pub(super) fn expected_by(expected: &ExpectedRules) -> String {
    let ExpectedRules { rules, shadow_rules } = expected;
    let mut out = String::new();
    for (what, named) in [("rules", rules), ("shadow rules", shadow_rules)] {
        let Some(named) = named else { continue };
        let ids: Vec<&str> = named.iter().map(|name| name.id.as_str()).collect();
        let ids = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        out.push_str(&format!(", {what}: {ids}"));
    }
    out
}

/// The rules of a policy, and which had a part so far.
pub(super) struct Parts {
    rules: Vec<Rule>,
    /// By their number.
    had: BTreeSet<u32>,
}

impl Parts {
    pub(super) fn new(bundle: &Bundle) -> Self {
        Self { rules: rules_of(bundle), had: BTreeSet::new() }
    }

    /// The rules of one decision.
    pub(super) fn add(&mut self, noted: Option<&Noted>) -> Decided {
        let Some((rules, shadow)) = noted.map(Noted::rules) else { return Decided::default() };
        Decided { rules: self.ids(rules), shadow_rules: self.ids(shadow) }
    }

    fn ids(&mut self, causes: &Causes) -> Vec<String> {
        self.had.extend(causes.iter());
        let rule = |at: u32| self.rules.get(usize::try_from(at).ok()?);
        causes.iter().filter_map(|at| Some(rule(at)?.id.clone())).collect()
    }

    pub(super) fn missed(self, report: &mut Report) {
        report.rules = self.rules.len();
        let missed = (0..).zip(self.rules).filter(|(at, _)| !self.had.contains(at));
        report.missed_rules = missed.map(|(_, rule)| rule.id).collect();
    }
}
