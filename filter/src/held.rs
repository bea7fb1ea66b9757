//! Requests that wait for the gate's own state: bounded in number and time.

use std::cell::Cell;
use std::rc::Rc;

use gatepass_engine::clock::Milliseconds;

use crate::progress::{Progress, Stage};

/// One held request.
pub(crate) struct HeldRequest {
    pub(crate) deadline: Milliseconds,
    pub(crate) progress: Rc<Progress>,
}

/// The held requests of one gate in this VM.
#[derive(Default)]
pub(crate) struct Held(Vec<HeldRequest>);

impl Held {
    /// Takes a place, unless all of this worker's are taken.
    pub(crate) fn push(&mut self, request: HeldRequest) -> bool {
        let taken = TAKEN.get();
        if taken >= MAX_HELD {
            return false;
        }
        TAKEN.set(taken.saturating_add(1));
        request.progress.set(Stage::Held);
        self.0.push(request);
        true
    }

    /// Gives all of them out to be decided anew; those still to be held are pushed again.
    pub(crate) fn take(&mut self) -> Vec<HeldRequest> {
        TAKEN.set(TAKEN.get().saturating_sub(self.0.len()));
        core::mem::take(&mut self.0)
    }

    /// The request is gone.
    pub(crate) fn drop_context(&mut self, context: u32) {
        let before = self.0.len();
        self.0.retain(|request| request.progress.context != context);
        let gone = before.saturating_sub(self.0.len());
        TAKEN.set(TAKEN.get().saturating_sub(gone));
    }
}

impl Drop for Held {
    /// A gate that is configured anew gives its places back.
    fn drop(&mut self) {
        TAKEN.set(TAKEN.get().saturating_sub(self.0.len()));
    }
}

thread_local! {
    /// Over all gates of this VM: several listeners share it.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// Requests held by one worker.
const MAX_HELD: usize = 256;
/// Bytes of a body that wait with one.
pub(crate) const MAX_HELD_BODY: usize = 64 * 1024;
