//! Cohorts: their names, and how the policies that they try stand.

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use utoipa::ToSchema;

use super::Refused;
use super::canary::{Evidence, Hold, Seen, Standpoint};
use super::policies::{self, Everywhere, Published};
use crate::db::{DbError, unsigned};
use crate::fleet::Fleet;

/// A cohort as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Cohort {
    pub name: String,
    /// Of its own policy; `None` while it has the one of all.
    policy: Option<i64>,
    allowed_before: i64,
    denied_before: i64,
}

/// A cohort, and what was seen of the policy that it tries.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CohortView {
    /// What its Envoys have as the audience of the feed.
    pub name: String,
    /// The version in force there; 0 before the first.
    pub policy_version: u64,
    /// Whether all others have another.
    pub is_canary: bool,
    /// Where it was put in force there; empty before the first.
    pub policy: String,
    /// Its Envoys that reported since.
    pub envoys: usize,
    /// What they decided on verified gatepasses by that policy.
    pub seen: Seen,
    /// What was decided by the policy of all in the same time, elsewhere.
    pub elsewhere: Seen,
    /// The same in the cohort, before.
    pub before: Seen,
    /// Why it would not be promoted now.
    pub held: Vec<String>,
}

impl Cohort {
    /// The version that it tries.
    #[must_use]
    pub fn canary(&self) -> Option<u64> {
        self.policy.map(unsigned)
    }

    pub(super) fn before(&self) -> Seen {
        Seen { allowed: unsigned(self.allowed_before), denied: unsigned(self.denied_before) }
    }

    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn find(connection: &mut SqliteConnection, name: &str) -> Result<Self, Refused> {
        let found = sqlx::query_as(
            "SELECT name, policy, allowed_before, denied_before FROM cohorts WHERE name = ?",
        )
        .bind(name)
        .fetch_optional(connection)
        .await?;
        found.ok_or_else(|| Refused::not_found("cohort", name))
    }
}

/// All of them, by name.
///
/// # Errors
/// What SQLite says.
pub async fn list(connection: &mut SqliteConnection) -> Result<Vec<Cohort>, DbError> {
    let all = sqlx::query_as(
        "SELECT name, policy, allowed_before, denied_before FROM cohorts ORDER BY name",
    )
    .fetch_all(connection)
    .await?;
    Ok(all)
}

/// How all of them stand. `audience` is that of those in no cohort, `here` the newest position.
///
/// # Errors
/// What SQLite says.
pub async fn views(
    connection: &mut SqliteConnection,
    audience: &str,
    here: Position,
    fleet: &Fleet,
    now: UnixSeconds,
) -> Result<Vec<CohortView>, DbError> {
    let all = list(&mut *connection).await?;
    let everywhere = policies::published(connection).await?;
    let view = |cohort: Cohort| {
        let name = &cohort.name;
        let place = Standpoint { audience, here, everywhere: &everywhere, now };
        let evidence = Evidence::of(name, &place, cohort.before(), fleet);
        view(&cohort, &evidence, &everywhere)
    };
    Ok(all.into_iter().map(view).collect())
}

fn view(cohort: &Cohort, evidence: &Evidence, everywhere: &Everywhere) -> CohortView {
    let its: Option<Published> = everywhere.cohorts.get(&cohort.name).copied().flatten();
    let is_canary = cohort.policy.is_some();
    let of_all = everywhere.of_all.map_or(0, |published| published.version);
    CohortView {
        name: cohort.name.clone(),
        policy_version: cohort.canary().unwrap_or(of_all),
        is_canary,
        policy: its.map(|published| published.at.to_string()).unwrap_or_default(),
        envoys: evidence.envoys,
        seen: evidence.cohort,
        elsewhere: evidence.others,
        before: evidence.before,
        held: match is_canary {
            true => evidence.holds().iter().map(Hold::to_string).collect(),
            false => Vec::new(),
        },
    }
}

/// What people type, and what stands in a plugin's configuration, a URL and a table.
pub(super) fn check_name(name: &str) -> Result<(), Refused> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name) {
        return Ok(());
    }
    Err(Refused::invalid(
        "name",
        format!("expected 1 to {MAX_NAME} lower-case letters, digits and `-`"),
    ))
}

/// Cohorts at once: each step of the feed is signed once for each.
pub const MAX_COHORTS: usize = 16;
const MAX_NAME: usize = 64;
