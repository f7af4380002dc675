//! How a batch of lines is stored: word by word, or, on x86-64, put together first and then moved in as a whole.
//!
//! A core that stores words of a line which another core has read must first fetch that line. The processor's string move
//! writes whole lines and fetches nothing. It makes its words visible in no stated order, so lines that were moved count as
//! unread until the sequence of the batch's first line is stored after them, with Release: that is the order which the
//! processor's manuals promise for a store behind a string move. To Rust, `rep movsq` to lines is a row of relaxed atomic
//! stores of 64 bits.

#![allow(unsafe_code)]

use super::lane::Line;
use tickcore_book::Event;

/// How many lines ahead a writer of single events asks for the right to write. Of 0, 2, 4, 8 and 16, 4 was best.
pub(super) const SINGLE_AHEAD_LINES: u64 = 4;

/// Lines that are put together at most: 16 KB, which stay in the first-level cache.
pub(super) const STAGE_LINES_MAX: usize = 256;

/// Fewer lines are stored word by word: a string move takes its time to begin.
const MOVED_LINES_MIN: usize = 32;

/// Whether this build moves lines as a whole.
const HAS_MOVES: bool = cfg!(all(target_arch = "x86_64", not(loom), not(miri)));

/// A line before it is moved into the ring.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct StagedLine {
    sequence: u64,
    event: Event,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<StagedLine>() == size_of::<Line>());

/// Where a writer puts lines together.
#[derive(Debug)]
pub(super) struct Stage {
    lines: Box<[StagedLine]>,
}

impl Stage {
    /// A stage for batches of up to `lines_max` lines.
    pub(super) fn new(lines_max: usize) -> Self {
        let lines = if HAS_MOVES && lines_max >= MOVED_LINES_MIN { lines_max.min(STAGE_LINES_MAX) } else { 0 };
        Self { lines: vec![StagedLine::default(); lines].into_boxed_slice() }
    }

    /// Writes `events` with their sequences from `first` on into the ring of `lines`, in no stated order. False when that
    /// does not pay or is not possible: nothing was written.
    #[inline]
    pub(super) fn move_in(&mut self, lines: &[Line], first: u64, events: &[Event]) -> bool {
        if !(MOVED_LINES_MIN..=self.lines.len()).contains(&events.len()) {
            return false;
        }
        let staged = &mut self.lines[..events.len()];
        for ((line, event), sequence) in staged.iter_mut().zip(events).zip(first..) {
            *line = StagedLine { sequence, event: *event };
        }
        let start = first.wrapping_sub(1) as usize & (lines.len() - 1);
        let (before_wrap, behind_wrap) = staged.split_at(staged.len().min(lines.len() - start));
        move_lines(&lines[start..], before_wrap);
        move_lines(lines, behind_wrap);
        true
    }
}

/// Moves `staged` to the beginning of `lines`.
fn move_lines(lines: &[Line], staged: &[StagedLine]) {
    assert!(staged.len() <= lines.len(), "{} lines do not go into {}", staged.len(), lines.len());
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: reads as many lines as there are staged and writes as many to the ring, which has them, as asserted. A line of
    // the ring is eight aligned atomic words, which a shared reference allows to be written; each is stored at once. The
    // direction flag is clear, as the calling convention has it.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            inout("rsi") staged.as_ptr() => _,
            inout("rdi") lines.as_ptr() => _,
            inout("rcx") staged.len() * (size_of::<StagedLine>() / size_of::<u64>()) => _,
            options(nostack, preserves_flags),
        );
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
