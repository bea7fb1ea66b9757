//! Which rules a decision rests on, for the access log, the counters and the record. Nothing is decided here.

use core::net::{IpAddr, SocketAddr};

use gatepass_engine::Code;
use gatepass_engine::decision::Noted;
use gatepass_engine::policy::{Causes, Effect, Rule};
use gatepass_engine::routes::Index;

use super::Shell;
use crate::host;
use crate::open::Source;

/// The caller's address as Envoy has it, behind the proxies that it trusts: where a rule speaks of it.
pub(super) fn source(index: Option<&Index>) -> Source {
    match index.is_some_and(|index| index.rules().use_source()) {
        true => Source::Known(address()),
        false => Source::NotAsked,
    }
}

fn address() -> Option<IpAddr> {
    let bytes = host::property("source\0address").ok()?;
    let text = core::str::from_utf8(&bytes).ok()?;
    // `::ffff:10.0.0.1` is `10.0.0.1`, as dual-stack proxies write it.
    text.parse::<SocketAddr>().ok().map(|address| address.ip().to_canonical())
}

/// Those that it rests on, and those in shadow mode that would have had a part in it, by their ids.
pub(super) fn named(noted: &Noted) -> (Vec<&str>, Vec<&str>) {
    let (rules, shadow) = noted.rules();
    let named = |causes| all(noted, causes).map(|rule| rule.id.as_str()).collect();
    (named(rules), named(shadow))
}

/// In the bundle that it was decided under: another may be in force by now.
fn all<'n>(noted: &'n Noted, causes: &Causes) -> impl Iterator<Item = &'n Rule> {
    let rules = noted.index().map(Index::rules);
    causes.iter().filter_map(move |at| rules?.rule(at))
}

impl Shell {
    /// The same for the access log; counts what a rule in shadow mode would have changed.
    pub(super) fn note_rules(&mut self, noted: &Noted, code: &str) -> String {
        let allowed = code == "decided";
        let is_ruled = [Code::PolicyDenied, Code::PolicyError].iter().any(|of| of.as_str() == code);
        let (rules, shadow) = noted.rules();
        if rules.is_empty() && shadow.is_empty() {
            return String::new();
        }
        let would = if allowed { Effect::Forbid } else { Effect::Permit };
        // What a rule forbids no permit would change, nor what something else than the rules denies.
        let is_forbidden = all(noted, rules).any(|rule| rule.effect == Effect::Forbid);
        let by_rules = allowed || (is_ruled && !is_forbidden);
        let would_change = by_rules && all(noted, shadow).any(|rule| rule.effect == would);
        let mut out = String::new();
        for (name, causes) in [(" rules=", rules), (" shadow_rules=", shadow)] {
            for (nth, rule) in all(noted, causes).enumerate() {
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
