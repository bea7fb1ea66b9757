//! The system's allocator, with what is asked of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

pub(crate) struct Counted;

static COUNT: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicI64 = AtomicI64::new(0);

/// Allocations so far.
pub(crate) fn allocations() -> u64 {
    COUNT.load(Relaxed)
}

/// Bytes that are held now.
pub(crate) fn held() -> i64 {
    HELD.load(Relaxed)
}

// SAFETY: it passes on what it is given, unchanged, to the system's allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        HELD.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise is the same, and `at` came from the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }
}
