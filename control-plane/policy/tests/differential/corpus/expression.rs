//! Expressions of a policy, with the type that each is expected to be of.

use serde_json::{Map, Value, json};

use super::kinds::{Entity, Kind, asked, common, is_entity, kind, members, node, path, strong};
use super::request::instances;
use super::translate::Translation;

impl Translation {
    pub(super) fn expression(&mut self, expression: &Value, wanted: &Kind) -> Value {
        self.beside(expression, wanted, None)
    }

    /// With what it is held against.
    fn beside(&mut self, expression: &Value, wanted: &Kind, other: Option<&Value>) -> Value {
        if let Some(path) = path(expression) {
            return self.attribute(&path, wanted, other);
        }
        let (name, of) = node(expression);
        match name {
            "Value" if is_entity(expression) => {
                let kind = if let Kind::Entity(of) = wanted { *of } else { Entity::Agent };
                json!({"Value": {"__entity": self.entity(kind, &of["__entity"])}})
            }
            "Value" | "Var" | "Slot" => expression.clone(),
            "!" | "&&" | "||" => self.all(name, of, &Kind::Boolean),
            "+" | "-" | "*" | "neg" => self.all(name, of, &Kind::Long),
            "<" | "<=" | ">" | ">=" => {
                let kind = strong(&of["left"]).or_else(|| strong(&of["right"]));
                self.pair(name, of, &kind.unwrap_or(Kind::Long))
            }
            "==" | "!=" => self.equal(name, of),
            "in" => {
                let (left, right) = self.within(&of["left"], &of["right"]);
                json!({"in": {"left": left, "right": right}})
            }
            "is" => self.is(of),
            "has" => match asked(of) {
                Some(path) => self.has(path),
                None => {
                    let left = self.expression(&of["left"], &kind(&of["left"]));
                    json!({"has": {"left": left, "attr": of["attr"]}})
                }
            },
            "like" => {
                let texts = instances(&of["pattern"]).into_iter();
                let texts: Vec<Value> = texts.map(|text| json!({"Value": text})).collect();
                let left = self.beside(&of["left"], &Kind::Text, Some(&json!({"Set": texts})));
                json!({"like": {"left": left, "pattern": of["pattern"]}})
            }
            "if-then-else" => {
                let test = self.expression(&of["if"], &Kind::Boolean);
                let then = self.expression(&of["then"], wanted);
                let other = self.expression(&of["else"], wanted);
                json!({"if-then-else": {"if": test, "then": then, "else": other}})
            }
            "contains" => {
                let member = match strong(&of["left"]) {
                    Some(Kind::Set(of)) => *of,
                    _ => kind(&of["right"]),
                };
                let set = Kind::Set(Box::new(member.clone()));
                let left = self.beside(&of["left"], &set, Some(&of["right"]));
                let right = self.beside(&of["right"], &member, Some(&of["left"]));
                json!({"contains": {"left": left, "right": right}})
            }
            "containsAll" | "containsAny" => {
                let kind = strong(&of["left"]).or_else(|| strong(&of["right"]));
                self.pair(name, of, &kind.unwrap_or_else(texts))
            }
            "isEmpty" => self.all(name, of, &texts()),
            "getTag" | "hasTag" => {
                let left = self.expression(&of["left"], &Kind::Entity(Entity::Agent));
                let right = self.expression(&of["right"], &Kind::Text);
                json!({name: {"left": left, "right": right}})
            }
            // Of what is no path.
            "." => {
                let left = self.expression(&of["left"], &kind(&of["left"]));
                json!({".": {"left": left, "attr": of["attr"]}})
            }
            "Set" => {
                let member = if let Kind::Set(of) = wanted { (**of).clone() } else { Kind::Text };
                let all: Vec<Value> =
                    members(of).map(|one| self.expression(one, &member)).collect();
                json!({"Set": all})
            }
            "Record" => {
                let all = of.as_object().unwrap().iter();
                let all =
                    all.map(|(name, value)| (name.clone(), self.expression(value, &kind(value))));
                json!({"Record": all.collect::<Map<_, _>>()})
            }
            call => self.call(call, of),
        }
    }

