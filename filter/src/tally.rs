//! How many verified gatepasses this Envoy has let on and refused under its policy. The leader reports
//! it, and the control plane goes by it when a policy that one cohort tries is to be given to all.
//!
//! **One sum in shared data, and not a place for each VM.** A VM's place (`positions`) ends seconds after
//! the VM, and what it had counted would go with it: an Envoy whose worker is reloaded would seem to have
//! decided less than before. Each VM adds what it has counted since, once a second and under the key's
//! number, so that it costs one value of some thirty bytes whatever the number of VMs. The sum grows
//! until a newer policy starts it at zero, or the process ends, and then it is another Envoy's.
//!
//! It counts under one policy alone, the newest that any VM decides by. What a VM decides by an older
//! one is not counted: it would be laid at the door of the newer. Which policy it is says the digest of
//! its bundle: one VM has it of a delta and another of a base that came later, at a later position, and
//! both add to one sum. A bundle that is put in force again is the same policy.
//!
//! Shared data is written by whoever is in the same Envoy. A sum under a policy from beyond this gate's
//! own position, or above what can have been decided, is none: it is replaced, and not reported.
//!
//! Requests without a verified gatepass are in no number, so nobody can move one without holding one.
//! Nothing is decided by it here.

use core::fmt;

use gatepass_engine::position::Position;
use serde::{Deserialize, Serialize};

use crate::shared::{SharedData, When};

/// What was decided under one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// The newest position that a VM has it from.
    pub policy: Position,
    /// Which it is.
    bundle: u64,
    pub allowed: u64,
    pub denied: u64,
}

/// What this VM has counted and not added yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally(Option<Sum>);

impl Tally {
    /// Counts one decision on a verified gatepass under `policy`.
    pub fn count(&mut self, policy: Option<(Position, u64)>, is_allowed: bool) {
        let Some((policy, bundle)) = policy else { return };
        if self.0.is_none_or(|own| own.bundle != bundle) {
            self.0 = Some(Sum { policy, bundle, allowed: 0, denied: 0 });
        }
        if let Some(own) = &mut self.0 {
            own.policy = policy;
            let counted = if is_allowed { &mut own.allowed } else { &mut own.denied };
            *counted = counted.saturating_add(1);
        }
    }

    /// Adds it to the sum of all VMs; it stays for the next time where others always write first. `here`
    /// is the gate's position.
    pub fn add(&mut self, data: &mut impl SharedData, key: &str, here: Option<Position>) {
        let Some(own) = self.0 else { return };
        for _ in 0..MAX_TRIES {
            let (known, when) = match data.read(key) {
                None => (None, When::Missing),
                // What is no sum was written by another plugin, and is replaced.
                Some((bytes, number)) => (decoded(&bytes, here), When::Still(number)),
            };
            let sum = match known {
                Some(known) if known.bundle == own.bundle => Sum {
                    policy: known.policy.max(own.policy),
                    bundle: own.bundle,
                    allowed: known.allowed.saturating_add(own.allowed),
                    denied: known.denied.saturating_add(own.denied),
                },
                Some(known) if known.policy > own.policy => {
                    self.0 = None;
                    return;
                }
                Some(_) | None => own,
            };
            let Ok(bytes) = postcard::to_allocvec(&sum) else { return };
            if data.write(key, &bytes, when).is_ok() {
                self.0 = None;
                return;
            }
        }
    }
}

/// The sum of all VMs, as far as a gate at `here` can believe it.
pub fn sum(data: &mut impl SharedData, key: &str, here: Option<Position>) -> Option<Sum> {
    data.read(key).and_then(|(bytes, _)| decoded(&bytes, here))
}

fn decoded(bytes: &[u8], here: Option<Position>) -> Option<Sum> {
    let (sum, rest) = postcard::take_from_bytes::<Sum>(bytes).ok()?;
    let can_be = sum.allowed <= MAX_COUNTED && sum.denied <= MAX_COUNTED;
    (rest.is_empty() && can_be && Some(sum.policy) <= here).then_some(sum)
}

impl fmt::Display for Sum {
    /// As it is reported.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.policy, self.allowed, self.denied)
    }
}

