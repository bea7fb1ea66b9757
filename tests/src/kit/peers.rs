//! Published clients and servers of MCP and A2A, as processes of their own: `tests/peers-agents`, with
//! what `make peers` has installed for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::desk::{PATIENCE, free_ports};
use super::world::Failed;

/// A server that listens on loopback until it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Server {
    /// `mcp_server.py`: every protocol revision, answers as streams.
    ///
    /// # Errors
    /// It does not start.
    pub fn mcp() -> Result<Self, Failed> {
        Self::python("mcp_server.py", &[])
    }

    /// The same without streams wherever the protocol lets it.
    ///
    /// # Errors
    /// It does not start.
    pub fn mcp_without_streams() -> Result<Self, Failed> {
        Self::python("mcp_server.py", &["json"])
    }

    /// `a2a_server.py`.
    ///
    /// # Errors
    /// It does not start.
    pub fn a2a() -> Result<Self, Failed> {
        Self::python("a2a_server.py", &[])
    }

    /// `@modelcontextprotocol/server-everything`, as it is published: revisions before 2026-07-28, with
    /// sessions and streams that can be resumed.
    ///
    /// # Errors
    /// It does not start.
    pub fn everything() -> Result<Self, Failed> {
        let port = free_ports()?;
        let script = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
        let mut command = node(script)?;
        command.arg("streamableHttp").env("PORT", port.to_string()).stdout(Stdio::null());
        let server =
            Self::spawn(&command, SocketAddr::from(([127, 0, 0, 1], port)), Stdio::null())?;
        let start = Instant::now();
        while TcpStream::connect(server.address).is_err() {
            if start.elapsed() > PATIENCE {
                return Err(format!("it listens to nobody: {}", server.said()?.join("\n")).into());
            }
            std::thread::yield_now();
        }
        Ok(server)
    }

    /// A server that tells its port on the first line.
    fn python(script: &str, arguments: &[&str]) -> Result<Self, Failed> {
        let mut command = python("now", script)?;
        command.args(arguments);
        let mut server =
            Self::spawn(&command, SocketAddr::from(([127, 0, 0, 1], 0)), Stdio::piped())?;
        let mut line = String::new();
        if let Some(told) = server.child.stdout.take() {
            BufReader::new(told).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(port) => server.address.set_port(port),
            Err(_) => return Err(server.said()?.join("\n").into()),
        }
        Ok(server)
    }

    fn spawn(command: &Command, address: SocketAddr, told: Stdio) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let said = File::create(folder.path().join(SAID))?;
        // It ends with whoever holds the other end of its shell's standard input, however that ends: a test that
        // is killed leaves nothing behind.
        let mut shell = Command::new("sh");
        shell.args(["-c", "setsid \"$@\" </dev/null & cat >/dev/null; kill -9 -$!", "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        let values =
            command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value)));
        let child = shell.envs(values).stdin(Stdio::piped()).stdout(told).stderr(said).spawn()?;
        Ok(Self { child, address, folder })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its lines on standard error. The servers of ours tell there, before they answer, each thing that
    /// they were asked to do.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn said(&self) -> Result<Vec<String>, Failed> {
        let text = std::fs::read(self.folder.path().join(SAID))?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    /// The names of the tools that `mcp_server.py` was asked to run, in their order.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn ran(&self) -> Result<Vec<String>, Failed> {
        let name = |line: String| {
            let told: Value = serde_json::from_str(&line).ok()?;
            told.get("tool").and_then(Value::as_str).map(str::to_owned)
        };
        Ok(self.said()?.into_iter().filter_map(name).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its shell ends it, and is gone already where this fails.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// A client that somebody published, in one of its ways to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// PyPI `mcp` 2.x: `server/discover` first.
    PythonNow,
    /// The same, which is told that the server is of before 2026-07-28.
    PythonLegacy,
    /// PyPI `mcp` 1.x.
    PythonBefore,
    /// npm `@modelcontextprotocol/client` 2.x: `server/discover` first.
    NodeNow,
    /// The same as it is by default: of before 2026-07-28.
    NodeLegacy,
    /// npm `@modelcontextprotocol/sdk` 1.x.
    NodeBefore,
    /// PyPI `a2a-sdk`.
    A2aPython,
    /// npm `@a2a-js/sdk`.
    A2aNode,
}

impl Sdk {
    /// Those of MCP.
    pub const MCP: [Self; 6] = [
        Self::PythonNow,
        Self::PythonLegacy,
        Self::PythonBefore,
        Self::NodeNow,
        Self::NodeLegacy,
        Self::NodeBefore,
    ];

    /// Those that speak 2026-07-28 where the server does.
    pub const STATELESS: [Self; 2] = [Self::PythonNow, Self::NodeNow];

