//! Where requests go: a way to a guarded system that has no gate on it. Two clusters are the same
//! system when they share a name or an address.

use std::collections::BTreeSet;

use super::Finding;
use super::defect::Defect;
use super::filters;
use super::manager::Manager;
use super::routes;
use super::source::Config;
use super::spot::Spot;

/// Names of clusters, and the addresses that they have.
#[derive(Debug, Default)]
pub(crate) struct Targets(BTreeSet<String>);

impl Targets {
    pub(crate) fn of_routes(route_configs: &[Spot<'_>], config: &Config<'_>) -> Self {
        let mut targets = Self::default();
        for (_, route) in route_configs.iter().flat_map(routes::each) {
            targets.add(&route.field("route"), config);
        }
        targets
    }

    /// What a route or a TCP proxy names.
    fn add(&mut self, action: &Spot<'_>, config: &Config<'_>) {
        // What the request chooses can be anything.
        let chosen =
            ["cluster_header", "cluster_specifier_plugin", "inline_cluster_specifier_plugin"];
        if chosen.iter().any(|name| action.field(name).is_there()) {
            self.0.insert(ANY.to_owned());
        }
        let weighted = action.down("weighted_clusters.clusters").items();
        let named = weighted.iter().map(|cluster| cluster.field("name").text());
        for name in named.chain([action.field("cluster").text()]).filter(|name| !name.is_empty()) {
            self.0.insert(name.to_owned());
            let there = config.clusters.iter().filter(|spot| spot.field("name").text() == name);
            self.0.extend(there.flat_map(addresses));
        }
    }

    fn shared<'t>(&'t self, other: &'t Self) -> Vec<&'t str> {
        let any = self.0.get(ANY).map(String::as_str);
        self.0
            .intersection(&other.0)
            .map(String::as_str)
            .filter(|name| *name != ANY)
            .chain(any)
            .collect()
    }
}

pub(crate) fn check(config: &Config<'_>, managers: &[Manager<'_>], findings: &mut Vec<Finding>) {
    let (gated, open): (Vec<_>, Vec<_>) =
        managers.iter().partition(|manager| !manager.gates.is_empty());
    if gated.is_empty() {
        return;
    }
    let mut guarded = Targets::default();
    for manager in &gated {
        guarded.0.extend(manager.targets.0.iter().cloned());
    }
    for manager in open {
        let finding = match manager.targets.shared(&guarded) {
            shared if shared.is_empty() => Defect::OtherListener.on(&manager.at),
            shared => Defect::PastGate.saying(&manager.at, shared.join(", ")),
        };
        findings.push(finding);
        if manager.routes.is_empty() {
            findings.push(Defect::RoutesNotSeen.on(&manager.at));
        }
    }
    let is_proxy = |spot: &Spot<'_>| spot.is_a("tcp_proxy.v3.TcpProxy");
    for proxy in config.listeners.iter().flat_map(|listener| listener.find(&is_proxy)) {
        let mut targets = Targets::default();
        targets.add(&proxy, config);
        let shared = targets.shared(&guarded);
        if !shared.is_empty() {
            findings.push(Defect::PastGate.saying(&proxy, shared.join(", ")));
        }
    }
    upstream_filters(config, &guarded, findings);
}

/// Filters that run between the router and a guarded system.
fn upstream_filters(config: &Config<'_>, guarded: &Targets, findings: &mut Vec<Finding>) {
    let theirs = |spot: &&Spot<'_>| guarded.0.contains(spot.field("name").text());
    for cluster in config.clusters.iter().filter(theirs) {
        for (_, options) in cluster.field("typed_extension_protocol_options").fields() {
            for filter in options.field("http_filters").items() {
                filters::check(&filter, config, findings);
            }
        }
    }
}

/// Whoever reaches the admin interface needs no way past the gate.
pub(crate) fn check_admin(config: &Config<'_>, findings: &mut Vec<Finding>) {
    let Some(admin) = &config.admin else { return };
    let at = admin.down("address.socket_address.address");
    let near = at.text() == "localhost"
        || at.text().parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if at.is_there() && !near {
        findings.push(Defect::AdminExposed.saying(&at, at.text()));
    }
}

fn addresses(cluster: &Spot<'_>) -> Vec<String> {
    let is_socket = |spot: &Spot<'_>| spot.field("port_value").is_there();
    let sockets = cluster.field("load_assignment").find(&is_socket);
    let text = |socket: &Spot<'_>| {
        format!("{}:{}", socket.field("address").text(), socket.field("port_value").value)
    };
    sockets.iter().map(text).collect()
}

/// No cluster's name: whichever the request names.
const ANY: &str = "a cluster that the request chooses";
