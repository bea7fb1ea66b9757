//! A simulated Envoy: one process, its VMs with the shipped shell in them, and what they have open.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use gatepass_engine::position::Position;
use gatepass_filter::native::{ROOT, SharedHost, Vm};
use gatepass_filter::positions::Enforced;
use gatepass_tests::host::SharedData;

use super::clock::{Clock, MINUTE, Moment, SECOND};
use super::grace::Grace;
use super::host::{CameTo, Died, VmHost};
use super::mutant::Mutant;
use super::policy::{Action, HOST};
use super::random::Random;

/// One process.
pub(crate) struct Envoy {
    pub(crate) clock: Clock,
    pub(crate) shared: SharedData,
    /// The main thread's first: it serves nothing.
    pub(crate) workers: Vec<Worker>,
    pub(crate) configuration: Vec<u8>,
    /// The number of the one that it follows.
    pub(crate) audience: usize,
    pub(crate) grace: Option<Grace>,
    /// A thief has told it something that it had to believe.
    pub(crate) deceived: bool,
    /// The newest that any of its workers has answered from, and the number of the policy.
    pub(crate) served: (Option<Position>, usize),
    pub(crate) link: Link,
    /// What is wrong with it now.
    pub(crate) troubles: u32,
    /// When the last of it ended.
    pub(crate) troubled: Moment,
    /// How far its wall was behind the signer's lately, in milliseconds, and when.
    behind: (u64, Moment),
    /// When an answer may last have been kept: by somebody on the line, or by a thread that slept.
    pub(crate) kept_answer: Option<Moment>,
    /// When somebody else has overwritten its shared data.
    pub(crate) forged: Option<Moment>,
    /// What another plugin has kept of its shared data.
    pub(crate) kept: Vec<(Vec<u8>, Vec<u8>)>,
    /// Something goes on, so its ticks are as frequent as its VMs ask for.
    pub(crate) busy_until: Moment,
    /// There is no process.
    pub(crate) down: bool,
    random: Random,
    mutant: Option<Mutant>,
}

/// One VM and its thread.
pub(crate) struct Worker {
    vm: Option<Vm>,
    pub(crate) host: Rc<RefCell<VmHost>>,
    /// Of the VMs that were in this place.
    pub(crate) generation: u64,
    /// Its thread runs nothing until then.
    pub(crate) sleeps_until: Moment,
    /// Has asked the feed last.
    pub(crate) leads: bool,
    pub(crate) asked: Vec<Asked>,
    next_context: u32,
}

/// A request that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) context: u32,
    /// The number of the gatepass.
    pub(crate) pass: usize,
    /// A letter of it was changed.
    pub(crate) forged: bool,
    pub(crate) action: Action,
    pub(crate) at: Moment,
    /// It was let on.
    pub(crate) open: bool,
    pub(crate) ends: Moment,
}

/// The way between an Envoy and the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Good,
    /// What is sent is refused at once.
    Refused,
    /// What is sent is lost, either way.
    Silent,
    /// Half of all is lost.
    Lossy,
    /// Answers take longer than anybody waits, or nearly.
    Slow,
    /// Somebody sits in between.
    Hostile,
    /// Somebody sits in between who has the feed's key.
    Thief,
}

impl Envoy {
    pub(crate) fn new(
        clock: Clock,
        workers: usize,
        (audience, configuration): (usize, Vec<u8>),
        mut random: Random,
        mutant: Option<Mutant>,
    ) -> Self {
        let shared = SharedData::default();
        // The counter of the process begins anywhere, also shortly before its wrap.
        shared.set_next_number(random.next() as u32 | 0xffff_0000);
        let workers = (0..=workers)
            .map(|_| Worker::new(&shared, &configuration, &mut random, 0, mutant))
            .collect();
        Self {
            clock,
            shared,
            workers,
            configuration,
            audience,
            grace: None,
            deceived: false,
            served: (None, 0),
            link: Link::Good,
            troubles: 0,
            troubled: 0,
            behind: (0, 0),
            kept_answer: None,
            forged: None,
            kept: Vec::new(),
            busy_until: 0,
            down: false,
            random,
            mutant,
        }
    }

