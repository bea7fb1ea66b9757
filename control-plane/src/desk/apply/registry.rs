//! People, blueprints and agents.

use gatepass_engine::revocation::Kind;
use serde_json::{Value, json};

use super::{
    By, Effect, access, active_person, kill, person_id, person_state, state, text, time, token_id,
};
use crate::db::{Tx, signed};
use crate::desk::Refused;
use crate::desk::agents::{self, Agent};
use crate::desk::change::{AddBlueprint, AddPerson, DescribeAgent, RegisterAgent, SetCeiling};
use crate::desk::lifecycle::{Move, Transition};

pub(super) async fn add_person(tx: &mut Tx, change: AddPerson) -> Result<Effect, Refused> {
    person_id("id", &change.id)?;
    text("name", &change.name)?;
    text("contact", &change.contact)?;
    let now = time(tx.now());
    sqlx::query(
        "INSERT INTO people (id, name, contact, state, created_at) VALUES (?, ?, ?, 'active', ?)",
    )
    .bind(&change.id)
    .bind(&change.name)
    .bind(&change.contact)
    .bind(now)
    .execute(tx.sql())
    .await?;
    let after = json!({ "id": change.id, "name": change.name, "contact": change.contact, "state": "active" });
    Ok(Effect { target: change.id, before: Value::Null, after })
}

/// What their agents hold, and what others hold for them, is dead; their agents are orphaned.
pub(super) async fn end_person(tx: &mut Tx, id: &str) -> Result<Vec<Effect>, Refused> {
    if person_state(tx, id).await? == "ended" {
        return Err(Refused::Conflict(format!("`{id}` has ended already")));
    }
    sqlx::query("UPDATE people SET state = 'ended' WHERE id = ?")
        .bind(id)
        .execute(tx.sql())
        .await?;
    // What they could do as an operator ends with them (see `operators::authenticate`).
    access::somebody_administers(tx).await?;
    kill(tx, Kind::Owner, id);
    kill(tx, Kind::Subject, id);
    let mut effects =
        vec![Effect { target: id.to_owned(), before: state("active"), after: state("ended") }];
    let owned: Vec<Agent> =
        sqlx::query_as("SELECT * FROM agents WHERE owner = ? AND state <> 'retired' ORDER BY id")
            .bind(id)
            .fetch_all(tx.sql())
            .await?;
    // What each holds names its owner, so the one revocation above reaches all of them.
    for agent in owned {
        let moved = agent.allow(Transition::Orphan)?;
        agents::put(tx, &agent, moved).await?;
        effects.push(moved_effect(&agent, moved));
    }
    // Who was asked to take over and has left cannot be accepted any more.
    let asked: Vec<(String,)> = sqlx::query_as(
        "UPDATE agents SET proposed_owner = NULL, accepted_at = NULL
         WHERE proposed_owner = ? AND state <> 'retired' RETURNING id",
    )
    .bind(id)
    .fetch_all(tx.sql())
    .await?;
    effects.extend(asked.into_iter().map(|(agent,)| Effect {
        target: agent,
        before: json!({ "proposed_owner": id }),
        after: json!({ "proposed_owner": null }),
    }));
    Ok(effects)
}

pub(super) async fn return_person(tx: &mut Tx, id: &str) -> Result<Effect, Refused> {
    if person_state(tx, id).await? == "active" {
        return Err(Refused::Conflict(format!("`{id}` is active already")));
    }
    sqlx::query("UPDATE people SET state = 'active' WHERE id = ?")
        .bind(id)
        .execute(tx.sql())
        .await?;
    Ok(Effect { target: id.to_owned(), before: state("ended"), after: state("active") })
}

pub(super) async fn add_blueprint(tx: &mut Tx, change: AddBlueprint) -> Result<Effect, Refused> {
    token_id("id", &change.id)?;
    text("purpose", &change.purpose)?;
    text("owners", &change.owners)?;
    change.ceiling.check()?;
    let now = time(tx.now());
    let ceiling = ceiling_text(&change.ceiling)?;
    sqlx::query(
        "INSERT INTO blueprints (id, purpose, owners, ceiling, state, created_at)
         VALUES (?, ?, ?, ?, 'enabled', ?)",
    )
    .bind(&change.id)
    .bind(&change.purpose)
    .bind(&change.owners)
    .bind(&ceiling)
    .bind(now)
    .execute(tx.sql())
    .await?;
    let after = json!({
        "id": change.id, "purpose": change.purpose, "owners": change.owners,
        "ceiling": change.ceiling, "state": "enabled",
    });
    Ok(Effect { target: change.id, before: Value::Null, after })
}

