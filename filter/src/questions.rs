//! Requests that wait for the control plane to confirm a use or a record: bounded in number and time, and
//! for each agent.

use core::time::Duration;
use std::rc::Rc;

use gatepass_engine::clock::Milliseconds;

use crate::configuration::FeedAddress;
use crate::held::MAX_HELD_BODY;
use crate::host::{self, Failed};
use crate::progress::{Asked, Came, Progress};

/// One request that waits, and the question that it waits for.
pub(crate) struct Question {
    pub(crate) progress: Rc<Progress>,
    pub(crate) asked: Asked,
    pub(crate) nonce: String,
    /// As it is sent, also when it is sent again: with the same nonce the answer is the same.
    body: Vec<u8>,
    /// After it nothing is confirmed any more.
    deadline: Milliseconds,
    call: Call,
    /// Bytes of its body that Envoy keeps meanwhile, at most.
    kept: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// The call of this token is under way.
    Now(u32),
    /// To be asked once more, because there was no answer.
    Again(Milliseconds),
}

/// What is to be done about a question whose time has come.
pub(crate) enum Due {
    Again(Question),
    Over(Question),
}

/// The questions of one gate in this VM.
#[derive(Default)]
pub(crate) struct Questions(Vec<Question>);

impl Question {
    pub(crate) fn new(
        progress: &Rc<Progress>,
        asked: Asked,
        nonce: String,
        body: Vec<u8>,
        now: Milliseconds,
    ) -> Self {
        let deadline = now.plus(PATIENCE);
        let (kept, progress) = (kept(progress), Rc::clone(progress));
        Self { progress, asked, nonce, body, deadline, call: Call::Again(now), kept }
    }

    /// Sends it.
    pub(crate) fn send(&mut self, to: &FeedAddress, now: Milliseconds) -> Result<(), Failed> {
        let path = format!("{}/v1/redeem", to.path_prefix);
        let headers = [
            (":method", "POST"),
            (":path", path.as_str()),
            (":authority", to.authority.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json"),
        ];
        let left = Duration::from_millis(self.deadline.since(now).max(1));
        self.call = Call::Now(host::call(&to.cluster, &headers, &self.body, left)?);
        Ok(())
    }

    /// Puts it off, if there is time for another try.
    pub(crate) fn put_off(&mut self, now: Milliseconds) -> bool {
        let next = now.plus(RETRY_AFTER);
        self.call = Call::Again(next);
        next < self.deadline
    }

    fn is_due(&self, now: Milliseconds) -> bool {
        let again = matches!(self.call, Call::Again(next) if next <= now);
        again || self.is_over(now)
    }

    fn is_over(&self, now: Milliseconds) -> bool {
        match self.call {
            Call::Now(_) => self.deadline.plus(CALL_MARGIN) <= now,
            Call::Again(_) => self.deadline <= now,
        }
    }
}

impl Questions {
    /// Whether this request of this agent may wait.
    pub(crate) fn has_room(&self, agent: &str, progress: &Progress) -> bool {
        let own = self.0.iter().filter(|one| one.asked.redemption.identity().agent == agent);
        let share = |(places, bytes): (usize, usize), one: &Question| {
            (places.saturating_add(1), bytes.saturating_add(one.kept))
        };
        let (own, own_bytes) = own.fold((0, kept(progress)), share);
        let (all, bytes) = self.0.iter().fold((0, kept(progress)), share);
        all < MAX_WAITING
            && bytes <= MAX_BYTES
            && own < MAX_WAITING / SHARES
            && own_bytes <= MAX_BYTES / SHARES
    }

    pub(crate) fn push(&mut self, question: Question) {
        self.0.push(question);
    }

    /// Takes out the one that this call was for.
    pub(crate) fn answered(&mut self, token: u32) -> Option<Question> {
        self.take(|question| question.call == Call::Now(token))
    }

    /// The request is gone. What is answered to its question is nobody's.
    pub(crate) fn drop_context(&mut self, context: u32) -> Option<Question> {
        self.take(|question| question.progress.context == context)
    }

    fn take(&mut self, is: impl Fn(&Question) -> bool) -> Option<Question> {
        let at = self.0.iter().position(is)?;
        Some(self.0.swap_remove(at))
    }

    /// So many at most of those that are to be asked again, and those whose time is over: also where the host
    /// never said that their call has ended.
    pub(crate) fn take_due(&mut self, now: Milliseconds, most: usize) -> Vec<Due> {
        let mut due = Vec::new();
        let mut at = 0_usize;
        while due.len() < most
            && let Some(question) = self.0.get(at)
        {
            if !question.is_due(now) {
                at = at.saturating_add(1);
                continue;
            }
            let is_over = question.is_over(now);
            let question = self.0.swap_remove(at);
            due.push(if is_over { Due::Over(question) } else { Due::Again(question) });
        }
        due
    }
}

fn kept(progress: &Progress) -> usize {
    match progress.came() {
        Came::NoBody => 0,
        Came::Whole(size) => size,
        Came::Some(size) => size.max(MAX_HELD_BODY),
        Came::Trailers => MAX_HELD_BODY,
    }
}

/// Requests of one worker that wait for the control plane.
const MAX_WAITING: usize = 2_048;
/// Bytes of their bodies that Envoy keeps.
const MAX_BYTES: usize = 64 << 20;
/// One agent has at most one of so many parts of both.
const SHARES: usize = 8;
/// Milliseconds that a request waits at most.
const PATIENCE: u64 = 5_000;
/// Milliseconds until a question is asked again that had no answer.
const RETRY_AFTER: u64 = 250;
/// Milliseconds after its time in which the host says that a call has ended.
const CALL_MARGIN: u64 = 1_000;
