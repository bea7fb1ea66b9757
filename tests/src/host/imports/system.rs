//! Host calls about the VM itself: log, clock, tick, contexts, configuration, properties.

use std::time::Duration;

use wasmtime::{Caller, Linker};

use super::ENV;
use crate::host::abi::{BufferKind, LogLevel, Status};
use crate::host::clock::nanoseconds;
use crate::host::guest::host_call;
use crate::host::state::State;

type C<'a> = Caller<'a, State>;

pub(super) fn register(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(ENV, "proxy_log", |c: C<'_>, level: u32, at: u32, size: u32| {
        host_call(c, "proxy_log", |guest| {
            let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
            let text = guest.read(at, size)?;
            guest.state().log(level, &text);
            Ok(())
        })
    })?;
    linker.func_wrap(ENV, "proxy_get_log_level", |c: C<'_>, level_at: u32| {
        host_call(c, "proxy_get_log_level", |guest| {
            let level = guest.state().log_level;
            guest.write_u32(level_at, level as u32)
        })
    })?;
    linker.func_wrap(ENV, "proxy_get_current_time_nanoseconds", |c: C<'_>, at: u32| {
        host_call(c, "proxy_get_current_time_nanoseconds", |guest| {
            let time = nanoseconds(guest.state().process.clock().wall());
            guest.write_u64(at, time)
        })
    })?;
    linker.func_wrap(ENV, "proxy_set_tick_period_milliseconds", |c: C<'_>, period: u32| {
        host_call(c, "proxy_set_tick_period_milliseconds", |guest| {
            let state = guest.state();
            let id = state.root();
            let root = state.roots.iter_mut().find(|root| root.id == id);
            let period = Duration::from_millis(period.into());
            root.ok_or(Status::BadArgument)?.tick_period = (!period.is_zero()).then_some(period);
            Ok(())
        })
    })?;
    linker.func_wrap(ENV, "proxy_set_effective_context", |c: C<'_>, id: u32| {
        host_call(c, "proxy_set_effective_context", |guest| {
            if !guest.state().has_context(id) {
                return Err(Status::BadArgument.into());
            }
            guest.state().effective = id;
            Ok(())
        })
    })?;
    linker.func_wrap(ENV, "proxy_done", |c: C<'_>| {
        host_call(c, "proxy_done", |guest| {
            let state = guest.state();
            let id = state.root();
            let root = state.roots.iter_mut().find(|root| root.id == id);
            root.ok_or(Status::NotFound)?.done = true;
            Ok(())
        })
    })?;
    linker.func_wrap(
        ENV,
        "proxy_get_status",
        |c: C<'_>, code_at: u32, at: u32, size_at: u32| {
            host_call(c, "proxy_get_status", |guest| {
                guest.write_u32(code_at, 0)?;
                guest.give(b"", at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_call_foreign_function",
        |c: C<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            host_call(c, "proxy_call_foreign_function", |_| Err(Status::Unimplemented.into()))
        },
    )?;
    register_buffers(linker)?;
    register_properties(linker)
}

fn register_buffers(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_get_buffer_bytes",
        |c: C<'_>, kind: u32, start: u32, size: u32, at: u32, size_at: u32| {
            host_call(c, "proxy_get_buffer_bytes", |guest| {
                let buffer = buffer(guest.state(), BufferKind::from_abi(kind)?)?;
                let end = start.checked_add(size).ok_or(Status::BadArgument)?;
                let start = usize::try_from(start).map_err(|_| Status::BadArgument)?;
                let end = usize::try_from(end).map_err(|_| Status::BadArgument)?;
                let part = buffer.get(start..end.min(buffer.len())).ok_or(Status::BadArgument)?;
                // As in Envoy, nothing is written for nothing.
                if part.is_empty() {
                    return Ok(());
                }
                guest.give(part, at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_buffer_status",
        |c: C<'_>, kind: u32, size_at: u32, flags_at: u32| {
            host_call(c, "proxy_get_buffer_status", |guest| {
                let buffer = buffer(guest.state(), BufferKind::from_abi(kind)?)?;
                guest.write_u32(size_at, crate::host::guest::size(&buffer)?)?;
                guest.write_u32(flags_at, 0)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_buffer_bytes",
        |c: C<'_>, kind: u32, start: u32, size: u32, at: u32, data_size: u32| {
            host_call(c, "proxy_set_buffer_bytes", |guest| {
                let data = guest.read(at, data_size)?;
                let kind = BufferKind::from_abi(kind)?;
                let Some(stream) = guest.state().stream() else {
                    return Err(Status::NotFound.into());
                };
                if kind != BufferKind::RequestBody {
                    return Err(Status::BadArgument.into());
                }
                let old = u32::try_from(stream.body.len()).unwrap_or(u32::MAX);
                // Envoy can prepend, replace all, or append; nothing between.
                match (start, size) {
                    (0, 0) => {
                        stream.body.splice(0..0, data);
                    }
                    (0, size) if size >= old => stream.body = data,
                    (start, _) if start >= old => stream.body.extend(data),
                    _ => return Err(Status::BadArgument.into()),
                }
                Ok(())
            })
        },
    )?;
    Ok(())
}

fn register_properties(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_get_property",
        |c: C<'_>, path: u32, path_size: u32, at: u32, size_at: u32| {
            host_call(c, "proxy_get_property", |guest| {
                let path = guest.read(path, path_size)?;
                let stream = guest.state().stream().ok_or(Status::NotFound)?;
                let value = stream.filter_state.get(&path).or_else(|| stream.properties.get(&path));
                let value = value.ok_or(Status::NotFound)?.clone();
                guest.give(&value, at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_property",
        |c: C<'_>, path: u32, path_size: u32, at: u32, size: u32| {
            host_call(c, "proxy_set_property", |guest| {
                let path = guest.read(path, path_size)?;
                let value = guest.read(at, size)?;
                let stream = guest.state().stream().ok_or(Status::NotFound)?;
                stream.filter_state.insert(path, value);
                Ok(())
            })
        },
    )?;
    Ok(())
}

fn buffer(state: &mut State, kind: BufferKind) -> Result<Vec<u8>, Status> {
    match kind {
        // No body yet is an empty buffer, not a missing one.
        BufferKind::RequestBody => {
            let stream = state.stream();
            Ok(stream.map_or_else(Vec::new, |stream| stream.body.clone()))
        }
        BufferKind::CallResponseBody => {
            let response = state.call_response.as_ref().ok_or(Status::NotFound)?;
            Ok(response.body.clone())
        }
        BufferKind::VmConfiguration => Ok(state.vm_configuration.clone()),
        BufferKind::PluginConfiguration => {
            let id = state.configuring.ok_or(Status::NotFound)?;
            let root = state.roots.iter().find(|root| root.id == id);
            let configuration = root.and_then(|root| root.configuration.clone());
            configuration.ok_or(Status::NotFound)
        }
        BufferKind::Absent => Err(Status::NotFound),
    }
}
