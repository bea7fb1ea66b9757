//! Decisions: gates tell them on the feed's listener, operators read them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use gatepass_engine::record::{Batch, CONTENT_TYPE, MAX_BATCH_BYTES, Outcome};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::endpoint::Names;
use super::feed::follower;
use super::json as answer_json;
use super::problem::Problem;
use super::reads::{Answer, value};
use crate::decisions::{Asked, DecisionView, Followed, NotTaken, Taken, Teller, explain};
use crate::desk::Refused;
use crate::desk::tasks::Task;
use crate::listen::Peer;
use crate::metrics::{PostOutcome, RecordKind};
use crate::server::Shared;

/// Takes a batch of a gate, whole or not at all.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let counted = |outcome| {
        shared.metrics.record_posts.get_or_create(&PostOutcome { outcome }).inc();
    };
    let follower = match follower(&shared, &peer, &headers).await {
        Ok(follower) => follower,
        Err(refused) => {
            counted("denied");
            return Err(refused.into());
        }
    };
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != CONTENT_TYPE) {
        counted("refused");
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid",
            format!("send `{CONTENT_TYPE}`"),
        ));
    }
    // Nobody's body is read before it is known whose it is, and of those a few at a time.
    let Ok(_place) = shared.posts.try_acquire() else {
        counted("busy");
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too many batches are on their way; try again in a moment",
        ));
    };
    let too_long = |_| {
        counted("refused");
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_long",
            "the batch is longer than is taken",
        )
    };
    let bytes = axum::body::to_bytes(body, MAX_BATCH_BYTES).await.map_err(too_long)?;
    let refused = |why: NotTaken| {
        counted("refused");
        not_taken(why)
    };
    let batch = Batch::read(&bytes).map_err(|why| refused(why.into()))?;
    if let Err(denied) =
        follower.may_follow(batch.header.reporter.audience, shared.db.book().audience())
    {
        counted("denied");
        return Err(denied.into());
    }
    let teller = Teller { identity: follower.identity, node: follower.node };
    let taken = shared.decisions.take(&teller, &shared.environment, &batch, shared.db.now()).await;
    match taken.map_err(refused)? {
        Taken::New { entries, gaps } => {
            counted("taken");
            let count = |kind, by: usize| {
                let by = u64::try_from(by).unwrap_or(u64::MAX);
                shared.metrics.records.get_or_create(&RecordKind { kind }).inc_by(by);
            };
            count("entry", entries);
            count("gap", gaps);
            if gaps > 0 {
                let reporter = &batch.header.reporter;
                tracing::warn!(
                    node = teller.node,
                    envoy = reporter.envoy,
                    gaps,
                    "records are missing"
                );
            }
        }
        Taken::Known => counted("known"),
    }
    Ok(answer_json(
        &json!({ "next": batch.header.first.saturating_add(batch.header.count.into()) }),
    ))
}

fn not_taken(why: NotTaken) -> Problem {
    match why {
        NotTaken::None(_) | NotTaken::Environment(_) => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid", why.to_string())
        }
        NotTaken::Altered { .. } => {
            tracing::warn!(%why, "a gate tells its decisions otherwise than before");
            Problem::new(StatusCode::CONFLICT, "conflict", why.to_string())
        }
        NotTaken::Db(error) => Refused::Internal(error).into(),
    }
}

