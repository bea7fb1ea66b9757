//! File descriptors: each connection takes one, and what a shell starts is mostly allowed 1024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the bound of this process to what the system lets it have, and says when that is few.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the bound on file descriptors stays as it is");
    }
    let allowed = getrlimit(Resource::Nofile).current;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < ENOUGH) {
        tracing::warn!(
            allowed,
            enough = ENOUGH,
            "few file descriptors: each Envoy that follows the feed takes one, so raise `ulimit -Hn`"
        );
    }
}

/// For 10,000 followers and everybody else.
const ENOUGH: u64 = 12_000;
