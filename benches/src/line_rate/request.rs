//! The one request of the benchmark; only its credential changes.

/// The host that the policy guards.
pub(crate) const AUTHORITY: &str = "orders.example";
/// A route with a parameter, of low risk.
pub(crate) const PATH: &str = "/orders/4711";
pub(crate) const AUDIENCE: &str = "https://orders.example";
pub(crate) const ACTION: &str = "orders:read";
pub(crate) const SCOPE: &str = "orders.read";
