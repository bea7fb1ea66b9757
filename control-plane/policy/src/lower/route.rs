//! A route: what it matches, and what that is.

use gatepass_engine::bundle::{Action, Route, RouteTarget};

use super::calls::{calls, without_arguments};
use super::input::inputs;
use super::{Field, Place, field};
use crate::reader::{Fields, Reader, quoted};
use crate::tree::Tree;

pub(super) fn routes(
    reader: &mut Reader,
    tree: &Tree,
    actions: &[Action],
    place: &mut Place,
) -> Vec<Route> {
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

const ROUTE_FIELDS: [&str; 9] =
    ["match", "mcp", "rpc", "action", "public", "inputs", "max_duration", "upgrade", "max_body"];
/// Seconds that a permit may last.
const DEFAULT_DURATION: u32 = 60;
/// Bytes of a body that is read.
const DEFAULT_BODY: u32 = 64 << 10;
/// Names that are listed in a remedy; of more, none.
const MAX_SUGGESTIONS: usize = 12;
