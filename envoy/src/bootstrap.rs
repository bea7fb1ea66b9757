//! What to launch: listeners, the gates on them, and the clusters behind them.
//!
//! A test states the few things it is about; the rest comes from `bootstrap.yaml`. Nothing here
//! judges a plugin configuration: tests hand in broken ones.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::code::Code;
use crate::manifest::ClientCertificate;
use crate::plugin::PluginConfig;
use crate::process::Settings;
use crate::template::{self, TemplateError};

/// The checked-in, commented configuration.
pub(crate) const TEMPLATE: &str = include_str!("../bootstrap.yaml");

/// The name of the cluster that gates poll the feed from, unless a test names another.
pub const FEED_CLUSTER: &str = "gatepass_control_plane";

/// Why no configuration could be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RenderError {
    /// An address is not `host:port`.
    #[error("address `{0}` is not HOST:PORT with a port from 1 to 65535")]
    Address(String),
    /// A path is not UTF-8, which YAML cannot carry.
    #[error("path `{0}` is not UTF-8: move the file")]
    Path(PathBuf),
    /// A field of the caller's cannot be written safely or cannot work.
    #[error(transparent)]
    Field(#[from] crate::fields::FieldError),
    /// The platform takes no module from a file.
    #[error("`{platform}` takes no local module (`{path}`): give `wasm_url` and `wasm_sha256`")]
    NeedsUrl {
        /// The platform asked for.
        platform: &'static str,
        /// The file given.
        path: PathBuf,
    },
    /// The plugin configuration would be refused by the gate.
    #[error(transparent)]
    PluginConfig(#[from] crate::plugin::PluginConfigError),
    /// A fault in `bootstrap.yaml`.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// One Envoy to launch with [`crate::Envoy::launch`].
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    pub(crate) settings: Settings,
    node: String,
    listeners: Vec<Listener>,
    feeds: Vec<Feed>,
}

/// A cluster of control planes.
#[derive(Clone, Debug)]
struct Feed {
    cluster: String,
    address: String,
    tls: Option<FeedTls>,
}

/// How Envoy and the control plane know each other.
#[derive(Clone, Debug)]
pub struct FeedTls {
    /// The server name to demand.
    pub sni: String,
    /// The authorities that Envoy believes.
    pub ca: PathBuf,
    /// What Envoy shows of itself.
    pub client: ClientCertificate,
}

impl Bootstrap {
    /// Two workers, no listener, no cluster.
    pub fn new() -> Self {
        Self { node: "gatepass-envoy".to_owned(), ..Self::default() }
    }

    /// Adds a listener on a port of 127.0.0.1 that the system chooses.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Adds the cluster [`FEED_CLUSTER`] at `address` (`host:port`; nobody need listen there).
    pub fn feed(self, address: impl ToString) -> Self {
        self.feed_named(FEED_CLUSTER, address)
    }

    /// Adds a cluster of that name at `address` (`host:port`), for a gate that polls elsewhere.
    pub fn feed_named(mut self, cluster: &str, address: impl ToString) -> Self {
        self.feeds.push(Feed {
            cluster: cluster.to_owned(),
            address: address.to_string(),
            tls: None,
        });
        self
    }

    /// The last feed is read over mTLS.
    pub fn feed_tls(mut self, tls: FeedTls) -> Self {
        if let Some(feed) = self.feeds.last_mut() {
            feed.tls = Some(tls);
        }
        self
    }

    /// The node id of this Envoy; `gatepass-envoy` unless set.
    pub fn node(mut self, id: &str) -> Self {
        self.node = id.to_owned();
        self
    }

    /// How many worker threads serve (`--concurrency`); 2 unless set.
    pub fn workers(mut self, count: u32) -> Self {
        self.settings.workers = count;
        self
    }

    /// Sets an environment variable of the Envoy process. A gate sees it only when it names it
    /// with [`Gate::host_env`].
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.settings.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Replaces the settings of the process as a whole.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The configuration as YAML, logging requests to `access_log`.
    pub fn render(&self, access_log: &Path) -> Result<String, RenderError> {
        let listeners = each(&self.listeners, Listener::values)?;
        let upstreams = each(&self.listeners, Listener::upstream_values)?;
        let feeds = each(&self.feeds, Feed::values)?;
        let values = json!({
            "node": self.node,
            "stats_tags": true,
            "access_log": utf8(access_log)?,
            "access_log_format": true,
            "listeners": listeners,
            "upstreams": upstreams.into_iter().flatten().collect::<Vec<_>>(),
            "feeds": feeds,
            "code_hosts": [],
        });
        Ok(template::render(TEMPLATE, &values)?)
    }
}

impl Feed {
    fn values(&self) -> Result<Value, RenderError> {
        let mut values = cluster_values(&self.cluster, &self.address)?;
        if let (Some(tls), Some(values)) = (&self.tls, values.as_object_mut()) {
            crate::fields::host_name("feed_sni", &tls.sni)?;
            values.insert("tls".to_owned(), json!(true));
            values.insert("sni".to_owned(), json!(tls.sni));
            values.insert("ca".to_owned(), json!(utf8(&tls.ca)?));
            values.insert("client".to_owned(), json!(true));
            values.insert("certificate".to_owned(), json!(utf8(&tls.client.certificate)?));
            values.insert("key".to_owned(), json!(utf8(&tls.client.key)?));
        }
        Ok(values)
    }
}

/// A listener, the gates in front of it, and what answers behind them.
#[derive(Clone, Debug)]
pub struct Listener {
    name: String,
    target: Target,
    gates: Vec<Gate>,
    normalize_paths: bool,
    upgrades: bool,
    repeats: bool,
}

#[derive(Clone, Debug)]
enum Target {
    Upstream { address: String, http2: bool },
    Respond { status: u16, body: String },
}

impl Listener {
    /// Sends what the gates let through to `upstream` (`host:port`) over HTTP/1.1.
    pub fn forwarding(name: &str, upstream: impl ToString) -> Self {
        Self::with_target(name, Target::Upstream { address: upstream.to_string(), http2: false })
    }

    /// The same over HTTP/2, which gRPC asks for.
    pub fn forwarding_http2(name: &str, upstream: impl ToString) -> Self {
        Self::with_target(name, Target::Upstream { address: upstream.to_string(), http2: true })
    }

    /// Answers what the gates let through by itself, without an upstream.
    pub fn responding(name: &str, status: u16, body: &str) -> Self {
        Self::with_target(name, Target::Respond { status, body: body.to_owned() })
    }

    /// Adds an HTTP filter; filters run in the order in which they were added.
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gates.push(gate);
        self
    }

    /// Switches path normalization off, so that `//`, `%2e` and the like reach the gate.
    pub fn without_path_normalization(mut self) -> Self {
        self.normalize_paths = false;
        self
    }

    /// Lets WebSocket upgrades and CONNECT reach the gate; Envoy refuses them otherwise.
    pub fn with_upgrades(mut self) -> Self {
        self.upgrades = true;
        self
    }

    /// Has Envoy send each request three times, as a retry policy of the operator's may.
    pub fn repeating(mut self) -> Self {
        self.repeats = true;
        self
    }

    fn with_target(name: &str, target: Target) -> Self {
        let name = name.to_owned();
        Self {
            name,
            target,
            gates: Vec::new(),
            normalize_paths: true,
            upgrades: false,
            repeats: false,
        }
    }

    fn upstream_cluster(&self) -> String {
        format!("upstream_of_{}", self.name)
    }

    fn values(&self) -> Result<Value, RenderError> {
        let (upstream, respond, status, body) = match &self.target {
            Target::Upstream { .. } => (Some(self.upstream_cluster()), false, 0, ""),
            Target::Respond { status, body } => (None, true, *status, body.as_str()),
        };
        Ok(json!({
            "listener": self.name,
            "normalize_paths": self.normalize_paths,
            "upgrades": self.upgrades,
            "repeats": self.repeats,
            "gates": each(&self.gates, Gate::values)?,
            "upstream": upstream,
            "respond": respond,
            "status": status,
            "body": body,
        }))
    }

    fn upstream_values(&self) -> Result<Option<Value>, RenderError> {
        match &self.target {
            Target::Upstream { address, http2 } => {
                let mut values = cluster_values(&self.upstream_cluster(), address)?;
                if let Some(values) = values.as_object_mut() {
                    values.insert("http2".to_owned(), (*http2).into());
                }
                Ok(Some(values))
            }
            Target::Respond { .. } => Ok(None),
        }
    }
}

