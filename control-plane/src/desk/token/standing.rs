//! Who asks, and whether they may ask for anything at all, as one transaction sees it.

use gatepass_engine::clock::UnixSeconds;

use super::{Denied, OAuthError};
use crate::db::{DbError, Tx, signed};
use crate::desk::assertion::Assertion;
use crate::desk::ceiling::Ceiling;
use crate::issue::Party;

/// What the database says of whoever asks, in this transaction.
pub(super) struct Standing {
    pub(super) issuer: String,
    pub(super) environment: String,
    pub(super) closed: Option<String>,
    pub(super) agent_state: String,
    pub(super) valid_until: i64,
    pub(super) owner: String,
    pub(super) owner_state: String,
    pub(super) blueprint: String,
    pub(super) blueprint_state: String,
    pub(super) ceiling: Ceiling,
    pub(super) key: Option<i64>,
    /// The assertion was used before.
    pub(super) spent: bool,
    /// The state of the task that was asked for, if it is the agent's.
    pub(super) task: Option<String>,
}

impl Standing {
    /// All in one statement: each is a message to SQLite's thread and one back.
    pub(super) async fn read(
        tx: &mut Tx,
        assertion: &Assertion,
        task: Option<&str>,
    ) -> Result<Self, Denied> {
        #[derive(sqlx::FromRow)]
        struct Found {
            issuer: String,
            environment: String,
            closed: Option<String>,
            agent_state: String,
            valid_until: i64,
            owner: String,
            owner_state: String,
            blueprint: String,
            blueprint_state: String,
            ceiling: String,
            key: Option<i64>,
            spent: bool,
            task: Option<String>,
        }
        let found: Option<Found> = sqlx::query_as(
            "SELECT e.issuer, e.name AS environment, e.issuance_closed AS closed,
               a.state AS agent_state, a.valid_until, a.owner, p.state AS owner_state,
               a.blueprint, b.state AS blueprint_state, b.ceiling,
               (SELECT 1 FROM agent_keys k
                WHERE k.thumbprint = ?1 AND k.agent = a.id AND k.removed_at IS NULL) AS key,
               EXISTS (SELECT 1 FROM spent s WHERE s.agent = a.id AND s.jti = ?2) AS spent,
               (SELECT t.state FROM tasks t WHERE t.id = ?3 AND t.agent = a.id) AS task
             FROM agents a JOIN people p ON p.id = a.owner JOIN blueprints b ON b.id = a.blueprint,
               environment e
             WHERE a.id = ?4",
        )
        .bind(&assertion.thumbprint)
        .bind(&assertion.jti)
        .bind(task)
        .bind(&assertion.agent)
        .fetch_optional(tx.reading())
        .await?;
        let found = found
            .ok_or_else(|| Denied::new(OAuthError::InvalidClient, "the agent is not registered"))?;
        let ceiling = serde_json::from_str(&found.ceiling)
            .map_err(|error| DbError::Corrupt(format!("a ceiling: {error}")))?;
        Ok(Self {
            issuer: found.issuer,
            environment: found.environment,
            closed: found.closed,
            agent_state: found.agent_state,
            valid_until: found.valid_until,
            owner: found.owner,
            owner_state: found.owner_state,
            blueprint: found.blueprint,
            blueprint_state: found.blueprint_state,
            ceiling,
            key: found.key,
            spent: found.spent,
            task: found.task,
        })
    }

    /// The agent with who answers for it, if it may ask for anything at all now.
    pub(super) fn check(&self, assertion: &Assertion, now: UnixSeconds) -> Result<Party, Denied> {
        let unauthorized = |why: &str| Err(Denied::new(OAuthError::UnauthorizedClient, why));
        if let Some(why) = &self.closed {
            return Err(Denied::new(
                OAuthError::TemporarilyUnavailable,
                format!("issuance is closed: {why}"),
            ));
        }
        if self.key.is_none() {
            return Err(Denied::new(OAuthError::InvalidClient, "the agent's key was removed"));
        }
        if self.agent_state != "active" {
            return unauthorized(&format!("the agent is {}", self.agent_state));
        }
        if self.valid_until <= signed(now.0) {
            return unauthorized("the agent's registration has ended");
        }
        if self.owner_state != "active" {
            return unauthorized("the agent's owner has left");
        }
        if self.blueprint_state != "enabled" {
            return unauthorized("the agent's blueprint is disabled");
        }
        Ok(Party {
            id: assertion.agent.clone(),
            owner: self.owner.clone(),
            blueprint: self.blueprint.clone(),
        })
    }
}
