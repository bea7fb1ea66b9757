//! One VM: a guest with its own memory, driven callback by callback.
//!
//! What happens to requests is in [`super::traffic`].

use std::time::Duration;

use wasmtime::{Store, Trap, WasmParams, WasmResults};

use super::abi::LogLevel;
use super::call::{CallResponse, HttpCall};
use super::error::HostError;
use super::guest::invoke;
use super::headers::Headers;
use super::imports;
use super::module::{Module, engine};
use super::process::Process;
use super::state::{LogLine, Root, State};

/// A running guest. Made by [`super::Envoy`]; not yet started then.
pub struct Vm {
    module: Module,
    pub(super) store: Store<State>,
    health: Health,
    fuel_limit: u64,
    fuel_used: u64,
}

/// What a VM is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Worker,
    /// Ticks and polls; a request to it is an error of the test.
    MainThread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Alive,
    Crashed,
}

impl Vm {
    pub(super) fn new(
        module: &Module,
        process: Process,
        vm_id: &str,
        role: Role,
    ) -> Result<Self, HostError> {
        let state = State::new(process, vm_id.as_bytes().to_vec(), role);
        let mut store = Store::new(engine(), state);
        store.limiter(|state| &mut state.limits);
        let linker = imports::link(module, &mut store)?;
        let mut vm = Self {
            module: module.clone(),
            store,
            health: Health::Alive,
            fuel_limit: FUEL_LIMIT,
            fuel_used: 0,
        };
        let instance = vm.run("instantiate", |store| linker.instantiate(store, module.inner()))?;
        if instance.get_func(&mut vm.store, ABI_MARKER).is_none() {
            return Err(HostError::MissingExport(ABI_MARKER));
        }
        let memory = instance
            .get_memory(&mut vm.store, "memory")
            .ok_or(HostError::MissingExport("memory"))?;
        vm.state_mut().memory = Some(memory);
        vm.state_mut().instance = Some(instance);
        // `_initialize` is what the filter and SDKs export; `_start` is for guests that are commands.
        for name in ["_initialize", "_start"] {
            if vm.enter::<_, ()>(name, 0, ())?.is_some() {
                break;
            }
        }
        Ok(vm)
    }

    /// Creates the first root context and starts the VM with this configuration.
    pub fn start(&mut self, vm_configuration: &[u8]) -> Result<(), HostError> {
        if !self.state().roots.is_empty() {
            return Err(HostError::Misuse("a VM starts once"));
        }
        self.state_mut().vm_configuration = vm_configuration.to_vec();
        let root = self.create_root()?;
        let size = abi_size(vm_configuration.len());
        let accepted = self.enter::<_, u32>("proxy_on_vm_start", root, (root, size))?;
        self.settle()?;
        match accepted {
            Some(0) => Err(HostError::Refused("proxy_on_vm_start")),
            Some(_) | None => Ok(()),
        }
    }

    /// Configures the first root context, and says whether the guest accepts it.
    pub fn configure(&mut self, configuration: &[u8]) -> Result<bool, HostError> {
        let root = self.state().roots.first();
        let root = root.ok_or(HostError::Misuse("the VM has not started"))?.id;
        self.configure_root(root, configuration)
    }

    /// Adds a root context: a second listener with another plugin configuration. Returns its
    /// context id, or `None` if the guest refuses the configuration.
    pub fn add_root(&mut self, configuration: &[u8]) -> Result<Option<u32>, HostError> {
        if self.state().roots.is_empty() {
            return Err(HostError::Misuse("the VM has not started"));
        }
        let root = self.create_root()?;
        let accepted = self.configure_root(root, configuration)?;
        Ok(accepted.then_some(root))
    }

    /// Runs the tick of every root context that has asked for one. No clock moves.
    pub fn tick(&mut self) -> Result<(), HostError> {
        let ticking = self.state().roots.iter().filter(|r| r.tick_period.is_some());
        let ticking: Vec<_> = ticking.map(|root| root.id).collect();
        if ticking.is_empty() {
            return Err(HostError::Misuse("no tick period is set"));
        }
        for root in ticking {
            self.enter::<_, ()>("proxy_on_tick", root, root)?;
            self.settle()?;
        }
        Ok(())
    }