/// One Wasm plugin in a listener's filter chain.
#[derive(Clone, Debug)]
pub struct Gate {
    name: String,
    code: Code,
    vm_id: String,
    configuration: String,
    host_env: Vec<String>,
}

impl Gate {
    /// The gate in the file `wasm`, under a `vm_id` of its environment and audience.
    pub fn new(wasm: impl Into<PathBuf>, config: &PluginConfig) -> Self {
        Self::raw(wasm, &config.vm_id(), config.text())
    }

    /// Any plugin with any configuration text: broken ones, and hostile ones that share a
    /// gate's `vm_id`.
    pub fn raw(wasm: impl Into<PathBuf>, vm_id: &str, configuration: impl ToString) -> Self {
        Self {
            name: "gatepass".to_owned(),
            code: Code::Local(wasm.into()),
            vm_id: vm_id.to_owned(),
            configuration: configuration.to_string(),
            host_env: Vec::new(),
        }
    }

    /// The module from elsewhere than a file.
    pub fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// The name in Envoy's own counters (`wasm.<name>.vm_reload_success`); `gatepass` unless set.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Another `vm_id`. Plugins with the same one share their shared data.
    pub fn vm_id(mut self, vm_id: &str) -> Self {
        self.vm_id = vm_id.to_owned();
        self
    }

