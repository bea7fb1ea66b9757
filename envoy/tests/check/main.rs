//! Each defect that `check` knows, made by one change to a good configuration, and found as exactly
//! that; and the good configurations, in which nothing is found.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod dump;
#[path = "../launch/probe.rs"]
mod probe;

use gatepass_envoy::check::{Defect, Severity, check};
use gatepass_envoy::{Bootstrap, Gate, Listener, PluginConfig, Roots};
use serde_json::{Value, json};

const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const ROUTE: &str = "/route_config/virtual_hosts/0/routes/1";

fn plugin() -> PluginConfig {
    PluginConfig::new("prod", "prod", Roots { keys: vec![KEY.to_owned()], threshold: 1 })
}

/// What the tests run and the operators paste, on one listener before one upstream.
fn good() -> Value {
    let gate = Gate::new("/etc/gatepass/filter.wasm", &plugin());
    let bootstrap = Bootstrap::new()
        .listener(Listener::forwarding("in", "orders.internal:8080").gate(gate))
        .feed("gatepass.internal:8443");
    serde_saphyr::from_str(&bootstrap.render("access.jsonl".as_ref()).unwrap()).unwrap()
}

/// Sets a field below the connection manager.
fn set(config: &mut Value, path: &str, value: Value) {
    put(config, &format!("{MANAGER}{path}"), value);
}

/// Sets a field; the maps on the way to it are made.
fn put(config: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    if config.pointer(parent).is_none() {
        put(config, parent, json!({}));
    }
    config.pointer_mut(parent).unwrap()[name] = value;
}

fn remove(config: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let found = config.pointer_mut(&format!("{MANAGER}{parent}")).unwrap();
    assert!(found.as_object_mut().unwrap().remove(name).is_some(), "{path}");
}

/// Puts a filter between the gate and the router.
fn filter(config: &mut Value, kind: &str) {
    let filters = config.pointer_mut(&format!("{MANAGER}/http_filters")).unwrap();
    let typed = json!({"@type": format!("type.googleapis.com/{kind}")});
    filters.as_array_mut().unwrap().insert(1, json!({"name": "theirs", "typed_config": typed}));
}

/// Changes the plugin configuration, which is a text in the text.
fn plugin_with(config: &mut Value, change: impl FnOnce(&mut Value)) {
    let place = format!("{MANAGER}/http_filters/0/typed_config/config/configuration/value");
    let text = config.pointer_mut(&place).unwrap();
    let mut plugin: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    change(&mut plugin);
    *text = plugin.to_string().into();
}

/// A second listener without a gate, to this cluster.
fn second_listener(config: &mut Value, cluster: &str) {
    let listeners = config.pointer_mut("/static_resources/listeners").unwrap();
    let mut other = listeners[0].clone();
    other["name"] = "other".into();
    let manager = &mut other["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"].as_array_mut().unwrap().remove(0);
    for route in manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap() {
        route["route"]["cluster"] = cluster.into();
    }
    listeners.as_array_mut().unwrap().push(other);
}

/// A second cluster at this address.
fn second_cluster(config: &mut Value, port: u16) {
    let clusters = config.pointer_mut("/static_resources/clusters").unwrap();
    let mut other = clusters[0].clone();
    other["name"] = "elsewhere".into();
    let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    other.pointer_mut(endpoint).unwrap()["port_value"] = port.into();
    clusters.as_array_mut().unwrap().push(other);
}

fn discovered(config: &mut Value) {
    remove(config, "/http_filters/0/typed_config");
    set(config, "/http_filters/0/config_discovery", json!({"config_source": {"ads": {}}}));
}

type Change = fn(&mut Value);

