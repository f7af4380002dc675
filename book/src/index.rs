//! From (instrument, order id) to the order's slot.
//!
//! Venues number orders upwards, with gaps. So ids are cut into pages of [`PAGE_IDS`]: a directory leads from an id's
//! page number to a page of slots from a fixed pool, and an id is found without a search. Neighbouring ids share a cache
//! line, which makes adding nearly free. A page comes from the pool with its first order and goes back with its last.
//!
//! What does not fit that picture is kept in a hash table: ids beyond the directory, ids of a second instrument at a place
//! that is taken, and whole pages with few orders when the pool runs low, so that orders that live long pin little memory.
//! A page that was moved stays in the hash table until everything is cleared. Ids that were dropped at a maximum are
//! remembered in a small table of their own, which nobody looks into while it is empty.
//!
//! Worst case: an Add that finds no free page moves up to [`PAGE_IDS`] ids of another into the hash table, some 10 µs.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::hash_index::{self, HashIndex, HashPlace};
use crate::prefetch::prefetch;
use crate::units::{InstrumentId, OrderId};

/// Ids that share a page: 2 KB of slots.
const PAGE_IDS: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 9;
/// Most pages that the directory knows: ids up to 2³¹, in 16 MB.
const DIRECTORY_PAGES_MAX: usize = 1 << 22;
/// A page with no more ids than this is moved to the hash table without looking for a better one.
const SPARSE_IDS: u32 = 16;
/// Pages looked at for one to move.
const LOOKS_MAX: usize = 64;

/// In a page: no order. In the directory: no page, and no id of it in the hash table either.
const NOTHING: u32 = u32::MAX;
/// In the directory: ids of this page are in the hash table.
const HASHED: u32 = u32::MAX - 1;

/// What the index knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Live, in this slot of the order pool.
    Live(u32),
    /// Dropped at a maximum and remembered.
    Dropped,
}

/// Place of an entry, valid until the next insertion or removal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Page { page: u32, rank: usize },
    Hash(HashPlace),
    Dropped(HashPlace),
}

/// The slots of a page.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Page([u32; PAGE_IDS]);

/// What is known of a page in use; `number` links the free ones.
#[derive(Clone, Copy, Debug)]
struct PageHead {
    number: u32,
    live: u32,
    /// Some id of this page is in the hash table.
    has_hashed: bool,
}

const FREE_HEAD: PageHead = PageHead { number: NOTHING, live: 0, has_hashed: false };

fn page_count(capacity: Capacity) -> usize {
    (capacity.orders_max as usize / 32).max(16)
}

fn directory_pages(capacity: Capacity) -> usize {
    (capacity.orders_max as usize).saturating_mul(8).next_power_of_two().clamp(64, DIRECTORY_PAGES_MAX)
}

pub(crate) fn memory(capacity: Capacity) -> [MemoryRow; 5] {
    let pages = page_count(capacity);
    [
        MemoryRow { part: "order pages", count: pages, bytes_each: size_of::<Page>() },
        MemoryRow { part: "order page heads", count: pages, bytes_each: size_of::<PageHead>() },
        MemoryRow { part: "order directory", count: directory_pages(capacity), bytes_each: size_of::<u32>() },
        hash_index::memory("order hash", capacity.orders_max as usize),
        hash_index::memory("dropped orders", capacity.dropped_orders_max()),
    ]
}

#[derive(Debug)]
pub(crate) struct OrderIndex<'a> {
    directory: &'a mut [u32],
    pages: &'a mut [Page],
    heads: &'a mut [PageHead],
    free: u32,
    fresh: u32,
    /// Where the search for a page to move goes on.
    hand: usize,
    hash: HashIndex<'a>,
    dropped: HashIndex<'a>,
    /// Some page in the directory is [`HASHED`].
    has_hashed_pages: bool,
}

