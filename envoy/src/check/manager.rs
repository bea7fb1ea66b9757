//! One HTTP connection manager: what it does to a request before the gate sees it, and the order of
//! its filters.

use serde_json::Value;

use super::clusters::Targets;
use super::defect::Defect;
use super::source::Config;
use super::spot::Spot;
use super::{Checked, Finding, filters, gate, routes};

/// A connection manager and its gates.
pub(crate) struct Manager<'v> {
    pub(crate) at: Spot<'v>,
    /// Entries of `http_filters`, by index.
    pub(crate) gates: Vec<usize>,
    pub(crate) routes: Vec<Spot<'v>>,
    pub(crate) targets: Targets,
}

/// Every connection manager of every listener.
pub(crate) fn all<'v>(config: &Config<'v>) -> Vec<Manager<'v>> {
    let is_manager = |spot: &Spot<'_>| spot.is_a("HttpConnectionManager");
    let found = config.listeners.iter().flat_map(|listener| listener.find(&is_manager));
    found
        .map(|at| {
            let filters = at.field("http_filters").items();
            let gates = filters.iter().enumerate();
            let gates = gates.filter(|(_, filter)| gate::is_gate(filter, config));
            let gates = gates.map(|(index, _)| index).collect();
            let routes = routes::of(&at, config);
            let targets = Targets::of_routes(&routes, config);
            Manager { at, gates, routes, targets }
        })
        .collect()
}

pub(crate) fn check(manager: &Manager<'_>, config: &Config<'_>, checked: &mut Checked) {
    let Some(first) = manager.gates.first() else { return };
    let findings = &mut checked.findings;
    before(&manager.at, findings);
    around(manager, config, findings);
    let filters = manager.at.field("http_filters").items();
    for index in &manager.gates {
        let Some(filter) = filters.get(*index) else { continue };
        let plugin = gate::check(filter, config, findings);
        checked.gates.push(super::GateSeen { place: filter.place.clone(), plugin });
    }
    let after = filters.iter().enumerate().skip(*first).skip(1);
    for (_, filter) in after.filter(|(index, _)| !manager.gates.contains(index)) {
        filters::check(filter, config, findings);
    }
    if manager.routes.is_empty() {
        findings.push(Defect::RoutesNotSeen.on(&manager.at));
    }
    let gates: Vec<_> = manager.gates.iter().filter_map(|index| filters.get(*index)).collect();
    for route in &manager.routes {
        routes::check(route, &gates, findings);
    }
}

/// What keeps Envoy, the gate and the target system to one reading of a request.
fn before(at: &Spot<'_>, findings: &mut Vec<Finding>) {
    for (field, wanted, defect) in [
        ("normalize_path", Value::Bool(true), Defect::PathsNotNormalized),
        ("merge_slashes", Value::Bool(true), Defect::SlashesNotMerged),
        ("path_with_escaped_slashes_action", "REJECT_REQUEST".into(), Defect::EscapedSlashesPass),
        (
            "common_http_protocol_options.headers_with_underscores_action",
            "REJECT_REQUEST".into(),
            Defect::UnderscoresPass,
        ),
    ] {
        let spot = at.down(field);
        if *spot.value != wanted {
            findings.push(defect.on(&spot));
        }
    }
}

fn around(manager: &Manager<'_>, config: &Config<'_>, findings: &mut Vec<Finding>) {
    let at = &manager.at;
    for upgrade in at.field("upgrade_configs").items() {
        let own = upgrade.field("filters");
        if own.value.as_array().is_some_and(|filters| !filters.is_empty())
            && !own.items().iter().any(|filter| gate::is_gate(filter, config))
        {
            findings.push(Defect::UpgradePastGate.on(&own));
        } else if upgrade.field("enabled").value.as_bool() != Some(false) {
            findings.push(Defect::UpgradesEnabled.on(&upgrade));
        }
    }
    let mappers = at.down("local_reply_config.mappers");
    if !mappers.items().is_empty() {
        findings.push(Defect::LocalReplyChanged.on(&mappers));
    }
    let idle = at.field("stream_idle_timeout");
    if matches!(idle.text(), "0s" | "0") {
        findings.push(Defect::NoIdleTimeout.on(&idle));
    }
    let log = at.field("access_log");
    let says_code = |spot: &Spot<'_>| spot.text().contains("gatepass_code");
    if log.find(&says_code).is_empty() {
        findings.push(Defect::AccessLogWithoutCode.on(&log));
    }
}
