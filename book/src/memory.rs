//! What the books take of memory, part by part, before any of it is taken.

use crate::anomaly::AnomalyCounts;
use crate::arena::ARENA_ALIGN;
use crate::bbo::Quote;
use crate::books::Marks;
use crate::capacity::{Capacity, MemoryRow};
use crate::sides::row_count;
use crate::{index, instrument, ladder, last_trade, queues, sides, tick};

impl Capacity {
    /// The parts of the books with what each takes.
    pub fn memory(self) -> Vec<MemoryRow> {
        let count = row_count(self);
        let mut rows = Vec::from(index::memory(self));
        rows.extend(queues::memory(self));
        rows.extend(sides::memory(self));
        rows.extend([
            ladder::memory(self),
            instrument::memory(self),
            last_trade::memory(self),
            tick::memory(),
            MemoryRow { part: "published tops", count, bytes_each: size_of::<[Quote; 2]>() },
            MemoryRow { part: "anomaly counters", count, bytes_each: size_of::<AnomalyCounts>() },
            MemoryRow { part: "marks", count, bytes_each: size_of::<Marks>() },
        ]);
        rows
    }

    /// Bytes that an arena needs for books of this capacity.
    pub fn arena_bytes(self) -> usize {
        self.memory().iter().map(|row| row.bytes().next_multiple_of(ARENA_ALIGN)).sum()
    }
}
