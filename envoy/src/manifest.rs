//! Filled-in configuration for the ways that an Envoy is configured: its own bootstrap, extension
//! discovery, Istio, Envoy Gateway.
//!
//! All of them are made of the stanzas of `bootstrap.yaml`, so what Envoy gets in the end is what
//! the tests run. Every input is checked before anything is printed, and is printed quoted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bootstrap::{FEED_CLUSTER, Gate, RenderError, TEMPLATE, cluster_values};
use crate::code::Code;
use crate::fields;
use crate::plugin::{Mode, PluginConfig};
use crate::template::{render, render_block};

/// Everything that a manifest is filled with.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// What the gate enforces: environment, audience, pinned roots, mode.
    pub plugin: PluginConfig,
    /// Where the control plane listens, `host:port`, as Envoy reaches it.
    pub feed: String,
    /// The server name to demand of the control plane; absent: the feed is read without TLS.
    pub feed_sni: Option<String>,
    /// What Envoy shows the control plane of itself, over TLS; absent: a join token, or nothing.
    pub feed_client: Option<ClientCertificate>,
    /// The certificate authorities that Envoy believes, a file as Envoy reads it.
    pub ca: PathBuf,
    /// Where the filter's module is.
    pub code: Code,
    /// Environment variables of the Envoy process that the gate may read.
    pub host_env: Vec<String>,
    /// The file that Envoy discovers the extension in (`ecds`).
    pub ecds_path: PathBuf,
    /// The namespace of what is printed for Kubernetes; for Envoy Gateway the target's.
    pub namespace: String,
    /// Which workloads are meant in Istio; none: all of the namespace.
    pub labels: BTreeMap<String, String>,
    /// Which side of an Istio proxy is guarded.
    pub side: Side,
    /// What is guarded in Envoy Gateway.
    pub target: Target,
}

/// A certificate and its key, files as Envoy reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Which side of an Istio proxy is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A gateway's listeners.
    Gateway,
    /// What comes into a workload's sidecar.
    SidecarInbound,
}

/// What an Envoy Gateway policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Gateway that serves what is guarded.
    pub gateway: String,
    /// One of its HTTPRoutes; absent: all of the Gateway.
    pub route: Option<String>,
    /// The Gateway's listener, by the name of its section.
    pub listener: String,
}

/// For whom a manifest is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Static stanzas for a bootstrap.
    Envoy,
    /// A filter that Envoy discovers in a file, and that file.
    Ecds,
    /// An `EnvoyFilter`: all that the gate needs.
    Istio,
    /// A `WasmPlugin` and what it leaves out.
    IstioWasmPlugin,
    /// `EnvoyExtensionPolicy`, `EnvoyPatchPolicy` and `ClientTrafficPolicy`.
    EnvoyGateway,
}

impl Manifest {
    /// A gate with this configuration; the rest as the command line has it by default.
    pub fn new(plugin: PluginConfig, feed: &str, code: Code) -> Self {
        Self {
            plugin,
            feed: feed.to_owned(),
            feed_sni: None,
            feed_client: None,
            ca: PathBuf::from(DEFAULT_CA),
            code,
            host_env: Vec::new(),
            ecds_path: PathBuf::from(DEFAULT_ECDS_PATH),
            namespace: "default".to_owned(),
            labels: BTreeMap::new(),
            side: Side::Gateway,
            target: Target { gateway: "eg".to_owned(), route: None, listener: "http".to_owned() },
        }
    }

    /// The whole text, commented, for one platform.
    ///
    /// # Errors
    /// The first input that cannot be used, by the name of its field.
    pub fn render(&self, platform: Platform) -> Result<String, RenderError> {
        self.check()?;
        let template = match platform {
            Platform::Envoy => include_str!("../manifests/envoy.yaml"),
            Platform::Ecds => return self.ecds(),
            Platform::Istio | Platform::IstioWasmPlugin => {
                include_str!("../manifests/istio.yaml")
            }
            Platform::EnvoyGateway => {
                self.remote("envoy-gateway")?;
                include_str!("../manifests/envoy-gateway.yaml")
            }
        };
        if platform == Platform::IstioWasmPlugin {
            self.remote("istio-wasm-plugin")?;
        }
        Ok(render(template, &self.values(platform)?)?)
    }

