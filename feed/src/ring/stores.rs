//! How lines are stored: hints to the processor, and whole lines at once where it can.
//!
//! A line that is written by one store of 64 bytes is written without being fetched first. Its eight words become visible
//! in no stated order, so such a line counts as unread until the sequence of the batch's first line is stored after it, with
//! Release. To Rust, a store of a whole line is eight relaxed atomic stores: aligned words of 64 bits are never torn on
//! x86-64, the instruction's memory is atomic words only, and stores are seen in the order of the program.

#![allow(unsafe_code)]

use super::lane::Line;
use tickcore_book::Event;

/// How many lines ahead a writer of single events asks for the right to write. Of 0, 2, 4, 8 and 16, 4 was best.
pub(super) const SINGLE_AHEAD_LINES: u64 = 4;

/// The same for a writer of batches. 16 and 32 were equal, 8 and 0 slower.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
const BATCH_AHEAD_LINES: usize = 16;

/// What this processor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stores {
    has_whole_lines: bool,
}

impl Stores {
    /// Asks the processor. Costs a load after the first time.
    pub(super) fn detect() -> Self {
        #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
        let has_whole_lines = std::arch::is_x86_feature_detected!("avx512f");
        #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
        let has_whole_lines = false;
        Self { has_whole_lines }
    }

    /// What every processor can do.
    #[cfg(test)]
    pub(super) const PORTABLE: Self = Self { has_whole_lines: false };

    /// Writes `events` with their sequences from `first` on into the ring of `lines`, in no stated order. False when this
    /// processor cannot: nothing was written.
    #[inline]
    pub(super) fn write_whole_lines(self, lines: &[Line], first: u64, events: &[Event]) -> bool {
        if !self.has_whole_lines {
            return false;
        }
        #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
        // SAFETY: `detect` has found AVX-512F.
        unsafe {
            write_lines_of_64_bytes(lines, first, events);
        }
        #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
        let _ = (lines, first, events);
        true
    }
}

/// Asks for the right to write a line soon, so that it is there when the stores come. A hint: changes nothing.
#[inline(always)]
pub(super) fn prefetch_for_write(line: &Line) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: the instruction reads and writes nothing and cannot fault; processors that lack it take it as a no-op.
    unsafe {
        core::arch::asm!("prefetchw [{line}]", line = in(reg) line, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = line;
}

/// # Safety
/// The processor must have AVX-512F.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[target_feature(enable = "avx512f")]
unsafe fn write_lines_of_64_bytes(lines: &[Line], first: u64, events: &[Event]) {
    /// All words of a line but the first, which is the sequence.
    const PAYLOAD: u16 = 0b1111_1110;
    let mask = lines.len() - 1;
    let mut place = first.wrapping_sub(1) as usize;
    let mut sequence = first;
    for event in events {
        prefetch_for_write(&lines[place.wrapping_add(BATCH_AHEAD_LINES) & mask]);
        let line: *const Line = &raw const lines[place & mask];
        // SAFETY: the load takes the 56 bytes of the event: the word before it is masked out, and a masked word cannot
        // fault. The store goes to one whole line, which is 64 bytes, aligned to 64, and consists of atomic words, which a
        // shared reference allows to be written.
        unsafe {
            core::arch::asm!(
                "vpbroadcastq {words}, {sequence}",
                "vmovdqu64 {words}{{{payload}}}, [{event} - 8]",
                "vmovdqa64 [{line}], {words}",
                words = out(zmm_reg) _,
                payload = in(kreg) PAYLOAD,
                sequence = in(reg) sequence,
                event = in(reg) event,
                line = in(reg) line,
                options(nostack, preserves_flags),
            );
        }
        place = place.wrapping_add(1);
        sequence += 1;
    }
}
