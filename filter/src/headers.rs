//! Which headers the gate removes and sets, whatever the decision's reason.

use gatepass_engine::decision::{Header, Permit, Reason};

use crate::host::{self, Failed, Map};

/// Removes what only the gate may set, and what could change the request after the decision; sets
/// the identity headers where a gatepass granted the request.
///
/// # Errors
/// Envoy refused a change: the request must not go on, because it may carry a spoofed identity.
pub(crate) fn prepare_upstream(
    headers: &[Header<'_>],
    permit: &Permit,
    decision_id: &str,
) -> Result<(), Failed> {
    for header in headers {
        if is_removed(header.name) {
            host::remove_header(Map::Request, header.name)?;
        }
    }
    if permit.strips_authorization() {
        host::remove_header(Map::Request, b"authorization")?;
        // The proof goes with the token (RFC 9449).
        if headers.iter().any(|header| header.name == b"dpop") {
            host::remove_header(Map::Request, b"dpop")?;
        }
    }
    let listing = permit.listing().is_some();
    // Of most requests neither is asked.
    let all = if listing || permit.strips_replay() { headers } else { &[] };
    for header in all {
        let is = |name: &[u8]| gatepass_engine::inputs::same_header(header.name, name);
        let coded_or_a_part = is(b"accept-encoding") || is(b"range") || is(b"if-range");
        if (permit.strips_replay() && is(b"last-event-id")) || (listing && coded_or_a_part) {
            host::remove_header(Map::Request, header.name)?;
        }
    }
    if let (Reason::Decided(identity), Some(action)) = (permit.reason(), permit.action()) {
        host::set_header(Map::Request, "x-gatepass-agent", &identity.agent)?;
        host::set_header(Map::Request, "x-gatepass-owner", &identity.owner)?;
        host::set_header(Map::Request, "x-gatepass-task", &identity.task)?;
        host::set_header(Map::Request, "x-gatepass-action", action)?;
        host::set_header(Map::Request, "x-gatepass-decision-id", decision_id)?;
    }
    if permit.is_once() {
        // Over what the operator's retry policy says, and what the caller asks for: the router sends it once.
        host::set_header(Map::Request, "x-envoy-max-retries", "0")?;
    }
    Ok(())
}

/// Removes `x-gatepass-*` from a response or from trailers: nobody else speaks in the gate's name.
/// From a request's trailers it removes all that is removed from its headers, because some
/// upstreams merge the two.
pub(crate) fn clean(map: Map, headers: &[Header<'_>]) -> Result<(), Failed> {
    let removed = match map {
        Map::Request | Map::RequestTrailers => is_removed,
        Map::Response | Map::ResponseTrailers | Map::CallResponse => is_ours,
    };
    for header in headers {
        if removed(header.name) {
            host::remove_header(map, header.name)?;
        }
    }
    Ok(())
}

fn is_removed(name: &[u8]) -> bool {
    // All of them begin with one of two letters: a look at the first spares most names the rest.
    if !name.first().is_some_and(|first| matches!(first.to_ascii_lowercase(), b'x' | b't')) {
        return false;
    }
    is_ours(name)
        || REMOVED.iter().any(|removed| gatepass_engine::inputs::same_header(name, removed))
}

fn is_ours(name: &[u8]) -> bool {
    name.get(..PREFIX.len())
        .is_some_and(|start| gatepass_engine::inputs::same_header(start, PREFIX))
}

/// In any case, and with any separator.
const PREFIX: &[u8] = b"x-gatepass-";
/// `Txn-Token` is emitted downstream of the gate only; the others let an upstream act on another
/// method or path than the one decided on.
const REMOVED: [&[u8]; 7] = [
    b"txn-token",
    b"x-http-method-override",
    b"x-http-method",
    b"x-method-override",
    b"x-original-method",
    b"x-original-url",
    b"x-rewrite-url",
];
