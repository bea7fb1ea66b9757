//! Polls on their way: what an Envoy sends, how long the control plane holds it, and what comes back.

use std::sync::Arc;

use gatepass::keys::{SecretKey, Signer as _};
use gatepass::server::Door;
use gatepass_engine::batch::{Batch, Feed, Shape, whole_digest};
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::position::Position;

use super::audience::{AUDIENCES, OF_ALL};
use super::clock::{Moment, SECOND};
use super::envoy::Link;
use super::mutant::Mutant;
use super::world::{Event, World};

/// One poll under way.
pub(crate) struct Call {
    pub(crate) envoy: usize,
    place: usize,
    generation: u64,
    token: u32,
    path: String,
    headers: Vec<(String, String)>,
    /// The control plane holds it, for who is here.
    held: Option<Position>,
}

impl Call {
    /// The version of the root that its gate says it has.
    fn root(&self) -> u64 {
        let said = self.headers.iter().find(|(name, _)| name == "x-gatepass-root");
        said.and_then(|(_, version)| version.parse().ok()).unwrap_or(0)
    }

    /// Its headers, without those that say where it goes.
    fn sent(&self) -> Vec<(String, String)> {
        self.headers.iter().filter(|(name, _)| !name.starts_with(':')).cloned().collect()
    }
}

impl World {
    /// Takes up what a VM has sent.
    pub(crate) fn collect(&mut self, envoy: usize, place: usize) {
        let worker = &self.envoys[envoy].workers[place];
        let generation = worker.generation;
        let calls = std::mem::take(&mut worker.host.borrow_mut().calls);
        for outgoing in calls {
            for (other, worker) in self.envoys[envoy].workers.iter_mut().enumerate() {
                worker.leads = other == place;
            }
            self.envoys[envoy].busy_until = self.now + BUSY;
            let path = outgoing.headers.iter().find(|(name, _)| name == ":path");
            let path = path.map(|(_, path)| path.clone()).unwrap_or_default();
            let (token, headers) = (outgoing.token, outgoing.headers);
            let call = Call { envoy, place, generation, token, path, headers, held: None };
            let id = self.number();
            self.calls.insert(id, call);
            self.after(outgoing.timeout, Event::TimesOut(id));
            match self.envoys[envoy].link {
                Link::Silent => {}
                Link::Lossy if self.chance.percent(50) => {}
                Link::Refused => self.answer_soon(id, 503, Vec::new()),
                Link::Thief => self.thief_answers(id, envoy),
                Link::Good | Link::Slow | Link::Hostile | Link::Lossy => {
                    let delay = self.latency();
                    self.after(delay, Event::Arrives(id));
                }
            }
        }
    }

    fn latency(&mut self) -> Moment {
        self.chance.of_any_size(1, 60)
    }

    fn answer_soon(&mut self, id: u64, status: u16, body: Vec<u8>) {
        let delay = self.latency();
        self.after(delay, Event::Answers { call: id, status, body });
    }

    /// A poll has reached the control plane. What [`gatepass::api`] waits for with a timer is waited for
    /// here; what it then says is its own.
    pub(crate) fn arrives(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(here) = self.plane.position() else {
            return self.answer_soon(id, 503, Vec::new());
        };
        let after: Option<Position> =
            parameter(&call.path, "after").and_then(|text| text.parse().ok());
        let wait: Moment =
            parameter(&call.path, "wait").and_then(|text| text.parse().ok()).unwrap_or(0);
        if after != Some(here) || wait == 0 {
            return self.say(id);
        }
        let slowest = call.headers.iter().find(|(name, _)| name == "x-gatepass-position");
        let slowest: Option<Position> = slowest.and_then(|(_, text)| text.parse().ok());
        let audience = parameter(&call.path, "audience").unwrap_or_default();
        let Some(longest) = self.plane.longest_wait(audience) else { return self.say(id) };
        let mut granted = (wait * SECOND).min(longest);
        if slowest < after {
            // It lags: its next report is wanted soon.
            granted = granted.min(SECOND + 500);
        }
        let (path, headers) = (call.path.clone(), call.sent());
        self.plane.hears(&path, &headers, self.now);
        if let Some(call) = self.calls.get_mut(&id) {
            call.held = after;
        }
        self.after(granted, Event::HoldEnds(id));
    }

