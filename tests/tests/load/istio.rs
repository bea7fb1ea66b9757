//! The printed `EnvoyFilter`, applied to an Envoy's configuration as Istio applies one, and run.

use gatepass_envoy::check::check;
use gatepass_envoy::{Code, Manifest, Platform};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::world::ControlPlane;
use serde_json::{Value, json};

use crate::operator::{decides, run, theirs};

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0";

#[test]
fn an_envoy_with_the_printed_envoyfilter_decides() {
    let control = ControlPlane::start("prod").unwrap();
    let upstream = Upstream::start().unwrap();
    let mut plugin = control.plugin().unwrap();
    plugin.expose_position = false;
    let code = Code::Local(filter::path().unwrap());
    let manifest = Manifest::new(plugin, &control.address().to_string(), code);
    let printed = manifest.render(Platform::Istio).unwrap();
    let printed: Value = serde_saphyr::from_str(&printed).unwrap();

    // Nothing is guarded before the filter is applied.
    let mut config = theirs(upstream.address());
    assert!(check(&config.to_string()).unwrap().has_error());
    for patch in printed["spec"]["configPatches"].as_array().unwrap() {
        apply(&mut config, patch);
    }
    assert_eq!(check(&config.to_string()).unwrap().findings, []);

    decides(&run(&config), &control);
}

/// The three kinds of patches that are printed. A match on anything but the connection manager and
/// its router would be one that is not printed.
fn apply(config: &mut Value, patch: &Value) {
    let (operation, value) = (&patch["patch"]["operation"], &patch["patch"]["value"]);
    match (patch["applyTo"].as_str().unwrap(), operation.as_str().unwrap()) {
        ("CLUSTER", "ADD") => {
            let clusters = config.pointer_mut("/static_resources/clusters").unwrap();
            clusters.as_array_mut().unwrap().push(value.clone());
        }
        ("NETWORK_FILTER", "MERGE") => {
            let matched = &patch["match"]["listener"]["filterChain"]["filter"];
            let manager = config.pointer_mut(MANAGER).unwrap();
            assert_eq!(*matched, json!({"name": manager["name"]}));
            merge(manager, value);
        }
        ("HTTP_FILTER", "INSERT_BEFORE") => {
            let matched = &patch["match"]["listener"]["filterChain"]["filter"];
            let manager = config.pointer_mut(MANAGER).unwrap();
            assert_eq!(matched["name"], manager["name"]);
            let filters = manager["typed_config"]["http_filters"].as_array_mut().unwrap();
            let at = filters.iter().position(|it| it["name"] == matched["subFilter"]["name"]);
            filters.insert(at.unwrap(), value.clone());
        }
        other => panic!("{other:?} is not printed for a local module"),
    }
}

/// Protobuf's merge, for maps and single values.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, field) in from {
                merge(into.entry(name).or_insert(Value::Null), field);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
