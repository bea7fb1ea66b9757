//! The index of a bundle: host, then method, then a trie of path segments. Building it is what
//! validates a bundle, at publish and in the gate alike.
//!
//! The most specific template wins: segment by segment from the left, a literal beats a parameter.
//! Two templates of equal specificity (the same shape) are refused at publish, so a request has at
//! most one route.

use core::fmt;
use std::collections::HashMap;

use crate::bundle::{
    Action, ActionMode, BodyRule, Bundle, Currency, Host, Input, InputKind, Route, RouteTarget,
    Source, Treatment,
};
use crate::decision::Header;
use crate::ids::{Uri, is_token};
use crate::inputs::{Inputs, currency, mangled};
use crate::target::{Ambiguous, MAX_SEGMENTS, Target, decoded, is_host};

/// A validated bundle, ready to be looked up in.
#[derive(Debug)]
pub struct Index {
    bundle: Bundle,
    hosts: HashMap<String, usize>,
    tries: Vec<HashMap<String, Trie>>,
}

/// What the bundle says of a host.
#[derive(Clone, Copy, Debug)]
pub enum HostMatch<'i> {
    PassedThrough,
    Guarded(GuardedHost<'i>),
}

/// A host whose requests are decided.
#[derive(Clone, Copy, Debug)]
pub struct GuardedHost<'i> {
    index: &'i Index,
    at: usize,
    host: &'i Host,
}

/// The route of a request, with its inputs.
#[derive(Clone, Debug)]
pub struct Matched<'a> {
    pub action: Option<&'a Action>,
    /// Seconds that a permit may last.
    pub max_duration: u32,
    pub inputs: Inputs<'a>,
}

/// What is wrong with a bundle, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub place: Place,
    pub what: String,
}

/// Indexes into the bundle's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Bundle,
    Action(usize),
    Host(usize),
    Route { host: usize, route: usize },
    Input { host: usize, route: usize, input: usize },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Bundle => write!(f, "bundle: {}", self.what),
            Place::Action(at) => write!(f, "actions[{at}]: {}", self.what),
            Place::Host(at) => write!(f, "hosts[{at}]: {}", self.what),
            Place::Route { host, route } => {
                write!(f, "hosts[{host}].routes[{route}]: {}", self.what)
            }
            Place::Input { host, route, input } => {
                write!(f, "hosts[{host}].routes[{route}].inputs[{input}]: {}", self.what)
            }
        }
    }
}

impl Index {
    /// # Errors
    /// The first [`Flaw`] found.
    pub fn build(bundle: Bundle) -> Result<Self, Flaw> {
        check_bundle(&bundle)?;
        let mut hosts = HashMap::new();
        let mut tries = Vec::with_capacity(bundle.hosts.len());
        for (at, host) in bundle.hosts.iter().enumerate() {
            for name in &host.names {
                if hosts.insert(name.clone(), at).is_some() {
                    return Err(flaw(Place::Host(at), format!("host `{name}` occurs twice")));
                }
            }
            tries.push(build_tries(&bundle, at, host)?);
        }
        Ok(Self { bundle, hosts, tries })
    }

    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// `None` when the bundle knows no such host.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<HostMatch<'_>> {
        let at = *self.hosts.get(name)?;
        let host = self.bundle.hosts.get(at)?;
        Some(match &host.treatment {
            Treatment::PassedThrough => HostMatch::PassedThrough,
            Treatment::Guarded(_) => HostMatch::Guarded(GuardedHost { index: self, at, host }),
        })
    }

    /// The smallest staleness bound of any action, in seconds: what the feed's wait is cut to.
    #[must_use]
    pub fn smallest_staleness(&self) -> Option<u32> {
        self.bundle.actions.iter().map(|action| action.staleness).min()
    }
}

impl<'i> GuardedHost<'i> {
    /// What `aud` must contain.
    #[must_use]
    pub fn audience(&self) -> &'i str {
        &self.host.audience
    }

    /// The route of a request; `None` when there is none.
    ///
    /// # Errors
    /// A segment that another reader could take for a literal of a more specific route, or an
    /// input with a second spelling.
    pub fn route<'a>(
        &self,
        method: &str,
        target: &'a Target<'a>,
        headers: &[Header<'a>],
    ) -> Result<Option<Matched<'a>>, Ambiguous>
    where
        'i: 'a,
    {
        let Treatment::Guarded(routes) = &self.host.treatment else {
            return Ok(None);
        };
        let Some(trie) = self.index.tries.get(self.at).and_then(|tries| tries.get(method)) else {
            return Ok(None);
        };
        let Some(terminal) = trie.find(&target.segments)? else {
            return Ok(None);
        };
        let Some(route) = routes.get(terminal.route) else {
            return Ok(None);
        };
        let parameters: Vec<(&str, &'a str)> = terminal
            .parameters
            .iter()
            .filter_map(|(at, name)| target.segments.get(*at).map(|text| (name.as_str(), *text)))
            .collect();
        let inputs = Inputs::read(&route.inputs, &parameters, target, headers)?;
        let action = match route.target {
            RouteTarget::Public => None,
            // INVARIANT: `check_route` held the number against the list; a number that is not in
            // it would otherwise read as public.
            RouteTarget::Action(id) => {
                match usize::try_from(id).ok().and_then(|id| self.index.bundle.actions.get(id)) {
                    Some(action) => Some(action),
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Matched { action, max_duration: route.max_duration, inputs }))
    }
}

#[derive(Debug, Default)]
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted by text.
    literals: Vec<(String, usize)>,
    parameter: Option<usize>,
    terminal: Option<Terminal>,
}

