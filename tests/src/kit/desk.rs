//! The real control plane as people run it: `gatepass init`, `root sign`, `serve` and the commands
//! of operators, each a process of its own, and agents that speak OAuth to it over a socket.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gatepass::client::escaped;
use gatepass::desk::assertion::{self, ASSERTION_TYPE};
use gatepass::keys::{KeyRole, SecretKey, Signer as _, public_text};
use gatepass_envoy::{PluginConfig, Roots};
use serde_json::{Value, json};

use super::clock::TestClock;
use super::wire::{Connection, Response};
use super::world::Failed;

/// A control plane that is served, in a folder of its own.
pub struct Desk {
    folder: tempfile::TempDir,
    environment: String,
    serving: Option<Child>,
    addresses: Addresses,
    token: String,
    issuer: String,
    /// Of the server's process.
    env: Vec<(String, String)>,
    /// Commands are printed as they are run.
    aloud: bool,
}

#[derive(Clone, Copy)]
struct Addresses {
    admin: SocketAddr,
    agents: SocketAddr,
    feed: SocketAddr,
}

/// What a command printed.
pub struct Said {
    pub ok: bool,
    /// The exit status, unless a signal ended it.
    pub code: Option<i32>,
    pub text: String,
}

/// An agent with its key.
pub struct Agent {
    pub id: String,
    key: SecretKey,
    /// The same key for `gatepass ask`.
    pub key_file: PathBuf,
    agents: SocketAddr,
    pub issuer: String,
}

impl Desk {
    /// Makes root keys and a working directory, has the first root document signed, and serves it.
    ///
    /// # Errors
    /// What a command printed when it failed.
    pub fn start(environment: &str, two_persons: bool) -> Result<Self, Failed> {
        Self::set_up(environment, two_persons, false)
    }

    /// [`Desk::start`], which prints each command as a shell would take it.
    ///
    /// # Errors
    /// As [`Desk::start`].
    pub fn start_aloud(environment: &str) -> Result<Self, Failed> {
        Self::set_up(environment, false, true)
    }