    /// One entry of `http_filters`: the gate, or where it is discovered.
    ///
    /// # Errors
    /// As [`Manifest::render`].
    pub fn http_filter(&self, platform: Platform) -> Result<String, RenderError> {
        self.check()?;
        let discovered = match platform {
            Platform::Ecds => true,
            Platform::Istio => matches!(self.code, Code::Remote { .. }),
            Platform::Envoy | Platform::IstioWasmPlugin | Platform::EnvoyGateway => false,
        };
        if !discovered {
            return Ok(render_block(TEMPLATE, "gates", &self.gate().values()?)?);
        }
        let values = json!({
            "istio": platform == Platform::Istio,
            "file": platform == Platform::Ecds,
            "ecds_path": self.ecds_path.to_string_lossy(),
        });
        Ok(render(include_str!("../manifests/discovered.yaml"), &values)?)
    }

    /// The file that [`Manifest::ecds_path`] names (`ecds`).
    ///
    /// # Errors
    /// As [`Manifest::render`].
    pub fn ecds_file(&self) -> Result<String, RenderError> {
        self.check()?;
        let values = json!({ "plugin": self.plugin_stanza()? });
        Ok(render(include_str!("../manifests/ecds.yaml"), &values)?)
    }

    /// Entries of `clusters`: the feed's, and where a remote module is fetched from.
    ///
    /// # Errors
    /// As [`Manifest::render`].
    pub fn clusters(&self) -> Result<String, RenderError> {
        self.check()?;
        let mut out = self.feed_cluster()?;
        if let Some(values) = self.code.cluster(&self.ca.to_string_lossy())? {
            out.push_str(&render_block(TEMPLATE, "code_hosts", &values)?);
        }
        Ok(out)
    }

    /// Fields of the HTTP connection manager.
    ///
    /// # Errors
    /// As [`Manifest::render`].
    pub fn path_settings(&self) -> Result<String, RenderError> {
        Ok(render_block(TEMPLATE, "normalize_paths", &Value::Null)?)
    }

    fn ecds(&self) -> Result<String, RenderError> {
        let stanzas =
            render(include_str!("../manifests/envoy.yaml"), &self.values(Platform::Ecds)?)?;
        Ok(format!("{stanzas}---\n{}", self.ecds_file()?))
    }

    fn values(&self, platform: Platform) -> Result<Value, RenderError> {
        let code = self.code.values()?;
        let mut plugin = serde_json::to_value(&self.plugin).unwrap_or_default();
        // One order, whatever the features of the JSON library are.
        plugin.sort_all_objects();
        let labels = (!self.labels.is_empty()).then_some(&self.labels);
        let env = |name: &String| json!({ "name": name, "valueFrom": "HOST" });
        let env: Vec<Value> = self.host_env.iter().map(env).collect();
        Ok(json!({
            "file": platform == Platform::Ecds,
            "ecds_path": self.ecds_path.to_string_lossy(),
            "shadow": self.plugin.mode == Mode::Shadow,
            "path_settings": self.path_settings()?,
            "http_filter": self.http_filter(platform)?,
            "filter_value": entry(&self.http_filter(platform)?),
            "plugin": self.plugin_stanza()?,
            "clusters": self.clusters()?,
            "cluster_value": entry(&self.feed_cluster()?),
            "stats_tags": render_block(TEMPLATE, "stats_tags", &Value::Null)?,
            "wasm_plugin": platform == Platform::IstioWasmPlugin,
            "whole": platform == Platform::Istio,
            "discovered": platform == Platform::Istio && code.get("remote") == Some(&json!(true)),
            "configuration": plugin,
            "wasm_url": code.get("wasm_url"),
            "wasm_sha256": code.get("wasm_sha256"),
            "namespace": self.namespace,
            "labels": labels,
            "env": (!env.is_empty()).then_some(&env),
            "host_env": (!self.host_env.is_empty()).then_some(&self.host_env),
            "context": match self.side {
                Side::Gateway => "GATEWAY",
                Side::SidecarInbound => "SIDECAR_INBOUND",
            },
            "feed_cluster": FEED_CLUSTER,
            "gateway": self.target.gateway,
            "target_kind": if self.target.route.is_some() { "HTTPRoute" } else { "Gateway" },
            "target_name": self.target.route.as_ref().unwrap_or(&self.target.gateway),
            "listener": format!(
                "{}/{}/{}", self.namespace, self.target.gateway, self.target.listener
            ),
            // The name that Envoy Gateway gives the filter of the policy printed. The check of the
            // namespace makes this a regular expression that matches nothing else by accident.
            "gate_path": format!(
                "..http_filters[?match(@.name, 'envoy.filters.http.wasm/envoyextensionpolicy/\
                 {}/gatepass/.*')].typed_config.config",
                self.namespace
            ),
        }))
    }

