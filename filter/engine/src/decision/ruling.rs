//! What the rules come to, as a denial or as none.

use super::{Asking, Judge, Wanted};
use crate::denial::{Code, Denial, Ruling};
use crate::gatepass::Claims;
use crate::inputs::Inputs;
use crate::policy::{Asked, Facts, Net, Outcome, Rule, Rules, Stop, Verdict};
use crate::routes::Index;
use crate::trace::{Check, Trace};

impl<T: Trace> Judge<'_, '_, T> {
    /// Asks the rules of the action, where the policy has any.
    ///
    /// # Errors
    /// As [`permitted`].
    pub(super) fn ask_rules(
        &mut self,
        index: &Index,
        claims: &Claims<'_>,
        asking: &Asking<'_>,
        wanted: &Wanted<'_>,
        inputs: &Inputs<'_>,
    ) -> Result<(), Denial> {
        let rules = index.rules();
        if rules.are_none() {
            return Ok(());
        }
        let source = self.request.source.map(Net::of);
        let asked = Asked {
            audience: asking.audience,
            method: asking.line.method,
            host: asking.host,
            path: asking.target.path,
            route: &wanted.found.route.path,
            source: source.as_ref(),
            inputs,
            places: index.input_places(wanted.found.at),
        };
        let facts = Facts {
            claims,
            environment: &self.gate.settings().environment,
            now: self.gate.times(self.now).ends,
            action: &wanted.action.name,
            budgets: index.budgets(wanted.at),
            asked: Some(asked),
        };
        let verdict = rules.decide(wanted.at, &facts);
        self.about.noted.ruled(&verdict);
        self.step(Check::Rules, permitted(&verdict, rules))
    }
}

/// # Errors
/// `policy_denied`, `policy_error`. Who denies is named for the log; what the rule says of itself is for the
/// caller.
pub(super) fn permitted(verdict: &Verdict, rules: &Rules) -> Result<(), Denial> {
    let named = || verdict.causes.iter().filter_map(|at| rules.rule(at));
    let (code, detail) = match verdict.outcome {
        Outcome::Permitted => return Ok(()),
        Outcome::Forbidden => (Code::PolicyDenied, format!("forbidden by {}", names(named()))),
        Outcome::NotPermitted => (Code::PolicyDenied, "no rule permits it".to_owned()),
        Outcome::ForbidFailed(stop) => {
            let why = says(stop);
            (
                Code::PolicyError,
                format!("whether {} forbids it cannot be said: {why}", names(named())),
            )
        }
        Outcome::PermitFailed(stop) => {
            let why = says(stop);
            (
                Code::PolicyError,
                format!("whether {} permits it cannot be said: {why}", names(named())),
            )
        }
    };
    let denial = Denial::new(code, detail);
    // Only who forbids speaks of why: that a permit does not hold is not its author's message.
    let forbids = matches!(verdict.outcome, Outcome::Forbidden | Outcome::ForbidFailed(_));
    let speaks = |rule: &&Rule| rule.code.is_some() || rule.message.is_some();
    Err(match named().find(speaks).filter(|_| forbids) {
        Some(rule) => {
            denial.ruled(Ruling { code: rule.code.clone(), message: rule.message.clone() })
        }
        None => denial,
    })
}

fn names<'r>(rules: impl Iterator<Item = &'r Rule>) -> String {
    let names: Vec<String> = rules.map(|rule| format!("`{}`", rule.id)).collect();
    names.join(", ")
}

const fn says(stop: Stop) -> &'static str {
    match stop {
        Stop::Overflow => "a number beyond 64 bits",
        Stop::Missing => "an attribute that is not there",
        Stop::Type => "an operand of another type",
        Stop::Input => "an input that is not of its kind",
        Stop::TooMany => "more members of a set than are looked at",
        Stop::Unknown => "something that only a request has",
    }
}
