//! A whole small world: a store, its feed, an upstream and a real Envoy with the shipped filter.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use gatepass::feed::{Feed, Serving, system_clock};
use gatepass::issue::{Grant, Party, new_id};
use gatepass::publish::Revoke;
use gatepass::store::{Setup, Store};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use gatepass_engine::revocation::Kind;
use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, PluginConfig, Roots};

use super::filter;
use super::orders::{AUDIENCE, HOST, POLICY};
use super::upstream::Upstream;
use super::wire::{Connection, Response, WireError, request};

/// An error of the kit: a test stops on it.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A control plane of one environment, with its feed served.
pub struct ControlPlane {
    // Fields are dropped in this order: the feed ends before its directory goes.
    serving: Option<Serving>,
    runtime: tokio::runtime::Runtime,
    environment: String,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl ControlPlane {
    /// Makes the keys and the store, publishes the orders policy, and serves the feed.
    ///
    /// # Errors
    /// Whatever the control plane says.
    pub fn start(environment: &str) -> Result<Self, Failed> {
        Self::with_policy(environment, POLICY)
    }

    /// The same with another policy.
    ///
    /// # Errors
    /// Whatever the control plane says.
    pub fn with_policy(environment: &str, policy: &str) -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let store = directory.path().join("store");
        let setup = Setup::new(&store, environment, environment, &issuer(environment));
        let mut opened = Store::create(&store, &setup, now())?;
        opened.publish(compile(policy)?, now())?;
        drop(opened);
        let mut out = Self {
            directory,
            environment: environment.to_owned(),
            runtime,
            serving: None,
            address: ([127, 0, 0, 1], 0).into(),
        };
        out.serve()?;
        Ok(out)
    }

    /// Serves the feed on the address that it had, or on a first one.
    ///
    /// # Errors
    /// The address is taken.
    pub fn serve(&mut self) -> Result<(), Failed> {
        let _runtime = self.runtime.enter();
        let listener = TcpListener::bind(self.address)?;
        listener.set_nonblocking(true)?;
        self.address = listener.local_addr()?;
        let store = Store::open(&self.store())?;
        self.serving =
            Some(Feed::serve(tokio::net::TcpListener::from_std(listener)?, store, system_clock())?);
        Ok(())
    }

    /// Kills the feed: connections break, the port is closed.
    pub fn stop(&mut self) {
        self.serving = None;
        // Polls that are still open go with the runtime that serves them.
        if let Ok(fresh) =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
        {
            std::mem::replace(&mut self.runtime, fresh).shutdown_background();
        }
    }

    /// The store's directory.
    #[must_use]
    pub fn store(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the feed is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does something with the store as another process would: the feed notices by itself.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn with<T, E: Into<Failed>>(
        &self,
        act: impl FnOnce(&mut Store) -> Result<T, E>,
    ) -> Result<T, Failed> {
        match &self.serving {
            Some(serving) => serving.with(|store, _| act(store)).map_err(Into::into),
            None => act(&mut Store::open(&self.store())?).map_err(Into::into),
        }
    }

    /// Revokes one thing; the position that carries it.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn revoke(&self, kind: Kind, id: &str) -> Result<Position, Failed> {
        self.with(|store| store.revoke(vec![Revoke::new(kind, id, now())], now()))
    }

    /// # Errors
    /// Whatever the store or the compiler says.
    pub fn publish(&self, policy: &str) -> Result<Position, Failed> {
        let bundle = compile(policy)?;
        self.with(|store| store.publish(bundle, now()))
    }

    /// Issues a gatepass at the newest position.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn issue(&self, grant: &Grant) -> Result<String, Failed> {
        self.with(|store| store.issue(grant, now()))
    }

    /// The plugin configuration that follows this feed.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn plugin(&self) -> Result<PluginConfig, Failed> {
        let pinned = Store::open(&self.store())?.pinned_roots()?;
        let roots = Roots { keys: pinned.keys, threshold: u32::try_from(pinned.threshold)? };
        let mut plugin = PluginConfig::new(&self.environment, &self.environment, roots);
        plugin.expose_position = true;
        Ok(plugin)
    }
}

/// A control plane, an upstream and an Envoy between them.
pub struct World {
    pub control: ControlPlane,
    pub upstream: Upstream,
    pub envoy: Envoy,
}

impl World {
    /// # Errors
    /// Whatever could not be started.
    pub fn start(workers: u32) -> Result<Self, Failed> {
        let control = ControlPlane::start("prod")?;
        let plugin = control.plugin()?;
        Self::with(control, &plugin, workers)
    }

