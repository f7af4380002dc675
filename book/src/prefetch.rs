//! Asking the processor for a cache line before it is needed. A hint only: it changes nothing and cannot fault.

#![allow(unsafe_code)]

/// Fetches the line on which `slice[index]` begins into the first-level cache; an index out of bounds asks for a line
/// that nobody needs.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching never faults and has no effect on memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().wrapping_add(index).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}
