//! A real control plane that has people, a policy and an agent, an upstream, and as many real Envoys
//! in front of it as a test launches.

use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass::fleet::FleetView;
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, PluginConfig};
use serde_json::{Value, json};

use super::desk::{Agent, Desk, word};
use super::filter;
use super::upstream::Upstream;
use super::wire::{Connection, Response};
use super::world::{Failed, bearing};

/// All parts but the Envoys.
pub struct Edge {
    pub desk: Desk,
    pub agent: Agent,
    pub upstream: Upstream,
    join: String,
}

impl Edge {
    /// # Errors
    /// Whatever could not be started.
    pub fn start() -> Result<Self, Failed> {
        let desk = Desk::start("prod", false)?;
        let known = ["--name", "Alice", "--contact", "#purchasing", "--reason", "joined"];
        desk.done(&[&["person", "add", ALICE], &known[..]].concat())?;
        let ceiling = desk.file("ceiling.json", CEILING)?;
        let answered_for = ["--owners", "purchasing", "--ceiling", &ceiling];
        let why = ["--purpose", "orders office supplies", "--reason", "agreed with finance"];
        desk.done(&[&["blueprint", "add", "buyer"], &answered_for[..], &why].concat())?;
        let policy = desk.file("policy.yaml", POLICY)?;
        desk.done(&["policy", "publish", &policy, "--reason", "first version"])?;
        let agent = desk.agent("paper-bot", "buyer", ALICE)?;
        let joined = desk.done(&["join-token", "add", FLEET, "--reason", "the fleet"])?;
        let join = word(&joined, "gpj_")?;
        Ok(Self { desk, agent, upstream: Upstream::start()?, join })
    }

    /// One more Envoy that follows the feed and serves.
    ///
    /// # Errors
    /// It does not start.
    pub fn envoy(&self) -> Result<Envoy, Failed> {
        self.envoy_with(&self.desk.plugin()?)
    }

    /// The same with a plugin configuration of the test's.
    ///
    /// # Errors
    /// It does not start.
    pub fn envoy_with(&self, plugin: &PluginConfig) -> Result<Envoy, Failed> {
        Ok(Envoy::launch(&self.bootstrap(plugin)?)?)
    }

    /// Its configuration.
    ///
    /// # Errors
    /// The filter does not build.
    pub fn bootstrap(&self, plugin: &PluginConfig) -> Result<Bootstrap, Failed> {
        let gate = Gate::new(filter::path()?, plugin).host_env("GATEPASS_JOIN_TOKEN");
        Ok(Bootstrap::new()
            .listener(Listener::forwarding("in", self.upstream.address()).gate(gate))
            .feed(self.desk.feed())
            .workers(WORKERS)
            .env("GATEPASS_JOIN_TOKEN", &self.join))
    }

    /// The join token of the Envoys.
    #[must_use]
    pub fn join(&self) -> &str {
        &self.join
    }

    /// The fleet as the control plane sees it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn fleet(&self) -> Result<FleetView, Failed> {
        Ok(serde_json::from_str(&self.desk.done(&["fleet", "--json"])?)?)
    }

    /// Looks at the fleet until it is as wanted.
    ///
    /// # Errors
    /// The last look, when the time is over.
    pub fn until_fleet(
        &self,
        within: Duration,
        is: impl Fn(&FleetView) -> bool,
    ) -> Result<FleetView, Failed> {
        let start = Instant::now();
        loop {
            let view = self.fleet()?;
            if is(&view) {
                return Ok(view);
            }
            if start.elapsed() > within {
                return Err(format!("after {within:?} the fleet is still {view:#?}").into());
            }
        }
    }

    /// A gatepass for reading orders.
    ///
    /// # Errors
    /// The OAuth error.
    pub fn reading(&self) -> Result<String, Failed> {
        let asked = [("resource", AUDIENCE), ("authorization_details", READ)];
        Ok(self.agent.gatepass(&asked)?.token)
    }
}

impl Edge {
    /// Starts the server anew with no bound on what one agent may ask for.
    ///
    /// # Errors
    /// It does not start.
    pub fn unbound(&mut self) -> Result<(), Failed> {
        self.desk.stop()?;
        let bound = "issued_per_minute = 600";
        self.desk.configure(|text| text.replace(bound, "issued_per_minute = 100000000"))?;
        self.desk.serve()
    }

    /// A gatepass for reading orders that can be revoked by itself.
    ///
    /// # Errors
    /// The OAuth error.
    pub fn issued(&self) -> Result<Issued, Failed> {
        Issued::of(self.reading()?)
    }

    /// The same for another action, good for so many seconds.
    ///
    /// # Errors
    /// The OAuth error.
    pub fn issued_for(&self, action: &str, seconds: u32) -> Result<Issued, Failed> {
        let details = json!([{ "type": "agent_action", "actions": [action] }]).to_string();
        let seconds = seconds.to_string();
        let asked = [
            ("resource", AUDIENCE),
            ("authorization_details", details.as_str()),
            ("lifetime", seconds.as_str()),
        ];
        Issued::of(self.agent.gatepass(&asked)?.token)
    }
    /// Revokes one gatepass; the answer as it came.
    ///
    /// # Errors
    /// There was none.
    pub fn revoke(&self, jti: &str) -> Result<Response, Failed> {
        let body = json!({ "kind": "credential", "id": jti, "reason": "a test" }).to_string();
        let (admin, token) = (self.desk.admin(), self.desk.token());
        let request = format!(
            "POST /v1/revocations HTTP/1.1\r\nhost: {admin}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(Connection::open(admin)?.exchange(request.as_bytes())?)
    }
}

/// A gatepass that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    pub jti: String,
    pub token: String,
}

impl Issued {
    /// Reads the id of a gatepass out of it.
    ///
    /// # Errors
    /// It is none.
    pub fn of(token: String) -> Result<Self, Failed> {
        let claims = token.split('.').nth(1).unwrap_or_default();
        let claims: Value = serde_json::from_slice(
            &URL_SAFE_NO_PAD.decode(claims).map_err(|error| error.to_string())?,
        )?;
        let jti = claims.get("jti").and_then(Value::as_str).ok_or("it has no `jti`")?;
        Ok(Self { jti: jti.to_owned(), token })
    }
}

/// One request without a body on a connection of its own.
///
/// # Errors
/// The connection broke.
pub fn ask(envoy: &Envoy, path: &str, gatepass: Option<&str>) -> Result<Response, Failed> {
    let mut connection = Connection::open(envoy.address("in")?)?;
    Ok(connection.exchange(&bearing("GET", path, gatepass))?)
}

/// Sends a signal, by its name, to a process that the test started.
///
/// # Errors
/// It is gone.
pub fn signal(process: u32, name: &str) -> Result<(), Failed> {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("no {name} to {process}").into()),
    }
}

pub const ALICE: &str = "user:corp/alice";
/// The fleet of the join token.
pub const FLEET: &str = "edge";
pub const WORKERS: u32 = 2;
pub const AUDIENCE: &str = "https://orders.example";
const READ: &str = r#"[{"type":"agent_action","actions":["orders:read"]}]"#;
const CEILING: &str = r#"{"entries": [{"actions": ["orders:read", "orders:list"]}]}"#;
/// The shortest staleness bound there is, so that an Envoy is soon missed.
pub const POLICY: &str = "\
actions:
  orders:read: {risk: low, staleness: 60s}
  orders:list: {risk: high, staleness: 3s}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: GET /orders
        action: orders:read
      - match: GET /lists
        action: orders:list
      - match: GET /healthz
        public: true
";
