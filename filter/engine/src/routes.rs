//! The index of a bundle: host, then method, then a trie of path segments. Building it is what
//! validates a bundle, at publish and in the gate alike.
//!
//! The most specific template wins: segment by segment from the left, a literal beats a parameter.
//! Two templates of equal specificity (the same shape) are refused at publish, so a request has at
//! most one route.

use core::fmt;
use std::collections::{BTreeSet, HashMap};

use crate::body::Read;
use crate::budget::Budgets;
use crate::bundle::{
    Action, ActionMode, Bundle, Call, Host, Protocol, Route, RouteTarget, Treatment,
};
use crate::decision::Header;
use crate::inputs::{Inputs, Unclear};
use crate::policy::{NOWHERE, Rules};
use crate::target::{Ambiguous, Target, decoded};

mod budgets;
mod calls;
mod check;

use calls::Calls;
pub use calls::MatchedCalls;
pub use check::{MAX_BODY, is_action_name};
use check::{check_bundle, check_route, is_name};

/// A validated bundle, ready to be looked up in.
#[derive(Debug)]
pub struct Index {
    bundle: Bundle,
    hosts: HashMap<String, usize>,
    tries: Vec<HashMap<String, Trie>>,
    rules: Rules,
    /// By host and route: where the route has each input that the rules speak of.
    places: Vec<Vec<Box<[u8]>>>,
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

/// What the request line of a request finds.
#[derive(Clone, Debug)]
pub enum Matched<'a> {
    Route(MatchedRoute<'a>),
    /// The body says which of them.
    Calls(MatchedCalls<'a>),
}

/// The route of a request.
#[derive(Clone, Debug)]
pub struct MatchedRoute<'a> {
    pub route: &'a Route,
    /// With its index in [`Bundle::actions`]; none where the route is public.
    pub action: Option<(u32, &'a Action)>,
    parameters: Vec<(&'a str, &'a str)>,
    /// MCP calls are made at the same path: what is streamed here may be the answer to one of them.
    pub is_beside_calls: bool,
    /// Those that do not stand in the body.
    pub inputs: Inputs<'a>,
    pub at: RouteAt,
}

/// Where a route stands in the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteAt {
    pub host: usize,
    pub route: usize,
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
    Budget(usize),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Bundle => write!(f, "bundle: {}", self.what),
            Place::Action(at) => write!(f, "actions[{at}]: {}", self.what),
            Place::Budget(at) => write!(f, "budgets[{at}]: {}", self.what),
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
        let rules = Rules::read(&bundle.policy, bundle.actions.len())
            .map_err(|why| flaw(Place::Bundle, format!("rules: {why}")))?;
        if rules.budgets() > bundle.budgets.len() {
            return Err(flaw(Place::Bundle, "rules: they name a budget that is not there"));
        }
        let names: HashMap<&str, usize> = rules.inputs().zip(0..).collect();
        let places = bundle.hosts.iter().map(|host| places_of(host, &names)).collect();
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
        Ok(Self { bundle, hosts, tries, rules, places })
    }

    /// What operators wrote in Cedar; none where they wrote nothing.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Where a route has each input that the rules speak of.
    pub(crate) fn input_places(&self, at: RouteAt) -> &[u8] {
        let of_host = self.places.get(at.host);
        of_host.and_then(|routes| routes.get(at.route)).map_or(&[], |places| places)
    }

    /// The budgets that an action is under, by its number.
    #[must_use]
    pub fn budgets(&self, action: u32) -> Budgets<'_> {
        Budgets::of(&self.bundle.budgets, action)
    }

    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The host and the route that stand there.
    #[must_use]
    pub fn at(&self, at: RouteAt) -> Option<(&Host, &Route)> {
        let host = self.bundle.hosts.get(at.host)?;
        match &host.treatment {
            Treatment::PassedThrough => None,
            Treatment::Guarded(routes) => Some((host, routes.get(at.route)?)),
        }
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

fn places_of(host: &Host, names: &HashMap<&str, usize>) -> Vec<Box<[u8]>> {
    let Treatment::Guarded(routes) = &host.treatment else { return Vec::new() };
    if names.is_empty() {
        return Vec::new();
    }
    let places = |route: &Route| {
        let mut places = vec![NOWHERE; names.len()].into_boxed_slice();
        // INVARIANT: a route has fewer inputs than numbers.
        for (at, input) in (0..NOWHERE).zip(&route.inputs) {
            let place = names.get(input.name.as_str()).and_then(|nth| places.get_mut(*nth));
            if let Some(place) = place {
                *place = at;
            }
        }
        places
    };
    routes.iter().map(places).collect()
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
        let index = self.index;
        let Some(trie) = index.tries.get(self.at).and_then(|tries| tries.get(method)) else {
            return Ok(None);
        };
        let Some(terminal) = trie.find(&target.segments)? else {
            return Ok(None);
        };
        match terminal {
            Terminal::Route(leaf) => {
                let found = leaf.matched(index, self.at, routes, target);
                let Some(mut found) = found else { return Ok(None) };
                found.inputs =
                    Inputs::read(&found.route.inputs, &found.parameters, target, headers)?;
                Ok(Some(Matched::Route(found)))
            }
            Terminal::Calls(calls) => Ok(Some(Matched::Calls(MatchedCalls {
                index,
                host: self.at,
                routes,
                calls,
                target,
            }))),
        }
    }
}

