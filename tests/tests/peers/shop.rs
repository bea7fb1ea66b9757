//! A control plane as people run it, an agent, a real Envoy, and behind it a server that speaks MCP or
//! A2A.

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::desk::{Agent, Desk, word};
use gatepass_tests::kit::edge::{ALICE, Issued};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::peers::Server;
use serde_json::{Value, json};

pub(crate) const AUDIENCE: &str = "https://shop.example";

pub(crate) struct Shop {
    pub(crate) server: Server,
    pub(crate) envoy: Envoy,
    pub(crate) desk: Desk,
    agent: Agent,
}

impl Shop {
    /// The agent may ask for what `ceiling` lists, and for the scope `shop.pay`.
    pub(crate) fn open(server: Server, policy: &str, ceiling: &[&str]) -> Self {
        let desk = Desk::start("prod", false).unwrap();
        let known = ["--name", "Alice", "--contact", "#purchasing", "--reason", "joined"];
        desk.done(&[&["person", "add", ALICE], &known[..]].concat()).unwrap();
        let ceiling = json!({ "entries": [{ "actions": ceiling }], "scopes": ["shop.pay"] });
        let ceiling = desk.file("ceiling.json", &ceiling.to_string()).unwrap();
        let answered_for = ["--owners", "purchasing", "--ceiling", &ceiling];
        let why = ["--purpose", "buys", "--reason", "agreed with finance"];
        desk.done(&[&["blueprint", "add", "buyer"], &answered_for[..], &why].concat()).unwrap();
        let policy = desk.file("policy.yaml", policy).unwrap();
        desk.done(&["policy", "publish", &policy, "--reason", "first version"]).unwrap();
        let agent = desk.agent("paper-bot", "buyer", ALICE).unwrap();
        let joined = desk.done(&["join-token", "add", "edge", "--reason", "the fleet"]).unwrap();
        let join = word(&joined, "gpj_").unwrap();
        let gate = Gate::new(filter::path().unwrap(), &desk.plugin().unwrap());
        let gate = gate.host_env("GATEPASS_JOIN_TOKEN");
        let bootstrap = Bootstrap::new()
            .listener(Listener::forwarding("in", server.address()).gate(gate))
            .feed(desk.feed())
            .workers(2)
            .env("GATEPASS_JOIN_TOKEN", &join);
        let envoy = Envoy::launch(&bootstrap).unwrap();
        Self { server, envoy, desk, agent }
    }

    /// A gatepass for these actions, and this much of them.
    pub(crate) fn gatepass(&self, actions: &[&str], constraints: &Value) -> String {
        self.gatepass_with(actions, constraints, &[])
    }

    pub(crate) fn gatepass_with(
        &self,
        actions: &[&str],
        constraints: &Value,
        more: &[(&str, &str)],
    ) -> String {
        let entry =
            json!([{ "type": "agent_action", "actions": actions, "constraints": constraints }]);
        self.gatepass_of(&entry, more)
    }

    pub(crate) fn gatepass_of(&self, entries: &Value, more: &[(&str, &str)]) -> String {
        let entries = entries.to_string();
        let asked = [("resource", AUDIENCE), ("authorization_details", entries.as_str())];
        self.agent.gatepass(&[&asked[..], more].concat()).unwrap().token
    }

    /// Publishes another policy, and waits until the gate follows it.
    pub(crate) fn publish(&self, policy: &str) {
        let policy = self.desk.file("policy.yaml", policy).unwrap();
        let why = ["--reason", "another version", "--wait"];
        self.desk.done(&[&["policy", "publish", &policy], &why[..]].concat()).unwrap();
    }

    /// Revokes one gatepass, and waits until the gate has heard of it.
    pub(crate) fn revoke(&self, token: &str) {
        let issued = Issued::of(token.to_owned()).unwrap();
        let why = ["--reason", "a test", "--wait"];
        self.desk.done(&[&["revoke", "credential", &issued.jti], &why[..]].concat()).unwrap();
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.envoy.port("in").unwrap())
    }

    pub(crate) fn straight(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }
}
