//! The second person: what widens or reopens in an environment that asks for it waits until
//! another operator agrees. Stopping something never waits.

use gatepass_engine::clock::UnixSeconds;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, SqliteConnection};
use utoipa::ToSchema;

use super::apply::{self, By};
use super::change::Change;
use super::operators::{self, Need, Role, Who};
use super::{Refused, ceiling};
use crate::audit::Entry;
use crate::db::{Tx, signed, unsigned};

/// What became of a change that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Done(apply::Done),
    /// It waits for a second person.
    Proposed {
        proposal: String,
        expires_at: u64,
        /// The trial of a policy that it ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        trial: Option<String>,
    },
}

/// A change that waits.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
pub struct Proposal {
    pub id: String,
    /// The change as JSON.
    pub change: String,
    pub reason: String,
    pub proposed_by: String,
    pub proposed_at: i64,
    pub expires_at: i64,
    pub decided_by: Option<String>,
    pub decided_at: Option<i64>,
    /// `accepted` or `rejected`.
    pub outcome: Option<String>,
}

/// Does what an operator asks for, or keeps it until a second person agrees.
///
/// # Errors
/// What keeps it from being done, as far as one can tell now.
pub async fn ask(tx: &mut Tx, who: &Who, change: Change, reason: &str) -> Result<Outcome, Refused> {
    still(tx, who).await?;
    who.demand(change.need())?;
    check_reason(reason)?;
    let change = apply::fill(tx, change).await?;
    if !takes_two(tx, &change).await? {
        let by = By { operator: &who.operator, person: who.person.as_deref(), second: None };
        return Ok(Outcome::Done(apply::apply(tx, &by, change, reason).await?));
    }
    apply::check(tx, &change).await?;
    let id = uuid::Uuid::now_v7().to_string();
    let now = tx.now();
    let expires_at = now.plus(PROPOSAL_LIFE);
    let text = serde_json::to_string(&change)
        .map_err(|error| Refused::invalid("change", error.to_string()))?;
    sqlx::query(
        "INSERT INTO proposals (id, change, reason, proposed_by, proposed_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(&text)
    .bind(reason)
    .bind(&who.operator)
    .bind(signed(now.0))
    .bind(signed(expires_at.0))
    .execute(tx.sql())
    .await?;
    tx.audit(Entry {
        actor: &apply::actor(&who.operator),
        action: "proposal.add",
        target: &id,
        before: Value::Null,
        after: match change.trial() {
            None => json!({ "change": change.name(), "target": change.target() }),
            Some(trial) => {
                json!({ "change": change.name(), "target": change.target(), "trial": trial })
            }
        },
        reason,
    })
    .await?;
    Ok(Outcome::Proposed { proposal: id, expires_at: expires_at.0, trial: change.trial() })
}

/// A second person agrees: the change is judged anew and done, or not.
///
/// # Errors
/// [`Refused::Forbidden`] to whoever proposed it.
pub async fn accept(
    tx: &mut Tx,
    who: &Who,
    id: &str,
    reason: &str,
) -> Result<apply::Done, Refused> {
    still(tx, who).await?;
    who.demand(Need::Agree)?;
    check_reason(reason)?;
    let (proposal, change) = open(tx, id).await?;
    another_person(tx, &proposal, who).await?;
    still_stands(tx, &proposal, &change).await?;
    decide(tx, &proposal, who, "accepted", reason).await?;
    let by = By { operator: &proposal.proposed_by, person: None, second: Some(&who.operator) };
    apply::apply(tx, &by, change, &proposal.reason).await
}

/// Anyone who may agree may also say no, whoever proposed it.
///
/// # Errors
/// [`Refused::NotFound`], [`Refused::Conflict`].
pub async fn reject(tx: &mut Tx, who: &Who, id: &str, reason: &str) -> Result<(), Refused> {
    still(tx, who).await?;
    who.demand(Need::Agree)?;
    check_reason(reason)?;
    let (proposal, _) = open(tx, id).await?;
    decide(tx, &proposal, who, "rejected", reason).await
}

/// Who called was known from the committed state before this transaction; in between they may have
/// been ended.
async fn still(tx: &mut Tx, who: &Who) -> Result<(), Refused> {
    let now = tx.now();
    match operators::lives(tx.sql(), &who.token, now).await? {
        true => Ok(()),
        false => Err(Refused::Unauthenticated("the token has ended".to_owned())),
    }
}

/// Two operators of one person are one person.
async fn another_person(tx: &mut Tx, proposal: &Proposal, who: &Who) -> Result<(), Refused> {
    let person: Option<(Option<String>,)> =
        sqlx::query_as("SELECT person FROM operators WHERE id = ?")
            .bind(&proposal.proposed_by)
            .fetch_optional(tx.sql())
            .await?;
    let proposer = person.and_then(|(person,)| person);
    let is_same = proposer.is_some() && proposer == who.person;
    if is_same || proposal.proposed_by == who.operator {
        return Err(Refused::Forbidden(
            "you proposed this yourself: another operator must agree".to_owned(),
        ));
    }
    Ok(())
}

/// A proposal is worth what its proposer may still ask for: one who has left is no second person.
async fn still_stands(tx: &mut Tx, proposal: &Proposal, change: &Change) -> Result<(), Refused> {
    let now = tx.now();
    let roles = operators::roles(tx.sql(), &proposal.proposed_by, now).await?;
    if roles.iter().any(|role| role.allows(change.need())) {
        return Ok(());
    }
    Err(Refused::Conflict(format!(
        "`{}` proposed it and may not ask for it any more: propose it again",
        proposal.proposed_by
    )))
}

async fn open(tx: &mut Tx, id: &str) -> Result<(Proposal, Change), Refused> {
    let proposal: Option<Proposal> = sqlx::query_as("SELECT * FROM proposals WHERE id = ?")
        .bind(id)
        .fetch_optional(tx.sql())
        .await?;
    let proposal = proposal.ok_or_else(|| Refused::not_found("proposal", id))?;
    if let Some(outcome) = &proposal.outcome {
        return Err(Refused::Conflict(format!("it was {outcome} already")));
    }
    if UnixSeconds(unsigned(proposal.expires_at)) <= tx.now() {
        return Err(Refused::Conflict("it has expired: propose it again".to_owned()));
    }
    let change = serde_json::from_str(&proposal.change)
        .map_err(|error| Refused::Internal(crate::db::DbError::Corrupt(error.to_string())))?;
    Ok((proposal, change))
}

async fn decide(
    tx: &mut Tx,
    proposal: &Proposal,
    who: &Who,
    outcome: &'static str,
    reason: &str,
) -> Result<(), Refused> {
    write_decision(tx, proposal, &who.operator, outcome, reason).await
}

async fn write_decision(
    tx: &mut Tx,
    proposal: &Proposal,
    operator: &str,
    outcome: &'static str,
    reason: &str,
) -> Result<(), Refused> {
    let now = signed(tx.now().0);
    sqlx::query("UPDATE proposals SET decided_by = ?, decided_at = ?, outcome = ? WHERE id = ?")
        .bind(operator)
        .bind(now)
        .bind(outcome)
        .bind(&proposal.id)
        .execute(tx.sql())
        .await?;
    tx.audit(Entry {
        actor: &apply::actor(operator),
        action: "proposal.decide",
        target: &proposal.id,
        before: Value::Null,
        after: json!({ "outcome": outcome, "proposed_by": proposal.proposed_by }),
        reason,
    })
    .await?;
    Ok(())
}

/// Refuses what waits for a cohort that is removed: one of its name that comes later is another.
///
/// # Errors
/// What SQLite says.
pub(super) async fn reject_for_cohort(
    tx: &mut Tx,
    by: &str,
    cohort: &str,
    reason: &str,
) -> Result<(), Refused> {
    let open: Vec<Proposal> = sqlx::query_as(
        "SELECT * FROM proposals
         WHERE outcome IS NULL AND json_extract(change, '$.cohort') = ? ORDER BY id",
    )
    .bind(cohort)
    .fetch_all(tx.sql())
    .await?;
    for proposal in open {
        write_decision(tx, &proposal, by, "rejected", reason).await?;
    }
    Ok(())
}

/// What waits, newest first.
///
/// # Errors
/// What SQLite says.
pub async fn list(connection: &mut SqliteConnection) -> Result<Vec<Proposal>, Refused> {
    let found = sqlx::query_as("SELECT * FROM proposals ORDER BY proposed_at DESC LIMIT 200")
        .fetch_all(connection)
        .await?;
    Ok(found)
}

/// Whether a change widens or reopens something, here. Exhaustive: a new change must be judged.
async fn takes_two(tx: &mut Tx, change: &Change) -> Result<bool, Refused> {
    let (asked,): (bool,) =
        sqlx::query_as("SELECT two_persons FROM environment").fetch_one(tx.sql()).await?;
    if !asked {
        return Ok(false);
    }
    Ok(match change {
        Change::PublishPolicy(_)
        | Change::RollbackPolicy(_)
        | Change::PromotePolicy(_)
        | Change::AddAgentKey(_)
        | Change::EnableBlueprint(_)
        | Change::OpenIssuance(_)
        | Change::ReturnPerson(_)
        | Change::AdoptRoot(_)
        | Change::AddJoinToken(_)
        // A new ceiling is what a widened one is: more that an agent may ask for.
        | Change::AddBlueprint(_) => true,
        // The first activation puts the key in use that came with the registration; each later one
        // reopens what was stopped.
        Change::ActivateAgent(_) => true,
        Change::SetCeiling(change) => !narrows(tx, &change.id, &change.ceiling).await?,
        // Until there was ever a second who could agree, the first must be able to bring them in.
        Change::AddOperator(_) | Change::AddToken(_) => ever_agreed(tx).await? >= 2,
        // What a cohort goes back to is in force for all others, by two.
        Change::WithdrawPolicy(_)
        | Change::AddCohort(_)
        | Change::RemoveCohort(_)
        | Change::AddPerson(_)
        | Change::EndPerson(_)
        | Change::DisableBlueprint(_)
        | Change::RegisterAgent(_)
        | Change::DescribeAgent(_)
        | Change::SuspendAgent(_)
        | Change::RetireAgent(_)
        | Change::SuspendAgents(_)
        | Change::RetireAgents(_)
        | Change::ProposeOwner(_)
        | Change::AcceptOwner(_)
        | Change::RemoveAgentKey(_)
        | Change::RevokeThing(_)
        | Change::EndTask(_)
        | Change::StopEverything(_)
        | Change::EndOperator(_)
        | Change::EndToken(_)
        | Change::EndJoinToken(_) => false,
    })
}

/// Whether everything under the new ceiling was under the old one.
async fn narrows(tx: &mut Tx, id: &str, new: &ceiling::Ceiling) -> Result<bool, Refused> {
    use gatepass_engine::bundle::Risk;
    let old = apply::blueprint_ceiling(tx, id).await?;
    let entries = new.entries.iter().all(|entry| {
        // Without locations an entry reads at any audience, which only such an entry covers.
        old.entries.iter().any(|old| {
            let nowhere = old.locations.is_some() && entry.locations.is_none();
            !nowhere && ceiling::is_narrower(entry, old, &[])
        })
    });
    let scopes = new.scopes.iter().all(|scope| old.scopes.contains(scope));
    let lifetimes = [Risk::Low, Risk::Medium, Risk::High]
        .into_iter()
        .all(|risk| new.longest(risk) <= old.longest(risk));
    Ok(entries && scopes && lifetimes)
}

/// Operators that ever had a token with which to agree. Those that ended count: else one who ends
/// the other's token could bring in a second of their own making.
async fn ever_agreed(tx: &mut Tx) -> Result<usize, Refused> {
    let all: Vec<(String, Role)> =
        sqlx::query_as("SELECT DISTINCT operator, role FROM tokens").fetch_all(tx.sql()).await?;
    let agreeing = all.into_iter().filter(|(_, role)| role.allows(Need::Agree));
    Ok(agreeing.map(|(operator, _)| operator).collect::<std::collections::BTreeSet<_>>().len())
}

fn check_reason(reason: &str) -> Result<(), Refused> {
    let length = reason.trim().chars().count();
    if length == 0 || length > MAX_REASON || reason.chars().any(char::is_control) {
        return Err(Refused::invalid(
            "reason",
            format!("say why, in 1 to {MAX_REASON} characters on one line: it goes on record"),
        ));
    }
    Ok(())
}

/// Seconds that a proposal waits.
const PROPOSAL_LIFE: u64 = 24 * 3600;
const MAX_REASON: usize = 500;
