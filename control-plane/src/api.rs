//! HTTP around the desk: four routers, one for each listener.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::server::Shared;
use endpoint::text;

mod admin;
mod auth;
mod decisions;
mod endpoint;
mod explain;
mod feed;
mod fleet;
mod oauth;
mod openapi;
mod problem;
mod reads;
mod redeem;
mod status;

pub use openapi::document as openapi;

/// For operators.
pub(crate) fn admin(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/openapi.json", get(async || text("application/json", DOCUMENT.clone())))
        .route("/healthz", get(status::health))
        .route("/readyz", get(status::ready));
    for endpoint in admin::endpoints() {
        router = router.route(endpoint.path, endpoint.handler);
    }
    closed(router).with_state(shared)
}

/// For agents.
pub(crate) fn agents(shared: Arc<Shared>) -> Router {
    closed(oauth::router(&shared)).with_state(shared)
}

/// For Envoys.
pub(crate) fn feed(shared: Arc<Shared>) -> Router {
    closed(feed::router()).with_state(shared)
}

/// For Prometheus and probes.
pub(crate) fn metrics(shared: Arc<Shared>) -> Router {
    let router = Router::new()
        .route("/metrics", get(status::metrics))
        .route("/healthz", get(status::health))
        .route("/readyz", get(status::ready));
    closed(router).with_state(shared)
}

/// What no route is for is answered as a problem, like everything else.
fn closed(router: Router<Arc<Shared>>) -> Router<Arc<Shared>> {
    router
        .fallback(|| async { problem::not_found() })
        .method_not_allowed_fallback(|| async { problem::method_not_allowed() })
}

/// Written once: anybody may ask for it.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());

fn json(value: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, value.to_string()).into_response()
}
