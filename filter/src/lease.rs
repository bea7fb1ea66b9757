//! The lease of the leader: the one VM of an Envoy that polls the feed. Losing it costs a poll
//! twice, never a decision: what a former leader still publishes is fenced by the log itself.

use gatepass_engine::clock::Milliseconds;
use serde::{Deserialize, Serialize};

use crate::shared::{SharedData, When};

/// This VM's name among the VMs of its Envoy: random, drawn at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VmId(pub u64);

#[derive(Serialize, Deserialize)]
struct Lead {
    vm: VmId,
    expires: Milliseconds,
}

/// Renews the lease, or takes one that is free, expired or unreadable. True while this VM leads.
pub fn hold(data: &mut impl SharedData, key: &str, vm: VmId, now: Milliseconds) -> bool {
    let when = match data.read(key) {
        None => When::Missing,
        Some((bytes, number)) => match postcard::from_bytes::<Lead>(&bytes) {
            // Nobody holds it for longer than a lease, so a later expiry is a forgery.
            Ok(lead) if lead.vm != vm && lead.expires > now && lead.expires <= now.plus(LEASE) => {
                return false;
            }
            _ => When::Still(number),
        },
    };
    write(data, key, Lead { vm, expires: now.plus(LEASE) }, when)
}

/// Gives the lease back, so that the next leader need not wait for its end.
pub fn release(data: &mut impl SharedData, key: &str, vm: VmId) {
    if let Some((bytes, number)) = data.read(key)
        && postcard::from_bytes::<Lead>(&bytes).is_ok_and(|lead| lead.vm == vm)
    {
        write(data, key, Lead { vm, expires: Milliseconds(0) }, When::Still(number));
    }
}

fn write(data: &mut impl SharedData, key: &str, lead: Lead, when: When) -> bool {
    postcard::to_allocvec(&lead).is_ok_and(|bytes| data.write(key, &bytes, when).is_ok())
}

/// Milliseconds; five ticks.
const LEASE: u64 = 250;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::fake::Fake;

    const A: VmId = VmId(1);
    const B: VmId = VmId(2);

    fn at(ms: u64) -> Milliseconds {
        Milliseconds(ms)
    }

    #[test]
    fn one_leads_until_its_lease_ends() {
        let mut data = Fake::default();
        assert!(hold(&mut data, "lead", A, at(0)));
        assert!(!hold(&mut data, "lead", B, at(100)));
        assert!(hold(&mut data, "lead", A, at(200)));
        assert!(!hold(&mut data, "lead", B, at(449)));
        assert!(hold(&mut data, "lead", B, at(450)));
        assert!(!hold(&mut data, "lead", A, at(460)));
    }

    #[test]
    fn a_released_lease_is_free_at_once() {
        let mut data = Fake::default();
        assert!(hold(&mut data, "lead", A, at(0)));
        release(&mut data, "lead", B);
        assert!(!hold(&mut data, "lead", B, at(1)));
        release(&mut data, "lead", A);
        assert!(hold(&mut data, "lead", B, at(2)));
    }

    #[test]
    fn a_forged_lease_does_not_hold_for_ever() {
        let mut data = Fake::default();
        for forged in [
            postcard::to_allocvec(&Lead { vm: B, expires: at(u64::MAX) }).unwrap(),
            vec![0xff; 12],
            vec![],
        ] {
            data.write("lead", &forged, When::Always).unwrap();
            assert!(hold(&mut data, "lead", A, at(0)));
        }
    }
}
