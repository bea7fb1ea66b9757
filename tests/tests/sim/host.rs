//! What Envoy is to one VM: its clocks, its shared data, its requests and its calls.

use std::collections::BTreeMap;

use gatepass_filter::native::Host;
use gatepass_filter::pairs;
use gatepass_tests::host::SharedData;

use super::mutant::Mutant;
use super::random::Random;

/// Why a VM is no more: it died in a host call.
pub(crate) struct Died;

/// The host of one VM.
pub(crate) struct VmHost {
    pub(crate) shared: SharedData,
    pub(crate) configuration: Vec<u8>,
    pub(crate) random: Random,
    /// Milliseconds, on the wall and since the machine's start.
    pub(crate) wall: u64,
    pub(crate) monotonic: u64,
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// Calls that nobody has taken up yet.
    pub(crate) calls: Vec<Outgoing>,
    /// Headers and body of the answer that a callback is about.
    pub(crate) answer: Option<(u16, Vec<u8>)>,
    /// Host calls until the VM dies.
    pub(crate) dies_in: Option<u64>,
    pub(crate) mutant: Option<Mutant>,
    /// A request is decided.
    pub(crate) deciding: bool,
    /// The feed has answered.
    pub(crate) heard: bool,
    /// How often each of some metrics was counted, and each refusal of a batch was logged: one that repeats the
    /// one before it is not.
    pub(crate) counted: BTreeMap<String, u64>,
    generation_seen: Option<(Vec<u8>, u32)>,
    metrics: Vec<String>,
    effective: u32,
    next_token: u32,
}

/// One request as Envoy has it.
pub(crate) struct Stream {
    headers: Vec<(String, String)>,
    pub(crate) came_to: CameTo,
}

/// What became of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CameTo {
    Waiting,
    /// It went on.
    Continued,
    Denied(String),
    Cut,
}

/// A call to the feed.
pub(crate) struct Outgoing {
    pub(crate) token: u32,
    pub(crate) headers: Vec<(String, String)>,
    /// Milliseconds after which Envoy gives it up.
    pub(crate) timeout: u64,
}

impl VmHost {
    pub(crate) fn new(shared: SharedData, configuration: Vec<u8>, random: Random) -> Self {
        Self {
            shared,
            configuration,
            random,
            wall: 0,
            monotonic: 0,
            streams: BTreeMap::new(),
            calls: Vec::new(),
            answer: None,
            dies_in: None,
            mutant: None,
            deciding: false,
            heard: false,
            counted: BTreeMap::new(),
            generation_seen: None,
            metrics: Vec::new(),
            effective: 0,
            next_token: 1,
        }
    }

    pub(crate) fn begin(&mut self, context: u32, headers: Vec<(String, String)>) {
        self.streams.insert(context, Stream { headers, came_to: CameTo::Waiting });
    }

