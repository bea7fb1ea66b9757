//! Records on their way to the control plane: one post at a time, kept until it is acknowledged. No request
//! waits for it, and one that fails is sent again, later and later.

use core::time::Duration;

use gatepass_engine::clock::Milliseconds;
use gatepass_engine::record;

use crate::configuration::FeedAddress;
use crate::host::{self, Level, Map};
use crate::pace::Pace;
use crate::pairs;
use crate::poll::join_token;
use crate::records::Records;

#[derive(Default)]
pub(crate) struct Report {
    pace: Pace,
    in_flight: Option<InFlight>,
}

struct InFlight {
    token: u32,
    /// After it the post is given up, should its callback never come.
    deadline: Milliseconds,
}

impl Report {
    /// Posts the oldest batch, where one is due and none is under way.
    pub(crate) fn tell(&mut self, records: &mut Records, feed: &FeedAddress, now: Milliseconds) {
        if self.in_flight.as_ref().is_some_and(|call| call.deadline <= now) {
            self.in_flight = None;
            self.failed(now);
        }
        if self.in_flight.is_some() || !records.is_due(now) || !self.pace.may_poll(now) {
            return;
        }
        let Some(body) = records.oldest() else { return };
        let path = format!("{}/v1/decisions", feed.path_prefix);
        let join = join_token().map(|token| format!("Bearer {token}"));
        let mut headers = vec![
            (":method", "POST"),
            (":path", path.as_str()),
            (":authority", feed.authority.as_str()),
            ("content-type", record::CONTENT_TYPE),
        ];
        headers.extend(join.as_deref().map(|join| ("authorization", join)));
        match host::call(&feed.cluster, &headers, &body, TIME) {
            Ok(token) => {
                let deadline = now.plus(TIME_MILLISECONDS).plus(1_000);
                self.in_flight = Some(InFlight { token, deadline });
            }
            Err(_) => self.failed(now),
        }
    }

    /// Whether it was taken; `None` when this callback answers another call.
    pub(crate) fn answered(
        &mut self,
        token: u32,
        records: &mut Records,
        now: Milliseconds,
    ) -> Option<bool> {
        self.in_flight.take_if(|call| call.token == token)?;
        match status().as_deref() {
            Some(b"200") => {
                records.taken();
                self.pace.succeeded();
                Some(true)
            }
            // It will never be taken: what comes after it must be told all the same.
            Some(status @ (b"400" | b"409" | b"413" | b"415")) => {
                let status = String::from_utf8_lossy(status).into_owned();
                let text = format!("gatepass lost records: the control plane answered {status}");
                host::log(Level::Warn, &text);
                records.refused();
                self.failed(now);
                Some(false)
            }
            Some(_) | None => {
                self.failed(now);
                Some(false)
            }
        }
    }

    fn failed(&mut self, now: Milliseconds) {
        let random = host::random()
            .map_or(0, |bytes| u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or([0; 8])));
        self.pace.failed(now, random);
        if self.pace.failures() == 1 {
            host::log(
                Level::Info,
                "gatepass could not tell its records; it keeps them and tries again",
            );
        }
    }
}

fn status() -> Option<Vec<u8>> {
    let bytes = host::map(Map::CallResponse).ok()?;
    let headers = pairs::read(&bytes).ok()?;
    headers.iter().find(|header| header.name == b":status").map(|header| header.value.to_vec())
}

const TIME_MILLISECONDS: u64 = 5_000;
const TIME: Duration = Duration::from_millis(TIME_MILLISECONDS);
