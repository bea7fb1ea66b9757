//! The tree, lowered to the engine's bundle. Only what the text itself gets wrong is told of here,
//! and what needs two places to be named; the rest is [`crate::flaws`]'s.

use gatepass_engine::bundle::{
    Action, ActionMode, Assurance, Audit, Binding, BodyRule, Bundle, Currency, Host, Input,
    InputKind, Recording, Risk, Route, RouteTarget, Source, Treatment, Uses,
};
use serde_saphyr::Location;

use crate::reader::{Fields, Reader, quoted};
use crate::tree::{Node, Tree};

mod calls;

use calls::{calls, without_arguments};

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
    }
}

/// Always an action, so that routes can name it whatever is wrong with it.
fn action(reader: &mut Reader, name: &str, fields: &Fields<'_>) -> Action {
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
    let default_assurance = match assumed {
        Risk::Low => Assurance::Static,
        Risk::Medium | Risk::High => Assurance::Federated,
    };
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
        assurance: assurance.unwrap_or(default_assurance),
        binding: Binding::None,
        uses: field(fields, "uses", |tree| reader.choice(tree, &USES)).unwrap_or(Uses::Unlimited),
        max_age: field(fields, "max_age", |tree| reader.duration(tree)),
        staleness: field(fields, "staleness", |tree| reader.duration(tree))
            .unwrap_or(assumed.default_staleness()),
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
    }
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

fn host(
    reader: &mut Reader,
    fields: &Fields<'_>,
    actions: &[Action],
    place: &mut Place,
) -> Option<Host> {
    let names = reader
        .needed(fields, "names", "a host", "write `names: [orders.example]`")
        .map(|tree| reader.texts(tree, "host names"));
    let audience = reader
        .needed(
            fields,
            "audience",
            "a host",
            "write what `aud` must contain, such as `audience: https://orders.example`",
        )
        .and_then(|tree| reader.text(tree, "an absolute URI"));
    let origin = field(fields, "origin", |tree| reader.text(tree, "an absolute URI"));
    let passes = field(fields, "pass_through", |tree| reader.boolean(tree)).unwrap_or(false);
    let treatment = match (passes, fields.find("routes")) {
        (true, None) => Treatment::PassedThrough,
        (true, Some(tree)) => {
            reader.tell(
                tree.referenced,
                "a host that is passed through has no routes",
                "leave out `routes` or `pass_through`",
            );
            Treatment::PassedThrough
        }
        (false, Some(tree)) => Treatment::Guarded(routes(reader, tree, actions, place)),
        (false, None) => {
            reader.tell(
                fields.at(),
                "a host needs `routes`",
                "list them, or write `pass_through: true` to leave the host unguarded",
            );
            Treatment::Guarded(Vec::new())
        }
    };
    Some(Host {
        names: names.filter(|names| !names.is_empty())?,
        audience: audience?.to_owned(),
        origin: origin.map(str::to_owned),
        treatment,
    })
}

fn routes(reader: &mut Reader, tree: &Tree, actions: &[Action], place: &mut Place) -> Vec<Route> {
    let mut routes = Vec::new();
    for tree in reader.list(tree, "routes") {
        let Some(fields) = reader.fields(tree, "a route", &ROUTE_FIELDS) else {
            continue;
        };
        let mut at = Place::new(tree.referenced, Field::of(&fields));
        for route in route(reader, &fields, actions, &mut at) {
            routes.push(route);
            place.children.push(at.clone());
        }
    }
    routes
}

/// One for each call that it names.
fn route(
    reader: &mut Reader,
    fields: &Fields<'_>,
    actions: &[Action],
    place: &mut Place,
) -> Vec<Route> {
    let matched = reader
        .needed(fields, "match", "a route", "write `match: GET /orders/{id}`")
        .and_then(|tree| request_line(reader, tree));
    let target = target(reader, fields, actions);
    let inputs = match fields.find("inputs") {
        Some(tree) => inputs(reader, tree, target.and_then(|(_, action)| action), place),
        None => Vec::new(),
    };
    let upgrade = field(fields, "upgrade", |tree| reader.text(tree, "an upgrade's name"));
    let Some(calls) = calls(reader, fields) else { return Vec::new() };
    let inputs = match fields.find("mcp") {
        Some(_) => inputs,
        None => without_arguments(reader, inputs, place),
    };
    let max_body = field(fields, "max_body", |tree| {
        let reads =
            target.and_then(|(_, action)| action).is_none_or(|action| action.body.is_read());
        if !reads {
            reader.tell(
                tree.referenced,
                "`max_body` of a body that is not read",
                "leave it out, or write `body: json`, `form` or `digest` at the action",
            );
        }
        reader.size(tree)
    })
    .unwrap_or(DEFAULT_BODY);
    let (Some((methods, path)), Some((target, _))) = (matched, target) else {
        return Vec::new();
    };
    let route = Route {
        methods,
        path,
        target,
        inputs,
        call: None,
        max_body,
        max_duration: field(fields, "max_duration", |tree| reader.duration(tree))
            .unwrap_or(DEFAULT_DURATION),
        upgrade: upgrade.map(str::to_owned),
    };
    match calls.is_empty() {
        true => vec![route],
        false => {
            let of = |call| Route { call: Some(call), ..route.clone() };
            calls.into_iter().map(of).collect()
        }
    }
}

