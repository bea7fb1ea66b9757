//! One request: read, decided, and let go on only with a permit.

use std::cell::Cell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::answer;
use crate::headers;
use crate::held::{HeldRequest, Stage};
use crate::host::{self, Failed, Map};
use crate::pairs;
use crate::shell::{SharedShell, Verdict};

pub(crate) struct GuardedRequest {
    context: u32,
    shell: SharedShell,
    stage: Rc<Cell<Stage>>,
}

impl GuardedRequest {
    pub(crate) fn new(context: u32, shell: SharedShell, stage: Rc<Cell<Stage>>) -> Self {
        Self {
            context,
            shell,
            stage,
        }
    }

    /// What failed is answered by the caller: nothing here lets a request on by accident.
    fn judge(&self, ends_with_headers: bool) -> Result<Stage, Failed> {
        let now = host::now()?;
        let bytes = host::map(Map::Request)?;
        let headers = pairs::read(&bytes).map_err(|_| Failed)?;
        let mut guard = self.shell.try_borrow_mut().map_err(|_| Failed)?;
        let shell = guard.as_mut().ok_or(Failed)?;
        match shell.decide(now, &headers, ends_with_headers)? {
            Verdict::Allowed => Ok(Stage::Allowed),
            Verdict::Denied => Ok(Stage::Denied),
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

    fn goes_on(&self) -> Action {
        match self.stage.get() {
            Stage::Allowed => Action::Continue,
            Stage::Undecided | Stage::Held | Stage::Denied => Action::Pause,
        }
    }
}

impl Context for GuardedRequest {
    fn on_done(&mut self) -> bool {
        if self.stage.get() == Stage::Held
            && let Ok(mut guard) = self.shell.try_borrow_mut()
            && let Some(shell) = guard.as_mut()
        {
            shell.held.drop_context(self.context);
        }
        true
    }
}

impl HttpContext for GuardedRequest {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        match self.judge(end_of_stream) {
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

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.goes_on()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.goes_on()
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let cleaned = host::map(Map::Response).and_then(|bytes| {
            let all = pairs::read(&bytes).map_err(|_| Failed)?;
            headers::clean_response(&all)?;
            match self.shell.try_borrow() {
                Ok(guard) => guard.as_ref().map_or(Ok(()), |shell| shell.expose()),
                Err(_) => Ok(()),
            }
        });
        if cleaned.is_err() {
            // An upstream that speaks in the gate's name is not passed on.
            let _ = host::close_request();
            return Action::Pause;
        }
        Action::Continue
    }
}
