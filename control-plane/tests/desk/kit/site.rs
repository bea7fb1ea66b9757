//! A working directory, and the server in it as a process that can be killed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{Agent, Answer, Wire};

pub(crate) const ISSUER: &str = "https://issuer.example/prod";
pub(crate) const AUDIENCE: &str = "https://orders.example";

/// An environment `prod` that one operator runs, with an open feed.
pub(crate) struct Site {
    temporary: tempfile::TempDir,
    binary: PathBuf,
    token: String,
}

/// A running server; killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    /// Held, so that the server never writes to a closed pipe.
    _stdout: BufReader<ChildStdout>,
    pub(crate) admin: SocketAddr,
    pub(crate) agents: SocketAddr,
    pub(crate) feed: SocketAddr,
    /// Where the database was when it began to serve.
    pub(crate) position: String,
    token: String,
}

impl Site {
    /// `within` is where the directory is made.
    pub(crate) fn new(binary: &Path, within: &Path) -> Self {
        let temporary = tempfile::tempdir_in(within).unwrap();
        let mut site = Self { temporary, binary: binary.to_owned(), token: String::new() };
        let (dir, roots) = (site.text("desk"), site.text("roots"));
        site.run(&["root", "init", "--root-dir", &roots]);
        let init = site.run(&[
            "init",
            "--dir",
            &dir,
            "--environment",
            "prod",
            "--issuer",
            ISSUER,
            "--roots",
            &site.text("roots/pinned.json"),
            "--two-persons",
            "false",
            "--open-feed",
            "--port",
            "0",
        ]);
        let token = init.lines().find_map(|line| line.split_once("shown this once: "));
        site.token = token.unwrap().1.to_owned();
        let (unsigned, signed) =
            (site.text("desk/roots/1.unsigned.json"), site.text("desk/roots/1.json"));
        site.run(&["root", "sign", "--root-dir", &roots, &unsigned, "--out", &signed]);
        let file = site.dir().join("gatepass.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let unbound = text.replace("issued_per_minute = 600", "issued_per_minute = 100000000");
        assert_ne!(unbound, text);
        std::fs::write(&file, unbound).unwrap();
        site
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.temporary.path().join("desk")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir().join("gatepass.db")
    }

    pub(crate) fn pinned(&self) -> String {
        std::fs::read_to_string(self.temporary.path().join("roots/pinned.json")).unwrap()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.temporary.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command and returns what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.binary).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What starts the server.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(["serve", "--dir", &self.text("desk")])
            .env("GATEPASS_LOG", "error,sqlx=warn")
            .stdout(Stdio::piped());
        command
    }

    /// Starts the server without waiting for it.
    pub(crate) fn spawn(&self) -> Child {
        self.command().spawn().unwrap()
    }

    /// Comes back when it serves.
    pub(crate) fn serve(&self) -> Served {
        self.until_it_serves(self.spawn())
    }

    pub(crate) fn until_it_serves(&self, mut child: Child) -> Served {
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = |name: &str| {
            let text = told[name].as_str().unwrap_or_default();
            text.parse().unwrap_or_else(|_| panic!("it did not begin to serve: `{line}`"))
        };
        Served {
            admin: address("admin"),
            agents: address("agents"),
            feed: address("feed"),
            position: told["position"].as_str().unwrap().to_owned(),
            child,
            _stdout: stdout,
            token: self.token.clone(),
        }
    }
}

impl Served {
    /// SIGKILL: nothing is flushed, nothing is answered.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The header with which the first operator speaks.
    pub(crate) fn operator(&self) -> String {
        format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", self.token)
    }

    /// One change by the first operator, which must be done.
    pub(crate) fn change(&self, path: &str, body: Value) -> Value {
        let answer = self.ask(path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        answer.json()
    }

    /// One change by the first operator, whatever comes of it.
    pub(crate) fn ask(&self, path: &str, mut body: Value) -> Answer {
        body["reason"] = "a test".into();
        let mut wire = Wire::connect(self.admin).unwrap();
        wire.post(path, &self.operator(), &body.to_string()).unwrap()
    }

    /// A policy that allows `orders:read`; `number` makes it another text.
    pub(crate) fn publish(&self, number: u64) -> Value {
        self.change("/v1/policies", json!({ "content": policy(number) }))
    }

    /// A person and a blueprint that agents need.
    pub(crate) fn furnish(&self) {
        self.publish(0);
        let person = json!({ "id": OWNER, "name": "Ann", "contact": "ann@corp.example" });
        self.change("/v1/people", person);
        let entry = json!({ "actions": ["orders:read"], "locations": [AUDIENCE],
        });
        self.change(
            "/v1/blueprints",
            json!({
                "id": "reader", "purpose": "reads orders", "owners": "orders",
                "ceiling": { "entries": [entry] },
            }),
        );
    }

    /// An active agent.
    pub(crate) fn agent(&self, name: &str) -> Agent {
        let mut agent = Agent::new();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let registered = self.change(
            "/v1/agents",
            json!({
                "name": name, "blueprint": "reader", "owner": OWNER, "department": "orders",
                "purpose": "reads orders", "contact": "orders@corp.example", "project": "orders",
                "valid_until": now.as_secs() + 86_400, "key": agent.jwk(),
            }),
        );
        agent.id = registered["result"]["id"].as_str().unwrap().to_owned();
        self.change(&format!("/v1/agents/{}/activate", agent.id), json!({}));
        agent
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A policy text; `number` makes it another one.
pub(crate) fn policy(number: u64) -> String {
    format!(
        "# number {number}
actions:
  orders:read:
    risk: low
    staleness: 60s
hosts:
  - names: [orders.example]
    audience: {AUDIENCE}
    routes:
      - match: GET /orders
        action: orders:read
"
    )
}

const OWNER: &str = "user:corp/ann";
