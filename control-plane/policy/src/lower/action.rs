//! Actions: what each demands, the inputs of all its routes, and the routes that it lists itself.

use gatepass_engine::bundle::{
    Action, ActionMode, Assurance, Audit, Binding, BodyRule, Input, Risk, Uses,
};

use super::defaults::Defaults;
use super::input::inputs;
use super::{Place, field};
use crate::reader::{Fields, Reader};
use crate::tree::Tree;

/// The actions of all files, index by index.
#[derive(Default)]
pub(super) struct Actions<'t> {
    pub(super) list: Vec<Action>,
    pub(super) places: Vec<Place>,
    /// What each of its routes takes, unless it has an input of this name itself.
    pub(super) inputs: Vec<Vec<(Input, Place)>>,
    /// With the file and the action.
    pub(super) routes: Vec<(usize, u32, &'t Tree)>,
}

impl<'t> Actions<'t> {
    /// Adds those of one file.
    pub(super) fn read(&mut self, reader: &mut Reader, tree: &'t Tree, defaults: &Defaults) {
        let Some(entries) = reader.entries(tree, "`actions`") else { return };
        for (name, at, tree) in entries.iter() {
            if let Some(earlier) = self.list.iter().position(|action| action.name == *name) {
                let file = self.places.get(earlier).map_or("", |place| reader.name(place.at.file));
                let message = format!("action `{name}` is defined in `{file}` too");
                reader.tell(*at, message, "keep one of them");
                continue;
            }
            let Some(fields) = reader.fields(tree, "an action", &ACTION_FIELDS) else {
                let place =
                    Place { at: reader.here(*at), fields: Vec::new(), children: Vec::new() };
                self.push(sound(name), place, Vec::new());
                continue;
            };
            let action = action(reader, name, &fields, defaults);
            let mut place = Place::new(*at, &fields);
            place.takes(defaults.staleness(action.risk).1);
            let inputs = match fields.find("inputs") {
                Some(tree) => inputs(reader, tree, Some(&action)),
                None => Vec::new(),
            };
            if let (Some(tree), Ok(id)) = (fields.find("routes"), u32::try_from(self.list.len())) {
                self.routes.push((fields.file(), id, tree));
            }
            self.push(action, place, inputs);
        }
    }

    fn push(&mut self, action: Action, place: Place, inputs: Vec<(Input, Place)>) {
        self.list.push(action);
        self.places.push(place);
        self.inputs.push(inputs);
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        (0..).zip(&self.list).find(|(_, action)| action.name == name).map(|(id, _)| id)
    }

    pub(super) fn action(&self, id: u32) -> Option<&Action> {
        self.list.get(usize::try_from(id).ok()?)
    }

    pub(super) fn inputs_of(&self, id: u32) -> &[(Input, Place)] {
        let found = usize::try_from(id).ok().and_then(|id| self.inputs.get(id));
        found.map_or(&[], Vec::as_slice)
    }
}

/// What is sound, and perhaps not meant.
pub(super) fn warn(reader: &mut Reader, action: &Action, place: &Place, is_routed: bool) {
    let name = &action.name;
    if !is_routed {
        let remedy = "list its `routes`, or remove it: no request is this action";
        reader.warn(place.at, format!("action `{name}` has no route"), remedy);
    }
    if action.risk == Risk::High && !action.approval {
        let risk = place.fields.iter().find(|field| field.name == "risk");
        let at = risk.map_or(place.at, |risk| risk.at);
        let remedy = "write `approval: true` where a human is to agree to each request";
        reader.warn(at, format!("action `{name}` has risk `high` and needs no approval"), remedy);
    }
}

/// An action that nothing is wrong with, in the place of one that cannot be read: routes name
/// actions by number, and must not be told of for it.
pub(crate) fn sound(name: &str) -> Action {
    Action {
        name: name.to_owned(),
        risk: Risk::Low,
        scopes_all: Vec::new(),
        scopes_any: Vec::new(),
        assurance: Assurance::Static,
        binding: Binding::None,
        uses: Uses::Unlimited,
        max_age: None,
        staleness: Risk::Low.default_staleness(),
        body: BodyRule::None,
        content_types: vec![],
        encodings: vec![],
        approval: false,
        mode: ActionMode::Enforce,
        audit: Audit::Batched,
        groups: vec![],
    }
}

