//! Agents as the database has them.

use gatepass_engine::clock::UnixSeconds;
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, SqliteConnection};
use utoipa::ToSchema;

use super::Refused;
use super::lifecycle::{Move, State, Succession, Transition};
use crate::db::{Tx, signed};

/// One agent: its passport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow, ToSchema)]
pub struct Agent {
    pub id: String,
    pub name: String,
    pub blueprint: String,
    pub owner: String,
    pub creator: String,
    pub department: String,
    pub purpose: String,
    pub contact: String,
    pub project: String,
    pub environment: String,
    pub valid_until: i64,
    pub state: String,
    pub proposed_owner: Option<String>,
    pub accepted_at: Option<i64>,
    pub created_at: i64,
}

impl Agent {
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn find(connection: &mut SqliteConnection, id: &str) -> Result<Self, Refused> {
        let found = sqlx::query_as("SELECT * FROM agents WHERE id = ?")
            .bind(id)
            .fetch_optional(connection)
            .await?;
        found.ok_or_else(|| Refused::not_found("agent", id))
    }

    /// # Errors
    /// The database holds another text.
    pub fn state(&self) -> Result<State, Refused> {
        State::parse(&self.state).ok_or_else(|| {
            Refused::Internal(crate::db::DbError::Corrupt(format!("the state of {}", self.id)))
        })
    }

    /// # Errors
    /// [`Refused::Conflict`] says why not.
    pub fn allow(&self, transition: Transition) -> Result<Move, Refused> {
        let succession = match self.accepted_at {
            Some(_) => Succession::Accepted,
            None => Succession::None,
        };
        self.state()?
            .take(transition, succession)
            .map_err(|why| Refused::Conflict(format!("`{}`: {why}", self.id)))
    }

    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Puts an allowed transition on record.
///
/// # Errors
/// What SQLite says.
pub async fn put(tx: &mut Tx, agent: &Agent, moved: Move) -> Result<(), Refused> {
    let done = sqlx::query("UPDATE agents SET state = ? WHERE id = ? AND state = ?")
        .bind(moved.to().as_str())
        .bind(&agent.id)
        .bind(moved.from().as_str())
        .execute(tx.sql())
        .await?;
    // INVARIANT: the row was read in this transaction.
    if done.rows_affected() != 1 {
        return Err(Refused::Conflict(format!(
            "`{}` is not `{}`",
            agent.id,
            moved.from().as_str()
        )));
    }
    Ok(())
}

/// What to look for; absent members match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    pub state: Option<String>,
    pub owner: Option<String>,
    pub blueprint: Option<String>,
    pub project: Option<String>,
    /// Somewhere in id, name, purpose, owner or contact.
    pub text: Option<String>,
    /// The id after which to go on.
    pub after: Option<String>,
}

/// At most `most` agents, by id.
///
/// # Errors
/// What SQLite says.
pub async fn search(
    connection: &mut SqliteConnection,
    search: &Search,
    most: u32,
) -> Result<Vec<Agent>, Refused> {
    let found = sqlx::query_as(
        "SELECT * FROM agents
         WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR owner = ?2)
           AND (?3 IS NULL OR blueprint = ?3) AND (?4 IS NULL OR project = ?4)
           AND (?5 IS NULL OR instr(id || char(10) || name || char(10) || purpose || char(10)
                || owner || char(10) || contact, ?5) > 0)
           AND (?6 IS NULL OR id > ?6)
         ORDER BY id LIMIT ?7",
    )
    .bind(&search.state)
    .bind(&search.owner)
    .bind(&search.blueprint)
    .bind(&search.project)
    .bind(&search.text)
    .bind(&search.after)
    .bind(most)
    .fetch_all(connection)
    .await?;
    Ok(found)
}

/// An agent's public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow, ToSchema)]
pub struct AgentKey {
    pub thumbprint: String,
    pub agent: String,
    pub jwk: String,
    pub algorithm: String,
    pub created_at: i64,
    pub removed_at: Option<i64>,
}

/// The keys that an agent may prove itself with now.
///
/// # Errors
/// What SQLite says.
pub async fn keys(
    connection: &mut SqliteConnection,
    agent: &str,
) -> Result<Vec<AgentKey>, Refused> {
    let found = sqlx::query_as(
        "SELECT * FROM agent_keys WHERE agent = ? AND removed_at IS NULL ORDER BY created_at",
    )
    .bind(agent)
    .fetch_all(connection)
    .await?;
    Ok(found)
}

/// Registers a public key; one key speaks for one agent, ever.
///
/// # Errors
/// [`Refused::Invalid`] for what is no public key of a kind that is taken.
pub async fn add_key(
    tx: &mut Tx,
    agent: &str,
    jwk: &Value,
    now: UnixSeconds,
) -> Result<String, Refused> {
    let key = super::assertion::PublicJwk::read(jwk)?;
    let (held,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM agent_keys WHERE agent = ? AND removed_at IS NULL")
            .bind(agent)
            .fetch_one(tx.sql())
            .await?;
    if held >= MAX_KEYS {
        return Err(Refused::Conflict(format!(
            "`{agent}` has {MAX_KEYS} keys already: remove one first"
        )));
    }
    sqlx::query(
        "INSERT INTO agent_keys (thumbprint, agent, jwk, algorithm, created_at)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&key.thumbprint)
    .bind(agent)
    .bind(&key.text)
    .bind(key.algorithm)
    .bind(signed(now.0))
    .execute(tx.sql())
    .await
    .map_err(|error| match Refused::from(error) {
        Refused::Conflict(_) => Refused::Conflict(
            "this key is or was registered already: each agent has keys of its own".to_owned(),
        ),
        other => other,
    })?;
    Ok(key.thumbprint)
}

/// Keys of one agent at once: enough to rotate.
const MAX_KEYS: i64 = 4;
