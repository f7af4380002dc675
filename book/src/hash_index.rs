//! From (instrument, order id) to the order's slot for any ids at all: open addressing with linear probing in one table.
//!
//! The table has at least twice as many entries as it ever holds, so probes end after a few neighbours of one cache
//! line. Deletion shifts followers back instead of leaving marks: the table does not wear out over a day. Any 64-bit id
//! is as good as any other. Worst case: ids chosen to collide make a look-up as long as their number.

use crate::arena::{Arena, ArenaError};
use crate::capacity::MemoryRow;
use crate::prefetch::prefetch;
use crate::units::{InstrumentId, OrderId};

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
const EMPTY_ENTRY: Entry = Entry { id: 0, instrument: 0, slot: EMPTY };

/// Entries of a table that holds up to `ids_max` ids: they fill at most half.
const fn entry_count(ids_max: usize) -> usize {
    (ids_max * 2).next_power_of_two()
}

pub(crate) const fn memory(part: &'static str, ids_max: usize) -> MemoryRow {
    MemoryRow { part, count: entry_count(ids_max), bytes_each: size_of::<Entry>() }
}

#[derive(Debug)]
pub(crate) struct HashIndex<'a> {
    entries: &'a mut [Entry],
    mask: usize,
    shift: u32,
    count: usize,
    ids_max: usize,
}

impl<'a> HashIndex<'a> {
    pub(crate) fn new(arena: &'a Arena, ids_max: usize) -> Result<Self, ArenaError> {
        let entries = entry_count(ids_max);
        Ok(Self {
            entries: arena.slice(entries, EMPTY_ENTRY)?,
            mask: entries - 1,
            shift: u64::BITS - entries.trailing_zeros(),
            count: 0,
            ids_max,
        })
    }

    /// Ids in it.
    #[inline]
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Multiplicative hashing takes the high bits, which every bit of the key reaches; the fold lets the high half of
    /// the id reach them as well as the low one.
    #[inline]
    fn home(&self, instrument: InstrumentId, id: OrderId) -> usize {
        let key = id.0 ^ (id.0 >> 32) ^ (u64::from(instrument.0) << 40);
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// Every id in it, in no order. Cost: a pass over the table.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (InstrumentId, OrderId)> {
        let entries = self.entries.iter().filter(|entry| entry.slot != EMPTY);
        entries.map(|entry| (InstrumentId(entry.instrument), OrderId(entry.id)))
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

    /// The entry of an id, and its slot.
    #[inline]
    pub(crate) fn find(&self, instrument: InstrumentId, id: OrderId) -> Option<(HashPlace, u32)> {
        let mut place = self.home(instrument, id);
        loop {
            let entry = &self.entries[place & self.mask];
            if entry.slot == EMPTY {
                return None;
            }
            if entry.id == id.0 && entry.instrument == instrument.0 {
                return Some((HashPlace(place & self.mask), entry.slot));
            }
            place += 1;
        }
    }

    /// Adds an id that is not in it; false, and nothing done, when it holds as many as it may.
    #[inline]
    pub(crate) fn insert(&mut self, instrument: InstrumentId, id: OrderId, slot: u32) -> bool {
        debug_assert!(slot != EMPTY && self.find(instrument, id).is_none());
        if self.count == self.ids_max {
            return false;
        }
        self.count += 1;
        let mut place = self.home(instrument, id);
        while self.entries[place & self.mask].slot != EMPTY {
            place += 1;
        }
        self.entries[place & self.mask] = Entry { id: id.0, instrument: instrument.0, slot };
        true
    }

    /// Removes the entry at a place that [`HashIndex::find`] gave.
    #[inline]
    pub(crate) fn remove(&mut self, HashPlace(mut hole): HashPlace) {
        self.count -= 1;
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

    /// Removes every id of an instrument, or of all. Cost: a pass over the table while there are any.
    pub(crate) fn remove_all_of(&mut self, instrument: InstrumentId) {
        let mut place = 0;
        while self.count > 0 && place < self.entries.len() {
            let entry = self.entries[place];
            if entry.slot != EMPTY && (instrument == InstrumentId::ALL || entry.instrument == instrument.0) {
                // The removal may have moved another entry here: look again.
                self.remove(HashPlace(place));
            } else {
                place += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const IDS_MAX: usize = 64;

    proptest! {
        #[test]
        fn equals_a_hash_map(
            steps in proptest::collection::vec((1_u32..4, 0_u64..40, any::<bool>()), 1..2000),
            stride in proptest::sample::select(vec![1_u64, 8, 1 << 20, 1 << 40, 0x9E37_79B9_7F4A_7C15]),
        ) {
            let arena = Arena::new(memory("ids", IDS_MAX).bytes()).expect("small");
            let mut index = HashIndex::new(&arena, IDS_MAX).expect("fits");
            let mut map = HashMap::new();
            for (step, (instrument, id, add)) in (0..).zip(steps) {
                let key = (InstrumentId(instrument), OrderId(id.wrapping_mul(stride)));
                let found = index.find(key.0, key.1);
                prop_assert_eq!(found.map(|(_, slot)| slot), map.get(&key).copied());
                match (found, add) {
                    (None, true) => {
                        prop_assert_eq!(index.insert(key.0, key.1, step), map.len() < IDS_MAX);
                        if map.len() < IDS_MAX {
                            map.insert(key, step);
                        }
                    }
                    (Some((place, _)), false) => {
                        index.remove(place);
                        map.remove(&key);
                    }
                    _ => {}
                }
                prop_assert_eq!(index.count(), map.len());
            }
            index.remove_all_of(InstrumentId(2));
            map.retain(|key, _| key.0 != InstrumentId(2));
            prop_assert_eq!(index.count(), map.len());
            for (key, slot) in &map {
                prop_assert_eq!(index.find(key.0, key.1).map(|(_, slot)| slot), Some(*slot));
            }
            index.remove_all_of(InstrumentId::ALL);
            prop_assert!(index.entries.iter().all(|entry| entry.slot == EMPTY));
        }
    }
}
