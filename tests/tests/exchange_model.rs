//! The exchange of signed state within one Envoy (`log` and `gen`: publish and check), as an
//! explicit-state model: every interleaving of two leaders and two workers, one host call at a
//! time, with a death or a reload before each. `docs/exchange.md` describes the protocol, and
//! what the model leaves out: signatures, parts in keys of their own, time. It is one file of more
//! than 600 lines because a model is only worth what a reader can check of it in one go.
//!
//! A state of the feed is a number: 0 is "no batch yet", 1 and 2 are its two publishes. Promised
//! is that a request whose check starts after an answer was given from state `s`, or after `gen`
//! was set while `log` held `s`, is not answered from a state older than `s`.

use std::collections::{HashSet, VecDeque};

/// Visits every reachable world, nearest first, until an answer is stale or none is left.
fn explore(rules: Rules) -> Outcome {
    let mut outcome = Outcome::default();
    let mut reached: Vec<(u32, Move)> = Vec::new();
    let mut start = World::default();
    start.host.next_number = rules.first_number;
    let mut seen = HashSet::from([start]);
    let mut queue = VecDeque::from([(0, start)]);
    let mut found = Vec::new();
    while let Some((id, world)) = queue.pop_front() {
        outcome.expanded += 1;
        outcome.both_answer_from_the_newest |=
            (world.workers.iter()).all(|worker| worker.at == At::Answering && worker.state == 2);
        world.moves(rules, &mut found);
        for (taken, mut next) in found.drain(..) {
            if let Some(times) = outcome.taken.get_mut(taken.step as usize) {
                *times += 1;
            }
            if taken.step == Step::AnswersStale {
                outcome.stale = trace(&reached, id, taken);
                return outcome;
            }
            next.normalize(rules);
            if seen.insert(next) {
                reached.push((id, taken));
                queue.push_back((reached.len() as u32, next));
            }
        }
    }
    outcome
}

/// The moves that first reached world `id`, and `last` after them.
fn trace(reached: &[(u32, Move)], mut id: u32, last: Move) -> Vec<Move> {
    let mut moves = vec![last];
    while let Some((before, taken)) = (id as usize).checked_sub(1).and_then(|at| reached.get(at)) {
        moves.push(*taken);
        id = *before;
    }
    moves.reverse();
    moves
}

#[derive(Default)]
struct Outcome {
    expanded: u64,
    /// How often each step was taken, by `Step as usize`.
    taken: [u64; Step::ALL],
    both_answer_from_the_newest: bool,
    /// The shortest way to a stale answer; empty if there is none.
    stale: Vec<Move>,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    change: Change,
    create: Create,
    leaders: Leaders,
    /// Also holds a check to what was announced, not only to what was served.
    announced_counts: bool,
    /// Merges worlds that differ only in which of two equal VMs is which, or in numbers that can
    /// never match again. Traces are hard to read then.
    merge_alike: bool,
    first_number: Number,
}

/// What is changed in the protocol. Each, but for `Nothing`, must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    /// Step 3 of the check is left out.
    SkipsStepThree,
    /// Step 4 remembers a number of `gen` that was read after `log`.
    RemembersNumberReadAfterLog,
    /// Step 4 is taken although what `log` holds could not be applied.
    RemembersWhenHeld,
    /// `log` is written with CAS number 0.
    WritesUnfenced,
    /// A leader answers from a batch as soon as it has polled it.
    LeaderAnswersFromItsBatch,
    /// A leader that finds nothing to append does not set `gen`.
    QuietWhenNothingNewer,
    /// A new leader does not set `gen`.
    QuietWhenElected,
    /// Step 3 compares numbers as if they never wrapped.
    ComparesPlainly,
}

/// The CAS number that `log` is first made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Create {
    /// The highest number, wherever the counter is.
    Highest,
    /// The number of `gen`, read once `log` was found missing: no other key can carry it.
    OfGen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaders {
    /// Each publishes 1, then 2, once; death is for good. The host's numbers are kept.
    PublishTwice,
    /// Each publishes either batch, or writes `log` without anything new (a checkpoint, a new
    /// base), any number of times, and comes back after death. Numbers in use become their ranks,
    /// so the worlds stay finite, and nothing wraps.
    Endless,
}

