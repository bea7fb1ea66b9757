//! A policy of Cedar's corpus in our own world: its scope and its conditions are kept as they are, and what they
//! speak of becomes an agent, a system, an action or an input.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::kinds::{Entity, Kind, asked, node};
use super::world;

/// What an attribute became.
pub(super) struct Input {
    pub(super) path: String,
    /// None while the policy only asked whether it is there.
    pub(super) kind: Option<Kind>,
    /// Values that it is compared with.
    pub(super) likely: Vec<Value>,
}

impl Input {
    /// As a policy of ours names it.
    pub(super) fn type_name(&self) -> &'static str {
        match &self.kind {
            Some(Kind::Boolean) => "boolean",
            Some(Kind::Long) => "integer",
            Some(Kind::Decimal) => "decimal",
            Some(Kind::Set(_)) => "set",
            _ => "text",
        }
    }
}

/// One policy on its way.
#[derive(Default)]
pub(super) struct Translation {
    /// By their numbers, which are their names.
    pub(super) inputs: Vec<Input>,
    /// The policy asks for the caller's address.
    pub(super) has_source: bool,
    /// By their literals, in the order in which they were met.
    entities: BTreeMap<Entity, Vec<String>>,
    /// Paths that the policy itself asks for.
    asked: BTreeSet<String>,
    /// What the condition needs to be there.
    pub(super) needs: Vec<Value>,
}

impl Translation {
    /// The policy in Cedar's JSON form, and again.
    pub(super) fn policy(&mut self, mut policy: Value) -> Value {
        for (variable, entity) in [("principal", Entity::Agent), ("resource", Entity::System)] {
            let scope = self.scope(&policy[variable], entity);
            policy[variable] = scope;
        }
        policy["action"] = self.scope(&policy["action"], Entity::Action);
        self.collect_asked(&policy["conditions"]);
        for condition in policy["conditions"].as_array_mut().into_iter().flatten() {
            let body = self.expression(&condition["body"], &Kind::Boolean);
            let needs = core::mem::take(&mut self.needs);
            condition["body"] = needs
                .into_iter()
                .rev()
                .fold(body, |body, needed| json!({"&&": {"left": needed, "right": body}}));
        }
        policy
    }

    fn scope(&mut self, scope: &Value, entity: Entity) -> Value {
        let mut scope = scope.clone();
        let of = if scope["op"] == "in" { entity.above() } else { entity };
        if let Some(one) = scope.get_mut("entity") {
            *one = self.entity(of, one);
        }
        if let Some(type_name) = scope.get_mut("entity_type") {
            *type_name = json!(entity.name());
        }
        if let Some(one) = scope.get_mut("in").and_then(|within| within.get_mut("entity")) {
            *one = self.entity(entity.above(), one);
        }
        for (nth, one) in scope["entities"].as_array_mut().into_iter().flatten().enumerate() {
            // An action is in itself: lists of both.
            *one = self.entity(if nth % 3 == 2 { Entity::Group } else { Entity::Action }, one);
        }
        if scope["entities"].is_null() {
            scope.as_object_mut().unwrap().remove("entities");
        }
        scope
    }

    /// The same for the same.
    pub(super) fn entity(&mut self, of: Entity, literal: &Value) -> Value {
        let literal = literal.to_string();
        let known = self.entities.entry(of).or_default();
        let nth = known.iter().position(|other| *other == literal).unwrap_or_else(|| {
            known.push(literal);
            known.len() - 1
        });
        let ids = world::ids(of);
        json!({"type": of.name(), "id": ids[nth % ids.len()]})
    }

    fn collect_asked(&mut self, value: &Value) {
        match value {
            Value::Array(all) => all.iter().for_each(|one| self.collect_asked(one)),
            Value::Object(all) => {
                for (name, of) in all {
                    if name == "has" && of.get("left").is_some() {
                        self.asked.extend(asked(of));
                    }
                    self.collect_asked(of);
                }
            }
            _ => {}
        }
    }

