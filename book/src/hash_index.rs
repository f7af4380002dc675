//! From (instrument, order id) to the order's slot for any ids at all: open addressing with linear probing in one table.
//!
//! The table has at least twice as many entries as it ever holds, so probes end after a few neighbours of one cache
//! line. Deletion shifts followers back instead of leaving marks: the table does not wear out over a day. Any 64-bit id
//! is as good as any other. Worst case: ids chosen to collide make a look-up as long as their number.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::prefetch::prefetch;
use crate::units::{InstrumentId, OrderId};

/// What an index knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Live, in this slot of the order pool.
    Live(u32),
    /// Dropped at a maximum and remembered.
    Dropped,
}

/// Place of an entry, valid until the next insertion or removal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashPlace(usize);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Entry {
    id: u64,
    instrument: u32,
    slot: u32,
}

const EMPTY: u32 = u32::MAX;
const DROPPED: u32 = u32::MAX - 1;
const EMPTY_ENTRY: Entry = Entry { id: 0, instrument: 0, slot: EMPTY };

/// Entries for this capacity: live and remembered ids fill at most half.
fn entry_count(capacity: Capacity) -> usize {
    ((capacity.orders_max as usize + capacity.dropped_orders_max()) * 2).next_power_of_two()
}

pub(crate) fn memory(capacity: Capacity) -> MemoryRow {
    MemoryRow { part: "order hash", count: entry_count(capacity), bytes_each: size_of::<Entry>() }
}

#[derive(Debug)]
pub(crate) struct HashIndex<'a> {
    entries: &'a mut [Entry],
    mask: usize,
    shift: u32,
    dropped_count: usize,
    dropped_max: usize,
}

