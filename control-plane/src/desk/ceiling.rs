//! A blueprint's ceiling, and whether what is asked for stays below it.
//!
//! A ceiling is a list of entries and a lifetime for each risk. A request must be narrower than
//! **one** of the entries, as a gatepass must be granted by one: entries are never combined. What
//! cannot be compared is not narrower.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use gatepass_engine::bundle::Risk;
use gatepass_engine::entry::ENTRY_TYPE;
use gatepass_engine::inputs::{Decimal, Money};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refused;
use crate::issue::{Constraint, Entry};

/// What agents of a blueprint may ask for at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    pub entries: Vec<Entry>,
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Seconds by risk; below what the risk itself allows.
    #[serde(default)]
    pub lifetime: Lifetimes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetimes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<u32>,
}

impl Ceiling {
    /// # Errors
    /// Names what is wrong with it.
    pub fn check(&self) -> Result<(), Refused> {
        if self.entries.is_empty() || self.entries.len() > MAX_ENTRIES {
            return Err(Refused::invalid(
                "ceiling.entries",
                format!("give 1 to {MAX_ENTRIES} entries"),
            ));
        }
        for entry in &self.entries {
            shaped(entry, "ceiling.entries")?;
        }
        for (name, seconds, risk) in [
            ("ceiling.lifetime.low", self.lifetime.low, Risk::Low),
            ("ceiling.lifetime.medium", self.lifetime.medium, Risk::Medium),
            ("ceiling.lifetime.high", self.lifetime.high, Risk::High),
        ] {
            let longest = risk.longest_lifetime();
            if seconds.is_some_and(|seconds| seconds == 0 || seconds > longest) {
                return Err(Refused::invalid(name, format!("1 to {longest} seconds")));
            }
        }
        Ok(())
    }

    /// The longest life of a gatepass for actions of this risk, in seconds.
    #[must_use]
    pub fn longest(&self, risk: Risk) -> u32 {
        let own = match risk {
            Risk::Low => self.lifetime.low,
            Risk::Medium => self.lifetime.medium,
            Risk::High => self.lifetime.high,
        };
        own.unwrap_or(u32::MAX).min(risk.longest_lifetime())
    }

    /// Whether one entry of the ceiling covers `asked`, at the audiences that it would have.
    #[must_use]
    pub fn covers(&self, asked: &Entry, audiences: &[String]) -> bool {
        self.entries.iter().any(|ceiling| is_narrower(asked, ceiling, audiences))
    }
}

/// Whether `asked`, read at `audiences`, grants nothing that `ceiling` does not.
#[must_use]
pub fn is_narrower(asked: &Entry, ceiling: &Entry, audiences: &[String]) -> bool {
    let places = asked.locations.as_deref().unwrap_or(audiences);
    let locations = ceiling
        .locations
        .as_ref()
        .is_none_or(|all| !places.is_empty() && places.iter().all(|place| all.contains(place)));
    let constraints = ceiling
        .constraints
        .iter()
        .all(|(input, bound)| asked.constraints.get(input).is_some_and(|own| implies(own, bound)));
    let digest = ceiling.args_digest.is_none() || ceiling.args_digest == asked.args_digest;
    let uses = match (asked.uses, ceiling.uses) {
        (_, None) => true,
        (Some(asked), Some(most)) => asked <= most,
        (None, Some(_)) => false,
    };
    !asked.actions.is_empty()
        && asked.actions.iter().all(|action| ceiling.actions.contains(action))
        && locations
        && constraints
        && digest
        && uses
        && asked.identifier == ceiling.identifier
}

/// Whether every value that `own` admits is one that `bound` admits.
fn implies(own: &Constraint, bound: &Constraint) -> bool {
    let admitted = admitted(own);
    // With a list of all values, each can be held against the bound.
    if let Some(values) = &admitted {
        return !values.is_empty() && values.iter().all(|value| admits(bound, value));
    }
    let below = |own: &Option<Value>, bound: &Value, wanted: Ordering| {
        let own = own.as_ref().and_then(|own| compare(own, bound));
        own.is_some_and(|order| order == wanted || order == Ordering::Equal)
    };
    bound.max.as_ref().is_none_or(|max| below(&own.max, max, Ordering::Less))
        && bound.min.as_ref().is_none_or(|min| below(&own.min, min, Ordering::Greater))
        && bound.prefix.as_ref().is_none_or(|prefix| {
            own.prefix
                .as_ref()
                .is_some_and(|own| own.starts_with(prefix) && stays_below(own, prefix))
        })
        && bound.equals.is_none()
        && bound.among.is_none()
}

/// All values that a constraint admits, where it lists them.
fn admitted(own: &Constraint) -> Option<Vec<&Value>> {
    match (&own.equals, &own.among) {
        (Some(one), _) => Some(vec![one]),
        (None, Some(some)) => Some(some.iter().collect()),
        (None, None) => None,
    }
}

