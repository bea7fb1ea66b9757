//! The proxy-wasm shell of Gatepass: a thin layer that brings the engine what it decides on and
//! carries out what it decided. It makes no decision of its own.
//!
//! Everything that talks to Envoy is in [`callbacks`] (what it calls), [`host`] (what is called of it),
//! [`root`] and [`request`], which exist on wasm32 only. The rest is plain Rust that native tests run: the configuration, the
//! shared log and the exchange between the VMs of one Envoy, the lease, the feed's pace. With the feature
//! `native-for-tests` the shell too runs natively, over a host that a test writes (`native`).
//!
//! It uses no SDK: the one there is panics on bytes that are not UTF-8 and on contexts that it does not
//! know, and a panic is an outage of the worker.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod attempts;
pub mod configuration;
pub mod decision_id;
pub mod exchange;
pub mod lease;
pub mod log;
#[cfg(all(not(target_arch = "wasm32"), feature = "native-for-tests"))]
pub mod native;
pub mod node;
pub mod pace;
pub mod pairs;
pub mod positions;
pub mod records;
pub mod shared;
pub mod tally;

#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod answer;
#[cfg(target_arch = "wasm32")]
mod callbacks;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod headers;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod held;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod host;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod listed;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod metrics;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod open;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod poll;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod progress;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod questions;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod report;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod request;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod root;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod shell;
#[cfg(any(target_arch = "wasm32", feature = "native-for-tests"))]
mod uploads;
