//! HTTP around the feed: a bounded accept loop over hyper, because `axum::serve` has no limit on
//! the time and size of headers, nor on connections.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use gatepass_engine::batch::Feed as Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Feed;
use super::problem::Problem;
use super::query::Query;

/// Accepts until it is aborted; its connections end with it.
pub(super) async fn run(listener: TcpListener, feed: Arc<Feed>) {
    let service = TowerToHyperService::new(router(feed));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of file descriptors, most likely: give others time to close.
                tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                continue;
            }
        };
        // An answer is one small write; waiting to fill a packet would only delay it.
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        connections.spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(MAX_HEADER_BYTES)
                .max_headers(MAX_HEADERS);
            // A connection that breaks is the peer's affair; it will ask again.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

fn router(feed: Arc<Feed>) -> Router {
    let method = || async { Problem::method() };
    Router::new()
        .route("/v1/feed", get(poll).head(method).fallback(method))
        .route("/healthz", get(health).fallback(method))
        .fallback(|| async { Problem::not_found() })
        .with_state(feed)
}

async fn poll(State(feed): State<Arc<Feed>>, uri: Uri) -> Result<Response, Problem> {
    let body = feed.poll(Query::read(&uri)?).await?;
    let headers = [(header::CONTENT_TYPE, Body::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

async fn health(State(feed): State<Arc<Feed>>) -> Response {
    let position = feed.standing.borrow().position;
    let body = format!("{{\"status\":\"ok\",\"position\":\"{position}\"}}\n");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 2048;
/// To send all headers of a request, counted from when it could begin.
const HEADER_TIME: Duration = Duration::from_secs(30);
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);
