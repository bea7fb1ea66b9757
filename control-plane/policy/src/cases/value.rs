//! A YAML value as JSON.

use serde_json::{Number, Value};

use crate::reader::Reader;
use crate::tree::{Node, Tree};

/// `None` where JSON has no such value, which is told of.
pub(super) fn json(reader: &mut Reader, tree: &Tree) -> Option<Value> {
    Some(match &tree.value {
        Node::Nothing => Value::Null,
        Node::Boolean(value) => Value::Bool(*value),
        Node::Text(text) => Value::from(text.as_str()),
        Node::Number(text) => match text.parse::<Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => {
                reader.expected(tree, "a number that JSON has");
                return None;
            }
        },
        Node::List(items) => {
            let items: Option<Vec<Value>> = items.iter().map(|item| json(reader, item)).collect();
            Value::Array(items?)
        }
        Node::Map(_) => {
            let entries = reader.entries(tree, "an object")?;
            let mut members = serde_json::Map::new();
            for (name, _, tree) in entries.iter() {
                members.insert((*name).to_owned(), json(reader, tree)?);
            }
            Value::Object(members)
        }
    })
}
