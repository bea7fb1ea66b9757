//! Hosts, whether they are guarded, and what belongs to them.

use std::collections::BTreeMap;

use gatepass_engine::bundle::{Bundle, Host, Treatment};

use super::{Bearing, Changes, arrow, route};

/// Hosts are told apart by their names; those that stand together in both are told of together.
pub(super) fn compare(before: &Bundle, after: &Bundle, all: &mut Changes) {
    let mut pairs: BTreeMap<(Option<usize>, Option<usize>), Vec<&str>> = BTreeMap::new();
    let at = |bundle: &Bundle, name: &str| {
        bundle.hosts.iter().position(|host| host.names.iter().any(|known| known == name))
    };
    let names = |bundle| -> Vec<&str> {
        let bundle: &Bundle = bundle;
        bundle.hosts.iter().flat_map(|host| &host.names).map(String::as_str).collect()
    };
    let mut every = [names(before), names(after)].concat();
    every.sort_unstable();
    every.dedup();
    for name in every {
        pairs.entry((at(before, name), at(after, name))).or_default().push(name);
    }
    let find = |bundle, at: Option<usize>| {
        let bundle: &Bundle = bundle;
        at.and_then(|at| bundle.hosts.get(at).cloned())
    };
    for ((old, new), names) in pairs {
        let names = names.join(", ");
        all.of(&format!("host {names}"));
        match (find(before, old), find(after, new)) {
            (Some(old), Some(new)) => both((before, &old), (after, &new), &names, all),
            (Some(_), None) => all.add(Bearing::Narrower, "removed"),
            (None, Some(host)) => added(&host, all),
            (None, None) => {}
        }
    }
}

fn added(host: &Host, all: &mut Changes) {
    match &host.treatment {
        Treatment::PassedThrough => all.add(Bearing::Wider, "added, passed through"),
        Treatment::Guarded(routes) => {
            let plural = if routes.len() == 1 { "" } else { "s" };
            all.add(Bearing::Wider, format!("added, with {} route{plural}", routes.len()));
        }
    }
}

fn both(
    (old_bundle, old): (&Bundle, &Host),
    (new_bundle, new): (&Bundle, &Host),
    names: &str,
    all: &mut Changes,
) {
    if old.audience != new.audience {
        all.add(Bearing::Changed, format!("audience {}", arrow(&old.audience, &new.audience)));
    }
    if old.origin != new.origin {
        let text = |host: &Host| host.origin.clone().unwrap_or_else(|| "none".to_owned());
        all.add(Bearing::Changed, format!("origin {}", arrow(text(old), text(new))));
    }
    match (&old.treatment, &new.treatment) {
        (Treatment::PassedThrough, Treatment::PassedThrough) => {}
        (Treatment::Guarded(_), Treatment::PassedThrough) => {
            all.add(Bearing::Wider, "passed through, no longer guarded");
        }
        (Treatment::PassedThrough, Treatment::Guarded(_)) => {
            all.add(Bearing::Narrower, "guarded, no longer passed through");
        }
        (Treatment::Guarded(old), Treatment::Guarded(new)) => {
            route::compare((old_bundle, old), (new_bundle, new), names, all);
        }
    }
}