fn admits(bound: &Constraint, value: &Value) -> bool {
    let ordered = |bound: &Option<Value>, wanted: Ordering| {
        bound.as_ref().is_none_or(|bound| {
            compare(value, bound).is_some_and(|order| order == wanted || order == Ordering::Equal)
        })
    };
    // Of a text nobody knows here whether the gate will read a number in it: `1.0` is `1` as a
    // decimal and another account as a text.
    let same = |other: &Value| {
        let numbers = value.is_i64() && compare(value, other) == Some(Ordering::Equal);
        value == other || numbers
    };
    ordered(&bound.max, Ordering::Less)
        && ordered(&bound.min, Ordering::Greater)
        && bound.equals.as_ref().is_none_or(same)
        && bound.among.as_ref().is_none_or(|all| all.iter().any(same))
        && bound.prefix.as_ref().is_none_or(|prefix| {
            value.as_str().is_some_and(|text| text.starts_with(prefix) && stays_below(text, prefix))
        })
}

/// As the engine reads a path-like prefix: `/public/../secret` is not below `/public/`.
fn stays_below(text: &str, prefix: &str) -> bool {
    !prefix.contains('/') || !text.split(['/', '\\']).any(|part| matches!(part, "." | ".."))
}

/// Numbers with numbers, amounts with amounts of the same currency; nothing else has an order.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return Some(a.cmp(&b));
    }
    if let (Some(a), Some(b)) =
        (a.as_str().and_then(Money::parse), b.as_str().and_then(Money::parse))
    {
        return (a.currency == b.currency).then(|| a.amount.cmp(&b.amount));
    }
    let decimal = |value: &Value| match value {
        Value::String(text) => Decimal::parse(text),
        value => value.as_i64().and_then(Decimal::from_integer),
    };
    Some(decimal(a)?.cmp(&decimal(b)?))
}

/// Reads `authorization_details` (RFC 9396): a list of objects of type `agent_action`.
///
/// # Errors
/// Names the member that is wrong.
pub fn entries(details: &str) -> Result<Vec<Entry>, Refused> {
    let invalid = |why: String| Refused::invalid("authorization_details", why);
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapped {
        entries: Vec<BTreeMap<String, Value>>,
    }
    // The strict reader takes objects only.
    let wrapped = format!("{{\"entries\":{details}}}");
    let list = gatepass_engine::json::from_slice::<Wrapped>(wrapped.as_bytes())
        .map_err(|error| invalid(format!("expected a list of objects: {error}")))?
        .entries;
    if list.is_empty() || list.len() > MAX_ENTRIES {
        return Err(invalid(format!("give 1 to {MAX_ENTRIES} entries")));
    }
    list.into_iter()
        .map(|mut members| {
            match members.remove("type") {
                Some(Value::String(kind)) if kind == ENTRY_TYPE => {}
                _ => return Err(invalid(format!("each entry has the type `{ENTRY_TYPE}`"))),
            }
            let entry: Entry = serde_json::from_value(Value::Object(members.into_iter().collect()))
                .map_err(|error| invalid(error.to_string()))?;
            shaped(&entry, "authorization_details")?;
            Ok(entry)
        })
        .collect()
}

fn shaped(entry: &Entry, field: &'static str) -> Result<(), Refused> {
    let names = |names: &[String]| !names.is_empty() && names.len() <= MAX_NAMES;
    if !names(&entry.actions) {
        return Err(Refused::invalid(
            field,
            format!("name 1 to {MAX_NAMES} `actions` in each entry"),
        ));
    }
    if let Some(bad) =
        entry.actions.iter().find(|name| !gatepass_engine::routes::is_action_name(name))
    {
        return Err(Refused::invalid(field, format!("`{bad}` is no action's name")));
    }
    if let Some(locations) = &entry.locations
        && (!names(locations)
            || locations.iter().any(|uri| gatepass_engine::ids::Uri::parse(uri).is_none()))
    {
        return Err(Refused::invalid(field, "`locations` are 1 to 16 absolute URIs"));
    }
    if entry.constraints.len() > MAX_NAMES {
        return Err(Refused::invalid(field, format!("more than {MAX_NAMES} constraints")));
    }
    let empty = Constraint::default();
    if entry.constraints.values().any(|constraint| *constraint == empty) {
        return Err(Refused::invalid(field, "a constraint without an operator"));
    }
    if entry.uses.is_some_and(|uses| uses != 1) {
        return Err(Refused::invalid(
            field,
            "`uses` is 1: a gatepass is spent once, or not counted",
        ));
    }
    if entry.identifier.is_some() {
        return Err(Refused::invalid(field, "`identifier` cannot be checked at the gate"));
    }
    Ok(())
}

/// Entries of a ceiling or a request.
const MAX_ENTRIES: usize = 16;
/// Actions, locations or constraints of an entry.
const MAX_NAMES: usize = 16;

#[cfg(test)]
mod tests;
