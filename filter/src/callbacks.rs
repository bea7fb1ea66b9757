//! What Envoy calls (proxy-wasm ABI 0.2.1), and which context each call is for.
//!
//! Its own, and not the SDK's, for three reasons. The SDK panics where it does not know a context or the
//! token of a call, and a panic is an outage of the worker: here an unknown request is refused, and all
//! else that is unknown is ignored. It holds its contexts borrowed while one of them works, so that a host
//! which calls back in between ends the VM. And it exports every callback that there is, while each one
//! that is exported is called for every request, at a third of a microsecond.

use core::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;

use crate::answer;
use crate::host;
use crate::open::Spread;
use crate::request::{GuardedRequest, Next};
use crate::root::Root;

#[derive(Default)]
struct Contexts {
    /// One for each configuration of the plugin.
    roots: Vec<(u32, Rc<Root>)>,
    requests: HashMap<u32, Rc<GuardedRequest>, BuildHasherDefault<Spread>>,
}

impl Contexts {
    fn root(&self, id: u32) -> Option<Rc<Root>> {
        self.roots.iter().find(|(root, _)| *root == id).map(|(_, root)| Rc::clone(root))
    }

    fn create(&mut self, id: u32, parent: u32) {
        match self.root(parent) {
            Some(root) if self.requests.len() < MAX_REQUESTS => {
                self.requests.insert(id, Rc::new(root.request(id)));
            }
            None if parent == 0 => self.roots.push((id, Rc::new(Root::new(id)))),
            // Refused when its headers come, as every request that nobody knows.
            Some(_) | None => {}
        }
    }

    fn remove(&mut self, id: u32) -> (Option<Rc<GuardedRequest>>, Option<Rc<Root>>) {
        let request = self.requests.remove(&id);
        let root = match request {
            Some(_) => None,
            None => self.root(id),
        };
        self.roots.retain(|(root, _)| *root != id);
        (request, root)
    }
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// Nothing stays borrowed: what is found may call the host, and the host may call back.
fn with_contexts<T>(find: impl FnOnce(&mut Contexts) -> Option<T>) -> Option<T> {
    CONTEXTS.with(|contexts| contexts.try_borrow_mut().ok().and_then(|mut all| find(&mut all)))
}

fn root(id: u32) -> Option<Rc<Root>> {
    with_contexts(|all| all.root(id))
}

fn request(id: u32) -> Option<Rc<GuardedRequest>> {
    with_contexts(|all| all.requests.get(&id).map(Rc::clone))
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the linker's, called once and before anything else.
    unsafe { __wasm_call_ctors() };
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Says what this module is: no shipped one exports it.
#[cfg(feature = "unchecked-for-tests")]
#[unsafe(no_mangle)]
extern "C" fn gatepass_unchecked_for_tests() {}

/// Memory for what the host hands over; [`crate::host`] takes it.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let bytes: Box<[core::mem::MaybeUninit<u8>]> = Box::new_uninit_slice(size);
    Box::into_raw(bytes).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    with_contexts(|all| {
        all.create(id, parent);
        Some(())
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> bool {
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, _: usize) -> bool {
    root(id).is_some_and(|root| root.on_configure())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(id: u32) {
    if let Some(root) = root(id) {
        root.on_tick();
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(id: u32, token: u32, _: usize, _: usize, _: usize) {
    if let Some(root) = root(id) {
        root.on_answer(token);
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _: usize, ends: bool) -> Next {
    match request(id) {
        Some(request) => request.on_headers(ends),
        None => {
            if answer::unavailable().is_err() {
                let _ = host::close_request();
            }
            Next::Pause
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, ends: bool) -> Next {
    request(id).map_or(Next::Pause, |request| request.on_body(size, ends))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _: usize) -> Next {
    request(id).map_or(Next::Pause, |request| request.on_trailers())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _: usize, _: bool) -> Next {
    // Also the answer to a request that nobody knew.
    request(id).map_or(Next::Continue, |request| request.on_response_headers())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, size: usize, ends: bool) -> Next {
    request(id).map_or(Next::Continue, |request| request.on_response_body(size, ends))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, _: usize) -> Next {
    request(id).map_or_else(crate::request::on_unknown_response_trailers, |request| {
        request.on_response_trailers()
    })
}

/// The last call for a context: what follows, `proxy_on_log` and `proxy_on_delete`, is not exported.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(id: u32) -> bool {
    match with_contexts(|all| Some(all.remove(id))) {
        Some((Some(request), _)) => request.on_done(),
        Some((None, Some(root))) => root.on_done(),
        _ => {}
    }
    true
}

/// Requests of one VM that have begun and not ended: a host that never says that one has ended must not make
/// it grow. Twice as many as may be open with a permit.
const MAX_REQUESTS: usize = 131_072;
