//! Probes and metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json as value;

use super::endpoint::text;
use super::problem::Problem;
use super::{fleet, json};
use crate::roots::unverified_document;
use crate::server::Shared;

/// It runs.
pub(super) async fn health() -> Response {
    json(&value!({ "status": "ok" }))
}

/// It can do its work: the database takes a change, and a root document is in force.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let unready =
        |why: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why.to_owned());
    let written: Result<(), crate::db::DbError> = shared
        .db
        .write(async |tx| {
            sqlx::query("SELECT 1").execute(tx.sql()).await?;
            Ok(())
        })
        .await;
    written.map_err(|_| unready("the database takes no change"))?;
    match root_expires(&shared) {
        None => Err(unready("no root document is in force: sign one and put it in `roots/`")),
        Some(expires) if expires <= shared.db.now().0 => {
            Err(unready("the root document has expired: sign its successor"))
        }
        Some(_) => Ok(json(
            &value!({ "status": "ok", "position": shared.db.book().position().to_string() }),
        )),
    }
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let internal =
        |why: &str| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why.to_owned());
    let position = shared.db.book().position();
    let metrics = &shared.metrics;
    metrics.epoch.set(position.epoch);
    metrics.sequence.set(position.sequence);
    metrics.root_expires.set(root_expires(&shared).unwrap_or(0));
    let closed: Result<(Option<String>,), _> =
        sqlx::query_as("SELECT issuance_closed FROM environment")
            .fetch_one(shared.db.readers())
            .await;
    let (closed,) = closed.map_err(|_| internal("the database does not answer"))?;
    metrics.issuance_open.set(u64::from(closed.is_none()));
    fleet::gauge(&shared).await.map_err(|_| internal("the database does not answer"))?;
    let body = metrics.encode().map_err(|_| internal("the metrics do not encode"))?;
    Ok(text("application/openmetrics-text; version=1.0.0; charset=utf-8", body))
}

fn root_expires(shared: &Shared) -> Option<u64> {
    let roots = shared.db.book().roots();
    unverified_document(roots.last()?).ok().map(|document| document.expires.0)
}
