//! A running Envoy: started from a configuration, known by the ports it bound, killed on drop.
//!
//! It keeps nothing outside its temporary folder, and waits on conditions with a deadline, never for a
//! length of time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::admin;
use crate::binary::{EnvoyBinary, FindError};
use crate::bootstrap::{Bootstrap, RenderError};

/// How an Envoy process is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads (`--concurrency`).
    pub workers: u32,
    /// `--log-level`; the log is printed only when a test fails.
    pub log_level: String,
    /// `--component-log-level`, such as `wasm:debug`.
    pub component_log_level: Option<String>,
    /// Environment variables of the process, besides the inherited ones.
    pub env: Vec<(String, String)>,
    /// How long to wait for `/ready`.
    pub ready_within: Duration,
    /// Takes over from another process, or can be taken over from.
    pub hot_restart: Option<HotRestart>,
}

/// Which of several processes that follow one another this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotRestart {
    /// `--base-id`: the same for all of them and for no other on this machine.
    pub base_id: u32,
    /// `--restart-epoch`: 0 for the first, one more for each that takes over.
    pub epoch: u32,
    /// `--drain-time-s`: over which the one before lets its connections go.
    pub drain_seconds: u32,
    /// `--parent-shutdown-time-s`: after which the one before ends.
    pub parent_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 2,
            log_level: "info".to_owned(),
            component_log_level: None,
            env: Vec::new(),
            ready_within: Duration::from_secs(60),
            hot_restart: None,
        }
    }
}

/// A running Envoy. Dropping it kills the process; when the thread is panicking, the ends of its
/// logs are printed and its folder is kept.
#[derive(Debug)]
pub struct Envoy {
    process: Running,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
}