    /// Every host call passes here: a VM may die in any.
    fn step(&mut self) {
        if let Some(left) = &mut self.dies_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                std::panic::resume_unwind(Box::new(Died));
            }
        }
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.effective)
    }

    fn ends_as(&mut self, came_to: CameTo) -> bool {
        match self.stream() {
            // What has been answered or cut stays so.
            Some(stream) => {
                if matches!(stream.came_to, CameTo::Waiting | CameTo::Continued) {
                    stream.came_to = came_to;
                }
                true
            }
            None => false,
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Host for VmHost {
    fn set_effective_context(&mut self, context: u32) {
        self.effective = context;
    }

    fn map(&mut self, map: u32) -> Option<Vec<u8>> {
        self.step();
        match map {
            REQUEST => {
                let headers = &self.stream()?.headers;
                let headers: Vec<_> =
                    headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                Some(pairs::write(&headers))
            }
            CALL_RESPONSE => {
                let (status, _) = self.answer.as_ref()?;
                Some(pairs::write(&[(":status", &status.to_string())]))
            }
            _ => Some(pairs::write(&[])),
        }
    }

    fn set_header(&mut self, map: u32, name: &[u8], value: Option<&[u8]>) -> bool {
        self.step();
        if map != REQUEST {
            return true;
        }
        let Some(stream) = self.stream() else { return false };
        stream.headers.retain(|(known, _)| known.as_bytes() != name);
        if let Some(value) = value {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            stream.headers.push((text(name), text(value)));
        }
        true
    }

    fn buffer(&mut self, buffer: u32) -> Option<Vec<u8>> {
        self.step();
        match buffer {
            CALL_BODY => self.answer.as_ref().map(|(_, body)| body.clone()),
            _ => Some(self.configuration.clone()),
        }
    }

    fn reply(&mut self, _: u32, details: &[u8], _: &[u8], _: &[u8]) -> bool {
        self.step();
        let details = String::from_utf8_lossy(details);
        let code = details.strip_prefix("gatepass_denied_").unwrap_or(&details).to_owned();
        self.ends_as(CameTo::Denied(code))
    }

    fn property(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        self.step();
        None
    }

    fn call(&mut self, _: &[u8], headers: &[u8], _: &[u8], timeout: u32) -> Option<u32> {
        self.step();
        if self.is(Mutant::Deaf) && self.heard {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = pairs::read(headers).ok()?;
        let headers = headers.iter().map(|h| (text(h.name), text(h.value))).collect();
        let token = self.next_token;
        self.next_token += 1;
        self.calls.push(Outgoing { token, headers, timeout: timeout.into() });
        Some(token)
    }

    fn continue_request(&mut self) -> bool {
        self.step();
        self.ends_as(CameTo::Continued)
    }

    fn close_request(&mut self) -> bool {
        self.step();
        self.ends_as(CameTo::Cut)
    }

    fn set_property(&mut self, _: &[u8], _: &[u8]) {
        self.step();
    }

    fn define_metric(&mut self, _: u32, name: &[u8]) -> u32 {
        self.metrics.push(String::from_utf8_lossy(name).into_owned());
        self.metrics.len() as u32 - 1
    }

    fn increment_metric(&mut self, id: u32, by: i64) {
        let Some(name) = self.metrics.get(id as usize) else { return };
        if METRICS.contains(&name.as_str()) {
            *self.counted.entry(name.clone()).or_default() += by.max(0) as u64;
        }
    }

    fn record_metric(&mut self, _: u32, _: u64) {}

    fn log(&mut self, _: u32, text: &[u8]) {
        self.step();
        let text = String::from_utf8_lossy(text);
        if let Some(refusal) = text.strip_prefix("gatepass refused a batch: ") {
            *self.counted.entry(refusal.to_owned()).or_default() += 1;
        }
    }

    fn set_tick_period(&mut self, _: u32) {
        self.step();
    }

    fn clock(&mut self, id: u32) -> u64 {
        self.step();
        let milliseconds = if id == 0 { self.wall } else { self.monotonic };
        milliseconds * 1_000_000
    }

    fn random(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.random.next() as u8;
        }
    }

    fn read(&mut self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.step();
        let is_generation = key.ends_with(b"/gen");
        if is_generation && self.deciding && self.is(Mutant::Unchecked) {
            return self.generation_seen.clone();
        }
        let found = self.shared.get(VM_ID, key).ok();
        if is_generation {
            self.generation_seen.clone_from(&found);
        }
        found
    }

    fn write(&mut self, key: &[u8], value: &[u8], cas: u32) -> bool {
        let written = self.shared.set(VM_ID, key, value, cas).is_ok();
        // After it: what one VM wrote is there for the others, whatever becomes of the one.
        self.step();
        written
    }
}

/// Maps and buffers of the ABI.
const REQUEST: u32 = 0;
const CALL_RESPONSE: u32 = 6;
const CALL_BODY: u32 = 4;
pub(crate) const VM_ID: &str = "gatepass";
const METRICS: [&str; 4] = [
    "gatepass_shared_state_forged",
    "gatepass_requests_held",
    "gatepass_permits_ended",
    "gatepass_polls_failed",
];
