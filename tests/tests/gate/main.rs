//! The shipped filter in a real Envoy.

mod cold;
mod demo;
mod permit;
mod warm;