/// Why an Envoy did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no Envoy to run.
    #[error(transparent)]
    Find(#[from] FindError),
    /// No configuration could be written.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Envoy refused its configuration, or crashed; its log says why.
    #[error("Envoy ended with {status} before it was ready; its log ends:\n{log}")]
    Ended {
        /// How the process ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// Envoy runs, but did not become ready: a cluster or listener is still being waited for.
    #[error("Envoy was not ready within {within:?}; its log ends:\n{log}")]
    NotReady {
        /// The time that it was given.
        within: Duration,
        /// The end of its log.
        log: String,
    },
    /// The process or its folder could not be made.
    #[error("cannot run Envoy: {0}")]
    Io(#[from] io::Error),
}

/// Why a running Envoy did not answer as expected.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// No listener has this name.
    #[error("no listener is named `{name}`: there are {listeners:?}")]
    NoListener {
        /// The name asked for.
        name: String,
        /// The names that there are.
        listeners: Vec<String>,
    },
    /// The admin interface answered with another status than 200.
    #[error("admin `{path}` answered {status}: {body}")]
    Admin {
        /// The path asked for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The answer's body.
        body: String,
    },
    /// What was waited for did not come.
    #[error("{what} did not happen within {within:?}")]
    Deadline {
        /// What was waited for, as the caller named it.
        what: String,
        /// The time that it was given.
        within: Duration,
    },
    /// The admin interface or a log could not be read.
    #[error("cannot read `{what}`: {source}")]
    Io {
        /// The admin path or the file.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl Envoy {
    /// Finds an Envoy, starts it with this bootstrap and waits until it serves.
    pub fn launch(bootstrap: &Bootstrap) -> Result<Self, LaunchError> {
        let folder = TempDir::with_prefix("gatepass-envoy-")?;
        let yaml = bootstrap.render(&folder.path().join(ACCESS_LOG))?;
        Self::start(&EnvoyBinary::find()?, folder, &yaml, &bootstrap.settings)
    }

    /// Starts an Envoy with a configuration of the caller's own, and waits until it serves. The
    /// configuration has an admin address, best on port 0.
    pub fn launch_yaml(
        binary: &EnvoyBinary,
        yaml: &str,
        settings: &Settings,
    ) -> Result<Self, LaunchError> {
        Self::start(binary, TempDir::with_prefix("gatepass-envoy-")?, yaml, settings)
    }

    /// Where a listener of the bootstrap accepts connections.
    pub fn address(&self, listener: &str) -> Result<SocketAddr, EnvoyError> {
        self.listeners.get(listener).copied().ok_or_else(|| EnvoyError::NoListener {
            name: listener.to_owned(),
            listeners: self.listeners.keys().cloned().collect(),
        })
    }

    /// The port of [`Envoy::address`].
    pub fn port(&self, listener: &str) -> Result<u16, EnvoyError> {
        self.address(listener).map(|address| address.port())
    }

    /// Where the admin interface accepts connections.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// GET of an admin path, such as `/config_dump`.
    pub fn admin(&self, path: &str) -> Result<String, EnvoyError> {
        self.admin_with("GET", path)
    }

    /// POST to an admin path, such as `/logging?wasm=debug`.
    pub fn admin_post(&self, path: &str) -> Result<String, EnvoyError> {
        self.admin_with("POST", path)
    }

    /// All counters and gauges by full name, the filter's as `wasmcustom.<name>`.
    pub fn stats(&self) -> Result<BTreeMap<String, u64>, EnvoyError> {
        let text = self.admin("/stats")?;
        let parse = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(parse).collect())
    }

    /// The filter's counter or gauge of this name (without `wasmcustom.`); 0 when it was never
    /// set.
    pub fn wasm_stat(&self, name: &str) -> Result<u64, EnvoyError> {
        let stats = self.stats()?;
        Ok(stats.get(&format!("wasmcustom.{name}")).copied().unwrap_or(0))
    }

    /// Envoy's log so far; the filter's lines are marked `[wasm]`.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The requests logged so far, oldest first. A request is logged when its response has
    /// ended and shows here some 20 ms later: use [`Envoy::until`].
    pub fn access_log(&self) -> Result<Vec<Value>, EnvoyError> {
        let path = self.process.folder.path().join(ACCESS_LOG);
        let broken = |source| EnvoyError::Io { what: path.display().to_string(), source };
        let text = fs::read_to_string(&path).map_err(broken)?;
        // A line is complete once its newline is there: Envoy may be writing the next one.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).map_err(|error| broken(error.into())))
            .collect()
    }

    /// Asks `probe` again and again until it returns a value, at most for `within`. `what`
    /// completes "… did not happen".
    pub fn until<T>(
        &self,
        what: &str,
        within: Duration,
        mut probe: impl FnMut(&Self) -> Result<Option<T>, EnvoyError>,
    ) -> Result<T, EnvoyError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = probe(self)? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(EnvoyError::Deadline { what: what.to_owned(), within });
            }
            std::thread::sleep(POLL);
        }
    }

    /// The process id, for tests that stop, continue or kill it.
    pub fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// Kills Envoy and waits for its end; what it logged can still be read.
    pub fn kill(&mut self) {
        self.process.end();
    }

    fn admin_with(&self, method: &str, path: &str) -> Result<String, EnvoyError> {
        let answer = admin::fetch(self.admin, method, path)
            .map_err(|source| EnvoyError::Io { what: path.to_owned(), source })?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(EnvoyError::Admin { path: path.to_owned(), status, body: answer.body }),
        }
    }

    fn start(
        binary: &EnvoyBinary,
        folder: TempDir,
        yaml: &str,
        settings: &Settings,
    ) -> Result<Self, LaunchError> {
        let mut process = Running::spawn(binary, folder, yaml, settings)?;
        let deadline = Instant::now() + settings.ready_within;
        loop {
            if let Some((admin, listeners)) = process.ready() {
                return Ok(Self { process, admin, listeners });
            }
            if let Some(status) = process.child.try_wait()? {
                return Err(LaunchError::Ended { status, log: tail(&process.log()) });
            }
            if Instant::now() >= deadline {
                let log = tail(&process.log());
                return Err(LaunchError::NotReady { within: settings.ready_within, log });
            }
            std::thread::sleep(POLL);
        }
    }
}

