//! `gatepass policy import-mcp`: a policy from an MCP server's own list of tools.

use std::path::PathBuf;

use axum::http::StatusCode;
use clap::Args;
use gatepass::client::{Answer, Client};
use gatepass_policy::mcp::{Server, import};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Outcome;

#[derive(Args)]
pub(crate) struct ImportMcp {
    /// The server's address, such as `https://tools.example/mcp`, or a file with its answer to `tools/list`.
    from: String,
    /// What agents call the host. The address's unless stated.
    #[arg(long)]
    host: Option<String>,
    /// What `aud` must contain. `https://HOST` unless stated.
    #[arg(long)]
    audience: Option<String>,
    /// Where the gate sees the server. The address's unless stated; `/mcp` of a file.
    #[arg(long)]
    path: Option<String>,
    /// A file with a bearer token that the server asks for.
    #[arg(long, value_name = "FILE")]
    bearer_file: Option<PathBuf>,
}

impl ImportMcp {
    pub(crate) async fn run(&self, ca: Option<&std::path::Path>) -> Outcome<String> {
        let (tools, host, path) = match self.from.split_once("://") {
            Some((scheme, rest)) => {
                let at = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(at);
                let token = match &self.bearer_file {
                    Some(path) => {
                        Some(Zeroizing::new(super::admin::read_text(path)?.trim().to_owned()))
                    }
                    None => None,
                };
                let client = Client::new(&format!("{scheme}://{authority}"), token, ca)?;
                let path = if path.is_empty() { "/" } else { path };
                let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
                (listed(&client, path).await?, name.to_owned(), path.to_owned())
            }
            None => {
                let text = super::admin::read_text(&PathBuf::from(&self.from))?;
                let tools: Value = serde_json::from_str(&text)
                    .map_err(|error| format!("`{}` is not JSON: {error}", self.from))?;
                (tools, String::new(), "/mcp".to_owned())
            }
        };
        let host = self.host.clone().unwrap_or(host);
        if host.is_empty() {
            return Err("a file does not say what agents call the host: give `--host`".into());
        }
        let audience = self.audience.clone().unwrap_or_else(|| format!("https://{host}"));
        let path = self.path.as_deref().unwrap_or(&path);
        let text = import(Server { host: &host, audience: &audience, path }, &tools)?;
        // What is printed is what can be published.
        match gatepass_policy::compile(&text) {
            Ok(_) => Ok(text),
            Err(problems) => {
                let shown = gatepass_policy::report(&problems);
                Err(format!("the server's list makes no policy:\n{shown}").into())
            }
        }
    }
}

/// All pages of the server's list: without a session as MCP has it since 2026-07-28, else after the handshake of
/// the revisions before.
async fn listed(client: &Client, path: &str) -> Outcome<Value> {
    let modern =
        [("mcp-protocol-version", MODERN.to_owned()), ("mcp-method", "tools/list".to_owned())];
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "gatepass", "version": env!("CARGO_PKG_VERSION")},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let first = client.post_message(path, &list_call(None, Some(&meta)), &modern).await?;
    if first.status == StatusCode::UNAUTHORIZED || first.status == StatusCode::FORBIDDEN {
        return Err(format!("the server answered {}: give `--bearer-file`", first.status).into());
    }
    if let Some(page) = message(&first).filter(|page| page.get("result").is_some()) {
        return pages(client, path, &modern, Some(&meta), page).await;
    }
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": LEGACY, "capabilities": {},
        "clientInfo": {"name": "gatepass", "version": env!("CARGO_PKG_VERSION")},
    }});
    let answer = client.post_message(path, &hello, &[]).await?;
    let agreed = message(&answer)
        .and_then(|hello| hello.get("result")?.get("protocolVersion")?.as_str().map(str::to_owned));
    let agreed = agreed.ok_or_else(|| {
        format!("no MCP server answers at `{path}`: {} to `initialize`", answer.status)
    })?;
    let mut headers = vec![("mcp-protocol-version", agreed)];
    let session = answer.headers.get("mcp-session-id").and_then(|value| value.to_str().ok());
    headers.extend(session.map(|session| ("mcp-session-id", session.to_owned())));
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    client.post_message(path, &ready, &headers).await?;
    let first = client.post_message(path, &list_call(None, None), &headers).await?;
    let page = message(&first).ok_or_else(|| {
        format!("the server answered {} to `tools/list`, and no message", first.status)
    })?;
    pages(client, path, &headers, None, page).await
}

fn list_call(cursor: Option<&str>, meta: Option<&Value>) -> Value {
    let mut params = serde_json::Map::new();
    if let Some(cursor) = cursor {
        params.insert("cursor".to_owned(), cursor.into());
    }
    if let Some(meta) = meta {
        params.insert("_meta".to_owned(), meta.clone());
    }
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params})
}

async fn pages(
    client: &Client,
    path: &str,
    headers: &[(&'static str, String)],
    meta: Option<&Value>,
    mut page: Value,
) -> Outcome<Value> {
    let mut tools = Vec::new();
    for _ in 0..MAX_PAGES {
        let result = page.get("result").cloned().unwrap_or_default();
        let listed = result.get("tools").and_then(Value::as_array).cloned();
        tools.extend(listed.ok_or_else(|| format!("the server lists no tools: {page}"))?);
        let Some(cursor) = result.get("nextCursor").and_then(Value::as_str) else {
            return Ok(Value::Array(tools));
        };
        let answer = client.post_message(path, &list_call(Some(cursor), meta), headers).await?;
        page = message(&answer).ok_or("a page of the list is no message")?;
    }
    Err(format!("the list has more than {MAX_PAGES} pages").into())
}

/// The answer's message: its body, or the last event that has a result or an error.
fn message(answer: &Answer) -> Option<Value> {
    let text = core::str::from_utf8(&answer.body).ok()?;
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut read = data.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
    read.rfind(|value| value.get("result").or_else(|| value.get("error")).is_some())
}

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";
const MAX_PAGES: usize = 100;
