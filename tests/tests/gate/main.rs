//! The shipped filter in a real Envoy.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod cold;
mod demo;
mod grpc;
mod permit;
mod streams;
mod warm;
