//! The leader's long-poll of the feed.

use core::time::Duration;

use gatepass_engine::clock::Milliseconds;
use gatepass_engine::ids::is_token;
use gatepass_engine::position::Position;

use crate::configuration::FeedAddress;
use crate::host;
use crate::pace::Pace;

/// The state of the poll in one VM.
#[derive(Default)]
pub(crate) struct Poll {
    pace: Pace,
    in_flight: Option<InFlight>,
    /// Whether the poll that was answered last asked for a snapshot.
    answered_whole: bool,
    /// When a snapshot was of use last.
    snapshot_at: Option<Milliseconds>,
}

struct InFlight {
    token: u32,
    /// It asks for a snapshot.
    whole: bool,
    /// After it the call is given up, should its callback never come.
    deadline: Milliseconds,
}

/// What the filter tells of itself with each poll; unauthenticated text to the control plane.
pub(crate) struct Status {
    /// This Envoy's name, the same whichever VM leads.
    pub(crate) node: String,
    pub(crate) vm: String,
    pub(crate) mode: &'static str,
    /// What the slowest VM has.
    pub(crate) slowest: String,
    pub(crate) policy: String,
    pub(crate) root: String,
    /// Milliseconds since the last proof of freshness.
    pub(crate) age: String,
    pub(crate) vms: String,
    /// Decisions on verified gatepasses under the newest policy.
    pub(crate) decided: String,
    pub(crate) refusal: String,
    /// Why, in visible ASCII.
    pub(crate) refusal_detail: String,
    /// Unix seconds by this Envoy's clock.
    pub(crate) refused_at: String,
}

impl Poll {
    /// Whether a poll may start now.
    pub(crate) fn is_due(&mut self, now: Milliseconds) -> bool {
        if self.in_flight.as_ref().is_some_and(|call| call.deadline <= now) {
            self.in_flight = None;
        }
        self.in_flight.is_none() && self.pace.may_poll(now)
    }

    /// Whether a snapshot may be asked for again: whoever overwrites the shared state all the time
    /// must not make the gate fetch one all the time.
    pub(crate) fn may_ask_for_snapshot(&self, now: Milliseconds) -> bool {
        self.snapshot_at.is_none_or(|at| now.since(at) >= SNAPSHOT_EVERY)
    }

    /// Waits no more for a poll that asked for what is newer, because a snapshot is needed now.
    /// Its answer, when it comes, is nobody's.
    pub(crate) fn abandon(&mut self, now: Milliseconds) {
        if self.may_ask_for_snapshot(now) && self.in_flight.as_ref().is_some_and(|call| !call.whole)
        {
            self.in_flight = None;
        }
    }

    /// The answer was of use.
    pub(crate) fn succeeded(&mut self, now: Milliseconds) {
        self.pace.succeeded();
        if self.answered_whole {
            self.snapshot_at = Some(now);
        }
    }

    /// Asks for what is newer than `after`, or for a snapshot. `staleness` is the shortest bound
    /// of any action, in seconds: a third of it is the longest wait that is granted.
    pub(crate) fn start(
        &mut self,
        feed: &FeedAddress,
        audience: &str,
        after: Option<Position>,
        status: &Status,
        staleness: Option<u32>,
        now: Milliseconds,
    ) -> bool {
        let failures = self.pace.failures();
        // After a failure the proof of freshness is old already: it is asked for at once. So it is
        // after a snapshot, which is none to a VM that had its position.
        let wait = if failures > 0 || self.answered_whole { 0 } else { WAIT_SECONDS };
        let whole = after.is_none();
        let after = after.map(|position| format!("&after={position}")).unwrap_or_default();
        let path = format!(
            "{}/v1/feed?audience={}{after}&wait={wait}&formats=batch.v1,root.v1",
            feed.path_prefix,
            encoded(audience)
        );
        let join = join_token().map(|token| format!("Bearer {token}"));
        let mut headers = vec![
            (":method", "GET"),
            (":path", path.as_str()),
            (":authority", feed.authority.as_str()),
            ("accept", gatepass_engine::batch::Feed::CONTENT_TYPE),
            ("x-gatepass-node", status.node.as_str()),
            ("x-gatepass-vm", status.vm.as_str()),
            ("x-gatepass-version", env!("CARGO_PKG_VERSION")),
            ("x-gatepass-mode", status.mode),
            ("x-gatepass-position", status.slowest.as_str()),
            ("x-gatepass-policy", status.policy.as_str()),
            ("x-gatepass-root", status.root.as_str()),
            ("x-gatepass-age", status.age.as_str()),
            ("x-gatepass-vms", status.vms.as_str()),
            ("x-gatepass-decided", status.decided.as_str()),
            ("x-gatepass-refusal", status.refusal.as_str()),
            ("x-gatepass-refusal-detail", status.refusal_detail.as_str()),
            ("x-gatepass-refused-at", status.refused_at.as_str()),
        ];
        headers.extend(join.as_deref().map(|join| ("authorization", join)));
        let timeout = timeout(whole, wait, staleness, failures);
        match host::call(&feed.cluster, &headers, &[], timeout) {
            Ok(token) => {
                let life = timeout.as_millis().try_into().unwrap_or(u64::MAX);
                self.in_flight =
                    Some(InFlight { token, whole, deadline: now.plus(life).plus(1_000) });
                true
            }
            Err(_) => {
                self.failed(now);
                false
            }
        }
    }

    /// Whether this callback answers the call that is waited for; then it is waited for no more.
    pub(crate) fn finish(&mut self, token: u32) -> bool {
        match self.in_flight.take_if(|call| call.token == token) {
            Some(call) => {
                self.answered_whole = call.whole;
                true
            }
            None => false,
        }
    }

    pub(crate) fn failed(&mut self, now: Milliseconds) {
        self.pace.failed(now, random());
    }

    /// The answer was good and brought nothing.
    pub(crate) fn repeated(&mut self, now: Milliseconds) {
        self.pace.repeated(now, random());
    }
}

fn random() -> u64 {
    host::random()
        .map_or(0, |bytes| u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or([0; 8])))
}

/// The fleet's token, from the environment of the VM: the plugin's configuration shows in
/// `/config_dump`.
pub(crate) fn join_token() -> Option<String> {
    std::env::var(JOIN_TOKEN).ok().filter(|token| is_token(token))
}

/// Percent-encodes what is not unreserved.
fn encoded(text: &str) -> String {
    use core::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A connection that hangs is given up while there is time for another try before anything is
/// stale. Each failure doubles the grace, so that a slow line gets a large answer through too.
fn timeout(whole: bool, wait: u64, staleness: Option<u32>, failures: u32) -> Duration {
    let granted = match staleness {
        Some(seconds) => wait.min(u64::from(seconds).div_ceil(3)),
        None => wait,
    };
    let (wait, grace) =
        if whole { (0, GRACE_SECONDS) } else { (granted, granted.clamp(1, GRACE_SECONDS)) };
    let grace = grace.saturating_mul(1 << failures.min(5));
    Duration::from_secs(wait.saturating_add(grace).min(WAIT_SECONDS + GRACE_SECONDS))
}

/// The environment variable of the VM that holds the join token.
const JOIN_TOKEN: &str = "GATEPASS_JOIN_TOKEN";
/// Asked for; the control plane grants at most a third of the smallest staleness bound.
const WAIT_SECONDS: u64 = 20;
const GRACE_SECONDS: u64 = 5;
/// Milliseconds from a snapshot that was of use to the next.
const SNAPSHOT_EVERY: u64 = 500;