/// The change, and the place at which it is found, from its end.
const DEFECTS: &[(Defect, &str, Change)] = &[
    (Defect::NoGate, "", |c| drop(list(c, "/http_filters").remove(0))),
    (Defect::PastGate, "listeners[1].filter_chains[0].filters[0].typed_config", |c| {
        second_listener(c, "upstream_of_in");
    }),
    (Defect::PastGate, "listeners[1].filter_chains[0].filters[0].typed_config", |c| {
        second_cluster(c, 8080);
        second_listener(c, "elsewhere");
    }),
    (Defect::PastGate, "listeners[0].filter_chains[1].filters[0].typed_config", |c| {
        let proxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
        let typed = json!({"@type": proxy, "cluster": "upstream_of_in"});
        let chain = json!({"filters": [{"name": "tcp", "typed_config": typed}]});
        let chains = c.pointer_mut("/static_resources/listeners/0/filter_chains").unwrap();
        chains.as_array_mut().unwrap().push(chain);
    }),
    (Defect::PastGate, "listeners[1].filter_chains[0].filters[0].typed_config", |c| {
        // Other listeners reach it through a cluster, so it is a way like any other.
        second_listener(c, "upstream_of_in");
        put(c, "/static_resources/listeners/1/internal_listener", json!({}));
    }),
    (Defect::GateDisabled, "routes[1].typed_per_filter_config.gatepass.disabled", |c| {
        set(c, &format!("{ROUTE}/typed_per_filter_config"), switched("gatepass", true));
    }),
    (Defect::GateDisabled, "routes[1].typed_per_filter_config.gatepass.disabled", |c| {
        // A level outside says otherwise, and does not count.
        let host = "/route_config/virtual_hosts/0/typed_per_filter_config";
        set(c, host, switched("gatepass", false));
        set(c, &format!("{ROUTE}/typed_per_filter_config"), switched("gatepass", true));
    }),
    (Defect::RouteWithoutGate, "virtual_hosts[0].routes[1]", |c| {
        set(c, "/http_filters/0/disabled", true.into());
        let first = "/route_config/virtual_hosts/0/routes/0/typed_per_filter_config";
        set(c, first, switched("gatepass", false));
    }),
    (Defect::GateOptional, "http_filters[0].is_optional", |c| {
        set(c, "/http_filters/0/is_optional", true.into());
    }),
    (Defect::UpgradePastGate, "upgrade_configs[0].filters", |c| {
        let router =
            json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
        let filters = json!([{"name": "router", "typed_config": router}]);
        set(c, "/upgrade_configs", json!([{"upgrade_type": "websocket", "filters": filters}]));
    }),
    (Defect::FailsOpen, "config.failure_policy", |c| {
        set(c, "/http_filters/0/typed_config/config/failure_policy", "FAIL_OPEN".into());
    }),
    (Defect::FailsOpen, "config.fail_open", |c| {
        set(c, "/http_filters/0/typed_config/config/fail_open", true.into());
    }),
    (Defect::TwoGates, "http_filters[1]", |c| {
        let filters = list(c, "/http_filters");
        filters.insert(1, filters[0].clone());
    }),
    (Defect::ConfigurationUnreadable, "config.configuration", |c| {
        plugin_with(c, |plugin| plugin["hold"] = 1.into());
    }),
    (Defect::ConfigurationUnreadable, "config.configuration", |c| {
        plugin_with(c, |plugin| plugin["environment"] = "".into());
    }),
    (Defect::RootsNotPinned, "config.configuration", |c| {
        plugin_with(c, |plugin| plugin["roots"]["keys"] = json!([]));
    }),
    (Defect::RootsNotPinned, "config.configuration", |c| {
        plugin_with(c, |plugin| plugin["roots"]["threshold"] = 2.into());
    }),
    (Defect::FeedClusterMissing, "config.configuration", |c| {
        c.pointer_mut("/static_resources/clusters").unwrap().as_array_mut().unwrap().pop();
    }),
    (Defect::FilterMayChange, "http_filters[1]", |c| {
        filter(c, "envoy.extensions.filters.http.lua.v3.Lua");
    }),
    (Defect::FilterMayChange, "http_filters[1]", |c| {
        filter(c, "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor");
    }),
    (Defect::FilterMayChange, "http_filters[1]", |c| {
        filter(c, "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation");
    }),
    (Defect::FilterMayChange, "http_filters[1]", |c| {
        filter(c, "envoy.extensions.filters.http.wasm.v3.Wasm");
    }),
    (Defect::FilterMayChange, "http_filters[1].typed_config.upstream_http_filters[0]", |c| {
        let lua = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
        let filters = json!([{"name": "theirs", "typed_config": {"@type": lua}}]);
        set(c, "/http_filters/1/typed_config/upstream_http_filters", filters);
    }),
    (Defect::FilterMayChange, "v3.HttpProtocolOptions.http_filters[0]", |c| {
        let lua = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
        let filters = json!([{"name": "theirs", "typed_config": {"@type": lua}}]);
        let options = json!({"http_filters": filters});
        c.pointer_mut("/static_resources/clusters/0").unwrap()["typed_extension_protocol_options"] =
            json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options});
    }),
    (Defect::PathRewritten, "routes[1].route.prefix_rewrite", |c| {
        set(c, &format!("{ROUTE}/route/prefix_rewrite"), "/v2/".into());
    }),
    (Defect::PathRewritten, "routes[1].route.regex_rewrite", |c| {
        set(c, &format!("{ROUTE}/route/regex_rewrite"), json!({"substitution": "/x"}));
    }),
    (Defect::PathRewritten, "on_match.action.typed_config.route.prefix_rewrite", |c| {
        let kind = "type.googleapis.com/envoy.config.route.v3.Route";
        let route = json!({"cluster": "upstream_of_in", "prefix_rewrite": "/v2/"});
        let action = json!({"typed_config": {"@type": kind, "route": route}});
        let tree = json!({"on_match": {"action": action}});
        set(c, "/route_config/virtual_hosts/0/matcher", tree);
    }),
    (Defect::PathRewritten, "routes[1].route.path_rewrite_policy", |c| {
        set(c, &format!("{ROUTE}/route/path_rewrite_policy"), json!({"name": "x"}));
    }),
    (Defect::HostFromRequest, "routes[1].route.host_rewrite_header", |c| {
        set(c, &format!("{ROUTE}/route/host_rewrite_header"), "x-host".into());
    }),
    (Defect::HostFromRequest, "routes[1].route.host_rewrite_path_regex", |c| {
        set(c, &format!("{ROUTE}/route/host_rewrite_path_regex"), json!({"substitution": "x"}));
    }),
    (Defect::ClusterFromRequest, "routes[1].route.cluster_header", |c| {
        set(c, &format!("{ROUTE}/route/cluster_header"), "x-cluster".into());
    }),
    (Defect::ClusterFromRequest, "routes[1].route.inline_cluster_specifier_plugin", |c| {
        set(c, &format!("{ROUTE}/route/inline_cluster_specifier_plugin"), json!({"extension": {}}));
    }),
    (Defect::PastGate, "listeners[1].filter_chains[0].filters[0].typed_config", |c| {
        second_cluster(c, 8081);
        second_listener(c, "elsewhere");
        let other = MANAGER.replace("listeners/0", "listeners/1");
        put(c, &format!("{other}{ROUTE}/route"), json!({"cluster_header": "x-cluster"}));
    }),
    (Defect::HeadersChanged, "request_headers_to_add[0].header.key", |c| {
        let header = json!({"header": {"key": "X-Gatepass-Agent", "value": "a"}});
        set(c, "/route_config/request_headers_to_add", json!([header]));
    }),
    (Defect::HeadersChanged, "routes[1].request_headers_to_remove[0]", |c| {
        set(c, &format!("{ROUTE}/request_headers_to_remove"), json!(["x_gatepass_agent"]));
    }),
    (Defect::HeadersChanged, "virtual_hosts[0].request_headers_to_add[0].header.key", |c| {
        let header = json!({"header": {"key": "x-http-method-override", "value": "DELETE"}});
        set(c, "/route_config/virtual_hosts/0/request_headers_to_add", json!([header]));
    }),
    (Defect::PathsNotNormalized, "typed_config.normalize_path", |c| remove(c, "/normalize_path")),
    (Defect::SlashesNotMerged, "typed_config.merge_slashes", |c| {
        set(c, "/merge_slashes", false.into());
    }),
    (Defect::EscapedSlashesPass, "typed_config.path_with_escaped_slashes_action", |c| {
        set(c, "/path_with_escaped_slashes_action", "UNESCAPE_AND_FORWARD".into());
    }),
    (Defect::UnderscoresPass, "options.headers_with_underscores_action", |c| {
        remove(c, "/common_http_protocol_options");
    }),
    (Defect::NoReload, "config.failure_policy", |c| {
        remove(c, "/http_filters/0/typed_config/config/failure_policy");
    }),
    (Defect::NoStopIteration, "config.allow_on_headers_stop_iteration", |c| {
        remove(c, "/http_filters/0/typed_config/config/allow_on_headers_stop_iteration");
    }),
    (Defect::NoVmId, "config.vm_config.vm_id", |c| {
        remove(c, "/http_filters/0/typed_config/config/vm_config/vm_id");
    }),
    (Defect::SharedVmId, "http_filters[0].typed_config.config.vm_config.vm_id", |c| {
        // Before the gate, where a filter may do what it likes with the request.
        let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
        let config = json!({"name": "theirs", "vm_config": {"vm_id": "gatepass/prod/prod"}});
        let typed = json!({"@type": wasm, "config": config});
        list(c, "/http_filters").insert(0, json!({"name": "theirs", "typed_config": typed}));
    }),
    (Defect::TestSetting, "config.configuration", |c| {
        plugin_with(c, |plugin| plugin["expose_position"] = true.into());
    }),
    (Defect::FilterAddsHeaders, "http_filters[1]", |c| {
        filter(c, "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector");
    }),
    (Defect::UnknownFilter, "http_filters[1]", |c| filter(c, "example.filters.http.new.v1.New")),
    (Defect::HostRewritten, "routes[1].route.host_rewrite_literal", |c| {
        set(c, &format!("{ROUTE}/route/host_rewrite_literal"), "a.example".into());
    }),
    (Defect::HostRewritten, "routes[1].route.auto_host_rewrite", |c| {
        set(c, &format!("{ROUTE}/route/auto_host_rewrite"), true.into());
    }),
    (Defect::UpgradesEnabled, "upgrade_configs[0]", |c| {
        set(c, "/upgrade_configs", json!([{"upgrade_type": "websocket"}]));
    }),
    (Defect::LocalReplyChanged, "local_reply_config.mappers", |c| {
        set(c, "/local_reply_config", json!({"mappers": [{"status_code": 200}]}));
    }),
    (Defect::AdminExposed, "admin.address.socket_address.address", |c| {
        put(c, "/admin/address/socket_address/address", "0.0.0.0".into());
    }),
    (Defect::Shadow, "config.configuration", |c| {
        plugin_with(c, |plugin| plugin["mode"] = "shadow".into());
    }),
    (Defect::OtherListener, "listeners[1].filter_chains[0].filters[0].typed_config", |c| {
        second_cluster(c, 8081);
        second_listener(c, "elsewhere");
    }),
    (Defect::RoutesNotSeen, "filters[0].typed_config", |c| {
        remove(c, "/route_config");
        set(c, "/rds", json!({"route_config_name": "theirs"}));
    }),
    (Defect::RoutesNotSeen, "route_config.vhds", |c| {
        set(c, "/route_config/vhds", json!({"config_source": {"ads": {}}}));
    }),
    (Defect::GateNotSeen, "http_filters[0]", discovered),
    (Defect::ClustersNotSeen, "config.configuration", |c| {
        c.pointer_mut("/static_resources/clusters").unwrap().as_array_mut().unwrap().pop();
        put(c, "/dynamic_resources/cds_config", json!({"ads": {}}));
    }),
    (Defect::Mirrored, "routes[1].route.request_mirror_policies", |c| {
        set(c, &format!("{ROUTE}/route/request_mirror_policies"), json!([{"cluster": "copy"}]));
    }),
    (Defect::NoIdleTimeout, "typed_config.stream_idle_timeout", |c| {
        set(c, "/stream_idle_timeout", "0s".into());
    }),
    (Defect::AccessLogWithoutCode, "typed_config.access_log", |c| remove(c, "/access_log")),
];

