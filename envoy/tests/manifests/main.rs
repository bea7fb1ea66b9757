//! What is printed for Kubernetes, held against the published schemas of its kinds, and the inputs
//! that are refused.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod schema;

use gatepass_envoy::{Code, EnvoyBinary, Manifest, Mode, Platform, PluginConfig, Roots, Side};
use schema::Schemas;
use serde_json::Value;

const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const SHA256: &str = "2d89c4c6ab2a1c615c7696ed37ade9e50654ac70384b5d45100eb08e62130ff4";
const KUBERNETES: [Platform; 3] =
    [Platform::Istio, Platform::IstioWasmPlugin, Platform::EnvoyGateway];

fn manifest() -> Manifest {
    let roots = Roots { keys: vec![KEY.to_owned()], threshold: 1 };
    let code = Code::Remote {
        url: "https://get.example/filter.wasm".to_owned(),
        sha256: SHA256.to_owned(),
    };
    let mut manifest =
        Manifest::new(PluginConfig::new("prod", "prod", roots), "gatepass.internal:8443", code);
    manifest.host_env = vec!["GATEPASS_JOIN_TOKEN".to_owned()];
    manifest.labels.insert("app.kubernetes.io/name".to_owned(), "shop".to_owned());
    manifest
}

fn documents(manifest: &Manifest, platform: Platform) -> Vec<Value> {
    let text = manifest.render(platform).unwrap();
    let mut all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    // One order, whatever the features of the JSON library are.
    all.iter_mut().for_each(Value::sort_all_objects);
    all
}

#[test]
fn every_kubernetes_object_is_one_of_its_published_kind() {
    let schemas = Schemas::published();
    let plain = manifest();
    let mut other = manifest();
    other.labels.clear();
    other.host_env.clear();
    other.side = Side::SidecarInbound;
    other.feed_sni = Some("gatepass.internal".to_owned());
    other.target.route = Some("orders".to_owned());
    other.plugin.mode = Mode::Shadow;
    let mut kinds = Vec::new();
    for manifest in [plain, other] {
        for platform in KUBERNETES {
            for object in documents(&manifest, platform) {
                assert_eq!(schemas.faults(&object), Vec::<String>::new(), "{object:#}");
                kinds.push(object["kind"].as_str().unwrap().to_owned());
            }
        }
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "ClientTrafficPolicy",
            "EnvoyExtensionPolicy",
            "EnvoyFilter",
            "EnvoyPatchPolicy",
            "WasmPlugin"
        ]
    );
}

/// The twin of the test before: one thing changed, and the schema says which.
#[test]
fn one_misspelt_field_or_wrong_type_is_found() {
    let schemas = Schemas::published();
    for (platform, index, from, to, expected) in [
        (Platform::Istio, 0, "\"configPatches\"", "\"configPatch\"", ".spec.configPatch: no such"),
        (Platform::Istio, 0, "\"subFilter\"", "\"subfilter\"", "filter.subfilter: no such field"),
        (Platform::Istio, 0, "\"INSERT_BEFORE\"", "\"INSERT_LAST\"", "operation: \"INSERT_LAST\""),
        (Platform::IstioWasmPlugin, 1, "\"FAIL_RELOAD\"", "\"FAIL_CLOSED\"", ".failStrategy: "),
        (Platform::IstioWasmPlugin, 1, "\"phase\"", "\"fase\"", ".spec.fase: no such field"),
        (Platform::IstioWasmPlugin, 1, SHA256, "2d89", ".spec.sha256: `2d89` does not match"),
        (Platform::IstioWasmPlugin, 1, "\"url\"", "\"uri\"", ".spec.url: missing"),
        (Platform::EnvoyGateway, 0, "\"failOpen\":false", "\"failOpen\":\"no\"", "failOpen: exp"),
        (Platform::EnvoyGateway, 0, "\"type\":\"HTTP\"", "\"type\":\"File\"", ".code.type: "),
        (Platform::EnvoyGateway, 1, "\"jsonPath\"", "\"jsonpath\"", "operation.jsonpath: no such"),
        (
            Platform::EnvoyGateway,
            2,
            "\"RejectRequest\"",
            "\"Reject\"",
            "UnderscoresAction: \"Reject\"",
        ),
    ] {
        let object = documents(&manifest(), platform).swap_remove(index).to_string();
        assert!(object.contains(from), "{from} is not in {object}");
        let changed: Value = serde_json::from_str(&object.replacen(from, to, 1)).unwrap();
        let faults = schemas.faults(&changed);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{to}: {faults:?}");
    }
}

