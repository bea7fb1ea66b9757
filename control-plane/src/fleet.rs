//! The Envoys that follow the feed, as they report themselves. Kept in memory: a report is as old
//! as the last poll, and the list starts empty when the control plane does.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a follower said of itself with its last poll, and who it proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub who: Name,
    /// How it proved who it is: `certificate`, `join_token` or `none`.
    pub identity: &'static str,
    pub address: IpAddr,
    pub version: String,
    pub mode: String,
    pub position: Option<Position>,
    pub policy: Option<Position>,
    pub root: Option<u64>,
    /// Milliseconds, when it polled.
    pub age: Option<u64>,
    pub workers: String,
    pub decided: Option<Decided>,
    /// What it had said of that when a cohort last got a policy to try, by the cohort.
    pub marked: BTreeMap<String, Decided>,
    pub refusal: Option<LastRefusal>,
    pub seen_at: UnixSeconds,
    /// When its poll is answered at the latest; it polls again at once.
    pub answered_by: UnixSeconds,
}

/// One Envoy: several may show one certificate or one join token, so their own word tells them
/// apart. What it says for one audience says nothing for another, and replaces nothing there: a join
/// token is good for one alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The certificate's name, or the fleet of the join token.
    pub node: String,
    pub envoy: String,
    /// The feed that it follows.
    pub audience: String,
}

/// What a follower has decided on gatepasses that it had verified, under one policy and since it
/// has that one: requests without such a gatepass are in no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Where that policy comes from.
    pub policy: Position,
    pub allowed: u64,
    /// For a reason that a policy gives.
    pub denied: u64,
}

/// A batch that a follower did not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastRefusal {
    pub code: String,
    /// The Envoy's own words.
    pub why: String,
    /// Unix seconds by the Envoy's clock.
    pub at: Option<u64>,
}

/// What the newest state is, which followers are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    pub position: Position,
    /// Where the policy in force was published; `None` before the first.
    pub policy: Option<Position>,
    /// Seconds; the smallest staleness bound of any action in force.
    pub smallest_staleness: u32,
}

/// How a follower stands; the worst first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[schema(as = FollowerState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It did not poll when it should have.
    Lost,
    /// It follows something that was never published here: what a thief of the feed key said, or what a
    /// database had that this one is an older copy of.
    Ahead,
    /// A worker has no state yet and refuses what is guarded.
    Cold,
    /// Its last proof of freshness is older than an action allows.
    Stale,
    /// A worker has not the newest position, or not the policy in force.
    Lagging,
    Enforcing,
}

/// A follower as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Follower {
    /// The certificate's name, or the fleet of the join token; empty where followers prove nothing.
    pub node: String,
    /// Drawn by this Envoy when it started.
    pub envoy: String,
    pub state: State,
    /// `<epoch>.<sequence>` of its slowest worker; empty while one has none.
    pub position: String,
    /// The feed that it follows: a cohort's, or that of all others.
    pub audience: String,
    /// The position of the policy that its slowest worker decides by.
    pub policy: String,
    /// Verified gatepasses that it let on and refused under its newest policy.
    pub allowed: Option<u64>,
    pub denied: Option<u64>,
    /// Seconds since the last proof of freshness that it has told of.
    pub age: Option<u64>,
    /// The root document in force there.
    pub root_version: Option<u64>,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// Of its filter.
    pub version: String,
    /// VMs that report, the main thread's included; `128+` where there may be more.
    pub workers: String,
    pub last_refusal: Option<LastRefusal>,
    /// How it proved who it is: `certificate`, `join_token` or `none`.
    pub identity: String,
    /// From a certificate, `node` is verified; all else is the Envoy's word.
    pub verified: bool,
    /// Where its last poll came from.
    pub address: String,
    /// Unix seconds of its last poll.
    pub seen_at: u64,
}

/// Who enforces what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetView {
    /// Of the control plane.
    pub version: String,
    /// The newest.
    pub position: String,
    /// Where the policy in force was published; empty before the first.
    pub policy: String,
    /// Its version.
    pub policy_version: u64,
    /// The same for each cohort.
    pub cohorts: Vec<CohortPolicy>,
    /// Unix seconds of this answer.
    pub at: u64,
    /// Unix seconds since when reports are heard: when the control plane started.
    pub since: u64,
    /// Seconds by which a poll may be late before its Envoy counts as lost.
    pub lost_after: u64,
    /// The worst first.
    pub envoys: Vec<Follower>,
}

/// The policy in force in a cohort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CohortPolicy {
    pub cohort: String,
    /// Where it was published; empty before the first.
    pub policy: String,
    pub policy_version: u64,
}

/// All followers that were heard of lately.
pub struct Fleet {
    all: Mutex<BTreeMap<Name, Report>>,
    /// When reports began to be heard.
    since: UnixSeconds,
}

