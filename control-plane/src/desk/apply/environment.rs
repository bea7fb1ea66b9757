//! What concerns the whole environment: revocations, tasks, policy, and stopping everything.

use gatepass_engine::ids::{AgentId, PersonId, is_token};
use gatepass_engine::keyring::KeyId;
use gatepass_engine::revocation::Kind;
use serde_json::{Value, json};

use super::{By, Effect, cohorts, kill, time};
use crate::db::{Tx, kind_of};
use crate::desk::Refused;
use crate::desk::change::PublishPolicy;
use crate::desk::policies::{self, Place};
use crate::desk::tasks::{self, Task};

pub(super) async fn revoke(tx: &mut Tx, kind: &str, id: &str) -> Result<Effect, Refused> {
    let Some(kind) = kind_of(kind) else {
        return Err(Refused::invalid(
            "kind",
            "expected credential, task, subject, agent, owner, blueprint or key",
        ));
    };
    // An id that no gatepass can carry would be revoked in vain, and nobody would notice.
    let (fits, expected) = match kind {
        Kind::Agent => (AgentId::parse(id).is_some(), "`agent:<uuid>` in lower case"),
        Kind::Owner => (PersonId::parse(id).is_some(), "`user:<directory>/<id>`"),
        Kind::Subject => (
            AgentId::parse(id).is_some() || PersonId::parse(id).is_some(),
            "`agent:<uuid>` or `user:<directory>/<id>`",
        ),
        Kind::Key => (KeyId::parse(id).is_some(), "a `kid`"),
        Kind::Credential | Kind::Task | Kind::Blueprint => {
            (is_token(id), "1 to 128 visible ASCII characters")
        }
    };
    if !fits {
        return Err(Refused::invalid("id", format!("expected {expected}")));
    }
    if kind == Kind::Task
        && let Ok(task) = Task::find(tx.sql(), id).await
    {
        return end(tx, &task).await;
    }
    if kind == Kind::Credential {
        let now = time(tx.now());
        sqlx::query("UPDATE gatepasses SET revoked_at = ifnull(revoked_at, ?) WHERE jti = ?")
            .bind(now)
            .bind(id)
            .execute(tx.sql())
            .await?;
    }
    kill(tx, kind, id);
    Ok(Effect {
        target: id.to_owned(),
        before: Value::Null,
        after: json!({ "kind": crate::db::kind_name(kind), "id": id }),
    })
}

pub(super) async fn end_task(tx: &mut Tx, id: &str) -> Result<Effect, Refused> {
    let task = Task::find(tx.sql(), id).await?;
    end(tx, &task).await
}

async fn end(tx: &mut Tx, task: &Task) -> Result<Effect, Refused> {
    let ended = tasks::end(tx, task, "revoked").await?;
    let after = if ended { "revoked" } else { &task.state };
    Ok(Effect {
        target: task.id.clone(),
        before: json!({ "state": task.state }),
        after: json!({ "task": task.id, "state": after }),
    })
}

pub(super) async fn publish(
    tx: &mut Tx,
    by: &By<'_>,
    change: PublishPolicy,
    reason: &str,
) -> Result<Effect, Refused> {
    let content = &change.content;
    if content.len() > MAX_POLICY_BYTES {
        return Err(Refused::invalid("content", "a policy has 1 MiB at most"));
    }
    if let Some(cohort) = &change.cohort {
        return cohorts::publish(tx, by, cohort, content, reason).await;
    }
    cohorts::no_canary(tx).await?;
    let bundle = policies::compile(content, &tx.publisher().state().environment)?;
    let before = policies::in_force(tx.sql()).await?;
    let version = policies::keep(tx, content, by.operator, reason).await?;
    policies::put_in_force(tx, version, by.operator, Place::Everywhere(bundle)).await?;
    let warnings = policies::warnings(tx, content).await?;
    Ok(Effect {
        target: "policy".to_owned(),
        before: json!({ "version": before }),
        after: json!({
            "version": version, "digest": policies::digest(content),
            "position": tx.position().to_string(), "warnings": warnings,
        }),
    })
}

/// Old content at a new position. Keys are not in a policy, so none comes back with it.
pub(super) async fn roll_back(
    tx: &mut Tx,
    by: &By<'_>,
    version: u64,
    reason: &str,
) -> Result<Effect, Refused> {
    cohorts::no_canary(tx).await?;
    let content = policies::content(tx.sql(), version).await?;
    let before = policies::in_force(tx.sql()).await?;
    if before == version {
        return Err(Refused::Conflict(format!("version {version} is in force already")));
    }
    let bundle = policies::compile(&content, &tx.publisher().state().environment)?;
    let again = policies::keep(tx, &content, by.operator, reason).await?;
    policies::put_in_force(tx, again, by.operator, Place::Everywhere(bundle)).await?;
    Ok(Effect {
        target: "policy".to_owned(),
        before: json!({ "version": before }),
        after: json!({
            "version": again, "of": version, "digest": policies::digest(&content),
            "position": tx.position().to_string(),
        }),
    })
}

/// One step of the feed: every gatepass names a blueprint, so with all of them revoked none lives.
pub(super) async fn stop(tx: &mut Tx, reason: &str) -> Result<Effect, Refused> {
    let (closed,): (Option<String>,) =
        sqlx::query_as("SELECT issuance_closed FROM environment").fetch_one(tx.sql()).await?;
    close_issuance(tx, &format!("everything was stopped: {reason}")).await?;
    let blueprints: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM blueprints").fetch_all(tx.sql()).await?;
    for (id,) in &blueprints {
        kill(tx, Kind::Blueprint, id);
    }
    Ok(Effect {
        target: "environment".to_owned(),
        before: json!({ "issuance_closed": closed }),
        after: json!({ "issuance_closed": reason, "blueprints": blueprints.len() }),
    })
}

pub(super) async fn open(tx: &mut Tx) -> Result<Effect, Refused> {
    let (closed,): (Option<String>,) =
        sqlx::query_as("SELECT issuance_closed FROM environment").fetch_one(tx.sql()).await?;
    let Some(closed) = closed else {
        return Err(Refused::Conflict("issuance is open already".to_owned()));
    };
    if closed.starts_with(OLD_COPY) {
        return Err(Refused::Conflict(
            "this database is an old copy: `gatepass restore` raises its epoch, nothing else helps"
                .to_owned(),
        ));
    }
    sqlx::query("UPDATE environment SET issuance_closed = NULL").execute(tx.sql()).await?;
    Ok(Effect {
        target: "environment".to_owned(),
        before: json!({ "issuance_closed": closed }),
        after: json!({ "issuance_closed": null }),
    })
}

/// Nothing is issued until it is opened again. The first reason stays.
pub(crate) async fn close_issuance(tx: &mut Tx, reason: &str) -> Result<(), Refused> {
    sqlx::query("UPDATE environment SET issuance_closed = ifnull(issuance_closed, ?)")
        .bind(reason)
        .execute(tx.sql())
        .await?;
    Ok(())
}

/// How the reason begins when a follower is ahead of the database.
pub(crate) const OLD_COPY: &str = "a follower is ahead of this database";
const MAX_POLICY_BYTES: usize = 1 << 20;