fn list<'c>(config: &'c mut Value, path: &str) -> &'c mut Vec<Value> {
    config.pointer_mut(&format!("{MANAGER}{path}")).unwrap().as_array_mut().unwrap()
}

fn switched(name: &str, disabled: bool) -> Value {
    let kind = "type.googleapis.com/envoy.config.route.v3.FilterConfig";
    json!({name: {"@type": kind, "disabled": disabled}})
}

#[test]
fn nothing_is_found_in_a_good_configuration() {
    let checked = check(&good().to_string()).unwrap();
    assert_eq!(checked.findings, []);
    assert_eq!(checked.gates.len(), 1);
    assert_eq!(checked.gates[0].plugin, Some(plugin()));
}

#[test]
fn each_defect_is_found_as_itself_and_nothing_else() {
    for (defect, place, change) in DEFECTS {
        let mut config = good();
        change(&mut config);
        let checked = check(&config.to_string()).unwrap();
        let found: Vec<_> = checked.findings.iter().map(|finding| finding.defect).collect();
        assert_eq!(found, [*defect], "{:#?}", checked.findings);
        let at = &checked.findings[0].place;
        assert!(at.ends_with(place), "{}: {at} does not end with {place}", defect.code());
        assert_eq!(checked.has_error(), defect.severity() == Severity::Error);
    }
}

