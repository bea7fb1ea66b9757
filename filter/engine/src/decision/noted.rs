//! What a decision leaves for its record beside what it says. Nothing is decided by it.

use core::fmt;
use std::sync::Arc;

use crate::bundle::Recording;
use crate::gatepass::Signed;
use crate::inputs::Found;
use crate::record::{Bearer, Shown, pseudonym};
use crate::routes::{Matched, RouteAt};

/// Kept while a request is decided; written down when it is.
#[derive(Clone, Default)]
pub struct Noted {
    /// Verified for this environment, audience and time.
    gatepass: Option<Arc<Signed>>,
    route: Option<RouteAt>,
    /// Those that the policy shows, by their number in the route.
    inputs: Vec<(usize, Seen)>,
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

    pub(super) fn route(&mut self, matched: Option<&Matched<'_>>) {
        self.route = matched.map(|found| found.at);
    }

    /// From here on whoever asks is known, and only of them inputs are kept.
    pub(super) fn verified(
        &mut self,
        gatepass: &Arc<Signed>,
        matched: Option<&Matched<'_>>,
        environment: &str,
    ) {
        self.gatepass = Some(Arc::clone(gatepass));
        let Some(matched) = matched else { return };
        let action = matched.action.map_or("", |(_, action)| action.name.as_str());
        // INVARIANT: `Inputs` are in the route's order, one for one.
        for (at, (input, (name, found))) in
            matched.route.inputs.iter().zip(matched.inputs.iter()).enumerate()
        {
            let seen = match (input.record, found) {
                (Recording::None, _) | (_, Found::Missing) => continue,
                (_, Found::Invalid) => Seen::Invalid,
                (Recording::Hash, Found::Value(value)) => {
                    Seen::Hash(pseudonym(environment, action, name, &value.to_string()))
                }
                (Recording::Value, Found::Value(value)) => Seen::Value(value.to_string()),
            };
            self.inputs.push((at, seen));
        }
    }

    /// Whose gatepass it was; known once that was verified.
    #[must_use]
    pub fn bearer(&self) -> Option<Bearer<'_>> {
        self.gatepass.as_ref().map(|signed| signed.bearer())
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

    /// By their number in the route.
    pub fn inputs(&self) -> impl Iterator<Item = (usize, Shown<'_>)> {
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
        self.bearer() == other.bearer() && self.route == other.route && self.inputs == other.inputs
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
