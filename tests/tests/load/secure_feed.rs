//! A feed over mTLS: Envoy shows a certificate, and the control plane knows it by that.

use std::time::Instant;

use gatepass_envoy::Envoy;
use gatepass_tests::kit::desk::Desk;
use gatepass_tests::kit::filter;
use gatepass_tests::kit::upstream::Upstream;
use serde_json::Value;

use crate::certificates::{NODE, certificates};
use crate::operator::{ask, run, with_parts};

#[test]
fn an_envoy_follows_by_its_certificate_and_without_one_hears_nothing() {
    let upstream = Upstream::start().unwrap();
    let mut desk = Desk::start("prod", false).unwrap();
    desk.kill();
    let files = certificates(&desk.dir());
    desk.configure(|text| {
        text.replace(
            "followers = \"join_token\"",
            "followers = \"certificate\"\ntls = { certificate = \"server.pem\", key = \"server.key\", client_ca = \"ca.pem\" }",
        )
    })
    .unwrap();
    desk.serve().unwrap();
    let dir = desk.dir();
    let print = |with: &[&str]| {
        let wasm = filter::path().unwrap();
        let (dir, wasm) = (dir.to_str().unwrap(), wasm.to_str().unwrap());
        let mut arguments = vec!["manifests", "--dir", dir, "--for", "envoy", "--wasm", wasm];
        arguments.extend(["--feed-sni", "localhost", "--ca", files.ca.to_str().unwrap()]);
        arguments.extend(with);
        desk.done(&arguments).unwrap()
    };
    let shown = files.client.to_str().unwrap();
    let key = files.client_key.to_str().unwrap();
    {
        let anonymous = run(&with_parts(upstream.address(), &print(&[])));
        assert_eq!(after_polls(&anonymous), "503 not_ready");
        let fleet: Value = serde_json::from_str(&desk.done(&["fleet", "--json"]).unwrap()).unwrap();
        assert_eq!(fleet["envoys"], Value::Array(vec![]));
    }
    let printed = print(&["--feed-cert", shown, "--feed-key", key]);
    let known = run(&with_parts(upstream.address(), &printed));
    let start = Instant::now();
    while ask(&known, None).verdict() != "401 no_credential" {
        assert!(start.elapsed().as_secs() < 20, "still {}", ask(&known, None).verdict());
    }
    let fleet: Value = serde_json::from_str(&desk.done(&["fleet", "--json"]).unwrap()).unwrap();
    let envoys = fleet["envoys"].as_array().unwrap();
    assert_eq!(envoys.len(), 1);
    assert_eq!(envoys[0]["node"], NODE);
    assert_eq!(envoys[0]["identity"], "certificate");
    assert_eq!(envoys[0]["verified"], true);
}

/// The verdict when several polls have come to nothing.
fn after_polls(envoy: &Envoy) -> String {
    let start = Instant::now();
    while envoy.wasm_stat("gatepass_polls_failed").unwrap_or(0) < 2 {
        assert!(start.elapsed().as_secs() < 30, "no poll has failed");
    }
    ask(envoy, None).verdict()
}