#[derive(Clone, Debug)]
struct Terminal {
    route: usize,
    /// Segment number and name.
    parameters: Vec<(usize, String)>,
}

impl Trie {
    /// Depth first, literals first. Each node is visited at most once, so the work is bounded by
    /// the policy and not by the request.
    fn find(&self, segments: &[&str]) -> Result<Option<&Terminal>, Ambiguous> {
        // Alternatives still to be tried: (node, depth).
        let mut open = vec![(0_usize, 0_usize)];
        while let Some((at, depth)) = open.pop() {
            let Some(node) = self.nodes.get(at) else {
                continue;
            };
            let Some(segment) = segments.get(depth) else {
                if node.terminal.is_some() {
                    return Ok(node.terminal.as_ref());
                }
                continue;
            };
            let next = depth.saturating_add(1);
            let literal = node.literals.binary_search_by(|(text, _)| text.as_str().cmp(segment));
            if let Some(child) = node.parameter
                && !segment.is_empty()
            {
                open.push((child, next));
            }
            match literal.ok().and_then(|found| node.literals.get(found)) {
                Some((_, child)) => open.push((*child, next)),
                None => node.refuse_second_spelling(segment)?,
            }
        }
        Ok(None)
    }

    fn node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len().saturating_sub(1)
    }
}

impl Node {
    /// A segment that is not a literal here, but that a server which decodes it or ignores case
    /// would take for one, must not fall through to a parameter's route.
    fn refuse_second_spelling(&self, segment: &str) -> Result<(), Ambiguous> {
        if self.literals.is_empty() {
            return Ok(());
        }
        let plain = decoded(segment)?;
        if self.literals.iter().any(|(text, _)| text.eq_ignore_ascii_case(&plain)) {
            return Err(Ambiguous::new("a path segment is a second spelling of a route's"));
        }
        Ok(())
    }
}

fn build_tries(
    bundle: &Bundle,
    host_at: usize,
    host: &Host,
) -> Result<HashMap<String, Trie>, Flaw> {
    let mut tries: HashMap<String, Trie> = HashMap::new();
    let Treatment::Guarded(routes) = &host.treatment else {
        return Ok(tries);
    };
    for (route_at, route) in routes.iter().enumerate() {
        let place = Place::Route { host: host_at, route: route_at };
        let template = Template::parse(&route.path).map_err(|what| flaw(place, what))?;
        check_route(bundle, host_at, route_at, route, &template)?;
        for method in &route.methods {
            let trie = tries
                .entry(method.clone())
                .or_insert_with(|| Trie { nodes: vec![Node::default()] });
            if !insert(trie, &template, route_at) {
                return Err(flaw(
                    place,
                    format!("`{method} {}` is as specific as another route", route.path),
                ));
            }
        }
    }
    Ok(tries)
}

/// False when a route of the same shape is there already.
fn insert(trie: &mut Trie, template: &Template, route: usize) -> bool {
    let mut at = 0;
    for segment in &template.segments {
        let known = match (segment, trie.nodes.get(at)) {
            (Segment::Parameter(_), Some(node)) => node.parameter,
            (Segment::Literal(text), Some(node)) => node
                .literals
                .binary_search_by(|(known, _)| known.cmp(text))
                .ok()
                .and_then(|at| node.literals.get(at))
                .map(|(_, child)| *child),
            (_, None) => None,
        };
        let child = match known {
            Some(child) => child,
            None => {
                let child = trie.node();
                if let Some(node) = trie.nodes.get_mut(at) {
                    match segment {
                        Segment::Parameter(_) => node.parameter = Some(child),
                        Segment::Literal(text) => {
                            let place = node.literals.partition_point(|(known, _)| known < text);
                            node.literals.insert(place, (text.clone(), child));
                        }
                    }
                }
                child
            }
        };
        at = child;
    }
    let parameters = template
        .segments
        .iter()
        .enumerate()
        .filter_map(|(at, segment)| match segment {
            Segment::Parameter(name) => Some((at, name.clone())),
            Segment::Literal(_) => None,
        })
        .collect();
    match trie.nodes.get_mut(at) {
        Some(node) if node.terminal.is_none() => {
            node.terminal = Some(Terminal { route, parameters });
            true
        }
        _ => false,
    }
}

struct Template {
    segments: Vec<Segment>,
}

