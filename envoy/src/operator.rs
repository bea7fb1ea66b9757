//! What an operator pastes into a bootstrap of their own: printed by `gatepass-envoy config`
//! from the same lines of `bootstrap.yaml` that the tests run.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bootstrap::{FEED_CLUSTER, Gate, RenderError, TEMPLATE, cluster_values};
use crate::plugin::PluginConfig;
use crate::template::render_block;

/// The parts of an operator's configuration that the gate needs.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// What the gate enforces; its control plane must be the cluster [`FEED_CLUSTER`].
    pub plugin: PluginConfig,
    /// Where the control plane listens, `host:port`, as Envoy reaches it.
    pub feed: String,
    /// Where `filter.wasm` lies, as Envoy reads it.
    pub wasm: PathBuf,
    /// Environment variables of the Envoy process that the gate may read.
    pub host_env: Vec<String>,
}

impl OperatorConfig {
    /// All parts as one YAML document, commented, each under the field that it belongs to.
    pub fn render(&self) -> Result<String, RenderError> {
        Ok(format!(
            "{PREAMBLE}\n# Of the HTTP connection manager:\nhttp_connection_manager:\n{}\n\
             # Of the HTTP connection manager: the last filter before envoy.filters.http.router, so\n\
             # that nothing changes a request after it was decided.\nhttp_filters:\n{}\n\
             # Of static_resources, or a CDS file:\nclusters:\n{}\n# Of the bootstrap:\n{}",
            indented(&self.path_settings()?),
            self.http_filter()?,
            self.cluster()?,
            self.stats_tags()?,
        ))
    }

    /// One entry of `http_filters`.
    pub fn http_filter(&self) -> Result<String, RenderError> {
        self.plugin.check()?;
        let gate = Gate::new(&self.wasm, &self.plugin);
        let gate = self.host_env.iter().fold(gate, |gate, key| gate.host_env(key));
        Ok(render_block(TEMPLATE, "gates", &gate.values()?)?)
    }

    /// One entry of `clusters`.
    pub fn cluster(&self) -> Result<String, RenderError> {
        let values = cluster_values(FEED_CLUSTER, &self.feed)?;
        Ok(render_block(TEMPLATE, "feeds", &values)?)
    }

    /// Fields of the HTTP connection manager.
    pub fn path_settings(&self) -> Result<String, RenderError> {
        Ok(render_block(TEMPLATE, "normalize_paths", &Value::Null)?)
    }

    /// The `stats_config` of the bootstrap.
    pub fn stats_tags(&self) -> Result<String, RenderError> {
        Ok(render_block(TEMPLATE, "stats_tags", &json!({}))?)
    }
}

fn indented(block: &str) -> String {
    block.lines().map(|line| format!("  {line}\n")).collect()
}

const PREAMBLE: &str = "\
# Printed by `gatepass-envoy config`. Copy each part into the field of your own bootstrap that
# its key names. It holds no secret.
";
