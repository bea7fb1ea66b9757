//! Cohorts, and the policy that one of them has before all others: published there, then promoted
//! or withdrawn. Each of these is somebody's decision; nothing here is done by itself.

use gatepass_engine::position::Position;
use serde_json::{Value, json};

use super::{By, Effect, time};
use crate::db::{DbError, Tx, signed};
use crate::desk::Refused;
use crate::desk::canary::{Evidence, Hold, Standpoint};
use crate::desk::change::{Change, PromotePolicy, RemoveCohort, WithdrawPolicy};
use crate::desk::cohorts::{self, Cohort, MAX_COHORTS, check_name};
use crate::desk::policies::{self, Place};
use crate::desk::proposals;
use crate::publish::ToCohort;

pub(super) async fn add(tx: &mut Tx, by: &By<'_>, name: String) -> Result<Effect, Refused> {
    check_name(&name)?;
    if name == tx.publisher().state().audience {
        return Err(Refused::invalid("name", "it is the feed audience of those in no cohort"));
    }
    let known = tx.publisher().cohorts();
    if known.iter().any(|cohort| cohort.name() == name) {
        return Err(Refused::Conflict(format!("there is a cohort `{name}` already")));
    }
    if known.len() >= MAX_COHORTS {
        return Err(Refused::Conflict(format!(
            "there are {MAX_COHORTS} cohorts: remove one first"
        )));
    }
    let now = time(tx.now());
    sqlx::query("INSERT INTO cohorts (name, created_at) VALUES (?, ?)")
        .bind(&name)
        .bind(now)
        .execute(tx.sql())
        .await?;
    // A position of its own: a cohort of this name that was before had another policy at this one.
    tx.change_cohort(&name, ToCohort::Begin);
    let version = policies::in_force(tx.sql()).await?;
    if version > 0 {
        policies::note(tx, Some(&name), version, by.operator).await?;
    }
    Ok(Effect {
        after: json!({ "cohort": name, "version": version }),
        target: name,
        before: Value::Null,
    })
}

pub(super) async fn remove(
    tx: &mut Tx,
    by: &By<'_>,
    change: RemoveCohort,
    reason: &str,
) -> Result<Effect, Refused> {
    let cohort = Cohort::find(tx.sql(), &change.name).await?;
    let name = &cohort.name;
    if let Some(version) = cohort.canary() {
        return Err(Refused::Conflict(format!(
            "`{name}` tries version {version}: promote or withdraw it first"
        )));
    }
    let now = tx.now();
    if let Some(seconds) = tx.fleet().unheard(now)
        && !change.despite_followers
    {
        return Err(Refused::Conflict(format!(
            "this control plane runs too short a time to know who follows it: ask again in {seconds} s, or use `--despite-followers`"
        )));
    }
    let mut following = Vec::new();
    tx.fleet().each(now, |report| {
        if report.who.audience == *name && !report.is_lost(now) {
            following.push(format!("{}/{}", report.who.node, report.who.envoy));
        }
    });
    if !following.is_empty() && !change.despite_followers {
        return Err(Refused::Conflict(format!(
            "{} Envoys follow it, {} for one, and would refuse everything once they are stale: give them another feed audience first, or use `--despite-followers`",
            following.len(),
            following.first().map_or("", String::as_str),
        )));
    }
    sqlx::query("UPDATE join_tokens SET ended_at = ? WHERE cohort = ? AND ended_at IS NULL")
        .bind(time(now))
        .bind(name)
        .execute(tx.sql())
        .await?;
    proposals::reject_for_cohort(tx, by.operator, name, reason).await?;
    sqlx::query("DELETE FROM cohorts WHERE name = ?").bind(name).execute(tx.sql()).await?;
    tx.change_cohort(name, ToCohort::End);
    Ok(Effect {
        target: name.clone(),
        before: json!({ "cohort": name }),
        after: json!({ "cohort": name, "removed": true, "followers": following.len() }),
    })
}