impl<'a> OrderIndex<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        let pages = page_count(capacity);
        Ok(Self {
            directory: arena.slice(directory_pages(capacity), NOTHING)?,
            pages: arena.slice(pages, Page([NOTHING; PAGE_IDS]))?,
            heads: arena.slice(pages, FREE_HEAD)?,
            free: NOTHING,
            fresh: 0,
            hand: 0,
            hash: HashIndex::new(arena, capacity.orders_max as usize)?,
            dropped: HashIndex::new(arena, capacity.dropped_orders_max())?,
            has_hashed_pages: false,
        })
    }

    #[inline]
    const fn rank(id: OrderId) -> usize {
        id.0 as usize % PAGE_IDS
    }

    /// What the directory says of an id's page; ids beyond it are hashed.
    #[inline]
    fn page_of(&self, id: OrderId) -> u32 {
        let number = (id.0 >> PAGE_BITS) as usize;
        self.directory.get(number).copied().unwrap_or(HASHED)
    }

    #[inline]
    fn slot_in(&self, page: u32, id: OrderId) -> u32 {
        self.pages[page as usize].0[Self::rank(id)]
    }

    /// Asks for the line on which an id's slot is.
    #[inline]
    pub(crate) fn prefetch(&self, instrument: InstrumentId, id: OrderId) {
        let page = self.page_of(id);
        match self.pages.get(page as usize) {
            Some(slots) => prefetch(&slots.0, Self::rank(id)),
            None if page == HASHED => self.hash.prefetch(instrument, id),
            None => {}
        }
    }

    /// A guess at the slot of an id from one line, right or wrong.
    #[inline]
    pub(crate) fn guess(&self, instrument: InstrumentId, id: OrderId) -> u32 {
        let page = self.page_of(id);
        match self.pages.get(page as usize) {
            Some(slots) => slots.0[Self::rank(id)],
            None if page == HASHED => self.hash.guess(instrument, id),
            None => NOTHING,
        }
    }

    /// The entry of an id, and what it says. `instrument_of` tells the instrument of the order in a slot.
    #[inline]
    pub(crate) fn find(
        &self,
        instrument: InstrumentId,
        id: OrderId,
        instrument_of: impl Fn(u32) -> InstrumentId,
    ) -> Option<(Place, Found)> {
        let page = self.page_of(id);
        let mut is_hashed = page == HASHED;
        if page < HASHED {
            let slot = self.slot_in(page, id);
            if slot != NOTHING && instrument_of(slot) == instrument {
                return Some((Place::Page { page, rank: Self::rank(id) }, Found::Live(slot)));
            }
            is_hashed = self.heads[page as usize].has_hashed;
        }
        if is_hashed && let Some((place, slot)) = self.hash.find(instrument, id) {
            return Some((Place::Hash(place), Found::Live(slot)));
        }
        if self.dropped.count() == 0 {
            return None;
        }
        self.dropped.find(instrument, id).map(|(place, _)| (Place::Dropped(place), Found::Dropped))
    }

    /// Adds a live id that is not in the index. The order pool bounds how many there are.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        instrument: InstrumentId,
        id: OrderId,
        slot: u32,
        instrument_of: impl Fn(u32) -> InstrumentId,
    ) {
        let mut page = self.page_of(id);
        if page == NOTHING {
            page = self.take_page((id.0 >> PAGE_BITS) as u32, instrument_of);
        }
        if page < HASHED {
            let place = &mut self.pages[page as usize].0[Self::rank(id)];
            if *place == NOTHING {
                *place = slot;
                self.heads[page as usize].live += 1;
                return;
            }
            self.heads[page as usize].has_hashed = true;
        }
        let has_room = self.hash.insert(instrument, id, slot);
        debug_assert!(has_room, "the table has room for as many ids as the order pool has slots");
    }

    /// Remembers a dropped id that is not in the index; forgets it at once when too many are remembered already.
    #[cold]
    pub(crate) fn insert_dropped(&mut self, instrument: InstrumentId, id: OrderId) {
        self.dropped.insert(instrument, id, 0);
    }

    /// Removes the entry at a place that [`OrderIndex::find`] gave.
    #[inline]
    pub(crate) fn remove(&mut self, place: Place) {
        match place {
            Place::Page { page, rank } => {
                self.pages[page as usize].0[rank] = NOTHING;
                let head = &mut self.heads[page as usize];
                head.live -= 1;
                if head.live == 0 {
                    self.give_back(page);
                }
            }
            Place::Hash(place) => self.hash.remove(place),
            Place::Dropped(place) => self.dropped.remove(place),
        }
    }

    /// A page for the ids of `number`, and the directory's word for it: [`HASHED`] when none can be had.
    #[cold]
    fn take_page(&mut self, number: u32, instrument_of: impl Fn(u32) -> InstrumentId) -> u32 {
        if self.free == NOTHING && self.fresh as usize == self.pages.len() {
            self.move_sparse_page(instrument_of);
        }
        let page = if self.free != NOTHING {
            let page = self.free;
            self.free = self.heads[page as usize].number;
            page
        } else {
            self.fresh += 1;
            self.fresh - 1
        };
        self.heads[page as usize] = PageHead { number, live: 0, has_hashed: false };
        self.directory[number as usize] = page;
        page
    }

    fn give_back(&mut self, page: u32) {
        let PageHead { number, has_hashed, .. } = self.heads[page as usize];
        self.directory[number as usize] = if has_hashed { HASHED } else { NOTHING };
        self.has_hashed_pages |= has_hashed;
        self.heads[page as usize] = PageHead { number: self.free, ..FREE_HEAD };
        self.free = page;
    }

    /// Moves the ids of a page with few of them to the hash table. All pages are in use.
    fn move_sparse_page(&mut self, instrument_of: impl Fn(u32) -> InstrumentId) {
        let mut sparsest = self.hand;
        for _ in 0..LOOKS_MAX {
            self.hand = (self.hand + 1) % self.heads.len();
            if self.heads[self.hand].live < self.heads[sparsest].live {
                sparsest = self.hand;
            }
            if self.heads[sparsest].live <= SPARSE_IDS {
                break;
            }
        }
        let first_id = u64::from(self.heads[sparsest].number) << PAGE_BITS;
        for rank in 0..PAGE_IDS {
            let slot = core::mem::replace(&mut self.pages[sparsest].0[rank], NOTHING);
            if slot != NOTHING {
                let has_room = self.hash.insert(instrument_of(slot), OrderId(first_id + rank as u64), slot);
                debug_assert!(has_room, "the table has room for as many ids as the order pool has slots");
            }
        }
        self.heads[sparsest].has_hashed = true;
        self.give_back(sparsest as u32);
    }

    /// Forgets the dropped ids of an instrument, or all. Cost: a pass over their table while there are any.
    pub(crate) fn forget_dropped(&mut self, instrument: InstrumentId) {
        self.dropped.remove_all_of(instrument);
    }

    /// Gives pages that were moved their place back, once no order is live. Cost: a pass over the directory if there are any.
    pub(crate) fn restart_pages(&mut self) {
        if self.has_hashed_pages && self.live_count() == 0 {
            self.directory.fill(NOTHING);
            self.has_hashed_pages = false;
        }
    }

    /// Counts live ids. Cost: a pass over the pages in use.
    pub(crate) fn live_count(&self) -> usize {
        self.hash.count() + self.heads[..self.fresh as usize].iter().map(|head| head.live as usize).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// 16 pages, a directory of 512 pages: small enough that pages are moved and ids lie beyond.
    const CAPACITY: Capacity = Capacity { instruments_max: 4, orders_max: 64, levels_max: 1 };

    fn arena() -> Arena {
        Arena::new(memory(CAPACITY).iter().map(|row| row.bytes() + 64).sum()).expect("small")
    }

    proptest! {
        #[test]
        fn equals_a_hash_map(
            steps in proptest::collection::vec((1_u32..4, 0_u64..60, any::<bool>(), 0_u8..12), 1..3000),
            stride in proptest::sample::select(vec![1_u64, 100, 512, 700, 8192, 1 << 40]),
        ) {
            let arena = arena();
            let mut index = OrderIndex::new(&arena, CAPACITY).expect("fits");
            let mut map: HashMap<(InstrumentId, OrderId), Found> = HashMap::new();
            let mut instruments: HashMap<u32, InstrumentId> = HashMap::new();
            for (step, (instrument, number, add, drop)) in (0..).zip(steps) {
                let (instrument, id) = (InstrumentId(instrument), OrderId(number.wrapping_mul(stride)));
                let found = index.find(instrument, id, |slot| instruments[&slot]);
                prop_assert_eq!(found.map(|(_, found)| found), map.get(&(instrument, id)).copied());
                let live = map.values().filter(|found| **found != Found::Dropped).count();
                match (found, add) {
                    (None, true) if drop == 0 => {
                        index.insert_dropped(instrument, id);
                        map.insert((instrument, id), Found::Dropped);
                    }
                    (None, true) if live < 64 => {
                        instruments.insert(step, instrument);
                        index.insert(instrument, id, step, |slot| instruments[&slot]);
                        map.insert((instrument, id), Found::Live(step));
                    }
                    (Some((place, _)), false) => {
                        index.remove(place);
                        map.remove(&(instrument, id));
                    }
                    _ => {}
                }
                let live = map.values().filter(|found| **found != Found::Dropped).count();
                prop_assert_eq!(index.live_count(), live);
            }
            index.forget_dropped(InstrumentId::ALL);
            map.retain(|_, found| *found != Found::Dropped);
            for ((instrument, id), found) in &map {
                prop_assert_eq!(index.find(*instrument, *id, |slot| instruments[&slot]).map(|(_, found)| found), Some(*found));
            }
        }
    }

    #[test]
    fn pages_are_moved_when_the_pool_runs_low_and_come_back_when_empty() {
        let arena = arena();
        let mut index = OrderIndex::new(&arena, CAPACITY).expect("fits");
        let of = |_| InstrumentId(1);
        let ids: Vec<OrderId> = (0..40).map(|number| OrderId(number * PAGE_IDS as u64)).collect();
        for (slot, &id) in (0..).zip(&ids) {
            index.insert(InstrumentId(1), id, slot, of);
        }
        assert_eq!((index.live_count(), index.hash.count()), (40, 40 - index.pages.len()));
        for (slot, &id) in (0..).zip(&ids) {
            let (place, found) = index.find(InstrumentId(1), id, of).expect("live");
            assert_eq!(found, Found::Live(slot));
            index.remove(place);
        }
        assert_eq!(index.live_count(), 0);
        let mut free = 0;
        let mut page = index.free;
        while page != NOTHING {
            free += 1;
            page = index.heads[page as usize].number;
        }
        assert_eq!(free, index.pages.len());
        assert!(index.pages.iter().all(|page| page.0 == [NOTHING; PAGE_IDS]));
        assert!(index.directory.contains(&HASHED));
        index.restart_pages();
        assert!(index.directory.iter().all(|page| *page == NOTHING));
    }
}
