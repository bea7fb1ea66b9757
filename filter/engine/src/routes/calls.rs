//! The routes of one path that differ in what a JSON-RPC message calls.

use std::collections::{HashMap, HashSet};

use super::{Index, Leaf, MatchedRoute};
use crate::bundle::{Action, Call, Protocol, Route, RouteTarget};
use crate::decision::Header;
use crate::denial::{Code, Denial};
use crate::document::fold;
use crate::entry::hides_a_step;
use crate::rpc::Message;
use crate::target::{Target, decoded};

/// The routes of a path that differ in what is called.
#[derive(Clone, Debug)]
pub struct MatchedCalls<'a> {
    pub(super) index: &'a Index,
    pub(super) host: usize,
    pub(super) routes: &'a [Route],
    pub(super) calls: &'a Calls,
    pub(super) target: &'a Target<'a>,
}

impl<'a> MatchedCalls<'a> {
    /// The route of a call, without its inputs; `None` when there is none.
    ///
    /// # Errors
    /// A name that no route has, and that some server takes for one that a route has.
    pub fn find(
        &self,
        method: &str,
        name: Option<&str>,
    ) -> Result<Option<MatchedRoute<'a>>, Denial> {
        let Some(named) = self.calls.methods.get(method) else { return Ok(None) };
        let exact = name.and_then(|name| named.of.get(name));
        if let (None, Some(name)) = (exact, name)
            && named.is_second_spelling(name)
        {
            return Err(Denial::new(
                Code::BodyMalformed,
                "what is called is a second spelling of what a route names",
            ));
        }
        Ok(exact.or(named.any.as_ref()).and_then(|leaf| self.matched(leaf)))
    }

    fn matched(&self, leaf: &'a Leaf) -> Option<MatchedRoute<'a>> {
        leaf.matched(self.index, self.host, self.routes, self.target)
    }

    /// One of their actions: all of them read JSON alike.
    #[must_use]
    pub fn any(&self) -> Option<&'a Action> {
        let named = self.calls.methods.values().next()?;
        let leaf = named.any.as_ref().or_else(|| named.of.values().next())?;
        leaf.matched(self.index, self.host, self.routes, self.target)?
            .action
            .map(|(_, action)| action)
    }

    /// Holds the headers of the protocol against what the body says.
    pub(crate) fn agrees(
        &self,
        message: &Message<'_, '_>,
        headers: &[Header<'_>],
    ) -> Result<(), Denial> {
        match self.calls.protocol {
            Protocol::Mcp => message.agrees(headers),
            Protocol::JsonRpc => Ok(()),
        }
    }

    /// Those of their actions that are usable.
    pub(crate) fn actions(&self, usable: impl Fn(u32, &Action) -> bool) -> HashSet<u32> {
        let leaves =
            self.calls.methods.values().flat_map(|named| named.of.values().chain(&named.any));
        let mut looked = HashSet::new();
        let targets = leaves.filter_map(|leaf| match self.routes.get(leaf.route)?.target {
            RouteTarget::Public => None,
            RouteTarget::Action(id) => Some(id),
        });
        targets
            .filter(|id| looked.insert(*id))
            .filter(|id| {
                let at = usize::try_from(*id).ok();
                let action = at.and_then(|at| self.index.bundle.actions.get(at));
                action.is_some_and(|action| usable(*id, action))
            })
            .collect()
    }

    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.calls.protocol
    }

    /// Bytes of a body that some of them reads.
    #[must_use]
    pub const fn max_body(&self) -> u32 {
        self.calls.max_body
    }

    /// Whether none of them refuses anything.
    #[must_use]
    pub const fn are_all_in_shadow(&self) -> bool {
        self.calls.shadow
    }
}

/// The routes of one path that are for JSON-RPC messages.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    protocol: Protocol,
    methods: HashMap<String, Named>,
    max_body: u32,
    shadow: bool,
}

/// The routes of one JSON-RPC method.
#[derive(Clone, Debug, Default)]
struct Named {
    of: HashMap<String, Leaf>,
    /// Their names as readers that do not mind case or blanks have them.
    folded: HashSet<String>,
    any: Option<Leaf>,
}

impl Named {
    /// Whether some server takes a name that no route has for one that a route has: trimmed, in another case, or
    /// resolved as a URI is.
    fn is_second_spelling(&self, name: &str) -> bool {
        let known = |name: &str| self.folded.contains(&folded(name));
        let is_uri = name.contains("://");
        known(name)
            || (is_uri && !self.of.is_empty() && !is_resolved(name))
            || (name.contains('%') && decoded(name).is_ok_and(|plain| known(&plain)))
    }
}

fn folded(name: &str) -> String {
    name.trim().chars().map(fold).collect()
}

/// Whether a URI is what a reader of URLs makes of it: nothing to resolve, and scheme and host in lower case.
fn is_resolved(uri: &str) -> bool {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
    let host = rest.split('/').next().unwrap_or_default();
    let climbs = |part: &str| matches!(part, "." | "..");
    !uri.contains(['\\', ' '])
        && !hides_a_step(uri)
        && !rest.split(['/', '?', '#']).any(climbs)
        && !scheme.chars().chain(host.chars()).any(|c| c.is_ascii_uppercase())
}

impl Calls {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, methods: HashMap::new(), max_body: 0, shadow: true }
    }

    /// False when a route of the same call is there already, or of another protocol.
    pub(super) fn insert(&mut self, call: &Call, leaf: Leaf, route: &Route, shadow: bool) -> bool {
        if self.protocol != call.protocol {
            return false;
        }
        self.max_body = self.max_body.max(route.max_body);
        self.shadow &= shadow;
        let named = self.methods.entry(call.method.clone()).or_default();
        match &call.name {
            Some(name) => {
                named.folded.insert(folded(name));
                named.of.insert(name.clone(), leaf).is_none()
            }
            None => named.any.replace(leaf).is_none(),
        }
    }
}
