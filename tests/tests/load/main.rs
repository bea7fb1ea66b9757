//! How the gate is loaded: what `gatepass-envoy manifests` prints runs in a real Envoy and fails
//! closed, and `check` and `doctor` say of real Envoys what is so.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod certificates;
mod doctor;
mod ecds;
mod envoy_gateway;
mod handed_out;
mod istio;
mod operator;
mod readme;
mod secure_feed;
