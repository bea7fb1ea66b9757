//! The answer to a denied request: status, challenge and an RFC 9457 problem.

use gatepass_engine::denial::Denial;
use serde::Serialize;

use crate::host::{self, Failed};

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    decision_id: &'a str,
}

/// Sends the denial to the stream of the effective context.
///
/// # Errors
/// Envoy did not take it: the caller cuts the stream.
pub(crate) fn deny(denial: &Denial, decision_id: &str) -> Result<(), Failed> {
    let code = denial.code();
    let problem_type = format!("urn:gatepass:denied:{code}");
    let problem = Problem {
        r#type: &problem_type,
        title: code.meaning(),
        status: code.status(),
        detail: code.next_step(),
        code: code.as_str(),
        decision_id,
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let challenge = denial.challenge();
    let retry = code.retry_after().map(|seconds| seconds.to_string());
    let mut headers =
        vec![("content-type", "application/problem+json"), ("cache-control", "no-store")];
    headers.extend(challenge.as_deref().map(|value| ("www-authenticate", value)));
    headers.extend(retry.as_deref().map(|value| ("retry-after", value)));
    host::send_local_response(code.status(), &format!("gatepass_denied_{code}"), &headers, &body)
}

/// Sends the answer to a request on which no decision could be taken at all: a host call failed.
pub(crate) fn unavailable() -> Result<(), Failed> {
    let body = br#"{"type":"urn:gatepass:denied:not_ready","title":"The gate could not read the request.","status":503,"code":"not_ready"}"#;
    let headers = [("content-type", "application/problem+json"), ("retry-after", "1")];
    host::send_local_response(503, "gatepass_denied_not_ready", &headers, body)
}
