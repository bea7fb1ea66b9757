//! Answers to the questions of operators. Each reads what is committed.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::FromRow;
use utoipa::ToSchema;

use super::endpoint::Names;
use crate::audit::{self, Anchor, AuditError, Verdict};
use crate::db::signed;
use crate::desk::agents::{self, Agent, AgentKey, Search};
use crate::desk::tasks::{self, Task};
use crate::desk::{Refused, budgets, cohorts as known, policies, proposals as waiting};
use crate::server::Shared;

pub(super) type Answer = Result<Value, Refused>;

pub(super) async fn agents(shared: Arc<Shared>, _: Names, mut query: Names) -> Answer {
    let search = Search {
        state: query.remove("state"),
        owner: query.remove("owner"),
        blueprint: query.remove("blueprint"),
        project: query.remove("project"),
        text: query.remove("text"),
        after: query.remove("after"),
    };
    if let Some(unknown) = query.keys().next() {
        return Err(Refused::invalid("query", format!("no parameter `{unknown}`")));
    }
    let mut connection = shared.db.readers().acquire().await?;
    value(&agents::search(&mut connection, &search, PAGE).await?)
}

/// An agent on one screen.
#[derive(Serialize, ToSchema)]
pub(super) struct Dossier {
    agent: Agent,
    owner: Option<Person>,
    keys: Vec<AgentKey>,
    open_tasks: Vec<Task>,
    /// Gatepasses that have not expired and were not revoked one by one.
    live_gatepasses: i64,
    /// What was done to it, newest first.
    #[schema(value_type = Vec<Object>)]
    history: Vec<Value>,
}

pub(super) async fn agent(shared: Arc<Shared>, names: Names, _: Names) -> Answer {
    let id = names.get("agent").cloned().unwrap_or_default();
    let now = signed(shared.db.now().0);
    let mut connection = shared.db.readers().acquire().await?;
    let agent = Agent::find(&mut connection, &id).await?;
    let owner = sqlx::query_as("SELECT id, name, contact, state FROM people WHERE id = ?")
        .bind(&agent.owner)
        .fetch_optional(&mut *connection)
        .await?;
    let (live_gatepasses,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM gatepasses g JOIN tasks t ON t.id = g.task
         WHERE g.agent = ? AND g.expires_at > ? AND g.revoked_at IS NULL AND t.state = 'open'",
    )
    .bind(&id)
    .bind(now)
    .fetch_one(&mut *connection)
    .await?;
    let history: Vec<(String,)> =
        sqlx::query_as("SELECT body FROM audit WHERE target = ? ORDER BY n DESC LIMIT 50")
            .bind(&id)
            .fetch_all(&mut *connection)
            .await?;
    let history = history.iter().filter_map(|(body,)| serde_json::from_str(body).ok());
    value(&Dossier {
        owner,
        keys: agents::keys(&mut connection, &id).await?,
        open_tasks: tasks::open_of(&mut connection, &id).await?,
        live_gatepasses,
        history: history.collect(),
        agent,
    })
}

#[derive(Serialize, FromRow, ToSchema)]
pub(super) struct Person {
    id: String,
    name: String,
    contact: String,
    state: String,
}

pub(super) async fn people(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    let all: Vec<Person> =
        sqlx::query_as("SELECT id, name, contact, state FROM people ORDER BY id LIMIT 1000")
            .fetch_all(shared.db.readers())
            .await?;
    value(&all)
}

#[derive(Serialize, FromRow, ToSchema)]
pub(super) struct Blueprint {
    id: String,
    purpose: String,
    owners: String,
    /// JSON.
    ceiling: String,
    state: String,
}

pub(super) async fn blueprints(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    let all: Vec<Blueprint> = sqlx::query_as(
        "SELECT id, purpose, owners, ceiling, state FROM blueprints ORDER BY id LIMIT 1000",
    )
    .fetch_all(shared.db.readers())
    .await?;
    value(&all)
}

pub(super) async fn budgets(shared: Arc<Shared>, _: Names, mut query: Names) -> Answer {
    let holder = query.remove("holder");
    if let Some(unknown) = query.keys().next() {
        return Err(Refused::invalid("query", format!("no parameter `{unknown}`")));
    }
    let mut connection = shared.db.readers().acquire().await?;
    let now = shared.db.now();
    value(&budgets::balances(&mut connection, holder.as_deref(), now).await?)
}

pub(super) async fn policies(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    let mut connection = shared.db.readers().acquire().await?;
    value(&policies::list(&mut connection).await?)
}

#[derive(Serialize, ToSchema)]
pub(super) struct PolicyContent {
    version: u64,
    content: String,
    in_force: bool,
}