/// This one cannot come alone: whoever discovers the gate in a bootstrap is also told that it was
/// not seen.
#[test]
fn a_configuration_in_place_of_a_discovered_gate_is_found() {
    let mut config = good();
    discovered(&mut config);
    set(&mut config, "/http_filters/0/config_discovery/default_config", json!({"@type": "x"}));
    let checked = check(&config.to_string()).unwrap();
    let found: Vec<_> = checked.findings.iter().map(|finding| finding.defect).collect();
    assert_eq!(found, [Defect::DefaultInsteadOfGate, Defect::GateNotSeen]);
}

#[test]
fn every_defect_has_a_case_and_stands_in_the_guide() {
    let guide = include_str!("../../../docs/loading.md");
    for defect in Defect::ALL {
        let tested = DEFECTS.iter().any(|(tested, ..)| tested == defect);
        assert!(tested || *defect == Defect::DefaultInsteadOfGate, "{}", defect.code());
        let row = format!("| {} | `{}` |", defect.severity(), defect.code());
        assert!(guide.contains(&row), "docs/loading.md has no row `{row}`");
    }
    let rows = guide.lines().filter(|line| {
        ["| error | `", "| warning | `", "| note | `"].iter().any(|start| line.starts_with(start))
    });
    assert_eq!(rows.count(), Defect::ALL.len());
}

