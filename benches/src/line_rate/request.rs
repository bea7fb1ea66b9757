//! What is asked; of one benchmark only the credential changes from request to request.

/// The host that the policies guard.
pub(crate) const AUTHORITY: &str = "orders.example";
/// A route with a parameter, of low risk.
pub(crate) const PATH: &str = "/orders/4711";
pub(crate) const AUDIENCE: &str = "https://orders.example";
pub(crate) const ACTION: &str = "orders:read";
pub(crate) const SCOPE: &str = "orders.read";

/// A request but for its host and credential.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Beside `content-length`, which a body brings.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: Vec<u8>,
}

/// The one request of the line rate.
pub(crate) static READ: Asked = Asked { method: "GET", path: PATH, headers: &[], body: Vec::new() };