impl Fleet {
    /// Nobody was heard yet.
    #[must_use]
    pub const fn new(since: UnixSeconds) -> Self {
        Self { all: Mutex::new(BTreeMap::new()), since }
    }

    /// When reports began to be heard.
    #[must_use]
    pub const fn since(&self) -> UnixSeconds {
        self.since
    }

    /// Seconds until every Envoy that reaches us has polled; `None` once they are over. Before that an
    /// Envoy of which nothing is known may be there all the same.
    #[must_use]
    pub fn unheard(&self, now: UnixSeconds) -> Option<u64> {
        LONGEST_SILENCE.checked_sub(now.since(self.since)).filter(|left| *left > 0)
    }

    /// Takes a report in.
    pub fn report(&self, mut report: Report) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get_mut(&report.who) {
            report.marked = core::mem::take(&mut known.marked);
        }
        if all.len() >= MAX_FOLLOWERS && !all.contains_key(&report.who) {
            // Whoever has a join token may make names up; they push out no certificate's.
            let first = all.values().min_by_key(|known| (known.is_verified(), known.seen_at));
            let first = first.map(|known| known.who.clone());
            first.and_then(|name| all.remove(&name));
        }
        all.insert(report.who.clone(), report);
    }

    /// Those heard of in the last [`FORGET_AFTER`] seconds, the worst first, then by name.
    #[must_use]
    pub fn list(&self, newest: impl Fn(&str) -> Newest, now: UnixSeconds) -> Vec<Follower> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, report| now.since(report.seen_at) <= FORGET_AFTER);
        let mut list: Vec<Follower> = all
            .values()
            .map(|report| report.follower(&newest(&report.who.audience), now))
            .collect();
        drop(all);
        // Stable: by name within a state.
        list.sort_by_key(|follower| follower.state);
        list
    }

    /// Looks at each report of the last [`FORGET_AFTER`] seconds.
    pub(crate) fn each(&self, now: UnixSeconds, look: impl FnMut(&Report)) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|report| now.since(report.seen_at) <= FORGET_AFTER).for_each(look);
    }

    /// This cohort has got a policy to try: what is decided from now on is [`Report::lately`] for it.
    pub(crate) fn mark(&self, cohort: &str) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for report in all.values_mut() {
            report.marked.remove(cohort);
            if let Some(decided) = report.decided {
                report.marked.insert(cohort.to_owned(), decided);
            }
        }
    }

    /// There is no such cohort any more.
    pub(crate) fn unmark(&self, cohort: &str) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for report in all.values_mut() {
            report.marked.remove(cohort);
        }
    }
}

impl Decided {
    /// `<position of the policy> <allowed> <denied>`, as the filter writes it. More than anybody can have
    /// decided is nothing that was decided.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        let policy = next()?.parse().ok()?;
        let (allowed, denied) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let can_be = allowed <= MAX_DECIDED && denied <= MAX_DECIDED;
        (next().is_none() && can_be).then_some(Self { policy, allowed, denied })
    }
}

impl Report {
    /// What the headers of a poll say. No header is believed; each is bounded.
    #[must_use]
    pub fn read(
        who: Name,
        identity: &'static str,
        address: IpAddr,
        headers: &HeaderMap,
        now: UnixSeconds,
    ) -> Self {
        let text = |name: &str| plain(headers.get(name));
        let code = text("x-gatepass-refusal");
        Self {
            who,
            identity,
            address,
            version: text("x-gatepass-version"),
            mode: text("x-gatepass-mode"),
            position: text("x-gatepass-position").parse().ok(),
            policy: text("x-gatepass-policy").parse().ok(),
            root: text("x-gatepass-root").parse().ok(),
            age: text("x-gatepass-age").parse().ok(),
            workers: text("x-gatepass-vms"),
            marked: BTreeMap::new(),
            decided: Decided::read(&text("x-gatepass-decided")),
            refusal: (!code.is_empty()).then(|| LastRefusal {
                code,
                why: text("x-gatepass-refusal-detail"),
                at: text("x-gatepass-refused-at").parse().ok(),
            }),
            seen_at: now,
            answered_by: now,
        }
    }

    /// Whether a worker has not taken what its Envoy has fetched. So it is right after news, which
    /// the leader follows with its next poll before the workers have looked.
    #[must_use]
    pub fn lags(&self, fetched: Option<Position>) -> bool {
        self.position < fetched
    }

    /// How long its next report is put off, when it is wanted soon: not all of a fleet at once.
    #[must_use]
    pub fn soon(&self) -> std::time::Duration {
        let spread = self
            .who
            .envoy
            .bytes()
            .fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
            % SPREAD;
        std::time::Duration::from_millis(SOON + spread)
    }

