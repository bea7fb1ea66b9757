//! The tree, lowered to the engine's bundle. Only what the text itself gets wrong is told of here,
//! and what needs two places to be named; the rest is [`crate::flaws`]'s.

use gatepass_engine::bundle::Bundle;
use serde_saphyr::Location;

use crate::reader::{Fields, Reader};
use crate::tree::{Node, Tree};

mod action;
mod calls;
mod host;
mod input;
mod route;

pub(crate) use action::sound;
use action::{ACTION_FIELDS, action};
use host::{HOST_FIELDS, host};

/// Where the parts of a bundle stand in the text, index by index.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) actions: Vec<Place>,
    /// Their children are routes, whose children are inputs.
    pub(crate) hosts: Vec<Place>,
}

/// One item and its fields.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) at: Location,
    pub(crate) fields: Vec<Field>,
    pub(crate) children: Vec<Place>,
}

/// The value of one field.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) at: Location,
    /// Where it is one text.
    pub(crate) text: Option<String>,
}

impl Place {
    const fn new(at: Location, fields: Vec<Field>) -> Self {
        Self { at, fields, children: Vec::new() }
    }
}

impl Field {
    fn of(fields: &Fields<'_>) -> Vec<Self> {
        let found = fields.iter();
        found.flat_map(|(name, _, tree)| Self::all(name, tree)).collect()
    }

    /// The field, and those inside it: a currency has a source of its own.
    fn all(name: &str, tree: &Tree) -> Vec<Self> {
        let mut all = vec![Self {
            name: name.to_owned(),
            at: tree.referenced,
            text: match &tree.value {
                Node::Text(text) => Some(text.clone()),
                _ => None,
            },
        }];
        if let ("currency", Node::Map(entries)) = (name, &tree.value) {
            for (key, value) in entries {
                if let Node::Text(key) = &key.value {
                    all.extend(Self::all(key, value));
                }
            }
        }
        all
    }
}

pub(crate) fn policy(reader: &mut Reader, tree: &Tree) -> (Bundle, Places) {
    let mut bundle = Bundle::default();
    let mut places = Places::default();
    if matches!(tree.value, Node::Nothing) {
        reader.tell(tree.referenced, "the policy is empty", "write `actions:` and `hosts:`");
        return (bundle, places);
    }
    let Some(fields) = reader.fields(tree, "a policy", &["actions", "hosts"]) else {
        return (bundle, places);
    };
    let actions = fields.find("actions");
    if let Some(entries) = actions.and_then(|tree| reader.entries(tree, "`actions`")) {
        for (name, at, tree) in entries.iter() {
            let (action, fields) = match reader.fields(tree, "an action", &ACTION_FIELDS) {
                Some(fields) => (action(reader, name, &fields), Field::of(&fields)),
                None => (sound(name), Vec::new()),
            };
            bundle.actions.push(action);
            places.actions.push(Place::new(*at, fields));
        }
    }
    let hosts = reader.needed(&fields, "hosts", "a policy", "list the hosts that the gate knows");
    for tree in hosts.map_or(&[] as &[Tree], |hosts| reader.list(hosts, "hosts")) {
        let Some(fields) = reader.fields(tree, "a host", &HOST_FIELDS) else {
            continue;
        };
        let mut place = Place::new(tree.referenced, Field::of(&fields));
        if let Some(host) = host(reader, &fields, &bundle.actions, &mut place) {
            bundle.hosts.push(host);
            places.hosts.push(place);
        }
    }
    (bundle, places)
}

fn field<'t, T>(
    fields: &Fields<'t>,
    name: &str,
    read: impl FnOnce(&'t Tree) -> Option<T>,
) -> Option<T> {
    fields.find(name).and_then(read)
}
