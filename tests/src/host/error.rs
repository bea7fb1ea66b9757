//! What can go wrong between a test, the host and the guest.

/// An error of the host. A guest that crashes is the guest's fault, a refused callback the
/// test's, and the rest are the module's.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("module `{path}` cannot be read: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("the module does not compile: {0}")]
    Invalid(String),
    #[error("the module imports what Envoy does not offer: {}", .0.join(", "))]
    UnknownImports(Vec<String>),
    #[error("the module lacks the export `{0}`")]
    MissingExport(&'static str),
    /// The guest trapped. The VM is dead until [`super::Vm::reload`].
    #[error("the guest crashed in `{callback}`: {last_log}\n{trace}")]
    Crashed {
        callback: &'static str,
        /// The last line that the guest logged as an error: a Rust panic's message.
        last_log: String,
        trace: String,
    },
    /// The guest used up the fuel of one callback: in Envoy the worker would hang for ever.
    #[error("the guest ran away in `{callback}`\n{trace}")]
    RanAway { callback: &'static str, trace: String },
    #[error("the VM has crashed before; reload it first")]
    Dead,
    /// `proxy_on_vm_start` or `proxy_on_configure` returned false.
    #[error("the guest refused its configuration in `{0}`")]
    Refused(&'static str),
    /// The test asks for what Envoy would not do in this state.
    #[error("Envoy would not do this: {0}")]
    Misuse(&'static str),
}
