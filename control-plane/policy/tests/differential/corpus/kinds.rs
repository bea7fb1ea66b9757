//! The types that a policy's expressions are taken to be of, from what stands around them. Expressions are those of
//! Cedar's JSON form.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Boolean,
    Long,
    Text,
    Decimal,
    Net,
    Datetime,
    Duration,
    Entity(Entity),
    Set(Box<Self>),
    Record(Vec<(String, Self)>),
}

/// Ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entity {
    Agent,
    Blueprint,
    System,
    Action,
    Group,
}

impl Entity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "Gatepass::Agent",
            Self::Blueprint => "Gatepass::Blueprint",
            Self::System => "Gatepass::System",
            Self::Action | Self::Group => "Action",
        }
    }

    /// What it may be in.
    pub(super) const fn above(self) -> Self {
        match self {
            Self::Agent | Self::Blueprint => Self::Blueprint,
            Self::System => Self::System,
            Self::Action | Self::Group => Self::Group,
        }
    }

    pub(super) fn of_variable(name: &str) -> Option<Self> {
        match name {
            "principal" => Some(Self::Agent),
            "resource" => Some(Self::System),
            "action" => Some(Self::Action),
            _ => None,
        }
    }
}

/// An expression is an object with one member: what it does.
pub(super) fn node(expression: &Value) -> (&str, &Value) {
    let (name, of) = expression.as_object().unwrap().iter().next().unwrap();
    (name, of)
}

/// `principal.a.b`, from the variable on; none for what is not a path, or the variable alone.
pub(super) fn path(expression: &Value) -> Option<String> {
    let (name, of) = node(expression);
    let below = &of["left"];
    (name == ".").then_some(())?;
    let before = match node(below) {
        ("Var", variable) => variable.as_str()?.to_owned(),
        _ => path(below)?,
    };
    Some(format!("{before}.{}", of["attr"].as_str()?))
}

/// The path that a `has` asks for.
pub(super) fn asked(of: &Value) -> Option<String> {
    let before = match node(&of["left"]) {
        ("Var", variable) => variable.as_str()?.to_owned(),
        _ => path(&of["left"])?,
    };
    let names: Vec<&str> = match &of["attr"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        one => vec![one.as_str()?],
    };
    Some(format!("{before}.{}", names.join(".")))
}

/// What it is whatever stands around it.
pub(super) fn strong(expression: &Value) -> Option<Kind> {
    let (name, of) = node(expression);
    Some(match name {
        "Value" => match of {
            Value::Bool(_) => Kind::Boolean,
            Value::Number(_) => Kind::Long,
            Value::String(_) => Kind::Text,
            // An entity: of what type, what stands around it says.
            _ => return None,
        },
        "Var" => Kind::Entity(Entity::of_variable(of.as_str()?)?),
        "==" | "!=" | "in" | "<" | "<=" | ">" | ">=" | "&&" | "||" | "!" | "contains"
        | "containsAll" | "containsAny" | "isEmpty" | "has" | "hasTag" | "like" | "is"
        | "lessThan" | "lessThanOrEqual" | "greaterThan" | "greaterThanOrEqual" | "isIpv4"
        | "isIpv6" | "isLoopback" | "isMulticast" | "isInRange" => Kind::Boolean,
        "+" | "-" | "*" | "neg" | "toMilliseconds" | "toSeconds" | "toMinutes" | "toHours"
        | "toDays" => Kind::Long,
        "if-then-else" => return strong(&of["then"]).or_else(|| strong(&of["else"])),
        "Set" => Kind::Set(Box::new(members(of).next().map_or(Kind::Text, kind))),
        "Record" => {
            let members = of.as_object()?.iter();
            Kind::Record(members.map(|(name, value)| (name.clone(), kind(value))).collect())
        }
        "decimal" => Kind::Decimal,
        "ip" => Kind::Net,
        "datetime" | "offset" | "toDate" => Kind::Datetime,
        "duration" | "durationSince" | "toTime" => Kind::Duration,
        _ => return None,
    })
}

/// What it is where nothing says more.
pub(super) fn kind(expression: &Value) -> Kind {
    let plain = if is_entity(expression) { Kind::Entity(Entity::Agent) } else { Kind::Text };
    strong(expression).unwrap_or(plain)
}

/// What both of two are.
pub(super) fn common(left: &Value, right: &Value) -> Kind {
    let plain = if is_entity(right) { right } else { left };
    strong(left).or_else(|| strong(right)).unwrap_or_else(|| kind(plain))
}

pub(super) fn is_entity(expression: &Value) -> bool {
    matches!(node(expression), ("Value", Value::Object(_)))
}

pub(super) fn members(set: &Value) -> impl Iterator<Item = &Value> {
    set.as_array().into_iter().flatten()
}
