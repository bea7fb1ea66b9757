//! A policy for an MCP server, written from its list of tools: an action and typed inputs for each.
//!
//! It is a beginning, for people to read and to narrow: what a tool does is the server's word, so its hints are
//! written down as comments and decide nothing.

use core::fmt::Write as _;
use std::collections::BTreeSet;

use serde_json::Value;

/// Where the server is.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// As agents say it, without a port.
    pub host: &'a str,
    pub audience: &'a str,
    pub path: &'a str,
}

/// Writes the policy. `tools` is the list, or an answer to `tools/list` that has it.
///
/// # Errors
/// Says what of it is no list of tools.
pub fn import(server: Server<'_>, tools: &Value) -> Result<String, String> {
    let tools = list(tools).ok_or("expected a list of tools, or an answer to `tools/list`")?;
    if tools.len() > MAX_TOOLS {
        return Err(format!("more than {MAX_TOOLS} tools"));
    }
    let mut names = BTreeSet::new();
    let (mut actions, mut routes) = (String::new(), String::new());
    for tool in tools {
        let name = tool.get("name").and_then(Value::as_str).ok_or("a tool without a name")?;
        // `*` would be every tool.
        if name.is_empty() || name == "*" || name.chars().any(char::is_control) {
            return Err(format!("`{}` is no name of a tool", name.escape_debug()));
        }
        let action = free(&mut names, &plain(name));
        let hints = hints(tool);
        let _ = writeln!(actions, "  tools:{action}:{hints}\n    risk: medium\n    body: json");
        let _ = writeln!(
            routes,
            "      - match: POST {path}\n        mcp: {call}\n        action: tools:{action}",
            path = server.path,
            call = quoted(&format!("tools/call {name}")),
        );
        routes.push_str(&inputs(tool));
    }
    Ok(format!(
        "# Tools of {host}, as their server lists them. Read it, narrow it, and take out what no agent needs.
actions:
  mcp:session:
    # The handshake, lists (which show each agent what it may call), and answers to the server.
    risk: low
    body: json
  mcp:stream:
    risk: low
{actions}hosts:
  - names: [{host}]
    audience: {audience}
    routes:
      - match: POST {path}
        mcp: {session}
        action: mcp:session
      - match: GET,DELETE {path}
        action: mcp:stream
        max_duration: 1h
{routes}",
        host = quoted(server.host),
        audience = quoted(server.audience),
        path = server.path,
        session = SESSION,
    ))
}

fn list(tools: &Value) -> Option<&Vec<Value>> {
    let inside = |value: &Value, name: &str| value.get(name).cloned().is_some();
    match tools {
        Value::Array(list) => Some(list),
        answer if inside(answer, "result") => answer.get("result")?.get("tools")?.as_array(),
        answer => answer.get("tools")?.as_array(),
    }
}

fn hints(tool: &Value) -> String {
    let hint = |name: &str| tool.get("annotations").and_then(|all| all.get(name)?.as_bool());
    let mut said = Vec::new();
    if hint("readOnlyHint") == Some(true) {
        said.push("only reads");
    }
    if hint("destructiveHint") == Some(true) {
        said.push("destroys");
    }
    if said.is_empty() { String::new() } else { format!(" # the server says: {}", said.join(", ")) }
}

/// Inputs of the arguments that have a type which a policy knows.
fn inputs(tool: &Value) -> String {
    let schema = tool.get("inputSchema");
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    let mut names = BTreeSet::new();
    let mut out = String::new();
    for (argument, schema) in properties.into_iter().flatten() {
        let Some(kind) = kind(schema) else {
            let what = argument.escape_debug();
            let _ = writeln!(
                out,
                "          # no input for `{what}`: its type is none that a policy knows"
            );
            continue;
        };
        if argument.is_empty() || !argument.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
            continue;
        }
        let name = free(&mut names, &plain(argument));
        let argument = quoted(argument);
        let _ = writeln!(out, "          {name}: {{type: {kind}, argument: {argument}}}");
        if names.len() >= MAX_INPUTS {
            break;
        }
    }
    if names.is_empty() { out } else { format!("        inputs:\n{out}") }
}