/// The process and its folder, ready or not: whatever way a launch ends, this kills it.
#[derive(Debug)]
struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    fn spawn(
        binary: &EnvoyBinary,
        folder: TempDir,
        yaml: &str,
        settings: &Settings,
    ) -> Result<Self, LaunchError> {
        let config = folder.path().join("envoy.yaml");
        fs::write(&config, yaml)?;
        fs::write(folder.path().join(ACCESS_LOG), "")?;
        let log = File::create(folder.path().join(LOG))?;
        let mut command = Command::new(binary.path());
        command
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(folder.path().join(ADMIN_ADDRESS))
            .args(["--concurrency", &settings.workers.to_string()])
            .args(["--log-level", &settings.log_level])
            .args(["--file-flush-interval-msec", "20"])
            .envs(settings.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(levels) = &settings.component_log_level {
            command.args(["--component-log-level", levels]);
        }
        match settings.hot_restart {
            // Otherwise Envoys on one machine collide in shared memory over their base id.
            None => command.arg("--disable-hot-restart"),
            Some(restart) => command
                .args(["--base-id", &restart.base_id.to_string()])
                .args(["--restart-epoch", &restart.epoch.to_string()])
                .args(["--drain-time-s", &restart.drain_seconds.to_string()])
                .args(["--parent-shutdown-time-s", &restart.parent_seconds.to_string()]),
        };
        Ok(Self { child: command.spawn()?, folder })
    }

    /// The admin address and the listeners, once Envoy is live. Each step may come too early;
    /// that is no error.
    fn ready(&self) -> Option<(SocketAddr, BTreeMap<String, SocketAddr>)> {
        let address = fs::read_to_string(self.folder.path().join(ADMIN_ADDRESS)).ok()?;
        let admin = address.trim().parse().ok()?;
        if admin::fetch(admin, "GET", "/ready").ok()?.status != 200 {
            return None;
        }
        let answer = admin::fetch(admin, "GET", "/listeners?format=json").ok()?;
        let statuses: Value = serde_json::from_str(&answer.body).ok()?;
        let statuses = statuses.get("listener_statuses").and_then(Value::as_array);
        let listeners: Option<_> = statuses.into_iter().flatten().map(bound_listener).collect();
        listeners.map(|listeners| (admin, listeners))
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn end(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("Envoy's folder is kept: {}", self.folder.path().display());
            for name in [LOG, ACCESS_LOG] {
                let text = fs::read(self.folder.path().join(name)).unwrap_or_default();
                eprintln!("---- {name} ends:\n{}", tail(&String::from_utf8_lossy(&text)));
            }
        }
    }
}

impl EnvoyBinary {
    /// Has Envoy check a configuration (`--mode validate`): it parses it and loads its Wasm
    /// files, and binds no port.
    pub fn validate(&self, yaml: &str) -> Result<(), LaunchError> {
        let folder = TempDir::with_prefix("gatepass-envoy-")?;
        let config = folder.path().join("envoy.yaml");
        fs::write(&config, yaml)?;
        let output = Command::new(self.path())
            .args(["--mode", "validate", "--log-level", "info", "--config-path"])
            .arg(&config)
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let log = tail(&String::from_utf8_lossy(&output.stderr));
        Err(LaunchError::Ended { status: output.status, log })
    }
}

/// `None` while a listener has no port yet.
fn bound_listener(status: &Value) -> Option<(String, SocketAddr)> {
    let name = status.get("name")?.as_str()?;
    let socket = status.get("local_address")?.get("socket_address")?;
    let ip = socket.get("address")?.as_str()?.parse().ok()?;
    let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
    (port != 0).then(|| (name.to_owned(), SocketAddr::new(ip, port)))
}

/// The last lines, without the list of extensions (indented, 20 KB) that Envoy logs at its start.
fn tail(text: &str) -> String {
    let kept = text.lines().filter(|line| !line.contains("]   "));
    let lines: Vec<&str> = kept.rev().take(TAIL_LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

const POLL: Duration = Duration::from_millis(5);
const TAIL_LINES: usize = 60;
const LOG: &str = "envoy.log";
const ACCESS_LOG: &str = "access.jsonl";
const ADMIN_ADDRESS: &str = "admin.address";
