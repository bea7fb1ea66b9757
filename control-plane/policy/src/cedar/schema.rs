//! The schema that rules are validated against, made of the actions and their inputs.
//!
//! It is Cedar's own text, so that Cedar's tools read it too (`gatepass policy schema`).

use std::collections::{BTreeMap, BTreeSet};

use gatepass_engine::budget::Budgets;
use gatepass_engine::bundle::{Action, Bundle, InputKind, Risk, RouteTarget, Sums, Treatment};

use super::{Note, nowhere};

/// The schema, and what lowering needs of it.
#[derive(Clone, Debug)]
pub struct Schema {
    pub text: String,
    /// What each input is, in every action that has one of the name.
    inputs: BTreeMap<String, Shape>,
    /// The groups of each action.
    groups: BTreeMap<String, BTreeSet<String>>,
    /// By their number.
    budgets: Vec<String>,
    /// What it says of each.
    actions: BTreeMap<String, String>,
}

/// The type of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Integer,
    Decimal,
    Money,
    Boolean,
    Texts,
    /// Of several types, in several actions: each action's own is in the schema, and values are what they are.
    Mixed,
}

impl Shape {
    const fn of(kind: &InputKind) -> Self {
        match kind {
            InputKind::Text => Self::Text,
            InputKind::Integer => Self::Integer,
            InputKind::Decimal => Self::Decimal,
            InputKind::Money(_) => Self::Money,
            InputKind::Boolean => Self::Boolean,
            InputKind::TextSet => Self::Texts,
        }
    }

    const fn cedar(self) -> &'static str {
        match self {
            Self::Text | Self::Mixed => "String",
            Self::Integer => "Long",
            Self::Decimal => "decimal",
            Self::Money => "Gatepass::Money",
            Self::Boolean => "Bool",
            Self::Texts => "Set<String>",
        }
    }
}

impl Schema {
    pub(super) fn input(&self, name: &str) -> Option<Shape> {
        self.inputs.get(name).copied()
    }

    pub(super) fn budget(&self, name: &str) -> Option<u16> {
        self.budgets.iter().position(|budget| budget == name)?.try_into().ok()
    }

    pub(super) fn is_in(&self, action: &str, group: &str) -> bool {
        self.groups.get(action).is_some_and(|groups| groups.contains(group))
    }

    /// What it says of one action and its groups, and of no other; `None` where there is no such action.
    pub(super) fn of_action(&self, action: &str) -> Option<String> {
        let (name, declaration) = self.actions.get_key_value(action)?;
        let groups = self.groups.get(action).into_iter().flatten().map(String::as_str);
        Some(text(&BTreeMap::from([(name.as_str(), declaration.as_str())]), groups))
    }

    /// Pairs of an action and a group that it is in.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.groups.iter();
        all.flat_map(|(action, groups)| {
            groups.iter().map(move |group| (action.as_str(), group.as_str()))
        })
    }
}

/// The schema of a bundle's actions.
///
/// # Errors
/// Two routes of one action have an input of one name and different types; an action is the group of another
/// whose risk is not its own.
pub fn schema(bundle: &Bundle) -> Result<Schema, Vec<Note>> {
    let mut problems = Vec::new();
    let mut by_action: Vec<BTreeMap<&str, Shape>> = vec![BTreeMap::new(); bundle.actions.len()];
    let mut inputs: BTreeMap<String, Shape> = BTreeMap::new();
    for host in &bundle.hosts {
        let Treatment::Guarded(routes) = &host.treatment else { continue };
        for route in routes {
            let RouteTarget::Action(at) = route.target else { continue };
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let (Some(of), Some(action)) = (by_action.get_mut(at), bundle.actions.get(at)) else {
                continue;
            };
            for input in &route.inputs {
                let shape = Shape::of(&input.kind);
                let before = *of.entry(&input.name).or_insert(shape);
                if before != shape {
                    let message = format!(
                        "input `{}` of action `{}` is `{}` in one route and `{}` in another",
                        input.name,
                        action.name,
                        before.cedar(),
                        shape.cedar(),
                    );
                    let remedy = "give one of them another name".to_owned();
                    problems.push(Note { message, remedy, ..nowhere("gatepass.yaml") });
                }
                let known = inputs.entry(input.name.clone()).or_insert(shape);
                if *known != shape {
                    *known = match (*known, shape) {
                        // Its parts are told apart from a plain value's when the rule is lowered.
                        (Shape::Money, _) | (_, Shape::Money) => {
                            let message = format!(
                                "input `{}` is money in one action and `{}` in another",
                                input.name,
                                if shape == Shape::Money { known.cedar() } else { shape.cedar() },
                            );
                            let remedy = "give one of them another name".to_owned();
                            problems.push(Note { message, remedy, ..nowhere("gatepass.yaml") });
                            Shape::Money
                        }
                        _ => Shape::Mixed,
                    };
                }
            }
        }
    }
    problems.extend(bundle.actions.iter().filter_map(|action| risk_below(action, bundle)));
    problems.extend(bundle.actions.iter().filter_map(|action| misnamed_group(action, bundle)));
    let is_risk = |action: &&Action| action.name == "risk" || action.name.starts_with("risk:");
    problems.extend(bundle.actions.iter().filter(is_risk).map(|action| Note {
        message: format!("`{}` is the name of a group of actions", action.name),
        remedy: "give the action another name".to_owned(),
        ..nowhere("gatepass.yaml")
    }));
    if !problems.is_empty() {
        problems.dedup();
        return Err(problems);
    }
    let by_name: BTreeMap<&str, &Action> =
        bundle.actions.iter().map(|action| (action.name.as_str(), action)).collect();
    let groups: BTreeMap<String, BTreeSet<String>> = bundle
        .actions
        .iter()
        .map(|action| (action.name.clone(), groups_of(action, &by_name)))
        .collect();
    let budgets = bundle.budgets.iter().map(|budget| budget.name.clone()).collect();
    let declared =
        (0..).zip(bundle.actions.iter().zip(&by_action)).map(|(at, (action, inputs))| {
            let of = groups.get(&action.name);
            (action.name.clone(), declaration(at, action, inputs, of, bundle))
        });
    let actions: BTreeMap<String, String> = declared.collect();
    let named = actions.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let text = text(&named, groups.values().flatten().map(String::as_str));
    Ok(Schema { text, inputs, groups, budgets, actions })
}