/// More than a process can decide; the control plane counts no more.
const MAX_COUNTED: u64 = 1 << 48;
/// Of 128 VMs that add in the same moment some wait for their next second.
const MAX_TRIES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Moved;
    use crate::shared::fake::Fake;

    const fn at(sequence: u64) -> Option<Position> {
        Some(Position { epoch: 1, sequence })
    }

    /// Where the gates of these tests are.
    const HERE: Option<Position> = at(9);

    /// A policy with a bundle of its own.
    fn policy(sequence: u64) -> Option<(Position, u64)> {
        at(sequence).map(|at| (at, sequence))
    }

    fn counted(of: u64, allowed: u64, denied: u64) -> Tally {
        counted_of(policy(of), allowed, denied)
    }

    fn counted_of(policy: Option<(Position, u64)>, allowed: u64, denied: u64) -> Tally {
        let mut tally = Tally::default();
        (0..allowed).for_each(|_| tally.count(policy, true));
        (0..denied).for_each(|_| tally.count(policy, false));
        tally
    }

    fn said(data: &mut Fake) -> String {
        sum(data, "decided", HERE).map(|sum| sum.to_string()).unwrap_or_default()
    }

    fn put(data: &mut Fake, sum: Sum) {
        data.write("decided", &postcard::to_allocvec(&sum).unwrap(), When::Always).unwrap();
    }

    #[test]
    fn all_vms_add_to_one_sum_each_thing_once() {
        let mut data = Fake::default();
        assert_eq!(said(&mut data), "");
        let (mut a, mut b) = (counted(5, 3, 1), counted(5, 2, 0));
        for _ in 0..2 {
            a.add(&mut data, "decided", HERE);
            b.add(&mut data, "decided", HERE);
            assert_eq!(said(&mut data), "1.5 5 1");
        }
        // A VM that is loaded anew starts at nothing, and takes nothing away.
        Tally::default().add(&mut data, "decided", HERE);
        assert_eq!(said(&mut data), "1.5 5 1");
    }

    #[test]
    fn a_newer_policy_starts_at_zero_and_an_older_counts_no_more() {
        let mut data = Fake::default();
        counted(5, 3, 1).add(&mut data, "decided", HERE);
        let mut asleep = counted(5, 7, 7);
        counted(6, 1, 0).add(&mut data, "decided", HERE);
        assert_eq!(said(&mut data), "1.6 1 0");
        asleep.add(&mut data, "decided", HERE);
        assert_eq!((said(&mut data).as_str(), asleep), ("1.6 1 0", Tally::default()));
        let mut changing = counted(6, 9, 9);
        changing.count(policy(7), false);
        changing.add(&mut data, "decided", HERE);
        assert_eq!(said(&mut data), "1.7 0 1");
        // Without a policy nothing is counted.
        let mut none = Tally::default();
        none.count(None, true);
        assert_eq!(none, Tally::default());
    }

    #[test]
    fn what_is_no_sum_is_replaced_and_the_largest_stays() {
        let mut data = Fake::default();
        for forged in [vec![], vec![0xff; 40], vec![1, 5, 0, 0], vec![1, 5, 0, 0, 0, 0]] {
            data.write("decided", &forged, When::Always).unwrap();
            assert_eq!(said(&mut data), "");
            counted(5, 1, 0).add(&mut data, "decided", HERE);
            assert_eq!(said(&mut data), "1.5 1 0");
        }
        // More than can have been decided is no sum either; its twin is.
        let of = |allowed| Sum { policy: at(5).unwrap(), bundle: 5, allowed, denied: 0 };
        for forged in [MAX_COUNTED + 1, u64::MAX] {
            put(&mut data, of(forged));
            assert_eq!(said(&mut data), "");
            counted(5, 1, 1).add(&mut data, "decided", HERE);
            assert_eq!(said(&mut data), "1.5 1 1");
        }
        put(&mut data, of(MAX_COUNTED - 1));
        counted(5, 1, 1).add(&mut data, "decided", HERE);
        assert_eq!(said(&mut data), format!("1.5 {MAX_COUNTED} 1"));
    }

    #[test]
    fn a_sum_from_the_future_does_not_stay() {
        let mut data = Fake::default();
        let of = |epoch, sequence| Sum {
            policy: Position { epoch, sequence },
            bundle: 77,
            allowed: 0,
            denied: 1_000,
        };
        for (epoch, sequence) in [(1, 10), (1, u64::MAX), (2, 0), (u64::MAX, u64::MAX)] {
            put(&mut data, of(epoch, sequence));
            assert_eq!(said(&mut data), "", "{epoch}.{sequence} is not reported");
            counted(5, 1, 0).add(&mut data, "decided", HERE);
            assert_eq!(said(&mut data), "1.5 1 0");
        }
        // The twin: at the gate's own position it is the newer one.
        put(&mut data, of(1, 9));
        counted(5, 1, 0).add(&mut data, "decided", HERE);
        assert_eq!(said(&mut data), "1.9 0 1000");
        assert_eq!(
            sum(&mut data, "decided", None),
            None,
            "a gate without a position believes none"
        );
    }

    #[test]
    fn a_vm_that_has_the_same_bundle_of_a_later_base_adds_to_the_same_sum() {
        let mut data = Fake::default();
        let (delta, base) = (at(5).map(|at| (at, 7)), at(8).map(|at| (at, 7)));
        for (policy, expected) in
            [(delta, "1.5 3 1"), (base, "1.8 6 2"), (delta, "1.8 9 3"), (base, "1.8 12 4")]
        {
            counted_of(policy, 3, 1).add(&mut data, "decided", HERE);
            assert_eq!(said(&mut data), expected);
        }
        // Also what one VM counts before and after it took the base.
        let mut both = counted_of(delta, 1, 0);
        both.count(base, true);
        both.add(&mut data, "decided", HERE);
        assert_eq!(said(&mut data), "1.8 14 4");
        // The twin: another bundle at that position begins anew.
        counted_of(at(9).map(|at| (at, 8)), 1, 0).add(&mut data, "decided", HERE);
        assert_eq!(said(&mut data), "1.9 1 0");
    }

    /// Another VM writes before each write, so often.
    struct Raced(Fake, usize);

    impl SharedData for Raced {
        fn read(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
            self.0.read(key)
        }

        fn number(&mut self, key: &str) -> Option<u32> {
            self.0.number(key)
        }

        fn write(&mut self, key: &str, value: &[u8], when: When) -> Result<(), Moved> {
            if self.1 > 0 {
                self.1 -= 1;
                counted(5, 1, 0).add(&mut self.0, key, HERE);
            }
            self.0.write(key, value, when)
        }
    }

    #[test]
    fn what_could_not_be_added_is_added_the_next_time() {
        for others in [1, MAX_TRIES, MAX_TRIES + 1] {
            let mut data = Raced(Fake::default(), others);
            let mut own = counted(5, 1, 1);
            own.add(&mut data, "decided", HERE);
            own.add(&mut data, "decided", HERE);
            let expected = format!("1.5 {} 1", others + 1);
            assert_eq!(said(&mut data.0), expected);
            assert_eq!(own, Tally::default());
        }
    }
}
