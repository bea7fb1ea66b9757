//! The functions of WASI preview 1 that Envoy offers, as far as Rust's standard library asks.

use wasmtime::{Caller, Linker, bail};

use crate::host::abi::LogLevel;
use crate::host::clock::nanoseconds;
use crate::host::guest::{Fault, host_call};
use crate::host::state::State;

type C<'a> = Caller<'a, State>;

pub(super) fn register(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |c: C<'_>, clock: u32, _precision: u64, at: u32| {
            wasi_call(c, "clock_time_get", |guest| {
                let process = &guest.state().process;
                let time = match clock {
                    REALTIME => process.clock().wall(),
                    MONOTONIC => process.clock().monotonic(),
                    _ => return Ok(ENOTSUP),
                };
                guest.write_u64(at, nanoseconds(time))?;
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(WASI, "random_get", |c: C<'_>, at: u32, size: u32| {
        wasi_call(c, "random_get", |guest| {
            // Read first: a size beyond the memory is refused before anything is allocated.
            let mut bytes = guest.read(at, size)?;
            for chunk in bytes.chunks_mut(8) {
                let random = guest.state().random().to_le_bytes();
                for (byte, random) in chunk.iter_mut().zip(random) {
                    *byte = random;
                }
            }
            guest.write(at, &bytes)?;
            Ok(SUCCESS)
        })
    })?;
    linker.func_wrap(
        WASI,
        "fd_write",
        |c: C<'_>, file: u32, vectors: u32, count: u32, written_at: u32| {
            wasi_call(c, "fd_write", |guest| {
                let level = match file {
                    1 => LogLevel::Info,
                    2 => LogLevel::Error,
                    _ => return Ok(EBADF),
                };
                let vectors = guest.read(vectors, count.saturating_mul(8))?;
                let mut text = Vec::new();
                for vector in vectors.chunks_exact(8) {
                    let Some((at, size)) = vector.split_first_chunk::<4>() else {
                        continue;
                    };
                    let Some((size, _)) = size.split_first_chunk::<4>() else {
                        continue;
                    };
                    let (at, size) = (u32::from_le_bytes(*at), u32::from_le_bytes(*size));
                    text.extend(guest.read(at, size)?);
                }
                guest.write_u32(written_at, crate::host::guest::size(&text)?)?;
                if !text.is_empty() {
                    let line = text.strip_suffix(b"\n").unwrap_or(&text);
                    guest.state().log(level, line);
                }
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(WASI, "fd_fdstat_get", |c: C<'_>, file: u32, at: u32| {
        wasi_call(c, "fd_fdstat_get", |guest| {
            if file != 1 && file != 2 {
                return Ok(EBADF);
            }
            guest.write_u64(at, 0)?;
            guest.write_u64(at.saturating_add(8), RIGHT_TO_WRITE)?;
            guest.write_u64(at.saturating_add(16), 0)?;
            Ok(SUCCESS)
        })
    })?;
    linker
        .func_wrap(WASI, "fd_close", |c: C<'_>, _: u32| wasi_call(c, "fd_close", |_| Ok(EBADF)))?;
    linker.func_wrap(WASI, "fd_seek", |c: C<'_>, _: u32, _: i64, _: u32, _: u32| {
        wasi_call(c, "fd_seek", |_| Ok(EBADF))
    })?;
    for name in ["environ_get", "args_get"] {
        linker.func_wrap(WASI, name, move |c: C<'_>, _: u32, _: u32| {
            wasi_call(c, name, |_| Ok(SUCCESS))
        })?;
    }
    for name in ["environ_sizes_get", "args_sizes_get"] {
        linker.func_wrap(WASI, name, move |c: C<'_>, count_at: u32, size_at: u32| {
            wasi_call(c, name, |guest| {
                guest.write_u32(count_at, 0)?;
                guest.write_u32(size_at, 0)?;
                Ok(SUCCESS)
            })
        })?;
    }
    linker
        .func_wrap(WASI, "sched_yield", |c: C<'_>| wasi_call(c, "sched_yield", |_| Ok(SUCCESS)))?;
    linker.func_wrap(WASI, "proc_exit", |_: C<'_>, code: u32| -> wasmtime::Result<()> {
        bail!("the guest called proc_exit({code})");
    })?;
    Ok(())
}

/// Like [`host_call`], but with WASI's own error numbers.
fn wasi_call(
    caller: C<'_>,
    name: &'static str,
    body: impl FnOnce(&mut crate::host::guest::Guest<'_>) -> Result<u32, Fault>,
) -> wasmtime::Result<u32> {
    let mut errno = SUCCESS;
    let status = host_call(caller, name, |guest| {
        errno = body(guest)?;
        Ok(())
    })?;
    // The only status that the bodies above produce is a pointer out of bounds.
    Ok(if status == 0 { errno } else { EFAULT })
}

const WASI: &str = "wasi_snapshot_preview1";
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
const RIGHT_TO_WRITE: u64 = 64;
const SUCCESS: u32 = 0;
const EBADF: u32 = 8;
const EFAULT: u32 = 21;
const ENOTSUP: u32 = 58;
