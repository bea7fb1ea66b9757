//! A request as it would reach a gate, and what the gate makes of it.

use core::net::IpAddr;

use gatepass_engine::body::Body;
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::Header;
use gatepass_engine::{Gate, Request, explain};
use zeroize::Zeroizing;

use super::Explanation;

/// A request as it would reach a gate. No `Debug`: it has a gatepass in it.
#[derive(Default)]
pub struct Sent {
    pub method: String,
    pub host: String,
    /// With its query.
    pub path: String,
    /// Names in lower case, as Envoy holds them; none of what stands above.
    pub headers: Vec<(String, String)>,
    /// Sent as `Authorization: Bearer`.
    pub gatepass: Option<Zeroizing<String>>,
    pub body: Option<Vec<u8>>,
    /// The caller's address, as Envoy would have it.
    pub source: Option<IpAddr>,
    /// Seconds since the gate was told anything.
    pub age: u64,
}

impl Sent {
    /// Decides it. The gate is used up: it is made older by [`Sent::age`].
    #[must_use]
    pub fn explained(&self, mut gate: Gate, now: UnixSeconds) -> Explanation {
        gate.grow_older(self.age);
        let monotonic = Milliseconds(self.age.saturating_mul(1_000));
        let at = Now { unix: now, monotonic };
        let authorization = self
            .gatepass
            .as_ref()
            .map(|token| Zeroizing::new(format!("Bearer {}", token.as_str())));
        let line = [(":method", &self.method), (":authority", &self.host), (":path", &self.path)];
        let line = line.into_iter().map(|(name, value)| (name, value.as_str()));
        let more = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let bearer = authorization.iter().map(|value| ("authorization", value.as_str()));
        let all = line.chain(more).chain(bearer);
        let headers: Vec<Header<'_>> = all
            .map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() })
            .collect();
        let request = Request { headers: &headers, body: self.as_body(), source: self.source };
        let (decision, recorded) = explain(&request, &gate, at);
        Explanation::of(&decision, recorded, &gate, at)
    }

    /// Without a body, whether one is to come is what the headers say.
    fn as_body(&self) -> Body<'_> {
        match &self.body {
            Some(bytes) if !bytes.is_empty() => Body::Whole(bytes),
            Some(_) => Body::None,
            None => Body::after_headers(!self.headers.iter().any(announces)),
        }
    }
}

fn announces((name, value): &(String, String)) -> bool {
    match name.as_str() {
        "content-length" => value != "0",
        "transfer-encoding" => true,
        _ => false,
    }
}