/// A version that is in force nowhere else.
pub(super) async fn publish(
    tx: &mut Tx,
    by: &By<'_>,
    name: &str,
    content: &str,
    reason: &str,
) -> Result<Effect, Refused> {
    let cohort = Cohort::find(tx.sql(), name).await?;
    let bundle = policies::compile(content, &tx.publisher().state().environment)?;
    let of_all = policies::in_force(tx.sql()).await?;
    if of_all == 0 {
        return Err(Refused::Conflict(
            "there is no policy of all yet, to go back to: publish it first".to_owned(),
        ));
    }
    if cohort.canary().is_none() {
        // What they denied so far is what they may deny under it.
        let everywhere = policies::published(tx.sql()).await?;
        let now = tx.now();
        let here = tx.publisher().position();
        let before = Evidence::before(name, &everywhere, here, tx.fleet(), now);
        sqlx::query("UPDATE cohorts SET allowed_before = ?, denied_before = ? WHERE name = ?")
            .bind(signed(before.allowed))
            .bind(signed(before.denied))
            .bind(name)
            .execute(tx.sql())
            .await?;
    }
    let version = policies::keep(tx, content, by.operator, reason).await?;
    policies::put_in_force(tx, version, by.operator, Place::Cohort(name, bundle)).await?;
    let warnings = policies::warnings(tx, content).await?;
    Ok(Effect {
        target: "policy".to_owned(),
        before: json!({ "version": cohort.canary().unwrap_or(of_all), "cohort": name }),
        after: json!({
            "version": version, "cohort": name, "digest": policies::digest(content),
            "position": tx.position().to_string(), "warnings": warnings,
        }),
    })
}

/// The canary's version becomes that of all. Held where what was seen speaks against it, unless
/// whoever asks says that they know.
pub(super) async fn promote(
    tx: &mut Tx,
    by: &By<'_>,
    change: PromotePolicy,
) -> Result<Effect, Refused> {
    let (cohort, version, content) = promoted(tx, &change).await?;
    let name = &cohort.name;
    let everywhere = policies::published(tx.sql()).await?;
    let place = Standpoint {
        audience: &tx.publisher().state().audience,
        here: tx.publisher().position(),
        everywhere: &everywhere,
        now: tx.now(),
    };
    let evidence = Evidence::of(name, &place, cohort.before(), tx.fleet());
    let held: Vec<String> = evidence.holds().iter().map(Hold::to_string).collect();
    if !held.is_empty() && !change.despite_denials {
        return Err(Refused::Conflict(format!(
            "the promotion of version {version} is held: {}. Wait, `gatepass policy withdraw`, or promote it with `--despite-denials`",
            held.join("; ")
        )));
    }
    let before = policies::in_force(tx.sql()).await?;
    let bundle = policies::compile(&content, &tx.publisher().state().environment)?;
    policies::put_in_force(tx, version, by.operator, Place::ElsewhereToo(name, bundle)).await?;
    Ok(Effect {
        target: "policy".to_owned(),
        before: json!({ "version": before }),
        after: json!({
            "version": version, "cohort": name, "position": tx.position().to_string(),
            "trial": Change::from(change).trial(),
            "seen": evidence.cohort, "elsewhere": evidence.others, "held": held,
        }),
    })
}

/// Whether there is what could be promoted; what was seen of it is judged when it is.
pub(super) async fn check(tx: &mut Tx, change: &PromotePolicy) -> Result<(), Refused> {
    promoted(tx, change).await.map(|_| ())
}

async fn promoted(tx: &mut Tx, change: &PromotePolicy) -> Result<(Cohort, u64, String), Refused> {
    let Trial { cohort, version, .. } = Named::from(change).whole(tx).await?;
    let content = policies::content(tx.sql(), version).await?;
    for other in cohorts::list(tx.sql()).await?.iter().filter(|other| other.name != cohort.name) {
        let Some(tried) = other.canary() else { continue };
        if policies::content(tx.sql(), tried).await? != content {
            return Err(Refused::Conflict(format!(
                "`{}` tries another version, {tried}: promote or withdraw that first",
                other.name
            )));
        }
    }
    Ok((cohort, version, content))
}

/// The cohort gets the policy of all again, at a new position.
pub(super) async fn withdraw(
    tx: &mut Tx,
    by: &By<'_>,
    change: &WithdrawPolicy,
) -> Result<Effect, Refused> {
    let Trial { cohort, version, .. } = Named::from(change).whole(tx).await?;
    let name = &cohort.name;
    let of_all = policies::in_force(tx.sql()).await?;
    policies::put_in_force(tx, of_all, by.operator, Place::BackTo(name)).await?;
    Ok(Effect {
        target: "policy".to_owned(),
        before: json!({ "version": version, "cohort": name }),
        after: json!({
            "version": of_all, "cohort": name, "position": tx.position().to_string(),
            "trial": Change::from(change.clone()).trial(),
        }),
    })
}