fn kind(schema: &Value) -> Option<&'static str> {
    match schema.get("type")?.as_str()? {
        "string" => Some("text"),
        "integer" => Some("integer"),
        "number" => Some("decimal"),
        "boolean" => Some("boolean"),
        "array" => {
            let items = schema.get("items")?.get("type")?.as_str()?;
            (items == "string").then_some("set")
        }
        _ => None,
    }
}

/// A name as policies have them: `[a-z0-9_-]+`.
fn plain(name: &str) -> String {
    let letter = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_' | '-') => c,
        _ => '_',
    };
    name.chars().take(MAX_NAME).map(letter).collect()
}

/// The name, or the first of its numbered kin that is not taken.
fn free(taken: &mut BTreeSet<String>, name: &str) -> String {
    let numbered = (2_u32..).map(|nth| format!("{name}-{nth}"));
    let mut all = core::iter::once(name.to_owned()).chain(numbered);
    let found = all.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(found.clone());
    found
}

/// A text of JSON is a text of YAML in double quotes.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// What every client of the protocol's revisions says before, between and after its calls.
const SESSION: &str = "[initialize, server/discover, ping, tools/list, notifications/initialized, \
     notifications/cancelled, notifications/progress, notifications/roots/list_changed, answers]";
const MAX_TOOLS: usize = 5_000;
/// Inputs of one route.
const MAX_INPUTS: usize = 32;
/// With `tools:` before it and a number behind it within the bound of an action's name.
const MAX_NAME: usize = 48;

#[cfg(test)]
mod tests {
    use gatepass_engine::bundle::{InputKind, Treatment};
    use serde_json::json;

    use super::*;
    use crate::compile;

    const SERVER: Server<'_> =
        Server { host: "tools.example", audience: "https://tools.example", path: "/mcp" };

    #[test]
    fn a_list_of_tools_becomes_a_policy_that_compiles() {
        let tools = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [
            {"name": "search", "annotations": {"readOnlyHint": true}, "inputSchema": {"type": "object", "properties": {
                "query": {"type": "string"}, "limit": {"type": "integer"}, "weight": {"type": "number"},
                "exact": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}},
                "filter": {"type": "object"}, "Query": {"type": "string"}, "a/b~c": {"type": "string"},
                "é": {"type": "string"}, "x: {y}": {"type": "string"}, "x\n- z": {"type": "null"},
            }}},
            {"name": "Search", "annotations": {"destructiveHint": true}},
            {"name": "delete everything: \"now\" # {}", "inputSchema": {}},
            {"name": "löschen"},
        ]}});
        let text = import(SERVER, &tools).unwrap();
        let bundle =
            compile(&text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}")).bundle;
        let names: Vec<&str> = bundle.actions.iter().map(|action| action.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "mcp:session",
                "mcp:stream",
                "tools:search",
                "tools:search-2",
                "tools:delete_everything___now______",
                "tools:l_schen"
            ]
        );
        let Treatment::Guarded(routes) = &bundle.hosts[0].treatment else { panic!("guarded") };
        let call = |name: &str| {
            let of = |call: &gatepass_engine::bundle::Call| call.name.as_deref() == Some(name);
            routes.iter().find(|route| route.call.as_ref().is_some_and(of)).unwrap()
        };
        assert!(call("delete everything: \"now\" # {}").inputs.is_empty());
        let kinds: Vec<(&str, &InputKind)> =
            call("search").inputs.iter().map(|input| (input.name.as_str(), &input.kind)).collect();
        for (name, kind) in [
            ("query-2", InputKind::Text),
            ("limit", InputKind::Integer),
            ("weight", InputKind::Decimal),
            ("exact", InputKind::Boolean),
            ("tags", InputKind::TextSet),
            ("a_b_c", InputKind::Text),
        ] {
            assert!(kinds.contains(&(name, &kind)), "{name} in {kinds:?}");
        }
        assert_eq!(kinds.len(), 7);
        assert!(text.contains("# the server says: only reads"));
    }

    #[test]
    fn what_is_no_list_of_tools_is_refused() {
        for bad in [
            json!({}),
            json!({"result": {}}),
            json!({"tools": {}}),
            json!([{"title": "x"}]),
            json!([{"name": ""}]),
            json!([{"name": "*"}]),
            json!([{"name": "a\nb"}]),
            json!("tools"),
        ] {
            assert!(import(SERVER, &bad).is_err(), "{bad}");
        }
        assert!(import(SERVER, &json!([])).is_ok());
    }
}