    /// The tick period of the first root context.
    pub fn tick_period(&self) -> Option<Duration> {
        self.state().roots.first().and_then(|root| root.tick_period)
    }

    /// Delivers what other VMs have put into this VM's queues, and says how many callbacks ran.
    pub fn deliver_queues(&mut self) -> Result<usize, HostError> {
        let due = self.state().process.queues().take_due(self.state().number);
        for (root, queue) in &due {
            self.enter::<_, ()>("proxy_on_queue_ready", *root, (*root, *queue))?;
            self.settle()?;
        }
        Ok(due.len())
    }

    /// The HTTP calls that wait for an answer, oldest first.
    pub fn http_calls(&self) -> Vec<HttpCall> {
        self.state().calls.values().cloned().collect()
    }

    /// Answers an HTTP call. The headers should have a `:status`.
    pub fn answer_http_call<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        token: u32,
        headers: &[(N, V)],
        body: &[u8],
    ) -> Result<(), HostError> {
        let call = self.state_mut().calls.remove(&token);
        let root = call.ok_or(HostError::Misuse("no such HTTP call"))?.root;
        let headers = Headers::merged(headers);
        let parameters = (root, token, abi_size(headers.len()), abi_size(body.len()), 0u32);
        self.state_mut().call_response = Some(CallResponse { headers, body: body.to_vec() });
        let result = self.enter::<_, ()>("proxy_on_http_call_response", root, parameters);
        self.state_mut().call_response = None;
        result?;
        self.settle()
    }

    /// Fails an HTTP call as Envoy does when the cluster has no healthy host.
    pub fn fail_http_call(&mut self, token: u32) -> Result<(), HostError> {
        self.answer_http_call(token, &[(":status", "503")], b"no healthy upstream")
    }

    /// Fails an HTTP call as Envoy does when its timeout has passed.
    pub fn time_out_http_call(&mut self, token: u32) -> Result<(), HostError> {
        self.answer_http_call(token, &[(":status", "504")], b"upstream request timeout")
    }

    /// Takes the root contexts down. False if one asks to finish something first: call again
    /// after its `proxy_done`.
    pub fn shut_down(&mut self) -> Result<bool, HostError> {
        let roots: Vec<_> = self.state().roots.iter().map(|root| root.id).collect();
        for id in roots {
            let asked = self.enter::<_, u32>("proxy_on_done", id, id)?;
            self.settle()?;
            let roots = &self.state().roots;
            let done = roots.iter().any(|root| root.id == id && root.done);
            if done || asked != Some(0) {
                self.enter::<_, ()>("proxy_on_delete", id, id)?;
                self.state_mut().roots.retain(|root| root.id != id);
            }
        }
        Ok(self.state().roots.is_empty())
    }

    /// Puts a new VM in this one's place, as `FAIL_RELOAD` does after a crash: same module, same
    /// configurations, same shared data, nothing else kept. Works on a live VM too.
    pub fn reload(&mut self) -> Result<(), HostError> {
        let state = self.state();
        let vm_id = String::from_utf8_lossy(&state.vm_id).into_owned();
        let vm_configuration = state.vm_configuration.clone();
        let roots = state.roots.iter();
        let configurations: Vec<_> = roots.filter_map(|root| root.configuration.clone()).collect();
        let mut fresh = Self::new(&self.module, state.process.clone(), &vm_id, state.role)?;
        fresh.fuel_limit = self.fuel_limit;
        fresh.set_memory_limit(state.memory_limit);
        fresh.fuel_used += self.fuel_used;
        *self = fresh;
        self.start(&vm_configuration)?;
        for (place, configuration) in configurations.iter().enumerate() {
            let accepted = match place {
                0 => self.configure(configuration)?,
                _ => self.add_root(configuration)?.is_some(),
            };
            if !accepted {
                return Err(HostError::Refused("proxy_on_configure"));
            }
        }
        Ok(())
    }

    pub fn crashed(&self) -> bool {
        self.health == Health::Crashed
    }

    /// What the guest has logged, stdout and stderr included, oldest first.
    pub fn logs(&self) -> &[LogLine] {
        &self.state().logs
    }

    /// Whether a line with this text was logged.
    pub fn has_logged(&self, text: &str) -> bool {
        self.logs().iter().any(|line| line.text.contains(text))
    }

    pub fn clear_logs(&mut self) {
        self.state_mut().logs.clear();
    }

    /// What `proxy_get_log_level` answers; [`LogLevel::Trace`] at first. All lines are kept
    /// whatever it is.
    pub fn set_log_level(&mut self, level: LogLevel) {
        self.state_mut().log_level = level;
    }

    /// How often the guest has called this import, for example `proxy_get_shared_data`.
    pub fn host_calls(&self, name: &str) -> u64 {
        self.state().host_calls.get(name).copied().unwrap_or(0)
    }

    /// The size of the guest's memory in bytes. It never shrinks.
    pub fn memory_size(&self) -> usize {
        let memory = self.state().memory;
        memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    /// Runs something and says how much fuel the guest used in it: about one per instruction,
    /// the same on every machine. A bulk copy counts as one; host calls count for nothing.
    pub fn fuel_of<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> (T, u64) {
        let before = self.fuel_used;
        let result = act(self);
        (result, self.fuel_used.saturating_sub(before))
    }

    /// Sets the fuel that one callback may use before it counts as running away.
    /// Bytes of memory that the guest may have from now on, also after a reload; what it has stays.
    pub fn set_memory_limit(&mut self, bytes: usize) {
        self.state_mut().limit_memory(bytes);
    }

    pub fn set_fuel_limit(&mut self, limit: u64) {
        self.fuel_limit = limit;
    }

    pub(super) fn state(&self) -> &State {
        self.store.data()
    }

    pub(super) fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Runs a callback if the guest has it.
    pub(super) fn enter<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
        context: u32,
        parameters: P,
    ) -> Result<Option<R>, HostError> {
        self.run(name, |store| invoke(store, name, context, parameters))
    }

    /// Runs the guest with a full tank, and buries the VM if it traps.
    pub(super) fn run<T>(
        &mut self,
        callback: &'static str,
        act: impl FnOnce(&mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, HostError> {
        if self.health == Health::Crashed {
            return Err(HostError::Dead);
        }
        let invalid = |error: wasmtime::Error| HostError::Invalid(format!("{error:?}"));
        self.store.set_fuel(self.fuel_limit).map_err(invalid)?;
        let result = act(&mut self.store);
        let left = self.store.get_fuel().map_err(invalid)?;
        self.fuel_used += self.fuel_limit.saturating_sub(left);
        result.map_err(|error| self.bury(callback, &error))
    }

    fn bury(&mut self, callback: &'static str, error: &wasmtime::Error) -> HostError {
        self.health = Health::Crashed;
        self.state_mut().deferred.clear();
        let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
        let trace = causes.join("\n");
        if error.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel) {
            return HostError::RanAway { callback, trace };
        }
        let mut lines = self.logs().iter().rev();
        let last = lines.find(|line| line.level >= LogLevel::Error);
        HostError::Crashed {
            callback,
            last_log: last.map_or_else(String::new, |line| line.text.clone()),
            trace,
        }
    }

    fn create_root(&mut self) -> Result<u32, HostError> {
        let id = self.state_mut().allocate_context();
        self.state_mut().roots.push(Root {
            id,
            configuration: None,
            tick_period: None,
            done: false,
        });
        self.enter::<_, ()>("proxy_on_context_create", id, (id, 0u32))?;
        Ok(id)
    }

    fn configure_root(&mut self, id: u32, configuration: &[u8]) -> Result<bool, HostError> {
        let mut roots = self.state_mut().roots.iter_mut();
        if let Some(root) = roots.find(|root| root.id == id) {
            root.configuration = Some(configuration.to_vec());
        }
        self.state_mut().configuring = Some(id);
        let size = abi_size(configuration.len());
        let result = self.enter::<_, u32>("proxy_on_configure", id, (id, size));
        self.state_mut().configuring = None;
        let accepted = result?;
        self.settle()?;
        Ok(accepted != Some(0))
    }
}

/// Sizes in a test fit; a larger one would be told as the largest.
pub(super) fn abi_size(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// By this export Envoy knows the version of the ABI.
const ABI_MARKER: &str = "proxy_abi_version_0_2_1";

/// About a second of an optimised guest: far above any callback, far below a hang.
const FUEL_LIMIT: u64 = 1_000_000_000;