pub(super) async fn set_ceiling(tx: &mut Tx, change: SetCeiling) -> Result<Effect, Refused> {
    let before = super::blueprint_ceiling(tx, &change.id).await?;
    change.ceiling.check()?;
    sqlx::query("UPDATE blueprints SET ceiling = ? WHERE id = ?")
        .bind(ceiling_text(&change.ceiling)?)
        .bind(&change.id)
        .execute(tx.sql())
        .await?;
    // What was issued under the old ceiling may be above the new one.
    kill(tx, Kind::Blueprint, &change.id);
    Ok(Effect {
        target: change.id,
        before: json!({ "ceiling": before }),
        after: json!({ "ceiling": change.ceiling }),
    })
}

pub(super) async fn turn_blueprint(
    tx: &mut Tx,
    id: &str,
    to: &'static str,
) -> Result<Effect, Refused> {
    let row: Option<(String,)> = sqlx::query_as("SELECT state FROM blueprints WHERE id = ?")
        .bind(id)
        .fetch_optional(tx.sql())
        .await?;
    let (from,) = row.ok_or_else(|| Refused::not_found("blueprint", id))?;
    if from == to {
        return Err(Refused::Conflict(format!("`{id}` is {to} already")));
    }
    sqlx::query("UPDATE blueprints SET state = ? WHERE id = ?")
        .bind(to)
        .bind(id)
        .execute(tx.sql())
        .await?;
    if to == "disabled" {
        kill(tx, Kind::Blueprint, id);
    }
    Ok(Effect { target: id.to_owned(), before: state(&from), after: state(to) })
}

pub(super) async fn register(
    tx: &mut Tx,
    by: &By<'_>,
    change: RegisterAgent,
) -> Result<Effect, Refused> {
    for (field, value) in [
        ("name", &change.name),
        ("department", &change.department),
        ("purpose", &change.purpose),
        ("contact", &change.contact),
        ("project", &change.project),
    ] {
        text(field, value)?;
    }
    let now = tx.now();
    if change.valid_until <= now.0 || change.valid_until > now.0 + MAX_AGENT_LIFE {
        return Err(Refused::invalid(
            "valid_until",
            "expected unix seconds in the future, at most 400 days away",
        ));
    }
    active_person(tx, &change.owner).await?;
    let blueprint: Option<(String,)> = sqlx::query_as("SELECT state FROM blueprints WHERE id = ?")
        .bind(&change.blueprint)
        .fetch_optional(tx.sql())
        .await?;
    if blueprint.is_none() {
        return Err(Refused::not_found("blueprint", &change.blueprint));
    }
    let id = format!("agent:{}", uuid::Uuid::now_v7());
    sqlx::query(
        "INSERT INTO agents (id, name, blueprint, owner, creator, department, purpose, contact,
           project, environment, valid_until, state, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT name FROM environment), ?, 'staged', ?)",
    )
    .bind(&id)
    .bind(&change.name)
    .bind(&change.blueprint)
    .bind(&change.owner)
    .bind(by.operator)
    .bind(&change.department)
    .bind(&change.purpose)
    .bind(&change.contact)
    .bind(&change.project)
    .bind(signed(change.valid_until))
    .bind(time(now))
    .execute(tx.sql())
    .await?;
    let mut after = Agent::find(tx.sql(), &id).await?.json();
    if let Some(key) = &change.key {
        let thumbprint = agents::add_key(tx, &id, key, now).await?;
        if let Some(members) = after.as_object_mut() {
            members.insert("key".to_owned(), thumbprint.into());
        }
    }
    Ok(Effect { target: id, before: Value::Null, after })
}

