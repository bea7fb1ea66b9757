//! Host calls on what the VMs of a process share.

use wasmtime::{Caller, Linker};

use super::ENV;
use crate::host::guest::host_call;
use crate::host::queue::Target;
use crate::host::state::State;

type C<'a> = Caller<'a, State>;

pub(super) fn register(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_get_shared_data",
        |c: C<'_>, key: u32, key_size: u32, at: u32, size_at: u32, cas_at: u32| {
            host_call(c, "proxy_get_shared_data", |guest| {
                let key = guest.read(key, key_size)?;
                let state = guest.state();
                let (value, cas) = state.process.shared_data().get(&state.vm_id, &key)?;
                guest.give(&value, at, size_at)?;
                guest.write_u32(cas_at, cas)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_shared_data",
        |c: C<'_>, key: u32, key_size: u32, at: u32, size: u32, cas: u32| {
            host_call(c, "proxy_set_shared_data", |guest| {
                let key = guest.read(key, key_size)?;
                let value = guest.read(at, size)?;
                let state = guest.state();
                let data = state.process.shared_data();
                Ok(data.set(&state.vm_id, &key, &value, cas)?)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_register_shared_queue",
        |c: C<'_>, name: u32, name_size: u32, token_at: u32| {
            host_call(c, "proxy_register_shared_queue", |guest| {
                let name = guest.read(name, name_size)?;
                let state = guest.state();
                let target = Target { instance: state.number, root: state.root() };
                let token = state.process.queues().register(&state.vm_id, &name, target);
                guest.write_u32(token_at, token)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_resolve_shared_queue",
        |c: C<'_>, vm_id: u32, vm_id_size: u32, name: u32, name_size: u32, token_at: u32| {
            host_call(c, "proxy_resolve_shared_queue", |guest| {
                let mut vm_id = guest.read(vm_id, vm_id_size)?;
                let name = guest.read(name, name_size)?;
                let state = guest.state();
                if vm_id.is_empty() {
                    vm_id = state.vm_id.clone();
                }
                let token = state.process.queues().resolve(&vm_id, &name)?;
                guest.write_u32(token_at, token)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_dequeue_shared_queue",
        |c: C<'_>, token: u32, at: u32, size_at: u32| {
            host_call(c, "proxy_dequeue_shared_queue", |guest| {
                let item = guest.state().process.queues().dequeue(token)?;
                guest.give(&item, at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_enqueue_shared_queue",
        |c: C<'_>, token: u32, at: u32, size: u32| {
            host_call(c, "proxy_enqueue_shared_queue", |guest| {
                let item = guest.read(at, size)?;
                Ok(guest.state().process.queues().enqueue(token, item)?)
            })
        },
    )?;
    Ok(())
}
