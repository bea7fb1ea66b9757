//! The host's functions as [`crate::host`] calls them, without a host of Wasm: each reads what it is given and
//! asks the [`super::Host`] of the VM that is called. Outside of a callback every call fails.

use super::{HOST, Host};

const OK: u32 = 0;
/// NotFound of the ABI.
const MISSING: u32 = 1;
/// BadArgument.
const BAD: u32 = 2;
/// CasMismatch.
const MISMATCH: u32 = 8;
/// InternalFailure.
const FAILED: u32 = 10;

fn with<T>(act: impl FnOnce(&mut dyn Host) -> T) -> Option<T> {
    let host = HOST.with_borrow(Clone::clone)?;
    let mut host = host.try_borrow_mut().ok()?;
    Some(act(&mut *host))
}

fn ok(done: Option<bool>, otherwise: u32) -> u32 {
    match done {
        Some(true) => OK,
        Some(false) => otherwise,
        None => FAILED,
    }
}

/// # Safety
/// `data` points at `size` bytes, or `size` is 0.
unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    // SAFETY: the caller's promise; they live through the call that hands them in.
    unsafe { core::slice::from_raw_parts(data, size) }
}

/// Hands bytes over as the host of a Wasm module does.
///
/// # Safety
/// Both pointers can be written to.
unsafe fn give(found: Option<Vec<u8>>, data: *mut *mut u8, size: *mut usize) -> u32 {
    let Some(found) = found else { return MISSING };
    let found = found.into_boxed_slice();
    // SAFETY: the caller's promise. The box has as many bytes as is said, as what
    // `proxy_on_memory_allocate` gives has; an empty one owns nothing.
    unsafe {
        *size = found.len();
        *data = Box::into_raw(found).cast();
    }
    OK
}

/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn proxy_log(level: u32, data: *const u8, size: usize) -> u32 {
    // SAFETY: the caller's promise.
    let text = unsafe { bytes(data, size) };
    ok(with(|host| host.log(level, text)).map(|()| true), FAILED)
}

/// # Safety
/// None is needed.
pub(crate) unsafe fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    ok(with(|host| host.set_tick_period(period)).map(|()| true), FAILED)
}

/// # Safety
/// As [`give`].
pub(crate) unsafe fn proxy_get_header_map_pairs(
    map: u32,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { give(with(|host| host.map(map)).flatten(), data, size) }
}

/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn proxy_remove_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    let name = unsafe { bytes(name, name_size) };
    ok(with(|host| host.set_header(map, name, None)), BAD)
}

/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn proxy_replace_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    let (name, value) = unsafe { (bytes(name, name_size), bytes(value, value_size)) };
    ok(with(|host| host.set_header(map, name, Some(value))), BAD)
}

/// # Safety
/// As [`give`].
pub(crate) unsafe fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    most: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let found = with(|host| host.buffer(buffer)).flatten();
    let found = found.map(|found| found.into_iter().skip(start).take(most).collect());
    // SAFETY: the caller's promise.
    unsafe { give(found, data, size) }
}

/// No simulated upstream lists anything.
///
/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn proxy_set_buffer_bytes(
    _buffer: u32,
    _start: usize,
    _size: usize,
    _data: *const u8,
    _data_size: usize,
) -> u32 {
    BAD
}

/// # Safety
/// As [`bytes`].
#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(crate) unsafe fn proxy_send_local_response(
    status: u32,
    details: *const u8,
    details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    _grpc_status: i32,
) -> u32 {
    // SAFETY: the caller's promise.
    let (details, body, headers) = unsafe {
        (bytes(details, details_size), bytes(body, body_size), bytes(headers, headers_size))
    };
    ok(with(|host| host.reply(status, details, headers, body)), BAD)
}