pub(super) async fn describe(tx: &mut Tx, change: DescribeAgent) -> Result<Effect, Refused> {
    let agent = Agent::find(tx.sql(), &change.agent).await?;
    for (field, value) in [
        ("department", &change.department),
        ("purpose", &change.purpose),
        ("contact", &change.contact),
        ("project", &change.project),
    ] {
        value.as_deref().map_or(Ok(()), |value| text(field, value))?;
    }
    sqlx::query(
        "UPDATE agents SET department = ifnull(?, department), purpose = ifnull(?, purpose),
           contact = ifnull(?, contact), project = ifnull(?, project) WHERE id = ?",
    )
    .bind(&change.department)
    .bind(&change.purpose)
    .bind(&change.contact)
    .bind(&change.project)
    .bind(&change.agent)
    .execute(tx.sql())
    .await?;
    let after = Agent::find(tx.sql(), &change.agent).await?.json();
    Ok(Effect { target: change.agent, before: agent.json(), after })
}

/// The decision that an agent may work: its owner is there, its blueprint enabled, its time not over.
pub(super) async fn activate(tx: &mut Tx, id: &str) -> Result<Effect, Refused> {
    let agent = Agent::find(tx.sql(), id).await?;
    let moved = agent.allow(Transition::Activate)?;
    let owner = match (&agent.proposed_owner, agent.accepted_at) {
        (Some(new), Some(_)) => new.clone(),
        _ => agent.owner.clone(),
    };
    active_person(tx, &owner).await?;
    let (blueprint,): (String,) = sqlx::query_as("SELECT state FROM blueprints WHERE id = ?")
        .bind(&agent.blueprint)
        .fetch_one(tx.sql())
        .await?;
    if blueprint != "enabled" {
        return Err(Refused::Conflict(format!(
            "its blueprint `{}` is {blueprint}",
            agent.blueprint
        )));
    }
    if agent.valid_until <= time(tx.now()) {
        return Err(Refused::Conflict(format!("`{id}` was valid until a time that is past")));
    }
    if owner != agent.owner {
        // Gatepasses carry their owner: those of the former one end here.
        kill(tx, Kind::Agent, id);
        sqlx::query(
            "UPDATE agents SET owner = ?, proposed_owner = NULL, accepted_at = NULL WHERE id = ?",
        )
        .bind(&owner)
        .bind(id)
        .execute(tx.sql())
        .await?;
    }
    agents::put(tx, &agent, moved).await?;
    Ok(Effect {
        target: id.to_owned(),
        before: json!({ "state": agent.state, "owner": agent.owner }),
        after: json!({ "state": moved.to(), "owner": owner }),
    })
}

pub(super) async fn suspend(tx: &mut Tx, id: &str) -> Result<Effect, Refused> {
    let agent = Agent::find(tx.sql(), id).await?;
    take(tx, &agent, Transition::Suspend).await
}

pub(super) async fn retire(tx: &mut Tx, id: &str) -> Result<Effect, Refused> {
    let agent = Agent::find(tx.sql(), id).await?;
    take(tx, &agent, Transition::Retire).await
}

/// A transition that stops: the agent's gatepasses are dead with it.
async fn take(tx: &mut Tx, agent: &Agent, transition: Transition) -> Result<Effect, Refused> {
    let moved = agent.allow(transition)?;
    agents::put(tx, agent, moved).await?;
    if moved.stops() {
        kill(tx, Kind::Agent, &agent.id);
    }
    Ok(moved_effect(agent, moved))
}

fn moved_effect(agent: &Agent, moved: Move) -> Effect {
    Effect {
        target: agent.id.clone(),
        before: state(moved.from().as_str()),
        after: state(moved.to().as_str()),
    }
}

pub(super) async fn suspend_many(
    tx: &mut Tx,
    project: Option<String>,
    blueprint: Option<String>,
) -> Result<Vec<Effect>, Refused> {
    many(tx, project, blueprint, "active", Transition::Suspend).await
}

pub(super) async fn retire_many(
    tx: &mut Tx,
    project: Option<String>,
    blueprint: Option<String>,
) -> Result<Vec<Effect>, Refused> {
    many(tx, project, blueprint, "%", Transition::Retire).await
}

