//! Host calls on header maps.
//!
//! Reading a map that is not there gives an empty list of pairs but `BadArgument` for one value;
//! changing it is `BadArgument`. So it is in Envoy once a request has gone on.

use wasmtime::{Caller, Linker};

use super::ENV;
use crate::host::abi::{MapKind, Status};
use crate::host::guest::{Fault, Guest, host_call};
use crate::host::headers::Headers;
use crate::host::state::State;
use crate::host::stream::Access;

type C<'a> = Caller<'a, State>;

pub(super) fn register(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_get_header_map_pairs",
        |c: C<'_>, kind: u32, at: u32, size_at: u32| {
            host_call(c, "proxy_get_header_map_pairs", |guest| {
                let kind = MapKind::from_abi(kind)?;
                let wire = readable(guest.state(), kind).map_or_else(Vec::new, Headers::to_wire);
                guest.give(&wire, at, size_at)
            })
        },
    )?;
    linker.func_wrap(ENV, "proxy_get_header_map_size", |c: C<'_>, kind: u32, size_at: u32| {
        host_call(c, "proxy_get_header_map_size", |guest| {
            let kind = MapKind::from_abi(kind)?;
            let map = readable(guest.state(), kind).ok_or(Status::BadArgument)?;
            let bytes: usize = map.iter().map(|(name, value)| name.len() + value.len()).sum();
            let bytes = u32::try_from(bytes).map_err(|_| Status::InternalFailure)?;
            guest.write_u32(size_at, bytes)
        })
    })?;
    linker.func_wrap(
        ENV,
        "proxy_get_header_map_value",
        |c: C<'_>, kind: u32, name: u32, name_size: u32, at: u32, size_at: u32| {
            host_call(c, "proxy_get_header_map_value", |guest| {
                let kind = MapKind::from_abi(kind)?;
                let name = guest.read(name, name_size)?;
                let map = readable(guest.state(), kind).ok_or(Status::BadArgument)?;
                let value = map.first(&name).ok_or(Status::NotFound)?.to_vec();
                guest.give(&value, at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_header_map_pairs",
        |c: C<'_>, kind: u32, at: u32, size: u32| {
            host_call(c, "proxy_set_header_map_pairs", |guest| {
                let wire = guest.read(at, size)?;
                let pairs = Headers::from_wire(&wire).ok_or(Status::BadArgument)?;
                change(guest, kind, |map| *map = pairs)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_add_header_map_value",
        |c: C<'_>, kind: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            host_call(c, "proxy_add_header_map_value", |guest| {
                let name = guest.read(name, name_size)?;
                let value = guest.read(value, value_size)?;
                change(guest, kind, |map| map.add(&name, &value))
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_replace_header_map_value",
        |c: C<'_>, kind: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            host_call(c, "proxy_replace_header_map_value", |guest| {
                let name = guest.read(name, name_size)?;
                let value = guest.read(value, value_size)?;
                change(guest, kind, |map| map.replace(&name, &value))
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_remove_header_map_value",
        |c: C<'_>, kind: u32, name: u32, name_size: u32| {
            host_call(c, "proxy_remove_header_map_value", |guest| {
                let name = guest.read(name, name_size)?;
                change(guest, kind, |map| map.remove(&name))
            })
        },
    )?;
    Ok(())
}

fn readable(state: &mut State, kind: MapKind) -> Option<&Headers> {
    let (map, access) = match kind {
        MapKind::RequestHeaders => {
            let stream = state.stream()?;
            (&stream.request, stream.request_access)
        }
        MapKind::ResponseHeaders => {
            let stream = state.stream()?;
            (&stream.response, stream.response_access)
        }
        MapKind::CallResponseHeaders => (&state.call_response.as_ref()?.headers, Access::ReadOnly),
        MapKind::Absent => return None,
    };
    (access != Access::Closed).then_some(map)
}

fn change(guest: &mut Guest<'_>, kind: u32, act: impl FnOnce(&mut Headers)) -> Result<(), Fault> {
    let kind = MapKind::from_abi(kind)?;
    let stream = guest.state().stream().ok_or(Status::BadArgument)?;
    let (map, access) = match kind {
        MapKind::RequestHeaders => (&mut stream.request, stream.request_access),
        MapKind::ResponseHeaders => (&mut stream.response, stream.response_access),
        MapKind::CallResponseHeaders | MapKind::Absent => {
            return Err(Status::BadArgument.into());
        }
    };
    if access != Access::Open {
        return Err(Status::BadArgument.into());
    }
    act(map);
    Ok(())
}
