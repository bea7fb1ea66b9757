//! HTTP calls that a guest has made and that wait for the test's answer.

use std::time::Duration;

use super::headers::Headers;

/// One `proxy_http_call`. The test answers it by its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    pub token: u32,
    pub cluster: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Headers,
    pub timeout: Duration,
    /// The root context that made it, and that gets the answer.
    pub(super) root: u32,
}

impl HttpCall {
    /// The `:path` of the call as text.
    pub fn path(&self) -> &str {
        self.headers.text(":path").unwrap_or_default()
    }
}

/// What the guest may read while `proxy_on_http_call_response` runs.
#[derive(Debug)]
pub(super) struct CallResponse {
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}