/// `METHOD[,METHOD] PATH`.
fn request_line(reader: &mut Reader, tree: &Tree) -> Option<(Vec<String>, String)> {
    let text = reader.text(tree, "a method and a path")?;
    match text.split_once(' ') {
        Some((methods, path)) if !path.is_empty() && !path.contains(' ') => {
            Some((methods.split(',').map(str::to_owned).collect(), path.to_owned()))
        }
        _ => {
            reader.tell(
                tree.referenced,
                format!("expected a method and a path, found `{text}`"),
                "write `GET /orders` or `GET,HEAD /orders/{id}`",
            );
            None
        }
    }
}

/// With the action itself, where there is one.
fn target<'a>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    actions: &'a [Action],
) -> Option<(RouteTarget, Option<&'a Action>)> {
    let public = field(fields, "public", |tree| reader.boolean(tree)).unwrap_or(false);
    match (public, fields.find("action")) {
        (true, None) => Some((RouteTarget::Public, None)),
        (true, Some(tree)) => {
            reader.tell(
                tree.referenced,
                "a public route has no action",
                "leave out `action`, or `public` to guard the route",
            );
            None
        }
        (false, None) => {
            reader.tell(
                fields.at(),
                "a route needs `action`",
                "name one of `actions`, or write `public: true` for a health check",
            );
            None
        }
        (false, Some(tree)) => {
            let name = reader.text(tree, "the name of an action")?;
            let found = (0..).zip(actions).find(|(_, action)| action.name == name);
            if found.is_none() {
                let known: Vec<&str> = actions.iter().map(|action| action.name.as_str()).collect();
                let remedy = match known.get(..MAX_SUGGESTIONS) {
                    Some(_) => "define it under `actions`".to_owned(),
                    None => format!("`actions` defines {}", quoted(&known)),
                };
                reader.tell(tree.referenced, format!("no action `{name}`"), remedy);
            }
            found.map(|(id, action)| (RouteTarget::Action(id), Some(action)))
        }
    }
}

fn inputs(
    reader: &mut Reader,
    tree: &Tree,
    action: Option<&Action>,
    place: &mut Place,
) -> Vec<Input> {
    let Some(entries) = reader.entries(tree, "`inputs`") else {
        return Vec::new();
    };
    if let Some(action) = action
        && action.body == BodyRule::Unread
    {
        reader.tell(
            tree.referenced,
            format!(
                "action `{}` passes its body unread, which could contradict the inputs",
                action.name
            ),
            "write `body: json` or `none` there, or leave out `inputs`",
        );
        return Vec::new();
    }
    let mut inputs = Vec::new();
    for (name, at, tree) in entries.iter() {
        let Some(fields) = reader.fields(tree, "an input", &INPUT_FIELDS) else {
            continue;
        };
        if let Some(input) = input(reader, name, &fields) {
            inputs.push(input);
            place.children.push(Place::new(*at, Field::of(&fields)));
        }
    }
    inputs
}

