//! The feed under attack, and what follows from it, in a real Envoy with the shipped filter.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod ahead;
mod attacks;
mod baseline;
mod desk;
mod environments;
mod gated;
mod hostile_feed;
mod hostile_plugin;
mod keys;
mod load;
mod monotonic;
mod operator;
mod overwriter;
mod push;
mod refused_bundle;
mod rotation;
mod status;
