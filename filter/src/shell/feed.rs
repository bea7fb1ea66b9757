//! The leader's long-poll: what it asks, what it tells of this Envoy beside it, and what becomes of the answer.

use gatepass_engine::Mode;
use gatepass_engine::batch::Feed;
use gatepass_engine::clock::{Now, UnixSeconds};
use gatepass_engine::refusal::Refusal;

use super::Shell;
use crate::host::{self, EnvoySharedData, Level, Map};
use crate::node;
use crate::pairs;
use crate::poll::Status;
use crate::positions::{Slowest, slowest};
use crate::tally;

impl Shell {
    pub(super) fn poll(&mut self, now: Now) {
        if !self.poll.is_due(now.monotonic) {
            return;
        }
        let standing = self.exchange.standing(&mut EnvoySharedData, &mut self.gate, now);
        // Who leads takes new roots there, and learns what it is behind.
        self.open.note_news();
        let wants = standing.wants_snapshot || self.asks_snapshot;
        if wants && !self.poll.may_ask_for_snapshot(now.monotonic) {
            self.asks_snapshot = true;
            return;
        }
        let after = if wants { None } else { standing.newest };
        let prefix = self.configuration.prefix.clone();
        let found = slowest(&mut EnvoySharedData, |name| prefix.key(name), now.monotonic);
        self.gauges(now, found.at.position, found.vms);
        let status = self.status(now, found);
        let configuration = &self.configuration;
        let audience = &configuration.settings.feed_audience;
        let staleness = self.gate.index().and_then(|index| index.smallest_staleness());
        let started = self.poll.start(
            &configuration.feed,
            audience,
            after,
            &status,
            staleness,
            now.monotonic,
        );
        if started {
            self.asks_snapshot = false;
        } else {
            host::log(
                Level::Error,
                &format!(
                    "gatepass cannot poll cluster `{}`: does it exist?",
                    configuration.feed.cluster
                ),
            );
        }
    }

    fn status(&self, now: Now, found: Slowest) -> Status {
        let refusal = self.last_refusal.as_ref();
        let detail = |(refusal, _): &(Refusal, UnixSeconds)| {
            let visible = refusal.detail.chars().filter(|c| matches!(c, ' '..='~'));
            visible.take(MAX_REFUSAL_DETAIL).collect()
        };
        Status {
            node: node::name(&mut EnvoySharedData, &self.configuration.prefix.key("node"), self.vm),
            vm: format!("{:016x}", self.vm.0),
            mode: match self.configuration.settings.mode {
                Mode::Enforce => "enforce",
                Mode::Shadow => "shadow",
            },
            slowest: said(found.at.position),
            policy: said(found.at.policy),
            root: self.gate.root_version().to_string(),
            age: said(self.gate.age(now)),
            decided: said(tally::sum(
                &mut EnvoySharedData,
                &self.configuration.prefix.key("decided"),
                self.gate.position(),
            )),
            vms: if found.full { format!("{}+", found.vms) } else { found.vms.to_string() },
            refusal: said(refusal.map(|(refusal, _)| refusal.code)),
            refusal_detail: refusal.map(detail).unwrap_or_default(),
            refused_at: said(refusal.map(|(_, at)| at.0)),
        }
    }

    fn gauges(&mut self, now: Now, slowest: Option<gatepass_engine::Position>, vms: u32) {
        self.metrics.gauge("gatepass_vms", u64::from(vms));
        if let Some(position) = slowest {
            self.metrics.gauge("gatepass_position_epoch", position.epoch);
            self.metrics.gauge("gatepass_position_sequence", position.sequence);
        }
        if let Some(age) = self.gate.age(now) {
            self.metrics.gauge("gatepass_state_age_ms", age);
        }
        self.metrics.gauge("gatepass_grace_seconds", self.gate.grace_left(now));
    }

    /// The feed's answer.
    pub(crate) fn polled(&mut self, token: u32, now: Now) {
        if self.told(token, now) || !self.poll.finish(token) {
            return;
        }
        // Also after the lease was lost: the log itself fences what a former leader appends, and
        // who overwrites the lease must not keep what was heard from being applied.
        // What is published joins on to the newest state, so it must be known.
        self.check(now);
        let outcome = read_answer().and_then(|body| {
            let feed = Feed::decode(&body).map_err(|refusal| refusal.to_string())?;
            Ok(self.exchange.publish(
                &mut EnvoySharedData,
                &mut self.gate,
                &feed,
                self.place.number(),
                now,
            ))
        });
        match outcome {
            Ok(published) => {
                self.metrics.count("gatepass_shared_state_forged", published.forged);
                let refused = !published.refusals.is_empty();
                for refusal in published.refusals {
                    self.note_refusal(refusal, now);
                }
                self.asks_snapshot = published.wants_snapshot;
                // Nothing of use: not at once again and again, or a feed that repeats itself would be
                // asked as fast as it answers.
                if refused || published.wants_snapshot && !published.written {
                    self.poll.failed(now.monotonic);
                } else if published.written {
                    self.poll.succeeded(now.monotonic);
                } else {
                    self.poll.repeated(now.monotonic);
                }
            }
            Err(why) => {
                self.metrics.count("gatepass_polls_failed", 1);
                host::log(Level::Info, &format!("gatepass could not read the feed: {why}"));
                self.poll.failed(now.monotonic);
            }
        }
        self.open.note_news();
        self.check(now);
        if self.leads {
            self.poll(now);
        }
    }
}

/// The body of the feed's answer, when it is one.
fn read_answer() -> Result<Vec<u8>, String> {
    let bytes = host::map(Map::CallResponse).map_err(|_| "no answer".to_owned())?;
    let headers = pairs::read(&bytes).map_err(|error| error.to_string())?;
    let status = headers.iter().find(|header| header.name == b":status").map(|header| header.value);
    if status != Some(b"200") {
        return Err(format!("status {}", String::from_utf8_lossy(status.unwrap_or(b"missing"))));
    }
    host::buffer(host::Buffer::CallBody, gatepass_engine::batch::MAX_FEED_BYTES)
        .map_err(|_| "no body".to_owned())
}

/// Empty where there is nothing to say.
fn said(what: Option<impl ToString>) -> String {
    what.map(|what| what.to_string()).unwrap_or_default()
}

/// Characters of the reason that are told with each poll.
const MAX_REFUSAL_DETAIL: usize = 160;
