//! Requests with bodies, as clients write them: an order as JSON, and the same as a call of an MCP tool, of just
//! so many bytes.
//!
//! Nested objects and arrays, numbers with and without a fraction, escapes and text beyond ASCII, without
//! blanks. The amount that the policy bounds stands at the end.

/// An order is allowed by its amount, which stands in the body.
pub const POLICY: &str = include_str!("documents.yaml");

/// Where they are sent, and who may send them.
pub const ORDERS: &str = "/orders";
pub const TOOLS: &str = "/mcp";
pub const SCOPE: &str = "orders.write";
/// What the policy calls them.
pub const ACTIONS: [&str; 2] = ["orders:create", "tools:create_order"];

/// An order with this amount.
#[must_use]
pub fn order(bytes: usize, amount: &str) -> Vec<u8> {
    let before = r#"{"order":{"id":"018f3a7e-5b1c-7d20-9a53-6f1f6a0c2b11","customer":{"name":"Jos\u00e9 Müller","address":{"street":"Lange Straße 12","city":"Köln","zip":"50667"},"vip":true},"lines":["#;
    let after = format!(r#"],"total":{{"amount":{amount},"currency":"EUR"}}}}}}"#);
    filled(bytes, before, &after)
}

pub const ORDER_HEADERS: &[(&str, &str)] =
    &[("content-type", "application/json"), ("accept", "application/json")];

/// A call of the tool with this amount.
#[must_use]
pub fn call(bytes: usize, amount: &str) -> Vec<u8> {
    let before = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"_meta":{"progressToken":"018f3a7e","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"buyer","version":"1.4.0"},"io.modelcontextprotocol/clientCapabilities":{}},"name":"create_order","arguments":{"customer":{"name":"Jos\u00e9 Müller","vip":true},"lines":["#;
    let after = format!(r#"],"amount":{amount},"currency":"EUR"}}}}}}"#);
    filled(bytes, before, &after)
}

/// With those that MCP 2026-07-28 asks for.
pub const CALL_HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", "2026-07-28"),
    ("mcp-method", "tools/call"),
    ("mcp-name", "create_order"),
];

/// As many lines as fit, the last with a note that makes up what is missing.
fn filled(bytes: usize, before: &str, after: &str) -> Vec<u8> {
    let mut out = before.to_owned();
    let closing = |note: &str| format!(r#"{{"note":"{note}"}}"#);
    let least = after.len() + closing("").len();
    for at in 0.. {
        let line = line(at);
        if out.len() + line.len() + least > bytes {
            break;
        }
        out.push_str(&line);
    }
    let missing = bytes.saturating_sub(out.len() + least);
    out.push_str(&closing(&"x".repeat(missing)));
    out.push_str(after);
    out.into_bytes()
}

fn line(at: usize) -> String {
    let (count, cents) = (at % 9 + 1, at * 37 % 100);
    format!(
        r#"{{"sku":"SKU-{at:06}","name":"Bracket \"M8\", galvanised\nn\u00ba {at}","count":{count},"price":{count}.{cents:02},"mass":1.25e-1,"tags":["steel","außen"],"gift":false,"size":{{"w":40,"h":-3.5}},"sale":null}},"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_json_of_the_size_that_is_asked_for() {
        for bytes in [1 << 10, 16 << 10, 256 << 10] {
            for made in [order(bytes, "1.00"), call(bytes, "1.00")] {
                assert_eq!(made.len(), bytes);
                assert!(serde_json::from_slice::<serde_json::Value>(&made).is_ok());
            }
        }
    }
}
