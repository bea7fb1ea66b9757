//! What the engine has to answer, by what Cedar says of each rule.

use gatepass_engine::policy::{Effect, Outcome, Stop, Verdict};

use crate::oracle::{Answer, Truth};

/// A rule among those that are decided by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Its number in the program.
    pub(crate) number: usize,
    pub(crate) effect: Effect,
    pub(crate) shadow: bool,
    pub(crate) truth: Truth,
}

/// Rules by their numbers, in the order of the program.
#[derive(Debug, Default)]
struct Sorted {
    forbid: Vec<usize>,
    failing_forbid: Vec<usize>,
    permit: Vec<usize>,
    failing_permit: Vec<usize>,
    shadow: Vec<usize>,
}

impl Sorted {
    fn of(rules: &[Asked]) -> Self {
        let mut sorted = Self::default();
        for rule in rules {
            let list = match (rule.shadow, rule.effect, rule.truth) {
                (_, _, Truth::HoldsNot) | (true, Effect::Permit, Truth::Fails) => continue,
                (true, ..) => &mut sorted.shadow,
                (false, Effect::Forbid, Truth::Holds) => &mut sorted.forbid,
                (false, Effect::Forbid, Truth::Fails) => &mut sorted.failing_forbid,
                (false, Effect::Permit, Truth::Holds) => &mut sorted.permit,
                (false, Effect::Permit, Truth::Fails) => &mut sorted.failing_permit,
            };
            list.push(rule.number);
        }
        sorted
    }
}

/// Holds a verdict against what Cedar says of each rule alone, and of all that are enforced together.
///
/// # Errors
/// What does not agree.
pub(crate) fn compare(verdict: &Verdict, rules: &[Asked], together: &Answer) -> Result<(), String> {
    let sorted = Sorted::of(rules);
    let causes: Vec<usize> = verdict.causes.iter().map(|at| at as usize).collect();
    let named = |all: &[usize]| causes == all[..all.len().min(MAX_NAMED)];
    let agrees = match verdict.outcome {
        Outcome::Forbidden => !sorted.forbid.is_empty() && named(&sorted.forbid),
        Outcome::ForbidFailed(Stop::Overflow) => {
            sorted.forbid.is_empty()
                && !sorted.failing_forbid.is_empty()
                && named(&sorted.failing_forbid)
        }
        Outcome::Permitted => {
            sorted.forbid.is_empty()
                && sorted.failing_forbid.is_empty()
                && !sorted.permit.is_empty()
                && named(&sorted.permit[..1])
        }
        Outcome::PermitFailed(Stop::Overflow) => {
            sorted.forbid.is_empty()
                && sorted.failing_forbid.is_empty()
                && sorted.permit.is_empty()
                && !sorted.failing_permit.is_empty()
                && named(&sorted.failing_permit)
        }
        Outcome::NotPermitted => {
            causes.is_empty()
                && sorted.forbid.is_empty()
                && sorted.failing_forbid.is_empty()
                && sorted.permit.is_empty()
                && sorted.failing_permit.is_empty()
        }
        // Of what is validated and known, nothing else is an error.
        Outcome::ForbidFailed(_) | Outcome::PermitFailed(_) => false,
    };
    if !agrees {
        return Err(format!("{verdict:?}, where each alone is {sorted:?}"));
    }
    check_together(verdict, &sorted, together)?;
    let shadow: Vec<usize> = verdict.shadow.iter().map(|at| at as usize).collect();
    // Those that forbid are looked at first.
    let mut wanted: Vec<usize> = Vec::new();
    for effect in [Effect::Forbid, Effect::Permit] {
        let is = |number: &&usize| {
            rules.iter().any(|rule| rule.number == **number && rule.effect == effect)
        };
        wanted.extend(sorted.shadow.iter().filter(is));
    }
    wanted.truncate(MAX_NAMED);
    if shadow == wanted { Ok(()) } else { Err(format!("in shadow {shadow:?}, not {wanted:?}")) }
}

/// Cedar's answer to all at once: the same decision and the same rules, but where a `forbid` is an error.
fn check_together(verdict: &Verdict, sorted: &Sorted, together: &Answer) -> Result<(), String> {
    let permitted = verdict.outcome == Outcome::Permitted;
    let differs = matches!(verdict.outcome, Outcome::ForbidFailed(_));
    if permitted != together.allows && !differs {
        return Err(format!("{verdict:?}, where all together are {together:?}"));
    }
    let reasons = if sorted.forbid.is_empty() { &sorted.permit } else { &sorted.forbid };
    let errors = sorted.failing_forbid.iter().chain(&sorted.failing_permit);
    if !together.reasons.iter().eq(reasons) || together.errors != errors.copied().collect() {
        return Err(format!("all together are {together:?}, and each alone is {sorted:?}"));
    }
    Ok(())
}

/// Rules that one verdict names.
const MAX_NAMED: usize = 8;
