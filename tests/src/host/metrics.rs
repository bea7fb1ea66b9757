//! The metrics of one Envoy process: all VMs write to the same ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::abi::Status;

/// The metrics, one set for all clones, read by name.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Vec<Metric>>>);

#[derive(Debug)]
struct Metric {
    name: String,
    kind: Kind,
    value: u64,
    recorded: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metrics {
    /// The value of a counter or gauge; `None` if no guest has defined it.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.with(|metrics| {
            let metric = metrics.iter().find(|metric| metric.name == name)?;
            Some(metric.value)
        })
    }

    /// What a histogram has recorded, in order.
    pub fn recorded(&self, name: &str) -> Vec<u64> {
        self.with(|metrics| {
            let metric = metrics.iter().find(|metric| metric.name == name);
            metric.map_or_else(Vec::new, |metric| metric.recorded.clone())
        })
    }

    /// All counters and gauges with their values.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.with(|metrics| {
            let plain = metrics.iter().filter(|m| m.kind != Kind::Histogram);
            plain.map(|m| (m.name.clone(), m.value)).collect()
        })
    }

    pub(super) fn define(&self, kind: u32, name: &[u8]) -> Result<u32, Status> {
        let kind = match kind {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Histogram,
            _ => return Err(Status::BadArgument),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        self.with(|metrics| {
            let place = metrics
                .iter()
                .position(|metric| metric.name == name && metric.kind == kind)
                .unwrap_or_else(|| {
                    metrics.push(Metric { name, kind, value: 0, recorded: Vec::new() });
                    metrics.len() - 1
                });
            u32::try_from(place + 1).map_err(|_| Status::InternalFailure)
        })
    }

    /// A counter refuses zero and less, as in Envoy; a histogram refuses to be incremented.
    pub(super) fn increment(&self, id: u32, offset: i64) -> Result<(), Status> {
        self.on(id, |metric| match metric.kind {
            Kind::Counter if offset <= 0 => Err(Status::BadArgument),
            Kind::Counter | Kind::Gauge => {
                metric.value = metric.value.saturating_add_signed(offset);
                Ok(())
            }
            Kind::Histogram => Err(Status::BadArgument),
        })
    }

    /// Recording adds to a counter, sets a gauge, and records in a histogram.
    pub(super) fn record(&self, id: u32, value: u64) -> Result<(), Status> {
        self.on(id, |metric| {
            match metric.kind {
                Kind::Counter => metric.value = metric.value.saturating_add(value),
                Kind::Gauge => metric.value = value,
                Kind::Histogram => metric.recorded.push(value),
            }
            Ok(())
        })
    }

    pub(super) fn read(&self, id: u32) -> Result<u64, Status> {
        self.on(id, |metric| match metric.kind {
            Kind::Counter | Kind::Gauge => Ok(metric.value),
            Kind::Histogram => Err(Status::BadArgument),
        })
    }

    fn on<T>(
        &self,
        id: u32,
        act: impl FnOnce(&mut Metric) -> Result<T, Status>,
    ) -> Result<T, Status> {
        self.with(|metrics| {
            let place = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
            let metric = place.and_then(|place| metrics.get_mut(place));
            act(metric.ok_or(Status::NotFound)?)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Metric>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
