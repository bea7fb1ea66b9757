//! What operators and agents may do, and what follows from it: the rules of the control plane.
//!
//! Each change is a value ([`change::Change`]), judged and carried out in one transaction with its
//! audit record and its step of the feed. Nothing here speaks HTTP.

pub mod agents;
pub mod apply;
pub mod assertion;
pub mod budgets;
pub mod canary;
pub mod ceiling;
pub mod change;
pub mod cohorts;
pub mod compiled;
pub mod known_keys;
pub mod lifecycle;
pub mod operators;
pub mod policies;
pub mod proposals;
pub mod rates;
pub mod redeem;
pub mod refused;
pub mod tasks;
pub mod token;

pub use refused::Refused;
