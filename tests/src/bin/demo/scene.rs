//! What stands before the demo begins: two control planes, an upstream, an Envoy with the gate.

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener};
use gatepass_tests::kit::desk::{Agent, Desk, word};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::peers::Server;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::{Connection, Response, WireError};
use gatepass_tests::kit::world::{Failed, bearing};

use crate::steps::Options;

/// All parts, running.
pub(crate) struct Scene {
    pub(crate) desk: Desk,
    /// Serves until the scene ends; only its agent is asked.
    _dev: Desk,
    pub(crate) buyer: Agent,
    pub(crate) dev_buyer: Agent,
    /// The token of the operator who is Bob.
    pub(crate) bob: String,
    pub(crate) upstream: Upstream,
    /// On the official SDK, behind the listener `mcp`.
    pub(crate) tools: Server,
    pub(crate) envoy: Envoy,
}

impl Scene {
    pub(crate) fn set(options: &Options) -> Result<Self, Failed> {
        println!("# root keys elsewhere, a working directory, a signed root document, a server");
        let mut desk = Desk::start_aloud("prod")?;
        println!("\n# people, a blueprint with its ceiling, a policy, an agent with its key");
        let (server, token) = (desk.admin(), desk.token());
        println!("  export GATEPASS_SERVER=http://{server} GATEPASS_TOKEN={token}");
        let buyer = furnish(&desk)?;
        // Another environment, made in the same way.
        let dev = Desk::start("dev", false)?;
        let dev_buyer = furnish(&dev)?;
        println!("\n# Bob, who will take an agent over, and the token of the fleet of Envoys");
        let operator = ["operator", "add", "bob", "--person", BOB, "--reason", "owns agents"];
        desk.done(&operator)?;
        let added = ["token", "add", "bob", "--role", "viewer", "--reason", "to accept agents"];
        let bob = word(&desk.done(&added)?, "gpo_")?;
        let joined = desk.done(&["join-token", "add", "edge", "--reason", "the fleet `edge`"])?;
        let join = word(&joined, "gpj_")?;
        println!("  export BOB={bob} GATEPASS_JOIN_TOKEN={join}");
        desk.hush();
        println!(
            "\n# an Envoy with the gate on {WORKERS} workers, following the feed with its fleet's join token"
        );
        let mut plugin = desk.plugin()?;
        if options.foreign_roots {
            plugin.roots = dev.plugin()?.roots;
        }
        let upstream = Upstream::start()?;
        let tools = Server::mcp()?;
        let gate = Gate::new(filter::path()?, &plugin).host_env("GATEPASS_JOIN_TOKEN");
        let bootstrap = Bootstrap::new()
            .listener(Listener::forwarding("in", upstream.address()).gate(gate.clone()))
            .listener(Listener::forwarding("mcp", tools.address()).gate(gate))
            .feed(desk.feed())
            .workers(WORKERS)
            .env("GATEPASS_JOIN_TOKEN", &join);
        let envoy = Envoy::launch(&bootstrap)?;
        Ok(Self { desk, _dev: dev, buyer, dev_buyer, bob, upstream, tools, envoy })
    }

    pub(crate) fn connect(&self) -> Result<Connection, Failed> {
        Ok(Connection::open(self.envoy.address("in")?)?)
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        gatepass: Option<&str>,
    ) -> Result<Response, Failed> {
        Ok(self.connect()?.exchange(&bearing(method, path, gatepass))?)
    }

    /// Each worker, found by the VM that answers.
    pub(crate) fn workers(&self) -> Result<Vec<Worker>, Failed> {
        let mut found: Vec<Worker> = Vec::new();
        for _ in 0..WORKERS * 64 {
            let worker = self.some_worker()?;
            if !worker.vm.is_empty() && !found.iter().any(|known| known.vm == worker.vm) {
                found.push(worker);
            }
            if found.len() == WORKERS as usize {
                return Ok(found);
            }
        }
        Err(format!("{} of {WORKERS} workers were reached", found.len()).into())
    }

