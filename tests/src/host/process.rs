//! One Envoy process: what its VMs share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::clock::Clock;
use super::error::HostError;
use super::metrics::Metrics;
use super::module::Module;
use super::queue::SharedQueues;
use super::shared_data::SharedData;
use super::vm::{Role, Vm};

/// A process with one module. Its VMs share data, queues, metrics and the clock.
#[derive(Clone)]
pub struct Envoy {
    module: Module,
    process: Process,
}

impl Envoy {
    pub fn new(module: &Module) -> Self {
        Self { module: module.clone(), process: Process::default() }
    }

    /// The same process with another module: an upgrade of the filter.
    pub fn upgraded(&self, module: &Module) -> Self {
        Self { module: module.clone(), process: self.process.clone() }
    }

    /// A new worker's VM: instantiated and initialised, not yet started.
    pub fn worker(&self, vm_id: &str) -> Result<Vm, HostError> {
        Vm::new(&self.module, self.process.clone(), vm_id, Role::Worker)
    }

    /// The VM that Envoy runs on its main thread: it ticks and polls and never serves a request.
    pub fn main_thread(&self, vm_id: &str) -> Result<Vm, HostError> {
        Vm::new(&self.module, self.process.clone(), vm_id, Role::MainThread)
    }

    /// A worker's VM, started without VM configuration and configured with this plugin
    /// configuration.
    pub fn started(&self, vm_id: &str, configuration: &[u8]) -> Result<Vm, HostError> {
        let mut vm = self.worker(vm_id)?;
        vm.start(b"")?;
        if !vm.configure(configuration)? {
            return Err(HostError::Refused("proxy_on_configure"));
        }
        Ok(vm)
    }

    pub fn clock(&self) -> &Clock {
        &self.process.0.clock
    }

    pub fn shared_data(&self) -> &SharedData {
        &self.process.0.shared_data
    }

    pub fn queues(&self) -> &SharedQueues {
        &self.process.0.queues
    }

    pub fn metrics(&self) -> &Metrics {
        &self.process.0.metrics
    }

    /// Seeds the random numbers of the VMs made from now on.
    pub fn set_seed(&self, seed: u64) {
        self.process.0.seed.store(seed, Ordering::Relaxed);
    }

    /// `allow_on_headers_stop_iteration` of the plugin: whether a request that the headers
    /// callback has paused still gets its body callbacks. Off by default, as in Envoy.
    pub fn allow_on_headers_stop_iteration(&self, allow: bool) {
        self.process.0.headers_stop.store(allow, Ordering::Relaxed);
    }

    /// Takes a cluster away: calls to it fail at once with `BadArgument`. All clusters exist
    /// otherwise.
    pub fn remove_cluster(&self, name: &str) {
        let mut missing = lock(&self.process.0.missing_clusters);
        missing.push(name.to_owned());
    }
}

/// The shared half of [`Envoy`], which every VM holds.
#[derive(Clone, Default)]
pub(super) struct Process(Arc<Shared>);

#[derive(Default)]
struct Shared {
    clock: Clock,
    shared_data: SharedData,
    queues: SharedQueues,
    metrics: Metrics,
    seed: AtomicU64,
    numbers: AtomicU32,
    headers_stop: AtomicBool,
    missing_clusters: Mutex<Vec<String>>,
}

impl Process {
    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(super) fn shared_data(&self) -> &SharedData {
        &self.0.shared_data
    }

    pub(super) fn queues(&self) -> &SharedQueues {
        &self.0.queues
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn seed(&self) -> u64 {
        self.0.seed.load(Ordering::Relaxed)
    }

    pub(super) fn next_number(&self) -> u32 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn headers_stop(&self) -> bool {
        self.0.headers_stop.load(Ordering::Relaxed)
    }

    pub(super) fn has_cluster(&self, name: &str) -> bool {
        let missing = lock(&self.0.missing_clusters);
        !missing.iter().any(|gone| gone == name)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
