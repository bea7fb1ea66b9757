//! What an action asks for, beside what it asked for.

use gatepass_engine::bundle::{Action, ActionMode, Audit, Binding, Uses};

use super::{Bearing, Changes, arrow, beyond, word};

pub(super) fn compare(before: &Action, after: &Action, is_ruled: bool, all: &mut Changes) {
    if before.risk != after.risk {
        let bearing = Bearing::stricter(&before.risk, &after.risk).only_if(!is_ruled);
        all.add(bearing, format!("risk {}", arrow(word(&before.risk), word(&after.risk))));
    }
    scopes(before, after, all);
    all.stricter("assurance", &before.assurance, &after.assurance);
    strict("binding", &before.binding, &after.binding, &Binding::None, all);
    strict("uses", &before.uses, &after.uses, &Uses::Unlimited, all);
    if before.max_age != after.max_age {
        // None is the longest.
        let seconds = |age: Option<u32>| age.unwrap_or(u32::MAX);
        let text = |age: Option<u32>| age.map_or_else(|| "any".to_owned(), |age| format!("{age}s"));
        let (old, new) = (seconds(before.max_age), seconds(after.max_age));
        let bearing = Bearing::stricter(&old, &new).reversed();
        all.add(bearing, format!("max_age {}", arrow(text(before.max_age), text(after.max_age))));
    }
    all.limit("staleness", before.staleness, after.staleness, "s");
    if before.body == after.body {
        // None stated are those that the rule of the body has by itself.
        let stated = !before.content_types.is_empty() && !after.content_types.is_empty();
        all.choices("content types", &before.content_types, &after.content_types, stated);
        all.choices("encodings", &before.encodings, &after.encodings, true);
    } else {
        all.add(Bearing::Changed, format!("body {}", arrow(word(&before.body), word(&after.body))));
    }
    all.stricter("approval", &before.approval, &after.approval);
    strict("audit", &before.audit, &after.audit, &Audit::Batched, all);
    for (what, groups) in [
        ("added", beyond(&before.groups, &after.groups)),
        ("removed", beyond(&after.groups, &before.groups)),
    ] {
        if !groups.is_empty() {
            // What rules make of it is theirs.
            all.add(Bearing::Changed, format!("groups {what}: {}", groups.join(", ")));
        }
    }
    if before.mode != after.mode {
        let bearing = match after.mode {
            ActionMode::Shadow => Bearing::Wider,
            ActionMode::Enforce => Bearing::Narrower,
        };
        all.add(bearing, format!("mode {}", arrow(word(&before.mode), word(&after.mode))));
    }
}

/// One that asks for nothing in one of its values; of the others none is known to be stricter.
fn strict<T: PartialEq + serde::Serialize>(
    name: &str,
    before: &T,
    after: &T,
    nothing: &T,
    all: &mut Changes,
) {
    if before == after {
        return;
    }
    let bearing = match (before == nothing, after == nothing) {
        (true, false) => Bearing::Narrower,
        (false, true) => Bearing::Wider,
        (true, true) | (false, false) => Bearing::Changed,
    };
    all.add(bearing, format!("{name} {}", arrow(word(before), word(after))));
}

fn scopes(before: &Action, after: &Action, all: &mut Changes) {
    let (old, new) = (&before.scopes_all, &after.scopes_all);
    for (bearing, what, scopes) in [
        (Bearing::Narrower, "added", beyond(old, new)),
        (Bearing::Wider, "removed", beyond(new, old)),
    ] {
        if !scopes.is_empty() {
            all.add(bearing, format!("scopes {what}: {}", scopes.join(", ")));
        }
    }
    let (old, new) = (&before.scopes_any, &after.scopes_any);
    match (old.is_empty(), new.is_empty()) {
        (true, true) => {}
        (true, false) => {
            all.add(Bearing::Narrower, format!("one of these scopes: {}", new.join(", ")));
        }
        (false, true) => {
            all.add(Bearing::Wider, format!("no longer one of these scopes: {}", old.join(", ")));
        }
        (false, false) => all.choices("one of several scopes:", old, new, true),
    }
}
