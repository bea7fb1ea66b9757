//! Which rules a decision rests on, for the access log, the counters and the record. Nothing is decided here.

use core::net::{IpAddr, SocketAddr};

use gatepass_engine::decision::Noted;
use gatepass_engine::policy::{Causes, Effect, Rule};
use gatepass_engine::routes::Index;

use super::Shell;
use crate::host;

/// The caller's address as Envoy has it, behind the proxies that it trusts: where a rule speaks of it.
pub(super) fn source(index: Option<&Index>) -> Option<IpAddr> {
    let asked = index.is_some_and(|index| index.rules().use_source());
    let bytes = asked.then(|| host::property("source\0address").ok())??;
    let text = core::str::from_utf8(&bytes).ok()?;
    // `::ffff:10.0.0.1` is `10.0.0.1`, as dual-stack proxies write it.
    text.parse::<SocketAddr>().ok().map(|address| address.ip().to_canonical())
}

/// Those that it rests on, and those in shadow mode that would have had a part in it, by their ids.
pub(super) fn named<'g>(index: Option<&'g Index>, noted: &Noted) -> (Vec<&'g str>, Vec<&'g str>) {
    let (rules, shadow) = noted.rules();
    let named = |causes| all(index, causes).map(|rule| rule.id.as_str()).collect();
    (named(rules), named(shadow))
}

/// The decision was taken in this callback, so the bundle is the one that it was taken under.
fn all<'g>(index: Option<&'g Index>, causes: &Causes) -> impl Iterator<Item = &'g Rule> {
    let rules = index.map(Index::rules);
    causes.iter().filter_map(move |at| rules?.rule(at))
}

impl Shell {
    /// The same for the access log; counts what a rule in shadow mode would have changed.
    pub(super) fn note_rules(&mut self, noted: &Noted, allowed: bool) -> String {
        let (rules, shadow) = noted.rules();
        if rules.is_empty() && shadow.is_empty() {
            return String::new();
        }
        let would = if allowed { Effect::Forbid } else { Effect::Permit };
        let index = self.gate.index();
        let would_change = all(index, shadow).any(|rule| rule.effect == would);
        let mut out = String::new();
        for (name, causes) in [(" rules=", rules), (" shadow_rules=", shadow)] {
            for (nth, rule) in all(index, causes).enumerate() {
                out.push_str(if nth == 0 { name } else { "," });
                out.push_str(&rule.id);
            }
        }
        if would_change {
            let name = match would {
                Effect::Forbid => "gatepass_shadow_rules_would_deny",
                Effect::Permit => "gatepass_shadow_rules_would_allow",
            };
            self.metrics.count(name, 1);
        }
        out
    }
}