/// Always an action, so that routes can name it whatever is wrong with it.
fn action(reader: &mut Reader, name: &str, fields: &Fields<'_>, defaults: &Defaults) -> Action {
    let what = format!("action `{name}`");
    let risk = reader
        .needed(fields, "risk", &what, "write `risk: low`, `medium` or `high`")
        .and_then(|tree| reader.choice(tree, &RISKS));
    // Without a risk nothing else is held against one.
    let assumed = risk.unwrap_or(Risk::Low);
    let (scopes_all, scopes_any) = scopes(reader, fields);
    let assurance = field(fields, "assurance", |tree| {
        let assurance = reader.choice(tree, &ASSURANCES)?;
        if assurance == Assurance::Static && assumed > Risk::Low {
            reader.tell(
                tree.referenced,
                "`assurance: static` is for low-risk actions only",
                "write `federated` or `attested`",
            );
            return None;
        }
        Some(assurance)
    });
    let approval = field(fields, "approval", |tree| reader.boolean(tree)).unwrap_or(false);
    let body = field(fields, "body", |tree| {
        let body = reader.choice(tree, &BODIES)?;
        if body == BodyRule::Unread && approval {
            reader.tell(
                tree.referenced,
                format!("{what} asks for approval of what it does not read"),
                "write `body: json`, `digest` or `none`, or leave out `approval`",
            );
            return None;
        }
        Some(body)
    });
    Action {
        name: name.to_owned(),
        risk: assumed,
        scopes_all,
        scopes_any,
        assurance: assurance.unwrap_or_else(|| defaults.assurance(assumed)),
        binding: binding(reader, fields),
        uses: field(fields, "uses", |tree| reader.choice(tree, &USES)).unwrap_or(Uses::Unlimited),
        max_age: field(fields, "max_age", |tree| reader.duration(tree)).or(defaults.max_age()),
        staleness: field(fields, "staleness", |tree| reader.duration(tree))
            .unwrap_or(defaults.staleness(assumed).0),
        body: body.unwrap_or(BodyRule::None),
        content_types: field(fields, "content_types", |tree| {
            Some(reader.texts(tree, "media types"))
        })
        .unwrap_or_default(),
        encodings: field(fields, "encodings", |tree| Some(reader.texts(tree, "content codings")))
            .unwrap_or_default(),
        approval,
        mode: field(fields, "mode", |tree| reader.choice(tree, &MODES))
            .unwrap_or(ActionMode::Enforce),
        audit: field(fields, "audit", |tree| reader.choice(tree, &AUDITS))
            .unwrap_or(Audit::Batched),
        groups: field(fields, "groups", |tree| Some(reader.texts(tree, "groups")))
            .unwrap_or_default(),
    }
}

/// No gate can check one yet, so an action that asked for it would be denied always.
fn binding(reader: &mut Reader, fields: &Fields<'_>) -> Binding {
    let asked = fields.find("binding").map(|tree| (tree, reader.choice(tree, &BINDINGS)));
    if let Some((tree, Some(Binding::Key | Binding::Certificate | Binding::Workload))) = asked {
        let message = "no gate checks a binding of the gatepass yet";
        reader.tell(tree.referenced, message, "write `binding: none`, or leave it out");
    }
    Binding::None
}

fn scopes(reader: &mut Reader, fields: &Fields<'_>) -> (Vec<String>, Vec<String>) {
    let Some(tree) = fields.find("scopes") else {
        return (Vec::new(), Vec::new());
    };
    let Some(fields) = reader.fields(tree, "`scopes`", &["all", "any"]) else {
        return (Vec::new(), Vec::new());
    };
    let mut list = |name| {
        let found = fields.find(name);
        found.map_or_else(Vec::new, |tree| reader.texts(tree, "scopes"))
    };
    (list("all"), list("any"))
}

const ACTION_FIELDS: [&str; 16] = [
    "risk",
    "scopes",
    "assurance",
    "binding",
    "uses",
    "max_age",
    "staleness",
    "body",
    "content_types",
    "encodings",
    "approval",
    "mode",
    "audit",
    "groups",
    "inputs",
    "routes",
];
const RISKS: [(&str, Risk); 3] =
    [("low", Risk::Low), ("medium", Risk::Medium), ("high", Risk::High)];
pub(crate) const ASSURANCES: [(&str, Assurance); 3] = [
    ("static", Assurance::Static),
    ("federated", Assurance::Federated),
    ("attested", Assurance::Attested),
];
const BODIES: [(&str, BodyRule); 5] = [
    ("none", BodyRule::None),
    ("unread", BodyRule::Unread),
    ("digest", BodyRule::Digest),
    ("json", BodyRule::Json),
    ("form", BodyRule::Form),
];
const USES: [(&str, Uses); 2] = [("unlimited", Uses::Unlimited), ("once", Uses::Once)];
const AUDITS: [(&str, Audit); 2] = [("batched", Audit::Batched), ("confirmed", Audit::Confirmed)];
const BINDINGS: [(&str, Binding); 4] = [
    ("none", Binding::None),
    ("key", Binding::Key),
    ("certificate", Binding::Certificate),
    ("workload", Binding::Workload),
];
const MODES: [(&str, ActionMode); 2] =
    [("enforce", ActionMode::Enforce), ("shadow", ActionMode::Shadow)];
