//! Counters and gauges. Counters are named by (outcome, code) and by (outcome, action), never by
//! all three: the number of series stays the sum and not the product. Nothing is decided by them.

use std::collections::HashMap;

use crate::host::{self, MetricKind};

/// The metrics of one VM, defined at first use.
#[derive(Default)]
pub(crate) struct Metrics {
    ids: HashMap<String, u32>,
}

impl Metrics {
    /// Counts one decision.
    pub(crate) fn decided(&mut self, outcome: &str, code: &str, action: Option<&str>) {
        self.count(&format!("gatepass_decisions_by_code.{outcome}.{code}"), 1);
        if let Some(action) = action {
            self.count(&format!("gatepass_decisions_by_action.{outcome}.{action}"), 1);
        }
    }

    pub(crate) fn count(&mut self, name: &str, by: u32) {
        if let Some(id) = self.id(MetricKind::Counter, name)
            && by > 0
        {
            host::increment_metric(id, i64::from(by));
        }
    }

    pub(crate) fn gauge(&mut self, name: &str, value: u64) {
        if let Some(id) = self.id(MetricKind::Gauge, name) {
            host::record_metric(id, value);
        }
    }

    fn id(&mut self, kind: MetricKind, name: &str) -> Option<u32> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        if self.ids.len() >= MAX_METRICS {
            return None;
        }
        let id = host::define_metric(kind, name).ok()?;
        self.ids.insert(name.to_owned(), id);
        Some(id)
    }
}

/// Codes and actions come from the code and from signed policy, so this is never reached by a
/// caller; it bounds what a policy can cost.
const MAX_METRICS: usize = 40_000;
