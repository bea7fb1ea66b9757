//! Where a recorded request would arrive. A record has the template of the route, never the path.

use gatepass_engine::bundle::{Action, Bundle, Host, Protocol, Route, Treatment};
use gatepass_policy::changes::may_be_one_path;

use super::action_of;
use crate::decisions::DecisionView;

pub(super) enum Place<'b> {
    /// It cannot be said: for want of this.
    Unknown(&'static str),
    /// There is no such host, or no route.
    Gone,
    /// Passed through, or public.
    Open,
    Action(Found<'b>),
}

/// A route to an action.
#[derive(Clone, Copy)]
pub(super) struct Found<'b> {
    pub(super) at: u32,
    pub(super) action: &'b Action,
    pub(super) host: &'b Host,
    pub(super) route: &'b Route,
}

/// `before` is the policy whose routes the recorded request did not take, but for its own.
pub(super) fn find<'b>(bundle: &'b Bundle, before: &Bundle, record: &DecisionView) -> Place<'b> {
    let Some(name) = record.host.as_deref() else { return Place::Unknown("host") };
    let Some(host) = host(bundle, name) else { return Place::Gone };
    let routes = match &host.treatment {
        Treatment::PassedThrough => return Place::Open,
        Treatment::Guarded(routes) => routes,
    };
    let Some(template) = record.route.as_deref() else { return Place::Unknown("path") };
    let Some(method) = record.method.as_deref() else { return Place::Unknown("method") };
    let mut exact: Vec<&Route> = Vec::new();
    let mut covering: Vec<&Route> = Vec::new();
    let mut is_unclear = false;
    for route in routes.iter().filter(|route| has(&route.methods, method)) {
        match fits(route, record) {
            Some(true) => {}
            Some(false) => continue,
            None => return Place::Unknown("tool"),
        }
        if route.path == template {
            exact.push(route);
        } else if covers(&route.path, template) {
            covering.push(route);
        } else if may_be_one_path(&route.path, template) {
            // Where it was there before, the request did not take it.
            is_unclear = is_unclear || !was_there(before, name, method, &route.path);
        }
    }
    if is_unclear {
        return Place::Unknown("path");
    }
    // One that names the tool goes before one for all.
    let names = |route: &&&Route| route.call.as_ref().is_some_and(|call| call.name.is_some());
    let found = exact.iter().find(names).or(exact.first());
    let route = match (found, covering.as_slice()) {
        (Some(route), _) => route,
        (None, []) => return Place::Gone,
        (None, [only]) => only,
        (None, _) => return Place::Unknown("path"),
    };
    let Some(at) = action_of(route.target) else { return Place::Open };
    let action = usize::try_from(at).ok().and_then(|at| bundle.actions.get(at));
    action.map_or(Place::Gone, |action| Place::Action(Found { at, action, host, route }))
}

fn host<'b>(bundle: &'b Bundle, name: &str) -> Option<&'b Host> {
    bundle.hosts.iter().find(|host| has(&host.names, name))
}

fn has(all: &[String], one: &str) -> bool {
    all.iter().any(|known| known == one)
}

fn was_there(before: &Bundle, name: &str, method: &str, path: &str) -> bool {
    let Some(host) = host(before, name) else { return false };
    match &host.treatment {
        Treatment::PassedThrough => false,
        Treatment::Guarded(routes) => {
            routes.iter().any(|route| route.path == path && has(&route.methods, method))
        }
    }
}

/// Whether each path of the second fits the first.
fn covers(wide: &str, narrow: &str) -> bool {
    wide.split('/').count() == narrow.split('/').count()
        && wide.split('/').zip(narrow.split('/')).all(|(a, b)| a == b || a.starts_with('{'))
}

/// Whether its message is one of this route's; `None` where the record does not say.
fn fits(route: &Route, record: &DecisionView) -> Option<bool> {
    let Some(call) = &route.call else { return Some(true) };
    let method = match call.protocol {
        Protocol::Mcp => record.mcp_method.as_deref()?,
        Protocol::JsonRpc => record.rpc_method.as_deref()?,
    };
    if method != call.method {
        return Some(false);
    }
    match &call.name {
        None => Some(true),
        Some(name) => record.mcp_tool.as_ref().map(|tool| tool == name),
    }
}
