//! Counters and gauges, for Prometheus. Names begin with `gatepass_`; label sets are bounded.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    /// `issued`, or the OAuth error.
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ChangeName {
    pub(crate) change: &'static str,
    /// `done`, `proposed` or `refused`.
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PollOutcome {
    /// `news`, `checkpoint`, `ahead`, `denied`, `busy`.
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Redeemed {
    /// `granted`, `spent`, `stored`, `refused` or `error`.
    pub(crate) verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PostOutcome {
    /// `taken`, `known`, `refused`, `denied`, `busy`.
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RecordKind {
    /// `entry` or `gap`.
    pub(crate) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FleetState {
    /// `lost`, `ahead`, `cold`, `stale`, `lagging` or `enforcing`.
    pub(crate) state: &'static str,
}

/// All that is counted.
pub struct Metrics {
    registry: Registry,
    pub(crate) issued: Family<Outcome, Counter>,
    pub(crate) changes: Family<ChangeName, Counter>,
    pub(crate) polls: Family<PollOutcome, Counter>,
    pub(crate) redeemed: Family<Redeemed, Counter>,
    pub(crate) record_posts: Family<PostOutcome, Counter>,
    pub(crate) records: Family<RecordKind, Counter>,
    pub(crate) epoch: Gauge<u64, AtomicU64>,
    pub(crate) sequence: Gauge<u64, AtomicU64>,
    pub(crate) followers: Gauge<u64, AtomicU64>,
    pub(crate) fleet: Family<FleetState, Gauge<u64, AtomicU64>>,
    pub(crate) slowest_epoch: Gauge<u64, AtomicU64>,
    pub(crate) slowest_sequence: Gauge<u64, AtomicU64>,
    pub(crate) oldest_age: Gauge<u64, AtomicU64>,
    pub(crate) issuance_open: Gauge<u64, AtomicU64>,
    pub(crate) root_expires: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("gatepass");
        let issued = Family::<Outcome, Counter>::default();
        registry.register("issuance", "Requests at the token endpoint", issued.clone());
        let changes = Family::<ChangeName, Counter>::default();
        registry.register("changes", "Changes asked for by operators", changes.clone());
        let polls = Family::<PollOutcome, Counter>::default();
        registry.register("feed_polls", "Polls of the feed", polls.clone());
        let redeemed = Family::<Redeemed, Counter>::default();
        registry.register("redeemed", "Uses and records that gates asked about", redeemed.clone());
        let record_posts = Family::<PostOutcome, Counter>::default();
        registry.register(
            "record_posts",
            "Batches of decisions that gates told",
            record_posts.clone(),
        );
        let records = Family::<RecordKind, Counter>::default();
        registry.register(
            "records",
            "Entries of decisions, and gaps noticed in them",
            records.clone(),
        );
        // A series that is absent until its first event cannot be alerted on.
        drop(records.get_or_create(&RecordKind { kind: "gap" }));
        let epoch = Gauge::default();
        registry.register("epoch", "Epoch of the newest position", epoch.clone());
        let sequence = Gauge::default();
        registry.register("sequence", "Sequence of the newest position", sequence.clone());
        let followers = Gauge::default();
        registry.register("followers", "Followers heard of in a day", followers.clone());
        let fleet = Family::<FleetState, Gauge<u64, AtomicU64>>::default();
        registry.register("fleet", "Followers by how they stand", fleet.clone());
        let slowest_epoch = Gauge::default();
        registry.register(
            "fleet_slowest_epoch",
            "Epoch of the slowest worker of the followers that are not lost",
            slowest_epoch.clone(),
        );
        let slowest_sequence = Gauge::default();
        registry.register(
            "fleet_slowest_sequence",
            "Sequence of the slowest worker of the followers that are not lost",
            slowest_sequence.clone(),
        );
        let oldest_age = Gauge::default();
        registry.register(
            "fleet_oldest_age_seconds",
            "Age of the oldest state among the followers that are not lost",
            oldest_age.clone(),
        );
        let issuance_open = Gauge::default();
        registry.register("issuance_open", "1 while gatepasses are issued", issuance_open.clone());
        let root_expires = Gauge::default();
        registry.register(
            "root_expires_timestamp_seconds",
            "When the root document in force ends",
            root_expires.clone(),
        );
        Self {
            registry,
            issued,
            changes,
            polls,
            redeemed,
            record_posts,
            records,
            epoch,
            sequence,
            followers,
            fleet,
            slowest_epoch,
            slowest_sequence,
            oldest_age,
            issuance_open,
            root_expires,
        }
    }

    pub(crate) fn encode(&self) -> Result<String, core::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
