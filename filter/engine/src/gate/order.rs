//! Where a batch stands to what is in force: next, known, a checkpoint, or refused.

use super::{Gate, ROOT_DID_NOT_COME};
use crate::batch::{Header, Shape};
use crate::refusal::RefusalCode;

impl Gate {
    /// Whether a batch with this header is the next to apply.
    #[must_use]
    pub fn is_next(&self, header: &Header) -> bool {
        matches!(self.order(header), Order::Next)
    }

    /// Where a header stands to what is in force.
    pub(super) fn order(&self, header: &Header) -> Order {
        if header.root_version < self.trust.version() {
            return Order::Refused(
                RefusalCode::Rollback,
                "the batch is signed under an older root",
            );
        }
        if header.root_version > self.trust.version() {
            return Order::Refused(RefusalCode::Gap, ROOT_DID_NOT_COME);
        }
        let position = header.position();
        let in_force = self.position();
        let floor = self.newest.map(|newest| newest.position);
        // A part of the snapshot that is being loaded, in its turn.
        if let Some(parts) = self.loading()
            && header.shape() == Shape::Snapshot
            && header.parts > 1
            && parts.header.position() == position
            && parts.header.root_version == header.root_version
            && parts.header.parts == header.parts
            && parts.header.whole_digest == header.whole_digest
        {
            return match usize::from(header.part).cmp(&parts.digests.len()) {
                core::cmp::Ordering::Less => Order::Known,
                core::cmp::Ordering::Equal => Order::Next,
                core::cmp::Ordering::Greater => {
                    Order::Refused(RefusalCode::Gap, "a part of the snapshot is missing")
                }
            };
        }
        if header.shape() == Shape::Checkpoint {
            return match in_force {
                Some(at) if at == position => Order::Checkpoint,
                Some(at) if at > position => Order::Known,
                _ => Order::Refused(
                    RefusalCode::Gap,
                    "a checkpoint of a position that is not in force",
                ),
            };
        }
        if header.part != 0 && in_force.is_some_and(|at| at >= position) {
            return Order::Known;
        }
        if header.part != 0 {
            return Order::Refused(RefusalCode::Gap, "the parts before are missing");
        }
        let newer_root = self.newest.is_none_or(|newest| header.root_version > newest.root_version);
        let reset = self.is_reset_by(header);
        match floor.map_or(core::cmp::Ordering::Greater, |floor| position.cmp(&floor)) {
            core::cmp::Ordering::Less if reset => Order::Next,
            core::cmp::Ordering::Less
                if header.shape() == Shape::Delta || in_force.is_some_and(|at| at > position) =>
            {
                Order::Known
            }
            core::cmp::Ordering::Less => {
                Order::Refused(RefusalCode::Rollback, "older than the baseline")
            }
            core::cmp::Ordering::Equal if newer_root && header.shape() == Shape::Snapshot => {
                Order::Next
            }
            core::cmp::Ordering::Equal
                if in_force.is_none() && header.shape() == Shape::Snapshot =>
            {
                Order::Next
            }
            core::cmp::Ordering::Equal => Order::Known,
            core::cmp::Ordering::Greater if header.shape() == Shape::Snapshot => Order::Next,
            core::cmp::Ordering::Greater => match in_force {
                Some(at) if at.epoch == header.epoch && header.from <= at.sequence => Order::Next,
                _ => Order::Refused(RefusalCode::Gap, "the delta does not join on"),
            },
        }
    }

    /// Whether a batch is the first after a root that resets: only it may go back, and it replaces
    /// all that a stolen feed key may have said.
    pub(super) fn is_reset_by(&self, header: &Header) -> bool {
        header.shape() == Shape::Snapshot
            && header.part == 0
            && self.newest.is_some_and(|newest| newest.root_version < self.trust.last_reset())
    }
}

pub(super) enum Order {
    Next,
    Checkpoint,
    Known,
    Refused(RefusalCode, &'static str),
}
