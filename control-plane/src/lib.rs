//! The control plane of Gatepass, as far as it goes: it makes keys and root documents, signs
//! gatepasses and batches, keeps them in a directory and serves them as a feed.
//!
//! Formats are final and are the engine's own types; the directory is not, a database replaces
//! it. Time is an argument everywhere but in [`feed`] and the command line, which are handed a
//! clock or read one.
//!
//! It refuses to decide anything itself: whether a bundle, a batch or a gatepass is acceptable is
//! asked of the engine, so that what is signed here is what a gate accepts.
#![forbid(unsafe_code)]

#[cfg(test)]
mod fixture;

pub mod api;
pub mod audit;
pub mod budget;
pub mod client;
pub mod config;
pub mod db;
pub mod decisions;
pub mod desk;
pub mod explain;
pub mod feed;
pub mod filter_file;
pub mod fleet;
pub mod grace_file;
pub mod issue;
pub mod issuers;
pub mod jwks;
pub mod keychain;
pub mod keys;
pub mod listen;
pub mod metrics;
pub mod publish;
pub mod rehearsal;
pub mod replay;
pub mod root_file;
pub mod roots;
pub mod server;
pub mod setup;
pub mod store;
