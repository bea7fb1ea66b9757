//! The manifests for Envoy Gateway, turned into an Envoy's configuration as Envoy Gateway does: the
//! filter off in the connection manager, on at the route, and what the policy has no field for
//! patched in. Envoy Gateway itself does not run here.

use gatepass_envoy::check::{Defect, check};
use gatepass_envoy::{Code, Manifest, Platform};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::world::ControlPlane;
use serde_json::{Value, json};

use crate::operator::{MANAGER, decides, run, theirs};

/// The name that Envoy Gateway gives the first module of the policy `default/gatepass`.
const NAME: &str = "envoy.filters.http.wasm/envoyextensionpolicy/default/gatepass/wasm/0";

#[test]
fn an_envoy_with_the_printed_policies_decides() {
    let control = ControlPlane::start("prod").unwrap();
    let upstream = Upstream::start().unwrap();
    let mut plugin = control.plugin().unwrap();
    plugin.expose_position = false;
    let (url, sha256) = ("https://get.example/f.wasm".to_owned(), "0".repeat(64));
    let code = Code::Remote { url, sha256 };
    let manifest = Manifest::new(plugin, &control.address().to_string(), code);
    let printed = manifest.render(Platform::EnvoyGateway).unwrap();
    let printed: Vec<Value> = serde_saphyr::from_multiple(&printed).unwrap();
    let [extension, patches, traffic] = printed.as_slice() else { panic!("{printed:?}") };

    let mut config = theirs(upstream.address());
    extend(&mut config, extension);
    client_traffic(&mut config, traffic);
    // Without the patches Envoy has no way to the feed, and stays down after a crash.
    let found = check(&config.to_string()).unwrap().findings;
    let found: Vec<_> = found.iter().map(|finding| finding.defect).collect();
    assert_eq!(
        found,
        [Defect::FeedClusterMissing, Defect::NoReload, Defect::NoStopIteration],
        "the patches are needed"
    );
    for entry in patches["spec"]["jsonPatches"].as_array().unwrap() {
        patch(&mut config, entry);
    }
    assert_eq!(check(&config.to_string()).unwrap().findings, []);

    decides(&run(&config), &control);
}

/// The policy's module, which Envoy Gateway has fetched and serves to Envoy.
fn extend(config: &mut Value, policy: &Value) {
    let wasm = &policy["spec"]["wasm"][0];
    let code = json!({"local": {"filename": filter::path().unwrap()}});
    let text = json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": wasm["config"].to_string(),
    });
    let plugin = json!({
        "name": wasm["name"],
        "vm_config": {"vm_id": NAME, "runtime": "envoy.wasm.runtime.v8", "code": code},
        "configuration": text,
        "fail_open": wasm["failOpen"],
    });
    let typed = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": plugin,
    });
    let manager = config.pointer_mut(MANAGER).unwrap();
    let filters = manager["http_filters"].as_array_mut().unwrap();
    filters.insert(0, json!({"name": NAME, "disabled": true, "typed_config": typed}));
    let route = &mut manager["route_config"]["virtual_hosts"][0]["routes"][0];
    let on =
        json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}});
    route["typed_per_filter_config"] = json!({NAME: on});
}

fn client_traffic(config: &mut Value, policy: &Value) {
    let spec = &policy["spec"];
    assert_eq!(spec["path"]["escapedSlashesAction"], "RejectRequest");
    assert_eq!(spec["headers"]["withUnderscoresAction"], "RejectRequest");
    let manager = config.pointer_mut(MANAGER).unwrap();
    // Envoy Gateway normalizes paths always.
    manager["normalize_path"] = true.into();
    manager["merge_slashes"] = (spec["path"]["disableMergeSlashes"] == false).into();
    manager["path_with_escaped_slashes_action"] = "REJECT_REQUEST".into();
    manager["common_http_protocol_options"] =
        json!({"headers_with_underscores_action": "REJECT_REQUEST"});
}

/// RFC 6902 `add`, at the root of a new resource or where the one JSON path leads that is printed.
fn patch(config: &mut Value, entry: &Value) {
    let operation = &entry["operation"];
    assert_eq!(operation["op"], "add");
    if entry["type"] == "type.googleapis.com/envoy.config.cluster.v3.Cluster" {
        assert_eq!((&operation["path"], &entry["name"]), (&"".into(), &operation["value"]["name"]));
        let clusters = config.pointer_mut("/static_resources/clusters").unwrap();
        clusters.as_array_mut().unwrap().push(operation["value"].clone());
        return;
    }
    assert_eq!(entry["name"], "default/eg/http");
    let path = operation["jsonPath"].as_str().unwrap();
    let (start, rest) = path.split_once("[?match(@.name, '").unwrap();
    let (prefix, end) = rest.split_once(".*')]").unwrap();
    assert_eq!((start, end), ("..http_filters", ".typed_config.config"));
    assert!(NAME.starts_with(prefix));
    let place = format!("{MANAGER}/http_filters/0/typed_config/config");
    let field = operation["path"].as_str().unwrap().trim_start_matches('/');
    config.pointer_mut(&place).unwrap()[field] = operation["value"].clone();
}
