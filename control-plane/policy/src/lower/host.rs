//! Hosts: their names, how their requests are treated, and the routes that actions add to them.

use gatepass_engine::bundle::{Host, Treatment};

use super::action::Actions;
use super::defaults::Defaults;
use super::route::{ACTION_ROUTE_FIELDS, Known, MAX_SUGGESTIONS, of_action, of_host};
use super::{Place, field};
use crate::reader::{Fields, Reader, quoted};
use crate::tree::{Node, Tree};

/// The hosts that can be read, index by index.
#[derive(Default)]
pub(super) struct Hosts {
    pub(super) list: Vec<Host>,
    pub(super) places: Vec<Place>,
    /// Indexes of those that say nothing of routes, and wait for those of actions.
    bare: Vec<usize>,
    /// Some could not be read, so a name that is not found may be theirs.
    is_partial: bool,
}

impl Hosts {
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        tree: &Tree,
        actions: &Actions<'_>,
        defaults: &Defaults,
    ) {
        for tree in reader.list(tree, "hosts") {
            let Some(fields) = reader.fields(tree, "a host", &HOST_FIELDS) else {
                self.is_partial = true;
                continue;
            };
            let mut place = Place::new(tree.referenced, &fields);
            let is_bare = fields.find("routes").is_none();
            match host(reader, &fields, Known { actions, defaults }, &mut place) {
                Some(host) => {
                    if is_bare && matches!(host.treatment, Treatment::Guarded(_)) {
                        self.bare.push(self.list.len());
                    }
                    self.list.push(host);
                    self.places.push(place);
                }
                None => self.is_partial = true,
            }
        }
    }

    /// Adds the routes that actions list.
    pub(super) fn take_routes(
        &mut self,
        reader: &mut Reader,
        actions: &Actions<'_>,
        defaults: &Defaults,
    ) {
        for (file, action, tree) in &actions.routes {
            reader.enter(*file);
            for tree in reader.list(tree, "routes") {
                let fields = reader.fields(tree, "a route of an action", &ACTION_ROUTE_FIELDS);
                let Some(fields) = fields else { continue };
                let found = self.find(reader, &fields);
                let routes = of_action(reader, &fields, *action, Known { actions, defaults });
                let Some(found) = found else { continue };
                self.bare.retain(|bare| *bare != found);
                let (Some(host), Some(place)) =
                    (self.list.get_mut(found), self.places.get_mut(found))
                else {
                    continue;
                };
                let Treatment::Guarded(list) = &mut host.treatment else { continue };
                for (route, at) in routes {
                    list.push(route);
                    place.children.push(at);
                }
            }
        }
    }

    /// Tells of those that no action has a route at either.
    pub(super) fn without_routes(&self, reader: &mut Reader) {
        if reader.is_partial {
            return;
        }
        for place in self.bare.iter().filter_map(|bare| self.places.get(*bare)) {
            reader.tell_at(
                place.at,
                "a host needs `routes`",
                "list them, or write `pass_through: true` to leave the host unguarded",
            );
        }
    }

    /// The guarded host that a route of an action is at.
    fn find(&self, reader: &mut Reader, fields: &Fields<'_>) -> Option<usize> {
        let guarded: Vec<(usize, &Host)> = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, host)| matches!(host.treatment, Treatment::Guarded(_)))
            .collect();
        let names: Vec<&str> =
            guarded.iter().flat_map(|(_, host)| &host.names).map(String::as_str).collect();
        let remedy = match names.get(..MAX_SUGGESTIONS) {
            Some(_) => "name one of `hosts`".to_owned(),
            None => format!("the guarded `hosts` are {}", quoted(&names)),
        };
        let may_be_there = self.is_partial || reader.is_partial;
        let Some(tree) = fields.find("host") else {
            return match guarded.as_slice() {
                [(only, _)] => Some(*only),
                _ if may_be_there => None,
                _ => {
                    reader.tell(fields.at(), "a route of an action needs `host`", remedy);
                    None
                }
            };
        };
        let name = reader.text(tree, "the name of a host")?;
        let has_name = |host: &Host| host.names.iter().any(|known| known == name);
        let found = guarded.iter().find(|(_, host)| has_name(host)).map(|(at, _)| *at);
        if found.is_none() && self.list.iter().any(has_name) {
            let message = format!("host `{name}` is passed through and has no routes");
            reader.tell(tree.referenced, message, "take `pass_through` off it to guard it");
        } else if found.is_none() && !may_be_there {
            reader.tell(tree.referenced, format!("no host `{name}`"), remedy);
        }
        found
    }
}

fn host(
    reader: &mut Reader,
    fields: &Fields<'_>,
    known: Known<'_>,
    place: &mut Place,
) -> Option<Host> {
    let names =
        reader.needed(fields, "names", "a host", "write `names: [orders.example]`").map(|tree| {
            // What is no name is told of where it is read; without one the host would be left out unseen.
            if matches!(&tree.value, Node::List(items) if items.is_empty()) {
                reader.tell(
                    tree.referenced,
                    "a host needs a name",
                    "write `names: [orders.example]`",
                );
            }
            reader.texts(tree, "host names")
        });
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
        (false, Some(tree)) => {
            let (routes, places) = of_host(reader, tree, known).into_iter().unzip();
            place.children = places;
            Treatment::Guarded(routes)
        }
        (false, None) => Treatment::Guarded(Vec::new()),
    };
    Some(Host {
        names: names.filter(|names| !names.is_empty())?,
        audience: audience?.to_owned(),
        origin: origin.map(str::to_owned),
        treatment,
    })
}

const HOST_FIELDS: [&str; 5] = ["names", "audience", "origin", "pass_through", "routes"];
