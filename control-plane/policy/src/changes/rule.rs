//! The rules of a policy, beside those that it had, by their ids.

use std::collections::{BTreeMap, BTreeSet};

use gatepass_engine::policy::{Effect, Rule};

use super::{Bearing, Changes, Side, arrow};
use crate::{conditions, program};

/// A rule with where it applies and what it asks.
struct Known {
    rule: Rule,
    actions: BTreeSet<String>,
    /// Scope and conditions, as Cedar writes them.
    text: String,
}

pub(super) fn compare(before: Side<'_>, after: Side<'_>, all: &mut Changes) {
    let (old, new) = (known(before), known(after));
    all.of("rules");
    match (&old, &new) {
        (None, Some(_)) => {
            all.add(Bearing::Narrower, "there are some: what none permits is denied");
        }
        (Some(_), None) => {
            all.add(Bearing::Wider, "there are none: what a gatepass grants is permitted");
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    // Before there are rules nothing has to be permitted by one.
    let is_certain = old.is_some() && new.is_some();
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let names = |side: Side<'_>| -> BTreeSet<String> {
        side.compiled.bundle.actions.iter().map(|action| action.name.clone()).collect()
    };
    // A rule for all actions is one for a new action too, which is told of already.
    let in_both: BTreeSet<String> = names(before).intersection(&names(after)).cloned().collect();
    for (id, was) in &old {
        all.of(&format!("rule `{id}`"));
        match new.get(id) {
            Some(is) => both(was, is, &in_both, all),
            None => {
                let bearing = there(&was.rule).reversed().only_if(is_certain);
                all.add(bearing, format!("removed: {}", kind(&was.rule)));
            }
        }
    }
    for (id, is) in new.iter().filter(|(id, _)| !old.contains_key(*id)) {
        let bearing = there(&is.rule);
        let bearing = bearing.only_if(is_certain || bearing == Bearing::Narrower);
        all.of(&format!("rule `{id}`")).add(bearing, format!("added: {}", kind(&is.rule)));
    }
}

fn both(was: &Known, is: &Known, in_both: &BTreeSet<String>, all: &mut Changes) {
    if (was.rule.effect, was.rule.shadow) != (is.rule.effect, is.rule.shadow) {
        // What it does no longer, and what it does now.
        let bearing = match (there(&was.rule).reversed(), there(&is.rule)) {
            (one, other) if one == other => one,
            (Bearing::Changed, other) if was.rule.shadow => other,
            (one, Bearing::Changed) if is.rule.shadow => one,
            (Bearing::Wider | Bearing::Narrower | Bearing::Changed, _) => Bearing::Changed,
        };
        all.add(bearing, arrow(kind(&was.rule), kind(&is.rule)));
    }
    let same_kind = was.rule.effect == is.rule.effect && !was.rule.shadow && !is.rule.shadow;
    let applied = |known: &Known| -> BTreeSet<String> {
        known.actions.intersection(in_both).cloned().collect()
    };
    let (before, after) = (applied(was), applied(is));
    let (added, removed) = (&after - &before, &before - &after);
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    if !added.is_empty() {
        let bearing = there(&is.rule).only_if(same_kind && was.text == is.text);
        all.add(bearing, format!("applies to {} too", list(&added)));
    }
    if !removed.is_empty() {
        let bearing = there(&is.rule).reversed().only_if(same_kind && was.text == is.text);
        all.add(bearing, format!("applies no longer to {}", list(&removed)));
    }
    if was.text != is.text {
        let same_scope = added.is_empty() && removed.is_empty();
        // Without a condition it holds always.
        let bearing = match (was.rule.condition, is.rule.condition) {
            (None, Some(_)) => there(&is.rule).reversed(),
            (Some(_), None) => there(&is.rule),
            (None, None) | (Some(_), Some(_)) => Bearing::Changed,
        };
        all.add(bearing.only_if(same_kind && same_scope), "another scope or condition");
    }
    for (what, differs) in
        [("code", was.rule.code != is.rule.code), ("message", was.rule.message != is.rule.message)]
    {
        if differs {
            all.add(Bearing::Changed, format!("another {what}"));
        }
    }
}

/// What a rule does by being there. In shadow mode it decides nothing.
const fn there(rule: &Rule) -> Bearing {
    match (rule.shadow, rule.effect) {
        (true, _) => Bearing::Changed,
        (false, Effect::Permit) => Bearing::Wider,
        (false, Effect::Forbid) => Bearing::Narrower,
    }
}

fn kind(rule: &Rule) -> String {
    let effect = match rule.effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    };
    format!("{effect}{}", if rule.shadow { " in shadow mode" } else { "" })
}

/// `None` where there are no rules at all.
fn known(of: Side<'_>) -> Option<BTreeMap<String, Known>> {
    let bundle = &of.compiled.bundle;
    let program = program(bundle)?;
    let mut texts = conditions(of.sources).into_iter();
    let mut known = BTreeMap::new();
    for (at, rule) in (0_u32..).zip(program.rules) {
        let applies = bundle.actions.iter().zip(&program.actions);
        let actions = applies.filter(|(_, applies)| applies.rules.contains(&at));
        let actions = actions.map(|(action, _)| action.name.clone()).collect();
        let text = texts.next().unwrap_or_default();
        known.insert(rule.id.clone(), Known { rule, actions, text });
    }
    Some(known)
}