    fn gate(&self) -> Gate {
        let gate = Gate::new("", &self.plugin).code(self.code.clone());
        self.host_env.iter().fold(gate, |gate, key| gate.host_env(key))
    }

    fn plugin_stanza(&self) -> Result<String, RenderError> {
        Ok(render_block(TEMPLATE, "plugin", &self.gate().values()?)?)
    }

    fn feed_cluster(&self) -> Result<String, RenderError> {
        let mut values = cluster_values(FEED_CLUSTER, &self.feed)?;
        if let Some(values) = values.as_object_mut() {
            values.insert("tls".to_owned(), json!(self.feed_sni.is_some()));
            values.insert("sni".to_owned(), json!(self.feed_sni));
            values.insert("ca".to_owned(), json!(self.ca.to_string_lossy()));
            values.insert("client".to_owned(), json!(self.feed_client.is_some()));
            if let Some(client) = &self.feed_client {
                let certificate = client.certificate.to_string_lossy();
                values.insert("certificate".to_owned(), json!(certificate));
                values.insert("key".to_owned(), json!(client.key.to_string_lossy()));
            }
        }
        Ok(render_block(TEMPLATE, "feeds", &values)?)
    }

    fn remote(&self, platform: &'static str) -> Result<(), RenderError> {
        match &self.code {
            Code::Remote { .. } => Ok(()),
            Code::Local(path) => Err(RenderError::NeedsUrl { platform, path: path.clone() }),
        }
    }

    fn check(&self) -> Result<(), RenderError> {
        self.plugin.check()?;
        fields::token("environment", &self.plugin.environment)?;
        fields::token("feed_audience", &self.plugin.feed_audience)?;
        fields::token("control_plane.cluster", &self.plugin.control_plane.cluster)?;
        fields::token("control_plane.authority", &self.plugin.control_plane.authority)?;
        if let Some(prefix) = &self.plugin.control_plane.path_prefix {
            fields::token("control_plane.path_prefix", prefix)?;
        }
        fields::address("feed", &self.feed)?;
        if let Some(sni) = &self.feed_sni {
            fields::host_name("feed_sni", sni)?;
        }
        if let Some(client) = &self.feed_client {
            fields::path("feed_cert", &client.certificate.to_string_lossy())?;
            fields::path("feed_key", &client.key.to_string_lossy())?;
        }
        fields::path("ca", &self.ca.to_string_lossy())?;
        fields::path("ecds_path", &self.ecds_path.to_string_lossy())?;
        self.code.check()?;
        for name in &self.host_env {
            fields::variable("host_env", name)?;
        }
        fields::object_name("namespace", &self.namespace)?;
        for (key, value) in &self.labels {
            fields::label("labels", key, value)?;
        }
        fields::object_name("gateway", &self.target.gateway)?;
        fields::object_name("listener", &self.target.listener)?;
        if let Some(route) = &self.target.route {
            fields::object_name("route", route)?;
        }
        Ok(())
    }
}

/// The map in a list of one: `- a: 1` becomes `a: 1`.
fn entry(block: &str) -> String {
    let inner = |line: &str| line.chars().skip(2).collect::<String>();
    block.lines().map(|line| format!("{}\n", inner(line))).collect()
}

const DEFAULT_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
const DEFAULT_ECDS_PATH: &str = "/etc/envoy/gatepass.ecds.yaml";
