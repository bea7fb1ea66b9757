//! What a record says of a request, as the facts that rules are held against.

use std::collections::{BTreeMap, BTreeSet};

use gatepass_engine::budget::Budgets;
use gatepass_engine::bundle::{Currency, Input, InputKind, Recording, Route, Source};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::gatepass::Claims;
use gatepass_engine::policy::{Asked, Facts, Rules, Slot, inputs_with_document};
use gatepass_engine::target::Target;
use serde_json::{Map, Value, json};

use super::Known;
use super::place::Found;
use super::ruled::{Asks, Lacks};
use crate::decisions::DecisionView;

/// The facts of one record, owned.
pub(super) struct Held<'r> {
    record: &'r DecisionView,
    found: Found<'r>,
    environment: &'r str,
    /// `None`: of an agent that the control plane does not know.
    has_blueprint: bool,
    /// A gatepass's payload. What the record lacks stands there with a value that is asked for by nobody.
    payload: Value,
    /// Those that are known, each by its place in the document.
    inputs: Vec<Input>,
    document: Map<String, Value>,
    unknown: BTreeSet<String>,
}

impl<'r> Held<'r> {
    /// `before` is the route as it was when the request was decided.
    pub(super) fn of(
        record: &'r DecisionView,
        found: &Found<'r>,
        before: Option<&Route>,
        known: &'r Known,
    ) -> Self {
        let agent = record.agent.as_deref().unwrap_or_default();
        let blueprint = known.blueprints.get(agent).map(String::as_str);
        let mut held = Self {
            record,
            found: *found,
            environment: &known.environment,
            has_blueprint: blueprint.is_some(),
            payload: payload(record, blueprint.unwrap_or("unknown"), found, &known.environment),
            inputs: Vec::new(),
            document: Map::new(),
            unknown: BTreeSet::new(),
        };
        for input in &found.route.inputs {
            held.input(input, before);
        }
        held
    }

    fn input(&mut self, input: &Input, before: Option<&Route>) {
        let was = before.and_then(|route| {
            let same = |was: &&Input| {
                was.name == input.name && was.kind == input.kind && was.source == input.source
            };
            route.inputs.iter().find(same)
        });
        let nth = self.inputs.len();
        let (kind, value) = match (was, self.record.inputs.get(&input.name)) {
            (Some(was), None) if was.record != Recording::None => (input.kind.clone(), None),
            (Some(_), Some(shown)) => match read(&input.kind, shown) {
                Some((kind, value)) => (kind, Some(value)),
                None => return self.lack(input),
            },
            (Some(_) | None, _) => return self.lack(input),
        };
        self.document.extend(value.map(|value| (format!("i{nth}"), value)));
        self.inputs.push(Input {
            name: input.name.clone(),
            kind,
            source: Source::Body(format!("/i{nth}")),
            record: Recording::None,
        });
    }

    fn lack(&mut self, input: &Input) {
        self.unknown.insert(input.name.clone());
    }

