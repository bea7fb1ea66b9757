//! `gatepass`: what the request bears. Whether a gate could read it is seen when it is signed.

use std::collections::BTreeMap;

use gatepass_engine::bundle::Assurance;
use gatepass_engine::ids::{AgentId, PersonId, is_token};
use serde_json::Value;

use super::value::json;
use super::{Consent, Pass};
use crate::lower::ASSURANCES;
use crate::reader::{Fields, Reader};
use crate::tree::{Node, Tree};

/// `None` where it cannot be read; `Some(None)` where the request bears none.
pub(super) fn read(reader: &mut Reader, of: &Fields<'_>) -> Option<Option<Pass>> {
    let remedy = "write `gatepass: none`, or the `actions` that it is good for";
    let tree = reader.needed(of, "gatepass", "a test", remedy)?;
    if matches!(&tree.value, Node::Text(text) if text == "none") {
        return Some(None);
    }
    let fields = reader.fields(tree, "`gatepass`", &PASS_FIELDS)?;
    let actions = reader.needed(&fields, "actions", "`gatepass`", "write `actions: [orders:read]`");
    let actions = actions.map(|tree| reader.texts(tree, "actions"));
    let is_agent = |text: &str| AgentId::parse(text).is_some();
    let is_person = |text: &str| PersonId::parse(text).is_some();
    let agent = id(reader, &fields, "agent", AGENT, "`agent:<uuid>` in lower case", is_agent);
    let person = "`user:<directory>/<id>`";
    let owner = id(reader, &fields, "owner", OWNER, person, is_person);
    let word = "1 to 128 visible ASCII characters";
    let blueprint = id(reader, &fields, "blueprint", BLUEPRINT, word, is_token);
    let task = id(reader, &fields, "task", TASK, word, is_token);
    let subject = fields.find("subject").map(|_| {
        let either = "`agent:<uuid>` or `user:<directory>/<id>`";
        id(reader, &fields, "subject", "", either, |text| is_agent(text) || is_person(text))
    });
    let lists =
        |reader: &mut Reader, name, what| fields.find(name).map(|tree| reader.texts(tree, what));
    let scopes = lists(reader, "scopes", "scopes").unwrap_or_default();
    let audiences = lists(reader, "audiences", "audiences");
    let constraints = match fields.find("constraints") {
        Some(tree) => constraints(reader, tree),
        None => BTreeMap::new(),
    };
    let budgets = fields.find("budget").map_or_else(BTreeMap::new, |tree| sums(reader, tree));
    let uses = fields.find("uses").and_then(|tree| match &tree.value {
        Node::Number(text) => text.parse().ok().or_else(|| told(reader, tree, "a whole number")),
        _ => told(reader, tree, "a whole number"),
    });
    let assurance = fields.find("assurance").and_then(|tree| reader.choice(tree, &ASSURANCES));
    let approval = fields.find("approval").and_then(|tree| reader.choice(tree, &CONSENTS));
    let duration =
        |reader: &mut Reader, name| fields.find(name).and_then(|tree| reader.duration(tree));
    let issued = duration(reader, "issued").unwrap_or(0);
    let lifetime = duration(reader, "lifetime").unwrap_or(LIFETIME);
    Some(Some(Pass {
        agent,
        owner,
        blueprint,
        subject,
        task,
        actions: actions?,
        scopes,
        audiences,
        constraints,
        budgets,
        uses,
        assurance: assurance.unwrap_or(Assurance::Federated),
        approval: approval.unwrap_or(Consent::None),
        issued,
        lifetime,
    }))
}

/// A name that must have this form, or the usual one.
fn id(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    usual: &str,
    form: &str,
    fits: impl Fn(&str) -> bool,
) -> String {
    let found = fields.find(name).and_then(|tree| {
        let text = reader.text(tree, form)?;
        if fits(text) {
            return Some(text);
        }
        told(reader, tree, form)
    });
    found.unwrap_or(usual).to_owned()
}

fn constraints(reader: &mut Reader, tree: &Tree) -> BTreeMap<String, BTreeMap<String, Value>> {
    let Some(inputs) = reader.entries(tree, "`constraints`") else { return BTreeMap::new() };
    let mut constraints = BTreeMap::new();
    for (input, _, tree) in inputs.iter() {
        let Some(bounds) = reader.fields(tree, "a constraint", &BOUNDS) else { continue };
        let mut all = BTreeMap::new();
        for (bound, _, tree) in bounds.iter() {
            match (*bound, &tree.value) {
                ("in", Node::List(_)) | ("prefix", Node::Text(_)) => {}
                ("in", _) => reader.expected(tree, "a list of values"),
                ("prefix", _) => reader.expected(tree, "a text"),
                (_, Node::Text(_) | Node::Number(_) | Node::Boolean(_)) => {}
                _ => reader.expected(tree, "a value"),
            }
            all.extend(json(reader, tree).map(|value| ((*bound).to_owned(), value)));
        }
        constraints.insert((*input).to_owned(), all);
    }
    constraints
}

/// By the name of the budget; that it has one is seen when the test runs.
fn sums(reader: &mut Reader, tree: &Tree) -> BTreeMap<String, String> {
    let Some(budgets) = reader.entries(tree, "`budget`") else { return BTreeMap::new() };
    let mut sums = BTreeMap::new();
    for (name, _, tree) in budgets.iter() {
        match &tree.value {
            Node::Text(text) | Node::Number(text) => {
                sums.insert((*name).to_owned(), text.clone());
            }
            _ => reader.expected(tree, "a sum such as `45000.00 EUR` or `3`"),
        }
    }
    sums
}

fn told<T>(reader: &mut Reader, tree: &Tree, what: &str) -> Option<T> {
    reader.expected(tree, what);
    None
}

const PASS_FIELDS: [&str; 15] = [
    "actions",
    "scopes",
    "agent",
    "owner",
    "blueprint",
    "subject",
    "task",
    "audiences",
    "constraints",
    "budget",
    "uses",
    "assurance",
    "approval",
    "issued",
    "lifetime",
];
const BOUNDS: [&str; 5] = ["max", "min", "equals", "in", "prefix"];
const CONSENTS: [(&str, Consent); 3] =
    [("none", Consent::None), ("same", Consent::Same), ("other", Consent::Other)];
const AGENT: &str = "agent:00000000-0000-4000-8000-000000000001";
const OWNER: &str = "user:test/owner";
const BLUEPRINT: &str = "test";
const TASK: &str = "test-task";
/// Seconds.
const LIFETIME: u32 = 300;
