//! What `gatepass-envoy config` prints, pasted into a bootstrap that knows nothing of Gatepass.

use gatepass_envoy::{Envoy, EnvoyBinary, OperatorConfig, Settings};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::{ControlPlane, bearing, grant, until};

use crate::gated::SOON;

#[test]
fn the_printed_configuration_guards_an_envoy_of_somebody_elses() {
    let control = ControlPlane::start("prod").unwrap();
    let upstream = Upstream::start().unwrap();
    let mut plugin = control.plugin().unwrap();
    // As an operator has it.
    plugin.expose_position = false;
    let printed = OperatorConfig {
        plugin,
        feed: control.address().to_string(),
        wasm: filter::path().unwrap(),
        host_env: vec!["GATEPASS_JOIN_TOKEN".to_owned()],
    };
    let printed = printed.render().unwrap();
    let port = upstream.address().port().to_string();
    let theirs = pasted(THEIRS, &printed).replace("THEIR_PORT", &port);
    let binary = EnvoyBinary::find().unwrap();
    let envoy = Envoy::launch_yaml(&binary, &theirs, &Settings::default()).unwrap();

    let reading = control.issue(&grant("orders:read").unwrap()).unwrap();
    let wiping = control.issue(&grant("orders:wipe").unwrap()).unwrap();
    let ask = |gatepass: Option<&str>| {
        let mut connection = Connection::open(envoy.address("shop")?)?;
        Ok(connection.exchange(&bearing("GET", "/orders", gatepass))?)
    };
    until(SOON, || ask(Some(&reading)), |response: &Response| response.status == 200).unwrap();
    let refused = ask(None).unwrap();
    assert_eq!(refused.verdict(), "401 no_credential");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(ask(Some(&wiping)).unwrap().verdict(), "403 action_not_granted");

    let forwarded = upstream.take();
    assert!(forwarded.iter().all(|request| request.header("x-gatepass-action") == ["orders:read"]));
    // Their own settings still work, and the printed ones came with it.
    assert!(envoy.stats().unwrap().contains_key("cluster.shop_backend.upstream_rq_total"));
    assert!(
        envoy.stats().unwrap().contains_key("cluster.gatepass_control_plane.upstream_cx_total")
    );
    let metrics = envoy.admin("/stats/prometheus").unwrap();
    let labelled =
        r#"gatepass_decisions_by_code{gatepass_outcome="deny",gatepass_code="no_credential"} "#;
    assert!(metrics.contains(labelled), "the stats tags are in force");
    let ambiguous = {
        let mut connection = Connection::open(envoy.address("shop").unwrap()).unwrap();
        connection.exchange(&bearing("GET", "/orders%2f1", Some(&reading))).unwrap()
    };
    assert_eq!(ambiguous.status, 400);
}

/// Replaces each `# PASTE <key>` by what is printed under that key, as far in as the mark is.
fn pasted(theirs: &str, printed: &str) -> String {
    let mut out = String::new();
    for line in theirs.lines() {
        match line.trim_start().strip_prefix("# PASTE ") {
            None => out.push_str(line),
            Some(key) => {
                let margin = line.len() - line.trim_start().len();
                let lines = section(printed, key);
                let strip = lines.iter().map(|line| line.len() - line.trim_start().len());
                let strip = strip.min().unwrap();
                for line in lines {
                    out.push_str(&format!("{:margin$}{}\n", "", line.get(strip..).unwrap()));
                }
            }
        }
        out.push('\n');
    }
    out
}

/// The lines under a key at the left margin.
fn section<'p>(printed: &'p str, key: &str) -> Vec<&'p str> {
    let head = format!("{key}:");
    let after = printed.lines().skip_while(|line| *line != head).skip(1);
    let ends = |line: &&str| {
        line.starts_with("# Of ") || line.ends_with(':') && !line.starts_with([' ', '-', '#'])
    };
    let lines: Vec<&str> =
        after.take_while(|line| !ends(line)).filter(|line| !line.is_empty()).collect();
    assert!(!lines.is_empty(), "`{key}` is not in what was printed:\n{printed}");
    lines
}

const THEIRS: &str = r#"
admin:
  address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
node: { id: shop-edge-1, cluster: shop }
stats_config:
  # PASTE stats_config
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
          server_name: shop
          # PASTE http_connection_manager
          http_filters:
          - name: envoy.filters.http.header_to_metadata
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
              request_rules:
              - header: x-shop-tenant
                on_header_present: { metadata_namespace: shop, key: tenant, type: STRING }
          # PASTE http_filters
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: shop
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route: { cluster: shop_backend, timeout: 5s }
  clusters:
  - name: shop_backend
    type: STATIC
    load_assignment:
      cluster_name: shop_backend
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: { socket_address: { address: 127.0.0.1, port_value: THEIR_PORT } }
  # PASTE clusters
"#;
