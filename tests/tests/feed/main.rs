//! The feed under attack, and what follows from it, in a real Envoy with the shipped filter.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod attacks;
mod desk;
mod gated;
mod hostile_feed;
