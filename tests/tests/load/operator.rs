//! An operator's Envoy that knows nothing of Gatepass: what is printed goes into it.

use std::net::SocketAddr;
use std::time::Duration;

use gatepass_envoy::{Envoy, EnvoyBinary, Settings};
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::{ControlPlane, bearing, grant, until};
use serde_json::Value;

/// The configuration, in front of a system of theirs.
pub(crate) fn theirs(upstream: SocketAddr) -> Value {
    serde_saphyr::from_str(&THEIRS.replace("THEIR_PORT", &upstream.port().to_string())).unwrap()
}

/// The same with the parts that are printed for a bootstrap, each where its key says.
pub(crate) fn with_parts(upstream: SocketAddr, printed: &str) -> Value {
    let parts: Value = serde_saphyr::from_str(printed).unwrap();
    let mut config = theirs(upstream);
    let manager = config.pointer_mut(MANAGER).unwrap();
    for (name, value) in parts["http_connection_manager"].as_object().unwrap() {
        manager[name] = value.clone();
    }
    let filters = manager["http_filters"].as_array_mut().unwrap();
    filters.splice(0..0, parts["http_filters"].as_array().unwrap().clone());
    let clusters = config.pointer_mut("/static_resources/clusters").unwrap();
    clusters.as_array_mut().unwrap().extend(parts["clusters"].as_array().unwrap().clone());
    config
}

pub(crate) fn run(config: &Value) -> Envoy {
    let binary = EnvoyBinary::find().unwrap();
    Envoy::launch_yaml(&binary, &config.to_string(), &Settings::default()).unwrap()
}

pub(crate) fn ask(envoy: &Envoy, gatepass: Option<&str>) -> Response {
    let mut connection = Connection::open(envoy.address("shop").unwrap()).unwrap();
    connection.exchange(&bearing("GET", "/orders", gatepass)).unwrap()
}

/// What a gatepass grants goes through; without one, and for another action, nothing does.
pub(crate) fn decides(envoy: &Envoy, control: &ControlPlane) {
    let gatepass = |action: &str| control.issue(&grant(action).unwrap()).unwrap();
    let (reading, wiping) = (gatepass("orders:read"), gatepass("orders:wipe"));
    let granted = || Ok(ask(envoy, Some(&reading)));
    until(SOON, granted, |response| response.status == 200).unwrap();
    assert_eq!(ask(envoy, None).verdict(), "401 no_credential");
    assert_eq!(ask(envoy, Some(&wiping)).verdict(), "403 action_not_granted");
}

/// The connection manager in [`THEIRS`].
pub(crate) const MANAGER: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// A bootstrap that knows nothing of Gatepass but for the access log's code.
pub(crate) const THEIRS: &str = r#"
node: { id: shop-1, cluster: shop }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: shop
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: shop
          access_log:
          - name: envoy.access_loggers.stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format:
                text_format_source:
                  inline_string: "%RESPONSE_CODE% %FILTER_STATE(wasm.gatepass_code:PLAIN)%\n"
# PATHS
          http_filters:
# FILTER
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: shop
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route: { cluster: shop_backend }
  clusters:
  - name: shop_backend
    type: STATIC
    load_assignment:
      cluster_name: shop_backend
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: THEIR_PORT } } }
# CLUSTERS
"#;
