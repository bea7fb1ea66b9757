//! Claims together with the payload that they are read from, so that a verified gatepass can be kept.

#![expect(clippy::mem_forget, reason = "the macro's, where a drop would free twice")]

use super::Claims;
use crate::denial::Denial;

self_cell::self_cell!(
    struct Cell {
        owner: Vec<u8>,
        #[covariant]
        dependent: Claims,
    }
);

pub(super) struct OwnedClaims(Cell);

impl OwnedClaims {
    /// # Errors
    /// As [`Claims::parse`].
    pub(super) fn parse(payload: Vec<u8>) -> Result<Self, Denial> {
        Cell::try_new(payload, |payload| Claims::parse(payload)).map(Self)
    }

    pub(super) fn get(&self) -> &Claims<'_> {
        self.0.borrow_dependent()
    }

    pub(super) fn payload_bytes(&self) -> usize {
        self.0.borrow_owner().capacity()
    }
}
