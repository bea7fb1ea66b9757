//! The host's hand in the guest: its memory, its allocator, its callbacks.

use wasmtime::{AsContextMut, Caller, WasmParams, WasmResults};

use super::abi::Status;
use super::state::State;
use super::stream::{Access, Life};

/// Why a host call does not succeed.
pub(super) enum Fault {
    /// The guest is told.
    Status(Status),
    /// The guest dies: it trapped while the host had called back into it.
    Trap(wasmtime::Error),
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// The guest during one host call.
pub(super) struct Guest<'a> {
    caller: Caller<'a, State>,
}

impl Guest<'_> {
    pub(super) fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    pub(super) fn read(&mut self, pointer: u32, size: u32) -> Result<Vec<u8>, Fault> {
        let memory = self.caller.data().memory;
        let memory = memory.ok_or(Status::InvalidMemoryAccess)?;
        let bytes = range(pointer, size).and_then(|range| memory.data(&self.caller).get(range));
        Ok(bytes.ok_or(Status::InvalidMemoryAccess)?.to_vec())
    }

    pub(super) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Fault> {
        let memory = self.caller.data().memory;
        let memory = memory.ok_or(Status::InvalidMemoryAccess)?;
        let size = size(bytes)?;
        let target = range(pointer, size)
            .and_then(|range| memory.data_mut(&mut self.caller).get_mut(range))
            .ok_or(Status::InvalidMemoryAccess)?;
        target.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write_u32(&mut self, pointer: u32, value: u32) -> Result<(), Fault> {
        self.write(pointer, &value.to_le_bytes())
    }

    pub(super) fn write_u64(&mut self, pointer: u32, value: u64) -> Result<(), Fault> {
        self.write(pointer, &value.to_le_bytes())
    }

    /// Hands bytes to the guest in memory that the guest allocates. Nothing is allocated for an
    /// empty value: pointer and size are zero.
    pub(super) fn give(
        &mut self,
        bytes: &[u8],
        pointer_at: u32,
        size_at: u32,
    ) -> Result<(), Fault> {
        let mut pointer = 0;
        if !bytes.is_empty() {
            pointer = self.allocate(size(bytes)?)?;
            self.write(pointer, bytes)?;
        }
        self.write_u32(pointer_at, pointer)?;
        self.write_u32(size_at, size(bytes)?)
    }

    fn allocate(&mut self, size: u32) -> Result<u32, Fault> {
        for name in ALLOCATORS {
            let instance = self.caller.data().instance;
            let Some(function) = instance.and_then(|i| i.get_func(&mut self.caller, name)) else {
                continue;
            };
            let function = function.typed::<u32, u32>(&self.caller)?;
            return Ok(function.call(&mut self.caller, size)?);
        }
        Err(Status::InternalFailure.into())
    }
}

/// Runs the body of one host call, counts it, and turns its result into what the ABI returns.
pub(super) fn host_call(
    mut caller: Caller<'_, State>,
    name: &'static str,
    body: impl FnOnce(&mut Guest<'_>) -> Result<(), Fault>,
) -> wasmtime::Result<u32> {
    *caller.data_mut().host_calls.entry(name).or_default() += 1;
    match body(&mut Guest { caller }) {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Fault::Status(status)) => Ok(status as u32),
        Err(Fault::Trap(error)) => Err(error),
    }
}

/// Calls an export for a context, if the guest has it. What an outer callback has set as its
/// contexts is put back afterwards.
pub(super) fn invoke<P: WasmParams, R: WasmResults>(
    mut store: impl AsContextMut<Data = State>,
    name: &str,
    context: u32,
    parameters: P,
) -> wasmtime::Result<Option<R>> {
    let mut store = store.as_context_mut();
    let instance = store.data().instance;
    let Some(function) = instance.and_then(|i| i.get_func(&mut store, name)) else {
        return Ok(None);
    };
    let function = function.typed::<P, R>(&store)?;
    let state = store.data_mut();
    let outer = (state.current, state.effective);
    (state.current, state.effective) = (context, 0);
    let result = function.call(&mut store, parameters);
    let state = store.data_mut();
    (state.current, state.effective) = outer;
    result.map(Some)
}

/// The last callbacks of a stream, in Envoy's order. Does nothing for one that is ending.
pub(super) fn end_stream(
    mut store: impl AsContextMut<Data = State>,
    id: u32,
) -> wasmtime::Result<()> {
    let mut store = store.as_context_mut();
    match store.data_mut().streams.get_mut(&id) {
        Some(stream) if stream.life == Life::Running => {
            stream.life = Life::Ending;
            stream.request_access = Access::ReadOnly;
            stream.response_access = Access::ReadOnly;
        }
        Some(_) | None => return Ok(()),
    }
    invoke::<_, ()>(&mut store, "proxy_on_log", id, id)?;
    if let Some(stream) = store.data_mut().streams.get_mut(&id) {
        stream.request_access = Access::Closed;
        stream.response_access = Access::Closed;
    }
    invoke::<_, u32>(&mut store, "proxy_on_done", id, id)?;
    invoke::<_, ()>(&mut store, "proxy_on_delete", id, id)?;
    if let Some(stream) = store.data_mut().streams.get_mut(&id) {
        stream.life = Life::Ended;
    }
    Ok(())
}

pub(super) fn size(bytes: &[u8]) -> Result<u32, Status> {
    u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)
}

fn range(pointer: u32, size: u32) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(pointer).ok()?;
    Some(start..start.checked_add(usize::try_from(size).ok()?)?)
}

/// The ABI's allocator, and its older name.
const ALLOCATORS: [&str; 2] = ["proxy_on_memory_allocate", "malloc"];
