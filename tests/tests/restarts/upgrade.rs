//! Another filter by configuration, while clients ask: a leader that is taken down hands over.

use std::path::Path;
use std::time::Duration;

use gatepass::fleet::State;
use gatepass_envoy::{Code, Envoy, EnvoyBinary, Manifest, Platform, PluginConfig, Settings};
use gatepass_tests::kit::edge::{ALICE, Edge, WORKERS, ask};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::world::until;

use crate::traffic::Traffic;

#[test]
fn another_filter_under_load_fails_no_request_and_stays_one_envoy() {
    let edge = Edge::start().unwrap();
    let dead = edge.reading().unwrap();
    edge.desk.done(&["revoke", "owner", ALICE, "--reason", "before the upgrade"]).unwrap();
    let good = edge.reading().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = edge.desk.plugin().unwrap();
    let envoy = discovering(&edge, folder.path(), &plugin);
    let asked = || ask(&envoy, "/orders", Some(&good));
    until(SOON, asked, |response| response.status == 200).unwrap();
    let one = edge.until_fleet(SOON, |view| view.envoys.len() == 1).unwrap();

    let asks =
        [("/orders", Some(good.clone())), ("/orders?dead", Some(dead.clone())), ("/healthz", None)];
    let traffic = Traffic::start(envoy.address("in").unwrap(), &asks);
    let shipped = std::fs::read(filter::path().unwrap()).unwrap();
    for round in 1u8..=3 {
        // Other code is another VM for each thread; other settings are another root context.
        let module = folder.path().join(format!("filter-{round}.wasm"));
        std::fs::write(&module, with_a_name(&shipped, round)).unwrap();
        plugin.hold_ms += 1;
        let before = traffic.answers();
        discover(folder.path(), &plugin, &module);
        envoy
            .until("the upgrade", SOON, |envoy| {
                let stats = envoy.stats()?;
                let reloads = stats.iter().find(|(name, _)| name.ends_with(RELOADS));
                Ok(reloads.filter(|(_, count)| **count > u64::from(round)).map(|_| ()))
            })
            .unwrap();
        // Each client was answered under the new one.
        envoy
            .until("answers", SOON, |_| {
                let now = traffic.answers();
                let more = |(verdict, count): (&String, &u64)| {
                    now.get(verdict).is_some_and(|now| *now > count + 100)
                };
                Ok(before.iter().all(more).then_some(()))
            })
            .unwrap();
    }
    // Before the revocation below, which cuts what is open.
    assert_eq!(traffic.asked_again(), 0, "no connection was closed");
    // The new leader follows the feed.
    edge.desk.done(&["revoke", "owner", ALICE, "--reason", "after it", "--wait"]).unwrap();
    let asked = || ask(&envoy, "/orders", Some(&good));
    until(SOON, asked, |response| response.verdict() == "401 revoked_owner").unwrap();
    let answers = traffic.end();
    println!("filter upgrades: {answers:?}");
    let verdicts: Vec<&str> = answers.keys().map(String::as_str).collect();
    let expected = [
        "/healthz 200",
        "/orders 200",
        "/orders 401 revoked_owner",
        "/orders?dead 401 revoked_owner",
    ];
    assert_eq!(verdicts, expected, "{answers:?}");

    // Three leaders went, and none is missed.
    let view = edge.fleet().unwrap();
    let [envoy] = view.envoys.as_slice() else { panic!("{view:#?}") };
    assert_eq!(Some(&envoy.envoy), one.envoys.first().map(|first| &first.envoy));
    assert_eq!(envoy.state, State::Enforcing);
}

fn discovering(edge: &Edge, folder: &Path, plugin: &PluginConfig) -> Envoy {
    let module = filter::path().unwrap();
    discover(folder, plugin, &module);
    let manifest = manifest(folder, plugin, &module);
    let bootstrap = edge.bootstrap(plugin).unwrap().render(Path::new("/dev/null")).unwrap();
    let mut config: serde_json::Value = serde_saphyr::from_str(&bootstrap).unwrap();
    let discovered: Vec<serde_json::Value> =
        serde_saphyr::from_str(&manifest.http_filter(Platform::Ecds).unwrap()).unwrap();
    let filters = config.pointer_mut(FILTERS).unwrap().as_array_mut().unwrap();
    filters.splice(0..1, discovered);
    let settings = Settings {
        workers: WORKERS,
        env: vec![("GATEPASS_JOIN_TOKEN".to_owned(), edge.join().to_owned())],
        ..Settings::default()
    };
    Envoy::launch_yaml(&EnvoyBinary::find().unwrap(), &config.to_string(), &settings).unwrap()
}

/// Envoy looks when a file is moved into its place.
fn discover(folder: &Path, plugin: &PluginConfig, module: &Path) {
    let manifest = manifest(folder, plugin, module);
    let written = folder.join("written");
    std::fs::write(&written, manifest.ecds_file().unwrap()).unwrap();
    std::fs::rename(written, &manifest.ecds_path).unwrap();
}

fn manifest(folder: &Path, plugin: &PluginConfig, module: &Path) -> Manifest {
    let mut manifest = Manifest::new(plugin.clone(), "127.0.0.1:1", Code::Local(module.to_owned()));
    manifest.ecds_path = folder.join("gatepass.ecds.yaml");
    manifest.host_env = vec!["GATEPASS_JOIN_TOKEN".to_owned()];
    manifest
}

/// The same code under another digest: a custom section says what nobody reads.
fn with_a_name(module: &[u8], name: u8) -> Vec<u8> {
    let mut out = module.to_vec();
    out.extend([0, 3, 1, b'n', name]);
    out
}

const SOON: Duration = Duration::from_secs(20);
/// The end of the counter of configurations that were taken.
const RELOADS: &str = ".config_reload";
const FILTERS: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