/// A number that the host gave to a key; 0 where there is none. The host's have 32 bits. A run
/// that keeps them gives 12 at most, so the wrapping comparison stays within its range.
type Number = u8;

/// Takes a step, the world after it, and the VM that took it.
type Go<'a, Vm> = &'a mut dyn FnMut(Step, World, Vm);

/// Shared data, as the host keeps it (proxy-wasm-cpp-host, `shared_data.cc`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Host {
    next_number: Number,
    log_number: Number,
    log_state: u8,
    gen_number: Number,
}

impl Host {
    fn set_log(&mut self, state: u8, cas: Number) -> bool {
        let fits = self.log_number == 0 || cas == 0 || cas == self.log_number;
        if fits {
            self.log_number = self.number();
            self.log_state = state;
        }
        fits
    }

    fn set_gen(&mut self) {
        self.gen_number = self.number();
    }

    /// One counter numbers all keys. It wraps, and skips 0.
    fn number(&mut self) -> Number {
        let given = self.next_number;
        self.next_number = given.checked_add(1).unwrap_or(1);
        given
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Leader {
    at: LeaderAt,
    batch: u8,
    /// What it is about to write `log` with.
    cas: Number,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum LeaderAt {
    #[default]
    Away,
    Polling,
    Retrying,
    Creating,
    Writing,
    Announcing,
    Dead,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Worker {
    at: At,
    state: u8,
    remembered: Number,
    /// Of the check in progress: the number of `gen`, and the oldest state it may answer from.
    x: Number,
    floor: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum At {
    #[default]
    Idle,
    Reading,
    Announcing,
    Remembering,
    Answering,
}

#[derive(Clone, Copy, Debug)]
struct Move {
    who: usize,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    LeaderSetsGenElected,
    LeaderReadsLog,
    LeaderFindsNothingNewer,
    LeaderReadsGen,
    LeaderWritesLog,
    LeaderMismatches,
    LeaderSetsGen,
    LeaderAnswers,
    LeaderDies,
    ReadsGenUnchanged,
    ReadsGen,
    AppliesLog,
    IsHeld,
    SetsGen,
    ReadsGenAgain,
    Answers,
    AnswersStale,
    Reloads,
}

impl Step {
    const ALL: usize = Step::Reloads as usize + 1;
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct World {
    host: Host,
    leaders: [Leader; 2],
    workers: [Worker; 2],
    /// The newest state that an answer was given from.
    served: u8,
    /// The newest state that `log` held when `gen` was set, or that a leader is done publishing.
    announced: u8,
}

impl World {
    fn moves(&self, rules: Rules, found: &mut Vec<(Move, World)>) {
        for (who, leader) in self.leaders.into_iter().enumerate() {
            self.leader_moves(rules, leader, &mut |step, mut next, leader| {
                if let Some(slot) = next.leaders.get_mut(who) {
                    *slot = leader;
                }
                found.push((Move { who, step }, next));
            });
        }
        for (who, worker) in self.workers.into_iter().enumerate() {
            self.worker_moves(rules, worker, &mut |step, mut next, worker| {
                if let Some(slot) = next.workers.get_mut(who) {
                    *slot = worker;
                }
                found.push((Move { who, step }, next));
            });
        }
    }

    fn leader_moves(&self, rules: Rules, leader: Leader, go: Go<'_, Leader>) {
        let mut next = *self;
        match leader.at {
            LeaderAt::Dead => return,
            LeaderAt::Away => {
                if rules.change != Change::QuietWhenElected {
                    next.host.set_gen();
                }
                next.announce(0);
                let polling = leader.to(LeaderAt::Polling);
                return go(Step::LeaderSetsGenElected, next, polling);
            }
            LeaderAt::Polling => {
                // `batch` is the one published last. One asleep since it polled holds an old one.
                let batches = match rules.leaders {
                    Leaders::PublishTwice => leader.batch + 1..=2.min(leader.batch + 1),
                    Leaders::Endless => 1..=2,
                };
                for batch in batches {
                    self.begin_publish(rules, Leader { batch, ..leader }, go);
                }
            }
            LeaderAt::Retrying => self.begin_publish(rules, leader, go),
            LeaderAt::Creating => {
                let cas = self.host.gen_number;
                let leader = Leader { cas, ..leader };
                go(Step::LeaderReadsGen, next, leader.to(LeaderAt::Writing));
            }
            LeaderAt::Writing => {
                let written = next.host.set_log(leader.batch, leader.cas);
                let leader = Leader { cas: 0, ..leader };
                if written {
                    go(Step::LeaderWritesLog, next, leader.to(LeaderAt::Announcing));
                } else {
                    go(Step::LeaderMismatches, next, leader.to(LeaderAt::Retrying));
                }
            }
            LeaderAt::Announcing => {
                next.host.set_gen();
                next.announce(leader.batch);
                go(Step::LeaderSetsGen, next, leader.published(rules));
            }
        }
        let at = match rules.leaders {
            Leaders::PublishTwice => LeaderAt::Dead,
            Leaders::Endless => LeaderAt::Away,
        };
        go(Step::LeaderDies, *self, Leader::default().to(at));
    }

    /// Reads `log`, to append `leader.batch`.
    fn begin_publish(&self, rules: Rules, leader: Leader, go: Go<'_, Leader>) {
        let held = self.host.log_state;
        let (at, cas) = match (self.host.log_number, rules.create) {
            _ if rules.change == Change::WritesUnfenced => (LeaderAt::Writing, 0),
            (0, Create::Highest) => (LeaderAt::Writing, Number::MAX),
            (0, Create::OfGen) => (LeaderAt::Creating, 0),
            (number, _) => (LeaderAt::Writing, number),
        };
        if leader.batch > held || rules.leaders == Leaders::Endless {
            // With nothing newer, `log` is written as it is.
            let batch = held.max(leader.batch);
            go(Step::LeaderReadsLog, *self, Leader { at, batch, cas });
        }
        let mut next = *self;
        if rules.change == Change::LeaderAnswersFromItsBatch {
            next.served = next.served.max(leader.batch);
            go(Step::LeaderAnswers, next, leader.to(LeaderAt::Retrying));
        } else if rules.change == Change::QuietWhenNothingNewer && leader.batch <= held {
            next.announced = next.announced.max(leader.batch);
            go(Step::LeaderFindsNothingNewer, next, leader.published(rules));
        } else if leader.batch <= held {
            let announcing = leader.to(LeaderAt::Announcing);
            go(Step::LeaderFindsNothingNewer, next, announcing);
        }
    }

    fn worker_moves(&self, rules: Rules, worker: Worker, go: Go<'_, Worker>) {
        let mut next = *self;
        match worker.at {
            At::Idle => {
                // The latest moment that a check can be said to start at, so the strictest.
                let floor = self.served.max(self.announced);
                let x = self.host.gen_number;
                if x != 0 && x == worker.remembered {
                    let worker = Worker { floor, ..worker };
                    go(Step::ReadsGenUnchanged, next, worker.to(At::Answering));
                } else {
                    let worker = Worker { floor, x, ..worker };
                    go(Step::ReadsGen, next, worker.to(At::Reading));
                }
            }
            At::Reading => {
                let newest = worker.state.max(self.host.log_state);
                for state in worker.state..newest {
                    // Not all that is newer can be applied: the request is held, or refused.
                    let remembered = match rules.change {
                        Change::RemembersWhenHeld => worker.x,
                        _ => worker.remembered,
                    };
                    let at = At::Idle;
                    let held = Worker { at, state, remembered, x: 0, floor: 0 };
                    go(Step::IsHeld, next, held);
                }
                let worker = Worker { state: newest, ..worker };
                if self.host.log_number == 0 || self.is_announced(rules, worker.x) {
                    go(Step::AppliesLog, next, worker.settled(rules));
                } else {
                    go(Step::AppliesLog, next, worker.to(At::Announcing));
                }
            }
            At::Announcing => {
                next.host.set_gen();
                next.announce(0);
                go(Step::SetsGen, next, worker.settled(rules));
            }
            At::Remembering => {
                let remembered = self.host.gen_number;
                let worker = Worker { remembered, ..worker };
                go(Step::ReadsGenAgain, next, worker.to(At::Answering));
            }
            At::Answering => {
                next.served = next.served.max(worker.state);
                let stale = worker.state < worker.floor;
                let step = match stale {
                    true => Step::AnswersStale,
                    false => Step::Answers,
                };
                go(step, next, Worker { floor: 0, ..worker }.to(At::Idle));
            }
        }
        go(Step::Reloads, *self, Worker::default());
    }

    /// Step 3: whether `gen` was set since `log` was written, as far as its number `x` tells.
    fn is_announced(&self, rules: Rules, x: Number) -> bool {
        let y = self.host.log_number;
        match rules.change {
            Change::SkipsStepThree => true,
            Change::ComparesPlainly => x > y,
            _ => x != 0 && x.wrapping_sub(y) as i8 > 0,
        }
    }

    fn announce(&mut self, batch: u8) {
        self.announced = self.announced.max(self.host.log_state).max(batch);
    }

    fn normalize(&mut self, rules: Rules) {
        if !rules.announced_counts {
            self.announced = 0;
        }
        if rules.merge_alike {
            self.merge_alike();
        }
        if rules.leaders == Leaders::Endless {
            self.rank_numbers();
        }
    }

    fn merge_alike(&mut self) {
        for worker in &mut self.workers {
            if worker.remembered != self.host.gen_number {
                worker.remembered = 0;
            }
        }
        self.leaders.sort_unstable();
        self.workers.sort_unstable();
    }

    /// Numbers in use become 1, 2, .. in their order. No step can tell: numbers are compared with
    /// each other only, and a new one is above them all.
    fn rank_numbers(&mut self) {
        let mut used = 0_u32;
        self.each_number(|number| used |= 1 << *number);
        used &= !1;
        self.each_number(|number| {
            let up_to_it = used & ((2 << *number) - 1);
            *number = up_to_it.count_ones() as Number;
        });
        self.host.next_number = used.count_ones() as Number + 1;
    }

    fn each_number(&mut self, mut on: impl FnMut(&mut Number)) {
        on(&mut self.host.log_number);
        on(&mut self.host.gen_number);
        // Not the host's: the constant that `log` is made with.
        let read = |leader: &&mut Leader| leader.cas != Number::MAX;
        self.leaders.iter_mut().filter(read).for_each(|leader| on(&mut leader.cas));
        for worker in &mut self.workers {
            on(&mut worker.remembered);
            on(&mut worker.x);
        }
    }
}

impl Leader {
    fn to(self, at: LeaderAt) -> Self {
        Leader { at, ..self }
    }

    fn published(self, rules: Rules) -> Self {
        let batch = match rules.leaders {
            Leaders::PublishTwice => self.batch,
            Leaders::Endless => 0,
        };
        Leader { batch, ..self }.to(LeaderAt::Polling)
    }
}

impl Worker {
    fn to(self, at: At) -> Self {
        Worker { at, ..self }
    }

    /// Steps 3 and 4 are done; the answer is next.
    fn settled(self, rules: Rules) -> Self {
        let (x, worker) = (self.x, Worker { x: 0, ..self });
        match rules.change {
            Change::RemembersNumberReadAfterLog => worker.to(At::Remembering),
            _ => Worker { remembered: x, ..worker }.to(At::Answering),
        }
    }
}

impl Rules {
    fn change(self, change: Change) -> Self {
        Rules { change, ..self }
    }

    fn create(self, create: Create) -> Self {
        Rules { create, ..self }
    }

    fn count_from(self, first_number: Number) -> Self {
        Rules { first_number, ..self }
    }

    fn served_only(self) -> Self {
        Rules { announced_counts: false, ..self }
    }

    fn each_world_apart(self) -> Self {
        Rules { merge_alike: false, ..self }
    }
}

/// The protocol as it is, for as long as one likes.
const ENDLESS: Rules = Rules {
    change: Change::Nothing,
    create: Create::OfGen,
    leaders: Leaders::Endless,
    announced_counts: true,
    merge_alike: true,
    first_number: 1,
};
const TWICE: Rules = Rules { leaders: Leaders::PublishTwice, ..ENDLESS };

fn no_answer_is_stale(rules: Rules) -> Outcome {
    let outcome = explore(rules);
    println!("{rules:?}\n  {} states expanded", outcome.expanded);
    assert!(outcome.stale.is_empty(), "a stale answer: {:?}", outcome.stale);
    outcome
}

/// The shortest way to a stale answer has `steps`, whether worlds that are alike are merged or not.
fn an_answer_is_stale(rules: Rules, steps: usize) {
    for rules in [rules, rules.each_world_apart()] {
        let Outcome { expanded, stale, .. } = explore(rules);
        println!("{rules:?}\n  {expanded} states expanded, stale in {} steps:", stale.len());
        stale.iter().for_each(|Move { who, step }| println!("    {who} {step:?}"));
        assert_eq!(stale.len(), steps);
    }
}

#[test]
fn no_answer_is_stale_in_any_reachable_state() {
    no_answer_is_stale(ENDLESS);
    no_answer_is_stale(TWICE);
}

#[test]
fn no_answer_is_stale_where_the_counter_wraps() {
    for first_number in [250, 252, 254] {
        no_answer_is_stale(TWICE.count_from(first_number));
    }
}

#[test]
fn without_step_three_an_answer_is_stale() {
    an_answer_is_stale(ENDLESS.served_only().change(Change::SkipsStepThree), 12);
}

#[test]
fn remembering_a_number_read_after_log_makes_an_answer_stale() {
    let change = Change::RemembersNumberReadAfterLog;
    an_answer_is_stale(ENDLESS.served_only().change(change), 15);
}

#[test]
fn remembering_the_number_of_a_check_that_was_held_makes_an_answer_stale() {
    an_answer_is_stale(ENDLESS.served_only().change(Change::RemembersWhenHeld), 12);
}

#[test]
fn writing_log_without_its_number_makes_an_answer_stale() {
    an_answer_is_stale(ENDLESS.served_only().change(Change::WritesUnfenced), 13);
}

#[test]
fn a_leader_that_answers_from_its_own_batch_makes_an_answer_stale() {
    let change = Change::LeaderAnswersFromItsBatch;
    an_answer_is_stale(ENDLESS.served_only().change(change), 5);
}

#[test]
fn a_publish_that_finds_nothing_newer_and_leaves_gen_alone_stays_unseen() {
    let rules = ENDLESS.change(Change::QuietWhenNothingNewer);
    no_answer_is_stale(rules.served_only());
    an_answer_is_stale(rules, 11);
}

#[test]
fn the_last_publish_of_a_dead_leader_stays_unseen_if_the_next_leaves_gen_alone() {
    let rules = ENDLESS.change(Change::QuietWhenElected).create(Create::Highest);
    no_answer_is_stale(rules.served_only());
    an_answer_is_stale(rules, 12);
}

#[test]
fn comparing_numbers_plainly_makes_an_answer_stale_where_the_counter_wraps() {
    let rules = TWICE.served_only().change(Change::ComparesPlainly);
    an_answer_is_stale(rules.count_from(254), 13);
}

#[test]
fn making_log_with_a_number_that_the_counter_comes_to_makes_an_answer_stale() {
    let rules = TWICE.served_only().create(Create::Highest);
    no_answer_is_stale(rules);
    an_answer_is_stale(rules.count_from(251), 16);
}

#[test]
fn the_model_reaches_deaths_reloads_mismatches_and_both_workers_on_the_newest_state() {
    let outcome = no_answer_is_stale(ENDLESS);
    assert!(outcome.both_answer_from_the_newest);
    for step in [
        Step::LeaderSetsGenElected,
        Step::LeaderFindsNothingNewer,
        Step::LeaderReadsGen,
        Step::LeaderMismatches,
        Step::LeaderDies,
        Step::ReadsGenUnchanged,
        Step::IsHeld,
        Step::SetsGen,
        Step::Answers,
        Step::Reloads,
    ] {
        let times = outcome.taken.get(step as usize).copied();
        println!("  {step:?}: {times:?}");
        assert!(times > Some(0), "{step:?} is never taken");
    }
}
