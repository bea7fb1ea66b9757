//! An environment in a temporary directory, driven through the binary.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub(crate) const AGENT: &str = "agent:11111111-1111-1111-1111-111111111111";

pub(crate) const POLICY: &str = "\
actions:
  orders:create:
    risk: high
    scopes: {all: [orders.write]}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {type: money, query: amount, currency: {query: currency}}
          count: {type: integer, query: count}
      - match: GET /healthz
        public: true
  - names: [static.example]
    audience: https://static.example
    pass_through: true
";

pub(crate) struct Desk {
    temporary: tempfile::TempDir,
    init: String,
}

impl Desk {
    /// With the empty policy.
    pub(crate) fn new() -> Self {
        let mut desk = Self { temporary: tempfile::tempdir().unwrap(), init: String::new() };
        desk.init =
            desk.ok(&["init", "--environment", "prod", "--issuer", "https://issuer.example"]);
        desk
    }

    pub(crate) fn with_policy(policy: &str) -> Self {
        let desk = Self::new();
        let path = desk.file("policy.yaml", policy.as_bytes());
        desk.ok(&["publish", path.to_str().unwrap()]);
        desk
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.temporary.path().join("gp")
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.temporary.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn init_output(&self) -> &str {
        &self.init
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
        let (name, rest) = arguments.split_first().unwrap();
        command.args(["dev", name, "--dir"]).arg(self.dir()).args(rest);
        command
    }

    /// What it prints when it succeeds.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it fails.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        errors(&output)
    }

    pub(crate) fn fails_without_dir(&self, arguments: &[&str]) -> String {
        let output = bare(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        errors(&output)
    }

    /// Without a directory: the exit code, and what is printed and said.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), text_of(&output.stdout), text_of(&output.stderr))
    }

    pub(crate) fn publish_fails(&self, policy: &str) -> String {
        let path = self.file("policy.yaml", policy.as_bytes());
        self.fails(&["publish", path.to_str().unwrap()])
    }

    pub(crate) fn check(&self, policy: &str) -> String {
        let path = self.file("policy.yaml", policy.as_bytes());
        let output = bare(&["check", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn inspect(&self, path: &Path) -> String {
        let output = bare(&["inspect", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// For `orders:create` at its audience.
    pub(crate) fn gatepass(&self, more: &[&str]) -> String {
        let base = [
            "gatepass",
            "--agent",
            AGENT,
            "--action",
            "orders:create",
            "--audience",
            "https://orders.example",
        ];
        self.ok(&[base.as_slice(), more].concat()).trim().to_owned()
    }

    /// The exit code and what is printed.
    pub(crate) fn explain(&self, token: &str, more: &[&str]) -> (i32, String) {
        let base = ["explain", "--host", "orders.example", "--token", token];
        let output = self.command(&[base.as_slice(), more].concat()).output().unwrap();
        (output.status.code().unwrap(), text(&output))
    }

    pub(crate) fn explain_file(&self, request: &str) -> String {
        let path = self.file("request", request.as_bytes());
        let output = self.command(&["explain", "--request", path.to_str().unwrap()]).output();
        text(&output.unwrap())
    }

    /// Comes back when the feed is served.
    pub(crate) fn serve(&self) -> Served {
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        let mut served = Served { child, address: String::new() };
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        served.address = address;
        served
    }
}

fn bare(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
    command.arg("dev").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), errors(output))
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running `gatepass dev serve`, killed when dropped.
pub(crate) struct Served {
    child: Child,
    address: String,
}

/// A request that was sent.
pub(crate) struct Poll(TcpStream);

impl Served {
    pub(crate) fn start(&self, target: &str) -> Poll {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: feed\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Poll(stream)
    }

    pub(crate) fn poll(&self, target: &str) -> Vec<u8> {
        self.start(target).finish()
    }
}

impl Poll {
    /// The body of a 200.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        bytes.split_off(end + 4)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
