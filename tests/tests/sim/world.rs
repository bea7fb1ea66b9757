//! The simulated fleet: one control plane, its Envoys, those who ask, and what happens when.
//!
//! Everything happens in one thread, in the order of its moment, and of its number within one. Chance comes
//! from the seed alone. Keys, ids and tokens are made by the control plane from the system's randomness:
//! nothing that happens depends on their values.

use std::collections::BTreeMap;

use gatepass_engine::position::Position;
use serde_json::json;

use super::audience::AUDIENCES;
use super::clock::{Clock, HOUR, MINUTE, Moment, SECOND};
use super::desk::Desk;
use super::envoy::{Asked, Envoy};
use super::grace::{Gone, Grace};
use super::holds::Member;
use super::host::CameTo;
use super::mutant::Mutant;
use super::network::Call;
use super::plane::Plane;
use super::policy::{ACTIONS, VARIANTS, Variant};
use super::random::Random;
use super::report::Report;
use super::theft::Theft;
use super::trouble::Trouble;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Milliseconds.
    pub(crate) lasts: Moment,
    pub(crate) envoys: usize,
    /// Of each Envoy, beside its main thread.
    pub(crate) workers: usize,
    /// How often something goes wrong, on the average: every so many milliseconds.
    pub(crate) troubles: Option<Moment>,
    pub(crate) mutant: Option<Mutant>,
    /// The policy that is there when it begins.
    pub(crate) first: Variant,
}

impl Plan {
    pub(crate) const fn of(seed: u64, lasts: Moment) -> Self {
        let (envoys, workers) = (2 + seed as usize % 2, 2 + seed as usize / 2 % 2);
        // Little that goes wrong shows what is owed, much shows what it comes to together.
        let every = match seed % 3 {
            0 => 2,
            1 => 8,
            _ => 20,
        };
        let troubles = Some(every * MINUTE);
        Self { seed, lasts, envoys, workers, troubles, mutant: None, first: VARIANTS[0] }
    }

    /// The first Envoy is in no cohort and the second in one; of the third it depends.
    const fn audience(&self, envoy: usize) -> usize {
        if envoy < 2 { envoy } else { self.seed as usize / 2 % AUDIENCES.len() }
    }
}

pub(crate) struct World {
    plan: Plan,
    pub(crate) now: Moment,
    queue: BTreeMap<(Moment, u64), Event>,
    numbers: u64,
    pub(crate) plane: Plane,
    pub(crate) desk: Desk,
    pub(crate) envoys: Vec<Envoy>,
    pub(crate) calls: BTreeMap<u64, Call>,
    /// Of the network and of what goes wrong.
    pub(crate) chance: Random,
    asking: Random,
    operating: Random,
    pub(crate) report: Report,
    /// With the control plane, and so with all.
    pub(crate) troubles: u32,
    pub(crate) troubled: Moment,
    pub(crate) mutant: Option<Mutant>,
    /// Where a bundle is garbage, though signed.
    pub(crate) bad_bundle: Option<Position>,
    /// When the last of these had its successor.
    pub(crate) mended: Moment,
    /// Answers of the past.
    pub(crate) said: Vec<Vec<u8>>,
    /// Who was there when a cohort last got a policy to try.
    pub(crate) members: BTreeMap<usize, Vec<Member>>,
    /// The control plane.
    pub(crate) gone: Option<Gone>,
    /// The last one.
    pub(crate) theft: Option<Theft>,
    /// The control plane's clock, from each moment on.
    clocks: Vec<(Moment, Clock)>,
}