    fn set_up(environment: &str, two_persons: bool, aloud: bool) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let first = free_ports()?;
        let address = |offset: u16| SocketAddr::from(([127, 0, 0, 1], first + offset));
        let issuer = format!("http://{}", address(2));
        let port = first.to_string();
        let mut desk = Self {
            folder,
            environment: environment.to_owned(),
            serving: None,
            addresses: Addresses { feed: address(0), admin: address(1), agents: address(2) },
            token: String::new(),
            issuer: issuer.clone(),
            env: Vec::new(),
            aloud,
        };
        let roots = desk.folder.path().join("roots");
        let dir = desk.dir();
        desk.done(&["root", "init", "--root-dir", text(&roots)?])?;
        let made = desk.done(&[
            "init",
            "--dir",
            text(&dir)?,
            "--environment",
            environment,
            "--issuer",
            &issuer,
            "--roots",
            text(&roots.join("pinned.json"))?,
            "--port",
            &port,
            "--two-persons",
            if two_persons { "true" } else { "false" },
        ])?;
        desk.token = word(&made, "gpo_")?;
        let unsigned = dir.join("roots/1.unsigned.json");
        let signed = dir.join("roots/1.json");
        desk.done(&[
            "root",
            "sign",
            "--root-dir",
            text(&roots)?,
            text(&unsigned)?,
            "--out",
            text(&signed)?,
        ])?;
        desk.serve()?;
        Ok(desk)
    }

    /// Starts `gatepass serve` and waits for the line that says where it listens.
    ///
    /// # Errors
    /// It ended instead.
    pub fn serve(&mut self) -> Result<(), Failed> {
        let dir = self.dir();
        let mut command = Command::new(binary()?);
        command.args(["serve", "--dir", text(&dir)?]);
        self.serve_by(command)
    }

    /// [`Desk::serve`] where no file may grow beyond so many bytes, as on a disk that is full.
    ///
    /// # Errors
    /// It ended instead.
    pub fn serve_with_files_of(&mut self, bytes: u64) -> Result<(), Failed> {
        let dir = self.dir();
        let mut command = Command::new("sh");
        // The signal is for a process to end by; ignored, the write fails as on a full disk.
        let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
        command.args(["-c", script, &(bytes / ULIMIT_BLOCK).to_string()]);
        command.arg(binary()?).args(["serve", "--dir", text(&dir)?]);
        self.serve_by(command)
    }

    fn serve_by(&mut self, mut command: Command) -> Result<(), Failed> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("serve.log"))?;
        let dir = self.dir();
        self.tell(&["serve", "--dir", text(&dir)?], " &");
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        self.serving = Some(child);
        if line.is_empty() {
            self.kill();
            return Err(std::fs::read_to_string(self.folder.path().join("serve.log"))?.into());
        }
        Ok(())
    }

    /// The server lives by another clock from when it is started next; commands by the machine's.
    pub fn live_by(&mut self, clock: &TestClock) {
        self.env.extend(clock.env().map(|(key, value)| (key.to_owned(), value)));
    }

    /// Changes the configuration file of a control plane that does not run.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn configure(&self, change: impl FnOnce(String) -> String) -> Result<(), Failed> {
        let path = self.dir().join("gatepass.toml");
        let text = std::fs::read_to_string(&path)?;
        Ok(std::fs::write(&path, change(text))?)
    }

    /// Ends it as a service manager does, and waits for that.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop(&mut self) -> Result<(), Failed> {
        let mut child = self.serving.take().ok_or("it does not run")?;
        Command::new("kill").arg(child.id().to_string()).status()?;
        child.wait()?;
        Ok(())
    }

    /// SIGKILL, as a machine that loses its power would have it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.serving.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The server's process, for tests that stop and continue it.
    ///
    /// # Errors
    /// It does not run.
    pub fn process(&self) -> Result<u32, Failed> {
        Ok(self.serving.as_ref().ok_or("it does not run")?.id())
    }

    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("desk")
    }

    #[must_use]
    pub const fn feed(&self) -> SocketAddr {
        self.addresses.feed
    }

    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Where the metrics are: the last of the four ports.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        let feed = self.addresses.feed;
        (feed.ip(), feed.port().saturating_add(3)).into()
    }

    /// The first operator's token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Writes a file beside the working directory, for commands that read one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn file(&self, name: &str, content: &str) -> Result<String, Failed> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content)?;
        Ok(text(&path)?.to_owned())
    }

    /// Runs a command as the first operator.
    ///
    /// # Errors
    /// The binary does not start.
    pub fn run(&self, arguments: &[&str]) -> Result<Said, Failed> {
        self.run_as(&self.token, arguments)
    }

    /// Runs a command as whoever holds the token.
    ///
    /// # Errors
    /// The binary does not start.
    pub fn run_as(&self, token: &str, arguments: &[&str]) -> Result<Said, Failed> {
        if token == self.token {
            self.tell(arguments, "");
        }
        let output = Command::new(binary()?)
            .args(arguments)
            .env("GATEPASS_SERVER", format!("http://{}", self.addresses.admin))
            .env("GATEPASS_TOKEN", token)
            .output()?;
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Said { ok: output.status.success(), code: output.status.code(), text })
    }

    fn tell(&self, arguments: &[&str], end: &str) {
        if self.aloud {
            println!("  gatepass {}{end}", quoted(arguments));
        }
    }

    /// From here on only what the caller says is printed.
    pub const fn hush(&mut self) {
        self.aloud = false;
    }

    /// Runs a command that must succeed; what it printed.
    ///
    /// # Errors
    /// What it printed when it did not.
    pub fn done(&self, arguments: &[&str]) -> Result<String, Failed> {
        let said = self.run(arguments)?;
        match said.ok {
            true => Ok(said.text),
            false => Err(format!("gatepass {}: {}", arguments.join(" "), said.text).into()),
        }
    }

    /// Makes a key, registers an agent with it and activates it.
    ///
    /// # Errors
    /// What a command printed when it failed.
    pub fn agent(&self, name: &str, blueprint: &str, owner: &str) -> Result<Agent, Failed> {
        let key = SecretKey::generate()?;
        let key_file = self.folder.path().join(format!("{name}.key"));
        key.save(&key_file, KeyRole::Agent)?;
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": public_text(&key.public()) });
        let file = self.file(&format!("{name}.jwk"), &jwk.to_string())?;
        let said = self.done(&[
            "agent",
            "register",
            name,
            "--blueprint",
            blueprint,
            "--owner",
            owner,
            "--department",
            "purchasing",
            "--purpose",
            "orders paper",
            "--contact",
            "#purchasing",
            "--project",
            "paperwork",
            "--key",
            &file,
            "--reason",
            "project paperwork",
        ])?;
        let id = word(&said, "agent:")?;
        self.done(&["agent", "activate", &id, "--reason", "reviewed"])?;
        Ok(Agent { id, key, key_file, agents: self.addresses.agents, issuer: self.issuer.clone() })
    }

    /// A plugin configuration that pins this control plane's roots.
    ///
    /// # Errors
    /// The pinned roots cannot be read.
    pub fn plugin(&self) -> Result<PluginConfig, Failed> {
        let pinned = std::fs::read(self.folder.path().join("roots/pinned.json"))?;
        let roots: Roots = serde_json::from_slice(&pinned)?;
        let mut plugin = PluginConfig::new(&self.environment, &self.environment, roots);
        plugin.expose_position = true;
        Ok(plugin)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Agent {
    /// Asks for a gatepass; the answer as it came.
    ///
    /// # Errors
    /// The control plane is not there.
    pub fn ask(&self, parameters: &[(&str, &str)]) -> Result<Response, Failed> {
        let mut all = vec![("grant_type", "client_credentials")];
        all.extend(parameters);
        self.post("/oauth2/token", &all)
    }

    /// A gatepass.
    ///
    /// # Errors
    /// The OAuth error.
    pub fn gatepass(&self, parameters: &[(&str, &str)]) -> Result<Issued, Failed> {
        let response = self.ask(parameters)?;
        let body: Value = serde_json::from_slice(&response.body)?;
        let member = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        match (member("access_token"), member("task")) {
            (Some(token), Some(task)) => Ok(Issued { token, task }),
            _ => Err(format!("{} {body}", response.status).into()),
        }
    }

    /// A form with a client assertion (RFC 7523).
    ///
    /// # Errors
    /// The control plane is not there.
    pub fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Response, Failed> {
        let now = super::world::now();
        let assertion = assertion::make(&self.id, &self.key, &self.issuer, now)?;
        let mut all = parameters.to_vec();
        all.push(("client_assertion_type", ASSERTION_TYPE));
        all.push(("client_assertion", &assertion));
        let form: Vec<String> =
            all.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let form = form.join("&");
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            self.agents,
            form.len()
        );
        Ok(Connection::open(self.agents)?.exchange(request.as_bytes())?)
    }
}

