//! Asking the control plane to confirm a use or a record, and what becomes of the request then.
//!
//! The request is paused while it waits. What is answered is read by the engine, which alone makes a
//! confirmation of it; the request is then decided again, on the newest state. Whatever else comes, or
//! nothing, ends in a denial.

use std::rc::Rc;

use gatepass_engine::body::Body;
use gatepass_engine::clock::Now;
use gatepass_engine::decision::{Header, Request, decide_confirmed};
use gatepass_engine::denial::Denial;
use gatepass_engine::redeem::{Answer, Confirmation, MAX_ENVELOPE_BYTES, Redemption};
use serde::Serialize;

use super::{Shell, Verdict, rules};
use crate::answer;
use crate::decision_id::DecisionId;
use crate::host::{self, Failed, Level, Map};
use crate::pairs;
use crate::progress::{Asked, Progress, Stage};
use crate::questions::{Due, Question};

/// The question's JSON.
#[derive(Serialize)]
struct Wire<'a> {
    jti: &'a str,
    nonce: &'a str,
    exp: u64,
    kind: &'static str,
    position: (u64, u64),
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Record<'a>>,
}

/// What is stored before the request goes on.
#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    at: u64,
    environment: &'a str,
    decision: &'static str,
    agent: &'a str,
    owner: &'a str,
    task: &'a str,
    action: &'a str,
    method: &'a str,
    host: &'a str,
    /// Its template: a path may have secrets in it, as in all records.
    route: &'a str,
}

/// What came back.
enum Said {
    Envelope(Vec<u8>),
    /// Nothing, or that there is no answer now: the same may be asked again.
    Nothing,
    /// That there will be none.
    Never(String),
}

