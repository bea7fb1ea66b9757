//! Host calls on metrics.

use wasmtime::{Caller, Linker};

use super::ENV;
use crate::host::guest::host_call;
use crate::host::state::State;

type C<'a> = Caller<'a, State>;

pub(super) fn register(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_define_metric",
        |c: C<'_>, kind: u32, name: u32, name_size: u32, id_at: u32| {
            host_call(c, "proxy_define_metric", |guest| {
                let name = guest.read(name, name_size)?;
                let id = guest.state().process.metrics().define(kind, &name)?;
                guest.write_u32(id_at, id)
            })
        },
    )?;
    linker.func_wrap(ENV, "proxy_increment_metric", |c: C<'_>, id: u32, offset: i64| {
        host_call(c, "proxy_increment_metric", |guest| {
            Ok(guest.state().process.metrics().increment(id, offset)?)
        })
    })?;
    linker.func_wrap(ENV, "proxy_record_metric", |c: C<'_>, id: u32, value: u64| {
        host_call(c, "proxy_record_metric", |guest| {
            Ok(guest.state().process.metrics().record(id, value)?)
        })
    })?;
    linker.func_wrap(ENV, "proxy_get_metric", |c: C<'_>, id: u32, value_at: u32| {
        host_call(c, "proxy_get_metric", |guest| {
            let value = guest.state().process.metrics().read(id)?;
            guest.write_u64(value_at, value)
        })
    })?;
    Ok(())
}