async fn many(
    tx: &mut Tx,
    project: Option<String>,
    blueprint: Option<String>,
    state: &str,
    transition: Transition,
) -> Result<Vec<Effect>, Refused> {
    if project.is_none() == blueprint.is_none() {
        return Err(Refused::invalid("project", "state a `project` or a `blueprint`, one of them"));
    }
    let found: Vec<Agent> = sqlx::query_as(
        "SELECT * FROM agents WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR blueprint = ?2)
           AND state LIKE ?3 AND state <> 'retired' ORDER BY id",
    )
    .bind(&project)
    .bind(&blueprint)
    .bind(state)
    .fetch_all(tx.sql())
    .await?;
    if found.is_empty() {
        return Err(Refused::Conflict("no agent there is in a state to change".to_owned()));
    }
    let mut effects = Vec::with_capacity(found.len());
    for agent in found {
        effects.push(take(tx, &agent, transition).await?);
    }
    Ok(effects)
}

/// Asks somebody to take an agent over. Until they accept and it is activated anew, an orphan stays
/// one; an agent that works goes on under its owner.
pub(super) async fn propose_owner(tx: &mut Tx, id: &str, owner: &str) -> Result<Effect, Refused> {
    let agent = Agent::find(tx.sql(), id).await?;
    agent.allow(Transition::Retire)?;
    active_person(tx, owner).await?;
    if agent.owner == owner && agent.state != "orphaned" {
        return Err(Refused::Conflict(format!("`{owner}` owns it already")));
    }
    sqlx::query("UPDATE agents SET proposed_owner = ?, accepted_at = NULL WHERE id = ?")
        .bind(owner)
        .bind(id)
        .execute(tx.sql())
        .await?;
    Ok(Effect {
        target: id.to_owned(),
        before: json!({ "owner": agent.owner, "proposed_owner": agent.proposed_owner }),
        after: json!({ "owner": agent.owner, "proposed_owner": owner }),
    })
}

pub(super) async fn accept_owner(tx: &mut Tx, by: &By<'_>, id: &str) -> Result<Effect, Refused> {
    let agent = Agent::find(tx.sql(), id).await?;
    let Some(asked) = &agent.proposed_owner else {
        return Err(Refused::Conflict(format!("nobody was asked to take `{id}` over")));
    };
    if by.person != Some(asked.as_str()) {
        return Err(Refused::Forbidden(format!("only `{asked}` can accept to own `{id}`")));
    }
    active_person(tx, asked).await?;
    let now = time(tx.now());
    sqlx::query("UPDATE agents SET accepted_at = ? WHERE id = ?")
        .bind(now)
        .bind(id)
        .execute(tx.sql())
        .await?;
    if agent.state != "orphaned" {
        // It works under another owner: it stops and waits for the new decision.
        take(tx, &agent, Transition::Orphan).await?;
    }
    Ok(Effect {
        target: id.to_owned(),
        before: json!({ "owner": agent.owner, "state": agent.state }),
        after: json!({ "accepted_by": asked, "state": "orphaned" }),
    })
}

pub(super) async fn add_key(tx: &mut Tx, id: &str, key: &Value) -> Result<Effect, Refused> {
    let agent = Agent::find(tx.sql(), id).await?;
    agent.allow(Transition::Retire)?;
    let now = tx.now();
    let thumbprint = agents::add_key(tx, id, key, now).await?;
    Ok(Effect {
        target: id.to_owned(),
        before: Value::Null,
        after: json!({ "agent": id, "thumbprint": thumbprint }),
    })
}

pub(super) async fn remove_key(tx: &mut Tx, id: &str, thumbprint: &str) -> Result<Effect, Refused> {
    let now = time(tx.now());
    let done = sqlx::query(
        "UPDATE agent_keys SET removed_at = ? WHERE thumbprint = ? AND agent = ? AND removed_at IS NULL",
    )
    .bind(now)
    .bind(thumbprint)
    .bind(id)
    .execute(tx.sql())
    .await?;
    if done.rows_affected() == 0 {
        return Err(Refused::not_found("key", thumbprint));
    }
    // Whoever had the key may hold gatepasses that it was used to get.
    kill(tx, Kind::Agent, id);
    Ok(Effect {
        target: id.to_owned(),
        before: json!({ "agent": id, "thumbprint": thumbprint }),
        after: json!({ "agent": id, "removed": thumbprint }),
    })
}

fn ceiling_text(ceiling: &crate::desk::ceiling::Ceiling) -> Result<String, Refused> {
    serde_json::to_string(ceiling).map_err(|error| Refused::invalid("ceiling", error.to_string()))
}

/// Seconds: a passport is renewed once a year.
const MAX_AGENT_LIFE: u64 = 400 * 24 * 3600;