fn input(reader: &mut Reader, name: &str, fields: &Fields<'_>) -> Option<Input> {
    let what = format!("input `{name}`");
    let source = source(reader, fields, &what);
    let kind = reader
        .needed(fields, "type", &what, "write its `type`, such as `text` or `money`")
        .and_then(|tree| reader.choice(tree, &TYPES))?;
    let kind = match (kind, fields.find("currency")) {
        (Type::Money, Some(tree)) => InputKind::Money(currency(reader, tree)?),
        (Type::Money, None) => {
            reader.tell(
                fields.at(),
                format!("{what} is money without a currency"),
                "write `currency: EUR`, or where it comes from: `currency: {query: currency}`",
            );
            return None;
        }
        (_, Some(tree)) => {
            reader.tell(tree.referenced, "only money has a currency", "write `type: money`");
            return None;
        }
        (Type::Text, None) => InputKind::Text,
        (Type::Integer, None) => InputKind::Integer,
        (Type::Decimal, None) => InputKind::Decimal,
        (Type::Boolean, None) => InputKind::Boolean,
        (Type::Set, None) => InputKind::TextSet,
    };
    let record = field(fields, "record", |tree| reader.choice(tree, &RECORDINGS))
        .unwrap_or(Recording::of(&kind));
    Some(Input { name: name.to_owned(), kind, source: source?, record })
}

fn currency(reader: &mut Reader, tree: &Tree) -> Option<Currency> {
    match &tree.value {
        Node::Map(_) => {
            let fields = reader.fields(tree, "`currency`", &SOURCES)?;
            source(reader, &fields, "`currency`").map(Currency::From)
        }
        _ => {
            let code = reader.text(tree, "a currency such as `EUR`, or where it comes from")?;
            Some(Currency::Fixed(code.to_owned()))
        }
    }
}

/// Exactly one of `path`, `query`, `header`, `body`, `argument`.
fn source(reader: &mut Reader, fields: &Fields<'_>, what: &str) -> Option<Source> {
    let stated = fields.iter().filter(|(name, ..)| SOURCES.contains(name));
    let stated: Vec<_> = stated.collect();
    let [(kind, _, tree)] = stated.as_slice() else {
        reader.tell(
            stated.get(1).map_or(fields.at(), |(_, at, _)| *at),
            format!("{what} needs exactly one source"),
            format!("write one of {}", quoted(&SOURCES)),
        );
        return None;
    };
    let name = reader.text(tree, "a name")?.to_owned();
    Some(match *kind {
        "path" => Source::Path(name),
        "query" => Source::Query(name),
        "header" => Source::Header(name),
        "body" => Source::Body(name),
        // Of an MCP tool or prompt.
        _ => Source::Body(format!(
            "/params/arguments/{}",
            name.replace('~', "~0").replace('/', "~1")
        )),
    })
}

fn field<'t, T>(
    fields: &Fields<'t>,
    name: &str,
    read: impl FnOnce(&'t Tree) -> Option<T>,
) -> Option<T> {
    fields.find(name).and_then(read)
}

#[derive(Clone, Copy)]
enum Type {
    Text,
    Integer,
    Decimal,
    Money,
    Boolean,
    Set,
}

const ACTION_FIELDS: [&str; 12] = [
    "risk",
    "scopes",
    "assurance",
    "uses",
    "max_age",
    "staleness",
    "body",
    "content_types",
    "encodings",
    "approval",
    "mode",
    "audit",
];
const HOST_FIELDS: [&str; 5] = ["names", "audience", "origin", "pass_through", "routes"];
const ROUTE_FIELDS: [&str; 9] =
    ["match", "mcp", "rpc", "action", "public", "inputs", "max_duration", "upgrade", "max_body"];
const INPUT_FIELDS: [&str; 8] =
    ["type", "path", "query", "header", "body", "argument", "currency", "record"];
const SOURCES: [&str; 5] = ["path", "query", "header", "body", "argument"];
const RISKS: [(&str, Risk); 3] =
    [("low", Risk::Low), ("medium", Risk::Medium), ("high", Risk::High)];
const ASSURANCES: [(&str, Assurance); 3] = [
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
const MODES: [(&str, ActionMode); 2] =
    [("enforce", ActionMode::Enforce), ("shadow", ActionMode::Shadow)];
const TYPES: [(&str, Type); 6] = [
    ("text", Type::Text),
    ("integer", Type::Integer),
    ("decimal", Type::Decimal),
    ("money", Type::Money),
    ("boolean", Type::Boolean),
    ("set", Type::Set),
];
const RECORDINGS: [(&str, Recording); 3] =
    [("none", Recording::None), ("hash", Recording::Hash), ("value", Recording::Value)];
/// Seconds that a permit may last.
const DEFAULT_DURATION: u32 = 60;
/// Bytes of a body that is read.
const DEFAULT_BODY: u32 = 64 << 10;
/// Names that are listed in a remedy; of more, none.
const MAX_SUGGESTIONS: usize = 12;
