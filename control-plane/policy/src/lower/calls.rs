//! The calls of a route, and what only they have.

use gatepass_engine::bundle::{ANSWERS, Call, Input, Protocol};

use super::Place;
use crate::reader::{Fields, Reader};
use crate::tree::{Node, Tree};

/// Only what an MCP tool or prompt is called with is an argument; elsewhere it would never be found.
pub(super) fn without_arguments(reader: &mut Reader, inputs: &mut Vec<(Input, Place)>) {
    inputs.retain(|(_, place)| {
        let found = place.fields.iter().find(|field| field.name == "argument");
        if let Some(field) = found {
            reader.tell_at(
                field.at,
                "an `argument` is of a call of `mcp`",
                "write where it stands, such as `body: /order/amount`",
            );
        }
        found.is_none()
    });
}

/// `mcp: tools/call search`, `rpc: message/send`, or a list of such. `None` where it cannot be read.
pub(super) fn calls(reader: &mut Reader, fields: &Fields<'_>) -> Option<Vec<Call>> {
    let (protocol, tree) = match (fields.find("mcp"), fields.find("rpc")) {
        (None, None) => return Some(Vec::new()),
        (Some(tree), None) => (Protocol::Mcp, tree),
        (None, Some(tree)) => (Protocol::JsonRpc, tree),
        (Some(_), Some(tree)) => {
            reader.tell(
                tree.referenced,
                "a route has `mcp` or `rpc`, not both",
                "keep one of them",
            );
            return None;
        }
    };
    let items: Vec<&Tree> = match &tree.value {
        Node::List(items) => items.iter().collect(),
        _ => vec![tree],
    };
    let mut calls = Vec::new();
    for item in items {
        let text = reader.text(item, "a method such as `tools/call search`")?;
        let (method, name) = match text.split_once(' ') {
            Some((method, "*")) => (method, None),
            Some((method, name)) => (method, Some(name.to_owned())),
            None => (text, None),
        };
        let method = if method == "answers" { ANSWERS } else { method };
        calls.push(Call { protocol, method: method.to_owned(), name });
    }
    if calls.is_empty() {
        reader.tell(tree.referenced, "no method is named", "write `mcp: tools/call search`");
        return None;
    }
    Some(calls)
}
