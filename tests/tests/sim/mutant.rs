//! What is broken on purpose, to see that the oracle sees it.

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A worker does not look for news before it decides, but on its ticks alone.
    Unchecked,
    /// Staleness bounds are the longest that there can be, whatever the policy was thought to say.
    Lax,
    /// The deltas of the control plane have lost their revocations; they are signed all the same.
    Forgetful,
    /// The VMs of an Envoy ask the feed for nothing any more once they have heard it.
    Deaf,
    /// Those in no cohort are told what is for a cohort, signed for them.
    Mixed,
    /// The deltas of cohorts have lost their revocations, and those of all others have not.
    Spared,
    /// What holds a promotion holds it no more.
    Rash,
    /// Nor do denials.
    Blind,
    /// The root after a theft does not reset.
    Stuck,
}
