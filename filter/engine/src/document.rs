//! A JSON body (RFC 8259), read once: where each value stands in the bytes, and nothing else.
//!
//! What is well formed is told apart from what is not to the letter, because the upstream reads the same bytes
//! with another reader. What readers differ in is refused where it matters: a member on the way to an input
//! that occurs twice, or in a second spelling (escaped, in another case, or with other joints between its words,
//! which some readers take for the same). Numbers stay text: no value passes through floating point.
//!
//! It does not say what a document means, and holds no copy of it.

use std::borrow::Cow;

mod canonical;
mod number;
mod pointer;
mod scan;
mod text;

pub use canonical::{canonical, canonical_without};
pub use pointer::{Pointer, is_pointer};
pub(crate) use text::folded as fold;

/// A well-formed document of bounded depth and size.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    text: &'a str,
    /// In the order of the text; an object's children are its names and values in turn.
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    kind: Kind,
    /// Bytes; of a text without its quotes.
    start: u32,
    end: u32,
    /// The node after this one and all that is inside it.
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    False,
    True,
    Number,
    /// Without an escape.
    Text,
    Escaped,
    Array,
    Object,
}

/// One value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Value<'d, 'a> {
    document: &'d Document<'a>,
    at: usize,
    node: Node,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Null,
    Boolean(bool),
    /// As written.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array,
    Object,
}

/// Why a body is not read, for the log: at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub what: &'static str,
    pub at: usize,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// A member on the way to an input occurs twice, in a second spelling, or among too many to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice;

impl<'a> Document<'a> {
    /// Reads one document and nothing after it.
    ///
    /// # Errors
    /// It is not JSON in UTF-8 without a mark, is nested deeper than [`MAX_DEPTH`], or has more than
    /// [`MAX_NODES`] names and values.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        scan::document(bytes)
    }

    /// Bytes, blanks and all.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no document is empty")]
    pub const fn len(&self) -> usize {
        self.text.len()
    }

    #[must_use]
    pub fn root(&self) -> Option<Value<'_, 'a>> {
        self.value(0)
    }

    fn value(&self, at: usize) -> Option<Value<'_, 'a>> {
        let node = *self.nodes.get(at)?;
        Some(Value { document: self, at, node })
    }
}

impl<'d, 'a> Value<'d, 'a> {
    /// What it is. `None` never happens: the scan has read each text.
    #[must_use]
    pub fn found(&self) -> Option<Found<'a>> {
        Some(match self.node.kind {
            Kind::Null => Found::Null,
            Kind::False => Found::Boolean(false),
            Kind::True => Found::Boolean(true),
            Kind::Number => Found::Number(self.bytes()),
            Kind::Text => Found::Text(Cow::Borrowed(self.bytes())),
            Kind::Escaped => Found::Text(Cow::Owned(text::unescaped(self.bytes())?)),
            Kind::Array => Found::Array,
            Kind::Object => Found::Object,
        })
    }

    /// A text, decoded.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        match self.found()? {
            Found::Text(text) => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_object(&self) -> bool {
        self.node.kind == Kind::Object
    }

    /// Its bytes as written, quotes and all.
    #[must_use]
    pub fn written(&self) -> &'a str {
        let quotes = usize::from(matches!(self.node.kind, Kind::Text | Kind::Escaped));
        let (start, end) = self.span();
        self.document
            .text
            .get(start.saturating_sub(quotes)..end.saturating_add(quotes))
            .unwrap_or_default()
    }

    /// Where it stands in the document, quotes and all.
    #[must_use]
    pub fn place(&self) -> core::ops::Range<usize> {
        let quotes = usize::from(matches!(self.node.kind, Kind::Text | Kind::Escaped));
        let (start, end) = self.span();
        start.saturating_sub(quotes)..end.saturating_add(quotes)
    }

    /// The member of an object; `None` where it is none or has no such member.
    ///
    /// # Errors
    /// It occurs twice, in a second spelling, or among more than [`MAX_MEMBERS`].
    pub fn member(&self, name: &str) -> Result<Option<Self>, Twice> {
        if !self.is_object() {
            return Ok(None);
        }
        let mut found = None;
        for (nth, (key, value)) in self.members().enumerate() {
            if nth >= MAX_MEMBERS {
                return Err(Twice);
            }
            if !key.reads_like(name) {
                continue;
            }
            if found.is_some() || key.node.kind != Kind::Text || key.bytes() != name {
                return Err(Twice);
            }
            found = Some(value);
        }
        Ok(found)
    }

    /// Whether some reader takes a member of this object for `name`, or there are too many to say.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let like =
            |(nth, (key, _)): (usize, (Self, Self))| nth >= MAX_MEMBERS || key.reads_like(name);
        self.members().enumerate().any(like)
    }

    /// The elements of an array; none of anything else.
    pub fn elements(&self) -> impl Iterator<Item = Self> + use<'d, 'a> {
        let document = self.document;
        let inside = if self.node.kind == Kind::Array { self.inside() } else { 0..0 };
        let mut at = inside.start;
        core::iter::from_fn(move || {
            let value = document.value(at).filter(|_| at < inside.end)?;
            at = value.after();
            Some(value)
        })
    }

    /// Names and values of an object; none of anything else.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Self, Self)> + use<'d, 'a> {
        let document = self.document;
        let inside = if self.is_object() { self.inside() } else { 0..0 };
        let mut at = inside.start;
        core::iter::from_fn(move || {
            let name = document.value(at).filter(|_| at < inside.end)?;
            let value = document.value(name.after())?;
            at = value.after();
            Some((name, value))
        })
    }

    fn inside(&self) -> core::ops::Range<usize> {
        self.at.saturating_add(1)..self.after()
    }

    fn after(&self) -> usize {
        wide(self.node.next)
    }

    fn span(&self) -> (usize, usize) {
        (wide(self.node.start), wide(self.node.end))
    }

    fn bytes(&self) -> &'a str {
        let (start, end) = self.span();
        self.document.text.get(start..end).unwrap_or_default()
    }

    /// Whether some reader takes this name for `wanted`, which is printable ASCII: in any case, with or
    /// without what joins words (protobuf and Pydantic read `orderId` and `order_id`), and up to a zero byte,
    /// where C ends it. Nothing is copied, and most end at their first letter: a document has many names.
    fn reads_like(&self, wanted: &str) -> bool {
        let means = |c: &char| !matches!(c, '_' | '-');
        let written = text::characters(self.bytes()).take_while(|c| *c != '\0');
        let wanted = wanted.chars().filter(means).map(|c| c.to_ascii_lowercase());
        written.filter(means).map(text::folded).eq(wanted)
    }
}

const fn wide(at: u32) -> usize {
    at as usize
}

/// Objects and arrays inside each other.
pub const MAX_DEPTH: usize = 64;
/// Names and values of one document; 16 bytes each are kept while it is decided on.
pub const MAX_NODES: usize = 131_072;
/// Members of an object that an input is looked for in: each input looks through all of them.
pub const MAX_MEMBERS: usize = 1_024;

#[cfg(test)]
mod tests;
