//! Where each VM of this Envoy is: `vm0` to `vm127`, for the fleet report and the gauges. A VM
//! claims a place and renews it; a place that was not renewed does not count.

use gatepass_engine::clock::Milliseconds;
use gatepass_engine::position::Position;
use serde::{Deserialize, Serialize};

use crate::lease::VmId;
use crate::shared::{SharedData, When};

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Place {
    vm: VmId,
    expires: Milliseconds,
    at: Enforced,
}

/// What one VM enforces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    pub position: Option<Position>,
    /// Where its bundle comes from, which lags behind when one was refused.
    pub policy: Option<Position>,
}

/// What the leader reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slowest {
    pub vms: u32,
    /// The oldest of each; `None` while any VM has none, or there is no VM.
    pub at: Enforced,
    /// Every place is taken: there may be more VMs than are counted.
    pub full: bool,
}

/// This VM's place.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnPlace(Option<u32>);

impl OwnPlace {
    /// The number of the place; the last one while none could be claimed.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
    }

    /// Renews the place, or claims a free one.
    pub fn renew(
        &mut self,
        data: &mut impl SharedData,
        key: impl Fn(&str) -> String,
        vm: VmId,
        at: Enforced,
        now: Milliseconds,
    ) {
        let place = Place { vm, expires: now.plus(LIFE), at };
        let Ok(bytes) = postcard::to_allocvec(&place) else {
            return;
        };
        let numbers = self.0.into_iter().chain(0..PLACES);
        for number in numbers {
            let name = key(&format!("vm{number}"));
            let when = match data.read(&name) {
                None => When::Missing,
                Some((old, cas)) => match postcard::from_bytes::<Place>(&old) {
                    Ok(old)
                        if old.vm != vm && old.expires > now && old.expires <= now.plus(LIFE) =>
                    {
                        continue;
                    }
                    _ => When::Still(cas),
                },
            };
            if data.write(&name, &bytes, when).is_ok() {
                self.0 = Some(number);
                return;
            }
        }
        self.0 = None;
    }
}

/// The slowest of all VMs that renewed their place.
pub fn slowest(
    data: &mut impl SharedData,
    key: impl Fn(&str) -> String,
    now: Milliseconds,
) -> Slowest {
    let mut out = Slowest { full: true, ..Slowest::default() };
    for number in 0..PLACES {
        let place = data
            .read(&key(&format!("vm{number}")))
            .map(|(bytes, _)| postcard::from_bytes::<Place>(&bytes));
        match place {
            Some(Ok(place)) if place.expires > now && place.expires <= now.plus(LIFE) => {
                // `None` is below every position.
                out.at = match out.vms {
                    0 => place.at,
                    _ => Enforced {
                        position: out.at.position.min(place.at.position),
                        policy: out.at.policy.min(place.at.policy),
                    },
                };
                out.vms = out.vms.saturating_add(1);
            }
            _ => out.full = false,
        }
    }
    out
}

/// VMs of one gate that are counted.
const PLACES: u32 = 128;
/// Milliseconds that a place lives unrenewed.
const LIFE: u64 = 3_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::fake::Fake;

    fn key(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn the_slowest_counts_and_the_dead_do_not() {
        let mut data = Fake::default();
        let enforced = |sequence, policy| Enforced {
            position: Some(Position { epoch: 1, sequence }),
            policy: Some(Position { epoch: 1, sequence: policy }),
        };
        let (mut a, mut b) = (OwnPlace::default(), OwnPlace::default());
        a.renew(&mut data, key, VmId(1), enforced(5, 1), Milliseconds(0));
        b.renew(&mut data, key, VmId(2), enforced(3, 2), Milliseconds(0));
        let found = slowest(&mut data, key, Milliseconds(10));
        assert_eq!(found, Slowest { vms: 2, at: enforced(3, 1), full: false });
        a.renew(&mut data, key, VmId(1), enforced(6, 6), Milliseconds(2_900));
        let found = slowest(&mut data, key, Milliseconds(3_100));
        assert_eq!(found, Slowest { vms: 1, at: enforced(6, 6), full: false });
        let mut c = OwnPlace::default();
        c.renew(&mut data, key, VmId(3), Enforced::default(), Milliseconds(3_100));
        assert_eq!(slowest(&mut data, key, Milliseconds(3_100)).at, Enforced::default());
    }

    #[test]
    fn when_all_are_taken_the_report_says_so() {
        let mut data = Fake::default();
        for vm in 0..130 {
            let nothing = Enforced::default();
            OwnPlace::default().renew(&mut data, key, VmId(vm), nothing, Milliseconds(0));
        }
        let found = slowest(&mut data, key, Milliseconds(0));
        assert!(found.full);
        assert_eq!(found.vms, PLACES);
    }
}
