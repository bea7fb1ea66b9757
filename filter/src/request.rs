//! One request: read, decided, and let go on only with a permit.

use std::cell::Cell;
use std::rc::Rc;

use gatepass_engine::Denial;

use crate::answer;
use crate::headers;
use crate::held::{HeldRequest, Stage};
use crate::host::{self, Failed, Map};
use crate::pairs;
use crate::questions::Waits;
use crate::shell::{SharedShell, Verdict};

/// Whether Envoy goes on with a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Next {
    Continue = 0,
    Pause = 1,
}

pub(crate) struct GuardedRequest {
    context: u32,
    shell: SharedShell,
    stage: Rc<Cell<Stage>>,
}

impl GuardedRequest {
    pub(crate) fn new(context: u32, shell: SharedShell, stage: Rc<Cell<Stage>>) -> Self {
        Self { context, shell, stage }
    }

    /// What failed is answered by the caller: nothing here lets a request on by accident.
    fn judge(&self, ends_with_headers: bool) -> Result<Stage, Failed> {
        let now = host::now()?;
        let bytes = host::map(Map::Request)?;
        let headers = pairs::read(&bytes).map_err(|_| Failed)?;
        let mut guard = self.shell.try_borrow_mut().map_err(|_| Failed)?;
        let shell = guard.as_mut().ok_or(Failed)?;
        match shell.decide(now, &headers, ends_with_headers)? {
            Verdict::Allowed(open) => {
                shell.watch(self.context, open, bytes);
                Ok(Stage::Allowed)
            }
            Verdict::Denied => Ok(Stage::Denied),
            Verdict::Asks(redemption, id) => {
                let (context, stage) = (self.context, Rc::clone(&self.stage));
                let waits = Waits { context, ends_with_headers, stage };
                shell.ask(now, &headers, waits, redemption, id)
            }
            Verdict::Holdable(denial) => {
                let request = HeldRequest {
                    context: self.context,
                    deadline: now.monotonic.plus(shell.configuration.hold.0),
                    ends_with_headers,
                    stage: Rc::clone(&self.stage),
                };
                if shell.configuration.hold.0 > 0 && shell.held.push(request) {
                    shell.count_held();
                    return Ok(Stage::Held);
                }
                shell.refuse_held(now, &denial).map(|()| Stage::Denied)
            }
        }
    }

    /// Envoy would buffer what a held request sends, for anybody, and what one sends that waits.
    fn drop_held(&self) {
        let answered = host::now().and_then(|now| {
            let mut guard = self.shell.try_borrow_mut().map_err(|_| Failed)?;
            let shell = guard.as_mut().ok_or(Failed)?;
            shell.held.drop_context(self.context);
            shell.forget(self.context);
            shell.refuse_held(now, &Denial::body_too_large(MAX_HELD_BODY))
        });
        self.stage.set(Stage::Denied);
        if answered.is_err() {
            let _ = host::close_request();
        }
    }

    fn goes_on(&self) -> Next {
        match self.stage.get() {
            Stage::Allowed => Next::Continue,
            Stage::Undecided | Stage::Held | Stage::Waiting | Stage::Denied => Next::Pause,
        }
    }

    pub(crate) fn on_headers(&self, ends: bool) -> Next {
        match self.judge(ends) {
            Ok(stage) => self.stage.set(stage),
            Err(Failed) => {
                self.stage.set(Stage::Denied);
                if answer::unavailable().is_err() {
                    let _ = host::close_request();
                }
            }
        }
        self.goes_on()
    }

    pub(crate) fn on_body(&self, size: usize) -> Next {
        // Cumulative while the request is paused.
        let waits = matches!(self.stage.get(), Stage::Held | Stage::Waiting);
        if waits && size > MAX_HELD_BODY {
            self.drop_held();
        }
        self.goes_on()
    }

    pub(crate) fn on_trailers(&self) -> Next {
        clean_trailers(Map::RequestTrailers);
        self.goes_on()
    }

    pub(crate) fn on_response_headers(&self) -> Next {
        let cleaned = host::map(Map::Response).and_then(|bytes| {
            let all = pairs::read(&bytes).map_err(|_| Failed)?;
            headers::clean(Map::Response, &all)?;
            match self.shell.try_borrow() {
                Ok(guard) => guard.as_ref().map_or(Ok(()), |shell| shell.expose()),
                Err(_) => Ok(()),
            }
        });
        if cleaned.is_err() {
            // An upstream that speaks in the gate's name is not passed on.
            let _ = host::close_request();
            return Next::Pause;
        }
        Next::Continue
    }

    pub(crate) fn on_done(&self) {
        if let Ok(mut guard) = self.shell.try_borrow_mut()
            && let Some(shell) = guard.as_mut()
        {
            drop(shell.open.remove(self.context));
            match self.stage.get() {
                Stage::Held => shell.held.drop_context(self.context),
                Stage::Waiting => shell.forget(self.context),
                Stage::Undecided | Stage::Allowed | Stage::Denied => {}
            }
        }
    }
}

pub(crate) fn on_response_trailers() -> Next {
    clean_trailers(Map::ResponseTrailers);
    Next::Continue
}

/// Nobody but the gate speaks in its name, in trailers either. What cannot be cleaned is cut.
fn clean_trailers(map: Map) {
    let cleaned = host::map(map).and_then(|bytes| {
        let all = pairs::read(&bytes).map_err(|_| Failed)?;
        headers::clean(map, &all)
    });
    if cleaned.is_err() {
        let _ = host::close_request();
    }
}

/// Bytes of a body that wait with a held request.
const MAX_HELD_BODY: usize = 64 * 1024;
