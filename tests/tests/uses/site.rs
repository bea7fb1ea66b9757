//! A control plane whose feed asks for certificates, an upstream, and Envoys that show one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass_envoy::{Bootstrap, ClientCertificate, Envoy, FeedTls, Gate, Listener};
use gatepass_tests::kit::desk::{Agent, Desk};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::{bearing, until};
use serde_json::Value;

use crate::certificates::{Files, certificates};

pub(crate) struct Site {
    pub(crate) desk: Desk,
    pub(crate) agents: Vec<Agent>,
    pub(crate) upstream: Upstream,
    files: Files,
}

/// A gatepass that is to be spent.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) jti: String,
    pub(crate) token: String,
}

impl Site {
    pub(crate) fn start() -> Self {
        let mut desk = Desk::start("prod", false).unwrap();
        desk.stop().unwrap();
        let files = certificates(&desk.dir());
        desk.configure(|text| {
            let tls = "followers = \"certificate\"\ntls = { certificate = \"server.pem\", key = \"server.key\", client_ca = \"ca.pem\" }";
            text.replace("followers = \"join_token\"", tls)
                .replace("issued_per_minute = 600", "issued_per_minute = 100000000")
        })
        .unwrap();
        desk.serve().unwrap();
        let known = ["--name", "Alice", "--contact", "#purchasing", "--reason", "joined"];
        desk.done(&[&["person", "add", ALICE], &known[..]].concat()).unwrap();
        let ceiling = desk.file("ceiling.json", CEILING).unwrap();
        let answered_for = ["--owners", "purchasing", "--ceiling", &ceiling];
        let why = ["--purpose", "orders office supplies", "--reason", "agreed with finance"];
        desk.done(&[&["blueprint", "add", "buyer"], &answered_for[..], &why].concat()).unwrap();
        let policy = desk.file("policy.yaml", POLICY).unwrap();
        desk.done(&["policy", "publish", &policy, "--reason", "first version"]).unwrap();
        let agents = (0..AGENTS).map(|n| desk.agent(&format!("bot-{n}"), "buyer", ALICE).unwrap());
        let agents = agents.collect();
        Self { desk, agents, upstream: Upstream::start().unwrap(), files }
    }

    /// One more Envoy that follows the feed and serves.
    pub(crate) fn envoy(&self, node: &str) -> Envoy {
        let listener = Listener::forwarding("in", self.upstream.address());
        self.envoy_with(node, listener)
    }

    pub(crate) fn envoy_with(&self, node: &str, listener: Listener) -> Envoy {
        let gate = Gate::new(filter::path().unwrap(), &self.desk.plugin().unwrap());
        let client = ClientCertificate {
            certificate: self.files.client.clone(),
            key: self.files.client_key.clone(),
        };
        let tls = FeedTls { sni: "localhost".to_owned(), ca: self.files.ca.clone(), client };
        let bootstrap = Bootstrap::new()
            .node(node)
            .listener(listener.gate(gate))
            .feed(self.desk.feed())
            .feed_tls(tls)
            .workers(WORKERS);
        let envoy = Envoy::launch(&bootstrap).unwrap();
        let pass = self.pass("orders:read");
        // Every worker.
        for _ in 0..8 {
            until(SOON, || Ok(ask(&envoy, "GET", "/orders", &pass)), |told| told.status == 200)
                .unwrap();
        }
        envoy
    }

    pub(crate) fn pass(&self, action: &str) -> Pass {
        self.pass_of(0, action)
    }

    pub(crate) fn pass_of(&self, agent: usize, action: &str) -> Pass {
        let details = format!(r#"[{{"type":"agent_action","actions":["{action}"]}}]"#);
        self.pass_with(agent, &details)
    }

    pub(crate) fn pass_with(&self, agent: usize, details: &str) -> Pass {
        let asked =
            [("resource", AUDIENCE), ("authorization_details", details), ("lifetime", "900")];
        let token = self.agents.get(agent).unwrap().gatepass(&asked).unwrap().token;
        let claims = token.split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        Pass { jti: claims.get("jti").and_then(Value::as_str).unwrap().to_owned(), token }
    }

    /// Uses that are on the control plane's record.
    pub(crate) fn spent(&self) -> u64 {
        let export = self.desk.done(&["audit", "export"]).unwrap();
        export.lines().filter(|line| line.contains("gatepass.use")).count().try_into().unwrap()
    }
}

pub(crate) fn ask(envoy: &Envoy, method: &str, path: &str, pass: &Pass) -> Response {
    let mut connection = Connection::open(envoy.address("in").unwrap()).unwrap();
    connection.exchange(&bearing(method, path, Some(&pass.token))).unwrap()
}

pub(crate) fn pay(envoy: &Envoy, pass: &Pass) -> Response {
    ask(envoy, "GET", "/payments", pass)
}

/// Asks over kept connections, `at_once` of them in turn over the Envoys, and gives what was said to each in
/// the order of `asked`.
pub(crate) fn pay_all(envoys: &[&Envoy], asked: &[Pass], at_once: usize) -> Vec<String> {
    let next = Arc::new(Mutex::new(0_usize));
    let told = Mutex::new(vec![String::new(); asked.len()]);
    let start = std::sync::Barrier::new(at_once);
    std::thread::scope(|scope| {
        for number in 0..at_once {
            let address = envoys[number % envoys.len()].address("in").unwrap();
            let (next, told, start) = (Arc::clone(&next), &told, &start);
            scope.spawn(move || {
                let mut connection = Connection::open(address).unwrap();
                start.wait();
                loop {
                    let at = {
                        let mut next = next.lock().unwrap();
                        let at = *next;
                        *next += 1;
                        at
                    };
                    let Some(pass) = asked.get(at) else { return };
                    let request = bearing("GET", "/payments", Some(&pass.token));
                    let verdict = match connection.exchange(&request) {
                        Ok(response) => response.verdict(),
                        Err(_) => {
                            connection = Connection::open(address).unwrap();
                            "broken".to_owned()
                        }
                    };
                    told.lock().unwrap()[at] = verdict;
                }
            });
        }
    });
    told.into_inner().unwrap()
}

pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const AUDIENCE: &str = "https://orders.example";
const ALICE: &str = "user:corp/alice";
const WORKERS: u32 = 2;
pub(crate) const AGENTS: usize = 4;
const CEILING: &str = r#"{"entries": [{"actions": ["orders:read", "orders:pay", "orders:note", "orders:settle", "orders:buy"]}]}"#;
const POLICY: &str = "\
actions:
  orders:read: {risk: low, staleness: 900s}
  orders:pay: {risk: low, staleness: 900s, uses: once}
  orders:note: {risk: low, staleness: 900s, audit: confirmed}
  orders:settle: {risk: low, staleness: 900s, uses: once, audit: confirmed}
  orders:buy: {risk: low, staleness: 900s, uses: once, body: json}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /orders
        action: orders:read
      - match: GET /payments
        action: orders:pay
      - match: GET /notes
        action: orders:note
      - match: GET /settlements
        action: orders:settle
      - match: POST /purchases
        action: orders:buy
        inputs:
          count: {type: integer, body: /count}
";
