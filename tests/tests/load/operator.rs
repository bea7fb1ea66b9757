//! An operator's bootstrap that knows nothing of Gatepass, with the printed parts pasted.

use gatepass_envoy::{Envoy, EnvoyBinary, Settings};
use serde_json::{Value, json};

/// Runs it; its listener is called `theirs`.
pub(crate) fn operators_own(printed: &str) -> Envoy {
    let parts: Value = serde_saphyr::from_str(printed).unwrap();
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "theirs",
        "route_config": {"virtual_hosts": [{"name": "theirs", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "theirs"}}}
        ]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    for (name, value) in parts["http_connection_manager"].as_object().unwrap() {
        manager[name] = value.clone();
    }
    let filters = manager["http_filters"].as_array_mut().unwrap();
    filters.splice(0..0, parts["http_filters"].as_array().unwrap().clone());
    let bootstrap = json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [{"name": "theirs",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "filter_chains": [{"filters": [
                    {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
            "clusters": parts["clusters"],
        },
    });
    let binary = EnvoyBinary::find().unwrap();
    Envoy::launch_yaml(&binary, &bootstrap.to_string(), &Settings::default()).unwrap()
}
