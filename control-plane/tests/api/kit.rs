//! A control plane in a temporary directory, and what its tests say to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatepass::config::Config;
use gatepass::desk::operators::{OPERATOR_PREFIX, digest_text};
use gatepass::roots::PinnedRoots;
use gatepass::server::{Addresses, Server};
use gatepass::setup::{self, Init};
use gatepass_engine::clock::UnixSeconds;
use serde_json::{Value, json};

mod agent;
mod gate;
mod http;

pub(crate) use agent::{Agent, Ask, claims, key_of, post};
pub(crate) use gate::{Follower, poll, poll_of};
pub(crate) use http::{Answer, percent, send};

pub(crate) const NOW: u64 = 1_900_000_000;
pub(crate) const ORDERS: &str = "https://orders.example";
pub(crate) const FILES: &str = "https://files.example";
pub(crate) const ISSUER: &str = "https://issuer.example/prod";

pub(crate) const POLICY: &str = "\
actions:
  orders:create:
    risk: high
    scopes: {all: [orders.write]}
  orders:read:
    risk: low
  orders:list:
    risk: medium
  files:read:
    risk: low
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {type: money, query: amount, currency: {query: currency}}
          count: {type: integer, query: count}
          account: {type: text, query: account}
      - match: GET /orders/{id}
        action: orders:read
        inputs:
          id: {type: text, path: id}
      - match: GET /orders
        action: orders:list
  - names: [files.example]
    audience: https://files.example
    routes:
      - match: GET /file
        action: files:read
        inputs:
          path: {type: text, query: path}
";

/// Python with the packages of tests/requirements.txt.
pub(crate) fn python() -> std::process::Command {
    let mut command = std::process::Command::new(installed());
    // What it says of its own deprecations is not about us.
    command.args(["-W", "ignore"]);
    command
}

/// A program that came with those packages.
pub(crate) fn beside_python(name: &str) -> PathBuf {
    let program = installed().with_file_name(name);
    assert!(program.exists(), "no `{}`: run `make tools`", program.display());
    program
}

/// Nothing is skipped where it is missing.
fn installed() -> PathBuf {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/python");
    let found = std::env::var_os("GATEPASS_PYTHON").map_or(made, PathBuf::from);
    let place = found.display();
    assert!(found.exists(), "no Python with its packages at `{place}`: run `make tools`");
    found
}

/// How a [`Plane`] is made.
pub(crate) struct Plan {
    pub(crate) two_persons: bool,
    pub(crate) followers: &'static str,
    pub(crate) issuer: String,
    pub(crate) ports: [u16; 4],
    pub(crate) now: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            two_persons: false,
            followers: "anyone",
            issuer: ISSUER.to_owned(),
            ports: [0; 4],
            now: NOW,
        }
    }
}

/// A control plane that serves; it stops when it is dropped.
pub(crate) struct Plane {
    temporary: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    time: Arc<AtomicU64>,
    /// The first operator's token.
    pub(crate) admin: String,
    pub(crate) pinned: PinnedRoots,
    pub(crate) issuer: String,
}

impl Plane {
    /// One person is enough, anyone may follow the feed, and nothing is registered.
    pub(crate) fn new() -> Self {
        Self::with(&Plan::default())
    }

    pub(crate) fn of_two() -> Self {
        Self::with(&Plan { two_persons: true, ..Plan::default() })
    }

    pub(crate) fn with(plan: &Plan) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let root_dir = temporary.path().join("roots");
        let pinned = setup::make_root_keys(&root_dir, 1, 1).unwrap();
        let init = Init {
            dir: temporary.path().join("gp"),
            environment: "prod".to_owned(),
            audience: "prod".to_owned(),
            issuer: plan.issuer.clone(),
            roots: pinned.clone(),
            operator: "admin".to_owned(),
            two_persons: plan.two_persons,
            filter: None,
            ports: plan.ports,
            followers: plan.followers,
        };
        let now = UnixSeconds(plan.now);
        let made = runtime.block_on(init.make(now)).unwrap();
        setup::sign_root(&root_dir, &made.document, &made.signed, now).unwrap();
        let mut plane = Self {
            temporary,
            runtime,
            server: None,
            time: Arc::new(AtomicU64::new(plan.now)),
            admin: made.token.to_string(),
            pinned,
            issuer: plan.issuer.clone(),
        };
        plane.start();
        plane
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.temporary.path().join("gp")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    pub(crate) fn start(&mut self) {
        let time = Arc::clone(&self.time);
        let clock: gatepass::feed::Clock =
            Arc::new(move || UnixSeconds(time.load(Ordering::SeqCst)));
        let config = Config::read(&self.dir()).unwrap();
        self.server = Some(self.runtime.block_on(Server::start(config, clock)).unwrap());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }

    pub(crate) fn backup(&self, to: &Path) {
        self.runtime.block_on(gatepass::db::backup(&self.dir(), to)).unwrap();
    }

    /// The plane must be stopped.
    pub(crate) fn restore(&self, from: Option<&Path>) -> Result<gatepass::db::Restored, String> {
        let dir = self.dir();
        let restored = gatepass::db::restore(&dir, from, UnixSeconds(self.now()));
        self.runtime.block_on(restored).map_err(|error| error.to_string())
    }

    pub(crate) fn now(&self) -> u64 {
        self.time.load(Ordering::SeqCst)
    }

