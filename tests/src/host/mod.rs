//! A small proxy-wasm host on wasmtime that runs the shipped filter as Envoy would.
//!
//! It exists so that a test can hold what a real Envoy cannot: the clock, the random numbers,
//! the order in which workers run, and the shared data of a process. One [`Envoy`] is one process;
//! it makes [`Vm`]s (workers, and the one on the main thread) that share its data, queues,
//! metrics and clock. A test drives a VM callback by callback:
//!
//! ```no_run
//! # fn main() -> Result<(), gatepass_tests::host::HostError> {
//! use gatepass_tests::host::{Envoy, Module, Outcome};
//!
//! let envoy = Envoy::new(&Module::load("filter.wasm")?);
//! let mut vm = envoy.started("gatepass", b"{}")?;
//! let stream = vm.request(&[(b":path", b"/orders"), (b":method", b"GET")], true)?;
//! assert!(matches!(vm.outcome(stream)?, Outcome::Replied(reply) if reply.status == 503));
//! # Ok(())
//! # }
//! ```
//!
//! The ABI is proxy-wasm 0.2.1; statuses and orders follow Envoy 1.40 with its C++ host. It
//! refuses to guess: an import that is not here is an error that names it, and a callback in a
//! state where Envoy would not call is an error too. Not modelled: gRPC calls and foreign
//! functions (they answer `Unimplemented`), trailers, response bodies, TCP streams, and that
//! Envoy turns a local reply to a gRPC request into a `grpc-status`.

mod abi;
mod call;
mod clock;
mod error;
mod guest;
mod headers;
mod imports;
mod metrics;
mod module;
mod process;
mod queue;
mod shared_data;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod traffic;
mod vm;

pub use abi::{LogLevel, Status};
pub use call::HttpCall;
pub use clock::Clock;
pub use error::HostError;
pub use headers::Headers;
pub use metrics::Metrics;
pub use module::Module;
pub use process::Envoy;
pub use queue::SharedQueues;
pub use shared_data::{Entry, SharedData};
pub use state::LogLine;
pub use stream::{LocalReply, Outcome, Request, Stream};
pub use vm::{Role, Vm};