/// An action that is the group of another would put that into its own `risk:` group too: what a rule lets through
/// because it is of low risk would hold for one of high risk.
fn risk_below(action: &Action, bundle: &Bundle) -> Option<Note> {
    let is_below = |other: &&Action| {
        let rest = other.name.strip_prefix(&action.name);
        rest.is_some_and(|rest| rest.starts_with(':')) && other.risk != action.risk
    };
    let other = bundle.actions.iter().find(is_below)?;
    Some(Note {
        message: format!(
            "action `{}` is the group of `{}`, which has another risk",
            action.name, other.name
        ),
        remedy: "give both one risk, or one of them another name".to_owned(),
        ..nowhere("gatepass.yaml")
    })
}

/// A group of one's own that means something else already: a rule about that would come to be about more.
fn misnamed_group(action: &Action, bundle: &Bundle) -> Option<Note> {
    let is_taken = |group: &&String| {
        *group == "risk"
            || group.starts_with("risk:")
            || bundle.actions.iter().any(|other| other.name == **group)
    };
    let group = action.groups.iter().find(is_taken)?;
    Some(Note {
        message: format!("group `{group}` of action `{}` is an action or a risk", action.name),
        remedy: "give the group another name".to_owned(),
        ..nowhere("gatepass.yaml")
    })
}

/// What each action is in: what stands before each `:` of its name, its risk, and the groups that it or an action
/// above it says it is in.
fn groups_of(action: &Action, by_name: &BTreeMap<&str, &Action>) -> BTreeSet<String> {
    let risk = match action.risk {
        Risk::Low => "risk:low",
        Risk::Medium => "risk:medium",
        Risk::High => "risk:high",
    };
    let name = action.name.as_str();
    let prefixes = || name.match_indices(':').filter_map(|(at, _)| name.get(..at));
    let above = prefixes().chain([name]).filter_map(|name| by_name.get(name));
    let stated = above.flat_map(|action| &action.groups).map(String::as_str);
    prefixes().chain([risk]).chain(stated).map(str::to_owned).collect()
}

/// Of these actions, by their names, with the groups that they are in.
fn text<'g>(actions: &BTreeMap<&str, &str>, groups: impl Iterator<Item = &'g str>) -> String {
    let mut out = String::from(TYPES);
    // A rule for all of a risk stands where none is of it yet.
    let all: BTreeSet<&str> = groups.chain(RISKS).collect();
    for group in all.iter().filter(|group| !actions.contains_key(*group)) {
        out.push_str(&format!("action {};\n", quoted(group)));
    }
    actions.values().for_each(|action| out.push_str(action));
    out
}

/// What the schema says of one action.
fn declaration(
    at: u32,
    action: &Action,
    inputs: &BTreeMap<&str, Shape>,
    groups: Option<&BTreeSet<String>>,
    bundle: &Bundle,
) -> String {
    let groups: Vec<String> = groups.into_iter().flatten().map(|group| quoted(group)).collect();
    let fields = inputs.iter().map(|(name, shape)| format!("{}?: {}", quoted(name), shape.cedar()));
    let fields: Vec<String> = fields.collect();
    let budgets = Budgets::of(&bundle.budgets, at);
    let budgets = budgets.iter().map(|one| format!("{}: {}", quoted(&one.name), sum(&one.sums)));
    let budgets: Vec<String> = budgets.collect();
    format!(
        "action {} in [{}] appliesTo {{\n  principal: [Gatepass::Agent],\n  resource: [Gatepass::System],\n  \
         context: {{\n    environment: String,\n    request: Gatepass::Request,\n    \
         gatepass: Gatepass::Credential,\n    task: Gatepass::Task,\n    \
         approval?: Gatepass::Approval,\n    inputs: {{ {} }},\n    budget: {{ {} }},\n  }},\n}};\n",
        quoted(&action.name),
        groups.join(", "),
        fields.join(", "),
        budgets.join(", "),
    )
}

const fn sum(sums: &Sums) -> &'static str {
    match sums {
        Sums::Uses | Sums::Integer(_) => "Long",
        Sums::Decimal(_) | Sums::Money(..) => "decimal",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

const RISKS: [&str; 3] = ["risk:low", "risk:medium", "risk:high"];
const TYPES: &str = "\
namespace Gatepass {
  entity Person;
  entity Blueprint;
  entity Agent in [Blueprint] { owner: Person };
  entity System;
  type Request = { method: String, host: String, path: String, route: String, time: datetime, source?: ipaddr };
  type Credential = {
    id: String, scopes: Set<String>, assurance: String, issued: datetime, expires: datetime,
    subject: String, through: Set<Agent>,
  };
  type Task = { id: String };
  type Approval = { id: String, by: Person };
  type Money = { amount: decimal, currency: String };
}
";