#[test]
fn a_gate_switched_on_route_by_route_is_no_defect() {
    let mut config = good();
    set(&mut config, "/http_filters/0/disabled", true.into());
    set(&mut config, "/route_config/typed_per_filter_config", switched("gatepass", false));
    assert_eq!(check(&config.to_string()).unwrap().findings, []);
}

/// As control planes do that have a policy for each route.
#[test]
fn a_gate_for_each_route_is_no_defect() {
    let mut config = good();
    let filters = list(&mut config, "/http_filters");
    filters[0]["disabled"] = true.into();
    let mut second = filters[0].clone();
    second["name"] = "gatepass-2".into();
    filters.insert(1, second);
    for (index, name) in [(0, "gatepass"), (1, "gatepass-2")] {
        let host = "/route_config/virtual_hosts/0/routes";
        let place = format!("{host}/{index}/typed_per_filter_config");
        set(&mut config, &place, switched(name, false));
    }
    assert_eq!(check(&config.to_string()).unwrap().findings, []);
}

#[test]
fn harmless_filters_after_the_gate_are_no_defect() {
    for kind in ["rbac.v3.RBAC", "fault.v3.HTTPFault", "ratelimit.v3.RateLimit", "cors.v3.Cors"] {
        let mut config = good();
        filter(&mut config, &format!("envoy.extensions.filters.http.{kind}"));
        assert_eq!(check(&config.to_string()).unwrap().findings, [], "{kind}");
    }
}

/// Every place of the good configuration, replaced by something of another shape: an answer or an
/// error, and never a crash.
#[test]
fn a_configuration_of_the_wrong_shape_is_answered() {
    let good = good();
    let mut places = Vec::new();
    walk(&good, String::new(), &mut places);
    assert!(places.len() > 100, "{}", places.len());
    for place in places {
        for wrong in [json!(null), json!([]), json!({}), json!("x"), json!(1), json!([[{}]])] {
            let mut config = good.clone();
            *config.pointer_mut(&place).unwrap() = wrong;
            let _ = check(&config.to_string());
        }
    }
}

fn walk(value: &Value, place: String, places: &mut Vec<String>) {
    for (name, field) in value.as_object().into_iter().flatten() {
        walk(field, format!("{place}/{}", name.replace('/', "~1")), places);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        walk(item, format!("{place}/{index}"), places);
    }
    places.push(place);
}

#[test]
fn a_text_that_is_no_configuration_of_envoys_is_an_error() {
    for text in ["", "a: [", "a: 1", "[]", "{\"configs\": []}"] {
        assert!(check(text).is_err(), "{text}");
    }
}

fn run(config: &str) -> (Option<i32>, String) {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatepass-envoy"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_exit_code_says_whether_there_is_an_error() {
    let (code, said) = run(&good().to_string());
    assert_eq!((code, said.as_str()), (Some(0), "1 gate, nothing found\n"));
    let mut warned = good();
    remove(&mut warned, "/normalize_path");
    let (code, said) = run(&warned.to_string());
    assert_eq!(code, Some(0));
    assert!(said.starts_with("warning paths_not_normalized at static_resources."), "{said}");
    let mut open = good();
    set(&mut open, "/http_filters/0/typed_config/config/failure_policy", "FAIL_OPEN".into());
    let (code, said) = run(&open.to_string());
    assert_eq!(code, Some(1));
    assert!(said.contains("fix:     set `failure_policy: FAIL_RELOAD`"), "{said}");
}