    /// Does what it is asked, and tells what its caller was shown.
    ///
    /// # Errors
    /// The script itself ended badly, or did not end.
    pub fn run(self, asked: &Value) -> Result<Value, Failed> {
        let mut asked = asked.clone();
        let mode = match self {
            Self::PythonNow | Self::NodeNow => "auto",
            Self::PythonLegacy | Self::PythonBefore | Self::NodeLegacy | Self::NodeBefore => {
                "legacy"
            }
            Self::A2aPython | Self::A2aNode => "",
        };
        if let Some(asked) = asked.as_object_mut() {
            asked.insert("mode".to_owned(), mode.into());
        }
        let command = match self {
            Self::PythonNow | Self::PythonLegacy => python("now", "mcp_now.py")?,
            Self::PythonBefore => python("before", "mcp_before.py")?,
            Self::NodeNow | Self::NodeLegacy => node("mcp_client.mjs")?,
            Self::NodeBefore => {
                let mut command = node("mcp_client.mjs")?;
                command.arg("before");
                command
            }
            Self::A2aPython => python("now", "a2a_client.py")?,
            Self::A2aNode => node("a2a_client.mjs")?,
        };
        let (said, status) = finish(&command, asked.to_string().as_bytes())?;
        match serde_json::from_str(&said) {
            Ok(told) => Ok(told),
            Err(_) => Err(format!("{self:?} ended with {status}: {said}").into()),
        }
    }
}

/// What the conformance package found: the outcomes of each scenario's checks, by their ids.
pub type Findings = BTreeMap<String, Vec<(String, String)>>;

/// Runs what a protocol revision requires of a server.
///
/// # Errors
/// It found no scenario.
pub fn conformance(url: &str, revision: &str, gatepass: &str) -> Result<Findings, Failed> {
    let results = tempfile::tempdir()?;
    let mut command = node("node_modules/@modelcontextprotocol/conformance/dist/index.js")?;
    command
        .args(["server", "--url", url, "--requirements", revision, "--output-dir"])
        .arg(results.path())
        // The package has no way to give a credential.
        .env("NODE_OPTIONS", format!("--import={}", installed("")?.join("bearer.mjs").display()))
        .env("GATEPASS", gatepass);
    let (said, _) = finish(&command, b"")?;
    let mut findings = Findings::new();
    for folder in std::fs::read_dir(results.path())? {
        let folder = folder?;
        let name = folder.file_name().to_string_lossy().into_owned();
        let checks: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("checks.json"))?)?;
        let member = |check: &Value, name: &str| {
            check.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let checks = checks.as_array().into_iter().flatten();
        let mut outcomes: Vec<_> =
            checks.map(|check| (member(check, "id"), member(check, "status"))).collect();
        outcomes.sort();
        findings.insert(scenario(&name).to_owned(), outcomes);
    }
    match findings.is_empty() {
        true => Err(said.into()),
        false => Ok(findings),
    }
}

/// `server-<scenario>-<time>`, where the time is as in 2026-11-22T21-48-41-353Z.
fn scenario(folder: &str) -> &str {
    let name = folder.strip_prefix("server-").unwrap_or(folder);
    let end = name.len().saturating_sub("-2026-11-22T21-48-41-353Z".len());
    name.get(..end).unwrap_or(name)
}

/// Feeds a command and waits; what it printed, and how it ended.
fn finish(command: &Command, input: &[u8]) -> Result<(String, String), Failed> {
    let mut child = in_time(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    let mut said = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        stdout.read_to_string(&mut said)?;
    }
    let status = child.wait()?;
    Ok((said, status.to_string()))
}

/// A script of `tests/peers-agents` in one of the two environments.
fn python(environment: &str, script: &str) -> Result<Command, Failed> {
    let python = installed(environment)?.join("bin/python");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers-agents");
    let mut command = Command::new(python);
    command.arg(scripts.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn node(script: &str) -> Result<Command, Failed> {
    let installed = installed("")?;
    let own = installed.join("../tools/bin/node");
    let named = std::env::var_os("GATEPASS_PYTHON").map(PathBuf::from);
    let node = named.map_or(own, |python| python.with_file_name("node"));
    let mut command = Command::new(node);
    command.arg(installed.join(script));
    Ok(command)
}

/// The same command, ended when it takes longer than anything here can.
fn in_time(command: &Command) -> Command {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=5", SECONDS]).arg(command.get_program()).args(command.get_args());
    let values = command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value)));
    limited.envs(values);
    limited
}

/// The whole of it, or the folder of one part.
fn installed(part: &str) -> Result<PathBuf, Failed> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers-agents").join(part);
    match installed.join("ready").exists() {
        true => Ok(installed.canonicalize()?),
        false => Err(format!("nothing at `{}`: run `make peers`", installed.display()).into()),
    }
}

const SAID: &str = "said";
const SECONDS: &str = "240";
