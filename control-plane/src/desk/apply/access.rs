//! Operators and tokens.

use gatepass_engine::clock::UnixSeconds;
use serde_json::{Value, json};

use super::{Effect, SYSTEM, active_person, state, text, time, token_id};
use crate::db::{Tx, signed};
use crate::desk::Refused;
use crate::desk::change::{AddJoinToken, AddOperator, AddToken};
use crate::desk::cohorts::Cohort;
use crate::desk::operators::{MAX_TOKEN_LIFE, MAX_TOKENS, read_digest};

pub(super) async fn add_operator(tx: &mut Tx, change: AddOperator) -> Result<Effect, Refused> {
    token_id("id", &change.id)?;
    if change.id == SYSTEM {
        return Err(Refused::invalid(
            "id",
            "this is what the control plane is called in the record",
        ));
    }
    if let Some(person) = &change.person {
        active_person(tx, person).await?;
    }
    let now = time(tx.now());
    sqlx::query("INSERT INTO operators (id, person, state, created_at) VALUES (?, ?, 'active', ?)")
        .bind(&change.id)
        .bind(&change.person)
        .bind(now)
        .execute(tx.sql())
        .await?;
    let after = json!({ "id": change.id, "person": change.person, "state": "active" });
    Ok(Effect { target: change.id, before: Value::Null, after })
}

pub(super) async fn end_operator(tx: &mut Tx, id: &str) -> Result<Effect, Refused> {
    let now = time(tx.now());
    let done =
        sqlx::query("UPDATE operators SET state = 'ended' WHERE id = ? AND state = 'active'")
            .bind(id)
            .execute(tx.sql())
            .await?;
    if done.rows_affected() == 0 {
        return Err(Refused::not_found("active operator", id));
    }
    sqlx::query("UPDATE tokens SET ended_at = ? WHERE operator = ? AND ended_at IS NULL")
        .bind(now)
        .bind(id)
        .execute(tx.sql())
        .await?;
    somebody_administers(tx).await?;
    Ok(Effect { target: id.to_owned(), before: state("active"), after: state("ended") })
}

pub(super) async fn add_token(tx: &mut Tx, change: AddToken) -> Result<Effect, Refused> {
    let digest = read_digest(&change.digest)?;
    let now = tx.now();
    check_life(change.expires_at, now)?;
    let operator: Option<(String,)> =
        sqlx::query_as("SELECT state FROM operators WHERE id = ? AND state = 'active'")
            .bind(&change.operator)
            .fetch_optional(tx.sql())
            .await?;
    if operator.is_none() {
        return Err(Refused::not_found("active operator", &change.operator));
    }
    let (held,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM tokens WHERE operator = ? AND ended_at IS NULL AND expires_at > ?",
    )
    .bind(&change.operator)
    .bind(time(now))
    .fetch_one(tx.sql())
    .await?;
    if held >= MAX_TOKENS {
        return Err(Refused::Conflict(format!(
            "`{}` has {MAX_TOKENS} tokens already: end one first",
            change.operator
        )));
    }
    let id = uuid::Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO tokens (id, digest, operator, role, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(digest.as_slice())
    .bind(&change.operator)
    .bind(change.role.as_str())
    .bind(time(now))
    .bind(signed(change.expires_at))
    .execute(tx.sql())
    .await?;
    let after = json!({
        "id": id, "operator": change.operator, "role": change.role, "expires_at": change.expires_at,
    });
    Ok(Effect { target: change.operator, before: Value::Null, after })
}

pub(super) async fn end_token(tx: &mut Tx, id: &str) -> Result<Effect, Refused> {
    end(tx, "UPDATE tokens SET ended_at = ? WHERE id = ? AND ended_at IS NULL", id).await?;
    somebody_administers(tx).await?;
    Ok(Effect { target: id.to_owned(), before: state("active"), after: state("ended") })
}

pub(super) async fn add_join_token(tx: &mut Tx, change: AddJoinToken) -> Result<Effect, Refused> {
    text("fleet", &change.fleet)?;
    if let Some(cohort) = &change.cohort {
        Cohort::find(tx.sql(), cohort).await?;
    }
    let digest = read_digest(&change.digest)?;
    let now = tx.now();
    check_life(change.expires_at, now)?;
    let (held,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM join_tokens
         WHERE fleet = ? AND cohort IS ? AND ended_at IS NULL AND expires_at > ?",
    )
    .bind(&change.fleet)
    .bind(&change.cohort)
    .bind(time(now))
    .fetch_one(tx.sql())
    .await?;
    if held >= MAX_TOKENS {
        return Err(Refused::Conflict(format!(
            "the fleet `{}` has {MAX_TOKENS} join tokens already: end one first",
            change.fleet
        )));
    }
    let id = uuid::Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO join_tokens (id, digest, fleet, created_at, expires_at, cohort)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(digest.as_slice())
    .bind(&change.fleet)
    .bind(time(now))
    .bind(signed(change.expires_at))
    .bind(&change.cohort)
    .execute(tx.sql())
    .await?;
    let after = json!({
        "id": id, "fleet": change.fleet, "cohort": change.cohort, "expires_at": change.expires_at,
    });
    Ok(Effect { target: change.fleet, before: Value::Null, after })
}

pub(super) async fn end_join_token(tx: &mut Tx, id: &str) -> Result<Effect, Refused> {
    end(tx, "UPDATE join_tokens SET ended_at = ? WHERE id = ? AND ended_at IS NULL", id).await?;
    Ok(Effect { target: id.to_owned(), before: state("active"), after: state("ended") })
}

async fn end(tx: &mut Tx, statement: &'static str, id: &str) -> Result<(), Refused> {
    let now = time(tx.now());
    let done = sqlx::query(statement).bind(now).bind(id).execute(tx.sql()).await?;
    if done.rows_affected() == 0 {
        return Err(Refused::not_found("token in use", id));
    }
    Ok(())
}

/// A control plane that nobody can administer could never be opened again.
pub(super) async fn somebody_administers(tx: &mut Tx) -> Result<(), Refused> {
    let now = time(tx.now());
    let (left,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM tokens t JOIN operators o ON o.id = t.operator
           LEFT JOIN people p ON p.id = o.person
         WHERE t.role = 'admin' AND t.ended_at IS NULL AND t.expires_at > ? AND o.state = 'active'
           AND (o.person IS NULL OR p.state = 'active')",
    )
    .bind(now)
    .fetch_one(tx.sql())
    .await?;
    if left == 0 {
        return Err(Refused::Conflict(
            "it is the last token that may administer: add another first".to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn check_life(expires_at: u64, now: UnixSeconds) -> Result<(), Refused> {
    if expires_at <= now.0 || expires_at > now.plus(MAX_TOKEN_LIFE).0 {
        return Err(Refused::invalid(
            "expires_at",
            "expected unix seconds in the future, at most 90 days away",
        ));
    }
    Ok(())
}
