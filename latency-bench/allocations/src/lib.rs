//! An allocator that counts, for tests and benchmarks of what promises not to allocate.
//!
//! A binary makes it its global allocator; [`calls_during`] then tells what a piece of work did. Costs one
//! addition to a thread-local number per call, and nothing between calls.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

thread_local! {
    /// Calls to the allocator by this thread. `const` and without a destructor: counting allocates nothing itself.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a count of its calls: allocations, reallocations and releases, by thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

#[inline]
fn count() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Calls to the allocator by this thread, since it began.
#[inline]
#[must_use]
pub fn calls() -> u64 {
    CALLS.get()
}

/// What `work` returns, and how often it called the allocator on this thread.
///
/// The count is 0, whatever the work does, in a program whose global allocator is another one: ask [`is_counting`].
pub fn calls_during<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = calls();
    let result = work();
    (result, calls() - before)
}

/// Whether [`CountingAllocator`] is this program's global allocator: one allocation and its release are two calls.
#[must_use]
pub fn is_counting() -> bool {
    let ((), calls) = calls_during(|| drop(black_box(Box::new(black_box(0_u64)))));
    calls == 2
}
