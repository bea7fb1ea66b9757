//! A route: what it matches, and what that is.

use gatepass_engine::bundle::{Action, Input, Route, RouteTarget};

use super::action::Actions;
use super::calls::{calls, without_arguments};
use super::defaults::Defaults;
use super::input::inputs;
use super::{Place, field};
use crate::reader::{Fields, Reader, quoted};
use crate::tree::Tree;

/// What routes refer to.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) actions: &'a Actions<'a>,
    pub(super) defaults: &'a Defaults,
}

/// The routes that a host lists, each with its place.
pub(super) fn of_host(reader: &mut Reader, tree: &Tree, known: Known<'_>) -> Vec<(Route, Place)> {
    let mut routes = Vec::new();
    for tree in reader.list(tree, "routes") {
        let Some(fields) = reader.fields(tree, "a route", &ROUTE_FIELDS) else {
            continue;
        };
        let place = Place::new(tree.referenced, &fields);
        routes
            .extend(route(reader, &fields, place, known, |reader| target(reader, &fields, known)));
    }
    routes
}

/// One that an action lists.
pub(super) fn of_action(
    reader: &mut Reader,
    fields: &Fields<'_>,
    action: u32,
    known: Known<'_>,
) -> Vec<(Route, Place)> {
    let place = Place::new(fields.at(), fields);
    route(reader, fields, place, known, |_| Some(RouteTarget::Action(action)))
}

/// One for each call that it names.
fn route(
    reader: &mut Reader,
    fields: &Fields<'_>,
    mut place: Place,
    known: Known<'_>,
    target: impl FnOnce(&mut Reader) -> Option<RouteTarget>,
) -> Vec<(Route, Place)> {
    let matched = reader
        .needed(fields, "match", "a route", "write `match: GET /orders/{id}`")
        .and_then(|tree| request_line(reader, tree));
    let target = target(reader);
    let id = match target {
        Some(RouteTarget::Action(id)) => Some(id),
        Some(RouteTarget::Public) | None => None,
    };
    let action = id.and_then(|id| known.actions.action(id));
    let mut inputs = match fields.find("inputs") {
        Some(tree) => inputs(reader, tree, action),
        None => Vec::new(),
    };
    add_missing(&mut inputs, id.map_or(&[], |id| known.actions.inputs_of(id)));
    let upgrade = field(fields, "upgrade", |tree| reader.text(tree, "an upgrade's name"));
    let Some(calls) = calls(reader, fields) else { return Vec::new() };
    if fields.find("mcp").is_none() {
        without_arguments(reader, &mut inputs);
    }
    let max_body = max_body(reader, fields, action);
    let max_duration = field(fields, "max_duration", |tree| reader.duration(tree));
    let (default, stated) = known.defaults.max_duration();
    place.takes(stated);
    let (Some((methods, path)), Some(target)) = (matched, target) else {
        return Vec::new();
    };
    let (inputs, places) = inputs.into_iter().unzip();
    place.children = places;
    let route = Route {
        methods,
        path,
        target,
        inputs,
        call: None,
        max_body,
        max_duration: max_duration.unwrap_or(default),
        upgrade: upgrade.map(str::to_owned),
    };
    match calls.is_empty() {
        true => vec![(route, place)],
        false => {
            let of = |call| (Route { call: Some(call), ..route.clone() }, place.clone());
            calls.into_iter().map(of).collect()
        }
    }
}

/// The action's, but for those that the route has itself.
fn add_missing(inputs: &mut Vec<(Input, Place)>, of_action: &[(Input, Place)]) {
    for (input, place) in of_action {
        if inputs.iter().all(|(own, _)| own.name != input.name) {
            inputs.push((input.clone(), place.clone()));
        }
    }
}

fn max_body(reader: &mut Reader, fields: &Fields<'_>, action: Option<&Action>) -> u32 {
    let stated = field(fields, "max_body", |tree| {
        if !action.is_none_or(|action| action.body.is_read()) {
            reader.tell(
                tree.referenced,
                "`max_body` of a body that is not read",
                "leave it out, or write `body: json`, `form` or `digest` at the action",
            );
        }
        reader.size(tree)
    });
    stated.unwrap_or(DEFAULT_BODY)
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

fn target(reader: &mut Reader, fields: &Fields<'_>, known: Known<'_>) -> Option<RouteTarget> {
    let public = field(fields, "public", |tree| reader.boolean(tree)).unwrap_or(false);
    match (public, fields.find("action")) {
        (true, None) => Some(RouteTarget::Public),
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
            let found = known.actions.find(name);
            if found.is_none() && !reader.is_partial {
                let names = known.actions.list.iter().map(|action| action.name.as_str());
                let names: Vec<&str> = names.collect();
                let remedy = match names.get(..MAX_SUGGESTIONS) {
                    Some(_) => "define it under `actions`".to_owned(),
                    None => format!("`actions` defines {}", quoted(&names)),
                };
                reader.tell(tree.referenced, format!("no action `{name}`"), remedy);
            }
            found.map(RouteTarget::Action)
        }
    }
}

pub(super) const ACTION_ROUTE_FIELDS: [&str; 8] =
    ["match", "host", "mcp", "rpc", "inputs", "max_duration", "upgrade", "max_body"];
const ROUTE_FIELDS: [&str; 9] =
    ["match", "mcp", "rpc", "action", "public", "inputs", "max_duration", "upgrade", "max_body"];
/// Bytes of a body that is read.
const DEFAULT_BODY: u32 = 64 << 10;
/// Names that are listed in a remedy; of more, none.
pub(super) const MAX_SUGGESTIONS: usize = 12;
