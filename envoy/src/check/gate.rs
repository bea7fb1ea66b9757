//! The gate's own filter entry: whether it runs, what happens when it crashes, what it trusts.

use crate::plugin::{Mode, PluginConfig, PluginConfigError};

use super::Finding;
use super::defect::Defect;
use super::source::Config;
use super::spot::Spot;

/// Whether an entry of `http_filters` is the gate: a Wasm filter whose configuration reads like the
/// gate's, or, where that cannot be seen, one that is called so.
pub(crate) fn is_gate(filter: &Spot<'_>, config: &Config<'_>) -> bool {
    let named = filter.field("name").text().to_ascii_lowercase().contains("gatepass");
    match typed(filter, config) {
        Some(typed) => is_wasm(&typed) && (named || reads_like_a_gate(&typed)),
        None => named && filter.field("config_discovery").is_there(),
    }
}

/// All that can be said about one gate; what it enforces.
pub(crate) fn check(
    filter: &Spot<'_>,
    config: &Config<'_>,
    findings: &mut Vec<Finding>,
) -> Option<PluginConfig> {
    let optional = filter.field("is_optional");
    if optional.is_true() {
        findings.push(Defect::GateOptional.on(&optional));
    }
    let instead = filter.down("config_discovery.default_config");
    if instead.is_there() {
        findings.push(Defect::DefaultInsteadOfGate.on(&instead));
    }
    let Some(typed) = typed(filter, config) else {
        findings.push(Defect::GateNotSeen.on(filter));
        return None;
    };
    let plugin = typed.field("config");
    failure(&plugin, findings);
    let stop = plugin.field("allow_on_headers_stop_iteration");
    if !stop.is_true() {
        findings.push(Defect::NoStopIteration.on(&stop));
    }
    let vm_id = plugin.down("vm_config.vm_id");
    if vm_id.text().is_empty() {
        findings.push(Defect::NoVmId.on(&vm_id));
    }
    enforced(&plugin, config, findings)
}

/// Whether the gate shares its `vm_id` with a plugin that is no gate, anywhere in this Envoy.
pub(crate) fn check_sharing(config: &Config<'_>, findings: &mut Vec<Finding>) {
    let is_plugin = |spot: &Spot<'_>| spot.field("vm_config").is_there();
    let everywhere = config.listeners.iter().chain(&config.extensions).chain(&config.clusters);
    let plugins: Vec<Spot<'_>> = everywhere.flat_map(|place| place.find(&is_plugin)).collect();
    let id = |plugin: &Spot<'_>| plugin.down("vm_config.vm_id").text().to_owned();
    let (gates, others): (Vec<_>, Vec<_>) =
        plugins.iter().partition(|plugin| configuration(plugin).is_some_and(reads));
    for other in others {
        let shared = id(other);
        if !shared.is_empty() && gates.iter().any(|gate| id(gate) == shared) {
            findings.push(Defect::SharedVmId.saying(&other.down("vm_config.vm_id"), shared));
        }
    }
}

fn failure(plugin: &Spot<'_>, findings: &mut Vec<Finding>) {
    let (policy, open) = (plugin.field("failure_policy"), plugin.field("fail_open"));
    if open.is_true() {
        findings.push(Defect::FailsOpen.on(&open));
    } else if policy.text() == "FAIL_OPEN" {
        findings.push(Defect::FailsOpen.on(&policy));
    } else if policy.text() != "FAIL_RELOAD" {
        findings.push(Defect::NoReload.on(&policy));
    }
}

fn enforced(
    plugin: &Spot<'_>,
    config: &Config<'_>,
    findings: &mut Vec<Finding>,
) -> Option<PluginConfig> {
    let spot = plugin.field("configuration");
    let stated: PluginConfig = match serde_json::from_str(configuration(plugin).unwrap_or("")) {
        Ok(stated) => stated,
        Err(error) => {
            findings.push(Defect::ConfigurationUnreadable.saying(&spot, error));
            return None;
        }
    };
    match stated.check() {
        Ok(()) => {}
        Err(error @ PluginConfigError::Empty(_)) => {
            findings.push(Defect::ConfigurationUnreadable.saying(&spot, error));
        }
        Err(error) => findings.push(Defect::RootsNotPinned.saying(&spot, error)),
    }
    if stated.mode == Mode::Shadow {
        findings.push(Defect::Shadow.on(&spot));
    }
    if stated.expose_position {
        findings.push(Defect::TestSetting.on(&spot));
    }
    let cluster = &stated.control_plane.cluster;
    let there = |spot: &Spot<'_>| spot.field("name").text() == cluster;
    if !config.clusters.iter().any(there) {
        let defect = match config.all_clusters {
            true => Defect::FeedClusterMissing,
            false => Defect::ClustersNotSeen,
        };
        findings.push(defect.saying(&spot, format!("no cluster is named `{cluster}`")));
    }
    Some(stated)
}

/// The filter's configuration, where it is or where it was discovered.
pub(crate) fn typed<'v>(filter: &Spot<'v>, config: &Config<'v>) -> Option<Spot<'v>> {
    let own = filter.field("typed_config");
    if own.is_there() {
        return Some(own);
    }
    let extension = config.extension(filter.field("name").text())?;
    Some(extension.field("typed_config")).filter(Spot::is_there)
}

fn is_wasm(typed: &Spot<'_>) -> bool {
    typed.is_a("filters.http.wasm.v3.Wasm")
}

fn reads_like_a_gate(typed: &Spot<'_>) -> bool {
    configuration(&typed.field("config")).is_some_and(reads)
}

fn configuration<'v>(plugin: &Spot<'v>) -> Option<&'v str> {
    plugin.down("configuration.value").value.as_str()
}

/// Broken or not, this is meant for a gate.
fn reads(text: &str) -> bool {
    text.contains("\"feed_audience\"") || text.contains("\"control_plane\"")
}
