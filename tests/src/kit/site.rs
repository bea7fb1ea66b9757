//! One Envoy in the wasm host with a control plane that the test speaks for: the VM of the main
//! thread, which leads, and workers. Nothing happens by itself: the test moves the clock, runs the
//! ticks and answers the polls.

use std::time::Duration;

use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::revocation::Kind;
use gatepass_filter::configuration::Configuration;
use serde_json::Value;

use super::orders::HOST;
use super::signed::{Failed, Signed};
use crate::host::{Entry, Envoy, HttpCall, Module, Outcome, Request, Vm};

/// An Envoy and its control plane.
pub struct Site {
    pub envoy: Envoy,
    pub control: Signed,
    pub leader: Vm,
    pub workers: Vec<Vm>,
    configuration: Vec<u8>,
}

impl Site {
    /// Every VM has heard the first snapshot.
    ///
    /// # Errors
    /// Whatever went wrong first.
    pub fn start(workers: usize) -> Result<Self, Failed> {
        Self::with(workers, |_| {})
    }

    /// The same with a change to the plugin configuration.
    ///
    /// # Errors
    /// Whatever went wrong first.
    pub fn with(workers: usize, change: impl FnOnce(&mut Value)) -> Result<Self, Failed> {
        let mut site = Self::cold(workers, change)?;
        site.hear_snapshot()?;
        site.tick()?;
        Ok(site)
    }

    /// Started and configured, and nothing heard yet.
    ///
    /// # Errors
    /// Whatever went wrong first.
    pub fn cold(workers: usize, change: impl FnOnce(&mut Value)) -> Result<Self, Failed> {
        Self::on(Envoy::new(&filter()?), workers, change)
    }

