//! What is done at a request.

use std::hint::black_box;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, BufferType, MapType, MetricType};

#[derive(Clone)]
pub(crate) enum Part {
    Nothing,
    /// Of the decision, by code and by action.
    TwoCounters([u32; 2]),
    RequestHeaders,
    FiveHeaders,
    RemoveAuthorization,
    LogText,
    ResponseHeaders,
    /// The headers wait until the whole body is there.
    BufferNoCopy,
    /// And then it is taken into the VM.
    Buffer,
}

impl Part {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"nothing" => Self::Nothing,
            b"two_counters" => {
                let define = |name| hostcalls::define_metric(MetricType::Counter, name).ok();
                Self::TwoCounters([define("bench.by_code")?, define("bench.by_action")?])
            }
            b"request_headers" => Self::RequestHeaders,
            b"five_headers" => Self::FiveHeaders,
            b"remove_authorization" => Self::RemoveAuthorization,
            b"log_text" => Self::LogText,
            b"response_headers" => Self::ResponseHeaders,
            b"buffer_no_copy" => Self::BufferNoCopy,
            b"buffer" => Self::Buffer,
            _ => return None,
        })
    }

    /// What fails here is seen in the answers and the counters, which the benchmark looks at.
    pub(crate) fn at_request(&self) {
        match self {
            Self::Nothing | Self::ResponseHeaders | Self::BufferNoCopy | Self::Buffer => {}
            Self::TwoCounters(ids) => {
                for id in ids {
                    let _ = hostcalls::increment_metric(*id, 1);
                }
            }
            Self::RequestHeaders => {
                let _ = hostcalls::get_map_bytes(MapType::HttpRequestHeaders);
            }
            Self::FiveHeaders => {
                for (name, value) in FIVE {
                    let _ =
                        hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value));
                }
            }
            Self::RemoveAuthorization => {
                let _ =
                    hostcalls::set_map_value(MapType::HttpRequestHeaders, "authorization", None);
            }
            Self::LogText => {
                let _ = hostcalls::set_property(vec!["gatepass"], Some(TEXT.as_bytes()));
            }
        }
    }

    /// What becomes of a request whose headers alone have come.
    pub(crate) fn after_headers(&self, ends: bool) -> Action {
        if self.reads_bodies() && !ends { Action::Pause } else { Action::Continue }
    }

    /// A body that is not there in full is not let on, so that the benchmark sees it.
    pub(crate) fn at_body(&self, size: usize, ends: bool) -> Action {
        if !self.reads_bodies() {
            return Action::Continue;
        }
        if !ends {
            return Action::Pause;
        }
        if matches!(self, Self::Buffer) {
            let body = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size);
            let whole =
                body.is_ok_and(|body| black_box(body).is_some_and(|body| body.len() == size));
            return if whole { Action::Continue } else { Action::Pause };
        }
        Action::Continue
    }

    const fn reads_bodies(&self) -> bool {
        matches!(self, Self::BufferNoCopy | Self::Buffer)
    }

    pub(crate) fn at_response(&self) {
        if matches!(self, Self::ResponseHeaders) {
            let _ = hostcalls::get_map_bytes(MapType::HttpResponseHeaders);
        }
    }
}

/// As long as the gate's.
const FIVE: [(&str, &str); 5] = [
    ("x-gatepass-agent", "agent:018f3a7e-5b1c-7d20-9a53-6f1f6a0c2b11"),
    ("x-gatepass-owner", "user:corp/alice"),
    ("x-gatepass-task", "task:018f3a7e-5b1c-7d20-9a53-6f1f6a0c2b12"),
    ("x-gatepass-action", "orders:read"),
    ("x-gatepass-decision-id", "018f3a7e-5b1c-7d20-9a53-6f1f6a0c2b13"),
];
const TEXT: &str = r#"{"outcome":"allow","code":"allowed","action":"orders:read","agent":"agent:018f3a7e-5b1c-7d20-9a53-6f1f6a0c2b11","decision":"018f3a7e-5b1c-7d20-9a53-6f1f6a0c2b13","position":"3/118"}"#;
