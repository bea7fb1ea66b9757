//! The policy of the demo and of most tests: an orders API.

/// One of everything that can be decided without a body.
pub const POLICY: &str = include_str!("orders.yaml");

/// The guarded host.
pub const HOST: &str = "orders.example";
/// Its audience.
pub const AUDIENCE: &str = "https://orders.example";
