//! What the engine's index refuses, told at its place in the text.
//!
//! The index names the first flaw and stops. To tell of all, a flawed part is taken out and the
//! index built again; the bundle itself is never changed for that.

use gatepass_engine::budget::claim_of;
use gatepass_engine::bundle::{Action, Bundle, Treatment};
use gatepass_engine::routes::{self, Flaw, Index};

use crate::MAX_PROBLEMS;
use crate::lower::{Place, Places, sound};
use crate::reader::{At, Reader};

pub(crate) fn find(reader: &mut Reader, mut bundle: Bundle, mut places: Places) {
    for _ in 0..MAX_PROBLEMS {
        let Err(flaw) = Index::build(bundle.clone()) else {
            return;
        };
        reader.tell_at(located(&flaw, &places), flaw.what, "");
        if !take_out(&mut bundle, &mut places, flaw.place) {
            return;
        }
    }
}

fn located(flaw: &Flaw, places: &Places) -> At {
    let place = match flaw.place {
        routes::Place::Bundle => None,
        routes::Place::Action(at) => places.actions.get(at),
        routes::Place::Host(at) => places.hosts.get(at),
        routes::Place::Budget(at) => places.budgets.get(at),
        routes::Place::Route { host, route } => child(places, host, route),
        routes::Place::Input { host, route, input } => {
            child(places, host, route).and_then(|route| route.children.get(input))
        }
    };
    place.map_or(At { file: places.whole, line: 1, column: 1 }, |place| pointed(place, &flaw.what))
}

fn child(places: &Places, host: usize, route: usize) -> Option<&Place> {
    places.hosts.get(host)?.children.get(route)
}

/// The field that a flaw is about, by the words that the engine uses; else the item itself. Of
/// two fields of one name, the one whose text is quoted.
fn pointed(place: &Place, what: &str) -> At {
    let quoted =
        |text: &str| what.contains(&format!("`{text}`")) || what.contains(&format!("`{{{text}}}`"));
    let spoken = WORDS.iter().filter(|(word, _)| what.contains(word));
    for (_, name) in spoken {
        let named = || place.fields.iter().filter(|field| field.name == *name);
        let exact = named().find(|field| field.text.as_deref().is_some_and(quoted));
        if let Some(field) = exact.or_else(|| named().next()) {
            return field.at;
        }
    }
    place.at
}

/// False when there is nothing that could be taken out.
fn take_out(bundle: &mut Bundle, places: &mut Places, place: routes::Place) -> bool {
    match place {
        routes::Place::Bundle => false,
        routes::Place::Action(at) => match bundle.actions.get_mut(at) {
            // It stays, sound: routes name actions by number.
            Some(action) => {
                // A name that nobody chooses, so that it is not there twice.
                // What it reads of a body stays too, so that its inputs are not told of.
                // And how often it is used, so that its budgets are not.
                *action =
                    Action { body: action.body, uses: action.uses, ..sound(&format!("-{at}-")) };
                for budget in &mut bundle.budgets {
                    budget.claim = claim_of(budget, &bundle.actions);
                }
                true
            }
            None => false,
        },
        routes::Place::Budget(at) => {
            remove(&mut bundle.budgets, at) && remove(&mut places.budgets, at)
        }
        routes::Place::Host(at) => remove(&mut bundle.hosts, at) && remove(&mut places.hosts, at),
        routes::Place::Route { host, route } => {
            let Some(place) = places.hosts.get_mut(host) else {
                return false;
            };
            routes_of(bundle, host).is_some_and(|routes| remove(routes, route))
                && remove(&mut place.children, route)
        }
        routes::Place::Input { host, route, input } => {
            let place = places.hosts.get_mut(host);
            let Some(place) = place.and_then(|host| host.children.get_mut(route)) else {
                return false;
            };
            let routes = routes_of(bundle, host);
            routes
                .and_then(|routes| routes.get_mut(route))
                .is_some_and(|route| remove(&mut route.inputs, input))
                && remove(&mut place.children, input)
        }
    }
}

fn routes_of(bundle: &mut Bundle, host: usize) -> Option<&mut Vec<gatepass_engine::bundle::Route>> {
    match &mut bundle.hosts.get_mut(host)?.treatment {
        Treatment::Guarded(routes) => Some(routes),
        Treatment::PassedThrough => None,
    }
}

fn remove<T>(list: &mut Vec<T>, at: usize) -> bool {
    let there = at < list.len();
    if there {
        list.remove(at);
    }
    there
}

/// Words of the engine's texts and the fields that they are about. A word that is no longer used
/// costs precision and nothing else.
const WORDS: [(&str, &str); 44] = [
    ("group", "groups"),
    ("a window", "window"),
    ("used once", "actions"),
    ("no input", "sum"),
    ("nothing bounds", "sum"),
    ("upgrade", "upgrade"),
    ("needs the method `POST`", "match"),
    ("JSON-RPC method", "mcp"),
    ("JSON-RPC method", "rpc"),
    ("route for a call", "mcp"),
    ("route for a call", "rpc"),
    ("a call is", "mcp"),
    ("a call is", "rpc"),
    ("have no name", "mcp"),
    ("have no name", "rpc"),
    ("a tool, a prompt", "mcp"),
    ("media type", "content_types"),
    ("content coding", "encodings"),
    ("`content_types`", "content_types"),
    ("`encodings`", "encodings"),
    ("body that is read must be", "max_body"),
    ("set of texts", "type"),
    ("input in the body", "body"),
    ("input in the body", "argument"),
    ("JSON pointer", "body"),
    ("JSON pointer", "argument"),
    ("form key", "body"),
    ("with inputs", "inputs"),
    ("no parameter", "path"),
    ("staleness", "staleness"),
    ("scope", "scopes"),
    ("approval", "body"),
    ("audience", "audience"),
    ("origin", "origin"),
    ("more than", "routes"),
    ("host", "names"),
    ("duration", "max_duration"),
    ("method", "match"),
    ("as specific as", "match"),
    ("segment", "match"),
    ("path `", "match"),
    ("currency", "currency"),
    ("query key", "query"),
    ("header", "header"),
];