    /// What it has decided since this cohort last got a policy to try; where that is not known, since
    /// it has its own, which was published at `of_all`. A base brings that at a later position.
    pub(crate) fn lately(&self, cohort: &str, of_all: Position) -> Option<Decided> {
        let decided = self.decided?;
        let is_of_it = |marked: &&Decided| marked.policy >= of_all && decided.policy >= of_all;
        let before = self.marked.get(cohort).filter(is_of_it);
        Some(before.map_or(decided, |before| Decided {
            allowed: decided.allowed.saturating_sub(before.allowed),
            denied: decided.denied.saturating_sub(before.denied),
            ..decided
        }))
    }

    /// It did not poll when it should have.
    #[must_use]
    pub fn is_lost(&self, now: UnixSeconds) -> bool {
        now.since(self.answered_by) > LOST_AFTER
    }

    /// A certificate says who it is.
    pub(crate) fn is_verified(&self) -> bool {
        self.identity == "certificate"
    }

    fn state(&self, newest: &Newest, now: UnixSeconds) -> State {
        if self.is_lost(now) {
            return State::Lost;
        }
        let (Some(position), Some(age)) = (self.position, self.age_at(now)) else {
            return State::Cold;
        };
        if position > newest.position {
            State::Ahead
        } else if age > newest.smallest_staleness.into() {
            State::Stale
        } else if position < newest.position || self.policy < newest.policy {
            State::Lagging
        } else {
            State::Enforcing
        }
    }

    fn age_at(&self, now: UnixSeconds) -> Option<u64> {
        Some((self.age? / 1_000).saturating_add(now.since(self.seen_at)))
    }

    fn follower(&self, newest: &Newest, now: UnixSeconds) -> Follower {
        let written = |at: Option<Position>| at.map(|at| at.to_string()).unwrap_or_default();
        Follower {
            node: self.who.node.clone(),
            envoy: self.who.envoy.clone(),
            state: self.state(newest, now),
            position: written(self.position),
            audience: self.who.audience.clone(),
            allowed: self.decided.map(|decided| decided.allowed),
            denied: self.decided.map(|decided| decided.denied),
            policy: written(self.policy),
            age: self.age_at(now),
            root_version: self.root,
            mode: self.mode.clone(),
            version: self.version.clone(),
            workers: self.workers.clone(),
            last_refusal: self.refusal.clone(),
            identity: self.identity.to_owned(),
            verified: self.is_verified(),
            address: self.address.to_string(),
            seen_at: self.seen_at.0,
        }
    }
}

impl Follower {
    /// Whether all of its workers enforce what was done at `at`, and the policy that was published at
    /// `policy` or a later one. In shadow mode it enforces nothing, and of more workers than are counted
    /// nobody knows.
    #[must_use]
    pub fn enforces(&self, at: Position, policy: Option<Position>) -> bool {
        let reached =
            |told: &str, at: Position| told.parse().is_ok_and(|told: Position| told >= at);
        !matches!(self.state, State::Lost | State::Ahead)
            && self.mode == "enforce"
            && !self.workers.ends_with('+')
            && reached(&self.position, at)
            && policy.is_none_or(|policy| reached(&self.policy, policy))
    }
}

impl State {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Ahead => "ahead",
            Self::Cold => "cold",
            Self::Stale => "stale",
            Self::Lagging => "lagging",
            Self::Enforcing => "enforcing",
        }
    }

    /// The worst first.
    pub const ALL: [Self; 6] =
        [Self::Lost, Self::Ahead, Self::Cold, Self::Stale, Self::Lagging, Self::Enforcing];
}

/// A header that a follower wrote, fit for a page and a log: short and printable.
#[must_use]
pub fn plain(value: Option<&axum::http::HeaderValue>) -> String {
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// Followers known at once; the one not heard of for longest gives way.
const MAX_FOLLOWERS: usize = 10_000;
/// Seconds.
pub const FORGET_AFTER: u64 = 24 * 3600;
/// Seconds after the end of a granted wait. An Envoy gives a poll up 5 s after that and asks again
/// within one more.
pub const LOST_AFTER: u64 = 10;
/// Seconds from the start of a control plane until every Envoy that reaches it has polled: it gives up
/// a poll that hangs after 25 s.
pub const LONGEST_SILENCE: u64 = 27;
/// Decisions of one Envoy of one kind: at a million in each second it takes nine years.
const MAX_DECIDED: u64 = 1 << 48;
const MAX_TEXT: usize = 200;
/// Milliseconds until a lagging follower reports anew. The checkpoint that answers it is then of a
/// later second than what it has, so it is news and its leader does not back off.
const SOON: u64 = 1_000;
/// Milliseconds over which a fleet's early reports are spread.
const SPREAD: u64 = 1_000;

#[cfg(test)]
mod tests;
