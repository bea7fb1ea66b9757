//! What a gate would decide on one request, check by check: the engine's own decision, by a gate that was told
//! what any gate of its audience is told.
//!
//! It spends nothing, writes nothing, and keeps no part of a gatepass. What is explained is what is enforced:
//! `gatepass_engine::explain` is `decide` with a listener.

mod asked;
mod explanation;
mod sent;

use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::refusal::Refusal;
use gatepass_engine::root::Pinned;
use gatepass_engine::{Gate, Mode, Settings};

pub use asked::{Asked, Wrong};
pub use explanation::{
    CheckOutcome, CheckView, Confirms, Decided, Explanation, OpenBy, RuleEffect, RuleMessage,
    RuleView,
};
pub use sent::Sent;

/// A gate of this audience that enforces, and has just heard `roots` and `batches`: it verifies them as any gate does.
///
/// # Errors
/// The refusal of a root document or a batch: a gate that starts now would not be ready either.
pub fn gate<B: AsRef<[u8]>>(
    environment: &str,
    audience: &str,
    pinned: Pinned,
    roots: &[String],
    batches: &[B],
    now: UnixSeconds,
) -> Result<Gate, Refusal> {
    let settings = Settings {
        environment: environment.to_owned(),
        feed_audience: audience.to_owned(),
        mode: Mode::Enforce,
    };
    let mut gate = Gate::new(settings, pinned);
    let roots: Vec<&[u8]> = roots.iter().map(String::as_bytes).collect();
    gate.take_roots(&roots, now)?;
    let at = Now { unix: now, monotonic: Milliseconds(0) };
    for batch in batches {
        gate.apply(batch.as_ref(), Milliseconds(0), at)?;
    }
    Ok(gate)
}
