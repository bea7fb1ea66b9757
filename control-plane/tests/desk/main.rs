//! The control plane as a process: what it answered holds, however it ends and whoever comes at
//! the same time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod kill;
mod kit;
mod ledger;
mod race;
mod random;

fn binary() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_BIN_EXE_gatepass"))
}
