//! What a bundle must be before it is indexed: every name, bound and route of it.

use super::budgets::check_budgets;
use super::{Flaw, MAX_ACTION_NAME_BYTES, MAX_ACTIONS, Place, Template, flaw};
use crate::body::FORM;
use crate::bundle::{
    ANSWERS, Action, ActionMode, BodyRule, Bundle, Call, Currency, Host, Input, InputKind,
    Protocol, Route, RouteTarget, Source, Treatment,
};
use crate::document::is_pointer;
use crate::ids::{Uri, is_token};
use crate::inputs::{currency, same_key, sources};
use crate::rpc::{self, MAX_NAME_BYTES, has_name};
use crate::target::{MAX_SEGMENTS, is_host};

pub(super) fn check_bundle(bundle: &Bundle) -> Result<(), Flaw> {
    if bundle.actions.len() > MAX_ACTIONS {
        return Err(flaw(Place::Bundle, format!("more than {MAX_ACTIONS} actions")));
    }
    if bundle.hosts.len() > MAX_HOSTS {
        return Err(flaw(Place::Bundle, format!("more than {MAX_HOSTS} hosts")));
    }
    let mut names = std::collections::HashSet::new();
    for (at, action) in bundle.actions.iter().enumerate() {
        check_action(action).map_err(|what| flaw(Place::Action(at), what))?;
        if !names.insert(action.name.as_str()) {
            return Err(flaw(Place::Action(at), format!("action `{}` occurs twice", action.name)));
        }
    }
    for (at, host) in bundle.hosts.iter().enumerate() {
        check_host(host).map_err(|what| flaw(Place::Host(at), what))?;
    }
    check_budgets(bundle)
}

fn check_action(action: &Action) -> Result<(), String> {
    if !is_action_name(&action.name) {
        return Err(format!(
            "action name `{}` must match [a-z0-9_-]+(:[a-z0-9_-]+)* and have at most {MAX_ACTION_NAME_BYTES} bytes",
            action.name
        ));
    }
    let longest = action.risk.longest_lifetime();
    if action.staleness < MIN_STALENESS || action.staleness > longest {
        return Err(format!(
            "a staleness bound of {} s must be {MIN_STALENESS} to {longest} s at this risk",
            action.staleness
        ));
    }
    if action.scopes_all.len().saturating_add(action.scopes_any.len()) > MAX_SCOPES {
        return Err(format!("more than {MAX_SCOPES} scopes"));
    }
    if let Some(scope) =
        action.scopes_all.iter().chain(&action.scopes_any).find(|scope| !is_token(scope))
    {
        return Err(format!("scope `{scope}` must be 1 to 128 visible ASCII characters"));
    }
    if action.content_types.len() > MAX_MEDIA_TYPES {
        return Err(format!("more than {MAX_MEDIA_TYPES} media types"));
    }
    if action.encodings.len() > MAX_MEDIA_TYPES {
        return Err(format!("more than {MAX_MEDIA_TYPES} content codings"));
    }
    if let Some(text) = action.content_types.iter().find(|text| !is_media_type(text)) {
        return Err(format!(
            "media type `{text}` must be `type/subtype` in lower case, without parameters"
        ));
    }
    if let Some(text) = action.encodings.iter().find(|text| !is_word(text)) {
        return Err(format!("content coding `{text}` must be one word in lower case"));
    }
    if let Some(text) = action.content_types.iter().find(|text| !can_be_read(action.body, text)) {
        return Err(format!("an upstream does not read media type `{text}` as this action does"));
    }
    if !action.content_types.is_empty() && !action.body.is_read() {
        return Err("`content_types` are for a body that is read".to_owned());
    }
    if !action.encodings.is_empty() && action.body != BodyRule::Digest {
        return Err("`encodings` are for `body: digest`: the gate does not decode".to_owned());
    }
    if action.approval && action.body == BodyRule::Unread {
        return Err("an action that asks for approval must not have `body: unread`: what is unread is not approved".to_owned());
    }
    if action.groups.len() > MAX_GROUPS {
        return Err(format!("more than {MAX_GROUPS} groups"));
    }
    for (nth, group) in action.groups.iter().enumerate() {
        if !is_action_name(group) {
            return Err(format!("group `{group}` must be named as actions are"));
        }
        if action.groups.iter().take(nth).any(|earlier| earlier == group) {
            return Err(format!("group `{group}` is there twice"));
        }
    }
    match action.mode {
        ActionMode::Enforce | ActionMode::Shadow => Ok(()),
    }
}

