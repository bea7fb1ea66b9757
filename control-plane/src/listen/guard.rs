//! What stands between a connection and the router: the bounds of one request.

use core::convert::Infallible;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use super::Peer;
use super::body::{Bounded, Fault};
use super::limits::Limits;

/// The router with its bounds; one for all connections.
pub(super) struct Guard {
    router: TowerToHyperService<Router>,
    requests: Semaphore,
    pub(super) limits: Limits,
}

impl Guard {
    pub(super) fn new(router: Router, limits: Limits) -> Self {
        let requests = Semaphore::new(limits.requests);
        Self { router: TowerToHyperService::new(router), requests, limits }
    }

    /// Answers one request. The error type is what hyper asks for; there are none.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Result<Response<Body>, Infallible> {
        let version = request.version();
        let refused = |refusal: Refusal| Ok(refusal.into_response(version));
        let Ok(_place) = self.requests.try_acquire() else {
            return refused(Refusal::Busy);
        };
        // HTTP/1.1's parser counts them itself, HTTP/2's does not.
        if request.headers().len() > self.limits.headers {
            return refused(Refusal::Headers);
        }
        // Said in advance: not a byte of it is read.
        if request.body().size_hint().lower() > self.limits.body_bytes as u64 {
            return refused(Refusal::TooLong);
        }
        let fault = Arc::new(OnceLock::new());
        let limits = &self.limits;
        let mut request = request.map(|body| {
            let fault = Arc::clone(&fault);
            Body::new(Bounded::new(body, limits.body_bytes, limits.body_time, fault))
        });
        request.extensions_mut().insert(peer);
        let time = match limits.request_time {
            Some(time) if !limits.untimed_paths.contains(&request.uri().path()) => Some(time),
            _ => None,
        };
        let called = self.router.call(request);
        let response = match time {
            Some(time) => match tokio::time::timeout(time, called).await {
                Ok(response) => response?,
                Err(_) => return refused(Refusal::OurTime),
            },
            None => called.await?,
        };
        // A handler that could not read the body says something; only we know what it was. One
        // that did its work without the rest of the body has its say.
        let failed = response.status().is_client_error() || response.status().is_server_error();
        match fault.get() {
            Some(Fault::TooLong) if failed => refused(Refusal::TooLong),
            Some(Fault::Overdue) if failed => refused(Refusal::Overdue),
            _ => Ok(response),
        }
    }
}

/// Requests of one connection in progress; the connection is idle at 0.
pub(super) struct InProgress<'a>(&'a tokio::sync::watch::Sender<usize>);

impl<'a> InProgress<'a> {
    pub(super) fn begin(count: &'a tokio::sync::watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count = count.saturating_add(1));
        Self(count)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Why a request does not reach a handler, or its answer is not the handler's.
#[derive(Clone, Copy)]
enum Refusal {
    Busy,
    Headers,
    TooLong,
    Overdue,
    OurTime,
}

impl Refusal {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many requests are in progress; try again in a moment",
            ),
            Self::Headers => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too_many_headers",
                "the request has more headers than are taken",
            ),
            Self::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "body_too_long", "the body is longer than is taken")
            }
            Self::Overdue => {
                (StatusCode::REQUEST_TIMEOUT, "body_overdue", "the body did not come in time")
            }
            Self::OurTime => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overdue",
                "the answer was not ready in time; look whether it was done before asking again",
            ),
        }
    }

    /// RFC 9457.
    fn into_response(self, version: Version) -> Response<Body> {
        let (status, code, detail) = self.parts();
        let title = status.canonical_reason().unwrap_or_default();
        let json = serde_json::json!({
            "type": format!("urn:gatepass:listen:{code}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
        });
        let mut response = Response::new(Body::from(format!("{json}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Busy | Self::OurTime => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What is left of the body would be read as the next request's time. HTTP/2 has no
            // such header and ends the stream instead.
            Self::TooLong | Self::Overdue if version < Version::HTTP_2 => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::TooLong | Self::Overdue | Self::Headers => {}
        }
        response
    }
}
