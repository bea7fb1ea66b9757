//! What deciding by rules takes, measured by the same code natively and as a filter in Envoy's V8: who compiles the
//! rules and knows what Cedar decides hands both of them a [`Case`], and both answer a [`Round`].
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should stop where it is; in Envoy that ends the VM, and the answer is missed"
)]

pub mod asked;
mod counted;
#[cfg(target_arch = "wasm32")]
mod filter;
pub mod round;

pub use asked::Asks;
pub use round::{Case, Round};

#[global_allocator]
static COUNTED: counted::Counted = counted::Counted;
