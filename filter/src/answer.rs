//! The answer to a denied request: status, challenge and an RFC 9457 problem; of a JSON-RPC message, an error of
//! JSON-RPC that says the same.

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
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Said<'a>>,
}

/// What the rule that denies says of itself.
#[derive(Serialize)]
struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn of(denial: &'a Denial) -> Option<Self> {
        let ruling = denial.ruling()?;
        Some(Self { code: ruling.code.as_deref(), message: ruling.message.as_deref() })
    }
}

/// JSON-RPC 2.0 section 5.1.
#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i32,
    message: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    code: &'a str,
    decision_id: &'a str,
    next: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Said<'a>>,
}

/// Sends the denial to the stream of the effective context.
///
/// # Errors
/// Envoy did not take it: the caller cuts the stream.
pub(crate) fn deny(denial: &Denial, decision_id: &str) -> Result<(), Failed> {
    let code = denial.code();
    let challenge = denial.challenge();
    let retry = code.retry_after().map(|seconds| seconds.to_string());
    let mut headers = vec![("cache-control", "no-store")];
    headers.extend(challenge.as_deref().map(|value| ("www-authenticate", value)));
    headers.extend(retry.as_deref().map(|value| ("retry-after", value)));
    let details = format!("gatepass_denied_{code}");
    if let Some(answer) = denial.call_answer() {
        headers.push(("content-type", "application/json"));
        let body = call_error(denial, answer.code, decision_id);
        return host::send_local_response(answer.status, &details, &headers, &body);
    }
    let problem_type = format!("urn:gatepass:denied:{code}");
    let problem = Problem {
        r#type: &problem_type,
        title: code.meaning(),
        status: code.status(),
        detail: code.next_step(),
        code: code.as_str(),
        decision_id,
        policy: Said::of(denial),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    headers.push(("content-type", "application/problem+json"));
    host::send_local_response(code.status(), &details, &headers, &body)
}

fn call_error(denial: &Denial, error: i32, decision_id: &str) -> Vec<u8> {
    let code = denial.code();
    let call = denial.whom().call.as_ref();
    let id = call.and_then(|call| call.id.as_deref()).unwrap_or("null");
    let data = Data {
        code: code.as_str(),
        decision_id,
        next: code.next_step(),
        scopes: denial.missing_scopes(),
        retry_after: code.retry_after(),
        policy: Said::of(denial),
    };
    // The agent's model reads this, and what the rule's author wrote is for it.
    let said = denial.ruling().and_then(|ruling| ruling.message.as_deref());
    let message = match said {
        Some(said) => format!("denied ({code}): {said}"),
        None => format!("denied ({code}): {} {}", code.meaning(), code.next_step()),
    };
    let error = ErrorObject { code: error, message, data };
    let error = serde_json::to_string(&error).unwrap_or_default();
    // The id as it stands in the call, where it was read as a value: no copy could be another one.
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into_bytes()
}

/// Sends the answer to a request on which no decision could be taken at all: a host call failed.
pub(crate) fn unavailable() -> Result<(), Failed> {
    let body = br#"{"type":"urn:gatepass:denied:not_ready","title":"The gate could not read the request.","status":503,"code":"not_ready"}"#;
    let headers = [("content-type", "application/problem+json"), ("retry-after", "1")];
    host::send_local_response(503, "gatepass_denied_not_ready", &headers, body)
}
