//! A gate that follows the feed of a [`Plane`], as Envoys do.

use gatepass_engine::batch::Feed;
use gatepass_engine::body::Body;
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::Header;
use gatepass_engine::refusal::RefusalCode;
use gatepass_engine::{Code, Decision, Gate, Mode, Position, Reason, Request, Settings, decide};

use super::{Answer, Plane, send};

pub(crate) struct Follower {
    gate: Gate,
    position: Option<Position>,
    now: u64,
    audience: String,
}

impl Follower {
    /// A gate that has the newest state.
    pub(crate) fn of(plane: &Plane) -> Self {
        Self::of_audience(plane, "prod")
    }

    /// The same in a cohort.
    pub(crate) fn of_audience(plane: &Plane, audience: &str) -> Self {
        let settings = Settings {
            environment: "prod".into(),
            feed_audience: audience.into(),
            mode: Mode::Enforce,
        };
        let gate = Gate::new(settings, plane.pinned.pinned("prod").unwrap());
        let mut follower = Self { gate, position: None, now: 0, audience: audience.to_owned() };
        follower.follow(plane);
        follower
    }

    /// Polls until it has heard everything.
    pub(crate) fn follow(&mut self, plane: &Plane) {
        self.now = plane.now();
        let answer = poll_of(plane, &self.audience, self.position, &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let feed = Feed::decode(&answer.body).unwrap();
        let now = self.at();
        self.gate.take_roots(&feed.roots, now.unix).unwrap();
        for batch in &feed.batches {
            self.gate.apply(batch, Milliseconds(0), now).unwrap();
            let header = self.gate.preview(batch, now).unwrap();
            self.position = Some(header.position());
        }
    }

    /// Why it does not take what it is told.
    pub(crate) fn refuses(&mut self, plane: &Plane) -> RefusalCode {
        self.now = plane.now();
        let answer = poll(plane, self.position, &[]);
        let feed = Feed::decode(&answer.body).unwrap();
        let now = self.at();
        let applied = feed.batches.iter().map(|batch| self.gate.apply(batch, Milliseconds(0), now));
        applied.filter_map(Result::err).next().unwrap().code
    }

    /// Hears this batch from whoever sends it.
    pub(crate) fn hear(&mut self, batch: &[u8]) {
        let now = self.at();
        self.gate.apply(batch, Milliseconds(0), now).unwrap();
        self.position = self.gate.position();
    }

    /// What it says to this batch of whoever sends it.
    pub(crate) fn refuses_batch(&mut self, batch: &[u8]) -> Option<RefusalCode> {
        let now = self.at();
        self.gate.apply(batch, Milliseconds(0), now).err().map(|refusal| refusal.code)
    }

    /// Time goes by, and it hears nothing.
    pub(crate) fn wait_until(&mut self, unix: u64) {
        self.now = unix;
    }

    pub(crate) fn position(&self) -> Position {
        self.position.unwrap()
    }

    fn at(&self) -> Now {
        Now { unix: UnixSeconds(self.now), monotonic: Milliseconds(0) }
    }

    /// What it says to a request at this moment of the test's clock.
    pub(crate) fn says(
        &self,
        method: &str,
        host: &str,
        path: &str,
        token: &str,
    ) -> Result<(), Code> {
        let authorization = format!("Bearer {token}");
        let header = |name: &'static str, value| Header { name: name.as_bytes(), value };
        let headers = [
            header(":method", method.as_bytes()),
            header(":authority", host.as_bytes()),
            header(":path", path.as_bytes()),
            header("authorization", authorization.as_bytes()),
        ];
        let request = Request { headers: &headers, body: Body::None, source: None };
        match decide(&request, &self.gate, self.at()) {
            Decision::Allow(permit) => match permit.reason() {
                Reason::Decided(_) => Ok(()),
                other => panic!("{other:?}"),
            },
            Decision::Deny(denial) => Err(denial.code()),
            Decision::Redeem(redemption) => panic!("{redemption:?}"),
            Decision::Read(awaited) => panic!("{awaited:?}"),
        }
    }

    /// `GET /orders/1`: `orders:read`.
    pub(crate) fn reads(&self, token: &str) -> Result<(), Code> {
        self.says("GET", "orders.example", "/orders/1", token)
    }

    /// [`Follower::reads`] with the newest state.
    pub(crate) fn now_reads(&mut self, plane: &Plane, token: &str) -> Result<(), Code> {
        self.follow(plane);
        self.reads(token)
    }

    /// `POST /orders`: `orders:create`.
    pub(crate) fn orders(&self, query: &str, token: &str) -> Result<(), Code> {
        self.says("POST", "orders.example", &format!("/orders?{query}"), token)
    }
}

/// One poll that does not wait.
pub(crate) fn poll(plane: &Plane, after: Option<Position>, headers: &[(&str, &str)]) -> Answer {
    poll_of(plane, "prod", after, headers)
}

/// One poll of a cohort's feed that does not wait.
pub(crate) fn poll_of(
    plane: &Plane,
    audience: &str,
    after: Option<Position>,
    headers: &[(&str, &str)],
) -> Answer {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    let path = format!("/v1/feed?audience={audience}&wait=0{after}");
    send(plane.addresses().feed, "GET", &path, headers, b"")
}
