//! The shell outside of Wasm, for simulations: the same code that Envoy's VMs run, over a [`Host`] that a test
//! writes. Never shipped: it exists natively only, and behind a feature.
//!
//! Everything runs on one thread. A [`Vm`] is one VM with one configuration of the plugin; its callbacks are
//! those of `callbacks`, which the module for Envoy exports. A host call may unwind: that is a VM that dies
//! in the middle of a callback, and it must not be called again.

use core::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::positions::Enforced;
use crate::request::{GuardedRequest, Next};
use crate::root::Root;

pub(crate) mod raw;

/// What Envoy does for one VM, by the proxy-wasm ABI: numbers are the ABI's, maps are in their wire form
/// ([`crate::pairs`]), and what acts on a stream acts on that of the effective context.
pub trait Host {
    fn set_effective_context(&mut self, context: u32);
    fn map(&mut self, map: u32) -> Option<Vec<u8>>;
    /// Without a value the header is removed.
    fn set_header(&mut self, map: u32, name: &[u8], value: Option<&[u8]>) -> bool;
    fn buffer(&mut self, buffer: u32) -> Option<Vec<u8>>;
    fn reply(&mut self, status: u32, details: &[u8], headers: &[u8], body: &[u8]) -> bool;
    /// The token of a call of these headers and this body, which is given up after so many milliseconds.
    fn call(&mut self, cluster: &[u8], headers: &[u8], body: &[u8], timeout: u32) -> Option<u32>;
    fn continue_request(&mut self) -> bool;
    fn close_request(&mut self) -> bool;
    /// An attribute of the stream; `None` where there is none.
    fn property(&mut self, path: &[u8]) -> Option<Vec<u8>>;
    fn set_property(&mut self, name: &[u8], value: &[u8]);
    fn define_metric(&mut self, kind: u32, name: &[u8]) -> u32;
    fn increment_metric(&mut self, id: u32, by: i64);
    fn record_metric(&mut self, id: u32, value: u64);
    fn log(&mut self, level: u32, text: &[u8]);
    fn set_tick_period(&mut self, milliseconds: u32);
    /// Nanoseconds: of the wall for 0, of the monotonic clock for 1.
    fn clock(&mut self, id: u32) -> u64;
    fn random(&mut self, out: &mut [u8]);
    fn read(&mut self, key: &[u8]) -> Option<(Vec<u8>, u32)>;
    /// False where the key has another number than the one asked for.
    fn write(&mut self, key: &[u8], value: &[u8], cas: u32) -> bool;
}

/// A host that its VM and the test share.
pub type SharedHost = Rc<RefCell<dyn Host>>;

/// One VM.
pub struct Vm {
    host: SharedHost,
    root: Root,
    requests: HashMap<u32, GuardedRequest>,
}

impl Vm {
    #[must_use]
    pub fn new(host: SharedHost) -> Self {
        Self { host, root: Root::new(ROOT), requests: HashMap::new() }
    }

    /// Whether it takes what the host gives as its configuration.
    #[must_use]
    pub fn configure(&self) -> bool {
        let _called = self.called(ROOT);
        self.root.on_configure()
    }

    pub fn tick(&self) {
        let _called = self.called(ROOT);
        self.root.on_tick();
    }

    /// The call of this token was answered, with what the host gives as the answer.
    pub fn answer(&self, token: u32) {
        let _called = self.called(ROOT);
        self.root.on_answer(token);
    }

    /// A request begins. True when it goes on at once; `context` is above [`ROOT`] and used once.
    pub fn request_headers(&mut self, context: u32, ends: bool) -> bool {
        let _called = Called::by(&self.host, context);
        let request = self.root.request(context);
        let next = request.on_headers(ends);
        self.requests.insert(context, request);
        next == Next::Continue
    }

    pub fn request_body(&self, context: u32, size: usize, ends: bool) -> bool {
        let _called = self.called(context);
        let next = self.requests.get(&context).map(|request| request.on_body(size, ends));
        next == Some(Next::Continue)
    }

    pub fn request_trailers(&self, context: u32) -> bool {
        let _called = self.called(context);
        self.requests.get(&context).is_some_and(|request| request.on_trailers() == Next::Continue)
    }

    /// The upstream's headers, or those of the gate's own answer.
    pub fn response_headers(&self, context: u32) -> bool {
        let _called = self.called(context);
        let next = self.requests.get(&context).map(GuardedRequest::on_response_headers);
        next == Some(Next::Continue)
    }

    /// A piece of the upstream's body.
    pub fn response_body(&self, context: u32, size: usize, ends: bool) -> bool {
        let _called = self.called(context);
        let next = self.requests.get(&context).map(|request| request.on_response_body(size, ends));
        next == Some(Next::Continue)
    }

    pub fn response_trailers(&self, context: u32) -> bool {
        let _called = self.called(context);
        let next = self.requests.get(&context).map(GuardedRequest::on_response_trailers);
        next.unwrap_or_else(crate::request::on_unknown_response_trailers) == Next::Continue
    }

    /// A request has ended, however it did.
    pub fn done(&mut self, context: u32) {
        let _called = Called::by(&self.host, context);
        if let Some(request) = self.requests.remove(&context) {
            request.on_done();
        }
    }

    /// The VM is drained.
    pub fn shut_down(&self) {
        let _called = self.called(ROOT);
        self.root.on_done();
    }

    /// What it decides on now.
    #[must_use]
    pub fn enforced(&self) -> Enforced {
        self.root.enforced()
    }

    /// Whether it knows of a newer state than the one that it decides on, and so lets nothing on.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.root.is_behind()
    }

    fn called(&self, context: u32) -> Called {
        Called::by(&self.host, context)
    }
}

/// While it lives, host calls go to one VM's host.
struct Called;

impl Called {
    fn by(host: &SharedHost, context: u32) -> Self {
        host.borrow_mut().set_effective_context(context);
        HOST.set(Some(Rc::clone(host)));
        Self
    }
}

impl Drop for Called {
    /// Also where a callback unwinds.
    fn drop(&mut self) {
        HOST.set(None);
    }
}

thread_local! {
    static HOST: RefCell<Option<SharedHost>> = const { RefCell::new(None) };
}

/// The context of the root in each VM.
pub const ROOT: u32 = 1;