fn check_host(host: &Host) -> Result<(), String> {
    if host.names.is_empty() {
        return Err("a host needs a name".to_owned());
    }
    if let Some(name) = host.names.iter().find(|name| !is_host(name)) {
        return Err(format!(
            "host name `{name}` must be a lower-case name without port or trailing dot"
        ));
    }
    if Uri::parse(&host.audience).is_none() {
        return Err(format!("audience `{}` must be an absolute URI", host.audience));
    }
    if host.origin.as_deref().is_some_and(|origin| Uri::parse(origin).is_none()) {
        return Err("the public origin must be an absolute URI".to_owned());
    }
    match &host.treatment {
        Treatment::Guarded(routes) if routes.len() > MAX_ROUTES => {
            Err(format!("more than {MAX_ROUTES} routes"))
        }
        Treatment::Guarded(_) | Treatment::PassedThrough => Ok(()),
    }
}

pub(super) fn check_route(
    bundle: &Bundle,
    host: usize,
    at: usize,
    route: &Route,
    template: &Template,
) -> Result<(), Flaw> {
    let here = |what: String| flaw(Place::Route { host, route: at }, what);
    let action = match route.target {
        RouteTarget::Public => None,
        RouteTarget::Action(id) => {
            let action = usize::try_from(id).ok().and_then(|id| bundle.actions.get(id));
            Some(action.ok_or_else(|| here(format!("names action {id}, which does not exist")))?)
        }
    };
    if route.methods.is_empty() {
        return Err(here("a route needs a method".to_owned()));
    }
    for (nth, method) in route.methods.iter().enumerate() {
        if !is_method(method) {
            return Err(here(format!(
                "method `{method}` must be upper-case letters and not `CONNECT`"
            )));
        }
        if route.methods.iter().take(nth).any(|earlier| earlier == method) {
            return Err(here(format!("method `{method}` occurs twice")));
        }
    }
    if template.segments.len() > MAX_SEGMENTS {
        return Err(here(format!("more than {MAX_SEGMENTS} segments")));
    }
    if let Some(call) = &route.call {
        check_call(call, route, action).map_err(here)?;
    }
    if route.max_body == 0 || route.max_body > MAX_BODY {
        return Err(here(format!("a body that is read must be 1 to {MAX_BODY} bytes")));
    }
    if let Some(upgrade) = &route.upgrade {
        if !UPGRADES.contains(&upgrade.as_str()) {
            return Err(here(format!("upgrade `{upgrade}` must be one of {UPGRADES:?}")));
        }
        if action.is_none_or(|action| action.body != BodyRule::Unread) {
            return Err(here("a route with `upgrade` needs an action with `body: unread`: what passes after it is not read".to_owned()));
        }
    }
    if route.max_duration == 0 || route.max_duration > MAX_DURATION {
        return Err(here(format!("a maximum duration must be 1 to {MAX_DURATION} s")));
    }
    if !route.inputs.is_empty() && action.is_none_or(|action| action.body == BodyRule::Unread) {
        return Err(here("a route with inputs needs an action whose body is not `unread`: what is unread could contradict them".to_owned()));
    }
    if route.inputs.len() > MAX_INPUTS {
        return Err(here(format!("more than {MAX_INPUTS} inputs")));
    }
    for (nth, input) in route.inputs.iter().enumerate() {
        let place = Place::Input { host, route: at, input: nth };
        if !is_name(&input.name)
            || route.inputs.iter().take(nth).any(|earlier| earlier.name == input.name)
        {
            return Err(flaw(
                place,
                format!("input `{}` needs a name of its own in [a-z0-9_-]", input.name),
            ));
        }
        let body = action.map_or(BodyRule::None, |action| action.body);
        check_source(&input.source, template, body).map_err(|what| flaw(place, what))?;
        let alike = query_keys(input).find(|key| {
            let mut others = route.inputs.iter().flat_map(query_keys);
            others.any(|other| other != *key && same_key(other, key))
        });
        if let Some(key) = alike {
            return Err(flaw(
                place,
                format!("query key `{key}` reads like another input's to some servers"),
            ));
        }
        match &input.kind {
            InputKind::Money(Currency::From(source)) => {
                check_source(source, template, body).map_err(|what| flaw(place, what))?
            }
            InputKind::Money(Currency::Fixed(code)) if currency(code).is_none() => {
                return Err(flaw(
                    place,
                    format!("currency `{code}` must be three upper-case letters"),
                ));
            }
            InputKind::TextSet
                if !(body == BodyRule::Json && matches!(input.source, Source::Body(_))) =>
            {
                return Err(flaw(place, "a set of texts stands in a body of JSON"));
            }
            InputKind::Money(Currency::Fixed(_))
            | InputKind::Text
            | InputKind::Integer
            | InputKind::Decimal
            | InputKind::Boolean
            | InputKind::TextSet => {}
        }
    }
    Ok(())
}