    /// Whether an attribute is there.
    pub(super) fn has(&mut self, path: String) -> Value {
        let at = self.inputs.iter().position(|input| input.path == path);
        let at = at.unwrap_or_else(|| self.add(Input { path, kind: None, likely: Vec::new() }));
        has_input(at)
    }

    /// An attribute of a type, and an expression that it is held against.
    pub(super) fn attribute(&mut self, path: &str, kind: &Kind, beside: Option<&Value>) -> Value {
        let member = |name: &str| format!("{path}.{name}");
        match kind {
            Kind::Net => {
                self.has_source = true;
                self.need(json!({"has": {"left": of_context("request"), "attr": "source"}}));
                json!({".": {"left": of_context("request"), "attr": "source"}})
            }
            Kind::Datetime => json!({".": {"left": of_context("request"), "attr": "time"}}),
            Kind::Duration => json!({"durationSince": [
                {".": {"left": of_context("request"), "attr": "time"}},
                {".": {"left": of_context("gatepass"), "attr": "issued"}},
            ]}),
            Kind::Entity(of) => {
                json!({"Value": {"__entity": self.entity(*of, &json!(path))}})
            }
            Kind::Record(members) => {
                let members = members.iter().map(|(name, kind)| {
                    let beside = beside.and_then(|beside| beside["Record"].get(name));
                    (name.clone(), self.attribute(&member(name), kind, beside))
                });
                json!({"Record": members.collect::<serde_json::Map<_, _>>()})
            }
            Kind::Set(of) if **of != Kind::Text => {
                let members = ["0", "1"].map(|nth| self.attribute(&member(nth), of, beside));
                json!({"Set": members})
            }
            Kind::Boolean | Kind::Long | Kind::Text | Kind::Decimal | Kind::Set(_) => {
                self.input(path, kind, beside)
            }
        }
    }

    fn input(&mut self, path: &str, kind: &Kind, beside: Option<&Value>) -> Value {
        let fits = |input: &Input| {
            input.path == path && input.kind.as_ref().is_none_or(|known| known == kind)
        };
        let at = self.inputs.iter().position(fits).unwrap_or_else(|| {
            self.add(Input { path: path.to_owned(), kind: None, likely: Vec::new() })
        });
        let input = &mut self.inputs[at];
        input.kind = Some(kind.clone());
        input.likely.extend(beside.into_iter().flat_map(|beside| likely(beside, kind)));
        if !self.asked.contains(path) {
            self.need(has_input(at));
        }
        json!({".": {"left": of_context("inputs"), "attr": name(at)}})
    }

    fn add(&mut self, input: Input) -> usize {
        self.inputs.push(input);
        self.inputs.len() - 1
    }

    fn need(&mut self, needed: Value) {
        if !self.needs.contains(&needed) {
            self.needs.push(needed);
        }
    }
}

/// The name of an input.
pub(super) fn name(at: usize) -> String {
    format!("v{at}")
}

fn has_input(at: usize) -> Value {
    json!({"has": {"left": of_context("inputs"), "attr": name(at)}})
}

fn of_context(name: &str) -> Value {
    json!({".": {"left": {"Var": "context"}, "attr": name}})
}

/// Values of a type for which a comparison with an expression may hold.
fn likely(beside: &Value, kind: &Kind) -> Vec<Value> {
    match (node(beside), kind) {
        (("Value", value), Kind::Set(_)) => vec![json!([value])],
        (("Value", value), _) => vec![value.clone()],
        (("decimal", of), _) => vec![of[0]["Value"].clone()],
        (("Set", members), Kind::Set(_)) => {
            let all: Vec<&Value> =
                members.as_array().unwrap().iter().map(|m| &m["Value"]).collect();
            vec![json!(all)]
        }
        (("Set", members), _) => {
            let all = members.as_array().unwrap().iter();
            all.flat_map(|member| likely(member, kind)).collect()
        }
        _ => Vec::new(),
    }
}