    fn some_worker(&self) -> Result<Worker, Failed> {
        let mut connection = self.connect()?;
        let response = connection.exchange(&bearing("GET", "/healthz", None))?;
        let vm = response.header("x-gatepass-vm").unwrap_or_default().to_owned();
        Ok(Worker { vm, connection })
    }
}

/// A kept-alive connection to one worker.
pub(crate) struct Worker {
    vm: String,
    connection: Connection,
}

impl Worker {
    /// What it says to a request; what is open when it is revoked is cut, and asked again of the same worker.
    pub(crate) fn verdict(&mut self, scene: &Scene, request: &[u8]) -> Result<String, Failed> {
        for _ in 0..WORKERS * 64 {
            match self.connection.exchange(request) {
                Ok(response) => return Ok(response.verdict()),
                Err(WireError::Closed(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let other = scene.some_worker()?;
            if other.vm == self.vm {
                self.connection = other.connection;
            }
        }
        Err(format!("worker {} is not reached any more", self.vm).into())
    }
}

/// Alice and Bob, a blueprint that may order for 500 EUR at most, a policy, and Alice's agent.
fn furnish(desk: &Desk) -> Result<Agent, Failed> {
    for (id, name) in [(ALICE, "Alice"), (BOB, "Bob")] {
        let known = ["--name", name, "--contact", "#purchasing", "--reason", "joined"];
        desk.done(&[&["person", "add", id], &known[..]].concat())?;
    }
    let ceiling = desk.file("ceiling.json", CEILING)?;
    let answered_for = ["--owners", "purchasing", "--ceiling", &ceiling];
    let why = ["--purpose", "orders office supplies", "--reason", "agreed with finance"];
    desk.done(&[&["blueprint", "add", "buyer"], &answered_for[..], &why].concat())?;
    let policy = desk.file("policy.yaml", POLICY)?;
    desk.done(&["policy", "publish", &policy, "--reason", "first version"])?;
    desk.agent("paper-bot", "buyer", ALICE)
}

pub(crate) const ALICE: &str = "user:corp/alice";
pub(crate) const BOB: &str = "user:corp/bob";
/// At least 4, so that the slowest of several is seen.
pub(crate) const WORKERS: u32 = 4;
const CEILING: &str = r#"{
  "entries": [
    {"actions": ["orders:create", "orders:buy"], "constraints": {"amount": {"max": "500.00 EUR"}}},
    {"actions": ["shop:session", "shop:search"]},
    {"actions": ["shop:pay"], "constraints": {"amount": {"max": "50.00 EUR"}}},
    {"actions": ["orders:read", "bills:read"]}
  ],
  "scopes": ["orders.write"]
}"#;
/// The shortest staleness bound there is, so that the outage is short.
pub(crate) const POLICY: &str = "\
actions:
  orders:create: {risk: high, scopes: {all: [orders.write]}, staleness: 3s}
  orders:read: {risk: low, staleness: 30s}
  bills:read: {risk: low}
  orders:buy: {risk: high, body: json, scopes: {all: [orders.write]}, staleness: 3s}
  shop:session: {risk: low, body: json}
  shop:search: {risk: low, body: json}
  shop:pay: {risk: high, body: json}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {type: money, query: amount, currency: {query: currency}}
          item: {type: text, query: item}
      - match: GET /orders
        action: orders:read
      - match: POST /basket
        action: orders:buy
        inputs:
          amount: {type: money, body: /total/amount, currency: {body: /total/currency}}
      - match: GET /healthz
        public: true
  - names: [billing.example]
    audience: https://billing.example
    routes:
      - match: GET /bills
        action: bills:read
  - names: [127.0.0.1]
    audience: https://tools.example
    routes:
      - match: POST /mcp
        mcp: [initialize, server/discover, notifications/initialized, tools/list, answers]
        action: shop:session
      - match: POST /mcp
        mcp: tools/call search
        action: shop:search
      - match: POST /mcp
        mcp: tools/call pay
        action: shop:pay
        inputs:
          amount: {type: money, argument: amount, currency: {argument: currency}}
";
