//! The fleet, for operators and for Prometheus.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatepass_engine::position::Position;

use super::endpoint::Names;
use super::reads::{Answer, value};
use crate::db::DbError;
use crate::desk::Refused;
use crate::desk::policies::{self, Published};
use crate::fleet::{CohortPolicy, FleetView, LOST_AFTER, Newest, State};
use crate::metrics::FleetState;
use crate::server::Shared;

pub(super) async fn fleet(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    let newest = NewestOf::read(&shared).await.map_err(Refused::from)?;
    let written = |at: Option<Position>| at.map(|at| at.to_string()).unwrap_or_default();
    let cohort = |(name, (published, _)): (&String, &(Option<Published>, Newest))| CohortPolicy {
        cohort: name.clone(),
        policy: written(published.map(|published| published.at)),
        policy_version: published.map_or(0, |published| published.version),
    };
    value(&FleetView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        position: newest.of_all.position.to_string(),
        policy: written(newest.of_all.policy),
        policy_version: newest.version,
        cohorts: newest.cohorts.iter().map(cohort).collect(),
        at: shared.db.now().0,
        since: shared.db.fleet().since().0,
        lost_after: LOST_AFTER,
        envoys: shared.db.fleet().list(|audience| newest.of(audience), shared.db.now()),
    })
}

/// Sets the gauges that speak of the fleet.
pub(super) async fn gauge(shared: &Shared) -> Result<(), DbError> {
    let newest = NewestOf::read(shared).await?;
    let all = shared.db.fleet().list(|audience| newest.of(audience), shared.db.now());
    let metrics = &shared.metrics;
    metrics.followers.set(all.len() as u64);
    for state in State::ALL {
        let count = all.iter().filter(|follower| follower.state == state).count();
        metrics.fleet.get_or_create(&FleetState { state: state.as_str() }).set(count as u64);
    }
    // Of a lost one nobody knows what it enforces: `state="lost"` counts it.
    let heard = || all.iter().filter(|follower| follower.state != State::Lost);
    let positions = heard().filter_map(|follower| follower.position.parse::<Position>().ok());
    let slowest = positions.min().unwrap_or_default();
    metrics.slowest_epoch.set(slowest.epoch);
    metrics.slowest_sequence.set(slowest.sequence);
    metrics.oldest_age.set(heard().filter_map(|follower| follower.age).max().unwrap_or(0));
    Ok(())
}

/// What followers are held against, by the audience that they follow.
struct NewestOf {
    of_all: Newest,
    /// Of the policy of all.
    version: u64,
    cohorts: BTreeMap<String, (Option<Published>, Newest)>,
}

impl NewestOf {
    async fn read(shared: &Shared) -> Result<Self, DbError> {
        let mut connection = shared.db.readers().acquire().await?;
        let published = policies::published(&mut connection).await?;
        drop(connection);
        let book = shared.db.book();
        let newest = |audience: &str, published: Option<Published>| {
            let standing = book.standing_of(audience)?;
            let newest = Newest {
                position: standing.position,
                policy: published.map(|published| published.at),
                smallest_staleness: standing.smallest_staleness,
            };
            Some((published, newest))
        };
        let gone = || DbError::Corrupt("the environment has no feed audience".to_owned());
        let (_, of_all) = newest(book.audience(), published.of_all).ok_or_else(gone)?;
        // A cohort that was removed in this moment is not there.
        let cohorts = published
            .cohorts
            .into_iter()
            .filter_map(|(name, published)| Some((name.clone(), newest(&name, published)?)));
        Ok(Self {
            of_all,
            version: published.of_all.map_or(0, |published| published.version),
            cohorts: cohorts.collect(),
        })
    }

    /// Who follows a cohort that is no more is held against all.
    fn of(&self, audience: &str) -> Newest {
        self.cohorts.get(audience).map_or(self.of_all, |(_, newest)| *newest)
    }
}
