//! Starts and restarts of a real Envoy behind a real control plane: what is open before the first
//! batch, and that what replaces a process, a filter or a VM neither fails a request nor forgets a
//! revocation.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop where it is"
)]

mod cold;
mod crash;
mod crashing;
mod hot;
mod traffic;
mod upgrade;
