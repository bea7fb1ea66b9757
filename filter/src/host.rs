//! Raw host calls (proxy-wasm ABI 0.2.1): headers as bytes, statuses as values, nothing that
//! panics. With [`crate::callbacks`] the only module with `unsafe`.
//!
//! The SDK's wrappers unwrap `from_utf8` and statuses; here a call that fails gives `None` or
//! `Err`, and the caller decides what fails closed.

use core::time::Duration;

use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};

use crate::shared::{Moved, SharedData, When};

/// A header map of the ABI.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Map {
    Request = 0,
    RequestTrailers = 1,
    Response = 2,
    ResponseTrailers = 3,
    CallResponse = 6,
}

/// A buffer of the ABI.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    CallBody = 4,
    PluginConfiguration = 7,
}

#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// A status other than Ok.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed;

type Result<T> = core::result::Result<T, Failed>;

/// A map in its wire form; [`crate::pairs::read`] reads it.
pub(crate) fn map(map: Map) -> Result<Vec<u8>> {
    let mut out = Returned::default();
    // SAFETY: the host writes one pointer and one size into `out`, which live through the call.
    let status =
        unsafe { raw::proxy_get_header_map_pairs(map as u32, &mut out.data, &mut out.size) };
    out.bytes(status)
}

pub(crate) fn remove_header(map: Map, name: &[u8]) -> Result<()> {
    // SAFETY: the host reads `name` within its length.
    ok(unsafe { raw::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

pub(crate) fn set_header(map: Map, name: &str, value: &str) -> Result<()> {
    // SAFETY: the host reads both texts within their lengths.
    ok(unsafe {
        raw::proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

pub(crate) fn buffer(buffer: Buffer, most: usize) -> Result<Vec<u8>> {
    let mut out = Returned::default();
    // SAFETY: as in `map`.
    let status = unsafe {
        raw::proxy_get_buffer_bytes(buffer as u32, 0, most, &mut out.data, &mut out.size)
    };
    out.bytes(status)
}

/// Puts other bytes in the place of the first `size` of a body.
pub(crate) fn replace_buffer(buffer: Buffer, size: usize, bytes: &[u8]) -> Result<()> {
    // SAFETY: the host reads `bytes` within its length.
    ok(unsafe { raw::proxy_set_buffer_bytes(buffer as u32, 0, size, bytes.as_ptr(), bytes.len()) })
}

/// Answers the stream of the effective context itself. `details` shows as response code details.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<()> {
    let headers = crate::pairs::write(headers);
    // SAFETY: the host reads each slice within its length.
    ok(unsafe {
        raw::proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

/// Sends a request to a cluster and gives the token that its answer will carry. The
/// answer comes to the root of the context that is effective now.
pub(crate) fn call(
    cluster: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32> {
    let headers = crate::pairs::write(headers);
    let none = crate::pairs::write(&[]);
    let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    // SAFETY: the host reads each slice within its length and writes one u32.
    ok(unsafe {
        raw::proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            none.as_ptr(),
            none.len(),
            timeout,
            &mut token,
        )
    })?;
    Ok(token)
}

/// Lets a paused request go on.
pub(crate) fn continue_request() -> Result<()> {
    // SAFETY: no pointers.
    ok(unsafe { raw::proxy_continue_stream(REQUEST_STREAM) })
}

/// Cuts the stream of the effective context.
pub(crate) fn close_request() -> Result<()> {
    // SAFETY: no pointers.
    ok(unsafe { raw::proxy_close_stream(REQUEST_STREAM) })
}

pub(crate) fn set_effective_context(id: u32) -> Result<()> {
    // SAFETY: no pointers.
    ok(unsafe { raw::proxy_set_effective_context(id) })
}

/// Filter state of the request, shown as `%FILTER_STATE(wasm.<name>:PLAIN)%`.
pub(crate) fn set_filter_state(name: &str, value: &str) {
    // SAFETY: the host reads both texts within their lengths. What cannot be logged is not worth
    // denying for, so the status is dropped.
    let _ =
        unsafe { raw::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// An attribute of the effective context's stream, such as `connection` and then a member's name, with NUL
/// between. One that there is none of is an error like any other.
pub(crate) fn property(path: &str) -> Result<Vec<u8>> {
    let mut out = Returned::default();
    // SAFETY: the host reads `path` within its length, and writes as in `map`.
    let status =
        unsafe { raw::proxy_get_property(path.as_ptr(), path.len(), &mut out.data, &mut out.size) };
    out.bytes(status)
}

pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Result<u32> {
    let mut id = 0;
    // SAFETY: the host reads `name` and writes one u32.
    ok(unsafe { raw::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) })?;
    Ok(id)
}

pub(crate) fn increment_metric(id: u32, by: i64) {
    // SAFETY: no pointers.
    let _ = unsafe { raw::proxy_increment_metric(id, by) };
}

pub(crate) fn record_metric(id: u32, value: u64) {
    // SAFETY: no pointers.
    let _ = unsafe { raw::proxy_record_metric(id, value) };
}

pub(crate) fn log(level: Level, text: &str) {
    // SAFETY: the host reads `text` within its length.
    let _ = unsafe { raw::proxy_log(level as u32, text.as_ptr(), text.len()) };
}

pub(crate) fn set_tick_period(period: Duration) -> Result<()> {
    let period = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: no pointers.
    ok(unsafe { raw::proxy_set_tick_period_milliseconds(period) })
}

/// Both clocks. A clock that cannot be read is an error, not a zero: time decides.
pub(crate) fn now() -> Result<Now> {
    let unix = clock(REALTIME)?.checked_div(1_000_000_000).unwrap_or(0);
    let monotonic = clock(MONOTONIC)?.checked_div(1_000_000).unwrap_or(0);
    Ok(Now { unix: UnixSeconds(unix), monotonic: Milliseconds(monotonic) })
}

/// Unix milliseconds, for records alone: what is decided goes by [`now`].
pub(crate) fn wall_milliseconds() -> Result<u64> {
    Ok(clock(REALTIME)?.checked_div(1_000_000).unwrap_or(0))
}

fn clock(id: u32) -> Result<u64> {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one u64.
    ok(unsafe { raw::clock_time_get(id, 1, &mut nanoseconds) })?;
    Ok(nanoseconds)
}

pub(crate) fn random() -> Result<[u8; 16]> {
    let mut out = [0; 16];
    // SAFETY: the host writes at most `out.len()` bytes.
    ok(unsafe { raw::random_get(out.as_mut_ptr(), out.len()) })?;
    Ok(out)
}

/// Envoy's shared data of this `vm_id`.
pub(crate) struct EnvoySharedData;

impl SharedData for EnvoySharedData {
    fn read(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        let mut out = Returned::default();
        let mut number = 0;
        // SAFETY: the host reads `key` and writes a pointer, a size and a u32.
        let status = unsafe {
            raw::proxy_get_shared_data(
                key.as_ptr(),
                key.len(),
                &mut out.data,
                &mut out.size,
                &mut number,
            )
        };
        out.bytes(status).ok().map(|bytes| (bytes, number))
    }

    fn number(&mut self, key: &str) -> Option<u32> {
        self.read(key).map(|(_, number)| number)
    }

    fn write(&mut self, key: &str, value: &[u8], when: When) -> core::result::Result<(), Moved> {
        // SAFETY: the host reads both slices within their lengths.
        ok(unsafe {
            raw::proxy_set_shared_data(
                key.as_ptr(),
                key.len(),
                value.as_ptr(),
                value.len(),
                when.cas(),
            )
        })
        .map_err(|_| Moved)
    }
}

const fn ok(status: u32) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(Failed) }
}

/// Bytes that the host put into memory that it asked this module for.
struct Returned {
    data: *mut u8,
    size: usize,
}

impl Default for Returned {
    fn default() -> Self {
        Self { data: core::ptr::null_mut(), size: 0 }
    }
}

impl Returned {
    fn bytes(self, status: u32) -> Result<Vec<u8>> {
        ok(status)?;
        if self.data.is_null() || self.size == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: the host got this pointer from `proxy_on_memory_allocate`, which gives a box of
        // exactly `size` bytes, and hands it over once; a vector of that length and capacity owns
        // and frees the same allocation.
        Ok(unsafe { Vec::from_raw_parts(self.data, self.size, self.size) })
    }
}

const REQUEST_STREAM: u32 = 0;
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

#[cfg(not(target_arch = "wasm32"))]
use crate::native::raw;

#[cfg(target_arch = "wasm32")]
mod raw {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, data: *const u8, size: usize) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_get_header_map_pairs(
            map: u32,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            most: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_buffer_bytes(
            buffer: u32,
            start: usize,
            size: usize,
            data: *const u8,
            data_size: usize,
        ) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_http_call(
            cluster: *const u8,
            cluster_size: usize,
            headers: *const u8,
            headers_size: usize,
            body: *const u8,
            body_size: usize,
            trailers: *const u8,
            trailers_size: usize,
            timeout: u32,
            token: *mut u32,
        ) -> u32;
        pub(super) fn proxy_continue_stream(stream: u32) -> u32;
        pub(super) fn proxy_close_stream(stream: u32) -> u32;
        pub(super) fn proxy_set_effective_context(id: u32) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_property(
            path: *const u8,
            path_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_define_metric(
            kind: u32,
            name: *const u8,
            name_size: usize,
            id: *mut u32,
        ) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, by: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
            number: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            number: u32,
        ) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(id: u32, precision: u64, nanoseconds: *mut u64) -> u32;
        pub(super) fn random_get(data: *mut u8, size: usize) -> u32;
    }
}
