//! RFC 9457 problems of the feed. They say whose fault it is and what to do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gatepass_engine::position::Position;
use serde::Serialize;

/// One problem; the body is `application/problem+json`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    parameter: Option<&'static str>,
}

#[derive(Serialize)]
struct Json<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
}

impl Problem {
    /// The caller's: a query parameter.
    pub(super) fn parameter(name: &'static str, what: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "bad_parameter",
            detail: format!("`{name}`: {what}"),
            parameter: Some(name),
        }
    }

    /// Ours: this database is older than what a follower has.
    pub(super) fn old_copy(here: Position) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "old_copy",
            detail: format!(
                "`after` is ahead of this control plane, which is at {here}: its database is an old copy and must be restored under a new epoch"
            ),
            parameter: None,
        }
    }

    pub(super) fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "busy",
            detail: "too many polls are held; try again in a moment".to_owned(),
            parameter: None,
        }
    }

    pub(super) fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            detail: "the feed is at `GET /v1/feed`".to_owned(),
            parameter: None,
        }
    }

    pub(super) fn method() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "method_not_allowed",
            detail: "only `GET` is served here".to_owned(),
            parameter: None,
        }
    }

    /// Ours: the caller learns no more than that, the log says why.
    pub(super) fn internal(why: &str) -> Self {
        eprintln!("error: {why}");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            detail: "the control plane could not answer; its log says why".to_owned(),
            parameter: None,
        }
    }
}

impl From<super::query::QueryError> for Problem {
    fn from(error: super::query::QueryError) -> Self {
        Self::parameter(error.parameter, error.why)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let json = Json {
            r#type: format!("urn:gatepass:feed:{}", self.code),
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            parameter: self.parameter,
        };
        let body = serde_json::to_vec(&json).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}
