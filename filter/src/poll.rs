//! The leader's long-poll of the feed.

use core::time::Duration;

use gatepass_engine::clock::Milliseconds;
use gatepass_engine::position::Position;

use crate::configuration::FeedAddress;
use crate::host;
use crate::pace::Pace;

/// The state of the poll in one VM.
#[derive(Default)]
pub(crate) struct Poll {
    pub(crate) pace: Pace,
    in_flight: Option<InFlight>,
}

struct InFlight {
    token: u32,
    /// After it the call is given up, should its callback never come.
    deadline: Milliseconds,
}

/// What the filter tells of itself with each poll; unauthenticated text to the control plane.
pub(crate) struct Status {
    pub(crate) vm: String,
    pub(crate) mode: &'static str,
    pub(crate) slowest: String,
    pub(crate) vms: String,
    pub(crate) refusal: String,
}

impl Poll {
    /// Whether a poll may start now.
    pub(crate) fn is_due(&mut self, now: Milliseconds) -> bool {
        if self
            .in_flight
            .as_ref()
            .is_some_and(|call| call.deadline <= now)
        {
            self.in_flight = None;
        }
        self.in_flight.is_none() && self.pace.may_poll(now)
    }

    /// Asks for what is newer than `after`, or for a snapshot.
    pub(crate) fn start(
        &mut self,
        feed: &FeedAddress,
        audience: &str,
        after: Option<Position>,
        status: &Status,
        now: Milliseconds,
    ) -> bool {
        let after = after
            .map(|position| format!("&after={position}"))
            .unwrap_or_default();
        let path = format!(
            "{}/v1/feed?audience={}{after}&wait={WAIT_SECONDS}&formats=batch.v1,root.v1",
            feed.path_prefix,
            encoded(audience)
        );
        let headers = vec![
            (":method", "GET"),
            (":path", path.as_str()),
            (":authority", feed.authority.as_str()),
            ("accept", gatepass_engine::batch::Feed::CONTENT_TYPE),
            ("x-gatepass-node", status.vm.as_str()),
            ("x-gatepass-version", env!("CARGO_PKG_VERSION")),
            ("x-gatepass-mode", status.mode),
            ("x-gatepass-position", status.slowest.as_str()),
            ("x-gatepass-vms", status.vms.as_str()),
            ("x-gatepass-refusal", status.refusal.as_str()),
        ];
        let timeout = Duration::from_secs(WAIT_SECONDS.saturating_add(GRACE_SECONDS));
        match proxy_wasm::hostcalls::dispatch_http_call(
            &feed.cluster,
            headers,
            None,
            Vec::new(),
            timeout,
        ) {
            Ok(token) => {
                let life = timeout.as_millis().try_into().unwrap_or(u64::MAX);
                self.in_flight = Some(InFlight {
                    token,
                    deadline: now.plus(life).plus(1_000),
                });
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
        let ours = self
            .in_flight
            .as_ref()
            .is_some_and(|call| call.token == token);
        if ours {
            self.in_flight = None;
        }
        ours
    }

    pub(crate) fn failed(&mut self, now: Milliseconds) {
        let random = host::random().map_or(0, |bytes| {
            u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or([0; 8]))
        });
        self.pace.failed(now, random);
    }
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

/// Asked for; the control plane grants at most a third of the smallest staleness bound.
const WAIT_SECONDS: u64 = 20;
const GRACE_SECONDS: u64 = 5;