pub(crate) enum Event {
    Tick {
        envoy: usize,
        place: usize,
        generation: u64,
    },
    /// By the number of a poll.
    Arrives(u64),
    HoldEnds(u64),
    Answers {
        call: u64,
        status: u16,
        body: Vec<u8>,
    },
    TimesOut(u64),
    Ask {
        envoy: usize,
    },
    /// Beside those who always ask.
    AskOnce {
        envoy: usize,
    },
    Show {
        envoy: usize,
        pass: usize,
    },
    Ends {
        envoy: usize,
        place: usize,
        generation: u64,
        context: u32,
    },
    Reload {
        envoy: usize,
        place: usize,
        generation: u64,
    },
    Issue,
    Operate,
    Tidy,
    Trouble,
    /// Somebody grants it, if the control plane is gone.
    Grace,
    Over(Trouble),
}

impl World {
    /// Runs a plan to its end, or to the first violation.
    pub(crate) fn run(plan: Plan) -> Report {
        let mut world = Self::new(plan);
        while let Some(((at, _), event)) = world.queue.pop_first() {
            if at > plan.lasts || world.report.violation.is_some() {
                break;
            }
            world.now = at;
            world.happens(event);
        }
        world.report.simulated = world.now;
        for envoy in &world.envoys {
            for worker in &envoy.workers {
                for (name, count) in &worker.host.borrow().counted {
                    *world.report.counted.entry(name.clone()).or_default() += count;
                }
            }
        }
        world.report
    }

    fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let mut clock = || Clock {
            ahead: random.below(4_000) as i64 - 2_000,
            faster: random.below(400) as i64 - 200,
        };
        let plane_clock = clock();
        let clocks: Vec<Clock> = (0..plan.envoys).map(|_| clock()).collect();
        let mut plane = Plane::new(plane_clock);
        let desk = Desk::new(&mut plane, plan.first, plan.mutant);
        let envoys = clocks.into_iter().enumerate().map(|(envoy, clock)| {
            let random = random.fork();
            let audience = plan.audience(envoy);
            let configured = (audience, configuration(&plane, audience, 1, None, None));
            Envoy::new(clock, plan.workers, configured, random, plan.mutant)
        });
        let envoys: Vec<Envoy> = envoys.collect();
        let report = Report::of(plan.seed);
        let mut world = Self {
            plan,
            now: 0,
            queue: BTreeMap::new(),
            numbers: 0,
            plane,
            desk,
            envoys,
            calls: BTreeMap::new(),
            chance: random.fork(),
            asking: random.fork(),
            operating: random.fork(),
            report,
            troubles: 0,
            troubled: 0,
            mutant: plan.mutant,
            bad_bundle: None,
            mended: 0,
            said: Vec::new(),
            members: BTreeMap::new(),
            gone: None,
            theft: None,
            clocks: vec![(0, plane_clock)],
        };
        for envoy in 0..plan.envoys {
            world.starts(envoy);
            world.after(SECOND, Event::Ask { envoy });
        }
        world.after(SECOND, Event::Issue);
        world.after(MINUTE, Event::Operate);
        world.after(MINUTE, Event::Tidy);
        if plan.troubles.is_some() {
            world.after(3 * MINUTE, Event::Trouble);
        }
        world
    }

    /// All VMs of an Envoy are configured, the main thread's first, and tick from then on.
    pub(crate) fn starts(&mut self, envoy: usize) {
        for place in 0..self.envoys[envoy].workers.len() {
            self.envoys[envoy].configure(place, self.now);
            self.ticks_from_now(envoy, place);
            self.follow_up(envoy, place);
        }
    }

    pub(crate) fn ticks_from_now(&mut self, envoy: usize, place: usize) {
        let generation = self.envoys[envoy].workers[place].generation;
        let jitter = self.chance.between(1, 50);
        self.after(jitter, Event::Tick { envoy, place, generation });
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn after(&mut self, delay: Moment, event: Event) {
        let number = self.number();
        self.queue.insert((self.now + delay, number), event);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Tick { envoy, place, generation } => self.tick(envoy, place, generation),
            Event::Arrives(call) => self.arrives(call),
            Event::HoldEnds(call) => self.hold_ends(call),
            Event::Answers { call, status, body } => self.answers(call, status, body),
            Event::TimesOut(call) => self.times_out(call),
            Event::Ask { envoy } => {
                let next = match self.asking.percent(70) {
                    true => self.asking.until_next(300),
                    false => self.asking.until_next(20 * SECOND),
                };
                self.after(next, Event::Ask { envoy });
                self.ask(envoy);
            }
            Event::AskOnce { envoy } => self.ask_living(envoy),
            Event::Show { envoy, pass } => self.show(envoy, pass),
            Event::Ends { envoy, place, generation, context } => {
                let worker = &self.envoys[envoy].workers[place];
                let wakes_in = worker.sleeps_until.saturating_sub(self.now);
                if worker.generation != generation || !worker.is_alive() {
                    return;
                }
                if wakes_in > 0 {
                    return self.after(wakes_in, Event::Ends { envoy, place, generation, context });
                }
                self.envoys[envoy].end(place, context, self.now);
                self.follow_up(envoy, place);
            }
            Event::Reload { envoy, place, generation } => self.reload(envoy, place, generation),
            Event::Issue => {
                let next = self.operating.until_next(25 * SECOND);
                self.after(next, Event::Issue);
                self.issue();
            }
            Event::Operate => {
                let next = self.operating.until_next(40 * SECOND);
                self.after(next, Event::Operate);
                self.operate();
                if self.operating.percent(30) {
                    self.issue();
                }
            }
            Event::Tidy => {
                self.after(10 * MINUTE, Event::Tidy);
                self.look_for_deceived();
                self.plane.tidy(self.now);
            }
            Event::Trouble => {
                if let Some(mean) = self.plan.troubles {
                    let next = self.chance.until_next(mean);
                    self.after(next, Event::Trouble);
                }
                self.trouble();
            }
            Event::Grace => self.grant(),
            Event::Over(trouble) => self.over(trouble),
        }
    }

    fn tick(&mut self, envoy: usize, place: usize, generation: u64) {
        let worker = &self.envoys[envoy].workers[place];
        if worker.generation != generation || !worker.is_alive() {
            return;
        }
        if worker.sleeps_until > self.now {
            let delay = worker.sleeps_until - self.now;
            return self.after(delay, Event::Tick { envoy, place, generation });
        }
        let signed = self.plane.now(self.now);
        self.envoys[envoy].compare(signed, self.now);
        self.envoys[envoy].call(place, self.now, |vm| vm.tick());
        self.follow_up(envoy, place);
        self.still_open(envoy, place);
        // Where nothing goes on, ticks are fewer than the 50 ms that a VM asks for: late ones are allowed,
        // and days pass.
        let known = &self.envoys[envoy];
        let worker = &known.workers[place];
        let waits = worker.asked.iter().any(|asked| !asked.open);
        let delay = match (waits || known.busy_until > self.now, worker.leads) {
            (true, _) => 50,
            (false, true) => 240,
            (false, false) => 2_000,
        };
        let jitter = self.chance.below(8);
        self.after(delay + jitter, Event::Tick { envoy, place, generation });
    }

    /// After each callback of a VM: what it has sent, and what it has decided since.
    pub(crate) fn follow_up(&mut self, envoy: usize, place: usize) {
        if !self.envoys[envoy].workers[place].is_alive() {
            return self.dies(envoy, place);
        }
        self.collect(envoy, place);
        let asked = self.envoys[envoy].workers[place].asked.clone();
        for asked in asked {
            let came_to = self.envoys[envoy].came_to(place, asked.context);
            let enforced = self.envoys[envoy].enforced(place);
            match came_to {
                CameTo::Waiting => {}
                CameTo::Continued if asked.open => {}
                CameTo::Continued => {
                    self.report.held += 1;
                    self.allowed(envoy, place, &asked, enforced);
                    self.envoys[envoy].end(place, asked.context, self.now);
                }
                CameTo::Denied(_) | CameTo::Cut if asked.open => {
                    self.report.cut += 1;
                    self.envoys[envoy].end(place, asked.context, self.now);
                }
                CameTo::Denied(code) => {
                    self.denied(envoy, place, &asked, &code, enforced);
                    self.envoys[envoy].end(place, asked.context, self.now);
                }
                CameTo::Cut => self.envoys[envoy].end(place, asked.context, self.now),
            }
        }
        if !self.envoys[envoy].workers[place].is_alive() {
            self.dies(envoy, place);
        }
    }

    /// Another VM takes its place, after a while.
    fn dies(&mut self, envoy: usize, place: usize) {
        let generation = self.envoys[envoy].workers[place].generation;
        self.envoys[envoy].workers[place].generation += 1;
        self.report.count("vm died");
        self.report
            .note(self.now, format_args!("envoy {envoy} worker {place} died ({generation})"));
        self.envoys[envoy].troubles += 1;
        let delay = self.chance.of_any_size(10, 5 * SECOND);
        self.after(delay, Event::Reload { envoy, place, generation: generation + 1 });
    }

    fn reload(&mut self, envoy: usize, place: usize, generation: u64) {
        let wakes_in = self.envoys[envoy].workers[place].sleeps_until.saturating_sub(self.now);
        if wakes_in > 0 {
            return self.after(wakes_in, Event::Reload { envoy, place, generation });
        }
        self.envoys[envoy].troubles -= 1;
        self.envoys[envoy].troubled = self.now;
        let worker = &self.envoys[envoy].workers[place];
        // The whole process may have been replaced since.
        if worker.generation != generation || worker.is_alive() || self.is_down(envoy) {
            return;
        }
        self.envoys[envoy].reload(place, self.now);
        self.ticks_from_now(envoy, place);
        self.follow_up(envoy, place);
    }

    /// Somebody shows a gatepass, mostly one of the newest.
    fn ask(&mut self, envoy: usize) {
        let issued = self.desk.passes.len();
        if issued == 0 {
            return;
        }
        let back = match self.asking.below(100) {
            0..80 => self.asking.index(issued.min(12)),
            80..97 => self.asking.index(issued.min(60)),
            _ => self.asking.index(issued),
        };
        self.show(envoy, issued - 1 - back);
    }

    /// Somebody who wants to know whether it works has a gatepass that lives.
    fn ask_living(&mut self, envoy: usize) {
        let now = self.plane.now(self.now);
        let newest = self.desk.passes.len().saturating_sub(20);
        let lives = |number: &usize| {
            let pass = &self.desk.passes[*number];
            pass.dead.is_none() && pass.expires > now
        };
        let living: Vec<usize> = (newest..self.desk.passes.len()).filter(lives).collect();
        if !living.is_empty() {
            let number = self.asking.pick(&living);
            self.show(envoy, number);
        }
    }

    fn show(&mut self, envoy: usize, number: usize) {
        let place = 1 + self.asking.index(self.plan.workers);
        let worker = &self.envoys[envoy].workers[place];
        if !worker.is_alive() || worker.sleeps_until > self.now {
            return;
        }
        let generation = worker.generation;
        let pass = &self.desk.passes[number];
        let action = match self.asking.percent(85) {
            true => self.asking.pick(&pass.actions),
            false => self.asking.pick(&ACTIONS),
        };
        let forged = self.asking.percent(3);
        let token = if forged { pass.forged() } else { pass.token.clone() };
        let lasts = match self.asking.percent(15) {
            true => self.asking.of_any_size(SECOND, 50 * SECOND),
            false => 0,
        };
        let (at, ends) = (self.now, self.now + lasts);
        let asked = Asked { context: 0, pass: number, forged, action, at, open: false, ends };
        self.report.requests += 1;
        match self.envoys[envoy].ask(place, &token, asked.clone()) {
            Some((CameTo::Continued, enforced)) => {
                self.allowed(envoy, place, &asked, enforced);
                if lasts > 0 {
                    let open = self.envoys[envoy].workers[place].asked.last();
                    let context = open.map_or(0, |open| open.context);
                    self.after(lasts, Event::Ends { envoy, place, generation, context });
                }
            }
            Some((CameTo::Denied(code), enforced)) => {
                self.denied(envoy, place, &asked, &code, enforced);
            }
            Some((CameTo::Waiting | CameTo::Cut, _)) | None => {}
        }
        self.follow_up(envoy, place);
    }

    fn issue(&mut self) {
        if !self.plane.is_running() {
            return;
        }
        match self.desk.issue(&mut self.plane, &mut self.operating, self.now) {
            Ok(number) => {
                self.report.count("issued");
                // Used at once, maybe before the gate has heard of what it was issued under.
                let (envoy, delay) =
                    (self.asking.index(self.envoys.len()), self.asking.of_any_size(1, 200));
                self.after(delay, Event::Show { envoy, pass: number });
                let pass = &self.desk.passes[number];
                let life = pass.expires.saturating_sub(self.plane.now(self.now));
                let text = format!("gatepass {number} for {:?}, {life} s", pass.actions);
                self.report.note(self.now, text);
            }
            Err(why) => {
                self.report.count("issue refused");
                self.report.note(self.now, format_args!("nothing is issued: {why}"));
            }
        }
        self.wake();
    }

    pub(crate) fn operate(&mut self) {
        if !self.plane.is_running() {
            return;
        }
        match self.desk.operate(&mut self.plane, &mut self.operating, self.now) {
            Ok(did) => {
                self.report.count(did.name);
                let at = self.plane.position().map(|at| at.to_string()).unwrap_or_default();
                self.report.note(self.now, format_args!("{} {} ({at})", did.name, did.what));
                self.doubt(did.name, &did.what, did.doubt);
            }
            Err(why) => {
                self.report.count("change refused");
                self.report.note(self.now, format_args!("a change is refused: {why}"));
            }
        }
        self.wake();
    }

    /// Sets the control plane's wall.
    pub(crate) fn set_plane_clock(&mut self, ahead: i64) {
        self.plane.clock.ahead = ahead;
        self.clocks.push((self.now, self.plane.clock));
    }

    /// The root below which Envoys that are configured now believe none.
    pub(crate) fn least_root(&self) -> u64 {
        let reset = self.theft.as_ref().and_then(|theft| theft.reset);
        reset.map_or(1, |(version, _)| version)
    }

    /// The least that the signer's clock has shown of the present since a moment, in milliseconds: as far
    /// behind as it was then.
    pub(crate) fn least_signed(&self, since: Moment) -> u64 {
        let first = self.clocks.iter().rposition(|(from, _)| *from <= since).unwrap_or(0);
        let clocks = self.clocks.iter().skip(first);
        clocks.map(|(_, clock)| clock.wall(self.now)).min().unwrap_or(0)
    }
}

/// The plugin's configuration.
pub(crate) fn configuration(
    plane: &Plane,
    audience: usize,
    least_root: u64,
    baseline: Option<String>,
    grace: Option<&Grace>,
) -> Vec<u8> {
    let mut configuration = json!({
        "environment": "prod",
        "feed_audience": AUDIENCES[audience],
        "control_plane": { "cluster": "gatepass_control_plane", "authority": "gatepass" },
        "roots": { "keys": plane.pinned.keys, "threshold": plane.pinned.threshold },
        "min_root_version": least_root,
        "mode": "enforce",
        // Their posts are not part of what is simulated: its network carries polls.
        "records": { "enabled": false },
    });
    if let Some(baseline) = baseline {
        configuration["baseline"] = baseline.into();
    }
    if let Some(grace) = grace {
        configuration["grace"] = grace.base64.clone().into();
    }
    configuration.to_string().into_bytes()
}

/// The longest that anything is wrong.
pub(crate) const LONGEST_TROUBLE: Moment = HOUR / 2;