impl<'a> MatchedRoute<'a> {
    /// Reads the inputs once more, those of the body too.
    pub(crate) fn read_inputs(
        &self,
        target: &Target<'a>,
        headers: &[Header<'a>],
        body: &Read<'a>,
    ) -> Result<Inputs<'a>, Unclear> {
        Inputs::read_all(&self.route.inputs, &self.parameters, target, headers, body)
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
    /// Places in `literals`, sorted by text without regard to ASCII case.
    caseless: Vec<usize>,
    parameter: Option<usize>,
    terminal: Option<Terminal>,
}

#[derive(Clone, Debug)]
enum Terminal {
    Route(Leaf),
    /// Boxed: there are many nodes, and few of these.
    Calls(Box<Calls>),
}

#[derive(Clone, Debug)]
struct Leaf {
    route: usize,
    /// Segment number and name.
    parameters: Vec<(usize, String)>,
    is_beside_calls: bool,
}

impl Leaf {
    /// The route, without its inputs.
    fn matched<'a>(
        &'a self,
        index: &'a Index,
        host: usize,
        routes: &'a [Route],
        target: &'a Target<'a>,
    ) -> Option<MatchedRoute<'a>> {
        let route = routes.get(self.route)?;
        let action = match route.target {
            RouteTarget::Public => None,
            // INVARIANT: `check_route` held the number against the list; a number that is not in
            // it would otherwise read as public.
            RouteTarget::Action(id) => {
                let at = usize::try_from(id).ok()?;
                Some((id, index.bundle.actions.get(at)?))
            }
        };
        let parameters = self
            .parameters
            .iter()
            .filter_map(|(at, name)| target.segments.get(*at).map(|text| (name.as_str(), *text)))
            .collect();
        Some(MatchedRoute {
            route,
            action,
            parameters,
            is_beside_calls: self.is_beside_calls,
            inputs: Inputs::default(),
            at: RouteAt { host, route: self.route },
        })
    }
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
        // Anybody can ask for what no route has: this is no search through all of them.
        let found =
            self.caseless.binary_search_by(|at| caseless(self.text(*at)).cmp(caseless(&plain)));
        if found.is_ok() {
            return Err(Ambiguous::new("a path segment is a second spelling of a route's"));
        }
        Ok(())
    }

    fn text(&self, at: usize) -> &str {
        self.literals.get(at).map_or("", |(text, _)| text)
    }

    /// Once all literals are there. One by one into its place: a sort is ten kilobytes of module.
    fn sort_caseless(&mut self) {
        let mut sorted = Vec::with_capacity(self.literals.len());
        for at in 0..self.literals.len() {
            let before = |other: &usize| caseless(self.text(*other)).lt(caseless(self.text(at)));
            sorted.insert(sorted.partition_point(before), at);
        }
        self.caseless = sorted;
    }
}

fn caseless(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|byte| byte.to_ascii_lowercase())
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
    let is_mcp = |call: &Call| call.protocol == Protocol::Mcp;
    let calls = routes.iter().filter(|route| route.call.as_ref().is_some_and(is_mcp));
    let called: BTreeSet<&str> = calls.map(|route| route.path.as_str()).collect();
    let called: Vec<Template> =
        called.into_iter().filter_map(|path| Template::parse(path).ok()).collect();
    for (route_at, route) in routes.iter().enumerate() {
        let place = Place::Route { host: host_at, route: route_at };
        let template = Template::parse(&route.path).map_err(|what| flaw(place, what))?;
        check_route(bundle, host_at, route_at, route, &template)?;
        for method in &route.methods {
            let trie = tries
                .entry(method.clone())
                .or_insert_with(|| Trie { nodes: vec![Node::default()] });
            let beside = route.call.is_none() && called.iter().any(|call| call.meets(&template));
            if !insert(trie, &template, bundle, (route_at, route), beside) {
                return Err(flaw(
                    place,
                    format!("`{method} {}` is as specific as another route", route.path),
                ));
            }
        }
    }
    let nodes = tries.values_mut().flat_map(|trie| &mut trie.nodes);
    nodes.for_each(Node::sort_caseless);
    Ok(tries)
}

/// False when a route of the same shape is there already.
fn insert(
    trie: &mut Trie,
    template: &Template,
    bundle: &Bundle,
    (route_at, route): (usize, &Route),
    is_beside_calls: bool,
) -> bool {
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
    let leaf = Leaf { route: route_at, parameters, is_beside_calls };
    let Some(node) = trie.nodes.get_mut(at) else { return false };
    match (&mut node.terminal, &route.call) {
        (None, None) => {
            node.terminal = Some(Terminal::Route(leaf));
            true
        }
        (None, Some(call)) => {
            let mut calls = Calls::new(call.protocol);
            let fits = calls.insert(call, leaf, route, is_in_shadow(bundle, route));
            node.terminal = Some(Terminal::Calls(Box::new(calls)));
            fits
        }
        (Some(Terminal::Calls(calls)), Some(call)) => {
            calls.insert(call, leaf, route, is_in_shadow(bundle, route))
        }
        (Some(_), _) => false,
    }
}

fn is_in_shadow(bundle: &Bundle, route: &Route) -> bool {
    match route.target {
        RouteTarget::Public => false,
        RouteTarget::Action(id) => {
            let action = usize::try_from(id).ok().and_then(|id| bundle.actions.get(id));
            action.is_some_and(|action| action.mode == ActionMode::Shadow)
        }
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

    /// Whether some path is of both.
    fn meets(&self, other: &Self) -> bool {
        let one = |pair: (&Segment, &Segment)| match pair {
            (Segment::Literal(a), Segment::Literal(b)) => a == b,
            (Segment::Parameter(_), _) | (_, Segment::Parameter(_)) => true,
        };
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(one)
    }

    fn has(&self, name: &str) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Parameter(known) if known == name))
    }
}

fn flaw(place: Place, what: impl Into<String>) -> Flaw {
    Flaw { place, what: what.into() }
}

pub const MAX_ACTIONS: usize = 10_000;
pub const MAX_ACTION_NAME_BYTES: usize = 64;
#[cfg(test)]
mod tests;
