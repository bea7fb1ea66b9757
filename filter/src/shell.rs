//! One gate in one VM: the engine's state, and what the shell keeps around it. Shared by the root
//! context and its requests.

use std::cell::RefCell;
use std::rc::Rc;

use gatepass_engine::batch::Feed;
use gatepass_engine::body::Body;
use gatepass_engine::clock::{Now, UnixSeconds};
use gatepass_engine::decision::{Awaited, Decision, Header, Permit, Reason, Request, decide_with};
use gatepass_engine::denial::{About, Denial};
use gatepass_engine::listing::Listing;
use gatepass_engine::record::Outcome;
use gatepass_engine::redeem::Redemption;
use gatepass_engine::refusal::Refusal;
use gatepass_engine::token_cache::TokenCache;
use gatepass_engine::{Gate, Mode};

use crate::answer;
use crate::configuration::Configuration;
use crate::decision_id::{DecisionId, DecisionIds};
use crate::exchange::{Checked, Exchange};
use crate::headers;
use crate::held::Held;
use crate::host::{self, EnvoySharedData, Failed, Level, Map};
use crate::lease::{self, VmId};
use crate::metrics::Metrics;
use crate::open::{Open, OpenRequest, Source};
use crate::poll::Poll;
use crate::positions::{Enforced, OwnPlace};
use crate::progress::Known;
use crate::questions::Questions;
use crate::records::Records;
use crate::report::Report;
use crate::tally::Tally;
use crate::uploads::Uploads;

mod feed;
mod note;
mod redeem;
mod rules;

/// Shared between a root context and its requests; single-threaded.
pub(crate) type SharedShell = Rc<RefCell<Option<Shell>>>;

pub(crate) struct Shell {
    pub(crate) configuration: Configuration,
    pub(crate) held: Held,
    pub(crate) uploads: Uploads,
    pub(crate) open: Open,
    questions: Questions,
    /// Something was read since the held requests were decided last: only then can they be decided
    /// otherwise, and up to 256 signatures on each tick would be a quarter of the worker.
    pub(crate) news: bool,
    gate: Gate,
    cache: TokenCache,
    exchange: Exchange,
    metrics: Metrics,
    tally: Tally,
    records: Records,
    report: Report,
    vm: VmId,
    ids: DecisionIds,
    place: OwnPlace,
    place_renewed: Option<gatepass_engine::Milliseconds>,
    leads: bool,
    poll: Poll,
    asks_snapshot: bool,
    last_refusal: Option<(Refusal, UnixSeconds)>,
}

/// What became of a request.
pub(crate) enum Verdict {
    /// It goes on; the headers are prepared. What must be watched from now on, and how its answer is cut.
    Allowed(Option<Box<OpenRequest>>, Option<Listing>),
    /// It was answered.
    Denied,
    /// It may be held: the denial is what it gets when the time is over.
    Holdable(Denial),
    /// Its body is to be read first.
    Awaited(Awaited),
    /// All else holds, and the control plane is to be asked: [`Shell::ask`].
    Asks(Box<Redemption>, DecisionId),
}

impl Shell {
    pub(crate) fn new(configuration: Configuration, now: Now) -> Result<Self, String> {
        let mut gate = Gate::new(configuration.settings.clone(), configuration.pinned.clone());
        if let Some(bytes) = &configuration.baseline {
            let feed = Feed::decode(bytes).map_err(|refusal| refusal.to_string())?;
            gate.baseline(&feed, now).map_err(|refusal| format!("`baseline`: {refusal}"))?;
        }
        if let Some(envelope) = &configuration.grace {
            gate.take_grace(envelope.clone());
        }
        gate.key_replays(&host::random().map_err(|_| no_randomness())?);
        let random = host::random().map_err(|_| no_randomness())?;
        let vm = VmId(u64::from_le_bytes(random.first_chunk().copied().unwrap_or_default()));
        let exchange = Exchange::new(configuration.prefix.clone());
        Ok(Self {
            configuration,
            held: Held::default(),
            uploads: Uploads::default(),
            open: Open::default(),
            questions: Questions::default(),
            news: false,
            gate,
            cache: TokenCache::new(MAX_CACHE_BYTES),
            exchange,
            metrics: Metrics::default(),
            tally: Tally::default(),
            records: Records::default(),
            report: Report::default(),
            vm,
            ids: DecisionIds::new(host::random().map_err(|_| no_randomness())?),
            place: OwnPlace::default(),
            place_renewed: None,
            leads: false,
            poll: Poll::default(),
            asks_snapshot: false,
            last_refusal: None,
        })
    }

