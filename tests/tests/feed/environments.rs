//! Two environments behind one Envoy: nothing crosses, not even with one `vm_id` for both.

use gatepass::issue::Grant;
use gatepass_engine::revocation::Kind;
use gatepass_envoy::{Bootstrap, Envoy, FEED_CLUSTER, Gate, Listener, PluginConfig};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::upstream::Upstream;
use gatepass_tests::kit::world::{ControlPlane, grant};

use crate::gated::{Gated, WORKERS};

#[test]
fn two_environments_in_one_envoy_share_nothing() {
    let [prod, dev] = ["prod", "dev"].map(|name| ControlPlane::start(name).unwrap());
    let dev_plugin = {
        let mut plugin = dev.plugin().unwrap();
        plugin.control_plane.cluster = DEV_FEED.to_owned();
        plugin
    };
    let prod_plugin = prod.plugin().unwrap();
    assert_eq!(prod_plugin.control_plane.cluster, FEED_CLUSTER);
    let upstream = Upstream::start().unwrap();
    let listener = |name: &str, plugin: &PluginConfig, vm_id: &str| {
        let gate = Gate::new(filter::path().unwrap(), plugin).named(name).vm_id(vm_id);
        Listener::forwarding(name, upstream.address()).gate(gate)
    };
    for (prod_vm, dev_vm) in [("one", "two"), ("same", "same")] {
        let bootstrap = Bootstrap::new()
            .workers(WORKERS)
            .listener(listener("prod", &prod_plugin, prod_vm))
            .listener(listener("dev", &dev_plugin, dev_vm))
            .feed(prod.address())
            .feed_named(DEV_FEED, dev.address());
        let envoy = Envoy::launch(&bootstrap).unwrap();
        let mut at = Gated::of(envoy, upstream.clone(), &["prod", "dev"]);

        // The same `jti` in both, so that only the environment tells them apart.
        let shared = grant("orders:read").unwrap();
        let [at_prod, at_dev] = [&prod, &dev].map(|control| control.issue(&shared).unwrap());
        at.until_at("prod", "/orders", &at_prod, "200");
        at.until_at("dev", "/orders", &at_dev, "200");
        assert_eq!(at.ask_at("prod", "/orders", &at_dev), "401 unknown_key");
        assert_eq!(at.ask_at("dev", "/orders", &at_prod), "401 unknown_key");

        prod.revoke(Kind::Credential, &shared.jti).unwrap();
        at.until_at("prod", "/orders", &at_prod, "401 revoked_credential");
        assert_eq!(at.ask_at("dev", "/orders", &at_dev), "200");
        let fresh: Grant = grant("orders:read").unwrap();
        let fresh = prod.issue(&fresh).unwrap();
        at.until_at("prod", "/orders", &fresh, "200");

        dev.revoke(Kind::Credential, &shared.jti).unwrap();
        at.until_at("dev", "/orders", &at_dev, "401 revoked_credential");
        assert_eq!(at.ask_at("prod", "/orders", &fresh), "200");
        at.assert_no_crash();
        assert_eq!(at.stat("gatepass_shared_state_forged"), 0);
    }
}

const DEV_FEED: &str = "dev_control_plane";
