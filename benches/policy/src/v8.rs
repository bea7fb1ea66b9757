//! A real Envoy whose filter answers each request with a round.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass_bench_policy::{Case, Round};
use gatepass_envoy::{Envoy, EnvoyBinary, Settings};
use serde_json::json;

pub(crate) struct V8 {
    envoy: Envoy,
    /// Of what we waited for a round, the largest share that it measured.
    share: f64,
}

impl V8 {
    /// With this module, for this case.
    pub(crate) fn launch(module: &Path, case: &Case) -> Self {
        let configuration = STANDARD.encode(postcard::to_allocvec(case).unwrap());
        let wasm = json!(module.canonicalize().unwrap()).to_string();
        let filter = include_str!("../../envoy/wasm_policy.yaml")
            .replace("${wasm}", &wasm)
            .replace("${case}", &configuration);
        let settings = Settings { log_level: "warning".to_owned(), ..Settings::default() };
        let binary = EnvoyBinary::find().unwrap();
        Self { envoy: Envoy::launch_yaml(&binary, &filter, &settings).unwrap(), share: 0.0 }
    }

    pub(crate) fn round(&mut self) -> Round {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(self.envoy.address("rounds").unwrap()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: rounds\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let waited = begun.elapsed().as_secs_f64() * 1e3;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}\n{}", self.envoy.log());
        let round: Round = serde_json::from_str(body).unwrap();
        let measured = round.milliseconds;
        assert!(measured <= waited, "{measured} ms were measured in {waited} ms");
        self.share = self.share.max(measured / waited);
        round
    }

    /// The clock of the rounds is the VM's, which Envoy answers: it must not have stood still, either.
    pub(crate) fn hold_clock(&self) {
        assert!(self.share > SHARE, "of a round only {} was measured", self.share);
    }
}

/// The rest is the connection and reading the requests.
const SHARE: f64 = 0.7;
