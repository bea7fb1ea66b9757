//! Requests that were let on and have not ended. A permit ends: a stream that outlives its route's
//! longest duration is cut, or a gatepass of minutes would be good for a stream of days.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use gatepass_engine::clock::Milliseconds;

/// The open requests of one gate in this VM, and when each ends at the latest.
#[derive(Default)]
pub(crate) struct Open(HashMap<u32, Milliseconds, BuildHasherDefault<Spread>>);

/// Envoy counts contexts up, so nobody chooses them; a multiplication spreads them (Knuth, The Art of
/// Computer Programming 6.4).
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32((*byte).into()));
    }

    fn write_u32(&mut self, value: u32) {
        let mixed = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Open {
    /// False when there is no place left: the request must not go on unwatched.
    pub(crate) fn insert(&mut self, context: u32, end: Milliseconds) -> bool {
        if self.0.len() >= MAX_OPEN {
            return false;
        }
        self.0.insert(context, end);
        true
    }

    pub(crate) fn remove(&mut self, context: u32) {
        self.0.remove(&context);
    }

    /// Takes out those whose time is over.
    pub(crate) fn take_over(&mut self, now: Milliseconds) -> Vec<u32> {
        let over: Vec<u32> =
            self.0.iter().filter(|(_, end)| **end <= now).map(|(id, _)| *id).collect();
        over.iter().for_each(|id| self.remove(*id));
        over
    }
}

/// Requests that one worker has open at once.
const MAX_OPEN: usize = 65_536;