/// With TLS to the feed and to where the module is fetched from.
#[test]
fn the_stanzas_with_tls_are_accepted_by_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = manifest();
    manifest.feed_sni = Some("gatepass.internal".to_owned());
    manifest.feed = "127.0.0.1:8443".to_owned();
    manifest.ca = folder.path().join("ca.pem");
    std::fs::write(&manifest.ca, include_str!("ca.pem")).unwrap();
    let pasted = |indent: usize, block: String| {
        let margin = " ".repeat(indent);
        block.lines().map(|line| format!("{margin}{line}\n")).collect::<String>()
    };
    let bootstrap = include_str!("../launch/foreign.yaml")
        .replace("# PASTE path settings\n", &pasted(10, manifest.path_settings().unwrap()))
        .replace(
            "# PASTE http filter\n",
            &pasted(10, manifest.http_filter(Platform::Envoy).unwrap()),
        )
        .replace("# PASTE cluster\n", &pasted(2, manifest.clusters().unwrap()));
    let envoy = EnvoyBinary::find().unwrap();
    envoy.validate(&bootstrap).unwrap();
    // The twin: the authorities are read, so a file without any is refused.
    std::fs::write(&manifest.ca, "").unwrap();
    assert!(envoy.validate(&bootstrap).is_err());
}

#[test]
fn no_manifest_fails_open() {
    for platform in KUBERNETES {
        for object in documents(&manifest(), platform) {
            let text = object.to_string();
            assert!(!text.contains("FAIL_OPEN") && !text.contains("failOpen\":true"), "{text}");
        }
    }
    let extension = &documents(&manifest(), Platform::EnvoyGateway)[0];
    assert_eq!(extension["spec"]["wasm"][0]["failOpen"], false);
    assert_eq!(extension["spec"]["wasm"][0]["code"]["http"]["sha256"], SHA256);
    let plugin = &documents(&manifest(), Platform::IstioWasmPlugin)[1];
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_RELOAD");
    assert_eq!(plugin["spec"]["sha256"], SHA256);
}

/// Why `--for istio` prints an EnvoyFilter: the day on which a schema has the field, this fails,
/// and the comment in the WasmPlugin is no longer true.
#[test]
fn no_kind_of_istios_for_plugins_can_let_the_gate_read_bodies() {
    for schema in [
        include_str!("../crds/istio-wasmplugin.yaml"),
        include_str!("../crds/istio-trafficextension.yaml"),
    ] {
        assert!(!schema.to_ascii_lowercase().replace('_', "").contains("stopiteration"));
        assert!(!schema.to_ascii_lowercase().replace('_', "").contains("vmid"));
    }
}

#[test]
fn the_same_gate_comes_out_whoever_configures_envoy() {
    let plugin = serde_json::to_value(&manifest().plugin).unwrap();
    let text = |value: &Value| serde_json::from_str::<Value>(value.as_str().unwrap()).unwrap();
    let filter = &documents(&manifest(), Platform::Istio)[0]["spec"]["configPatches"][3];
    let config = &filter["patch"]["value"]["typed_config"]["config"];
    assert_eq!(text(&config["configuration"]["value"]), plugin);
    assert_eq!(config["failure_policy"], "FAIL_RELOAD");
    assert_eq!(config["allow_on_headers_stop_iteration"], true);
    let ecds = &documents(&manifest(), Platform::Ecds)[1]["resources"][0];
    assert_eq!(ecds["typed_config"]["config"], *config);
    let extension = &documents(&manifest(), Platform::EnvoyGateway)[0];
    assert_eq!(extension["spec"]["wasm"][0]["config"], plugin);
    let wasm_plugin = &documents(&manifest(), Platform::IstioWasmPlugin)[1];
    assert_eq!(wasm_plugin["spec"]["pluginConfig"], plugin);
}

