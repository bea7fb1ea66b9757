//! What compiles, and is perhaps not what was meant.

use gatepass_engine::bundle::{Bundle, Risk};
use gatepass_engine::policy::{Effect, Program, Rule};

use super::{Note, Written, note, nowhere};

pub(super) fn give(
    program: &Program,
    written: &[Written<'_>],
    bundle: &Bundle,
    notes: &mut Vec<Note>,
) {
    let rules = || (0_u32..).zip(&program.rules).zip(written);
    let warning = |of: &Written<'_>, message: &str, remedy: &str| Note {
        is_error: false,
        remedy: remedy.to_owned(),
        ..note(of.file, of.text, of.template.loc(), message)
    };
    for ((at, rule), of) in rules() {
        let mut applies = program.actions.iter().filter(|action| action.rules.contains(&at));
        if program.actions.iter().all(|action| !action.rules.contains(&at)) {
            notes.push(warning(of, "this rule applies to no action", "look at its scope"));
        } else if rule.effect == Effect::Permit
            && applies.all(|action| is_masked(program, &action.rules))
        {
            let message =
                "this permit never has an effect: all that it permits is forbidden always";
            notes.push(warning(of, message, "remove it, or give the `forbid` a condition"));
        }
        let is_broad = rule.effect == Effect::Permit && !rule.shadow && rule.condition.is_none();
        let high = bundle.actions.iter().zip(&program.actions).find(|(action, applies)| {
            action.risk == Risk::High && !action.approval && applies.rules.contains(&at)
        });
        if let (true, Some((action, _))) = (is_broad, high) {
            let message = format!(
                "this permits `{}`, of high risk, to every agent that has a gatepass for it",
                action.name
            );
            notes.push(warning(
                of,
                &message,
                "name an agent or a blueprint, or give it a condition",
            ));
        }
    }
    for (action, applies) in bundle.actions.iter().zip(&program.actions) {
        let permits = |at: &u32| {
            let rule = usize::try_from(*at).ok().and_then(|at| program.rules.get(at));
            rule.is_some_and(|rule| rule.effect == Effect::Permit && !rule.shadow)
        };
        if !applies.rules.iter().any(permits) {
            notes.push(Note {
                is_error: false,
                message: format!(
                    "no rule permits `{}`: each request for it is denied",
                    action.name
                ),
                remedy: "write a `permit` that applies to it".to_owned(),
                ..nowhere(written.first().map_or("rules", |first| first.file))
            });
        }
    }
}

/// Whether one of these forbids whatever the request is.
fn is_masked(program: &Program, rules: &[u32]) -> bool {
    let always =
        |rule: &Rule| rule.effect == Effect::Forbid && !rule.shadow && rule.condition.is_none();
    let mut found = rules.iter().filter_map(|at| program.rules.get(usize::try_from(*at).ok()?));
    found.any(always)
}
