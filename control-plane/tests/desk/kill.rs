//! The server is killed again and again while it issues, revokes and publishes.
//!
//! What this tests is SQLite's durability and our transactions when the **process** dies
//! (SIGKILL): what was written is in the kernel, so it stays. Power loss, where only what was
//! synced stays, is not tested here; `synchronous=FULL` is for that.
//!
//! Between two kills the server is asked, and its database read, for all that was answered so far.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::{Agent, Follower, Issued, Served, Site, Wire};
use crate::ledger::Ledger;
use crate::random::Random;

#[test]
fn what_was_answered_survives_every_kill_and_nothing_is_half_done() {
    let mut random = Random::announced("kill");
    let site = Site::new(crate::binary(), &std::env::temp_dir());
    let mut served = site.serve();
    served.furnish();
    let agents = [served.agent("steady"), served.agent("wavering")];
    let mut ledger = Ledger::new(&site);
    let mut gate = Follower::new(&site);
    let mut totals = Answered::default();
    for round in 0..ROUNDS {
        let answered = load(&mut served, &agents, &totals, &mut random);
        if random.below(8) == 0 {
            // One that is killed while it starts.
            let mut child = site.spawn();
            pause(&mut random, 30_000);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        served = site.serve();
        ledger.read();
        ledger.holds(&answered);
        ledger.is_whole(&served.position);
        assert_eq!(gate.catch_up(served.feed).to_string(), served.position, "round {round}");
        totals.take(answered);
        let mut young = Follower::new(&site);
        young.catch_up(served.feed);
        for issued in totals.some(&mut random) {
            let expected = ledger.fate(&issued);
            assert_eq!(gate.denies(&issued.token), expected, "{}", issued.jti);
            assert_eq!(young.denies(&issued.token), expected, "{}", issued.jti);
        }
        // What a proof was spent on is on record, so it is spent.
        if let Some(form) = &totals.last_form {
            let mut wire = Wire::connect(served.agents).unwrap();
            let again = wire.form("/oauth2/token", form).unwrap();
            assert_eq!(again.json()["error"], "invalid_client", "{}", again.json());
        }
    }
    println!("{}", totals.summary());
    assert!(totals.issued.len() > ROUNDS && totals.changes.len() > ROUNDS);
}

/// What was answered, and so must be there.
#[derive(Default)]
pub(crate) struct Answered {
    pub(crate) issued: Vec<Issued>,
    /// The answers to changes, with their paths.
    pub(crate) changes: Vec<(String, Value)>,
    /// Tasks that were opened, and not known to be ended.
    tasks: Vec<String>,
    /// The newest request of the agent that is never suspended that was answered with a gatepass.
    last_form: Option<String>,
}

impl Answered {
    fn take(&mut self, other: Self) {
        self.issued.extend(other.issued);
        self.changes.extend(other.changes);
        self.tasks = other.tasks;
        self.last_form = other.last_form.or(self.last_form.take());
    }

    /// The newest, and others from all rounds.
    fn some(&self, random: &mut Random) -> Vec<Issued> {
        let newest = self.issued.iter().rev().take(10).cloned();
        let any = (0..10).filter_map(|_| random.one(&self.issued).cloned());
        newest.chain(any).collect()
    }

    fn summary(&self) -> String {
        let count = |path: &str| self.changes.iter().filter(|(p, _)| p.contains(path)).count();
        format!(
            "{ROUNDS} kills: {} issued, {} suspensions, {} activations, {} revocations, {} tasks ended, {} policies",
            self.issued.len(),
            count("/suspend"),
            count("/activate"),
            count("/v1/revocations"),
            count("/end") + count("/complete"),
            count("/v1/policies"),
        )
    }
}

/// Everybody works until the server dies under them, at a moment nobody chose.
fn load(
    served: &mut Served,
    agents: &[Agent; 2],
    before: &Answered,
    random: &mut Random,
) -> Answered {
    let answered = Mutex::new(Answered { tasks: before.tasks.clone(), ..Answered::default() });
    let killed = AtomicBool::new(false);
    let (tell, told) = mpsc::channel();
    let worker = Worker { answered: &answered, killed: &killed, agents, before };
    let addresses = (served.admin, served.agents, served.operator());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (worker, tell, random) = (&worker, tell.clone(), random.fork());
            let (admin, token, operator) = &addresses;
            // Before anybody works: the server may be killed at once.
            let mut wire = Wire::connect(if number < 2 { *admin } else { *token }).unwrap();
            scope.spawn(move || match number {
                0 => worker.operates(&mut wire, operator, random, &tell),
                1 => worker.publishes(&mut wire, operator, random, &tell),
                _ => worker.asks(&mut wire, random, &tell),
            });
        }
        drop(tell);
        for _ in 0..random.below(60) {
            told.recv().unwrap();
        }
        pause(random, 4000);
        killed.store(true, Ordering::SeqCst);
        served.kill();
    });
    answered.into_inner().unwrap()
}

