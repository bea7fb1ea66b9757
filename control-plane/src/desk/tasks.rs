//! Tasks: the unit of work under which gatepasses are issued. Ending one kills them all.

use gatepass_engine::revocation::Kind;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use utoipa::ToSchema;

use super::Refused;
use crate::db::{Tx, signed};
use crate::publish::Revoke;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow, ToSchema)]
pub struct Task {
    pub id: String,
    pub agent: String,
    pub purpose: String,
    /// `open`, `completed` by its agent, or `revoked` by an operator.
    pub state: String,
    pub created_at: i64,
    pub ended_at: Option<i64>,
}

impl Task {
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn find(connection: &mut SqliteConnection, id: &str) -> Result<Self, Refused> {
        let found = sqlx::query_as("SELECT * FROM tasks WHERE id = ?")
            .bind(id)
            .fetch_optional(connection)
            .await?;
        found.ok_or_else(|| Refused::not_found("task", id))
    }
}

/// The id of a task to open.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Opens a task for an agent.
///
/// # Errors
/// What SQLite says.
pub async fn open(tx: &mut Tx, id: &str, agent: &str, purpose: &str) -> Result<(), Refused> {
    let now = signed(tx.now().0);
    sqlx::query(
        "INSERT INTO tasks (id, agent, purpose, state, created_at) VALUES (?, ?, ?, 'open', ?)",
    )
    .bind(id)
    .bind(agent)
    .bind(purpose)
    .bind(now)
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// Ends a task and kills what was issued under it. Ending an ended task again changes nothing.
///
/// # Errors
/// What SQLite says.
pub async fn end(tx: &mut Tx, task: &Task, state: &'static str) -> Result<bool, Refused> {
    if task.state != "open" {
        return Ok(false);
    }
    let now = tx.now();
    sqlx::query("UPDATE tasks SET state = ?, ended_at = ? WHERE id = ?")
        .bind(state)
        .bind(signed(now.0))
        .bind(&task.id)
        .execute(tx.sql())
        .await?;
    tx.revoke([Revoke::new(Kind::Task, &task.id, now)]);
    Ok(true)
}

/// The open tasks of an agent that still have a living gatepass, newest first.
///
/// # Errors
/// What SQLite says.
pub async fn open_of(connection: &mut SqliteConnection, agent: &str) -> Result<Vec<Task>, Refused> {
    let found = sqlx::query_as(
        "SELECT * FROM tasks WHERE agent = ? AND state = 'open' ORDER BY created_at DESC LIMIT 100",
    )
    .bind(agent)
    .fetch_all(connection)
    .await?;
    Ok(found)
}