    /// Takes the lease at configuration time: the main thread's VM, which never serves requests,
    /// is configured first and so leads.
    pub(crate) fn start(&mut self, now: Now) {
        self.lead(now);
        self.check(now);
        self.begin_records(now);
        let shadow = u64::from(self.configuration.settings.mode == Mode::Shadow);
        self.metrics.gauge("gatepass_mode_shadow", shadow);
        // A series that is absent until its first event cannot be alerted on.
        for name in [
            "gatepass_shared_state_forged",
            "gatepass_batches_refused",
            "gatepass_requests_held",
            "gatepass_grace_refused",
            "gatepass_permits_ended",
            "gatepass_redeem.asked",
            "gatepass_redeem.confirmed",
            "gatepass_redeem.spent",
            "gatepass_redeem.failed",
            "gatepass_verdicts_refused",
            "gatepass_records_dropped",
            "gatepass_record_posts_failed",
        ] {
            self.metrics.count(name, 0);
        }
    }

    /// Decides the request of the effective context on the newest state that any VM has served.
    pub(crate) fn decide(
        &mut self,
        now: Now,
        headers: &[Header<'_>],
        body: Body<'_>,
    ) -> Result<Verdict, Failed> {
        #[cfg(not(feature = "unchecked-for-tests"))]
        self.check(now);
        self.records.begin(now.monotonic, self.gate.age(now));
        let source = rules::source(self.gate.index());
        let request = Request { headers, body, source: source.address() };
        let id = self.ids.next(now.unix);
        let decision = decide_with(&request, &self.gate, &mut self.cache, now);
        self.carry_out(decision, headers, id, source)
    }

    fn carry_out(
        &mut self,
        decision: Decision,
        headers: &[Header<'_>],
        id: DecisionId,
        source: Source,
    ) -> Result<Verdict, Failed> {
        match decision {
            Decision::Allow(permit) => {
                let watched = permit.standing().may_end(&self.gate);
                if watched
                    && !self.open.has_room(permit.standing())
                    && permit.standing().is_enforced()
                {
                    let denial = Denial::too_many_open(about(&permit));
                    return self.refuse(&denial, headers, id.as_str()).map(|()| Verdict::Denied);
                }
                self.forward(headers, &permit, id.as_str())?;
                let listing = permit.listing().cloned();
                let standing = permit.into_standing();
                let watched = watched && self.open.has_room(&standing);
                let open = || OpenRequest::new(standing, id, source);
                Ok(Verdict::Allowed(watched.then(open), listing))
            }
            Decision::Read(awaited) => Ok(Verdict::Awaited(awaited)),
            Decision::Deny(denial) if denial.hold().is_some() => Ok(Verdict::Holdable(denial)),
            Decision::Deny(denial) => {
                self.refuse(&denial, headers, id.as_str()).map(|()| Verdict::Denied)
            }
            Decision::Redeem(redemption) => Ok(Verdict::Asks(redemption, id)),
        }
    }

    /// Answers a request whose time is over. `headers` are for its record, where they are at hand.
    pub(crate) fn refuse_held(
        &mut self,
        now: Now,
        denial: &Denial,
        headers: &[Header<'_>],
    ) -> Result<(), Failed> {
        let id = self.ids.next(now.unix);
        self.records.begin(now.monotonic, self.gate.age(now));
        self.refuse(denial, headers, id.as_str())
    }

    /// Watches a request that was let on; `headers` and `body` are as it was decided on.
    pub(crate) fn watch(
        &mut self,
        context: u32,
        open: Option<Box<OpenRequest>>,
        headers: Vec<u8>,
        body: Known,
    ) {
        if let Some(open) = open {
            self.open.insert(context, open, headers, body);
        }
    }

    /// Cuts the streams that outlived their permit, as many as there is room for, and says why.
    pub(crate) fn end_permits(&mut self, now: Now, room: &mut usize) {
        let hold = self.configuration.hold.0;
        let denied = self.open.take_denied(&self.gate, &mut self.cache, hold, now, *room);
        *room = room.saturating_sub(denied.len());
        for (context, open, denial) in denied {
            if host::set_effective_context(context).is_err() {
                continue;
            }
            let (code, whom) = (denial.code().as_str(), denial.whom());
            let (agent, action) = (whom.agent.as_deref(), whom.action.as_deref());
            state("ended", code, agent, action, open.id.as_str(), "");
            if host::close_request().is_err() {
                // It is open still: the next tick decides it again.
                self.open.put_back(context, open);
                continue;
            }
            self.records.begin(now.monotonic, self.gate.age(now));
            self.write_down(Outcome::Ended, code, &whom.noted, action, &[], open.id.as_str());
            self.metrics.count("gatepass_permits_ended", 1);
            self.metrics.count(&format!("gatepass_permit_ends.{code}"), 1);
        }
    }

    pub(crate) fn count_held(&mut self) {
        self.metrics.count("gatepass_requests_held", 1);
    }

    fn forward(&mut self, headers: &[Header<'_>], permit: &Permit, id: &str) -> Result<(), Failed> {
        headers::prepare_upstream(headers, permit, id)?;
        let (outcome, code, agent) = match permit.reason() {
            Reason::Decided(identity) => {
                self.tally.count(self.gate.bundle_in_force(), true);
                ("allow", "decided", Some(identity.agent.as_str()))
            }
            Reason::Shadow(denial) => {
                ("shadow", denial.code().as_str(), denial.whom().agent.as_deref())
            }
            Reason::Public => ("allow", "public", None),
            Reason::PassedThrough => ("allow", "passed_through", None),
        };
        let rules = self.note_rules(permit.noted(), code);
        self.record(outcome, code, agent, permit.action(), id, &rules);
        let outcome = if outcome == "shadow" { Outcome::Shadow } else { Outcome::Allow };
        self.write_down(outcome, code, permit.noted(), permit.action(), headers, id);
        Ok(())
    }

    pub(crate) fn refuse(
        &mut self,
        denial: &Denial,
        headers: &[Header<'_>],
        id: &str,
    ) -> Result<(), Failed> {
        answer::deny(denial, id)?;
        let about = denial.whom();
        if about.is_live && denial.code().rests_on_policy() {
            self.tally.count(self.gate.bundle_in_force(), false);
        }
        let rules = self.note_rules(&about.noted, denial.code().as_str());
        self.record(
            "deny",
            denial.code().as_str(),
            about.agent.as_deref(),
            about.action.as_deref(),
            id,
            &rules,
        );
        let code = denial.code().as_str();
        self.write_down(Outcome::Deny, code, &about.noted, about.action.as_deref(), headers, id);
        Ok(())
    }

    fn record(
        &mut self,
        outcome: &'static str,
        code: &'static str,
        agent: Option<&str>,
        action: Option<&str>,
        id: &str,
        rules: &str,
    ) {
        self.metrics.decided(outcome, code, action);
        state(outcome, code, agent, action, id, rules);
    }

    /// True when something new was read.
    pub(crate) fn check(&mut self, now: Now) -> bool {
        let checked = self.exchange.check(&mut EnvoySharedData, &mut self.gate, now);
        let news = checked.news;
        if news {
            self.news = true;
            self.open.note_news();
        }
        self.note(checked, now);
        if news && let Some(refusal) = self.gate.grace_refusal() {
            self.metrics.count("gatepass_grace_refused", 1);
            host::log(Level::Warn, &format!("gatepass refused the grace: {refusal}"));
        }
        news
    }

    fn note(&mut self, checked: Checked, now: Now) {
        self.metrics.count("gatepass_shared_state_forged", checked.forged);
        for refusal in checked.refusals {
            self.note_refusal(refusal, now);
        }
    }

    fn note_refusal(&mut self, refusal: Refusal, now: Now) {
        self.metrics.count("gatepass_batches_refused", 1);
        self.metrics.count(&format!("gatepass_batch_refusals.{}", refusal.code), 1);
        if self.last_refusal.as_ref().map(|(last, _)| last) != Some(&refusal) {
            host::log(Level::Warn, &format!("gatepass refused a batch: {refusal}"));
        }
        self.last_refusal = Some((refusal, now.unix));
    }

    /// The tick of the root context, without the held requests.
    pub(crate) fn tick(&mut self, now: Now) {
        let renewed = self.place_renewed.is_some_and(|at| now.monotonic.since(at) < PLACE_EVERY);
        let news = self.check(now);
        // Never while a request waits: a new key's first gatepasses are verified slowly instead.
        self.gate.prepare();
        if news || !renewed {
            let prefix = self.configuration.prefix.clone();
            let at = self.enforced();
            self.place.renew(
                &mut EnvoySharedData,
                |name| prefix.key(name),
                self.vm,
                at,
                now.monotonic,
            );
            let here = self.gate.position();
            self.tally.add(&mut EnvoySharedData, &prefix.key("decided"), here);
            self.place_renewed = Some(now.monotonic);
            self.forget_expired(now);
        }
        self.tell(now);
        self.lead(now);
        if self.leads {
            let standing = self.exchange.standing_anew(&mut EnvoySharedData, &mut self.gate, now);
            if standing.is_some() {
                self.open.note_news();
            }
            self.asks_snapshot |= standing.is_some_and(|standing| standing.wants_snapshot)
                || self.exchange.wanted(&mut EnvoySharedData);
            if self.asks_snapshot {
                self.poll.abandon(now.monotonic);
            }
            self.poll(now);
        }
    }

    /// What this VM decides on.
    pub(crate) fn enforced(&self) -> Enforced {
        Enforced { position: self.gate.position(), policy: self.gate.bundle_position() }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn is_behind(&self) -> bool {
        self.gate.behind().is_some()
    }

    fn lead(&mut self, now: Now) {
        let key = self.configuration.prefix.key("lead");
        let leads = lease::hold(&mut EnvoySharedData, &key, self.vm, now.monotonic);
        if leads && !self.leads {
            self.exchange.announce(&mut EnvoySharedData);
        }
        self.leads = leads;
    }

    pub(crate) fn release(&mut self) {
        let key = self.configuration.prefix.key("lead");
        lease::release(&mut EnvoySharedData, &key, self.vm);
    }

    /// `x-gatepass-vm` and `x-gatepass-position`, for tests alone.
    pub(crate) fn expose(&self) -> Result<(), Failed> {
        if !self.configuration.expose_position {
            return Ok(());
        }
        host::set_header(Map::Response, "x-gatepass-vm", &format!("{:016x}", self.vm.0))?;
        let position =
            self.gate.position().map_or_else(|| "none".to_owned(), |position| position.to_string());
        host::set_header(Map::Response, "x-gatepass-position", &position)
    }
}

fn about(permit: &Permit) -> About {
    let agent = match permit.reason() {
        Reason::Decided(identity) => Some(identity.agent.clone()),
        Reason::Shadow(_) | Reason::Public | Reason::PassedThrough => None,
    };
    let (action, noted) = (permit.action().map(str::to_owned), permit.noted().clone());
    About { agent, action, noted, ..About::default() }
}

/// Says of the effective context's stream what became of it.
fn state(
    outcome: &str,
    code: &str,
    agent: Option<&str>,
    action: Option<&str>,
    id: &str,
    rules: &str,
) {
    // One text, because each costs half a microsecond.
    let mut all = String::with_capacity(RECORD_BYTES);
    let parts = [
        ("decision=", Some(outcome)),
        (" code=", Some(code)),
        (" agent=", agent),
        (" action=", action),
        (" id=", Some(id)),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            all.push_str(name);
            all.push_str(value);
        }
    }
    all.push_str(rules);
    host::set_filter_state("gatepass", &all);
    if outcome != "allow" {
        host::set_filter_state("gatepass_code", code);
    }
}

fn no_randomness() -> String {
    "the host gives no randomness".to_owned()
}

/// Bytes of gatepasses that one gate in one VM knows to be signed: some 20,000 of them. They are taken
/// as gatepasses come, so a worker that sees few has few.
const MAX_CACHE_BYTES: usize = 48 << 20;
/// Room for the most that a record says: an agent, an action of 64 bytes and an id.
const RECORD_BYTES: usize = 256;
/// Milliseconds between renewals of a VM's place.
const PLACE_EVERY: u64 = 1_000;
