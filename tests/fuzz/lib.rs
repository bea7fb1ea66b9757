//! The targets of `gatepass_tests::fuzz`, without the rest of that crate: libFuzzer would
//! instrument a Wasm compiler otherwise.

#[path = "../src/fuzz/mod.rs"]
pub mod fuzz;