impl Shell {
    /// Asks about the request of the effective context, which waits from then on.
    pub(crate) fn ask(
        &mut self,
        now: Now,
        headers: &[Header<'_>],
        progress: &Rc<Progress>,
        redemption: Box<Redemption>,
        id: DecisionId,
    ) -> Result<Stage, Failed> {
        let denial = match self.begin(now, headers, progress, redemption, id)? {
            Ok(()) => return Ok(Stage::Waiting),
            Err(denial) => denial,
        };
        self.refuse(&denial, headers, id.as_str()).map(|()| Stage::Denied)
    }

    fn begin(
        &mut self,
        now: Now,
        headers: &[Header<'_>],
        progress: &Rc<Progress>,
        redemption: Box<Redemption>,
        id: DecisionId,
    ) -> Result<Result<(), Denial>, Failed> {
        if !self.questions.has_room(&redemption.identity().agent, progress) {
            return Ok(Err(redemption.unconfirmed("too many requests wait")));
        }
        let nonce = hexadecimal(&host::random()?);
        let body = self.body(&redemption, &nonce, headers, &id, now)?;
        if redemption.needs().one_use {
            let ends = self.gate.times(now).ends;
            let (jti, agent) = (redemption.jti(), redemption.identity().agent.as_str());
            let place = self.gate.replays_mut().ask(jti, agent, redemption.expires(), ends);
            if let Err(denial) = place {
                return Ok(Err(denial));
            }
        }
        let asked = Asked { id, redemption };
        let mut question = Question::new(progress, asked, nonce, body, now.monotonic);
        self.metrics.count("gatepass_redeem.asked", 1);
        if question.send(&self.configuration.feed, now.monotonic).is_err()
            && !question.put_off(now.monotonic)
        {
            let redemption = &question.asked.redemption;
            self.note_answer(redemption, false);
            return Ok(Err(redemption.unconfirmed("the control plane cannot be called")));
        }
        self.questions.push(question);
        Ok(Ok(()))
    }

    fn body(
        &self,
        redemption: &Redemption,
        nonce: &str,
        headers: &[Header<'_>],
        id: &DecisionId,
        now: Now,
    ) -> Result<Vec<u8>, Failed> {
        let needs = redemption.needs();
        let position = self.gate.position().ok_or(Failed)?;
        let text = |name: &[u8]| {
            let found = headers.iter().find(|header| header.name == name);
            found.and_then(|header| core::str::from_utf8(header.value).ok()).unwrap_or_default()
        };
        let at = redemption.noted().route_at();
        let route = self.gate.index().zip(at).and_then(|(index, at)| index.at(at));
        let who = redemption.identity();
        let record = needs.record.then(|| Record {
            id: id.as_str(),
            at: now.unix.0,
            environment: &self.gate.settings().environment,
            decision: "allow",
            agent: &who.agent,
            owner: &who.owner,
            task: &who.task,
            action: redemption.action(),
            method: text(b":method"),
            host: text(b":authority"),
            route: route.map_or("", |(_, route)| &route.path),
        });
        let wire = Wire {
            jti: redemption.jti(),
            nonce,
            exp: redemption.expires().0,
            kind: if needs.one_use { "use" } else { "audit" },
            position: (position.epoch, position.sequence),
            record,
        };
        serde_json::to_vec(&wire).map_err(|_| Failed)
    }

    /// The call of this token was answered: false where it was not one of a request that waits. The context
    /// that is effective afterwards is that of the request.
    pub(crate) fn confirmed(&mut self, token: u32, now: Now) -> bool {
        let Some(mut question) = self.questions.answered(token) else { return false };
        // Before the request's context is the effective one: the answer is the root's to read.
        let said = said();
        // What was revoked while it waited is revoked, and so are the keys that say otherwise.
        self.check(now);
        let denial = match said {
            Said::Envelope(bytes) => match self.believe(&question, &bytes, now) {
                Ok(Answer::Confirmed(confirmation)) => {
                    self.note_answer(&question.asked.redemption, true);
                    self.metrics.count("gatepass_redeem.confirmed", 1);
                    self.decide_again(question, confirmation, now);
                    return true;
                }
                Ok(Answer::Spent) => {
                    self.note_answer(&question.asked.redemption, true);
                    self.metrics.count("gatepass_redeem.spent", 1);
                    self.end(question, |redemption| redemption.spent());
                    return true;
                }
                Ok(Answer::Refused) => "the control plane does not confirm it",
                Err(why) => {
                    self.metrics.count("gatepass_verdicts_refused", 1);
                    host::log(Level::Warn, &format!("gatepass refused a verdict: {why}"));
                    "the verdict is not believed"
                }
            },
            Said::Nothing => {
                if question.put_off(now.monotonic) {
                    self.questions.push(question);
                    return true;
                }
                "the control plane did not answer"
            }
            Said::Never(why) => {
                host::log(Level::Warn, &format!("gatepass could not redeem: {why}"));
                "the control plane takes no such question"
            }
        };
        self.fail(question, denial);
        true
    }

    /// Asks again what had no answer, and ends what has waited for too long, as much as there is room for. Which
    /// context is effective afterwards is not said.
    pub(crate) fn ask_again(&mut self, now: Now, room: &mut usize) {
        for due in self.questions.take_due(now.monotonic, *room) {
            *room = room.saturating_sub(1);
            match due {
                Due::Over(question) => self.fail(question, "the control plane did not answer"),
                Due::Again(mut question) => {
                    let sent = question.send(&self.configuration.feed, now.monotonic).is_ok();
                    if sent || question.put_off(now.monotonic) {
                        self.questions.push(question);
                    } else {
                        self.fail(question, "the control plane cannot be called");
                    }
                }
            }
        }
    }

    /// The request is gone. Whether its use was spent nobody here will know.
    pub(crate) fn forget(&mut self, context: u32) {
        if let Some(question) = self.questions.drop_context(context) {
            self.note_answer(&question.asked.redemption, false);
        }
    }

    fn believe(&self, question: &Question, bytes: &[u8], now: Now) -> Result<Answer, String> {
        question.asked.redemption.read(bytes, &question.nonce, &self.gate, now)
    }

    fn note_answer(&mut self, redemption: &Redemption, spent: bool) {
        if redemption.needs().one_use {
            self.gate.replays_mut().answered(redemption.jti(), spent);
        }
    }

    fn fail(&mut self, question: Question, why: &str) {
        self.note_answer(&question.asked.redemption, false);
        self.metrics.count("gatepass_redeem.failed", 1);
        self.end(question, |redemption| redemption.unconfirmed(why));
    }

    fn end(&mut self, question: Question, denied: impl FnOnce(&Redemption) -> Denial) {
        if host::set_effective_context(question.progress.context).is_err() {
            return;
        }
        question.progress.set(Stage::Denied);
        let Asked { id, redemption } = &question.asked;
        // For its record; without them it is shorter.
        let bytes = host::map(Map::Request).unwrap_or_default();
        let headers = pairs::read(&bytes).unwrap_or_default();
        if self.refuse(&denied(redemption), &headers, id.as_str()).is_err() {
            let _ = host::close_request();
        }
    }

    /// With what was confirmed, on what is newest.
    fn decide_again(&mut self, question: Question, confirmation: Confirmation, now: Now) {
        let Question { progress, asked, .. } = question;
        if host::set_effective_context(progress.context).is_err() {
            return;
        }
        if progress.decide_confirmed(self, asked, confirmation, now).is_err() {
            progress.set(Stage::Denied);
            if answer::unavailable().is_err() {
                let _ = host::close_request();
            }
        }
        if progress.stage() == Stage::Allowed {
            let _ = host::continue_request();
        }
    }

    /// [`Shell::decide`] of a request of which this was confirmed, under the id that it was asked under.
    pub(crate) fn decide_confirmed(
        &mut self,
        now: Now,
        headers: &[Header<'_>],
        body: Body<'_>,
        confirmation: Confirmation,
        id: DecisionId,
    ) -> Result<Verdict, Failed> {
        let source = rules::source(self.gate.index());
        let request = Request { headers, body, source: source.address() };
        self.records.begin(now.monotonic, self.gate.age(now));
        let (gate, cache) = (&self.gate, &mut self.cache);
        let decision = decide_confirmed(&request, gate, cache, confirmation, now);
        self.carry_out(decision, headers, id, source)
    }

    /// Once a second: places of gatepasses that have expired are free.
    pub(super) fn forget_expired(&mut self, now: Now) {
        let ends = self.gate.times(now).ends;
        self.gate.replays_mut().forget_expired(ends);
    }
}

fn said() -> Said {
    let Ok(bytes) = host::map(Map::CallResponse) else { return Said::Nothing };
    let Ok(headers) = pairs::read(&bytes) else { return Said::Nothing };
    let status = headers.iter().find(|header| header.name == b":status");
    match status.map(|header| header.value) {
        Some(b"200") => {
            // One byte more than is taken, so that what is longer is seen to be.
            let most = MAX_ENVELOPE_BYTES.saturating_add(1);
            host::buffer(host::Buffer::CallBody, most).map_or(Said::Nothing, Said::Envelope)
        }
        Some([b'4', rest @ ..]) if rest != b"29" && rest != b"08" => {
            Said::Never(format!("status 4{}", String::from_utf8_lossy(rest)))
        }
        Some(_) | None => Said::Nothing,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
