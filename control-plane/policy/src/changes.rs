//! What one policy means beside another: which actions, requirements, routes and rules differ, and
//! whether each difference lets more through or less.
//!
//! Each difference is looked at by itself. `wider` is said where it can only let more through, and
//! `narrower` where it can only let less; what may do both, or what is not known, is `changed`.

use core::fmt;
use std::collections::BTreeMap;

use gatepass_engine::bundle::Action;
use serde::Serialize;

use crate::{Compiled, Sources};

mod action;
mod budget;
mod host;
mod route;
mod rule;

pub use route::may_be_one_path;

/// A policy and what it was compiled from.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub sources: &'a Sources,
    pub compiled: &'a Compiled,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub bearing: Bearing,
    /// Of what: `` action `orders:create` ``.
    pub of: String,
    pub what: String,
}

/// What a difference does to what is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// Perhaps more, and surely nothing less.
    Wider,
    /// Perhaps less, and surely nothing more.
    Narrower,
    /// Either, or neither.
    Changed,
}

impl Bearing {
    /// The other way round.
    const fn reversed(self) -> Self {
        match self {
            Self::Wider => Self::Narrower,
            Self::Narrower => Self::Wider,
            Self::Changed => Self::Changed,
        }
    }

    /// As it is where that holds, else nothing is certain.
    const fn only_if(self, certain: bool) -> Self {
        if certain { self } else { Self::Changed }
    }

    /// Of a requirement that is stricter the greater it is.
    fn stricter<T: Ord>(before: &T, after: &T) -> Self {
        if after > before { Self::Narrower } else { Self::Wider }
    }
}

impl fmt::Display for Bearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Wider => "wider",
            Self::Narrower => "narrower",
            Self::Changed => "changed",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}  {}: {}", self.bearing, self.of, self.what)
    }
}

/// All that differs: environment, actions, hosts with their routes, rules. Empty: they mean the same.
#[must_use]
pub fn changes(before: Side<'_>, after: Side<'_>) -> Vec<Change> {
    let mut all = Changes::default();
    if before.compiled.environment != after.compiled.environment {
        let name = |side: Side<'_>| side.compiled.environment.clone();
        let any = |side| name(side).unwrap_or_else(|| "any".to_owned());
        all.of("environment").add(Bearing::Changed, arrow(any(before), any(after)));
    }
    actions(before, after, &mut all);
    host::compare(&before.compiled.bundle, &after.compiled.bundle, &mut all);
    budget::compare(&before.compiled.bundle, &after.compiled.bundle, &mut all);
    rule::compare(before, after, &mut all);
    all.found
}

/// What of an action's requirements differs, where no rule speaks of its risk.
#[must_use]
pub fn requirements(before: &Action, after: &Action) -> Vec<Change> {
    let mut all = Changes::default();
    action::compare(before, after, false, all.of(&format!("action `{}`", after.name)));
    all.found
}

/// A line for each, and how many there are of each kind; empty where they mean the same.
#[must_use]
pub fn summary(changes: &[Change]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut out: String = changes.iter().map(|change| format!("{change}\n")).collect();
    let count = |bearing| changes.iter().filter(|change| change.bearing == bearing).count();
    let [wider, narrower, changed] =
        [Bearing::Wider, Bearing::Narrower, Bearing::Changed].map(count);
    out.push_str(&format!("{wider} wider, {narrower} narrower, {changed} changed\n"));
    out
}

fn actions(before: Side<'_>, after: Side<'_>, all: &mut Changes) {
    let by_name = |side: Side<'_>| -> BTreeMap<String, Action> {
        let actions = side.compiled.bundle.actions.iter();
        actions.map(|action| (action.name.clone(), action.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    // Rules may speak of the group of a risk.
    let has_rules = |side: Side<'_>| !side.compiled.bundle.policy.is_empty();
    let is_ruled = has_rules(before) || has_rules(after);
    for (name, action) in &old {
        all.of(&format!("action `{name}`"));
        match new.get(name) {
            Some(now) => action::compare(action, now, is_ruled, all),
            None => all.add(Bearing::Narrower, "removed"),
        }
    }
    for (name, action) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let risk = word(&action.risk);
        all.of(&format!("action `{name}`")).add(Bearing::Wider, format!("added, of {risk} risk"));
    }
}

/// Collects differences of what was named last.
#[derive(Default)]
struct Changes {
    of: String,
    found: Vec<Change>,
}

impl Changes {
    fn of(&mut self, of: &str) -> &mut Self {
        of.clone_into(&mut self.of);
        self
    }

    fn add(&mut self, bearing: Bearing, what: impl Into<String>) {
        self.found.push(Change { bearing, of: self.of.clone(), what: what.into() });
    }

    /// A difference in a requirement that is stricter the greater it is.
    fn stricter<T: Ord + Serialize>(&mut self, name: &str, before: &T, after: &T) {
        if before != after {
            let what = format!("{name} {}", arrow(word(before), word(after)));
            self.add(Bearing::stricter(before, after), what);
        }
    }

    /// A limit, which lets through more the greater it is.
    fn limit(&mut self, name: &str, before: u32, after: u32, unit: &str) {
        if before != after {
            let what =
                format!("{name} {}", arrow(format!("{before}{unit}"), format!("{after}{unit}")));
            self.add(Bearing::stricter(&before, &after).reversed(), what);
        }
    }

    /// A list of what may be: more of them let through more.
    fn choices(&mut self, name: &str, before: &[String], after: &[String], is_certain: bool) {
        let (added, removed) = (beyond(before, after), beyond(after, before));
        let both = !added.is_empty() && !removed.is_empty();
        if !added.is_empty() {
            let bearing = Bearing::Wider.only_if(is_certain && !both);
            self.add(bearing, format!("{name} added: {}", added.join(", ")));
        }
        if !removed.is_empty() {
            let bearing = Bearing::Narrower.only_if(is_certain && !both);
            self.add(bearing, format!("{name} removed: {}", removed.join(", ")));
        }
    }
}

/// What `after` has and `before` has not.
fn beyond<'a>(before: &[String], after: &'a [String]) -> Vec<&'a str> {
    after.iter().filter(|one| !before.contains(one)).map(String::as_str).collect()
}

fn arrow(before: impl fmt::Display, after: impl fmt::Display) -> String {
    format!("{before} -> {after}")
}

/// As a policy writes it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests;