    /// Moves the clock, for the server too.
    pub(crate) fn pass(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn set_clock(&self, unix: u64) {
        self.time.store(unix, Ordering::SeqCst);
    }

    pub(crate) fn issuer_keys(&self) -> Vec<gatepass_engine::keyring::IssuerKey> {
        self.server.as_ref().unwrap().db().book().issuer_keys()
    }

    pub(crate) fn db(&self) -> &gatepass::db::Db {
        self.server.as_ref().unwrap().db()
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.server.as_ref().unwrap().addresses()
    }

    /// A request to the admin API with this token.
    pub(crate) fn admin_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("content-type", "application/json")];
        if !token.is_empty() {
            headers.push(("authorization", authorization.as_str()));
        }
        let body = if method == "GET" { String::new() } else { body.to_string() };
        send(self.addresses().admin, method, path, &headers, body.as_bytes())
    }

    /// Asks for a change with this token; `reason` is given.
    pub(crate) fn change_as(&self, token: &str, path: &str, mut body: Value) -> Answer {
        body.as_object_mut().unwrap().entry("reason").or_insert_with(|| "a test".into());
        self.admin_as(token, "POST", path, &body)
    }

    /// A change by the first operator, which is done.
    pub(crate) fn change(&self, path: &str, body: Value) -> Value {
        let answer = self.change_as(&self.admin, path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.admin_as(&self.admin, "GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Position and audit count: equal before and after what changed nothing.
    pub(crate) fn standing(&self) -> (String, u64) {
        let overview = self.get("/v1/environment");
        (
            overview["position"].as_str().unwrap().to_owned(),
            overview["audit_records"].as_u64().unwrap(),
        )
    }

    /// The body of the newest audit records of something.
    pub(crate) fn export(&self) -> String {
        let answer = self.admin_as(&self.admin, "GET", "/v1/audit/export", &Value::Null);
        assert_eq!(answer.status, 200);
        answer.text()
    }

    /// A new operator with one token.
    pub(crate) fn operator(&self, id: &str, role: &str, person: Option<&str>) -> String {
        let mut body = json!({ "id": id });
        if let Some(person) = person {
            body["person"] = person.into();
        }
        self.change("/v1/operators", body);
        self.token(id, role)
    }

    pub(crate) fn token(&self, operator: &str, role: &str) -> String {
        let (secret, body) = self.new_token(operator, role);
        self.change("/v1/tokens", body);
        secret
    }

    /// A secret and what asks for its token.
    pub(crate) fn new_token(&self, operator: &str, role: &str) -> (String, Value) {
        let secret = gatepass::desk::operators::new_secret(OPERATOR_PREFIX).unwrap().to_string();
        let body = json!({
            "operator": operator, "role": role, "digest": digest_text(&secret),
            "expires_at": self.now() + 86_400,
        });
        (secret, body)
    }

    /// `user:corp/alice` and `user:corp/bob`, the policy, and a blueprint `buyer`.
    pub(crate) fn furnished() -> Self {
        let plane = Self::new();
        plane.furnish();
        plane
    }

    pub(crate) fn furnish(&self) {
        for name in ["alice", "bob"] {
            let id = format!("user:corp/{name}");
            self.change("/v1/people", json!({ "id": id, "name": name, "contact": name }));
        }
        self.change("/v1/policies", json!({ "content": POLICY }));
        self.blueprint("buyer", ceiling());
    }

    pub(crate) fn blueprint(&self, id: &str, ceiling: Value) {
        self.change(
            "/v1/blueprints",
            json!({ "id": id, "purpose": "buys", "owners": "group:buyers", "ceiling": ceiling }),
        );
    }

    /// An active agent of `buyer`, owned by Alice.
    pub(crate) fn agent(&self, seed: u8) -> Agent {
        self.agent_of(seed, "buyer", "user:corp/alice", "p1")
    }

    pub(crate) fn agent_of(&self, seed: u8, blueprint: &str, owner: &str, project: &str) -> Agent {
        let made =
            self.change("/v1/agents", registration(self.now(), seed, blueprint, owner, project));
        let agent = Agent::new(made["result"]["id"].as_str().unwrap(), seed);
        self.change(&format!("/v1/agents/{}/activate", agent.id), json!({}));
        agent
    }

    pub(crate) fn state_of(&self, agent: &str) -> String {
        let dossier = self.get(&format!("/v1/agents/{agent}"));
        dossier["agent"]["state"].as_str().unwrap().to_owned()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What registers an agent with the key of this seed.
pub(crate) fn registration(
    now: u64,
    seed: u8,
    blueprint: &str,
    owner: &str,
    project: &str,
) -> Value {
    json!({
        "name": format!("agent {seed}"), "blueprint": blueprint, "owner": owner,
        "department": "purchasing", "purpose": "buys paper", "contact": "chat",
        "project": project, "valid_until": now + 30 * 86_400, "key": key_of(seed),
    })
}

/// What `buyer` may do.
pub(crate) fn ceiling() -> Value {
    json!({
        "entries": [
            {
                "actions": ["orders:create"], "locations": [ORDERS],
                "constraints": { "amount": { "max": "500.00 EUR" } },
            },
            { "actions": ["orders:read", "orders:list"], "locations": [ORDERS] },
            { "actions": ["files:read"], "constraints": { "path": { "prefix": "/public/" } } },
        ],
        "scopes": ["orders.write", "orders.read"],
        "lifetime": { "low": 1800 },
    })
}