#[test]
fn an_input_that_could_become_something_else_is_refused_by_its_name() {
    type Change = fn(&mut Manifest, &str);
    let fields: [(&str, Change); 15] = [
        ("environment", |m, v| m.plugin.environment = v.to_owned()),
        ("feed_audience", |m, v| m.plugin.feed_audience = v.to_owned()),
        ("control_plane.authority", |m, v| m.plugin.control_plane.authority = v.to_owned()),
        ("feed", |m, v| m.feed = format!("{v}:8443")),
        ("feed_sni", |m, v| m.feed_sni = Some(v.to_owned())),
        ("ca", |m, v| m.ca = v.into()),
        ("ecds_path", |m, v| m.ecds_path = v.into()),
        ("wasm_url", |m, v| {
            m.code = Code::Remote { url: format!("https://{v}/f"), sha256: SHA256.to_owned() }
        }),
        ("wasm_sha256", |m, v| {
            m.code = Code::Remote { url: "https://a/f".to_owned(), sha256: v.to_owned() }
        }),
        ("wasm", |m, v| m.code = Code::Local(v.into())),
        ("host_env", |m, v| m.host_env = vec![v.to_owned()]),
        ("namespace", |m, v| m.namespace = v.to_owned()),
        ("labels", |m, v| drop(m.labels.insert("app".to_owned(), v.to_owned()))),
        ("gateway", |m, v| m.target.gateway = v.to_owned()),
        ("route", |m, v| m.target.route = Some(v.to_owned())),
    ];
    for (field, change) in fields {
        for hostile in ["a\"b", "a\nb: 1", "a\\b", "a\u{7f}", "a'\"]", "\"", "\n"] {
            let mut manifest = manifest();
            change(&mut manifest, hostile);
            for platform in [Platform::Envoy, Platform::Ecds, Platform::Istio] {
                let refused = manifest.render(platform).map(|_| ()).unwrap_err().to_string();
                assert!(refused.contains(&format!("`{field}`")), "{field}: {refused}");
            }
        }
    }
}

#[test]
fn names_that_kubernetes_refuses_are_refused() {
    for bad in ["", "Shop", "a_b", "-a", "a/b", &"a".repeat(64)] {
        let mut manifest = manifest();
        manifest.namespace = bad.to_owned();
        let refused = manifest.render(Platform::Istio).unwrap_err().to_string();
        assert!(refused.starts_with("`namespace` cannot be "), "{refused}");
    }
    for (key, value) in [("", "a"), ("a b", "a"), ("a", "*"), ("A/b", "a"), ("a", "-")] {
        let mut manifest = manifest();
        manifest.labels.insert(key.to_owned(), value.to_owned());
        assert!(manifest.render(Platform::Istio).is_err(), "{key}={value}");
    }
}

#[test]
fn a_platform_that_takes_no_file_says_so() {
    let mut local = manifest();
    local.code = Code::Local("/etc/gatepass/filter.wasm".into());
    for platform in [Platform::Envoy, Platform::Ecds, Platform::Istio] {
        assert!(local.render(platform).is_ok());
    }
    for platform in [Platform::IstioWasmPlugin, Platform::EnvoyGateway] {
        let refused = local.render(platform).unwrap_err().to_string();
        assert!(refused.contains("give `wasm_url` and `wasm_sha256`"), "{refused}");
    }
    let filter = local.render(Platform::Istio).unwrap();
    assert!(filter.contains("filename") && !filter.contains("EXTENSION_CONFIG"));
}

/// What an operator gets, in full: a change of it is a change of the product.
#[test]
fn what_the_command_line_prints_are_the_golden_files() {
    for (platform, golden) in [
        ("ecds", include_str!("golden/ecds.yaml")),
        ("istio", include_str!("golden/istio.yaml")),
        ("istio-wasm-plugin", include_str!("golden/istio-wasm-plugin.yaml")),
        ("envoy-gateway", include_str!("golden/envoy-gateway.yaml")),
    ] {
        let arguments = [
            "manifests",
            "--for",
            platform,
            "--environment",
            "prod",
            "--feed-audience",
            "prod",
            "--root-key",
            KEY,
            "--threshold",
            "1",
            "--feed",
            "gatepass.internal:8443",
            "--feed-sni",
            "gatepass.internal",
            "--wasm-url",
            "https://get.example/filter.wasm",
            "--wasm-sha256",
            SHA256,
            "--host-env",
            "GATEPASS_JOIN_TOKEN",
            "--label",
            "app=shop",
        ];
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_gatepass-envoy"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(
            printed == golden,
            "what is printed is no longer envoy/tests/manifests/golden/{platform}.yaml. If the \
             change is meant, update it with\n  cargo run -q -p gatepass-envoy -- {} > \
             envoy/tests/manifests/golden/{platform}.yaml\nIt is now:\n{printed}",
            arguments.join(" ")
        );
    }
}
