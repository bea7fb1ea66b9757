//! The root context: configuration, the tick, the feed's answers, the held requests.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gatepass_engine::clock::Now;

use crate::answer;
use crate::configuration::Configuration;
use crate::held::{HeldRequest, Stage};
use crate::host::{self, Buffer, Failed, Level, Map};
use crate::pairs;
use crate::questions::Waits;
use crate::request::GuardedRequest;
use crate::shell::{FIRST_STAGE, SharedShell, Shell, Verdict};

pub(crate) struct Root {
    context: u32,
    shell: SharedShell,
}

impl Root {
    pub(crate) fn new(context: u32) -> Self {
        Self { context, shell: Rc::new(RefCell::new(None)) }
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
    /// time is over get their denial.
    fn work_off_held(&self, now: Now) {
        let Ok(mut guard) = self.shell.try_borrow_mut() else {
            return;
        };
        let Some(shell) = guard.as_mut() else { return };
        shell.end_permits(now);
        shell.ask_again(now);
        let news = core::mem::take(&mut shell.news);
        for request in shell.held.take() {
            if news || request.deadline <= now.monotonic {
                settle(shell, request, now);
            } else {
                shell.held.push(request);
            }
        }
        // What is left of this callback belongs to the root again.
        let _ = host::set_effective_context(self.context);
    }
}

fn settle(shell: &mut Shell, request: HeldRequest, now: Now) {
    if host::set_effective_context(request.context).is_err() {
        return;
    }
    let verdict = host::map(Map::Request).ok().and_then(|bytes| {
        let headers = pairs::read(&bytes).ok()?;
        let verdict = shell.decide(now, &headers, request.ends_with_headers).ok()?;
        Some((verdict, bytes))
    });
    let answered = match verdict {
        Some((Verdict::Allowed(open), bytes)) => {
            shell.watch(request.context, open, bytes);
            request.stage.set(Stage::Allowed);
            let _ = host::continue_request();
            return;
        }
        Some((Verdict::Denied, _)) => Ok(()),
        Some((Verdict::Asks(redemption, id), bytes)) => {
            let HeldRequest { context, ends_with_headers, stage, .. } = request;
            let waits = Waits { context, ends_with_headers, stage: Rc::clone(&stage) };
            let asked = pairs::read(&bytes)
                .map_err(|_| Failed)
                .and_then(|headers| shell.ask(now, &headers, waits, redemption, id));
            match asked {
                Ok(next) => stage.set(next),
                Err(Failed) => {
                    stage.set(Stage::Denied);
                    let _ = host::close_request();
                }
            }
            return;
        }
        Some((Verdict::Holdable(denial), _)) => {
            if now.monotonic < request.deadline {
                shell.held.push(request);
                return;
            }
            shell.refuse_held(now, &denial)
        }
        None => answer::unavailable(),
    };
    request.stage.set(Stage::Denied);
    if answered.is_err() {
        let _ = host::close_request();
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
        GuardedRequest::new(context, Rc::clone(&self.shell), Rc::new(Cell::new(FIRST_STAGE)))
    }
}

const TICK: Duration = Duration::from_millis(50);
/// Bytes; a baseline is part of it.
const MAX_CONFIGURATION_BYTES: usize = 16 * 1024 * 1024;
