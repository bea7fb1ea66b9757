//! The engine's hot paths under callgrind: instructions of the native build, which no neighbour on the
//! machine changes. What the shipped Wasm takes is counted by the tests (`tests/vectors/fuel.json`).

#![expect(clippy::unwrap_used, reason = "a scene that cannot be made is no benchmark")]

use std::hint::black_box;

use gatepass_engine::batch::Feed;
use gatepass_engine::body::Body;
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::{Decision, Header, Request, decide_with};
use gatepass_engine::gate::Gate;
use gatepass_engine::token_cache::TokenCache;
use gatepass_filter::configuration::Configuration;
use gatepass_tests::kit::orders::HOST;
use gatepass_tests::kit::signed::{Signed, grant};
use gungraun::{library_benchmark, library_benchmark_group, main};

/// A gate with its state, and one request.
struct Scene {
    gate: Gate,
    cache: TokenCache,
    authorization: Option<Vec<u8>>,
}

impl Scene {
    fn new(authorization: impl FnOnce(&Signed) -> Option<String>) -> Self {
        let mut control = Signed::start(NOW.unix).unwrap();
        let configuration = control.configuration().unwrap().to_string();
        let configuration = Configuration::parse(configuration.as_bytes()).unwrap();
        let mut gate = Gate::new(configuration.settings, configuration.pinned);
        let snapshot = control.snapshot(NOW.unix).unwrap();
        let answer = control.answer(&snapshot).unwrap();
        let feed = Feed::decode(&answer).unwrap();
        gate.take_roots(&feed.roots, NOW.unix).unwrap();
        for batch in &feed.batches {
            gate.apply(batch, NOW.monotonic, NOW).unwrap();
        }
        let authorization = authorization(&control).map(|token| format!("Bearer {token}").into());
        Self { gate, cache: TokenCache::new(1 << 20), authorization }
    }

    fn is_allowed(&mut self) -> bool {
        let mut headers = vec![
            Header { name: b":method", value: b"GET" },
            Header { name: b":authority", value: HOST.as_bytes() },
            Header { name: b":path", value: b"/orders" },
            Header { name: b":scheme", value: b"https" },
        ];
        let value = self.authorization.as_deref();
        headers.extend(value.map(|value| Header { name: b"authorization", value }));
        let request = Request { headers: &headers, body: Body::None, source: None };
        matches!(decide_with(&request, &self.gate, &mut self.cache, NOW), Decision::Allow(_))
    }
}

fn fresh() -> Scene {
    Scene::new(|control| control.issue(&grant("orders:read"), NOW.unix).ok())
}

fn seen() -> Scene {
    let mut scene = fresh();
    assert!(scene.is_allowed());
    scene
}

fn without() -> Scene {
    Scene::new(|_| None)
}

fn forged() -> Scene {
    Scene::new(|control| {
        let token = control.issue(&grant("orders:read"), NOW.unix).ok()?;
        let (signed, _) = token.rsplit_once('.')?;
        Some(format!("{signed}.{}", "A".repeat(86)))
    })
}

#[library_benchmark]
#[bench::fresh(fresh())]
#[bench::seen(seen())]
fn allowed(mut scene: Scene) -> Scene {
    assert!(black_box(&mut scene).is_allowed());
    scene
}

#[library_benchmark]
#[bench::no_credential(without())]
#[bench::bad_signature(forged())]
fn denied(mut scene: Scene) -> Scene {
    assert!(!black_box(&mut scene).is_allowed());
    scene
}

const NOW: Now = Now { unix: UnixSeconds(1_800_000_000), monotonic: Milliseconds(5_000_000) };

library_benchmark_group!(name = hot_paths, benchmarks = [allowed, denied]);
main!(library_benchmark_groups = hot_paths);
