//! The shipped filter in the wasm host: what a real Envoy cannot show quickly or repeatably.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on should stop where it is"
)]

mod at_once;
mod bounded;
mod configuration;
mod decisions;
mod exchange;
mod feed;
mod fuel;
mod hostile_headers;
mod imports;
mod life;
mod open_streams;
mod permits;
mod poison;
mod records;
mod second_plugin;
mod shadow;
mod staleness;
mod tally;
mod uploads;
mod uses;