    /// Each operand of one type.
    fn all(&mut self, name: &str, of: &Value, wanted: &Kind) -> Value {
        let operands = of.as_object().unwrap().iter();
        let operands = operands.map(|(side, one)| (side.clone(), self.expression(one, wanted)));
        json!({name: operands.collect::<Map<_, _>>()})
    }

    /// Both of one type, and held against each other.
    fn pair(&mut self, name: &str, of: &Value, wanted: &Kind) -> Value {
        let left = self.beside(&of["left"], wanted, Some(&of["right"]));
        let right = self.beside(&of["right"], wanted, Some(&of["left"]));
        json!({name: {"left": left, "right": right}})
    }

    fn equal(&mut self, name: &str, of: &Value) -> Value {
        let (left, right) = (&of["left"], &of["right"]);
        let of_left = strong(left).unwrap_or_else(|| common(left, right));
        let of_right = strong(right).unwrap_or_else(|| common(left, right));
        let one = self.beside(left, &of_left, Some(right));
        let two = self.beside(right, &of_right, Some(left));
        json!({name: {"left": one, "right": two}})
    }

    fn is(&mut self, of: &Value) -> Value {
        let entity = entity_of(&of["left"]);
        let left = self.expression(&of["left"], &Kind::Entity(entity));
        let mut is = json!({"left": left, "entity_type": entity.name()});
        if let Some(within) = of.get("in") {
            is["in"] = self.above(within, entity);
        }
        json!({"is": is})
    }

    fn within(&mut self, left: &Value, right: &Value) -> (Value, Value) {
        if let Some(Kind::Set(of)) = strong(right)
            && !matches!(*of, Kind::Entity(_))
        {
            // Texts in texts: Cedar reads it, and nothing takes it.
            let set = Kind::Set(of.clone());
            return (self.beside(left, &of, Some(right)), self.expression(right, &set));
        }
        let entity = entity_of(left);
        (self.expression(left, &Kind::Entity(entity)), self.above(right, entity))
    }

    /// What an entity may be in.
    fn above(&mut self, expression: &Value, entity: Entity) -> Value {
        let above = Kind::Entity(entity.above());
        let Some(path) = path(expression) else {
            let is_set = matches!(strong(expression), Some(Kind::Set(_)));
            let wanted = if is_set { Kind::Set(Box::new(above)) } else { above };
            return self.expression(expression, &wanted);
        };
        match entity {
            // Those that the gatepass came through are a set of agents.
            Entity::Agent if path.ends_with('s') => json!({".": {
                "left": {".": {"left": {"Var": "context"}, "attr": "gatepass"}},
                "attr": "through",
            }}),
            _ => self.attribute(&path, &above, None),
        }
    }

    /// A function or a method of an extension; its first argument is what it is called on.
    fn call(&mut self, name: &str, of: &Value) -> Value {
        let wanted: &[Kind] = match name {
            "lessThan" | "lessThanOrEqual" | "greaterThan" | "greaterThanOrEqual" => {
                &[Kind::Decimal, Kind::Decimal]
            }
            "isIpv4" | "isIpv6" | "isLoopback" | "isMulticast" | "isInRange" => {
                &[Kind::Net, Kind::Net]
            }
            "offset" => &[Kind::Datetime, Kind::Duration],
            "durationSince" | "toDate" | "toTime" => &[Kind::Datetime, Kind::Datetime],
            "toMilliseconds" | "toSeconds" | "toMinutes" | "toHours" | "toDays" => {
                &[Kind::Duration]
            }
            "decimal" | "ip" | "datetime" | "duration" => &[Kind::Text],
            other => panic!("`{other}` is not translated"),
        };
        let arguments: Vec<&Value> = members(of).collect();
        let made: Vec<Value> = (0..arguments.len())
            .map(|at| {
                let other = arguments.get(1 - at.min(1)).copied();
                self.beside(arguments[at], &wanted[at], other.filter(|_| arguments.len() == 2))
            })
            .collect();
        json!({name: made})
    }
}

/// What stands left of `in` and `is`.
fn entity_of(expression: &Value) -> Entity {
    match strong(expression) {
        Some(Kind::Entity(entity)) => entity,
        _ => Entity::Agent,
    }
}

fn texts() -> Kind {
    Kind::Set(Box::new(Kind::Text))
}
