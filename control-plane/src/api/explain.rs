//! `POST /v1/explain`: what a gate would decide on a request and a gatepass, check by check.
//!
//! It changes nothing and spends nothing, and so leaves no audit record. What it may leave is what a poll does: a
//! snapshot or checkpoint that is signed, and its time on the disk. The gatepass goes into no log and no file.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use gatepass_engine::clock::UnixSeconds;
use tokio::sync::OwnedSemaphorePermit;

use super::endpoint::{Endpoint, JSON, question, referred, schema};
use super::feed::Dating;
use super::problem::Problem;
use super::reads::value;
use super::{auth, json};
use crate::db::{self, DbError, Whole};
use crate::desk::Refused;
use crate::desk::operators::Need;
use crate::explain::{Asked, Confirms, Explanation, Sent, Wrong, gate};
use crate::roots::PinnedRoots;
use crate::server::Shared;

pub(super) fn endpoint() -> Endpoint {
    let handler = async |State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes| {
        answer(&shared, &headers, &body).await
    };
    let mut all = referred::<Asked>();
    all.extend(referred::<Explanation>());
    Endpoint {
        method: "post",
        path: "/v1/explain",
        summary: "What a gate would decide on a request and a gatepass, each check in its order; changes nothing and spends nothing",
        need: Need::Read,
        query: &[],
        request: Some(schema::<Asked>()),
        answer: schema::<Explanation>(),
        kind: JSON,
        referred: all,
        has_reason: false,
        may_wait: false,
        handler: post(handler),
    }
}

async fn answer(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    // Before the body is looked at: whoever may not ask learns nothing from what they sent.
    auth::operator(shared, headers, Need::Read).await?;
    let mut asked: Asked = question(headers, body)?;
    let of_all = || shared.db.book().audience().to_owned();
    let audience = asked.audience.take().unwrap_or_else(of_all);
    let sent = asked.sent().map_err(Refused::from)?;
    let (place, state, now) = state(shared, place(shared).await?, &audience).await?;
    let environment = shared.environment.clone();
    let explained = move || explained(&sent, &environment, &audience, &state, now);
    let (_place, explanation) = aside(place, explained).await?;
    let mut explanation = explanation?;
    explanation.spent = spent(shared, &explanation).await?;
    Ok(json(&value(&explanation)?))
}

/// Whether the use that would be asked for is spent already: the gate does not know that, we do.
async fn spent(shared: &Arc<Shared>, of: &Explanation) -> Result<Option<bool>, Refused> {
    let Some(jti) = of.gatepass.as_deref().filter(|_| of.confirms.contains(&Confirms::Use)) else {
        return Ok(None);
    };
    let found: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM uses WHERE jti = ?")
        .bind(jti)
        .fetch_optional(shared.db.readers())
        .await?;
    Ok(Some(found.is_some()))
}

/// A turn: it is held until the gate is gone, also where nobody waits for the answer any more.
async fn place(shared: &Arc<Shared>) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = Arc::clone(&shared.explaining).acquire_owned();
    match tokio::time::timeout(LONGEST_WAIT, turn).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "other decisions are being explained; try again in a moment",
        )),
    }
}

/// What a gate of this audience is told now, and when that is.
async fn state(
    shared: &Arc<Shared>,
    mut place: OwnedSemaphorePermit,
    audience: &str,
) -> Result<(OwnedSemaphorePermit, db::State, UnixSeconds), Problem> {
    let now = shared.db.now();
    let mut signed_at = now;
    let mut dating = Dating::default();
    loop {
        let (book, of) = (Arc::clone(shared), audience.to_owned());
        // A snapshot that is not known yet is signed, and it can be large.
        let (back, whole) = aside(place, move || book.db.book().state(&of, signed_at)).await?;
        place = back;
        match whole.map_err(Refused::from)? {
            Whole::State(state) => return Ok((place, state, now)),
            Whole::NoAudience => {
                return Err(Refused::invalid("audience", "no cohort has this name").into());
            }
            Whole::SignAt(at) => {
                if dating.put(shared, at).await.is_err() {
                    // On a full disk, say: then the state is as old as it is to all gates.
                    signed_at = shared.db.book().time_on_disk();
                }
            }
        }
    }
}

fn explained(
    sent: &Sent,
    environment: &str,
    audience: &str,
    state: &db::State,
    now: UnixSeconds,
) -> Result<Explanation, Refused> {
    let not_taken = |why: String| {
        Refused::Conflict(format!(
            "a gate that starts now takes nothing of the state in force: {why}"
        ))
    };
    let first =
        state.roots.first().ok_or_else(|| not_taken("it has no root document".to_owned()))?;
    let pinned = PinnedRoots::of_first(first).and_then(|roots| roots.pinned(environment));
    let pinned = pinned.map_err(|error| not_taken(error.to_string()))?;
    let gate = gate(environment, audience, pinned, &state.roots, &state.batches, now);
    Ok(sent.explained(gate.map_err(|refusal| not_taken(refusal.to_string()))?, now))
}

/// Off the threads that answer others.
async fn aside<T: Send + 'static>(
    place: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(OwnedSemaphorePermit, T), Problem> {
    let done = tokio::task::spawn_blocking(move || (place, work())).await;
    // Its own words stay out: they could be of what was asked.
    let ended = |_| DbError::Corrupt("what explains a decision ended before it had".to_owned());
    Ok(done.map_err(ended).map_err(Refused::from)?)
}

impl From<Wrong> for Refused {
    fn from(wrong: Wrong) -> Self {
        Self::invalid(wrong.member, wrong.why)
    }
}

/// For those before; below what an answer may take.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
