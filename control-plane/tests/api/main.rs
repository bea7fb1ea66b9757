//! The control plane over HTTP as its users meet it: a real server on real sockets, a gate that
//! follows its feed, and a clock that the test moves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![expect(clippy::indexing_slicing, reason = "as above; a JSON member that is absent is null")]
#![expect(clippy::panic, reason = "as above")]

mod kit;

mod budgets;
mod bulk;
mod canary;
mod clients;
mod cohorts;
mod decisions;
mod delegation;
mod delta;
mod exchange;
mod explain;
mod folders;
mod input;
mod keys;
mod lifecycle;
mod offboarding;
mod openapi;
mod record;
mod restore;
mod roles;
mod roots;
mod second;
mod target;
mod tokens;
mod trials;
mod uses;
