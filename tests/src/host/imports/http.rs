//! Host calls that move a stream on, answer it, cut it, or call out.

use std::time::Duration;

use wasmtime::{Caller, Linker};

use super::ENV;
use crate::host::abi::{Half, Status};
use crate::host::call::HttpCall;
use crate::host::guest::{Fault, Guest, host_call};
use crate::host::headers::Headers;
use crate::host::state::{Deferred, State};
use crate::host::stream::{Access, LocalReply};

type C<'a> = Caller<'a, State>;

pub(super) fn register(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(ENV, "proxy_continue_stream", |c: C<'_>, half: u32| {
        host_call(c, "proxy_continue_stream", |guest| {
            let half = Half::from_abi(half)?;
            let id = guest.state().context();
            let stream = guest.state().stream().ok_or(Status::BadArgument)?;
            // The guest has let go of the request's headers, though they move on only later.
            stream.request_access = Access::Closed;
            guest.state().deferred.push(match half {
                Half::Request => Deferred::ContinueRequest(id),
                Half::Response => Deferred::ContinueResponse(id),
            });
            Ok(())
        })
    })?;
    linker.func_wrap(ENV, "proxy_close_stream", |c: C<'_>, half: u32| {
        host_call(c, "proxy_close_stream", |guest| {
            // Either half resets the whole stream, once the guest has returned.
            Half::from_abi(half)?;
            let id = guest.state().context();
            guest.state().deferred.push(Deferred::Close(id));
            Ok(())
        })
    })?;
    linker.func_wrap(
        ENV,
        "proxy_send_local_response",
        |c: C<'_>,
         status: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         grpc_status: i32| {
            host_call(c, "proxy_send_local_response", |guest| {
                let details = guest.read(details, details_size)?;
                let body = guest.read(body, body_size)?;
                let headers = read_map(guest, headers, headers_size)?;
                let id = guest.state().context();
                let reply = LocalReply {
                    status,
                    details: String::from_utf8_lossy(&details).into_owned(),
                    headers,
                    body,
                    grpc_status: (grpc_status >= 0).then_some(grpc_status),
                };
                guest.state().deferred.push(Deferred::Reply(id, reply));
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_http_call",
        |c: C<'_>,
         cluster: u32,
         cluster_size: u32,
         headers: u32,
         headers_size: u32,
         body: u32,
         body_size: u32,
         trailers: u32,
         trailers_size: u32,
         timeout: u32,
         token_at: u32| {
            host_call(c, "proxy_http_call", |guest| {
                let cluster = guest.read(cluster, cluster_size)?;
                let cluster = String::from_utf8_lossy(&cluster).into_owned();
                let call = HttpCall {
                    token: guest.state().next_token,
                    headers: read_map(guest, headers, headers_size)?,
                    body: guest.read(body, body_size)?,
                    trailers: read_map(guest, trailers, trailers_size)?,
                    timeout: Duration::from_millis(timeout.into()),
                    root: guest.state().root(),
                    cluster,
                };
                guest.write_u32(token_at, 0)?;
                let complete = [":method", ":path", ":authority"]
                    .iter()
                    .all(|name| call.headers.first(name).is_some());
                if !complete || !guest.state().process.has_cluster(&call.cluster) {
                    return Err(Status::BadArgument.into());
                }
                guest.write_u32(token_at, call.token)?;
                guest.state().next_token += 1;
                guest.state().calls.insert(call.token, call);
                Ok(())
            })
        },
    )?;
    register_grpc(linker)
}

/// Linked because the SDK imports them, and always refused.
fn register_grpc(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_grpc_call",
        |c: C<'_>,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32| unimplemented(c, "proxy_grpc_call"),
    )?;
    linker.func_wrap(
        ENV,
        "proxy_grpc_stream",
        |c: C<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            unimplemented(c, "proxy_grpc_stream")
        },
    )?;
    linker.func_wrap(ENV, "proxy_grpc_send", |c: C<'_>, _: u32, _: u32, _: u32, _: u32| {
        unimplemented(c, "proxy_grpc_send")
    })?;
    linker.func_wrap(ENV, "proxy_grpc_cancel", |c: C<'_>, _: u32| {
        unimplemented(c, "proxy_grpc_cancel")
    })?;
    linker.func_wrap(ENV, "proxy_grpc_close", |c: C<'_>, _: u32| {
        unimplemented(c, "proxy_grpc_close")
    })?;
    Ok(())
}

fn unimplemented(caller: C<'_>, name: &'static str) -> wasmtime::Result<u32> {
    host_call(caller, name, |_| Err(Status::Unimplemented.into()))
}

fn read_map(guest: &mut Guest<'_>, at: u32, size: u32) -> Result<Headers, Fault> {
    let wire = guest.read(at, size)?;
    Ok(Headers::from_wire(&wire).ok_or(Status::BadArgument)?)
}
