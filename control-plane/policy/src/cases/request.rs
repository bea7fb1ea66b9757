//! `request`: what is asked of the gate.

use super::Asked;
use super::value::json;
use crate::reader::{Fields, Reader};
use crate::tree::{Node, Tree};

pub(super) fn read(reader: &mut Reader, of: &Fields<'_>) -> Option<Asked> {
    let tree = reader.needed(of, "request", "a test", "write `request: {path: /orders}`")?;
    let fields = reader.fields(tree, "`request`", &REQUEST_FIELDS)?;
    let method = match fields.find("method") {
        Some(tree) => reader.text(tree, "a method")?,
        None => "GET",
    };
    let (host, path) = place(reader, &fields)?;
    let mut headers = match fields.find("headers") {
        Some(tree) => headers(reader, tree),
        None => Vec::new(),
    };
    let body = match (fields.find("body"), fields.find("json")) {
        (None, None) => None,
        (Some(tree), None) => Some(reader.text(tree, "the body as text")?.to_owned()),
        (None, Some(tree)) => {
            if headers.iter().all(|(name, _)| name != "content-type") {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            Some(json(reader, tree)?.to_string())
        }
        (Some(_), Some(tree)) => {
            let message = "a request has `body` or `json`, not both";
            reader.tell(tree.referenced, message, "keep one of them");
            return None;
        }
    };
    let source = match fields.find("source") {
        Some(tree) => Some(source(reader, tree)?),
        None => None,
    };
    Some(Asked { method: method.to_owned(), host, path, headers, body, source })
}

fn source(reader: &mut Reader, tree: &Tree) -> Option<core::net::IpAddr> {
    let text = reader.text(tree, "an address")?;
    let address = text.parse::<core::net::IpAddr>().ok();
    if address.is_none() {
        let message = format!("expected an address, found `{text}`");
        reader.tell(tree.referenced, message, "write `10.0.0.7` or `::1`");
    }
    address
}

/// Host and path: `url`, or each by itself.
fn place(reader: &mut Reader, fields: &Fields<'_>) -> Option<(Option<String>, String)> {
    if let Some(tree) = fields.find("url") {
        let other = fields.find("host").or_else(|| fields.find("path"));
        if let Some(other) = other {
            let message = "a request has `url`, or `host` and `path`";
            reader.tell(other.referenced, message, "keep one of them");
        }
        let url = reader.text(tree, "a URL")?;
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
            let message = format!("expected a URL, found `{url}`");
            reader.tell(tree.referenced, message, "write `https://orders.example/orders`");
            return None;
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        let slash = if path.starts_with('/') { "" } else { "/" };
        return Some((Some(host.to_owned()), format!("{slash}{path}")));
    }
    let host = match fields.find("host") {
        Some(tree) => Some(reader.text(tree, "the name of a host")?.to_owned()),
        None => None,
    };
    let path = reader.needed(fields, "path", "`request`", "write `path: /orders`, or a `url`")?;
    Some((host, reader.text(path, "a path")?.to_owned()))
}

/// Each with one value or a list of them.
fn headers(reader: &mut Reader, tree: &Tree) -> Vec<(String, String)> {
    let Some(entries) = reader.entries(tree, "`headers`") else { return Vec::new() };
    let mut headers = Vec::new();
    for (name, at, tree) in entries.iter() {
        let name = name.to_ascii_lowercase();
        if name == "authorization" || name.starts_with(':') {
            let remedy = "write `gatepass`, `method`, `host` and `path`";
            reader.tell(*at, format!("header `{name}` is written by the test itself"), remedy);
        }
        let values = match &tree.value {
            Node::List(_) => reader.texts(tree, "values of a header"),
            _ => {
                reader.text(tree, "the value of a header").map(str::to_owned).into_iter().collect()
            }
        };
        headers.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    headers
}

const REQUEST_FIELDS: [&str; 8] =
    ["method", "url", "host", "path", "headers", "body", "json", "source"];