/// While one cohort tries a policy, there is none to be put in force for all: it would be undone by
/// the promotion, or undo what is tried, and nobody would have said so.
pub(super) async fn no_canary(tx: &mut Tx) -> Result<(), Refused> {
    match cohorts::list(tx.sql()).await?.into_iter().find(|cohort| cohort.canary().is_some()) {
        None => Ok(()),
        Some(cohort) => Err(Refused::Conflict(format!(
            "`{0}` tries version {1}: first `gatepass policy promote --cohort {0}` or `gatepass policy withdraw --cohort {0}`",
            cohort.name,
            cohort.canary().unwrap_or_default(),
        ))),
    }
}

/// With the trial that it is about.
pub(super) async fn fill_promotion(
    tx: &mut Tx,
    change: PromotePolicy,
) -> Result<PromotePolicy, Refused> {
    let trial = Named::from(&change).find(tx).await?;
    let (cohort, version, since) = trial.written();
    Ok(PromotePolicy { cohort, version, since, ..change })
}

/// With the trial that it is about.
pub(super) async fn fill_withdrawal(
    tx: &mut Tx,
    change: WithdrawPolicy,
) -> Result<WithdrawPolicy, Refused> {
    let trial = Named::from(&change).find(tx).await?;
    let (cohort, version, since) = trial.written();
    Ok(WithdrawPolicy { cohort, version, since })
}

/// A cohort tries a version, since it was put in force there.
struct Trial {
    cohort: Cohort,
    version: u64,
    since: Position,
}

/// The trial that a change is about, as far as whoever asks says.
struct Named<'a> {
    cohort: Option<&'a str>,
    version: Option<u64>,
    since: Option<&'a str>,
}

impl Trial {
    fn written(&self) -> (Option<String>, Option<u64>, Option<String>) {
        (Some(self.cohort.name.clone()), Some(self.version), Some(self.since.to_string()))
    }
}

impl<'a> From<&'a PromotePolicy> for Named<'a> {
    fn from(change: &'a PromotePolicy) -> Self {
        let PromotePolicy { cohort, version, since, despite_denials: _ } = change;
        Self { cohort: cohort.as_deref(), version: *version, since: since.as_deref() }
    }
}

impl<'a> From<&'a WithdrawPolicy> for Named<'a> {
    fn from(change: &'a WithdrawPolicy) -> Self {
        let WithdrawPolicy { cohort, version, since } = change;
        Self { cohort: cohort.as_deref(), version: *version, since: since.as_deref() }
    }
}

impl Named<'_> {
    /// Only where nothing is left open: what waited, or was asked for before changes named a trial,
    /// could be about another by now.
    async fn whole(self, tx: &mut Tx) -> Result<Trial, Refused> {
        if self.cohort.is_none() || self.version.is_none() || self.since.is_none() {
            return Err(Refused::Conflict(
                "it does not say which trial of a policy it is about: ask for it again".to_owned(),
            ));
        }
        self.find(tx).await
    }

    /// The trial that is named, or the only one, where it goes on.
    async fn find(self, tx: &mut Tx) -> Result<Trial, Refused> {
        let cohort = trying(tx, self.cohort).await?;
        let name = &cohort.name;
        let Some(version) = cohort.canary() else {
            return Err(Refused::Conflict(format!("`{name}` has the policy of all")));
        };
        let everywhere = policies::published(tx.sql()).await?;
        let its = everywhere.cohorts.get(name).copied().flatten();
        let Some(since) = its.filter(|its| its.version == version).map(|its| its.at) else {
            let what = format!("`{name}` tries version {version}, which was never published");
            return Err(DbError::Corrupt(what).into());
        };
        let asked: Option<Position> = match self.since {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Refused::invalid("since", "expected a position, `<epoch>.<sequence>`")
            })?),
        };
        let is_it = self.version.is_none_or(|asked| asked == version)
            && asked.is_none_or(|asked| asked == since);
        if !is_it {
            return Err(Refused::Conflict(format!(
                "`{name}` tries version {version} since {since}, and not what this is about: look at it with `gatepass cohort list` and ask again"
            )));
        }
        Ok(Trial { cohort, version, since })
    }
}

/// The cohort that is named, or the only one that tries a policy.
async fn trying(tx: &mut Tx, name: Option<&str>) -> Result<Cohort, Refused> {
    if let Some(name) = name {
        return Cohort::find(tx.sql(), name).await;
    }
    let all = cohorts::list(tx.sql()).await?;
    let mut trying = all.into_iter().filter(|cohort| cohort.canary().is_some());
    match (trying.next(), trying.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Refused::Conflict("no cohort tries a policy".to_owned())),
        (Some(_), Some(_)) => Err(Refused::invalid("cohort", "several try a policy: name one")),
    }
}
