//! Carries changes out: each in the transaction that judged it, with its audit record and, where it
//! stops something, its revocations.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::ids::{PersonId, is_token};
use gatepass_engine::revocation::Kind;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Refused;
use super::ceiling::Ceiling;
use super::change::Change;
use super::cohorts::Cohort;
use crate::audit::Entry;
use crate::db::{DbError, Tx, signed};
use crate::publish::Revoke;

mod access;
mod cohorts;
pub(crate) mod environment;
mod registry;
pub(crate) mod root;

/// Who does it.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub operator: &'a str,
    /// The person that the operator is, where they act for themselves.
    pub person: Option<&'a str>,
    /// The operator who agreed.
    pub second: Option<&'a str>,
}

/// A change that was carried out.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Done {
    /// The feed's position with the change: a gate that has it enforces it.
    pub position: String,
    /// The number of its audit record.
    pub audit: u64,
    /// What was made or changed; a list where that is more than one thing.
    #[schema(value_type = serde_json::Value)]
    pub result: Value,
}

/// What a change did to one thing, for the record.
struct Effect {
    target: String,
    before: Value,
    after: Value,
}

/// Carries a change out.
///
/// # Errors
/// Says why not; then nothing of it is kept.
pub async fn apply(
    tx: &mut Tx,
    by: &By<'_>,
    change: Change,
    reason: &str,
) -> Result<Done, Refused> {
    let action = change.name();
    let effects = carry_out(tx, by, change, reason).await?;
    let actor = match by.second {
        None if by.operator == SYSTEM => SYSTEM.to_owned(),
        None => actor(by.operator),
        Some(second) => format!("{} and {}", actor(by.operator), actor(second)),
    };
    let mut audit = 0;
    for effect in &effects {
        audit = tx
            .audit(Entry {
                actor: &actor,
                action,
                target: &effect.target,
                before: effect.before.clone(),
                after: effect.after.clone(),
                reason,
            })
            .await?;
    }
    let mut results: Vec<Value> = effects.into_iter().map(|effect| effect.after).collect();
    let result = match results.len() {
        1 => results.pop().unwrap_or_default(),
        _ => Value::Array(results),
    };
    Ok(Done { position: tx.position().to_string(), audit, result })
}