    /// The same in a process that the test has prepared.
    ///
    /// # Errors
    /// Whatever went wrong first.
    pub fn on(
        envoy: Envoy,
        workers: usize,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self, Failed> {
        let control = Signed::start(UnixSeconds(envoy.clock().wall().as_secs()))?;
        let mut configuration = control.configuration()?;
        change(&mut configuration);
        let configuration = configuration.to_string().into_bytes();
        let mut leader = envoy.main_thread(VM_ID)?;
        leader.start(b"")?;
        if !leader.configure(&configuration)? {
            return Err(format!("refused: {:?}", leader.logs()).into());
        }
        let workers: Result<Vec<Vm>, _> =
            (0..workers).map(|_| envoy.started(VM_ID, &configuration)).collect();
        Ok(Self { envoy, control, leader, workers: workers?, configuration })
    }

    /// The wall clock.
    pub fn now(&self) -> UnixSeconds {
        UnixSeconds(self.envoy.clock().wall().as_secs())
    }

    /// Moves both clocks on. No tick runs.
    pub fn advance(&self, milliseconds: u64) {
        self.envoy.clock().advance(Duration::from_millis(milliseconds));
    }

    /// One tick of every VM, the leader's first.
    ///
    /// # Errors
    /// A VM crashed.
    pub fn tick(&mut self) -> Result<(), Failed> {
        self.leader.tick()?;
        for worker in &mut self.workers {
            worker.tick()?;
        }
        Ok(())
    }

    /// So many ticks of every VM that each has taken the largest snapshot that a test makes.
    ///
    /// # Errors
    /// A VM crashed.
    pub fn load(&mut self) -> Result<(), Failed> {
        (0..16).try_for_each(|_| self.tick())
    }

    /// The poll of the leader that waits for an answer; ticks until there is one.
    ///
    /// # Errors
    /// None came for longer than a back-off lasts.
    pub fn poll(&mut self) -> Result<HttpCall, Failed> {
        for _ in 0..60 {
            if let Some(call) = self.leader.http_calls().pop() {
                return Ok(call);
            }
            self.leader.tick()?;
            if self.leader.http_calls().is_empty() {
                self.advance(50);
            }
        }
        Err("the leader polls no more".into())
    }

    /// Answers the leader's poll with this body.
    ///
    /// # Errors
    /// The leader polls no more, or crashed.
    pub fn say(&mut self, body: &[u8]) -> Result<(), Failed> {
        let call = self.poll()?;
        Ok(answer(&mut self.leader, call.token, body)?)
    }

    /// Answers the leader's poll with the roots and these batches.
    ///
    /// # Errors
    /// As [`Site::say`].
    pub fn hear(&mut self, batches: &[Vec<u8>]) -> Result<(), Failed> {
        let body = self.control.answer(batches)?;
        self.say(&body)
    }

    /// # Errors
    /// As [`Site::say`].
    pub fn hear_snapshot(&mut self) -> Result<(), Failed> {
        let batches = self.control.snapshot(self.now())?;
        self.hear(&batches)
    }

    /// # Errors
    /// As [`Site::say`].
    pub fn hear_checkpoint(&mut self) -> Result<(), Failed> {
        let checkpoint = self.control.checkpoint(self.now())?;
        self.hear(&[checkpoint])
    }

    /// Answers every poll that waits, of whichever VM, as an honest control plane does at the end
    /// of its wait: with a checkpoint to a follower that is up to date, else with a snapshot.
    ///
    /// # Errors
    /// A VM crashed.
    pub fn serve(&mut self) -> Result<(), Failed> {
        let now = self.now();
        let here = format!("&after={}&", self.control.position());
        for vm in [&mut self.leader].into_iter().chain(&mut self.workers) {
            for call in vm.http_calls() {
                let batches = match call.path().contains(&here) {
                    true => vec![self.control.checkpoint(now)?],
                    false => self.control.snapshot(now)?,
                };
                answer(vm, call.token, &self.control.answer(&batches)?)?;
            }
        }
        Ok(())
    }

    /// Lets time pass in ticks of 50 ms while an honest control plane answers once a second.
    ///
    /// # Errors
    /// A VM crashed.
    pub fn live(&mut self, seconds: usize) -> Result<(), Failed> {
        for _ in 0..seconds {
            for _ in 0..20 {
                self.advance(50);
                self.tick()?;
            }
            self.serve()?;
        }
        self.tick()
    }

    /// Revokes one thing and lets the leader hear of it.
    ///
    /// # Errors
    /// As [`Site::say`].
    pub fn revoke(&mut self, kind: Kind, id: &str) -> Result<(), Failed> {
        let delta = self.control.revoke(kind, id, self.now())?;
        self.hear(&[delta])
    }

    /// What a worker says to a request, in words.
    ///
    /// # Errors
    /// It crashed.
    pub fn ask(&mut self, worker: usize, request: Request) -> Result<String, Failed> {
        let worker = self.workers.get_mut(worker).ok_or("no such worker")?;
        Ok(verdict(&worker.decide(request)?))
    }

    /// What every worker says to a request.
    ///
    /// # Errors
    /// One crashed.
    pub fn ask_all(&mut self, request: &Request) -> Result<Vec<String>, Failed> {
        let asked = self.workers.iter_mut().map(|w| w.decide(request.clone()));
        asked.map(|outcome| Ok(verdict(&outcome?))).collect()
    }

    /// One more VM with the same configuration.
    ///
    /// # Errors
    /// It crashed or refused.
    pub fn another(&self) -> Result<Vm, Failed> {
        Ok(self.envoy.started(VM_ID, &self.configuration)?)
    }

    /// The plugin configuration of every VM.
    pub fn configuration(&self) -> &[u8] {
        &self.configuration
    }

    /// The full name of a shared key of this gate.
    ///
    /// # Errors
    /// The configuration is not one.
    pub fn key(&self, name: &str) -> Result<String, Failed> {
        Ok(Configuration::parse(&self.configuration)?.prefix.key(name))
    }

    /// A shared key of this gate as it stands.
    ///
    /// # Errors
    /// There is none.
    pub fn shared(&self, name: &str) -> Result<Entry, Failed> {
        let found = self.envoy.shared_data().peek(VM_ID, self.key(name)?);
        Ok(found.ok_or_else(|| format!("no shared key `{name}`"))?)
    }

    /// Overwrites a shared key of this gate, as another plugin of the process can.
    ///
    /// # Errors
    /// The configuration is not one.
    pub fn forge(&self, name: &str, value: &[u8]) -> Result<(), Failed> {
        let key = self.key(name)?;
        self.envoy.shared_data().overwrite(VM_ID, key, value);
        Ok(())
    }

    /// A counter or gauge; 0 where there is none.
    pub fn metric(&self, name: &str) -> u64 {
        self.envoy.metrics().value(name).unwrap_or(0)
    }
}

/// The shipped filter.
///
/// # Errors
/// It does not build.
pub fn filter() -> Result<Module, Failed> {
    Ok(Module::load(super::filter::path()?)?)
}

/// Answers a poll of a VM with status 200.
///
/// # Errors
/// It crashed, or waits for no such answer.
pub fn answer(vm: &mut Vm, token: u32, body: &[u8]) -> Result<(), crate::host::HostError> {
    vm.answer_http_call(token, &[(":status", "200")], body)
}

/// A request to the orders API, bearing a gatepass or none.
pub fn order(method: &str, path: &str, gatepass: Option<&str>) -> Request {
    let request = Request::to(method, HOST, path);
    match gatepass {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}

/// An outcome in words: `allow`, `held`, `reset`, or status and code.
pub fn verdict(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Continued(_) => "allow".to_owned(),
        Outcome::Paused => "held".to_owned(),
        Outcome::Reset => "reset".to_owned(),
        Outcome::Replied(reply) => {
            let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let code = body.get("code").and_then(Value::as_str);
            format!("{} {}", reply.status, code.unwrap_or("without a code"))
        }
    }
}

/// The `vm_id` of the plugin.
pub const VM_ID: &str = "gatepass";
