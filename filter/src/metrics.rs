//! Counters and gauges. Counters are named by (outcome, code) and by (outcome, action), never by
//! all three: the number of series stays the sum and not the product. Nothing is decided by them.

use std::collections::HashMap;

use crate::host::{self, MetricKind};

/// The metrics of one VM, defined at first use.
#[derive(Default)]
pub(crate) struct Metrics {
    ids: HashMap<String, u32>,
    /// Those of every decision, found without writing their names: by outcome and code, and by outcome
    /// and action.
    by_code: Vec<(&'static str, &'static str, u32)>,
    by_action: Vec<(&'static str, HashMap<Box<str>, u32>)>,
}

impl Metrics {
    /// Counts one decision.
    pub(crate) fn decided(
        &mut self,
        outcome: &'static str,
        code: &'static str,
        action: Option<&str>,
    ) {
        let known = self.by_code.iter().find(|(o, c, _)| *o == outcome && *c == code);
        match known.map(|(_, _, id)| *id) {
            Some(id) => host::increment_metric(id, 1),
            None => {
                let name = format!("gatepass_decisions_by_code.{outcome}.{code}");
                if let Some(id) = self.id(MetricKind::Counter, &name) {
                    self.by_code.push((outcome, code, id));
                    host::increment_metric(id, 1);
                }
            }
        }
        let Some(action) = action else { return };
        let known = self.by_action.iter().find(|(o, _)| *o == outcome);
        match known.and_then(|(_, ids)| ids.get(action)) {
            Some(id) => host::increment_metric(*id, 1),
            None => {
                let name = format!("gatepass_decisions_by_action.{outcome}.{action}");
                if let Some(id) = self.id(MetricKind::Counter, &name) {
                    self.note_action(outcome, action, id);
                    host::increment_metric(id, 1);
                }
            }
        }
    }

    fn note_action(&mut self, outcome: &'static str, action: &str, id: u32) {
        match self.by_action.iter_mut().find(|(o, _)| *o == outcome) {
            Some((_, ids)) => drop(ids.insert(action.into(), id)),
            None => self.by_action.push((outcome, HashMap::from([(action.into(), id)]))),
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