impl<'a> HashIndex<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        let count = entry_count(capacity);
        Ok(Self {
            entries: arena.slice(count, EMPTY_ENTRY)?,
            mask: count - 1,
            shift: u64::BITS - count.trailing_zeros(),
            dropped_count: 0,
            dropped_max: capacity.dropped_orders_max(),
        })
    }

    /// Multiplicative hashing takes the high bits, which every bit of the key reaches; the fold lets the high half of
    /// the id reach them as well as the low one.
    #[inline]
    fn home(&self, instrument: InstrumentId, id: OrderId) -> usize {
        let key = id.0 ^ (id.0 >> 32) ^ (u64::from(instrument.0) << 40);
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// Asks for the line on which the entry of an id would be.
    #[inline]
    pub(crate) fn prefetch(&self, instrument: InstrumentId, id: OrderId) {
        prefetch(self.entries, self.home(instrument, id));
    }

    /// A guess at the slot of an id, from one line: what its home entry says, right or wrong.
    #[inline]
    pub(crate) fn guess(&self, instrument: InstrumentId, id: OrderId) -> u32 {
        self.entries[self.home(instrument, id) & self.mask].slot
    }

    /// The entry of an id, and what it says.
    #[inline]
    pub(crate) fn find(&self, instrument: InstrumentId, id: OrderId) -> Option<(HashPlace, Found)> {
        let mut place = self.home(instrument, id);
        loop {
            let entry = &self.entries[place & self.mask];
            if entry.slot == EMPTY {
                return None;
            }
            if entry.id == id.0 && entry.instrument == instrument.0 {
                let found = if entry.slot == DROPPED { Found::Dropped } else { Found::Live(entry.slot) };
                return Some((HashPlace(place & self.mask), found));
            }
            place += 1;
        }
    }

    /// Adds a live id that is not in the index. The order pool bounds how many there are.
    #[inline]
    pub(crate) fn insert(&mut self, instrument: InstrumentId, id: OrderId, slot: u32) {
        debug_assert!(slot < DROPPED && self.find(instrument, id).is_none());
        self.put(instrument, id, slot);
    }

    /// Remembers a dropped id that is not in the index; forgets it at once when too many are remembered already.
    #[cold]
    pub(crate) fn insert_dropped(&mut self, instrument: InstrumentId, id: OrderId) {
        debug_assert!(self.find(instrument, id).is_none());
        if self.dropped_count < self.dropped_max {
            self.dropped_count += 1;
            self.put(instrument, id, DROPPED);
        }
    }

    fn put(&mut self, instrument: InstrumentId, id: OrderId, slot: u32) {
        let mut place = self.home(instrument, id);
        while self.entries[place & self.mask].slot != EMPTY {
            place += 1;
        }
        self.entries[place & self.mask] = Entry { id: id.0, instrument: instrument.0, slot };
    }

    /// Removes the entry at a place that [`HashIndex::find`] gave.
    #[inline]
    pub(crate) fn remove(&mut self, HashPlace(mut hole): HashPlace) {
        if self.entries[hole].slot == DROPPED {
            self.dropped_count -= 1;
        }
        let mut next = hole;
        loop {
            next = (next + 1) & self.mask;
            let entry = self.entries[next];
            if entry.slot == EMPTY {
                break;
            }
            let home = self.home(InstrumentId(entry.instrument), OrderId(entry.id));
            // Move back whatever probes past the hole on its way from home.
            if next.wrapping_sub(home) & self.mask >= next.wrapping_sub(hole) & self.mask {
                self.entries[hole] = entry;
                hole = next;
            }
        }
        self.entries[hole] = EMPTY_ENTRY;
    }

    /// Forgets the dropped ids of an instrument, or all. Cost: a pass over the table when there are any.
    pub(crate) fn forget_dropped(&mut self, instrument: InstrumentId) {
        let mut place = 0;
        while self.dropped_count > 0 && place < self.entries.len() {
            let entry = self.entries[place];
            if entry.slot == DROPPED && (instrument == InstrumentId::ALL || entry.instrument == instrument.0) {
                // The removal may have moved another entry here: look again.
                self.remove(HashPlace(place));
            } else {
                place += 1;
            }
        }
    }

    /// Counts live and dropped entries.
    pub(crate) fn count(&self) -> (usize, usize) {
        let dropped = self.entries.iter().filter(|entry| entry.slot == DROPPED).count();
        let used = self.entries.iter().filter(|entry| entry.slot != EMPTY).count();
        (used - dropped, dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const CAPACITY: Capacity = Capacity { instruments_max: 4, orders_max: 64, levels_max: 1 };

    proptest! {
        #[test]
        fn equals_a_hash_map(
            steps in proptest::collection::vec((1_u32..4, 0_u64..40, any::<bool>(), any::<bool>()), 1..2000),
            stride in proptest::sample::select(vec![1_u64, 8, 1 << 20, 1 << 40, 0x9E37_79B9_7F4A_7C15]),
        ) {
            let arena = Arena::new(memory(CAPACITY).bytes()).expect("small");
            let mut index = HashIndex::new(&arena, CAPACITY).expect("fits");
            let mut map = HashMap::new();
            for (step, (instrument, id, add, drop)) in (0..).zip(steps) {
                let key = (InstrumentId(instrument), OrderId(id.wrapping_mul(stride)));
                let found = index.find(key.0, key.1);
                prop_assert_eq!(found.map(|(_, found)| found), map.get(&key).copied());
                match (found, add) {
                    (None, true) if drop => {
                        index.insert_dropped(key.0, key.1);
                        map.insert(key, Found::Dropped);
                    }
                    (None, true) if map.len() < 64 => {
                        index.insert(key.0, key.1, step);
                        map.insert(key, Found::Live(step));
                    }
                    (Some((place, _)), false) => {
                        index.remove(place);
                        map.remove(&key);
                    }
                    _ => {}
                }
                let dropped = map.values().filter(|found| **found == Found::Dropped).count();
                prop_assert_eq!(index.count(), (map.len() - dropped, dropped));
            }
            index.forget_dropped(InstrumentId(2));
            map.retain(|key, found| key.0 != InstrumentId(2) || *found != Found::Dropped);
            for (key, found) in &map {
                prop_assert_eq!(index.find(key.0, key.1).map(|(_, found)| found), Some(*found));
            }
            index.forget_dropped(InstrumentId::ALL);
            prop_assert_eq!(index.count().1, 0);
        }
    }

    #[test]
    fn remembers_no_more_dropped_ids_than_its_maximum() {
        let arena = Arena::new(memory(CAPACITY).bytes()).expect("small");
        let mut index = HashIndex::new(&arena, CAPACITY).expect("fits");
        for id in 0..CAPACITY.dropped_orders_max() as u64 + 1 {
            index.insert_dropped(InstrumentId(1), OrderId(id));
        }
        assert_eq!(index.count(), (0, CAPACITY.dropped_orders_max()));
        assert!(index.find(InstrumentId(1), OrderId(0)).is_some());
        assert!(index.find(InstrumentId(1), OrderId(CAPACITY.dropped_orders_max() as u64)).is_none());
    }
}