pub(super) async fn policy(shared: Arc<Shared>, names: Names, _: Names) -> Answer {
    let mut connection = shared.db.readers().acquire().await?;
    let in_force = policies::in_force(&mut connection).await?;
    let version = match names.get("version").map(String::as_str) {
        Some("current") => in_force,
        Some(text) => text.parse().map_err(|_| Refused::invalid("version", "expected a number"))?,
        None => 0,
    };
    let content = policies::content(&mut connection, version).await?;
    value(&PolicyContent { version, content, in_force: version == in_force })
}

pub(super) async fn cohorts(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    let mut connection = shared.db.readers().acquire().await?;
    let (book, fleet) = (shared.db.book(), shared.db.fleet());
    let (audience, here) = (book.audience(), book.position());
    value(&known::views(&mut connection, audience, here, fleet, shared.db.now()).await?)
}

pub(super) async fn proposals(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    let mut connection = shared.db.readers().acquire().await?;
    value(&waiting::list(&mut connection).await?)
}

#[derive(Serialize, ToSchema)]
pub(super) struct Operator {
    id: String,
    person: Option<String>,
    state: String,
    tokens: Vec<Token>,
}

#[derive(Serialize, FromRow, ToSchema)]
pub(super) struct Token {
    id: String,
    operator: String,
    role: String,
    created_at: i64,
    expires_at: i64,
    last_used_at: Option<i64>,
    ended_at: Option<i64>,
}

pub(super) async fn operators(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    let all: Vec<(String, Option<String>, String)> =
        sqlx::query_as("SELECT id, person, state FROM operators ORDER BY id LIMIT 1000")
            .fetch_all(shared.db.readers())
            .await?;
    let tokens: Vec<Token> = sqlx::query_as(
        "SELECT id, operator, role, created_at, expires_at, last_used_at, ended_at FROM tokens
         ORDER BY created_at LIMIT 10000",
    )
    .fetch_all(shared.db.readers())
    .await?;
    let mut operators: Vec<Operator> = all
        .into_iter()
        .map(|(id, person, state)| Operator { id, person, state, tokens: Vec::new() })
        .collect();
    for token in tokens {
        if let Some(operator) = operators.iter_mut().find(|known| known.id == token.operator) {
            operator.tokens.push(token);
        }
    }
    value(&operators)
}

/// Where the environment stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Overview {
    environment: String,
    issuer: String,
    feed_audience: String,
    position: String,
    root_version: i64,
    policy: i64,
    two_persons: bool,
    issuance_closed: Option<String>,
    audit_records: i64,
    audit_head: String,
}

pub(super) async fn environment(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    type Row = (i64, i64, bool, Option<String>);
    let (root_version, policy, two_persons, issuance_closed): Row = sqlx::query_as(
        "SELECT root_version, policy, two_persons, issuance_closed FROM environment",
    )
    .fetch_one(shared.db.readers())
    .await?;
    let head: Option<(i64, String)> =
        sqlx::query_as("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1")
            .fetch_optional(shared.db.readers())
            .await?;
    let (audit_records, audit_head) = head.unwrap_or((0, "0".repeat(64)));
    value(&Overview {
        environment: shared.environment.clone(),
        issuer: shared.issuer.clone(),
        feed_audience: shared.db.book().audience().to_owned(),
        position: shared.db.book().position().to_string(),
        root_version,
        policy,
        two_persons,
        issuance_closed,
        audit_records,
        audit_head,
    })
}

#[derive(Serialize, ToSchema)]
pub(super) struct AuditVerdict {
    records: u64,
    /// `anchored`, or `consistent, not anchored`.
    verdict: String,
}

pub(super) async fn verify(shared: Arc<Shared>, _: Names, query: Names) -> Answer {
    let anchor = query.get("anchor").map(|text| text.parse::<Anchor>());
    let anchor = anchor.transpose().map_err(|why| Refused::invalid("anchor", why))?;
    let mut connection = shared.db.readers().acquire().await?;
    let verdict = audit::verify(&mut connection, anchor.as_ref()).await;
    let verdict = verdict.map_err(|error| match error {
        AuditError::Db(error) => Refused::Internal(error),
        broken => Refused::Conflict(broken.to_string()),
    })?;
    let (records, verdict) = match verdict {
        Verdict::Anchored { records } => (records, "anchored"),
        Verdict::NotAnchored { records } => (records, "consistent, not anchored"),
    };
    Ok(json!({ "records": records, "verdict": verdict }))
}

pub(super) fn value(what: &impl Serialize) -> Answer {
    serde_json::to_value(what)
        .map_err(|error| Refused::Internal(crate::db::DbError::Corrupt(error.to_string())))
}

/// Rows of one answer.
const PAGE: u32 = 200;