pub(super) async fn list(shared: Arc<Shared>, _: Names, mut query: Names) -> Answer {
    let number = |name: &'static str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(Some(number)),
            Ok(_) | Err(_) => Err(Refused::invalid(name, "expected a number")),
        },
    };
    let after = number("after", query.remove("after"))?;
    let before = number("before", query.remove("before"))?;
    let wait = number("wait", query.remove("wait"))?.unwrap_or(0);
    let limit = number("limit", query.remove("limit"))?.unwrap_or(PAGE);
    let outcome =
        match query.remove("outcome") {
            None => None,
            Some(text) => Some(Outcome::parse(&text).ok_or_else(|| {
                Refused::invalid("outcome", "expected allow, deny, shadow or ended")
            })?),
        };
    let asked = Asked {
        agent: query.remove("agent"),
        action: query.remove("action"),
        code: query.remove("code"),
        task: query.remove("task"),
        envoy: query.remove("envoy"),
        outcome,
        since: moment("since", query.remove("since"))?,
        until: moment("until", query.remove("until"))?,
        id: None,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    if let Some(unknown) = query.keys().next() {
        return Err(Refused::invalid("query", format!("no parameter `{unknown}`")));
    }
    let page = match (after, before) {
        (Some(_), Some(_)) => {
            return Err(Refused::invalid("before", "ask for `after` or `before`, not for both"));
        }
        (Some(after), None) => {
            let wait = u64::try_from(wait).unwrap_or(0).min(LONGEST_WAIT);
            let end = tokio::time::Instant::now() + Duration::from_secs(wait);
            let mut stop = shared.stop.clone();
            let stopped = async {
                let _ = stop.wait_for(|stop| *stop).await;
            };
            tokio::select! {
                page = shared.decisions.follow(&asked, after, end) => page?,
                () = stopped => shared.decisions.find(&asked, Followed::On(after)).await?,
            }
        }
        (None, before) => shared.decisions.find(&asked, Followed::Back(before)).await?,
    };
    value(&page)
}

/// RFC 3339, or Unix seconds; as Unix milliseconds.
fn moment(name: &'static str, text: Option<String>) -> Result<Option<i64>, Refused> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(Some(seconds.saturating_mul(1_000)));
    }
    let stamp = text.parse::<jiff::Timestamp>();
    let wrong = |_| {
        Refused::invalid(name, "expected RFC 3339, such as 2026-11-22T10:00:00Z, or Unix seconds")
    };
    Ok(Some(stamp.map_err(wrong)?.as_millisecond()))
}

pub(super) async fn one(shared: Arc<Shared>, names: Names, _: Names) -> Answer {
    let id = names.get("id").map(String::as_str).unwrap_or_default();
    let wrong = |_| Refused::invalid("id", "expected a decision's id, a UUID");
    let id = uuid::Uuid::parse_str(id).map_err(wrong)?;
    let asked = Asked { id: Some(id), limit: MOST_OF_ONE, ..Asked::default() };
    let found = shared.decisions.find(&asked, Followed::On(0)).await?;
    let nothing = || Refused::not_found("record of the decision", &id.to_string());
    value(&explain(found.decisions).ok_or_else(nothing)?)
}

/// A task, and what was decided under it.
#[derive(Serialize, ToSchema)]
pub(super) struct Chain {
    /// None where the control plane has forgotten it, or never opened it.
    task: Option<Task>,
    /// The oldest first.
    decisions: Vec<DecisionView>,
    /// To read on: `after`. None at the end.
    more: Option<i64>,
}

pub(super) async fn task(shared: Arc<Shared>, names: Names, mut query: Names) -> Answer {
    let id = names.get("task").cloned().unwrap_or_default();
    let after = query.remove("after").map_or(Ok(0), |text| text.parse::<i64>());
    let after = after.map_err(|_| Refused::invalid("after", "expected a number"))?;
    let mut connection = shared.db.readers().acquire().await?;
    let task = match Task::find(&mut connection, &id).await {
        Ok(task) => Some(task),
        Err(Refused::NotFound { .. }) => None,
        Err(other) => return Err(other),
    };
    drop(connection);
    let limit = crate::decisions::MAX_PAGE;
    let asked = Asked { task: Some(id.clone()), limit, ..Asked::default() };
    let page = shared.decisions.find(&asked, Followed::On(after)).await?;
    if task.is_none() && page.decisions.is_empty() {
        return Err(Refused::not_found("task", &id));
    }
    let is_cut = page.decisions.len() >= limit as usize;
    let more = page.decisions.last().map(|last| last.n).filter(|_| is_cut);
    value(&Chain { task, decisions: page.decisions, more })
}

pub(super) async fn standing(shared: Arc<Shared>, _: Names, query: Names) -> Answer {
    let verify = query.get("verify").is_some_and(|text| text == "true");
    value(&shared.decisions.standing(verify).await?)
}

/// Decisions of one answer, unless asked for otherwise.
const PAGE: i64 = 100;
/// Seconds.
const LONGEST_WAIT: u64 = 20;
/// A decision has two records at most; a gate that lies may tell more.
const MOST_OF_ONE: u32 = 16;