/// Not to wait for anything: so that the end comes at any point of what is in progress.
fn pause(random: &mut Random, most_microseconds: u64) {
    std::thread::sleep(Duration::from_micros(random.below(most_microseconds)));
}

struct Worker<'a> {
    answered: &'a Mutex<Answered>,
    killed: &'a AtomicBool,
    agents: &'a [Agent; 2],
    before: &'a Answered,
}

impl Worker<'_> {
    /// Whether there was an answer; only the kill may be a reason for none.
    fn came<T>(&self, answer: std::io::Result<T>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                assert!(self.killed.load(Ordering::SeqCst), "{error}");
                None
            }
        }
    }

    /// Agents open tasks, ask under them, under none, and end them.
    fn asks(&self, wire: &mut Wire, mut random: Random, tell: &mpsc::Sender<()>) {
        loop {
            let steady = random.below(2) == 0;
            let agent = &self.agents[usize::from(!steady)];
            let task = random.one(&self.answered.lock().unwrap().tasks).cloned();
            match random.below(12) {
                0 => {
                    let Some(answer) = self.came(agent.open_task(wire)) else { return };
                    if answer.status == 200 {
                        let task = answer.json()["task"].as_str().unwrap().to_owned();
                        self.answered.lock().unwrap().tasks.push(task);
                    }
                }
                1 if task.is_some() => {
                    let task = task.unwrap();
                    let Some(answer) = self.came(agent.complete_task(wire, &task)) else { return };
                    if answer.status == 200 {
                        let mut answered = self.answered.lock().unwrap();
                        answered.tasks.retain(|open| *open != task);
                        answered.changes.push((format!("/complete/{task}"), answer.json()));
                    }
                }
                _ => {
                    let form = agent.form(task.as_deref());
                    let Some(answer) = self.came(wire.form("/oauth2/token", &form)) else { return };
                    assert_ne!(answer.status, 500, "{}", answer.json());
                    if answer.status == 200 {
                        let mut answered = self.answered.lock().unwrap();
                        answered.issued.push(Issued::of(&answer));
                        if steady {
                            answered.last_form = Some(form);
                        }
                    }
                }
            }
            // Nobody counts any more once the kill is on its way.
            let _ = tell.send(());
        }
    }

    /// An operator suspends, activates, ends tasks and revokes what was issued.
    fn operates(
        &self,
        wire: &mut Wire,
        operator: &str,
        mut random: Random,
        tell: &mpsc::Sender<()>,
    ) {
        let wavering = &self.agents[1].id;
        loop {
            let (path, body) = match random.below(4) {
                0 => (format!("/v1/agents/{wavering}/suspend"), json!({})),
                1 => (format!("/v1/agents/{wavering}/activate"), json!({})),
                2 => {
                    let mut answered = self.answered.lock().unwrap();
                    let Some(task) = answered.tasks.pop() else { continue };
                    (format!("/v1/tasks/{task}/end"), json!({}))
                }
                _ => {
                    let answered = self.answered.lock().unwrap();
                    let now = random.one(&answered.issued);
                    let Some(issued) = now.or_else(|| random.one(&self.before.issued)) else {
                        continue;
                    };
                    let body = json!({ "kind": "credential", "id": issued.jti });
                    ("/v1/revocations".to_owned(), body)
                }
            };
            if !self.changes(wire, operator, path, body, tell) {
                return;
            }
        }
    }

    fn publishes(
        &self,
        wire: &mut Wire,
        operator: &str,
        mut random: Random,
        tell: &mpsc::Sender<()>,
    ) {
        loop {
            let body = json!({ "content": crate::kit::policy(random.below(1000)) });
            if !self.changes(wire, operator, "/v1/policies".to_owned(), body, tell) {
                return;
            }
        }
    }

    fn changes(
        &self,
        wire: &mut Wire,
        operator: &str,
        path: String,
        mut body: Value,
        tell: &mpsc::Sender<()>,
    ) -> bool {
        body["reason"] = "a test".into();
        let Some(answer) = self.came(wire.post(&path, operator, &body.to_string())) else {
            return false;
        };
        // 409: it is so already, by a change that was never answered or by another worker.
        assert!(matches!(answer.status, 200 | 409), "{path}: {}", answer.json());
        if answer.status == 200 {
            self.answered.lock().unwrap().changes.push((path, answer.json()));
        }
        let _ = tell.send(());
        true
    }
}

const ROUNDS: usize = 200;