/// A gatepass and the task that it was issued under.
#[derive(Clone)]
pub struct Issued {
    pub token: String,
    pub task: String,
}

/// As a shell would want it.
#[must_use]
pub fn quoted(arguments: &[&str]) -> String {
    let plain = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b))
    };
    let one = |text: &&str| match plain(text) {
        true => (*text).to_owned(),
        false => format!("'{text}'"),
    };
    arguments.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The word in a command's output that begins like this.
///
/// # Errors
/// There is none.
pub fn word(said: &str, begins: &str) -> Result<String, Failed> {
    let found = said.split_whitespace().find(|word| word.starts_with(begins));
    found.map(str::to_owned).ok_or_else(|| format!("no `{begins}` in: {said}").into())
}

/// The `gatepass` that was built beside this program.
///
/// # Errors
/// It was not built.
pub fn binary() -> Result<PathBuf, Failed> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("gatepass")).find(|path| path.is_file());
    found.ok_or_else(|| "no `gatepass` beside this program: run `cargo build -p gatepass`".into())
}

/// The first of four ports in a row that nobody listens on now. Below those that the system gives
/// to outgoing connections: a server that is started again finds its own free.
///
/// # Errors
/// All are taken.
pub fn free_ports() -> Result<u16, Failed> {
    // Tests of one process count on; those of another start elsewhere.
    static NEXT: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(std::process::id())));
    for _ in 0..PORT_GROUPS {
        let group = NEXT.fetch_add(1, Ordering::Relaxed) % PORT_GROUPS;
        let first = u16::try_from(FIRST_PORT + group * PORTS_OF_A_GROUP)?;
        let all = (0..u16::try_from(PORTS_OF_A_GROUP)?).map(|offset| first + offset);
        // Held until all are there.
        let held: Option<Vec<TcpListener>> =
            all.map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).collect();
        if held.is_some() {
            return Ok(first);
        }
    }
    Err("no four ports in a row are free".into())
}

fn text(path: &Path) -> Result<&str, Failed> {
    path.to_str().ok_or_else(|| "a temporary folder whose name is not UTF-8".into())
}

/// Linux gives 32768 and up to outgoing connections (`ip_local_port_range`).
const FIRST_PORT: u64 = 12_288;
const PORTS_OF_A_GROUP: u64 = 4;
const PORT_GROUPS: u64 = (32_768 - FIRST_PORT) / PORTS_OF_A_GROUP;
/// Bytes; the unit of `ulimit -f` in a POSIX shell.
const ULIMIT_BLOCK: u64 = 512;
/// How long a follower may take to hear of a change on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);