    /// Another process in its place.
    pub(crate) fn restart(&mut self, (audience, configuration): (usize, Vec<u8>), at: Moment) {
        self.shared = SharedData::default();
        self.shared.set_next_number(self.random.next() as u32 | 0xffff_0000);
        (self.audience, self.configuration) = (audience, configuration);
        // That of one process means nothing in another.
        self.kept.clear();
        self.served = (None, 0);
        self.deceived = false;
        for place in 0..self.workers.len() {
            self.reload(place, at);
        }
    }

    /// Its plugin is configured anew: other VMs, beside what those before have shared.
    pub(crate) fn reconfigure(&mut self, configuration: Vec<u8>, at: Moment) {
        self.configuration = configuration;
        for place in 0..self.workers.len() {
            self.call(place, at, |vm| vm.shut_down());
            self.reload(place, at);
        }
    }

    /// Another VM in the place of one, as Envoy makes it where one has died.
    pub(crate) fn reload(&mut self, place: usize, at: Moment) {
        let generation = self.workers[place].generation + 1;
        let mut worker = Worker::new(
            &self.shared,
            &self.configuration,
            &mut self.random,
            generation,
            self.mutant,
        );
        worker.sleeps_until = self.workers[place].sleeps_until;
        self.workers[place] = worker;
        self.configure(place, at);
    }

    pub(crate) fn configure(&mut self, place: usize, at: Moment) {
        let taken = self.call(place, at, |vm| {
            assert!(vm.configure(), "the configuration is refused");
        });
        debug_assert!(taken.is_some() || self.workers[place].vm.is_none());
    }

    /// Runs a callback; `None` where there is no VM, or where it died.
    pub(crate) fn call<T>(
        &mut self,
        place: usize,
        at: Moment,
        act: impl FnOnce(&mut Vm) -> T,
    ) -> Option<T> {
        let (wall, monotonic) = (self.clock.wall(at), self.clock.monotonic(at));
        let worker = self.workers.get_mut(place)?;
        {
            let mut host = worker.host.borrow_mut();
            (host.wall, host.monotonic) = (wall, monotonic);
        }
        let vm = worker.vm.as_mut()?;
        match catch_unwind(AssertUnwindSafe(|| act(vm))) {
            Ok(done) => Some(done),
            Err(why) if why.is::<Died>() => {
                worker.vm = None;
                worker.asked.clear();
                None
            }
            // A panic of the filter's, or of the simulation's.
            Err(why) => std::panic::resume_unwind(why),
        }
    }

    /// An answer of the feed, to the VM that asked.
    pub(crate) fn answer(
        &mut self,
        place: usize,
        token: u32,
        status: u16,
        body: &[u8],
        at: Moment,
    ) {
        let host = Rc::clone(&self.workers[place].host);
        host.borrow_mut().answer = Some((status, body.to_vec()));
        host.borrow_mut().heard |= status == 200;
        self.call(place, at, |vm| vm.answer(token));
        host.borrow_mut().answer = None;
    }

