//! What is decided by its body: an order, and calls of tools on a real MCP server.

use std::time::Instant;

use gatepass_tests::kit::desk::{Issued, PATIENCE, quoted};
use gatepass_tests::kit::orders::HOST;
use gatepass_tests::kit::wire::{Connection, Response, request};
use gatepass_tests::kit::world::Failed;
use serde_json::{Value, json};

use super::{Demo, Pass};

impl Demo {
    /// The body is what counts, whatever the query says.
    pub(super) fn bodies(&mut self) -> Result<(), Failed> {
        let pass = Pass::keep("basket", self.scene.buyer.gatepass(&BASKET)?)?;
        let order =
            |amount: &str| json!({"total": {"amount": amount, "currency": "EUR"}}).to_string();
        let name = "an order whose body is within the limit";
        self.post(name, "/basket", &pass, &order("120.00"), "200")?;
        let name = "one whose body exceeds it while its query lies";
        let lying = "/basket?sum=1.00&currency=EUR";
        self.post(name, lying, &pass, &order("50000.00"), "403 constraint_violated")?;
        let name = "one that says its amount twice";
        let twice = r#"{"total":{"amount":"1.00","amount":"50000.00","currency":"EUR"}}"#;
        self.post(name, "/basket", &pass, twice, "400 body_malformed")
    }

    fn post(
        &mut self,
        name: &str,
        path: &str,
        pass: &Pass,
        body: &str,
        expected: &str,
    ) -> Result<(), Failed> {
        let _ = self.scene.upstream.take();
        let start = Instant::now();
        let answer = exchange(&mut self.scene.connect()?, HOST, path, &pass.issued, &[], body)?;
        let took = start.elapsed();
        // Whatever is refused was seen by nobody.
        let received = self.scene.upstream.take().len();
        let expected_there = usize::from(expected == "200");
        let seen = |count: usize| if count == expected_there { "" } else { " at the upstream" };
        let how = self.curl("POST", path, &format!("{} --json '{body}'", pass.header()))?;
        let got = format!("{}{}", answer.verdict(), seen(received));
        self.summary.step(name, &how, expected, &got, took);
        Ok(())
    }

    /// One tool of three, and the list as the agent sees it.
    pub(super) fn tools(&mut self) -> Result<(), Failed> {
        let pass = Pass::keep("tools", self.scene.buyer.gatepass(&SHOP)?)?;
        let answer = self.call(&pass, "tools/list", None, &json!({}))?;
        let listed: Vec<&str> = answer
            .pointer("/result/tools")
            .and_then(Value::as_array)
            .map(|tools| tools.iter().filter_map(|tool| tool.get("name")?.as_str()).collect())
            .unwrap_or_default();
        let how = "  # MCP tools/list: the server has some fifteen";
        let name = "an MCP server's list shows the agent the tools that it may call";
        self.tell(name, how, "search, pay", &listed.join(", "));

        let found = json!({"query": "paper"});
        let name = "a tool that it may call";
        self.tool(name, &pass, "search", &found, "found paper")?;
        let name = "one that it may not";
        self.tool(name, &pass, "wipe", &json!({"confirm": true}), "no_route")?;
        let dear = json!({"amount": "900.00", "currency": "EUR"});
        let name = "one that it may, with an argument over its limit";
        let id = self.tool(name, &pass, "pay", &dear, "constraint_violated")?;
        self.explained(&id)?;
        let ran = self.scene.tools.ran()?.join(", ");
        self.tell("the server has run the one that was allowed", "", "search", &ran);
        Ok(())
    }

