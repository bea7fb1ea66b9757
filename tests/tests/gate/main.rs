//! The shipped filter in a real Envoy.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod cold;
mod demo;
mod permit;
mod warm;
