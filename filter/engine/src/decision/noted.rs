//! What a decision leaves for its record beside what it says. Nothing is decided by it.

use core::fmt;
use std::sync::Arc;

use crate::bundle::{Protocol, Recording, Route};
use crate::digest::ActionFacts;
use crate::gate::Gate;
use crate::gatepass::Signed;
use crate::inputs::Found;
use crate::policy::{Causes, Verdict};
use crate::position::Position;
use crate::record::{Bearer, Call, Shown, pseudonym};
use crate::routes::{Index, RouteAt};

/// Kept while a request is decided; written down when it is.
#[derive(Clone, Default)]
pub struct Noted {
    /// Verified for this environment, audience and time.
    gatepass: Option<Arc<Signed>>,
    route: Option<RouteAt>,
    /// The bundle that its numbers are of, and where that comes from.
    under: Option<(Arc<Index>, Option<Position>)>,
    /// Boxed: few requests have one.
    call: Option<Box<Called>>,
    /// Those that the policy shows, by their number in the route.
    inputs: Vec<(usize, Seen)>,
    /// Which rules it rests on, by their number in the bundle that it was decided under.
    rules: Causes,
    /// Rules in shadow mode that would have had a part in it.
    shadow_rules: Causes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Called {
    protocol: Protocol,
    method: String,
    name: Option<String>,
}

/// An input as the policy shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Value(String),
    Hash([u8; 16]),
    Invalid,
}

impl Noted {
    pub(super) fn of(gatepass: &Arc<Signed>) -> Self {
        Self { gatepass: Some(Arc::clone(gatepass)), ..Self::default() }
    }

    /// Of the bundle of this gate.
    pub(super) fn route(&mut self, at: RouteAt, gate: &Gate) {
        self.route = Some(at);
        let index = gate.shared_index();
        self.under = index.map(|index| (Arc::clone(index), gate.bundle_position()));
    }

    /// The bundle that the numbers of route and rules are of.
    #[must_use]
    pub fn index(&self) -> Option<&Index> {
        self.under.as_ref().map(|(index, _)| &**index)
    }

    /// Where that bundle comes from.
    #[must_use]
    pub fn policy(&self) -> Option<Position> {
        self.under.as_ref().and_then(|(_, at)| *at)
    }

    /// From here on whoever asks is known.
    pub(super) fn verified(&mut self, gatepass: &Arc<Signed>) {
        self.gatepass = Some(Arc::clone(gatepass));
    }

    /// What a message calls. A name that is longer or stranger than names of tools are is a caller's text, and
    /// that of a resource may say as much as a path.
    pub(super) fn called(&mut self, protocol: Protocol, method: &str, name: Option<&str>) {
        let is_name = |text: &&str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./$".contains(&byte);
            text.len() <= MAX_CALLED_BYTES && text.bytes().all(plain)
        };
        let names = matches!(method, "tools/call" | "prompts/get");
        self.call = Some(method).filter(is_name).map(|method| {
            Box::new(Called {
                protocol,
                method: method.to_owned(),
                name: name.filter(|name| names && is_name(name)).map(str::to_owned),
            })
        });
    }

    /// Those of a known caller, read as they are decided on.
    pub(super) fn inputs(&mut self, route: &Route, facts: &ActionFacts<'_, '_>) {
        for (at, input) in route.inputs.iter().enumerate() {
            let found = facts.inputs.find(&input.name);
            let seen = match (input.record, found) {
                (Recording::None, _) | (_, None | Some(Found::Missing)) => continue,
                (_, Some(Found::Invalid)) => Seen::Invalid,
                (Recording::Hash, Some(Found::Value(value))) => Seen::Hash(pseudonym(
                    facts.environment,
                    facts.action,
                    &input.name,
                    &value.to_string(),
                )),
                (Recording::Value, Some(Found::Value(value))) => Seen::Value(value.to_string()),
            };
            self.inputs.push((at, seen));
        }
    }

    /// Whose gatepass it was; known once that was verified.
    #[must_use]
    pub fn bearer(&self) -> Option<Bearer<'_>> {
        self.gatepass.as_ref().map(|signed| signed.bearer())
    }

    pub(super) const fn ruled(&mut self, verdict: &Verdict) {
        self.rules = verdict.causes;
        self.shadow_rules = verdict.shadow;
    }

    /// The rules that it rests on, and those in shadow mode that would have had a part in it, by their number
    /// in the bundle that it was decided under.
    #[must_use]
    pub const fn rules(&self) -> (&Causes, &Causes) {
        (&self.rules, &self.shadow_rules)
    }

    /// Whether a gatepass was verified.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.gatepass.is_some()
    }

    #[must_use]
    pub const fn route_at(&self) -> Option<RouteAt> {
        self.route
    }

    /// What was called, of a message.
    #[must_use]
    pub fn call(&self) -> Option<Call<'_>> {
        self.call.as_ref().map(|call| Call {
            is_mcp: call.protocol == Protocol::Mcp,
            method: &call.method,
            name: call.name.as_deref(),
        })
    }

    /// By their number in the route.
    pub fn shown(&self) -> impl Iterator<Item = (usize, Shown<'_>)> {
        self.inputs.iter().map(|(at, seen)| {
            let shown = match seen {
                Seen::Value(text) => Shown::Value(cut(text)),
                Seen::Hash(hash) => Shown::Hash(*hash),
                Seen::Invalid => Shown::Invalid,
            };
            (*at, shown)
        })
    }
}

/// The same gatepass, for tests that compare decisions.
impl PartialEq for Noted {
    fn eq(&self, other: &Self) -> bool {
        self.bearer() == other.bearer()
            && self.route == other.route
            && self.call == other.call
            && self.inputs == other.inputs
            && self.rules == other.rules
            && self.shadow_rules == other.shadow_rules
    }
}

impl Eq for Noted {}

/// Names nothing of the gatepass but who acts.
impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noted")
            .field("agent", &self.gatepass.as_ref().map(|signed| signed.agent()))
            .field("route", &self.route)
            .field("inputs", &self.inputs)
            .finish()
    }
}

/// A whole number of characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

/// Bytes of a method's and of a tool's name.
const MAX_CALLED_BYTES: usize = 128;
/// Bytes of one value in a record.
const MAX_SHOWN_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_between_characters() {
        assert_eq!(cut("abc"), "abc");
        let text = format!("{}é", "a".repeat(MAX_SHOWN_BYTES - 1));
        assert_eq!(cut(&text).len(), MAX_SHOWN_BYTES - 1);
        assert_eq!(cut(&"é".repeat(MAX_SHOWN_BYTES)).len(), MAX_SHOWN_BYTES);
    }
}
