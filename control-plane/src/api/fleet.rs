//! The fleet, for operators and for Prometheus.

use std::sync::Arc;

use gatepass_engine::position::Position;

use super::endpoint::Names;
use super::reads::{Answer, value};
use crate::db::{DbError, unsigned};
use crate::desk::Refused;
use crate::fleet::{FleetView, LOST_AFTER, Newest, State};
use crate::metrics::FleetState;
use crate::server::Shared;

pub(super) async fn fleet(shared: Arc<Shared>, _: Names, _: Names) -> Answer {
    let (newest, policy_version) = newest(&shared).await.map_err(Refused::from)?;
    value(&FleetView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        position: newest.position.to_string(),
        policy: newest.policy.map(|policy| policy.to_string()).unwrap_or_default(),
        policy_version,
        at: shared.db.now().0,
        since: shared.since.0,
        lost_after: LOST_AFTER,
        envoys: shared.fleet.list(&newest, shared.db.now()),
    })
}

/// Sets the gauges that speak of the fleet.
pub(super) async fn gauge(shared: &Shared) -> Result<(), DbError> {
    let (newest, _) = newest(shared).await?;
    let all = shared.fleet.list(&newest, shared.db.now());
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

/// What followers are held against, and the version of the policy in force.
async fn newest(shared: &Shared) -> Result<(Newest, u64), DbError> {
    let published: Option<(i64, i64, i64)> = sqlx::query_as(
        "SELECT epoch, sequence, version FROM publications
         ORDER BY epoch DESC, sequence DESC LIMIT 1",
    )
    .fetch_optional(shared.db.readers())
    .await?;
    let policy = published.map(|(epoch, sequence, _)| Position {
        epoch: unsigned(epoch),
        sequence: unsigned(sequence),
    });
    let standing = *shared.db.book().standing().borrow();
    let newest = Newest {
        position: standing.position,
        policy,
        smallest_staleness: standing.smallest_staleness,
    };
    Ok((newest, published.map_or(0, |(_, _, version)| unsigned(version))))
}