enum Segment {
    Literal(String),
    Parameter(String),
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(format!("path `{text}` must start with `/`"));
        };
        let mut segments = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for part in inner.split('/') {
            if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                if !is_name(name) || names.contains(&name) {
                    return Err(format!(
                        "parameter `{part}` of path `{text}` needs a name of its own in [a-z0-9_-]"
                    ));
                }
                names.push(name);
                segments.push(Segment::Parameter(name.to_owned()));
            } else if part.contains(['{', '}', '%']) {
                return Err(format!(
                    "segment `{part}` of path `{text}` must be all literal or all parameter, without `%`"
                ));
            } else {
                segments.push(Segment::Literal(part.to_owned()));
            }
        }
        let sample: Vec<&str> = segments
            .iter()
            .map(|s| if let Segment::Literal(text) = s { text.as_str() } else { "x" })
            .collect();
        Target::parse(format!("/{}", sample.join("/")).as_bytes())
            .map_err(|ambiguous| format!("path `{text}` could never match: {ambiguous}"))?;
        if text.contains('?') {
            return Err(format!("path `{text}` must not hold a query"));
        }
        Ok(Self { segments })
    }

    fn has(&self, name: &str) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Parameter(known) if known == name))
    }
}

fn check_bundle(bundle: &Bundle) -> Result<(), Flaw> {
    if !bundle.policy.is_empty() {
        return Err(flaw(Place::Bundle, "this filter evaluates no policy conditions"));
    }
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
    Ok(())
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
    if action.approval && action.body == BodyRule::Unread {
        return Err("an action that asks for approval must have `body: none`: what is unread is not approved".to_owned());
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

fn check_route(
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
    if route.mcp.is_some() {
        return Err(here("this filter matches no MCP tools".to_owned()));
    }
    if route.upgrade.is_some() {
        return Err(here("`upgrade` is refused until open permits are tracked".to_owned()));
    }
    if route.max_duration == 0 || route.max_duration > MAX_DURATION {
        return Err(here(format!("a maximum duration must be 1 to {MAX_DURATION} s")));
    }
    if !route.inputs.is_empty() && action.is_none_or(|action| action.body == BodyRule::Unread) {
        return Err(here("a route with inputs needs an action with `body: none`: what is unread could contradict them".to_owned()));
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
        check_source(&input.source, template).map_err(|what| flaw(place, what))?;
        let alike = query_keys(input).find(|key| {
            let mut others = route.inputs.iter().flat_map(query_keys);
            others.any(|other| other != *key && mangled(other) == mangled(key))
        });
        if let Some(key) = alike {
            return Err(flaw(
                place,
                format!("query key `{key}` reads like another input's to some servers"),
            ));
        }
        match &input.kind {
            InputKind::Money(Currency::From(source)) => {
                check_source(source, template).map_err(|what| flaw(place, what))?
            }
            InputKind::Money(Currency::Fixed(code)) if currency(code).is_none() => {
                return Err(flaw(
                    place,
                    format!("currency `{code}` must be three upper-case letters"),
                ));
            }
            InputKind::Money(Currency::Fixed(_))
            | InputKind::Text
            | InputKind::Integer
            | InputKind::Decimal
            | InputKind::Boolean => {}
        }
    }
    Ok(())
}

/// The query keys that feed an input.
fn query_keys(input: &Input) -> impl Iterator<Item = &str> {
    let currency = match &input.kind {
        InputKind::Money(Currency::From(source)) => Some(source),
        InputKind::Money(Currency::Fixed(_))
        | InputKind::Text
        | InputKind::Integer
        | InputKind::Decimal
        | InputKind::Boolean => None,
    };
    [Some(&input.source), currency].into_iter().flatten().filter_map(|source| match source {
        Source::Query(key) => Some(key.as_str()),
        Source::Path(_) | Source::Header(_) => None,
    })
}

fn check_source(source: &Source, template: &Template) -> Result<(), String> {
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
        Source::Path(_) | Source::Query(_) | Source::Header(_) => Ok(()),
    }
}

/// Whether `name` matches `[a-z0-9_-]+(:[a-z0-9_-]+)*`, at most 64 bytes.
#[must_use]
pub fn is_action_name(name: &str) -> bool {
    name.len() <= MAX_ACTION_NAME_BYTES && name.split(':').all(is_name)
}

fn is_name(name: &str) -> bool {
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

fn flaw(place: Place, what: impl Into<String>) -> Flaw {
    Flaw { place, what: what.into() }
}

pub const MAX_ACTIONS: usize = 10_000;
pub const MAX_ACTION_NAME_BYTES: usize = 64;
const MAX_HOSTS: usize = 1_000;
/// Routes of one host.
const MAX_ROUTES: usize = 20_000;
const MAX_SCOPES: usize = 32;
const MAX_INPUTS: usize = 32;
/// Seconds.
const MIN_STALENESS: u32 = 3;
/// Seconds.
const MAX_DURATION: u32 = 3600;

#[cfg(test)]
mod tests;
