//! A gate that follows the feed: the engine's own, which believes nothing but signatures.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepass::roots::PinnedRoots;
use gatepass_engine::batch::Feed;
use gatepass_engine::body::Body;
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::Header;
use gatepass_engine::{Code, Decision, Gate, Mode, Position, Request, Settings, decide};

use super::{Site, Wire};

pub(crate) struct Follower {
    gate: Gate,
    at: Option<Position>,
    now: Now,
}

impl Follower {
    pub(crate) fn new(site: &Site) -> Self {
        let pinned: PinnedRoots = serde_json::from_str(&site.pinned()).unwrap();
        let settings = Settings {
            environment: "prod".to_owned(),
            feed_audience: "prod".to_owned(),
            mode: Mode::Enforce,
        };
        let gate = Gate::new(settings, pinned.pinned("prod").unwrap());
        Self { gate, at: None, now: moment() }
    }

    /// Takes all that the feed has to tell, and says where that leads.
    pub(crate) fn catch_up(&mut self, feed: SocketAddr) -> Position {
        let after = self.at.map_or(String::new(), |at| format!("&after={at}"));
        let mut wire = Wire::connect(feed).unwrap();
        let answer = wire.get(&format!("/v1/feed?audience=prod&wait=0{after}"), "").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        let told = Feed::decode(&answer.body).unwrap();
        self.now = moment();
        self.gate.take_roots(&told.roots, self.now.unix).unwrap();
        for batch in &told.batches {
            self.gate.apply(batch, self.now.monotonic, self.now).unwrap();
        }
        assert_eq!(self.gate.behind(), None);
        let last = self.gate.read(told.batches.last().unwrap()).unwrap();
        self.at = Some(last.header().position());
        last.header().position()
    }

    /// Why a request with this gatepass is denied, at the moment of the last news; `None` where it
    /// is allowed.
    pub(crate) fn denies(&self, token: &str) -> Option<Code> {
        let bearer = format!("Bearer {token}");
        let headers = [
            (":method", "GET"),
            (":authority", "orders.example"),
            (":path", "/orders"),
            ("authorization", &bearer),
        ];
        let headers =
            headers.map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() });
        let request = Request { headers: &headers, body: Body::None, source: None };
        match decide(&request, &self.gate, self.now) {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(denial.code()),
            Decision::Redeem(redemption) => panic!("{redemption:?}"),
            Decision::Read(awaited) => panic!("{awaited:?}"),
        }
    }
}

fn moment() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Now { unix: UnixSeconds(unix.as_secs()), monotonic: Milliseconds(0) }
}
