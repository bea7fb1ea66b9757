//! What an MCP server says that it has, cut to what the caller may call: `tools/list` and its like.
//!
//! It hides, and guards nothing: each call is decided for itself. All the same it fails closed, since a name that
//! slips through is one that an agent will try: an answer that cannot be read is not passed on.

use std::collections::HashSet;
use std::sync::Arc;

use crate::document::{Document, Found, Twice, Value};
use crate::routes::{HostMatch, Index, Matched, MatchedCalls};
use crate::target::Target;

mod events;

pub use events::{Cut, Form};

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl Listed {
    pub(crate) fn by(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            _ => None,
        }
    }

    /// The member of the result.
    const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The call that uses one of them, and the member that it is named by there.
    const fn used_by(self) -> (&'static str, &'static str) {
        match self {
            Self::Tools => ("tools/call", "name"),
            Self::Prompts => ("prompts/get", "name"),
            Self::Resources => ("resources/read", "uri"),
            Self::Templates => ("resources/read", "uriTemplate"),
        }
    }
}

/// One caller's view of one list.
#[derive(Clone)]
pub struct Listing {
    listed: Listed,
    index: Arc<Index>,
    host: String,
    path: String,
    /// Indexes into the bundle's actions: what the gatepass is good for here.
    actions: HashSet<u32>,
}

/// The answer cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

impl From<Twice> for Unreadable {
    fn from(_: Twice) -> Self {
        Self("a member stands there twice or in a second spelling")
    }
}

impl Listing {
    pub(crate) fn new(
        listed: Listed,
        index: Arc<Index>,
        (host, path): (&str, &str),
        actions: HashSet<u32>,
    ) -> Self {
        Self { listed, index, host: host.to_owned(), path: path.to_owned(), actions }
    }

    /// One JSON-RPC message without what the caller may not use; `None` where nothing has to go.
    ///
    /// # Errors
    /// It is no message, or one that can be read in two ways.
    pub fn message(&self, bytes: &[u8]) -> Result<Option<String>, Unreadable> {
        let document = Document::read(bytes).map_err(|malformed| Unreadable(malformed.what))?;
        let root = document.root().filter(Value::is_object);
        let root = root.ok_or(Unreadable("no JSON-RPC message"))?;
        let Some(result) = root.member("result")? else { return Ok(None) };
        let Some(list) = result.member(self.listed.member())? else { return Ok(None) };
        if list.found() != Some(Found::Array) {
            return Err(Unreadable("what is listed is no list"));
        }
        let target = Target::parse(self.path.as_bytes()).map_err(|_| Unreadable("no path"))?;
        let calls = self.calls(&target).ok_or(Unreadable("no route"))?;
        let mut kept = Vec::new();
        let mut dropped = false;
        for element in list.elements() {
            if self.may_use(&calls, element)? {
                kept.push(element.written());
            } else {
                dropped = true;
            }
        }
        let scope = result.member("cacheScope")?;
        let is_public = match scope {
            Some(scope) => scope.text().as_deref() != Some("private"),
            // Absent, it is public to those who keep it.
            None => result.has("ttlMs"),
        };
        if !dropped && !is_public {
            return Ok(None);
        }
        let mut changes = vec![(list.place(), format!("[{}]", kept.join(",")))];
        // What one caller sees is not another's (MCP 2026-07-28, `cacheScope`).
        match scope {
            Some(scope) => changes.push((scope.place(), "\"private\"".to_owned())),
            None if is_public => {
                // There is a list in it, so it is not empty.
                let start = result.place().start.saturating_add(1);
                changes.push((start..start, "\"cacheScope\":\"private\",".to_owned()));
            }
            None => {}
        }
        changes.sort_by_key(|(place, _)| place.start);
        let text = core::str::from_utf8(bytes).map_err(|_| Unreadable("not UTF-8"))?;
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        for (place, new) in changes {
            out.push_str(text.get(at..place.start).unwrap_or_default());
            out.push_str(&new);
            at = place.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Ok(Some(out))
    }

    fn calls<'a>(&'a self, target: &'a Target<'a>) -> Option<MatchedCalls<'a>> {
        let Some(HostMatch::Guarded(host)) = self.index.host(&self.host) else { return None };
        match host.route("POST", target, &[]) {
            Ok(Some(Matched::Calls(calls))) => Some(calls),
            Ok(Some(Matched::Route(_)) | None) | Err(_) => None,
        }
    }

    fn may_use(
        &self,
        calls: &MatchedCalls<'_>,
        element: Value<'_, '_>,
    ) -> Result<bool, Unreadable> {
        let (method, named_by) = self.listed.used_by();
        let name = element.member(named_by)?.and_then(|name| name.text());
        let name = name.ok_or(Unreadable("something that is listed has no name"))?;
        let found = match self.listed {
            // What it becomes is not known: only who may read any.
            Listed::Templates => calls.find(method, None),
            Listed::Tools | Listed::Prompts | Listed::Resources => calls.find(method, Some(&name)),
        };
        // What could not be called is not shown.
        let found = found.ok().flatten();
        let action = found.and_then(|found| found.action);
        Ok(action.is_some_and(|(at, _)| self.actions.contains(&at)))
    }
}

impl core::fmt::Debug for Listing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Listing").field("listed", &self.listed).finish_non_exhaustive()
    }
}

impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        self.listed == other.listed && self.path == other.path && self.actions == other.actions
    }
}

impl Eq for Listing {}
