//! The routes of a host, beside those that it had.

use std::collections::BTreeMap;

use gatepass_engine::bundle::{Bundle, Call, Protocol, Route, RouteTarget};

use super::{Bearing, Changes, arrow};

/// Path, calls and method: which requests it is for.
type Key<'r> = (&'r str, Option<(bool, &'r str, Option<&'r str>)>, &'r str);
type Side<'a> = (&'a Bundle, &'a [Route]);

/// Methods of one route that have another in common are told of together.
pub(super) fn compare(before: Side<'_>, after: Side<'_>, host: &str, all: &mut Changes) {
    let (old, new) = (keys(before.1), keys(after.1));
    let mut pairs: BTreeMap<(Option<usize>, Option<usize>), Vec<&str>> = BTreeMap::new();
    let every = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
    for key in every {
        pairs.entry((old.get(key).copied(), new.get(key).copied())).or_default().push(key.2);
    }
    let find = |routes: &'_ [Route], at: Option<usize>| at.and_then(|at| routes.get(at).cloned());
    for ((was, is), methods) in pairs {
        let (was, is) = (find(before.1, was), find(after.1, is));
        let Some(route) = is.as_ref().or(was.as_ref()) else { continue };
        let name = format!("route {} {}{} on {host}", methods.join(","), route.path, call(route));
        all.of(&name);
        match (&was, &is) {
            (Some(was), Some(is)) => both((before.0, was), (after.0, is), all),
            // A request of one route may now be one of another.
            (Some(was), None) => {
                let alone = !is_beside(was, &methods, after.1);
                let what = format!("removed: {}", target(before.0, was));
                all.add(Bearing::Narrower.only_if(alone), what);
            }
            (None, Some(is)) => {
                let alone = !is_beside(is, &methods, before.1);
                all.add(Bearing::Wider.only_if(alone), format!("added: {}", target(after.0, is)));
            }
            (None, None) => {}
        }
    }
}

fn both((old, was): (&Bundle, &Route), (new, is): (&Bundle, &Route), all: &mut Changes) {
    let (before, after) = (target(old, was), target(new, is));
    if before != after {
        let bearing = match (was.target, is.target) {
            (RouteTarget::Action(_), RouteTarget::Public) => Bearing::Wider,
            (RouteTarget::Public, RouteTarget::Action(_)) => Bearing::Narrower,
            (RouteTarget::Public, RouteTarget::Public)
            | (RouteTarget::Action(_), RouteTarget::Action(_)) => Bearing::Changed,
        };
        all.add(bearing, arrow(before, after));
    }
    all.limit("max_duration", was.max_duration, is.max_duration, "s");
    all.limit("max_body", was.max_body, is.max_body, " bytes");
    if was.upgrade != is.upgrade {
        let text = |route: &Route| route.upgrade.clone().unwrap_or_else(|| "none".to_owned());
        all.add(Bearing::Changed, format!("upgrade {}", arrow(text(was), text(is))));
    }
    for input in &was.inputs {
        match is.inputs.iter().find(|now| now.name == input.name) {
            Some(now) if now == input => {}
            Some(now) => {
                let parts: Vec<&str> = [
                    (now.kind != input.kind, "type"),
                    (now.source != input.source, "place"),
                    (now.record != input.record, "record"),
                ]
                .into_iter()
                .filter_map(|(differs, what)| differs.then_some(what))
                .collect();
                let what = format!("input `{}` has another {}", input.name, parts.join(", "));
                all.add(Bearing::Changed, what);
            }
            None => all.add(Bearing::Changed, format!("input `{}` removed", input.name)),
        }
    }
    let had = |name: &str| was.inputs.iter().any(|input| input.name == name);
    for input in is.inputs.iter().filter(|input| !had(&input.name)) {
        all.add(Bearing::Changed, format!("input `{}` added", input.name));
    }
}

fn keys(routes: &[Route]) -> BTreeMap<Key<'_>, usize> {
    let mut keys = BTreeMap::new();
    for (at, route) in routes.iter().enumerate() {
        let call = route.call.as_ref().map(|call| {
            (call.protocol == Protocol::Mcp, call.method.as_str(), call.name.as_deref())
        });
        for method in &route.methods {
            keys.insert((route.path.as_str(), call, method.as_str()), at);
        }
    }
    keys
}

/// Whether a request of this route can be one of another of these.
fn is_beside(route: &Route, methods: &[&str], others: &[Route]) -> bool {
    others.iter().any(|other| {
        other.methods.iter().any(|method| methods.contains(&method.as_str()))
            && may_be_one_path(&route.path, &other.path)
            && may_be_one_call(route.call.as_ref(), other.call.as_ref())
    })
}

fn may_be_one_call(one: Option<&Call>, other: Option<&Call>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    one.method == other.method
        && (one.name.is_none() || other.name.is_none() || one.name == other.name)
}

/// Whether some path fits both templates.
#[must_use]
pub fn may_be_one_path(one: &str, other: &str) -> bool {
    let is_parameter = |segment: &str| segment.starts_with('{');
    one.split('/').count() == other.split('/').count()
        && one
            .split('/')
            .zip(other.split('/'))
            .all(|(a, b)| a == b || is_parameter(a) || is_parameter(b))
}

fn target(bundle: &Bundle, route: &Route) -> String {
    match route.target {
        RouteTarget::Public => "public".to_owned(),
        RouteTarget::Action(at) => {
            let action = usize::try_from(at).ok().and_then(|at| bundle.actions.get(at));
            format!("`{}`", action.map_or("", |action| action.name.as_str()))
        }
    }
}

fn call(route: &Route) -> String {
    let text = |call: &Call| format!(" {} {}", call.method, call.name.as_deref().unwrap_or("*"));
    route.call.as_ref().map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tools_are_never_one_request_and_any_tool_is_each() {
        let call = |method: &str, name: Option<&str>| Call {
            protocol: Protocol::Mcp,
            method: method.to_owned(),
            name: name.map(str::to_owned),
        };
        let one = call("tools/call", Some("a"));
        for (other, expected) in [
            (Some(call("tools/call", Some("a"))), true),
            (Some(call("tools/call", Some("b"))), false),
            (Some(call("tools/call", None)), true),
            (Some(call("prompts/get", Some("a"))), false),
            (None, true),
        ] {
            assert_eq!(may_be_one_call(Some(&one), other.as_ref()), expected, "{other:?}");
            assert_eq!(may_be_one_call(other.as_ref(), Some(&one)), expected, "{other:?}");
        }
    }

    #[test]
    fn a_parameter_is_each_segment() {
        for (one, other, expected) in [
            ("/o/{id}", "/o/special", true),
            ("/o/{id}", "/o/{key}", true),
            ("/o/a", "/o/b", false),
            ("/o/{id}", "/o", false),
        ] {
            assert_eq!(may_be_one_path(one, other), expected, "{one} {other}");
        }
    }
}