    /// The same with a plugin configuration of the test's.
    ///
    /// # Errors
    /// Whatever could not be started.
    pub fn with(
        control: ControlPlane,
        plugin: &PluginConfig,
        workers: u32,
    ) -> Result<Self, Failed> {
        let upstream = Upstream::start()?;
        let gate = Gate::new(filter::path()?, plugin);
        let bootstrap = Bootstrap::new()
            .listener(Listener::forwarding("in", upstream.address()).gate(gate))
            .feed(control.address())
            .workers(workers);
        let envoy = Envoy::launch(&bootstrap)?;
        Ok(Self { control, upstream, envoy })
    }

    /// A new connection to the gate.
    ///
    /// # Errors
    /// Envoy is gone.
    pub fn connect(&self) -> Result<Connection, Failed> {
        Ok(Connection::open(self.envoy.address("in")?)?)
    }

    /// One request on a connection of its own, without a body.
    ///
    /// # Errors
    /// The connection broke.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        gatepass: Option<&str>,
    ) -> Result<Response, Failed> {
        Ok(self.connect()?.exchange(&bearing(method, path, gatepass))?)
    }

    /// One kept-alive connection to each worker, found by the VM that answers.
    ///
    /// # Errors
    /// Not every worker could be reached.
    pub fn connections(&self, workers: usize) -> Result<Vec<(String, Connection)>, Failed> {
        let mut found: Vec<(String, Connection)> = Vec::new();
        for _ in 0..workers.saturating_mul(64) {
            let mut connection = self.connect()?;
            let response = connection.exchange(&bearing("GET", "/healthz", None))?;
            let vm = response.header("x-gatepass-vm").unwrap_or_default().to_owned();
            if !vm.is_empty() && !found.iter().any(|(known, _)| *known == vm) {
                found.push((vm, connection));
            }
            if found.len() == workers {
                return Ok(found);
            }
        }
        Err(format!("{} of {workers} workers were reached", found.len()).into())
    }
}

/// The bytes of a request with a gatepass.
#[must_use]
pub fn bearing(method: &str, path: &str, gatepass: Option<&str>) -> Vec<u8> {
    let authorization = gatepass.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> =
        authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    request(method, HOST, path, &headers)
}

/// A grant of `action` at the orders API to the agent that the tests know.
///
/// # Errors
/// No randomness.
pub fn grant(action: &str) -> Result<Grant, Failed> {
    let agent =
        Party { id: AGENT.to_owned(), owner: OWNER.to_owned(), blueprint: BLUEPRINT.to_owned() };
    let mut grant = Grant::new(&new_id()?, agent, TASK, AUDIENCE, &[action]);
    grant.scopes = vec!["orders.write".to_owned()];
    Ok(grant)
}

/// Compiles a policy, or says all that is wrong with it.
///
/// # Errors
/// The compiler's problems, a line each.
pub fn compile(policy: &str) -> Result<gatepass_engine::bundle::Bundle, Failed> {
    gatepass_policy::compile(policy).map(|compiled| compiled.bundle).map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()
    })
}

/// Asks until `done`, at most `within`; the last answer.
///
/// # Errors
/// The time is over; the last answer is named.
pub fn until(
    within: Duration,
    mut ask: impl FnMut() -> Result<Response, Failed>,
    done: impl Fn(&Response) -> bool,
) -> Result<(Response, Duration), Failed> {
    let start = Instant::now();
    loop {
        let last = match ask() {
            Ok(response) if done(&response) => return Ok((response, start.elapsed())),
            Ok(response) => response.verdict(),
            // What was let on is decided again, and cut where it would be denied now.
            Err(error) if is_cut(&error) => "cut".to_owned(),
            Err(error) => return Err(error),
        };
        if start.elapsed() > within {
            return Err(format!("still `{last}` after {within:?}").into());
        }
    }
}

fn is_cut(error: &Failed) -> bool {
    matches!(error.downcast_ref(), Some(WireError::Closed(_)))
}

#[must_use]
pub fn now() -> UnixSeconds {
    system_clock()()
}

fn issuer(environment: &str) -> String {
    format!("https://gatepass.example/{environment}")
}

/// The agent of the tests.
pub const AGENT: &str = "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f";
pub const OWNER: &str = "user:corp/alice";
pub const BLUEPRINT: &str = "buyer";
pub const TASK: &str = "task-1";
