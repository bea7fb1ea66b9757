//! What compiles, and is perhaps not what was meant.

use std::collections::HashSet;

use gatepass_engine::bundle::{Bundle, Risk};
use gatepass_engine::policy::{Effect, Program, Rule};

use super::{Note, Written, note, nowhere};

/// Annotations that mean nothing here. One that is nearly one of ours is an error: `@Mode("shadow")` would enforce.
pub(super) fn unknown_annotations(written: &[Written<'_>], notes: &mut Vec<Note>) {
    for of in written {
        for (key, _) in of.template.annotations() {
            let key: &str = key.as_ref();
            if KNOWN.contains(&key) {
                continue;
            }
            let plain = key.to_lowercase();
            let near = plain == "shadow"
                || plain == "enforce"
                || KNOWN.iter().any(|known| is_near(known, &plain));
            let message = format!("the annotation `@{key}` means nothing here");
            let remedy = "there are `@id`, `@mode`, `@code` and `@message`".to_owned();
            notes.push(Note {
                is_error: near,
                remedy,
                ..note(of.file, of.text, of.template.loc(), &message)
            });
        }
    }
}

/// The same but for one letter that is missing, too many or another.
fn is_near(known: &str, other: &str) -> bool {
    let (known, other): (Vec<char>, Vec<char>) = (known.chars().collect(), other.chars().collect());
    let same = known.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let ends = |a: usize, b: usize| {
        known.get(a..).unwrap_or_default() == other.get(b..).unwrap_or_default()
    };
    let next = same.saturating_add(1);
    known == other || ends(next, next) || ends(next, same) || ends(same, next)
}

const KNOWN: [&str; 4] = ["id", "mode", "code", "message"];

pub(super) fn give(
    program: &Program,
    written: &[Written<'_>],
    bundle: &Bundle,
    notes: &mut Vec<Note>,
) {
    let warning = |of: &Written<'_>, message: &str, remedy: &str| Note {
        is_error: false,
        remedy: remedy.to_owned(),
        ..note(of.file, of.text, of.template.loc(), message)
    };
    // Of each rule the actions that it applies to; of each action whether all of it is forbidden always.
    let mut applied = vec![Vec::new(); program.rules.len()];
    for (action, applies) in program.actions.iter().enumerate() {
        for rule in &applies.rules {
            let of_rule = usize::try_from(*rule).ok().and_then(|rule| applied.get_mut(rule));
            of_rule.into_iter().for_each(|actions| actions.push(action));
        }
    }
    let masked: Vec<bool> =
        program.actions.iter().map(|action| is_masked(program, &action.rules)).collect();
    let is_masked = |action: &usize| masked.get(*action).copied().unwrap_or_default();
    let said: HashSet<(String, u64, u64)> =
        notes.iter().map(|note| (note.file.clone(), note.line, note.column)).collect();
    for ((rule, actions), of) in program.rules.iter().zip(&applied).zip(written) {
        if actions.is_empty() {
            let warning = warning(of, "this rule applies to no action", "look at its scope");
            // Cedar has said so, where it is by the types.
            if !said.contains(&(warning.file.clone(), warning.line, warning.column)) {
                notes.push(warning);
            }
        } else if rule.effect == Effect::Permit && actions.iter().all(is_masked) {
            let message =
                "this permit never has an effect: all that it permits is forbidden always";
            notes.push(warning(of, message, "remove it, or give the `forbid` a condition"));
        }
        let is_broad = rule.effect == Effect::Permit && !rule.shadow && rule.condition.is_none();
        let mut actions = actions.iter().filter_map(|action| bundle.actions.get(*action));
        let high = actions.find(|action| action.risk == Risk::High && !action.approval);
        if let (true, Some(action)) = (is_broad, high) {
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
