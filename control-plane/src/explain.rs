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

#[cfg(test)]
mod tests {
    use gatepass_engine::refusal::RefusalCode;

    use super::*;
    use crate::fixture::{NOW, feed_key, publisher, root};
    use crate::roots::PinnedRoots;

    fn told(audience: &str, roots: &[String], now: UnixSeconds) -> Result<Gate, RefusalCode> {
        let parts = publisher().snapshot(&feed_key(), NOW).unwrap();
        let pinned = PinnedRoots::of_first(&root()).unwrap().pinned("prod").unwrap();
        gate("prod", audience, pinned, roots, &parts, now).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_gate_takes_what_is_signed_for_it_and_nothing_else() {
        let roots = [root()];
        let gate = told("prod", &roots, NOW).unwrap();
        assert_eq!(gate.position(), Some(publisher().position()));
        let refused = |audience, roots: &[String], now| told(audience, roots, now).err();
        assert_eq!(refused("canary", &roots, NOW), Some(RefusalCode::WrongAudience));
        assert_eq!(refused("prod", &[], NOW), Some(RefusalCode::Gap));
        assert_eq!(refused("prod", &roots, NOW.plus(1_000_000)), Some(RefusalCode::Expired));
        assert_eq!(refused("prod", &roots, UnixSeconds(NOW.0 - 31)), Some(RefusalCode::ClockSkew));
    }
}