    pub(crate) fn hold_ends(&mut self, id: u64) {
        if self.calls.get(&id).is_some_and(|call| call.held.is_some()) {
            self.say(id);
        }
    }

    /// The position has moved, or may have.
    pub(crate) fn wake(&mut self) {
        let here = self.plane.position();
        let moved = |call: &Call| call.held.is_some() && call.held != here;
        let woken: Vec<u64> =
            self.calls.iter().filter(|(_, call)| moved(call)).map(|(id, _)| *id).collect();
        for id in woken {
            self.say(id);
        }
    }

    /// The control plane is gone, and so are its connections.
    pub(crate) fn hang_up(&mut self) {
        let held = self.calls.iter().filter(|(_, call)| call.held.is_some());
        let held: Vec<u64> = held.map(|(id, _)| *id).collect();
        for id in held {
            if let Some(call) = self.calls.get_mut(&id) {
                call.held = None;
            }
            self.send(id, 503, Vec::new());
        }
    }

    /// What the control plane says now.
    fn say(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.held = None;
        // What there was to wait for has been waited for.
        let mut path = match call.path.split_once("&wait=") {
            Some((before, rest)) => {
                let rest = rest.find('&').map_or("", |end| &rest[end..]);
                format!("{before}&wait=0{rest}")
            }
            None => call.path.clone(),
        };
        let headers = call.sent();
        let is_of_all = parameter(&path, "audience") == Some(AUDIENCES[OF_ALL]);
        if is_of_all && self.mutant == Some(Mutant::Mixed) {
            path = path.replace("audience=prod", "audience=canary");
        }
        let answer = self.plane.ask(Door::Feed, &path, &borrowed(&headers), None, self.now);
        self.report.count(if answer.status == 200 { "poll answered" } else { "poll refused" });
        if answer.status != 200 {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            self.report.note(self.now, format_args!("poll refused: {} {text}", answer.status));
        }
        let mut body = answer.body;
        if answer.status == 200 {
            let forgets = match self.mutant {
                Some(Mutant::Forgetful) => true,
                Some(Mutant::Spared) => !is_of_all,
                _ => false,
            };
            if forgets {
                body = self.altered(&body, |batch| {
                    if batch.header.shape() == Shape::Delta {
                        batch.revocations = None;
                    }
                });
            }
            if is_of_all && self.mutant == Some(Mutant::Mixed) {
                let of_all = AUDIENCES[OF_ALL];
                body = self.altered(&body, |batch| batch.header.feed_audience = of_all.to_owned());
            }
            if let Some(bad) = self.bad_bundle {
                body = self.altered(&body, |batch| {
                    let is_it = batch.header.position() == bad && batch.header.parts == 1;
                    if is_it && batch.bundle.is_some() {
                        batch.bundle = Some(&[0xff; 40]);
                    }
                });
            }
            if self.chance.percent(5) {
                self.said.push(body.clone());
                if self.said.len() > 20 {
                    self.said.remove(0);
                }
            }
        }
        self.send(id, answer.status, body);
    }

    /// The way back.
    fn send(&mut self, id: u64, status: u16, body: Vec<u8>) {
        let Some(call) = self.calls.get(&id) else { return };
        match self.envoys[call.envoy].link {
            // Also what was held when the line went.
            Link::Silent | Link::Refused => {}
            // It has the line to itself.
            Link::Thief => {}
            Link::Lossy if self.chance.percent(50) => {}
            Link::Good | Link::Lossy => self.answer_soon(id, status, body),
            Link::Slow => {
                let delay = self.chance.of_any_size(SECOND, 30 * SECOND);
                self.after(delay, Event::Answers { call: id, status, body });
            }
            Link::Hostile => {
                let (envoy, root) = (call.envoy, call.root());
                let (status, body) = self.twisted(envoy, root, status, body);
                self.answer_soon(id, status, body);
            }
        }
    }