/// The query keys that feed an input.
fn query_keys(input: &Input) -> impl Iterator<Item = &str> {
    sources(input).filter_map(|source| match source {
        Source::Query(key) => Some(key.as_str()),
        Source::Path(_) | Source::Header(_) | Source::Body(_) => None,
    })
}

fn check_call(call: &Call, route: &Route, action: Option<&Action>) -> Result<(), String> {
    if action.is_none_or(|action| action.body != BodyRule::Json) {
        return Err("a route for a call needs an action with `body: json`".to_owned());
    }
    if action.is_some_and(|action| !action.content_types.is_empty()) {
        return Err("a call is `application/json`: its action needs no `content_types`".to_owned());
    }
    if route.methods != ["POST"] {
        return Err("a route for a call needs the method `POST`".to_owned());
    }
    if call.method != ANSWERS && !rpc::is_method(&call.method) {
        return Err(format!("`{}` is no name of a JSON-RPC method", call.method));
    }
    let Some(name) = &call.name else { return Ok(()) };
    if call.protocol != Protocol::Mcp || !has_name(&call.method) {
        return Err(format!("calls of `{}` have no name", call.method));
    }
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(format!("`{name}` is no name of a tool, a prompt or a resource"));
    }
    Ok(())
}

fn check_source(source: &Source, template: &Template, body: BodyRule) -> Result<(), String> {
    match source {
        Source::Path(name) if !template.has(name) => {
            Err(format!("the path has no parameter `{{{name}}}`"))
        }
        Source::Query(key) if !is_key(key) => {
            Err(format!("query key `{key}` must match [A-Za-z0-9_.-]+"))
        }
        Source::Header(name) if !is_header(name) => Err(format!(
            "header `{name}` must match [a-z0-9-]+ and not be one that the gate or a proxy sets"
        )),
        Source::Body(place) => match body {
            BodyRule::Json if is_pointer(place) => Ok(()),
            BodyRule::Json => Err(format!(
                "`{place}` must be a JSON pointer such as /order/amount, in visible ASCII"
            )),
            BodyRule::Form if is_key(place) => Ok(()),
            BodyRule::Form => Err(format!("form key `{place}` must match [A-Za-z0-9_.-]+")),
            BodyRule::None | BodyRule::Unread | BodyRule::Digest => {
                Err("an input in the body needs an action with `body: json` or `body: form`"
                    .to_owned())
            }
        },
        Source::Path(_) | Source::Query(_) | Source::Header(_) => Ok(()),
    }
}

/// Whether `name` matches `[a-z0-9_-]+(:[a-z0-9_-]+)*`, at most 64 bytes.
#[must_use]
pub fn is_action_name(name: &str) -> bool {
    name.len() <= MAX_ACTION_NAME_BYTES && name.split(':').all(is_name)
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_ACTION_NAME_BYTES
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= MAX_ACTION_NAME_BYTES
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_header(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_ACTION_NAME_BYTES
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !name.starts_with("x-gatepass-")
        && !matches!(
            name,
            "authorization" | "dpop" | "host" | "cookie" | "connection" | "txn-token"
        )
}

fn is_method(method: &str) -> bool {
    !method.is_empty()
        && method.len() <= 32
        && method != "CONNECT"
        && method.bytes().all(|b| b.is_ascii_uppercase())
}

fn is_media_type(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, subtype)| is_word(kind) && is_word(subtype))
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_ACTION_NAME_BYTES
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9') || b"!#$&^_.+-".contains(&b))
}

/// Not where the type itself says that the bytes mean something else.
fn can_be_read(body: BodyRule, media: &str) -> bool {
    let json = media == "application/json" || media.ends_with("+json");
    match body {
        BodyRule::Json => !media.starts_with("multipart/") && media != FORM,
        BodyRule::Form => !media.starts_with("multipart/") && !json,
        BodyRule::None | BodyRule::Unread | BodyRule::Digest => true,
    }
}

/// The upgrades that a route may name. Envoy takes `h2c` off by itself, and what a tunnel carries is nobody's
/// to decide on.
const UPGRADES: [&str; 1] = ["websocket"];
const MAX_HOSTS: usize = 1_000;
/// Routes of one host.
const MAX_ROUTES: usize = 20_000;
const MAX_SCOPES: usize = 32;
const MAX_GROUPS: usize = 16;
const MAX_INPUTS: usize = 32;
const MAX_MEDIA_TYPES: usize = 16;
/// Bytes of a body that a route may read.
pub const MAX_BODY: u32 = 1 << 20;
/// Seconds.
const MIN_STALENESS: u32 = 3;
/// Seconds.
const MAX_DURATION: u32 = 3600;