    /// Lets the plugin read an environment variable of the Envoy process.
    pub fn host_env(mut self, key: &str) -> Self {
        self.host_env.push(key.to_owned());
        self
    }

    pub(crate) fn values(&self) -> Result<Value, RenderError> {
        let mut values = json!({
            "plugin": true,
            "gate": self.name,
            "vm_id": self.vm_id,
            "host_env": (!self.host_env.is_empty()).then_some(&self.host_env),
            "configuration": self.configuration,
        });
        if let Some(values) = values.as_object_mut() {
            values.extend(self.code.values()?);
        }
        Ok(values)
    }
}

pub(crate) fn cluster_values(name: &str, address: &str) -> Result<Value, RenderError> {
    let bad = || RenderError::Address(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port: u16 = port.parse().map_err(|_| bad())?;
    if host.is_empty() || port == 0 {
        return Err(bad());
    }
    // STATIC takes no host names, and STRICT_DNS makes Envoy wait for a resolver at its start.
    let discovery = if host.parse::<IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
    Ok(json!({
        "cluster": name, "discovery": discovery, "host": host, "port": port,
        "tls": false, "sni": null, "ca": null,
    }))
}

fn each<T, U>(
    items: &[T],
    values: impl Fn(&T) -> Result<U, RenderError>,
) -> Result<Vec<U>, RenderError> {
    items.iter().map(values).collect()
}

pub(crate) fn utf8(path: &Path) -> Result<&str, RenderError> {
    path.to_str().ok_or_else(|| RenderError::Path(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{RenderError, cluster_values};

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (address, host, discovery) in [
            ("127.0.0.1:80", "127.0.0.1", "STATIC"),
            ("[::1]:80", "::1", "STATIC"),
            ("desk.internal:80", "desk.internal", "STRICT_DNS"),
        ] {
            let expected = json!({
                "cluster": "c", "discovery": discovery, "host": host, "port": 80,
                "tls": false, "sni": null, "ca": null,
            });
            assert_eq!(cluster_values("c", address), Ok(expected));
        }
        for address in ["desk", "desk:", ":80", "desk:0", "desk:65536", "desk:http"] {
            let expected = Err(RenderError::Address(address.to_owned()));
            assert_eq!(cluster_values("c", address), expected);
        }
    }
}
