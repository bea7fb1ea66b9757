//! Gatepass's test kit: what the end-to-end tests share. Nothing here ships.

pub mod fuzz;
pub mod host;
pub mod kit;
