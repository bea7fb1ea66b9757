//! What Envoys fetch: the feed (02-wire-formats, "The feed") and the filter itself.
//!
//! A poll is answered at once when there is news, else at the end of the wait with a checkpoint.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use gatepass_engine::batch::Feed as Body;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{auth, redeem, status};
use crate::audit::Entry;
use crate::config::Followers;
use crate::db::{DbError, Told, is_reset};
use crate::desk::Refused;
use crate::desk::apply::environment::{OLD_COPY, close_issuance};
use crate::desk::operators::{self, Joins};
use crate::feed::{Query, QueryError};
use crate::fleet::{Name, Report, plain};
use crate::listen::Peer;
use crate::metrics::PollOutcome;
use crate::server::Shared;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/feed", get(poll))
        .route("/v1/redeem", post(redeem::answer))
        .route("/v1/decisions", post(super::decisions::post))
        .route("/filter/gatepass.wasm", get(filter))
        .route("/filter/gatepass.wasm.sha256", get(digest))
        .route("/healthz", get(status::health))
}

async fn poll(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let counted = |outcome| {
        shared.metrics.polls.get_or_create(&PollOutcome { outcome }).inc();
    };
    let follower = match follower(&shared, &peer, &headers).await {
        Ok(follower) => follower,
        Err(refused) => {
            counted("denied");
            return Err(refused.into());
        }
    };
    let query = Query::read(&uri)?;
    if let Err(refused) = follower.may_follow(&query.audience, shared.db.book().audience()) {
        counted("denied");
        return Err(refused.into());
    }
    let mut report = follower.report(&query.audience, &peer, &headers, shared.db.now());
    let Some(standing) = shared.db.book().standing_of(&query.audience) else {
        return Err(no_audience());
    };
    let Ok(_place) = shared.polls.try_acquire() else {
        counted("busy");
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too many polls are held; try again in a moment",
        ));
    };
    let mut granted = query.wait.min(standing.longest_wait);
    if report.lags(query.after) {
        granted = granted.min(report.soon());
    }
    // Rounded up: an Envoy is not lost before it could have spoken.
    report.answered_by = report.seen_at.plus(granted.as_secs().saturating_add(1));
    let after = query.after.map(|after| after.to_string()).unwrap_or_default();
    let (vm, granted_ms) = (plain(headers.get("x-gatepass-vm")), granted.as_millis());
    tracing::debug!(vm, after, granted_ms, "polled");
    shared.db.fleet().report(report);
    let answered = wait(&shared, &query, granted).await;
    let (body, is_news) = answered.inspect_err(|_| counted("refused"))?;
    tracing::debug!(vm, after, is_news, bytes = body.len(), "told");
    counted(if is_news { "news" } else { "checkpoint" });
    let headers = [(header::CONTENT_TYPE, Body::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// The answer, and whether it is more than a checkpoint.
async fn wait(
    shared: &Arc<Shared>,
    query: &Query,
    granted: Duration,
) -> Result<(Bytes, bool), Problem> {
    let mut standing = shared.db.book().standing();
    let mut stop = shared.stop.clone();
    let end = tokio::time::Instant::now() + granted;
    loop {
        // Before looking: what comes between looking and waiting must wake us.
        standing.mark_unchanged();
        if let Some(body) = look(shared, query, false).await? {
            return Ok((body, true));
        }
        tokio::select! {
            changed = tokio::time::timeout_at(end, standing.changed()) => {
                if changed.is_err() {
                    break;
                }
            }
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    let body = look(shared, query, true).await?;
    let nothing = || DbError::Corrupt("there was nothing to answer".to_owned());
    Ok((body.ok_or_else(|| Problem::from(Refused::from(nothing())))?, false))
}

async fn look(
    shared: &Arc<Shared>,
    query: &Query,
    is_over: bool,
) -> Result<Option<Bytes>, Problem> {
    let book = shared.db.book();
    let after = query.after;
    let mut now = shared.db.now();
    let mut dating = Dating::default();
    loop {
        let told = book.tell(&query.audience, after, is_over, now).map_err(Refused::from)?;
        match told {
            Told::Nothing => return Ok(None),
            Told::NoAudience => return Err(no_audience()),
            Told::Ahead => return Err(old_copy(shared, after).await),
            Told::SignAt(at) => {
                // On a full disk, say: a revocation that was answered is told all the same, and
                // proves no more freshness than was on the disk before.
                if let Err(error) = dating.put(shared, at).await {
                    if after == Some(book.position()) {
                        return Err(Refused::from(error).into());
                    }
                    now = book.time_on_disk();
                }
            }
            Told::Unread => {
                return Err(Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "busy",
                    "followers do not read what they were told; try again in a moment",
                ));
            }
            Told::Answer(body) => return Ok(Some(Bytes::from_owner(body))),
        }
    }
}

/// Puts a time on the disk, so that it may be signed: once for all who want it at once.
#[derive(Default)]
pub(super) struct Dating {
    waited: bool,
}

impl Dating {
    /// Done, or left to somebody else who was doing it: then look whether it was.
    pub(super) async fn put(
        &mut self,
        shared: &Arc<Shared>,
        at: UnixSeconds,
    ) -> Result<(), DbError> {
        let book = shared.db.book();
        // Who has waited for another does it itself, should that one have failed.
        let signing = if self.waited { None } else { book.sign_alone().await };
        if signing.is_none() && !core::mem::replace(&mut self.waited, true) {
            return Ok(());
        }
        tracing::debug!(at = at.0, "a time goes to the disk before it is told");
        // The signer's time never falls, so it is on the disk before anybody sees it.
        shared.db.write(async move |tx| tx.signed_at(at).await).await?;
        book.marked(at);
        Ok(())
    }
}

/// A follower that is ahead has seen what this database has not: it is an old copy, and whatever it
/// issued could be dead. It stops, until a restore has raised the epoch.
async fn old_copy(shared: &Arc<Shared>, after: Option<Position>) -> Problem {
    let here = shared.db.book().position();
    let ahead = after.map(|after| after.to_string()).unwrap_or_default();
    let reason = format!("{OLD_COPY}: at {ahead}, the database is at {here}");
    tracing::error!(follower = %ahead, database = %here, "the database is an old copy: issuance is closed");
    let closed: Result<(), Refused> = shared
        .db
        .write(async move |tx| {
            if is_reset(tx.roots()) {
                // Adopted since: the next poll is told where to go back to.
                return Ok(());
            }
            let (known,): (Option<String>,) =
                sqlx::query_as("SELECT issuance_closed FROM environment")
                    .fetch_one(tx.sql())
                    .await?;
            if known.is_some_and(|known| known.starts_with(OLD_COPY)) {
                return Ok(());
            }
            sqlx::query("UPDATE environment SET issuance_closed = NULL").execute(tx.sql()).await?;
            close_issuance(tx, &reason).await?;
            tx.audit(Entry {
                actor: "gatepass",
                action: "environment.old_copy",
                target: "environment",
                before: Value::Null,
                after: json!({ "issuance_closed": reason }),
                reason: "a follower reported a position that was never published here",
            })
            .await?;
            Ok(())
        })
        .await;
    if let Err(error) = closed {
        tracing::error!(%error, "issuance could not be closed");
    }
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "old_copy",
        format!(
            "the follower is at {ahead}, ahead of this database at {here}, which must be an old copy: run `gatepass restore`"
        ),
    )
}

/// Also to whom waits while a cohort is removed: its gates have nothing to go by and turn stale.
fn no_audience() -> Problem {
    QueryError::new("audience", "no feed has this audience").into()
}

/// Who polls.
pub(super) struct Follower {
    /// How that is known.
    pub(super) identity: &'static str,
    pub(super) node: String,
    /// Of a join token: what it is good for.
    joins: Option<Joins>,
}

pub(super) async fn follower(
    shared: &Arc<Shared>,
    peer: &Peer,
    headers: &HeaderMap,
) -> Result<Follower, Refused> {
    let (identity, node, joins) = match (&peer.identity, shared.config.feed.followers) {
        (Some(identity), _) => ("certificate", identity.name().as_str().to_owned(), None),
        (None, Followers::Anyone) => ("none", String::new(), None),
        (None, Followers::Certificate) => {
            return Err(Refused::Unauthenticated(
                "followers of this feed show a client certificate".to_owned(),
            ));
        }
        (None, Followers::JoinToken) => {
            let Some(secret) = auth::bearer(headers) else {
                return Err(Refused::Unauthenticated(
                    "send the fleet's join token: set GATEPASS_JOIN_TOKEN where Envoy runs"
                        .to_owned(),
                ));
            };
            let mut connection = shared.db.readers().acquire().await?;
            let joins = operators::fleet(&mut connection, secret, shared.db.now()).await?;
            ("join_token", joins.fleet.clone(), Some(joins))
        }
    };
    Ok(Follower { identity, node, joins })
}

impl Follower {
    /// A join token is good for one audience: what gates of a cohort report is evidence for its
    /// policy, and comes from those whom an operator let into it.
    pub(super) fn may_follow(&self, audience: &str, of_all: &str) -> Result<(), Refused> {
        let Some(joins) = &self.joins else {
            return Ok(());
        };
        let good_for = joins.cohort.as_deref().unwrap_or(of_all);
        match good_for == audience {
            true => Ok(()),
            false => Err(Refused::Forbidden(format!(
                "the join token is good for the feed audience `{good_for}`: add another with `gatepass join-token add`"
            ))),
        }
    }

    fn report(self, audience: &str, peer: &Peer, headers: &HeaderMap, now: UnixSeconds) -> Report {
        let who = Name {
            node: self.node,
            envoy: plain(headers.get("x-gatepass-node")),
            audience: audience.to_owned(),
        };
        Report::read(who, self.identity, peer.address.ip(), headers, now)
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Refused::invalid(error.parameter, error.why).into()
    }
}

/// The filter is no secret: an Envoy pins its digest.
async fn filter(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(filter) = &shared.filter else {
        return Err(no_filter());
    };
    let tag = format!("\"{}\"", filter.sha256);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == tag.as_str());
    let answer_headers =
        [(header::ETAG, tag), (header::CONTENT_TYPE, "application/wasm".to_owned())];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, answer_headers).into_response());
    }
    Ok((answer_headers, filter.wasm.clone()).into_response())
}

async fn digest(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let filter = shared.filter.as_ref().ok_or_else(no_filter)?;
    let headers = [(header::CONTENT_TYPE, "text/plain")];
    Ok((headers, format!("{}  gatepass.wasm\n", filter.sha256)).into_response())
}

fn no_filter() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "this control plane has no filter to hand out: set `filter` in gatepass.toml",
    )
}
