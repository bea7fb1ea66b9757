//! Route configurations: rewrites after the gate, and routes that switch it off. The switch can
//! stand at four levels, and the innermost that says anything wins.

use serde_json::Value;

use super::Finding;
use super::defect::Defect;
use super::source::Config;
use super::spot::Spot;

/// The route configurations of a connection manager; none, if they come from elsewhere.
pub(crate) fn of<'v>(manager: &Spot<'v>, config: &Config<'v>) -> Vec<Spot<'v>> {
    let own = manager.field("route_config");
    if own.is_there() {
        return vec![own];
    }
    let scoped = manager.field("scoped_routes");
    if scoped.is_there() {
        // Which of them a request gets depends on the request, so all are meant.
        let inline = |spot: &Spot<'_>| spot.field("virtual_hosts").is_there();
        return scoped.find(&inline).into_iter().chain(config.routes.iter().cloned()).collect();
    }
    let name = manager.down("rds.route_config_name").text();
    config.routes.iter().filter(|routes| routes.field("name").text() == name).cloned().collect()
}

/// Every route, with its virtual host.
pub(crate) fn each<'v>(routes: &Spot<'v>) -> Vec<(Spot<'v>, Spot<'v>)> {
    let hosts = routes.field("virtual_hosts").items();
    let routes_of = |host: &Spot<'v>| {
        let host = host.clone();
        // A matcher names routes as messages of their own, at any depth.
        let matched = host.field("matcher").find(&|spot| spot.is_a("route.v3.Route"));
        let all = host.field("routes").items().into_iter().chain(matched);
        all.map(move |route| (host.clone(), route)).collect::<Vec<_>>()
    };
    hosts.iter().flat_map(routes_of).collect()
}

pub(crate) fn check(routes: &Spot<'_>, gates: &[&Spot<'_>], findings: &mut Vec<Finding>) {
    headers(routes, findings);
    if routes.field("vhds").is_there() {
        findings.push(Defect::RoutesNotSeen.on(&routes.field("vhds")));
    }
    for host in routes.field("virtual_hosts").items() {
        headers(&host, findings);
    }
    for (host, route) in each(routes) {
        headers(&route, findings);
        switched(&[routes, &host, &route], &route, gates, findings);
        let action = route.field("route");
        if !action.is_there() {
            continue;
        }
        for (name, defect) in CHANGES {
            let field = action.field(name);
            if field.is_there() && *field.value != Value::Bool(false) && field.value != "" {
                findings.push(defect.on(&field));
            }
        }
        for cluster in action.down("weighted_clusters.clusters").items() {
            headers(&cluster, findings);
            switched(&[routes, &host, &route, &cluster], &cluster, gates, findings);
            for (name, defect) in CHANGES {
                let field = cluster.field(name);
                if field.is_there() && field.value != "" {
                    findings.push(defect.on(&field));
                }
            }
        }
    }
}

/// What a gate is at one route.
enum Switch<'v> {
    On,
    /// Switched off at this place.
    Off(Spot<'v>),
    /// Off unless it is switched on, and it is not.
    Dormant,
}

/// Exactly one gate is on at each place: control planes put several into one connection manager,
/// each for some of the routes.
fn switched(
    levels: &[&Spot<'_>],
    place: &Spot<'_>,
    gates: &[&Spot<'_>],
    findings: &mut Vec<Finding>,
) {
    let switches: Vec<_> = gates.iter().map(|gate| (*gate, switch(levels, gate))).collect();
    let mut on = switches.iter().filter(|(_, switch)| matches!(switch, Switch::On));
    if on.next().is_some() {
        findings.extend(on.map(|(second, _)| Defect::TwoGates.on(second)));
        return;
    }
    let off = switches.iter().find_map(|(_, switch)| match switch {
        Switch::Off(at) => Some(at),
        Switch::On | Switch::Dormant => None,
    });
    findings.push(match off {
        Some(at) => Defect::GateDisabled.on(at),
        None => Defect::RouteWithoutGate.on(place),
    });
}

fn switch<'v>(levels: &[&Spot<'v>], gate: &Spot<'_>) -> Switch<'v> {
    let name = gate.field("name").text();
    let said = levels.iter().rev().find_map(|level| {
        let own = level.field("typed_per_filter_config").field(name);
        own.is_there().then(|| own.field("disabled"))
    });
    match said {
        Some(disabled) if disabled.is_true() => Switch::Off(disabled),
        Some(_) => Switch::On,
        None if gate.field("disabled").is_true() => Switch::Dormant,
        None => Switch::On,
    }
}

/// Headers that say who was let through or what the request is.
fn headers(level: &Spot<'_>, findings: &mut Vec<Finding>) {
    let added = level.field("request_headers_to_add").items();
    let added = added.into_iter().map(|entry| entry.down("header.key"));
    let removed = level.field("request_headers_to_remove").items();
    for name in added.chain(removed) {
        let plain = name.text().to_ascii_lowercase().replace('_', "-");
        if plain.starts_with("x-gatepass-") || TELLING.contains(&plain.as_str()) {
            findings.push(Defect::HeadersChanged.saying(&name, name.text()));
        }
    }
}

const CHANGES: [(&str, Defect); 13] = [
    ("prefix_rewrite", Defect::PathRewritten),
    ("regex_rewrite", Defect::PathRewritten),
    ("path_rewrite_policy", Defect::PathRewritten),
    ("path_rewrite", Defect::PathRewritten),
    ("host_rewrite_header", Defect::HostFromRequest),
    ("host_rewrite_path_regex", Defect::HostFromRequest),
    ("cluster_header", Defect::ClusterFromRequest),
    ("cluster_specifier_plugin", Defect::ClusterFromRequest),
    ("inline_cluster_specifier_plugin", Defect::ClusterFromRequest),
    ("host_rewrite_literal", Defect::HostRewritten),
    ("host_rewrite", Defect::HostRewritten),
    ("auto_host_rewrite", Defect::HostRewritten),
    ("request_mirror_policies", Defect::Mirrored),
];

const TELLING: [&str; 11] = [
    ":authority",
    ":method",
    ":path",
    ":scheme",
    "host",
    "txn-token",
    "x-forwarded-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
];
