//! The root context: configuration, the tick, the feed's answers, the held requests.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gatepass_engine::body::Unfinished;
use gatepass_engine::clock::{Milliseconds, Now};

use crate::answer;
use crate::configuration::Configuration;
use crate::host::{self, Buffer, Level};
use crate::progress::{Progress, Stage};
use crate::request::GuardedRequest;
use crate::shell::{SharedShell, Shell};

pub(crate) struct Root {
    context: u32,
    shell: SharedShell,
    /// There is more to answer than one callback may.
    hurries: Cell<bool>,
}

impl Root {
    pub(crate) fn new(context: u32) -> Self {
        Self { context, shell: Rc::new(RefCell::new(None)), hurries: Cell::new(false) }
    }

    fn configure(&self) -> Result<(), String> {
        let bytes =
            host::buffer(Buffer::PluginConfiguration, MAX_CONFIGURATION_BYTES).map_err(|_| {
                "the gatepass plugin configuration is refused: it cannot be read".to_owned()
            })?;
        let configuration = Configuration::parse(&bytes).map_err(|error| error.to_string())?;
        let now = host::now().map_err(|_| "the host gives no time".to_owned())?;
        let mut shell = Shell::new(configuration, now)?;
        shell.start(now);
        host::set_tick_period(TICK).map_err(|_| "the host gives no tick".to_owned())?;
        let mut place =
            self.shell.try_borrow_mut().map_err(|_| "configured while deciding".to_owned())?;
        *place = Some(shell);
        Ok(())
    }

    /// Ends what outlived its permit, and decides held requests anew where there is news; those whose
    /// time is over get their denial. Not more than [`ANSWERED_AT_ONCE`]; the rest is for the next ticks.
    fn work_off_held(&self, now: Now) {
        let Ok(mut guard) = self.shell.try_borrow_mut() else {
            return;
        };
        let Some(shell) = guard.as_mut() else { return };
        let mut room = ANSWERED_AT_ONCE;
        shell.end_permits(now, &mut room);
        shell.ask_again(now, &mut room);
        let news = core::mem::take(&mut shell.news);
        for request in shell.held.take() {
            let is_due = news || request.deadline <= now.monotonic;
            if is_due && room > 0 {
                settle(shell, &request.progress, None, Some(request.deadline), now);
                if !request.progress.waits() {
                    room = room.saturating_sub(1);
                }
            } else {
                shell.news |= news;
                shell.held.push(request);
            }
        }
        for progress in shell.uploads.take_late(now, room) {
            settle(shell, &progress, Some(Unfinished::TooSlow), None, now);
            room = room.saturating_sub(1);
        }
        // What is left of this callback belongs to the root again.
        let _ = host::set_effective_context(self.context);
        self.hurry(room == 0);
    }
}

impl Root {
    /// Asks for the next tick soon, where something is left to do.
    fn hurry(&self, hurries: bool) {
        let period = if hurries { HURRIED } else { TICK };
        if self.hurries.get() != hurries && host::set_tick_period(period).is_ok() {
            self.hurries.set(hurries);
        }
    }
}

/// Decides a request that waited; what failed is answered here.
fn settle(
    shell: &mut Shell,
    progress: &Rc<Progress>,
    why: Option<Unfinished>,
    deadline: Option<Milliseconds>,
    now: Now,
) {
    if host::set_effective_context(progress.context).is_err() {
        return;
    }
    if progress.decide(shell, why, deadline, now).is_err() {
        progress.set(Stage::Denied);
        if answer::unavailable().is_err() {
            let _ = host::close_request();
        }
    }
    if progress.stage() == Stage::Allowed {
        let _ = host::continue_request();
    }
}

impl Root {
    pub(crate) fn on_configure(&self) -> bool {
        match self.configure() {
            Ok(()) => true,
            Err(why) => {
                host::log(Level::Error, &why);
                false
            }
        }
    }

    pub(crate) fn on_tick(&self) {
        let Ok(now) = host::now() else { return };
        if let Ok(mut guard) = self.shell.try_borrow_mut()
            && let Some(shell) = guard.as_mut()
        {
            shell.tick(now);
        }
        self.work_off_held(now);
    }

    /// The call of this token was answered.
    pub(crate) fn on_answer(&self, token: u32) {
        let Ok(now) = host::now() else { return };
        if let Ok(mut guard) = self.shell.try_borrow_mut()
            && let Some(shell) = guard.as_mut()
        {
            if shell.confirmed(token, now) {
                let _ = host::set_effective_context(self.context);
                return;
            }
            shell.polled(token, now);
        }
        self.work_off_held(now);
    }

    pub(crate) fn on_done(&self) {
        if let Ok(mut guard) = self.shell.try_borrow_mut()
            && let Some(shell) = guard.as_mut()
        {
            shell.release();
        }
    }

    /// What this VM decides on; nothing before it is configured.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn enforced(&self) -> crate::positions::Enforced {
        let guard = self.shell.try_borrow().ok();
        guard.and_then(|shell| shell.as_ref().map(Shell::enforced)).unwrap_or_default()
    }

    /// Whether this VM knows that it is behind.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn is_behind(&self) -> bool {
        let guard = self.shell.try_borrow().ok();
        guard.is_some_and(|shell| shell.as_ref().is_some_and(Shell::is_behind))
    }

    pub(crate) fn request(&self, context: u32) -> GuardedRequest {
        GuardedRequest::new(context, Rc::clone(&self.shell))
    }
}

const TICK: Duration = Duration::from_millis(50);
const HURRIED: Duration = Duration::from_millis(1);
/// Requests that one callback answers, lets on or cuts. Envoy does that after the callback, each inside of the one
/// before it, because each calls this VM again: a thousand of them are deeper than its stack, and that ends the VM.
const ANSWERED_AT_ONCE: usize = 32;
/// Bytes; a baseline is part of it.
const MAX_CONFIGURATION_BYTES: usize = 16 * 1024 * 1024;
