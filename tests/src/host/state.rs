//! What one VM knows: the host's side of a guest.

use std::collections::BTreeMap;
use std::time::Duration;

use wasmtime::{Instance, Memory, StoreLimits, StoreLimitsBuilder};

use super::abi::LogLevel;
use super::call::{CallResponse, HttpCall};
use super::process::Process;
use super::stream::{LocalReply, StreamState};
use super::vm::Role;

/// The data of a VM's store.
pub(super) struct State {
    pub(super) process: Process,
    pub(super) vm_id: Vec<u8>,
    pub(super) role: Role,
    /// Tells apart the VMs of one process, reloads included.
    pub(super) number: u32,
    pub(super) instance: Option<Instance>,
    pub(super) memory: Option<Memory>,
    /// The context that the running callback is for; 0 before the first root context.
    pub(super) current: u32,
    /// The context that host calls act on instead; 0 if the guest has set none.
    pub(super) effective: u32,
    pub(super) next_context: u32,
    pub(super) vm_configuration: Vec<u8>,
    pub(super) roots: Vec<Root>,
    /// The root context that is being configured: only it may read its configuration.
    pub(super) configuring: Option<u32>,
    pub(super) streams: BTreeMap<u32, StreamState>,
    pub(super) calls: BTreeMap<u32, HttpCall>,
    pub(super) next_token: u32,
    pub(super) call_response: Option<CallResponse>,
    pub(super) deferred: Vec<Deferred>,
    pub(super) logs: Vec<LogLine>,
    pub(super) log_level: LogLevel,
    pub(super) random: u64,
    pub(super) host_calls: BTreeMap<&'static str, u64>,
    pub(super) limits: StoreLimits,
    pub(super) memory_limit: usize,
}

/// One plugin configuration in a VM.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) id: u32,
    /// `None` until it has been configured.
    pub(super) configuration: Option<Vec<u8>>,
    pub(super) tick_period: Option<Duration>,
    /// `proxy_done` was called.
    pub(super) done: bool,
}

/// One line that the guest logged. Text that is not UTF-8 is kept lossily.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: LogLevel,
    pub text: String,
}

/// What Envoy does only after the guest has returned.
#[derive(Debug)]
pub(super) enum Deferred {
    ContinueRequest(u32),
    ContinueResponse(u32),
    Close(u32),
    Reply(u32, LocalReply),
}

impl State {
    pub(super) fn new(process: Process, vm_id: Vec<u8>, role: Role) -> Self {
        let number = process.next_number();
        Self {
            random: process.seed() ^ u64::from(number).wrapping_mul(0xd134_2543_de82_ef95),
            process,
            vm_id,
            role,
            number,
            instance: None,
            memory: None,
            current: 0,
            effective: 0,
            next_context: 1,
            vm_configuration: Vec::new(),
            roots: Vec::new(),
            configuring: None,
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_token: 1,
            call_response: None,
            deferred: Vec::new(),
            logs: Vec::new(),
            log_level: LogLevel::Trace,
            host_calls: BTreeMap::new(),
            limits: StoreLimitsBuilder::new().memory_size(MEMORY_LIMIT).build(),
            memory_limit: MEMORY_LIMIT,
        }
    }

    pub(super) fn limit_memory(&mut self, bytes: usize) {
        self.limits = StoreLimitsBuilder::new().memory_size(bytes).build();
        self.memory_limit = bytes;
    }

    /// The context that host calls act on. An effective context that is gone gives way to the
    /// current one.
    pub(super) fn context(&self) -> u32 {
        if self.effective != 0 && self.has_context(self.effective) {
            self.effective
        } else {
            self.current
        }
    }

    pub(super) fn has_context(&self, id: u32) -> bool {
        self.roots.iter().any(|root| root.id == id)
            || self.streams.get(&id).is_some_and(|stream| !stream.ended())
    }

    /// The stream that host calls act on, if they act on one.
    pub(super) fn stream(&mut self) -> Option<&mut StreamState> {
        self.streams.get_mut(&self.context())
    }

    /// The root context that host calls act on: a stream's own root, or itself.
    pub(super) fn root(&self) -> u32 {
        let context = self.context();
        self.streams.get(&context).map_or(context, |stream| stream.root)
    }

    pub(super) fn allocate_context(&mut self) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        id
    }

    pub(super) fn log(&mut self, level: LogLevel, text: &[u8]) {
        self.logs.push(LogLine { level, text: String::from_utf8_lossy(text).into_owned() });
    }

    /// Splitmix64: the same numbers for the same seed and VM.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Where Envoy's V8 traps.
const MEMORY_LIMIT: usize = 1 << 30;
