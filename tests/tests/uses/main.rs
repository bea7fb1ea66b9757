//! Single use and confirmed records: real Envoys over mTLS to a real control plane.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]
#![expect(clippy::indexing_slicing, reason = "as above")]

mod budgets;
#[path = "../load/certificates.rs"]
mod certificates;
mod crash;
mod once;
mod records;
mod site;