    fn tool(
        &mut self,
        name: &str,
        pass: &Pass,
        tool: &str,
        arguments: &Value,
        expected: &str,
    ) -> Result<String, Failed> {
        let answer = self.call(pass, "tools/call", Some(tool), arguments)?;
        let denied = answer.pointer("/error/data/code");
        let said = denied.or_else(|| answer.pointer("/result/content/0/text"));
        let got = said.and_then(Value::as_str).unwrap_or("no answer").to_owned();
        let how = format!("  # MCP tools/call {tool} {arguments}");
        self.tell(name, &how, expected, &got);
        let id = answer.pointer("/error/data/decision_id").and_then(Value::as_str);
        Ok(id.unwrap_or_default().to_owned())
    }

    /// What the denied caller has is enough to find out why.
    fn explained(&mut self, id: &str) -> Result<(), Failed> {
        let command = ["explain", id];
        let start = Instant::now();
        let mut said = self.scene.desk.run(&command)?;
        while !said.ok && start.elapsed() < PATIENCE {
            said = self.scene.desk.run(&command)?;
        }
        let found = |what: &str| said.text.contains(what);
        let told = ["constraint_violated", "shop:pay", "900.0000 EUR"];
        let got = told.iter().filter(|what| found(what)).copied().collect::<Vec<_>>().join(", ");
        let how = format!("  gatepass {}", quoted(&command));
        let name = "the decision is found by its id and explained";
        self.summary.step(name, &how, &told.join(", "), &got, start.elapsed());
        Ok(())
    }

    fn tell(&mut self, name: &str, how: &str, expected: &str, got: &str) {
        self.summary.step(name, how, expected, got, core::time::Duration::ZERO);
    }

    /// As a client of MCP 2026-07-28 says it.
    pub(super) fn call(
        &self,
        pass: &Pass,
        method: &str,
        tool: Option<&str>,
        arguments: &Value,
    ) -> Result<Value, Failed> {
        let mut params = json!({"_meta": {
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": {"name": "demo", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }});
        let mut headers = vec![("mcp-protocol-version", REVISION), ("mcp-method", method)];
        headers.push(("accept", "application/json, text/event-stream"));
        if let Some(tool) = tool {
            headers.push(("mcp-name", tool));
            if let Some(members) = params.as_object_mut() {
                members.insert("name".to_owned(), tool.into());
                members.insert("arguments".to_owned(), arguments.clone());
            }
        }
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let address = self.scene.envoy.address("mcp")?;
        let mut connection = Connection::open(address)?;
        let issued = &pass.issued;
        let text = message.to_string();
        // The SDK answers to the names of its own host alone.
        let host = address.to_string();
        let answer = exchange(&mut connection, &host, "/mcp", issued, &headers, &text)?;
        Ok(said(&answer.body))
    }
}

fn exchange(
    connection: &mut Connection,
    host: &str,
    path: &str,
    pass: &Issued,
    more: &[(&str, &str)],
    body: &str,
) -> Result<Response, Failed> {
    let bearer = format!("Bearer {}", pass.token);
    let length = body.len().to_string();
    let own = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
    ];
    let mut bytes = request("POST", host, path, &[&own[..], more].concat());
    bytes.extend_from_slice(body.as_bytes());
    Ok(connection.exchange(&bytes)?)
}

/// The message of an answer: its body, or the last event.
fn said(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let last = events.filter_map(|data| serde_json::from_str(data.trim()).ok()).next_back();
    last.or_else(|| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// An order of at most 500 EUR, in a basket.
const BASKET: [(&str, &str); 3] = [
    ("resource", "https://orders.example"),
    ("scope", "orders.write"),
    (
        "authorization_details",
        r#"[{"type":"agent_action","actions":["orders:buy"],"constraints":{"amount":{"max":"500.00 EUR"}}}]"#,
    ),
];
/// Searching, and paying 50 EUR.
const SHOP: [(&str, &str); 2] = [
    ("resource", "https://tools.example"),
    (
        "authorization_details",
        r#"[{"type":"agent_action","actions":["shop:session","shop:search"]},{"type":"agent_action","actions":["shop:pay"],"constraints":{"amount":{"max":"50.00 EUR"}}}]"#,
    ),
];
const REVISION: &str = "2026-07-28";
