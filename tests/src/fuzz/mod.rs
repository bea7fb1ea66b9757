//! What is fuzzed: one function per target, which takes any bytes and fails when a property does
//! not hold. `tests/fuzz` hands them to libFuzzer, `tests/tests/fuzz_smoke.rs` replays the corpus
//! and plain mutations of it on stable.
//!
//! `tests/fuzz` includes this folder by path instead of depending on this crate: libFuzzer would
//! otherwise instrument Cranelift. So nothing here may reach for `crate::kit` or `crate::host`.
//!
//! A property is held against something that shares no code with what is tested: another reader,
//! another implementation of the signature, or the text of the input itself.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value gives null for what it lacks; elsewhere a panic is what a target is for"
)]

pub mod bodies;
pub mod bytes;
pub mod claims;
pub mod documents;
pub mod feed;
pub mod gate;
pub mod requests;
pub mod rules;
pub mod scene;
pub mod seeds;
pub mod shared;
pub mod values;

/// A target: its name, which is also its folder in the corpus, and what is called with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("attempts", shared::attempts),
    ("batch", feed::batch),
    ("body", bodies::body),
    ("bundle", feed::bundle),
    ("cedar", rules::cedar),
    ("claims", claims::claims),
    ("configuration", documents::configuration),
    ("decide", requests::decide),
    ("document", bodies::document),
    ("envelope", feed::envelope),
    ("exchange", shared::exchange),
    ("feed", feed::feed),
    ("gate", gate::gate),
    ("host", values::host),
    ("ids", values::ids),
    ("inputs", values::inputs),
    ("json", documents::json),
    ("log", shared::log),
    ("numbers", values::numbers),
    ("pairs", shared::pairs),
    ("places", shared::places),
    ("policy", documents::policy),
    ("root", documents::root),
    ("rules", rules::rules),
    ("target", values::target),
    ("token", requests::token),
];