/// Judges a change that will wait, as far as one can now, so that nobody waits for what cannot be.
///
/// # Errors
/// As [`apply`].
pub(super) async fn check(tx: &mut Tx, change: &Change) -> Result<(), Refused> {
    match change {
        Change::PublishPolicy(change) => {
            match &change.cohort {
                Some(cohort) => drop(Cohort::find(tx.sql(), cohort).await?),
                None => cohorts::no_canary(tx).await?,
            }
            let environment = &tx.publisher().state().environment;
            super::policies::compile(&change.content, environment).map(|_| ())
        }
        Change::PromotePolicy(change) => cohorts::check(tx, change).await,
        Change::RollbackPolicy(change) => {
            cohorts::no_canary(tx).await?;
            super::policies::content(tx.sql(), change.version).await.map(|_| ())
        }
        Change::AddAgentKey(change) => {
            super::agents::Agent::find(tx.sql(), &change.agent).await?;
            super::assertion::PublicJwk::read(&change.key).map(|_| ())
        }
        Change::ActivateAgent(change) => {
            let agent = super::agents::Agent::find(tx.sql(), &change.agent).await?;
            agent.allow(super::lifecycle::Transition::Activate).map(|_| ())
        }
        Change::SetCeiling(change) => {
            blueprint_ceiling(tx, &change.id).await?;
            change.ceiling.check()
        }
        Change::AddToken(change) => {
            access::check_life(change.expires_at, tx.now())?;
            super::operators::read_digest(&change.digest).map(|_| ())
        }
        Change::AddJoinToken(change) => {
            if let Some(cohort) = &change.cohort {
                Cohort::find(tx.sql(), cohort).await?;
            }
            access::check_life(change.expires_at, tx.now())?;
            super::operators::read_digest(&change.digest).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Names what a change is about where whoever asks left it out: what is agreed to, or done a moment
/// later, is what was there when they asked.
///
/// # Errors
/// [`Refused::Conflict`] where there is nothing of the kind.
pub(super) async fn fill(tx: &mut Tx, change: Change) -> Result<Change, Refused> {
    Ok(match change {
        Change::PromotePolicy(change) => cohorts::fill_promotion(tx, change).await?.into(),
        Change::WithdrawPolicy(change) => cohorts::fill_withdrawal(tx, change).await?.into(),
        other => other,
    })
}

async fn carry_out(
    tx: &mut Tx,
    by: &By<'_>,
    change: Change,
    reason: &str,
) -> Result<Vec<Effect>, Refused> {
    let one = |effect: Effect| vec![effect];
    Ok(match change {
        Change::AddPerson(change) => one(registry::add_person(tx, change).await?),
        Change::EndPerson(change) => registry::end_person(tx, &change.id).await?,
        Change::ReturnPerson(change) => one(registry::return_person(tx, &change.id).await?),
        Change::AddBlueprint(change) => one(registry::add_blueprint(tx, change).await?),
        Change::SetCeiling(change) => one(registry::set_ceiling(tx, change).await?),
        Change::DisableBlueprint(change) => {
            one(registry::turn_blueprint(tx, &change.id, "disabled").await?)
        }
        Change::EnableBlueprint(change) => {
            one(registry::turn_blueprint(tx, &change.id, "enabled").await?)
        }
        Change::RegisterAgent(change) => one(registry::register(tx, by, change).await?),
        Change::DescribeAgent(change) => one(registry::describe(tx, change).await?),
        Change::ActivateAgent(change) => one(registry::activate(tx, &change.agent).await?),
        Change::SuspendAgent(change) => one(registry::suspend(tx, &change.agent).await?),
        Change::RetireAgent(change) => one(registry::retire(tx, &change.agent).await?),
        Change::SuspendAgents(change) => {
            registry::suspend_many(tx, change.project, change.blueprint).await?
        }
        Change::RetireAgents(change) => {
            registry::retire_many(tx, change.project, change.blueprint).await?
        }
        Change::ProposeOwner(change) => {
            one(registry::propose_owner(tx, &change.agent, &change.owner).await?)
        }
        Change::AcceptOwner(change) => one(registry::accept_owner(tx, by, &change.agent).await?),
        Change::AddAgentKey(change) => {
            one(registry::add_key(tx, &change.agent, &change.key).await?)
        }
        Change::RemoveAgentKey(change) => {
            one(registry::remove_key(tx, &change.agent, &change.thumbprint).await?)
        }
        Change::RevokeThing(change) => {
            one(environment::revoke(tx, &change.kind, &change.id).await?)
        }
        Change::EndTask(change) => one(environment::end_task(tx, &change.task).await?),
        Change::PublishPolicy(change) => one(environment::publish(tx, by, change, reason).await?),
        Change::RollbackPolicy(change) => {
            one(environment::roll_back(tx, by, change.version, reason).await?)
        }
        Change::PromotePolicy(change) => one(cohorts::promote(tx, by, change).await?),
        Change::WithdrawPolicy(change) => one(cohorts::withdraw(tx, by, &change).await?),
        Change::AddCohort(change) => one(cohorts::add(tx, by, change.name).await?),
        Change::RemoveCohort(change) => one(cohorts::remove(tx, by, change, reason).await?),
        Change::StopEverything(_) => one(environment::stop(tx, reason).await?),
        Change::OpenIssuance(_) => one(environment::open(tx).await?),
        Change::AdoptRoot(change) => one(root::adopt(tx, change.envelope).await?),
        Change::AddOperator(change) => one(access::add_operator(tx, change).await?),
        Change::EndOperator(change) => one(access::end_operator(tx, &change.id).await?),
        Change::AddToken(change) => one(access::add_token(tx, change).await?),
        Change::EndToken(change) => one(access::end_token(tx, &change.id).await?),
        Change::AddJoinToken(change) => one(access::add_join_token(tx, change).await?),
        Change::EndJoinToken(change) => one(access::end_join_token(tx, &change.id).await?),
    })
}

/// How an operator stands in the record.
#[must_use]
pub fn actor(operator: &str) -> String {
    format!("operator:{operator}")
}

/// A blueprint's ceiling as it is stored.
pub(super) async fn blueprint_ceiling(tx: &mut Tx, id: &str) -> Result<Ceiling, Refused> {
    let row: Option<(String,)> = sqlx::query_as("SELECT ceiling FROM blueprints WHERE id = ?")
        .bind(id)
        .fetch_optional(tx.sql())
        .await?;
    let (text,) = row.ok_or_else(|| Refused::not_found("blueprint", id))?;
    serde_json::from_str(&text)
        .map_err(|error| DbError::Corrupt(format!("a ceiling: {error}")).into())
}

/// Kills what carries `id` and was issued so far.
fn kill(tx: &mut Tx, kind: Kind, id: &str) {
    let now: UnixSeconds = tx.now();
    tx.revoke([Revoke::new(kind, id, now)]);
}

/// A text that people read: not empty, not endless, on one line.
fn text(field: &'static str, value: &str) -> Result<(), Refused> {
    let fits = !value.trim().is_empty() && value.chars().count() <= MAX_TEXT;
    if fits && !value.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Refused::invalid(field, format!("expected 1 to {MAX_TEXT} characters on one line")))
}

fn person_id(field: &'static str, id: &str) -> Result<(), Refused> {
    PersonId::parse(id)
        .map(|_| ())
        .ok_or_else(|| Refused::invalid(field, "expected `user:<directory>/<id>`"))
}

fn token_id(field: &'static str, id: &str) -> Result<(), Refused> {
    if is_token(id) {
        return Ok(());
    }
    Err(Refused::invalid(field, "expected 1 to 128 visible ASCII characters"))
}

async fn person_state(tx: &mut Tx, id: &str) -> Result<String, Refused> {
    let row: Option<(String,)> = sqlx::query_as("SELECT state FROM people WHERE id = ?")
        .bind(id)
        .fetch_optional(tx.sql())
        .await?;
    row.map(|(state,)| state).ok_or_else(|| Refused::not_found("person", id))
}

/// # Errors
/// [`Refused::Conflict`] when they have left.
async fn active_person(tx: &mut Tx, id: &str) -> Result<(), Refused> {
    match person_state(tx, id).await?.as_str() {
        "active" => Ok(()),
        _ => Err(Refused::Conflict(format!("`{id}` has left and can own nothing"))),
    }
}

fn time(value: UnixSeconds) -> i64 {
    signed(value.0)
}

fn state(value: &str) -> Value {
    json!({ "state": value })
}

/// Who does what the control plane does by itself; no operator is called so.
pub(crate) const SYSTEM: &str = "gatepass";
const MAX_TEXT: usize = 200;
