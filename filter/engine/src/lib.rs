//! The pure decision engine of Gatepass: the one place where a credential is verified and a
//! request is decided.
//!
//! It has no host, no I/O and no clock: bytes, state and the time are arguments. The same code
//! runs natively (control plane, tests, `explain`) and in Wasm (the filter), so what is explained
//! is what is enforced.
//!
//! It refuses to guess: every unknown, every error and every missing piece of state is a
//! [`Denial`] (of a request) or a [`Refusal`] (of a batch) with its own code.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod batch;
pub mod body;
pub mod budget;
pub mod bundle;
pub mod clock;
pub mod decision;
pub mod denial;
pub mod digest;
pub mod document;
pub mod ed25519;
pub mod entry;
pub mod envelope;
mod fold;
pub(crate) mod form;
pub mod freshness;
pub mod gate;
pub mod gatepass;
pub mod grace;
pub mod ids;
pub mod inputs;
pub mod json;
pub mod keyring;
pub mod listing;
pub mod policy;
pub mod position;
pub mod record;
pub mod redeem;
pub mod refusal;
pub mod replay;
pub mod revocation;
pub mod root;
pub mod routes;
pub mod rpc;
pub mod target;
#[cfg(test)]
mod testkit;
pub mod token_cache;
pub mod trace;

pub use clock::{Milliseconds, Now, UnixSeconds};
pub use decision::{
    Decision, Permit, Reason, Request, decide, decide_confirmed, decide_with, explain,
};
pub use denial::{Code, Denial};
pub use gate::{Gate, Mode, Settings};
pub use position::Position;
pub use refusal::Refusal;

/// The level of this engine, compared with a batch's `min_filter`. It rises when a format gains
/// something that an older filter would misread.
pub const FILTER_LEVEL: u32 = 4;
