//! The trees, lowered to the engine's bundle. Only what the text itself gets wrong is told of here,
//! and what needs two places to be named; the rest is [`crate::flaws`]'s.

use gatepass_engine::bundle::{Bundle, RouteTarget, Treatment};
use gatepass_engine::ids::is_token;
use serde_saphyr::Location;

use crate::reader::{At, Fields, Reader};
use crate::tree::{Node, Tree};

mod action;
mod budget;
mod calls;
mod defaults;
mod host;
mod input;
mod route;

pub(crate) use action::{ASSURANCES, sound};
use action::{Actions, warn};
use defaults::Defaults;
use host::Hosts;

/// One YAML file.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its index in the reader's list.
    pub(crate) file: usize,
    /// It may have more than actions.
    pub(crate) is_whole: bool,
    pub(crate) tree: Tree,
}

/// What the files say.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    pub(crate) bundle: Bundle,
    pub(crate) places: Places,
    pub(crate) environment: Option<String>,
}

/// Where the parts of a bundle stand in the text, index by index.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The file for what concerns all of it.
    pub(crate) whole: usize,
    pub(crate) actions: Vec<Place>,
    /// Their children are routes, whose children are inputs.
    pub(crate) hosts: Vec<Place>,
    pub(crate) budgets: Vec<Place>,
}

/// One item and its fields.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) at: At,
    pub(crate) fields: Vec<Field>,
    pub(crate) children: Vec<Place>,
}

/// The value of one field.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) at: At,
    /// Where it is one text.
    pub(crate) text: Option<String>,
}

impl Place {
    fn new(at: Location, fields: &Fields<'_>) -> Self {
        let found = fields.iter();
        Self {
            at: At::new(fields.file(), at),
            fields: found
                .flat_map(|(name, _, tree)| Field::all(name, fields.file(), tree))
                .collect(),
            children: Vec::new(),
        }
    }

    /// A field that it does not state, and takes from elsewhere.
    fn takes(&mut self, field: Option<&Field>) {
        if let Some(field) = field
            && self.fields.iter().all(|stated| stated.name != field.name)
        {
            self.fields.push(field.clone());
        }
    }
}

impl Field {
    fn new(name: &str, file: usize, tree: &Tree) -> Self {
        let text = match &tree.value {
            Node::Text(text) => Some(text.clone()),
            _ => None,
        };
        Self { name: name.to_owned(), at: At::new(file, tree.referenced), text }
    }

    /// The field, and those inside it: a currency has a source of its own.
    fn all(name: &str, file: usize, tree: &Tree) -> Vec<Self> {
        let mut all = vec![Self::new(name, file, tree)];
        if let ("currency", Node::Map(entries)) = (name, &tree.value) {
            for (key, value) in entries {
                if let Node::Text(key) = &key.value {
                    all.extend(Self::all(key, file, value));
                }
            }
        }
        all
    }
}

/// All of a policy; the whole document is the first.
pub(crate) fn policy(reader: &mut Reader, documents: &[Document]) -> Lowered {
    let mut lowered = Lowered::default();
    let found: Vec<(&Document, Fields<'_>)> = documents
        .iter()
        .filter_map(|document| fields_of(reader, document).map(|fields| (document, fields)))
        .collect();
    let whole = found.iter().find(|(document, _)| document.is_whole);
    let mut defaults = Defaults::default();
    if let Some((document, fields)) = whole {
        reader.enter(document.file);
        lowered.places.whole = document.file;
        lowered.environment = field(fields, "environment", |tree| environment(reader, tree));
        if let Some(tree) = fields.find("defaults") {
            defaults = Defaults::read(reader, tree);
        }
    }
    let mut actions = Actions::default();
    for (document, fields) in &found {
        reader.enter(document.file);
        if let Some(tree) = fields.find("actions") {
            actions.read(reader, tree, &defaults);
        }
    }
    let mut hosts = Hosts::default();
    if let Some((document, fields)) = whole {
        reader.enter(document.file);
        let needed =
            reader.needed(fields, "hosts", "a policy", "list the hosts that the gate knows");
        if let Some(tree) = needed {
            hosts.read(reader, tree, &actions, &defaults);
        }
    }
    hosts.take_routes(reader, &actions, &defaults);
    hosts.without_routes(reader);
    lowered.bundle.actions.clone_from(&actions.list);
    lowered.bundle.hosts = hosts.list;
    lowered.places.hosts = hosts.places;
    if let Some((document, fields)) = whole {
        reader.enter(document.file);
        let budgets = fields
            .find("budgets")
            .map(|tree| budget::budgets(reader, tree, &actions, &mut lowered.bundle));
        lowered.places.budgets = budgets.unwrap_or_default();
    }
    lowered.places.actions = actions.places;
    let is_routed = routed(&lowered.bundle);
    for (id, (action, place)) in
        (0..).zip(lowered.bundle.actions.iter().zip(&lowered.places.actions))
    {
        warn(reader, action, place, is_routed.contains(&id));
    }
    lowered
}

/// The fields of a document; `None` where it has none.
fn fields_of<'t>(reader: &mut Reader, document: &'t Document) -> Option<Fields<'t>> {
    reader.enter(document.file);
    let Document { tree, is_whole, .. } = document;
    let fields = match (is_whole, &tree.value) {
        (true, Node::Nothing) => {
            reader.tell(tree.referenced, "the policy is empty", "write `actions:` and `hosts:`");
            None
        }
        (false, Node::Nothing) => {
            reader.tell(tree.referenced, "the file is empty", "write `actions:`, or remove it");
            None
        }
        (true, _) => reader.fields(tree, "a policy", &WHOLE_FIELDS),
        (false, _) => reader.fields(tree, "a file of actions", &["actions"]),
    };
    reader.is_partial |= fields.is_none();
    fields
}

fn environment(reader: &mut Reader, tree: &Tree) -> Option<String> {
    let name = reader.text(tree, "the name of an environment")?;
    if is_token(name) {
        return Some(name.to_owned());
    }
    let message = format!("environment `{name}` must be 1 to 128 visible ASCII characters");
    reader.tell(tree.referenced, message, "");
    None
}

/// The actions that some route is for.
fn routed(bundle: &Bundle) -> std::collections::HashSet<u32> {
    let routes = bundle.hosts.iter().flat_map(|host| match &host.treatment {
        Treatment::Guarded(routes) => routes.as_slice(),
        Treatment::PassedThrough => &[],
    });
    routes
        .filter_map(|route| match route.target {
            RouteTarget::Action(id) => Some(id),
            RouteTarget::Public => None,
        })
        .collect()
}

fn field<'t, T>(
    fields: &Fields<'t>,
    name: &str,
    read: impl FnOnce(&'t Tree) -> Option<T>,
) -> Option<T> {
    fields.find(name).and_then(read)
}

const WHOLE_FIELDS: [&str; 5] = ["environment", "defaults", "actions", "hosts", "budgets"];
