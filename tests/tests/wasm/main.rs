//! The shipped filter in the wasm host: what a real Envoy cannot show quickly or repeatably.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod decisions;
mod exchange;
mod feed;
mod imports;
mod life;
mod second_plugin;