    /// Decides with the facts, and with what is lacking of them.
    ///
    /// # Errors
    /// What cannot be made a fact of at all.
    pub(super) fn with<T>(
        &self,
        rules: &Rules,
        then: impl FnOnce(&Facts<'_>, &Lacks<'_>) -> T,
    ) -> Result<T, &'static str> {
        let payload = self.payload.to_string();
        let claims = Claims::parse(payload.as_bytes()).map_err(|_| "who asked")?;
        let document = Value::Object(self.document.clone()).to_string();
        let target = Target::parse(b"/").map_err(|_| "path")?;
        let inputs = inputs_with_document(&self.inputs, &target, &[], document.as_bytes());
        let inputs = inputs.ok_or("inputs")?;
        let names: Vec<&str> = rules.inputs().collect();
        let place = |name: &&str| {
            let found = self.inputs.iter().position(|input| input.name == *name);
            found.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
        };
        let places: Vec<u8> = names.iter().map(place).collect();
        let record = self.record;
        let at = record.at.parse::<jiff::Timestamp>().map_err(|_| "time")?;
        let facts = Facts {
            claims: &claims,
            environment: self.environment,
            now: UnixSeconds(u64::try_from(at.as_second()).unwrap_or_default()),
            action: &self.found.action.name,
            budgets: Budgets::default(),
            asked: Some(Asked {
                audience: &self.found.host.audience,
                method: record.method.as_deref().ok_or("method")?,
                host: record.host.as_deref().ok_or("host")?,
                path: &self.found.route.path,
                route: &self.found.route.path,
                source: None,
                inputs: &inputs,
                places: &places,
            }),
        };
        let lacks = |asks: Asks| self.lacks(asks, &names);
        Ok(then(&facts, &lacks))
    }

    fn lacks(&self, asks: Asks, names: &[&str]) -> Option<String> {
        let slot = match asks {
            Asks::Blueprint => return (!self.has_blueprint).then(|| "the blueprint".to_owned()),
            Asks::Of(slot) => slot,
        };
        let input = |nth: u16| {
            let name = names.get(usize::from(nth))?;
            self.unknown.contains(*name).then(|| format!("input `{name}`"))
        };
        let lacking = match slot {
            Slot::Owner
            | Slot::Environment
            | Slot::Method
            | Slot::Host
            | Slot::Route
            | Slot::Time
            | Slot::GatepassId
            | Slot::Subject
            | Slot::Through
            | Slot::Task => return None,
            Slot::Path if !self.found.route.path.contains('{') => return None,
            Slot::Path => "the path",
            Slot::Source => "the caller's address",
            Slot::Scopes => "the scopes",
            Slot::Assurance => "the assurance",
            Slot::Issued | Slot::Expires => "the times of the gatepass",
            Slot::Approval | Slot::ApprovalId | Slot::ApprovalBy => "the approval",
            Slot::Budget(_) => "what was taken of the budget",
            Slot::Input(nth) | Slot::Amount(nth) | Slot::Currency(nth) => return input(nth),
        };
        Some(lacking.to_owned())
    }
}

/// A shown value as JSON of its kind; `None` where not all of it is shown.
fn read(kind: &InputKind, shown: &Value) -> Option<(InputKind, Value)> {
    let text = match shown {
        Value::String(text) if text.len() < MAY_BE_CUT => text,
        // Of no kind of input.
        Value::Object(members) if members.contains_key("invalid") => {
            return Some((kind.clone(), json!({})));
        }
        _ => return None,
    };
    let value = match kind {
        InputKind::Text | InputKind::Decimal => json!(text),
        InputKind::Integer => json!(text.parse::<i64>().ok()?),
        InputKind::Boolean => json!(text.parse::<bool>().ok()?),
        InputKind::Money(_) => {
            let (amount, currency) = text.split_once(' ')?;
            let kind = InputKind::Money(Currency::Fixed(currency.to_owned()));
            return Some((kind, json!(amount)));
        }
        InputKind::TextSet => json!(serde_json::from_str::<Vec<String>>(text).ok()?),
    };
    Some((kind.clone(), value))
}

fn payload(record: &DecisionView, blueprint: &str, found: &Found<'_>, environment: &str) -> Value {
    let agent = record.agent.as_deref().unwrap_or_default();
    let owner = record.owner.as_deref().unwrap_or_default();
    let mut chain: Option<Value> = None;
    let through = record.through.iter().map(String::as_str);
    for sub in through.rev().chain([agent]) {
        let of = BTreeMap::from([("sub", sub), ("owner", owner), ("blueprint", blueprint)]);
        let mut link = json!(of);
        if let (Some(inner), Some(members)) = (chain.take(), link.as_object_mut()) {
            members.insert("act".to_owned(), inner);
        }
        chain = Some(link);
    }
    json!({
        "iss": "https://issuer.invalid", "aud": [found.host.audience],
        "iat": 0, "exp": 1, "jti": record.gatepass, "seq": [1, 1],
        "sub": record.subject.as_deref().unwrap_or(agent), "act": chain, "client_id": agent,
        "owner": owner, "blueprint": blueprint, "scope": "", "txn": record.task,
        "env": environment, "assurance": "static",
    })
}

/// Bytes: a value of so many may have been cut for the record.
const MAY_BE_CUT: usize = 253;
