//! Scopes that an action demands and nobody may hold: who may hold which is the control plane's to say, by the
//! ceilings of its blueprints.

use std::collections::BTreeSet;

use gatepass_engine::bundle::Action;

use crate::problem::in_order;
use crate::{Compiled, Problem, Sources};

/// A warning for each action that no gatepass can be asked for, of a policy that was compiled from these files.
#[must_use]
pub fn unheld_scopes(
    compiled: &Compiled,
    sources: &Sources,
    held: &BTreeSet<String>,
) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (action, (file, line, column)) in compiled.bundle.actions.iter().zip(&compiled.scopes_at) {
        let Some(scopes) = lacking(action, held) else { continue };
        let message =
            format!("action `{}` is denied to everybody: nobody may hold {scopes}", action.name);
        let remedy = "have it in the ceiling of a blueprint, or do not demand it";
        warnings.push(Problem::warning(file.clone(), (*line, *column), message, remedy));
    }
    in_order(&mut warnings, sources.files());
    warnings
}

/// In words; `None` where somebody may hold what it demands.
fn lacking(action: &Action, held: &BTreeSet<String>) -> Option<String> {
    let unheld = |scopes: &[String]| -> Vec<String> {
        scopes.iter().filter(|scope| !held.contains(*scope)).map(|s| format!("`{s}`")).collect()
    };
    let all = unheld(&action.scopes_all);
    if !all.is_empty() {
        return Some(all.join(", "));
    }
    let any = unheld(&action.scopes_any);
    (!any.is_empty() && any.len() == action.scopes_any.len()).then(|| any.join(" or "))
}
