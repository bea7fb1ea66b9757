//! YAML as a tree in which every key and value knows its place. Parsing into types directly would
//! stop at the first field that is wrong; the tree lets all of them be told at once.

use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Error, Spanned};

/// A value with its place.
pub(crate) type Tree = Spanned<Node>;

#[derive(Debug)]
pub(crate) enum Node {
    Nothing,
    Text(String),
    Boolean(bool),
    /// With what it is called in messages; no field takes a plain number.
    Number(String),
    List(Vec<Tree>),
    /// In the order of the text; a key may still be there twice.
    Map(Vec<(Tree, Tree)>),
}

impl Node {
    /// What it is, for `expected ..., found ...`.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Text(text) => format!("`{text}`"),
            Self::Boolean(value) => format!("`{value}`"),
            Self::Number(number) => format!("the number `{number}`"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "fields".to_owned(),
        }
    }
}

/// What is no YAML, or not one document of it.
#[derive(Debug)]
pub(crate) struct Malformed {
    /// Line and column.
    pub(crate) at: (u64, u64),
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

/// Parses one document.
pub(crate) fn parse(yaml: &str) -> Result<Tree, Malformed> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    serde_saphyr::from_str_with_options(yaml, options).map_err(|error| malformed(&error))
}

fn malformed(error: &Error) -> Malformed {
    let error = error.without_snippet();
    let place = error.location();
    let at = place.map_or((1, 1), |place| (place.line(), place.column()));
    let (message, remedy) = match error {
        Error::MultipleDocuments { .. } => {
            ("a second YAML document begins here".to_owned(), "write one document in one file")
        }
        other => {
            let text = other.to_string();
            let end = text.rfind(" at line ").unwrap_or(text.len());
            let message = text.get(..end).unwrap_or_default();
            (format!("not YAML: {message}"), "")
        }
    };
    Malformed { at, message, remedy }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

/// Lists and mappings inside each other; a policy needs 8. The parser's own bound, 64, overflows
/// the stack of a thread in a debug build (found by the fuzz target `policy`).
const MAX_DEPTH: usize = 16;
