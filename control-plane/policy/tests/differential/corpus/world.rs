//! The small policy of ours that translated policies speak of: four actions at two systems, which all have the same
//! inputs.

use gatepass_engine::bundle::Bundle;

use super::kinds::Entity;
use super::translate::name;
use crate::pools::{AGENTS, BLUEPRINTS};
use crate::request::At;

const ACTIONS: &[&str] = &["things:view", "things:edit", "things:drop", "others:view"];
const GROUPS: &[&str] = &["things", "writing", "risk:low", "wide", "others"];
const SYSTEMS: &[&str] = &["https://one.example", "https://two.example"];
const HOSTS: &[&str] = &["one.example", "two.example"];
/// Of each action.
const PATHS: &[&str] = &["/view", "/edit", "/drop", "/others"];
const HEAD: &str = "
actions:
  things:view: {risk: low, body: json}
  things:edit: {risk: medium, body: json, groups: [writing]}
  things:drop: {risk: high, body: json, groups: [writing, wide]}
  others:view: {risk: low, body: json}
hosts:
";

/// What the literals of a policy become.
pub(super) const fn ids(of: Entity) -> &'static [&'static str] {
    match of {
        Entity::Agent => AGENTS,
        Entity::Blueprint => BLUEPRINTS,
        Entity::System => SYSTEMS,
        Entity::Action => ACTIONS,
        Entity::Group => GROUPS,
    }
}

/// All places that a request may go to.
pub(super) fn places() -> Vec<At> {
    let of_host = |host: &'static str| {
        let all = ACTIONS.iter().zip(PATHS).enumerate();
        all.map(move |(action, (name, path))| At { action, name, method: "POST", host, path })
    };
    HOSTS.iter().flat_map(|host| of_host(host)).collect()
}

/// A bundle whose routes have inputs of these types.
pub(super) fn bundle(inputs: &[&str]) -> Bundle {
    let mut text = HEAD.to_owned();
    for (host, system) in HOSTS.iter().zip(SYSTEMS) {
        text.push_str(&format!("  - names: [{host}]\n    audience: {system}\n    routes:\n"));
        for (action, path) in ACTIONS.iter().zip(PATHS) {
            text.push_str(&format!("      - match: POST {path}\n        action: {action}\n"));
            if !inputs.is_empty() {
                text.push_str("        inputs:\n");
            }
            for (at, kind) in inputs.iter().enumerate() {
                let name = name(at);
                text.push_str(&format!("          {name}: {{type: {kind}, body: /{name}}}\n"));
            }
        }
    }
    let bundle = gatepass_policy::compile(&text)
        .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
        .bundle;
    let names: Vec<&str> = bundle.actions.iter().map(|action| action.name.as_str()).collect();
    assert_eq!(names, ACTIONS);
    bundle
}