    /// Begins a request, and says what became of it at once; `None` where the VM died of it.
    pub(crate) fn ask(
        &mut self,
        place: usize,
        token: &str,
        mut asked: Asked,
    ) -> Option<(CameTo, Enforced)> {
        let at = asked.at;
        let worker = &mut self.workers[place];
        worker.next_context += 1;
        let context = worker.next_context;
        asked.context = context;
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header(":method", asked.action.method()),
            header(":authority", HOST),
            header(":path", asked.action.path()),
            header("authorization", &format!("Bearer {token}")),
        ];
        let host = Rc::clone(&worker.host);
        host.borrow_mut().begin(context, headers);
        host.borrow_mut().deciding = true;
        let decided = self.call(place, at, |vm| {
            let goes_on = vm.request_headers(context, true);
            (goes_on, vm.enforced())
        });
        host.borrow_mut().deciding = false;
        let (goes_on, enforced) = decided?;
        let mut came_to = self.came_to(place, context);
        if goes_on && came_to == CameTo::Waiting {
            came_to = CameTo::Continued;
            if let Some(stream) = host.borrow_mut().streams.get_mut(&context) {
                stream.came_to = CameTo::Continued;
            }
        }
        asked.open = came_to == CameTo::Continued;
        if came_to == CameTo::Waiting || (asked.open && asked.ends > at) {
            self.workers[place].asked.push(asked);
        } else {
            self.end(place, context, at);
        }
        Some((came_to, enforced))
    }

    pub(crate) fn came_to(&self, place: usize, context: u32) -> CameTo {
        let host = self.workers[place].host.borrow();
        host.streams.get(&context).map_or(CameTo::Cut, |stream| stream.came_to.clone())
    }

    /// The request is over.
    pub(crate) fn end(&mut self, place: usize, context: u32, at: Moment) {
        self.call(place, at, |vm| {
            vm.response_headers(context);
            vm.done(context);
        });
        let worker = &mut self.workers[place];
        worker.asked.retain(|asked| asked.context != context);
        worker.host.borrow_mut().streams.remove(&context);
    }

    pub(crate) fn enforced(&mut self, place: usize) -> Enforced {
        self.workers[place].vm.as_ref().map(Vm::enforced).unwrap_or_default()
    }

    /// Whether a VM knows that it is not where its Envoy is.
    pub(crate) fn is_behind(&self, place: usize) -> bool {
        self.workers[place].vm.as_ref().is_some_and(Vm::is_behind)
    }

    /// Since when nothing is wrong with it; never while something is.
    pub(crate) const fn calm_since(&self) -> Moment {
        if self.troubles > 0 { Moment::MAX } else { self.troubled }
    }

    /// Notes where its wall stands to the second that is signed now.
    pub(crate) fn compare(&mut self, signed: u64, at: Moment) {
        let wall = self.clock.unix(at).0;
        if wall.abs_diff(signed) > ALIGNED {
            self.troubled = at;
        }
        let behind = signed.saturating_sub(wall) * SECOND;
        if behind >= self.behind.0 || at > self.behind.1 + REMEMBERED {
            self.behind = (behind, at);
        }
        if [Link::Hostile, Link::Thief].contains(&self.link) {
            self.kept_answer = Some(at);
        }
    }

    /// What its wall may hide of the age of an answer: how far it was behind, and no more than an
    /// answer can be under way, unless it may have been kept.
    pub(crate) fn hidden(&self, at: Moment) -> Moment {
        let is_kept = self.kept_answer.is_some_and(|last| at <= last + REMEMBERED);
        if is_kept { self.behind.0 } else { self.behind.0.min(MOST_BEHIND) }
    }
}

impl Worker {
    fn new(
        shared: &SharedData,
        configuration: &[u8],
        random: &mut Random,
        generation: u64,
        mutant: Option<Mutant>,
    ) -> Self {
        let mut host = VmHost::new(shared.clone(), configuration.to_vec(), random.fork());
        host.mutant = mutant;
        let host = Rc::new(RefCell::new(host));
        let shared_host: SharedHost = Rc::clone(&host) as SharedHost;
        Self {
            vm: Some(Vm::new(shared_host)),
            host,
            generation,
            sleeps_until: 0,
            leads: false,
            asked: Vec::new(),
            next_context: ROOT,
        }
    }

    pub(crate) const fn is_alive(&self) -> bool {
        self.vm.is_some()
    }

    /// Drained, its VM gives back what it holds; killed it does not.
    pub(crate) fn vanish(&mut self) {
        self.vm = None;
        self.asked.clear();
    }
}

/// Seconds that the wall of an Envoy and the signer's may differ where nothing is wrong: less than the 30
/// that a gate accepts.
const ALIGNED: u64 = 20;
/// Longer than any bound.
const REMEMBERED: Moment = 10 * MINUTE;
/// Envoy gives a poll up after 25 s.
const MOST_BEHIND: Moment = 26 * SECOND;
