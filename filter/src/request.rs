//! One request: read, decided, and let go on only with a permit.

use std::cell::RefCell;
use std::rc::Rc;

use gatepass_engine::Denial;
use gatepass_engine::body::Unfinished;
use gatepass_engine::listing::Cut;

use crate::answer;
use crate::headers;
use crate::held::MAX_HELD_BODY;
use crate::host::{self, Failed, Map};
use crate::listed;
use crate::pairs;
use crate::progress::{Came, Progress, Stage};
use crate::shell::SharedShell;

/// Whether Envoy goes on with a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Next {
    Continue = 0,
    Pause = 1,
}

pub(crate) struct GuardedRequest {
    shell: SharedShell,
    progress: Rc<Progress>,
    /// The answer, while it is cut to what the caller may see.
    cut: RefCell<Option<Cut>>,
}

impl GuardedRequest {
    pub(crate) fn new(context: u32, shell: SharedShell) -> Self {
        Self { shell, progress: Progress::new(context), cut: RefCell::default() }
    }

    /// What failed is answered here: nothing lets a request on by accident.
    fn judge(&self, why: Option<Unfinished>) {
        let judged = host::now().and_then(|now| {
            let mut guard = self.shell.try_borrow_mut().map_err(|_| Failed)?;
            let shell = guard.as_mut().ok_or(Failed)?;
            shell.uploads.remove(self.progress.context);
            self.progress.decide(shell, why, None, now)
        });
        if judged.is_err() {
            self.progress.set(Stage::Denied);
            if answer::unavailable().is_err() {
                let _ = host::close_request();
            }
        }
    }

    /// Envoy would buffer what a held request sends, for anybody, and what one sends that waits.
    fn drop_held(&self) {
        let answered = host::now().and_then(|now| {
            let mut guard = self.shell.try_borrow_mut().map_err(|_| Failed)?;
            let shell = guard.as_mut().ok_or(Failed)?;
            shell.held.drop_context(self.progress.context);
            shell.forget(self.progress.context);
            shell.refuse_held(now, &Denial::body_too_large(MAX_HELD_BODY), &[])
        });
        self.progress.set(Stage::Denied);
        if answered.is_err() {
            let _ = host::close_request();
        }
    }

    fn grow(&self, size: usize) -> Result<(), Unfinished> {
        let Ok(mut guard) = self.shell.try_borrow_mut() else { return Err(Unfinished::Broken) };
        let shell = guard.as_mut().ok_or(Unfinished::Broken)?;
        shell.uploads.grow(self.progress.context, size)
    }

    fn goes_on(&self) -> Next {
        match self.progress.stage() {
            Stage::Allowed => Next::Continue,
            Stage::Undecided | Stage::Held | Stage::Reading | Stage::Waiting | Stage::Denied => {
                Next::Pause
            }
        }
    }

    pub(crate) fn on_headers(&self, ends: bool) -> Next {
        self.progress.note(if ends { Came::NoBody } else { Came::Some(0) });
        self.judge(None);
        self.goes_on()
    }

    /// `size` is cumulative while the request is paused.
    pub(crate) fn on_body(&self, size: usize, ends: bool) -> Next {
        self.progress.note(if ends { Came::Whole(size) } else { Came::Some(size) });
        match self.progress.stage() {
            Stage::Held | Stage::Waiting if size > MAX_HELD_BODY => self.drop_held(),
            Stage::Reading => match self.grow(size) {
                Err(why) => self.judge(Some(why)),
                Ok(()) if ends => self.judge(None),
                Ok(()) => {}
            },
            Stage::Undecided | Stage::Held | Stage::Waiting | Stage::Allowed | Stage::Denied => {}
        }
        self.goes_on()
    }

    pub(crate) fn on_trailers(&self) -> Next {
        clean_trailers(Map::RequestTrailers);
        self.progress.note(Came::Trailers);
        if self.progress.stage() == Stage::Reading {
            self.judge(None);
        }
        self.goes_on()
    }

    pub(crate) fn on_response_headers(&self) -> Next {
        let cleaned = host::map(Map::Response).and_then(|bytes| {
            let all = pairs::read(&bytes).map_err(|_| Failed)?;
            headers::clean(Map::Response, &all)?;
            if let Some(listing) = self.progress.take_listing() {
                let form = listed::prepare(&all)?;
                self.cut.replace(form.map(|form| Cut::new(listing, form)));
            }
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

    /// `size` is that of the piece. What is cut goes on in its place.
    pub(crate) fn on_response_body(&self, size: usize, ends: bool) -> Next {
        let Ok(mut cut) = self.cut.try_borrow_mut() else { return Next::Pause };
        let Some(cut) = cut.as_mut() else { return Next::Continue };
        match listed::pass_on(cut, size, ends) {
            Ok(()) => Next::Continue,
            Err(Failed) => {
                let _ = host::close_request();
                Next::Pause
            }
        }
    }

    pub(crate) fn on_response_trailers(&self) -> Next {
        clean_trailers(Map::ResponseTrailers);
        // The end of the body is not told of then: what waits for it is lost, and the caller must see that.
        let waits = |cut: &Option<Cut>| cut.as_ref().is_some_and(|cut| !cut.is_done());
        if self.cut.try_borrow().map_or(true, |cut| waits(&cut)) {
            let _ = host::close_request();
        }
        Next::Continue
    }

    pub(crate) fn on_done(&self) {
        if let Ok(mut guard) = self.shell.try_borrow_mut()
            && let Some(shell) = guard.as_mut()
        {
            drop(shell.open.remove(self.progress.context));
            match self.progress.stage() {
                Stage::Held => shell.held.drop_context(self.progress.context),
                Stage::Reading => shell.uploads.remove(self.progress.context),
                Stage::Waiting => shell.forget(self.progress.context),
                Stage::Undecided | Stage::Allowed | Stage::Denied => {}
            }
        }
    }
}

/// Of a request that nobody knew.
pub(crate) fn on_unknown_response_trailers() -> Next {
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