/// # Safety
/// As [`bytes`]; `token` can be written to.
#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(crate) unsafe fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    _trailers: *const u8,
    _trailers_size: usize,
    timeout: u32,
    token: *mut u32,
) -> u32 {
    // SAFETY: the caller's promise.
    let (cluster, headers, body) = unsafe {
        (bytes(cluster, cluster_size), bytes(headers, headers_size), bytes(body, body_size))
    };
    match with(|host| host.call(cluster, headers, body, timeout)).flatten() {
        Some(number) => {
            // SAFETY: the caller's promise.
            unsafe { *token = number };
            OK
        }
        None => BAD,
    }
}

/// # Safety
/// None is needed.
pub(crate) unsafe fn proxy_continue_stream(_stream: u32) -> u32 {
    ok(with(|host| host.continue_request()), BAD)
}

/// # Safety
/// None is needed.
pub(crate) unsafe fn proxy_close_stream(_stream: u32) -> u32 {
    ok(with(|host| host.close_request()), BAD)
}

/// # Safety
/// None is needed.
pub(crate) unsafe fn proxy_set_effective_context(id: u32) -> u32 {
    ok(with(|host| host.set_effective_context(id)).map(|()| true), BAD)
}

/// # Safety
/// As [`bytes`] and [`give`].
pub(crate) unsafe fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: the caller's promise.
    let path = unsafe { bytes(path, path_size) };
    // SAFETY: the caller's promise.
    unsafe { give(with(|host| host.property(path)).flatten(), data, size) }
}

/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn proxy_set_property(
    path: *const u8,
    path_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    let (path, value) = unsafe { (bytes(path, path_size), bytes(value, value_size)) };
    ok(with(|host| host.set_property(path, value)).map(|()| true), BAD)
}

/// # Safety
/// As [`bytes`]; `id` can be written to.
pub(crate) unsafe fn proxy_define_metric(
    kind: u32,
    name: *const u8,
    name_size: usize,
    id: *mut u32,
) -> u32 {
    // SAFETY: the caller's promise.
    let name = unsafe { bytes(name, name_size) };
    let Some(number) = with(|host| host.define_metric(kind, name)) else { return FAILED };
    // SAFETY: the caller's promise.
    unsafe { *id = number };
    OK
}

/// # Safety
/// None is needed.
pub(crate) unsafe fn proxy_increment_metric(id: u32, by: i64) -> u32 {
    ok(with(|host| host.increment_metric(id, by)).map(|()| true), BAD)
}

/// # Safety
/// None is needed.
pub(crate) unsafe fn proxy_record_metric(id: u32, value: u64) -> u32 {
    ok(with(|host| host.record_metric(id, value)).map(|()| true), BAD)
}

/// # Safety
/// As [`bytes`] and [`give`]; `number` can be written to.
pub(crate) unsafe fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    number: *mut u32,
) -> u32 {
    // SAFETY: the caller's promise.
    let key = unsafe { bytes(key, key_size) };
    let Some((value, cas)) = with(|host| host.read(key)).flatten() else { return MISSING };
    // SAFETY: the caller's promise.
    unsafe {
        *number = cas;
        give(Some(value), data, size)
    }
}

/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
    cas: u32,
) -> u32 {
    // SAFETY: the caller's promise.
    let (key, value) = unsafe { (bytes(key, key_size), bytes(value, value_size)) };
    ok(with(|host| host.write(key, value, cas)), MISMATCH)
}

/// # Safety
/// `nanoseconds` can be written to.
pub(crate) unsafe fn clock_time_get(id: u32, _precision: u64, nanoseconds: *mut u64) -> u32 {
    let Some(time) = with(|host| host.clock(id)) else { return FAILED };
    // SAFETY: the caller's promise.
    unsafe { *nanoseconds = time };
    OK
}

/// # Safety
/// `size` bytes can be written to `out`.
pub(crate) unsafe fn random_get(out: *mut u8, size: usize) -> u32 {
    // SAFETY: the caller's promise; it hands in bytes that have values.
    let out = unsafe { core::slice::from_raw_parts_mut(out, size) };
    ok(with(|host| host.random(out)).map(|()| true), FAILED)
}
