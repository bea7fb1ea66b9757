//! The vectors through the shipped filter in the Wasm host: one VM that leads and serves.

use std::time::Duration;

use gatepass_tests::host::{Envoy, Headers, Module, Outcome, Request, Vm};
use gatepass_tests::kit::filter;
use gatepass_tests::kit::orders::HOST;
use gatepass_tests::kit::signed::CLUSTER;
use gatepass_tests::kit::site::{VM_ID, answer, verdict as verdict_of};
use serde_json::{Value, json};

use crate::format::{FeedVector, GateConfiguration, GatepassVector};

/// One Envoy with one VM.
struct Gated {
    envoy: Envoy,
    vm: Vm,
}

impl Gated {
    fn start(gate: &GateConfiguration, at: u64) -> Self {
        let envoy = Envoy::new(&Module::load(filter::path().unwrap()).unwrap());
        envoy.clock().set_wall(Duration::from_secs(at));
        let configuration = configuration(gate).to_string();
        let mut vm = envoy.worker(VM_ID).unwrap();
        // The table of each new issuer key is the work of half a second here.
        vm.set_fuel_limit(FUEL);
        vm.start(b"").unwrap();
        assert!(vm.configure(configuration.as_bytes()).unwrap(), "{:?}", vm.logs());
        Self { envoy, vm }
    }

    /// Moves both clocks on.
    fn until(&self, unix: u64) {
        let by = Duration::from_secs(unix).saturating_sub(self.envoy.clock().wall());
        self.envoy.clock().advance(by);
    }

    /// Answers the poll that waits.
    fn hear(&mut self, feed: &[u8]) {
        let call = self.polls();
        answer(&mut self.vm, call, feed).unwrap();
    }

    /// Ticks until a poll waits; the newest.
    fn polls(&mut self) -> u32 {
        for _ in 0..60 {
            self.vm.tick().unwrap();
            if let Some(call) = self.vm.http_calls().pop() {
                return call.token;
            }
            self.envoy.clock().advance(Duration::from_millis(50));
        }
        panic!("no poll: {:?}", self.vm.logs());
    }

    /// How often a refusal was counted.
    fn refusals(&self, code: &str) -> u64 {
        let name = format!("gatepass_batch_refusals.{code}");
        self.envoy.metrics().value(&name).unwrap_or(0)
    }

    /// `<epoch>.<sequence>` or `none`, as a denial's answer tells it to a test.
    fn position(&mut self) -> String {
        let request = Request::to("GET", HOST, "/orders");
        let Outcome::Replied(reply) = self.vm.decide(request).unwrap() else {
            panic!("let through without a gatepass");
        };
        reply.headers.text("x-gatepass-position").unwrap_or_default().to_owned()
    }
}

fn configuration(gate: &GateConfiguration) -> Value {
    let mut all = json!({
        "environment": gate.environment,
        "feed_audience": gate.feed_audience,
        "control_plane": {"cluster": CLUSTER, "authority": "gatepass"},
        "roots": {"keys": gate.roots.keys, "threshold": gate.roots.threshold},
        "min_root_version": gate.min_root_version,
        "mode": gate.mode,
        // What may be held is told at once.
        "hold_ms": 0,
        "expose_position": true,
    });
    if let Some(baseline) = &gate.baseline {
        all["baseline"] = json!(baseline.0);
    }
    all
}

/// `allow` and what the gate counted it as, or status and code.
pub(crate) fn verdict(vector: &GatepassVector) -> String {
    let mut gated = Gated::start(&vector.gate, vector.heard_at);
    if let Some(feed) = &vector.feed {
        gated.hear(&feed.decoded());
    }
    gated.until(vector.now);
    let headers: Vec<(&str, Vec<u8>)> =
        vector.request.headers.iter().map(|h| (h.name.as_str(), h.bytes())).collect();
    let mut request = Request::new(Headers::exact(&headers));
    if !vector.request.ends_with_headers {
        request = request.with_body();
    }
    let stream = gated.vm.send(request).unwrap();
    let said = verdict_of(&gated.vm.outcome(stream).unwrap());
    let record = filter::record(&gated.vm, stream);
    let state = |name: &str| record.get(name).cloned().unwrap_or_default();
    let (decision, code) = (state("decision"), state("code"));
    match decision.as_str() {
        "deny" => {
            assert!(said.ends_with(&code), "answered `{said}`, recorded `{code}`");
            said
        }
        "shadow" => format!("{said} shadow: {code}"),
        _ => format!("{said} {code}"),
    }
}

/// How a feed answer went down with the filter.
pub(crate) struct Heard {
    /// `<epoch>.<sequence>`, or `none`.
    pub(crate) position: String,
    /// The refusals counted for the last answer.
    pub(crate) refused: Vec<&'static str>,
}

pub(crate) fn outcome(vector: &FeedVector, codes: &[&'static str]) -> Heard {
    let first = vector.heard.first().map_or(vector.now, |heard| heard.at);
    let mut gated = Gated::start(&vector.gate, first);
    for heard in &vector.heard {
        gated.until(heard.at);
        gated.hear(&heard.feed.decoded());
    }
    gated.until(vector.now);
    let before: Vec<u64> = codes.iter().map(|code| gated.refusals(code)).collect();
    gated.hear(&vector.feed.decoded());
    let news = codes.iter().zip(before).filter(|(code, old)| gated.refusals(code) > *old);
    let refused = news.map(|(code, _)| *code).collect();
    Heard { position: gated.position(), refused }
}

/// Fuel of one callback.
const FUEL: u64 = 20_000_000_000;
