//! Faults of processes, disks, networks and clocks, with a real control plane and real Envoys: what was
//! answered is not lost, and nothing that was revoked comes back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod clocks;
mod damaged;
mod full;
mod moments;
mod partitions;
mod watched;
