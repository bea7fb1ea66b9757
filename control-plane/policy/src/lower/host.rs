//! A host: its names, and how its requests are treated.

use gatepass_engine::bundle::{Action, Host, Treatment};

use super::route::routes;
use super::{Place, field};
use crate::reader::{Fields, Reader};

pub(super) fn host(
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

pub(super) const HOST_FIELDS: [&str; 5] = ["names", "audience", "origin", "pass_through", "routes"];
