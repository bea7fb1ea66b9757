//! How many decisions would come out otherwise, and why.

use core::fmt;
use std::collections::BTreeMap;

use super::Again;
use crate::decisions::DecisionView;

/// Counts what became of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub same: u64,
    /// By code and rules.
    pub denied: BTreeMap<String, u64>,
    /// By the code that they were denied with.
    pub allowed: BTreeMap<String, u64>,
    pub undecided: u64,
    /// By what they lack, each by all of it.
    pub lacking: BTreeMap<String, u64>,
}

impl Tally {
    pub fn add(&mut self, record: &DecisionView, again: &Again) {
        let count = match again {
            Again::Same => &mut self.same,
            Again::Denied { .. } => self.denied.entry(again.to_string()).or_default(),
            Again::Allowed => self.allowed.entry(record.code.clone()).or_default(),
            Again::Undecided(what) => {
                for one in what {
                    let count = self.lacking.entry(one.clone()).or_default();
                    *count = count.saturating_add(1);
                }
                &mut self.undecided
            }
        };
        *count = count.saturating_add(1);
    }
}

/// What it would be now: `` policy_denied by `spend` ``.
impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the same"),
            Self::Allowed => f.write_str("allowed"),
            Self::Denied { code, rules } if rules.is_empty() => write!(f, "{code}"),
            Self::Denied { code, rules } => write!(f, "{code} by `{}`", rules.join("`, `")),
            Self::Undecided(_) => f.write_str("undecided"),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: &BTreeMap<String, u64>| of.values().copied().fold(0, u64::saturating_add);
        let (denied, allowed) = (sum(&self.denied), sum(&self.allowed));
        let all = [self.same, denied, allowed, self.undecided];
        let all = all.into_iter().fold(0, u64::saturating_add);
        let plural = if all == 1 { "" } else { "s" };
        writeln!(f, "{all} decision{plural}")?;
        writeln!(f, "{:>8}  the same", self.same)?;
        for (count, what, by, each) in [
            (denied, "would be denied", "", &self.denied),
            (allowed, "would be allowed", "no longer ", &self.allowed),
            (self.undecided, "undecided", "for want of ", &self.lacking),
        ] {
            writeln!(f, "{count:>8}  {what}")?;
            for (name, count) in each {
                writeln!(f, "          {count:>8}  {by}{name}")?;
            }
        }
        Ok(())
    }
}