    /// What somebody without a key can make of an answer.
    fn twisted(
        &mut self,
        envoy: usize,
        root: u64,
        status: u16,
        mut body: Vec<u8>,
    ) -> (u16, Vec<u8>) {
        if self.theft.is_some()
            && self.chance.percent(30)
            && let Some(said) = self.said_by_thief(envoy, root)
        {
            return (200, said);
        }
        match self.chance.below(8) {
            0 => body.truncate(self.chance.index(body.len().max(1))),
            // One bit of what comes last: the signature of a batch.
            1 => {
                if let Some(last) = body.last_mut() {
                    *last ^= 1;
                }
            }
            2 => body.clear(),
            3 if !self.said.is_empty() => body = self.chance.pick(&self.said),
            4 => {
                // Its key may have been the right one once.
                let stolen = self.theft.as_ref().filter(|theft| theft.reset.is_some());
                let stranger = match stolen {
                    Some(theft) => Arc::clone(&theft.key),
                    None => Arc::new(SecretKey::from_seed(&[99; 32]).unwrap()),
                };
                body = resigned(&body, &stranger, |_| {});
            }
            5 => return (500, body),
            6 => {
                // The second half of what there is: deltas without what they join on to.
                if let Ok(feed) = Feed::decode(&body) {
                    let batches = feed.batches.iter().skip(1).copied().collect();
                    body = Feed { roots: feed.roots.clone(), batches }.encode().unwrap();
                }
            }
            _ => {}
        }
        (status, body)
    }

    fn altered(&self, body: &[u8], change: impl Fn(&mut Batch<'_>)) -> Vec<u8> {
        match self.plane.feed_key() {
            Some(kept) => resigned(body, &kept.key, change),
            None => body.to_vec(),
        }
    }

    /// An answer has come, from wherever.
    pub(crate) fn answers(&mut self, id: u64, status: u16, body: Vec<u8>) {
        let Some(call) = self.calls.get(&id) else { return };
        let (envoy, place, generation) = (call.envoy, call.place, call.generation);
        let worker = &self.envoys[envoy].workers[place];
        if worker.generation != generation || !worker.is_alive() {
            self.calls.remove(&id);
            return;
        }
        let sleeps_until = worker.sleeps_until;
        if sleeps_until > self.now {
            let delay = sleeps_until - self.now;
            return self.after(delay, Event::Answers { call: id, status, body });
        }
        let Some(call) = self.calls.remove(&id) else { return };
        self.envoys[envoy].busy_until = self.now + BUSY;
        self.envoys[envoy].answer(place, call.token, status, &body, self.now);
        self.follow_up(envoy, place);
    }

    /// Envoy has waited long enough.
    pub(crate) fn times_out(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.held = None;
            self.report.count("poll timed out");
            self.answers(id, 504, Vec::new());
        }
    }
}

/// Signs the batches of an answer anew with this key, after `change`.
fn resigned(body: &[u8], key: &SecretKey, change: impl Fn(&mut Batch<'_>)) -> Vec<u8> {
    let Ok(feed) = Feed::decode(body) else { return body.to_vec() };
    let batches: Vec<Vec<u8>> = feed
        .batches
        .iter()
        .map(|envelope| {
            let envelope = Unverified::from_postcard(envelope).unwrap();
            let payload = envelope.unverified_payload().to_vec();
            let mut batch = Batch::decode(&payload).unwrap();
            change(&mut batch);
            if batch.header.parts == 1 {
                batch.header.whole_digest = whole_digest(&[batch.digest()]);
            }
            let payload = batch.encode().unwrap();
            let signed =
                Unverified::new(PayloadType::Batch, payload).sign_with(|message| key.sign(message));
            signed.to_postcard().unwrap()
        })
        .collect();
    let batches = batches.iter().map(Vec::as_slice).collect();
    Feed { roots: feed.roots.clone(), batches }.encode().unwrap()
}

pub(crate) fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn parameter<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    let (_, query) = path.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// After a poll began or ended, for so long ticks are as frequent as the VMs ask for.
const BUSY: Moment = 300;
