//! From (instrument, order id) to the order's slot.
//!
//! Venues number orders upwards, with gaps. So ids are cut into pages of [`PAGE_ORDERS`], and the orders of a page lie in
//! memory as their ids say: a directory leads from an id's page number to a page of slots from a fixed pool, and the id
//! itself is the place there. One line of memory answers for an order, its id need not be kept, and neighbouring ids share
//! a line, which makes adding nearly free. A page comes from the pool with its first order and goes back with its last.
//!
//! What does not fit that picture rests in single slots, found by a hash table: ids beyond the directory, ids of a second
//! instrument at a place that is taken, and the orders of whole pages with few of them when the pool runs low, so that
//! orders that live long pin little memory. A page that was moved stays in the hash table until everything is cleared. Ids
//! that were dropped at a maximum are remembered in a small table of their own, which nobody looks into while it is empty.
//!
//! Worst case: an Add that finds no free page moves up to [`PAGE_ORDERS`] orders of another, some 20 µs.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::hash_index::{self, HashIndex, HashPlace};
use crate::order::NONE;
use crate::queues::Queues;
use crate::units::{InstrumentId, OrderId};

const _: () = assert!(PAGE_ORDERS <= u16::MAX as u32);

/// Ids that share a page: 4 KB of orders.
pub(crate) const PAGE_ORDERS: u32 = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 8;
/// Orders of the capacity for each page of the pool: pages take 8 times the memory of the orders in them at the maximum.
const ORDERS_PER_PAGE: u32 = 32;
/// Fewest pages for ids.
const PAGES_MIN: u32 = 16;
/// Most pages.
pub(crate) const PAGES_MAX: u32 = 1 << 22;
/// Most pages that the directory knows: ids up to 2³², in 64 MB.
const DIRECTORY_PAGES_MAX: usize = 1 << 24;
/// A page with no more orders than this is moved without looking for a better one.
const SPARSE_ORDERS: u16 = 8;
/// Pages looked at for one to move.
const LOOKS_MAX: usize = 64;

/// In the directory: no page, and no id of it in the hash table either. It leads to a page that is always empty, so that a
/// look-up need not ask.
const NO_PAGE: u32 = 0;
/// In the directory: ids of this page are in the hash table. It leads to a page that is always empty, too.
const HASHED: u32 = 1;
/// The first page for ids.
const FIRST_PAGE: u32 = 2;

/// What the index knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Live, in this slot.
    Live(u32),
    /// Dropped at a maximum and remembered.
    Dropped,
}

/// Place of an entry, valid until the next insertion or removal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Page(u32),
    Hash(HashPlace),
    Dropped(HashPlace),
}

/// A free slot in a page, where an order can be put at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vacancy {
    page: u32,
    slot: u32,
}

/// What is known of a page in use; `number` links the free ones. How many orders are live in it is kept elsewhere: that is
/// needed at each order's end, when the page is long out of the cache.
#[derive(Clone, Copy, Debug)]
struct PageHead {
    number: u32,
    /// Some id of this page is in the hash table.
    has_hashed: bool,
}

const FREE_HEAD: PageHead = PageHead { number: NO_PAGE, has_hashed: false };

/// Pages of the pool, with the two that are always empty.
pub(crate) fn page_count(capacity: Capacity) -> u32 {
    FIRST_PAGE + (capacity.orders_max / ORDERS_PER_PAGE).clamp(PAGES_MIN, PAGES_MAX - FIRST_PAGE)
}

/// The directory ends with a row for all ids beyond it.
fn directory_rows(capacity: Capacity) -> usize {
    directory_pages(capacity) + 1
}

fn directory_pages(capacity: Capacity) -> usize {
    (capacity.orders_max as usize).saturating_mul(16).next_power_of_two().clamp(64, DIRECTORY_PAGES_MAX)
}

pub(crate) fn memory(capacity: Capacity) -> [MemoryRow; 5] {
    let pages = page_count(capacity) as usize;
    [
        MemoryRow { part: "order page heads", count: pages, bytes_each: size_of::<PageHead>() },
        MemoryRow { part: "order page counts", count: pages, bytes_each: size_of::<u16>() },
        MemoryRow { part: "order directory", count: directory_rows(capacity), bytes_each: size_of::<u32>() },
        hash_index::memory("order hash", capacity.orders_max as usize),
        hash_index::memory("dropped orders", capacity.dropped_orders_max()),
    ]
}

#[derive(Debug)]
pub(crate) struct OrderIndex<'a> {
    directory: &'a mut [u32],
    heads: &'a mut [PageHead],
    /// Live orders of each page.
    live: &'a mut [u16],
    free: u32,
    fresh: u32,
    /// Where the search for a page to move goes on.
    hand: u32,
    hash: HashIndex<'a>,
    dropped: HashIndex<'a>,
    /// Some page in the directory is [`HASHED`].
    has_hashed_pages: bool,
}

impl<'a> OrderIndex<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        let heads = arena.slice(page_count(capacity) as usize, FREE_HEAD)?;
        heads[HASHED as usize].has_hashed = true;
        let directory = arena.slice(directory_rows(capacity), NO_PAGE)?;
        directory[directory_pages(capacity)] = HASHED;
        Ok(Self {
            directory,
            heads,
            live: arena.slice(page_count(capacity) as usize, 0)?,
            free: NO_PAGE,
            fresh: FIRST_PAGE,
            hand: FIRST_PAGE,
            hash: HashIndex::new(arena, capacity.orders_max as usize)?,
            dropped: HashIndex::new(arena, capacity.dropped_orders_max())?,
            has_hashed_pages: false,
        })
    }

    #[inline]
    const fn rank(id: OrderId) -> u32 {
        id.0 as u32 % PAGE_ORDERS
    }

    /// What the directory says of an id's page; ids beyond it are hashed.
    #[inline]
    fn page_of(&self, id: OrderId) -> u32 {
        let number = (id.0 >> PAGE_BITS) as usize;
        self.directory[number.min(self.directory.len() - 1)]
    }

    /// Asks for the line that says most of an id: of its slot, which is the answer, or of its entry in the hash table,
    /// which is to be asked later; then the answer is [`NONE`]. A guess, right or wrong.
    #[inline]
    pub(crate) fn prefetch(&self, queues: &Queues<'_>, instrument: InstrumentId, id: OrderId) -> u32 {
        let page = self.page_of(id);
        if page == HASHED {
            self.hash.prefetch(instrument, id);
            return NONE;
        }
        let slot = queues.slot_in_page(page, Self::rank(id));
        queues.prefetch(slot);
        slot
    }

    /// A guess at the slot of an id that is in the hash table; [`NONE`] for none.
    #[inline]
    pub(crate) fn guess_hashed(&self, instrument: InstrumentId, id: OrderId) -> u32 {
        self.hash.guess(instrument, id)
    }

    /// The entry of an id, and what it says.
    #[inline(always)]
    pub(crate) fn find(&self, queues: &Queues<'_>, instrument: InstrumentId, id: OrderId) -> Option<(Place, Found)> {
        let page = self.page_of(id);
        let slot = queues.slot_in_page(page, Self::rank(id));
        if queues.has_order(slot) && queues.side_of(slot).instrument() == instrument {
            return Some((Place::Page(page), Found::Live(slot)));
        }
        self.find_elsewhere(instrument, id, page)
    }

    /// [`OrderIndex::find`] of an id that is not in its page.
    #[inline(never)]
    fn find_elsewhere(&self, instrument: InstrumentId, id: OrderId, page: u32) -> Option<(Place, Found)> {
        if self.heads[page as usize].has_hashed
            && let Some((place, slot)) = self.hash.find(instrument, id)
        {
            return Some((Place::Hash(place), Found::Live(slot)));
        }
        if self.dropped.count() == 0 {
            return None;
        }
        self.dropped.find(instrument, id).map(|(place, _)| (Place::Dropped(place), Found::Dropped))
    }

    /// The slot of an id that is plainly new. `None` says nothing: [`OrderIndex::find`] looks closer.
    #[inline(always)]
    pub(crate) fn vacancy(&self, queues: &Queues<'_>, id: OrderId) -> Option<Vacancy> {
        let page = self.page_of(id);
        let slot = queues.slot_in_page(page, Self::rank(id));
        let is_vacant = (page >= FIRST_PAGE) & !queues.has_order(slot);
        let is_known = self.heads[page as usize].has_hashed | (self.dropped.count() > 0);
        (is_vacant & !is_known).then_some(Vacancy { page, slot })
    }

    /// Takes a vacancy, with nothing inserted or removed since: the slot for the order, which is to be put there at once.
    #[inline]
    pub(crate) fn take(&mut self, Vacancy { page, slot }: Vacancy) -> u32 {
        self.live[page as usize] += 1;
        slot
    }

    /// A slot for a live id that is not in the index, where the order is to be put at once. There is one unless
    /// [`Queues::has_all_orders`].
    #[inline(never)]
    pub(crate) fn insert(&mut self, queues: &mut Queues<'_>, instrument: InstrumentId, id: OrderId) -> u32 {
        let mut page = self.page_of(id);
        if page == NO_PAGE {
            page = self.take_page(queues, (id.0 >> PAGE_BITS) as u32);
        }
        let slot = queues.slot_in_page(page, Self::rank(id));
        if page >= FIRST_PAGE && !queues.has_order(slot) {
            return self.take(Vacancy { page, slot });
        }
        self.heads[page as usize].has_hashed = true;
        let slot = queues.take_single(id);
        let has_room = self.hash.insert(instrument, id, slot);
        debug_assert!(has_room, "the table has room for as many ids as there are single slots");
        slot
    }

    /// Remembers a dropped id that is not in the index; forgets it at once when too many are remembered already.
    #[cold]
    pub(crate) fn insert_dropped(&mut self, instrument: InstrumentId, id: OrderId) {
        self.dropped.insert(instrument, id, 0);
    }

    /// How many dropped ids are remembered.
    pub(crate) const fn dropped_count(&self) -> usize {
        self.dropped.count()
    }

    /// The dropped ids that are remembered, in no order. Allocates.
    pub(crate) fn dropped_ids(&self) -> Vec<(InstrumentId, OrderId)> {
        if self.dropped.count() == 0 { Vec::new() } else { self.dropped.ids().collect() }
    }

    /// Removes the entry at a place that [`OrderIndex::find`] gave, whose order, if it had one, has left its slot.
    #[inline]
    pub(crate) fn remove(&mut self, queues: &mut Queues<'_>, (place, found): (Place, Found)) {
        match place {
            Place::Page(page) => {
                let live = &mut self.live[page as usize];
                *live -= 1;
                if *live == 0 {
                    self.give_back(page);
                }
            }
            place => self.remove_hashed(queues, place, found),
        }
    }

    #[inline(never)]
    fn remove_hashed(&mut self, queues: &mut Queues<'_>, place: Place, found: Found) {
        match place {
            Place::Page(_) => {}
            Place::Hash(place) => self.hash.remove(place),
            Place::Dropped(place) => self.dropped.remove(place),
        }
        if let Found::Live(slot) = found {
            queues.give_back_single(slot);
        }
    }

    /// The id of the order in a slot.
    #[inline]
    pub(crate) fn id(&self, queues: &Queues<'_>, slot: u32) -> OrderId {
        match queues.place_in_pages(slot) {
            Some((page, rank)) => OrderId(u64::from(self.heads[page as usize].number) << PAGE_BITS | u64::from(rank)),
            None => queues.single_id(slot),
        }
    }

    /// A page for the ids of `number`, and the directory's word for it: [`HASHED`] when none can be had.
    #[cold]
    fn take_page(&mut self, queues: &mut Queues<'_>, number: u32) -> u32 {
        if self.free == NO_PAGE && self.fresh as usize == self.heads.len() {
            self.move_sparse_page(queues);
        }
        let page = if self.free != NO_PAGE {
            let page = self.free;
            self.free = self.heads[page as usize].number;
            page
        } else {
            self.fresh += 1;
            self.fresh - 1
        };
        self.heads[page as usize] = PageHead { number, has_hashed: false };
        self.directory[number as usize] = page;
        page
    }

    fn give_back(&mut self, page: u32) {
        let PageHead { number, has_hashed } = self.heads[page as usize];
        self.directory[number as usize] = if has_hashed { HASHED } else { NO_PAGE };
        self.has_hashed_pages |= has_hashed;
        self.heads[page as usize] = PageHead { number: self.free, ..FREE_HEAD };
        self.free = page;
    }

    /// Moves the orders of a page with few of them to single slots. All pages are in use.
    fn move_sparse_page(&mut self, queues: &mut Queues<'_>) {
        let mut sparsest = self.hand;
        for _ in 0..LOOKS_MAX {
            self.hand = if self.hand as usize + 1 < self.heads.len() { self.hand + 1 } else { FIRST_PAGE };
            if self.live[self.hand as usize] < self.live[sparsest as usize] {
                sparsest = self.hand;
            }
            if self.live[sparsest as usize] <= SPARSE_ORDERS {
                break;
            }
        }
        for rank in 0..PAGE_ORDERS {
            let slot = queues.slot_in_page(sparsest, rank);
            if queues.has_order(slot) {
                let (instrument, id) = (queues.side_of(slot).instrument(), self.id(queues, slot));
                let single = queues.take_single(id);
                queues.move_order(slot, single);
                let has_room = self.hash.insert(instrument, id, single);
                debug_assert!(has_room, "the table has room for as many ids as there are single slots");
            }
        }
        self.live[sparsest as usize] = 0;
        self.heads[sparsest as usize].has_hashed = true;
        self.give_back(sparsest);
    }

    /// Forgets the dropped ids of an instrument, or all. Cost: a pass over their table while there are any.
    pub(crate) fn forget_dropped(&mut self, instrument: InstrumentId) {
        self.dropped.remove_all_of(instrument);
    }

    /// Gives pages that were moved their place back, once no order is live. Cost: a pass over the directory if there are any.
    pub(crate) fn restart_pages(&mut self) {
        if self.has_hashed_pages && self.live_count() == 0 {
            let pages = self.directory.len() - 1;
            self.directory[..pages].fill(NO_PAGE);
            self.has_hashed_pages = false;
        }
    }

    /// Counts live ids. Cost: a pass over the counts of all pages.
    pub(crate) fn live_count(&self) -> usize {
        self.hash.count() + self.live.iter().map(|&live| usize::from(live)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Side;
    use crate::level::{Key, SideOf};
    use crate::queues;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const ORDERS_MAX: u32 = 64;
    const INSTRUMENTS: u32 = 4;
    /// 16 pages, a directory of 1,024 pages: small enough that pages are moved and ids lie beyond.
    const CAPACITY: Capacity =
        Capacity { instruments_max: INSTRUMENTS, orders_max: ORDERS_MAX, levels_max: INSTRUMENTS };

    fn arena() -> Arena {
        let rows = memory(CAPACITY).into_iter().chain(queues::memory(CAPACITY));
        Arena::new(rows.map(|row| row.bytes() + 64).sum()).expect("small")
    }

    /// An index and the orders that it leads to: those of an instrument rest on one level.
    struct Orders<'a> {
        index: OrderIndex<'a>,
        queues: Queues<'a>,
        levels: Vec<u32>,
    }

    impl<'a> Orders<'a> {
        fn new(arena: &'a Arena) -> Self {
            let index = OrderIndex::new(arena, CAPACITY).expect("fits");
            let mut queues = Queues::new(arena, CAPACITY).expect("fits");
            let side_of = |instrument| SideOf::new(InstrumentId(instrument), Side::Bid);
            let levels = (0..INSTRUMENTS).map(|instrument| queues.take_level(side_of(instrument), Key(0))).collect();
            Self { index, queues, levels }
        }

        fn find(&self, instrument: InstrumentId, id: OrderId) -> Option<(Place, Found)> {
            self.index.find(&self.queues, instrument, id)
        }

        /// The quantity tells orders apart.
        fn insert(&mut self, instrument: InstrumentId, id: OrderId, quantity: u32) {
            let slot = match self.index.vacancy(&self.queues, id) {
                Some(vacancy) => self.index.take(vacancy),
                None => self.index.insert(&mut self.queues, instrument, id),
            };
            self.queues.push_back(slot, self.levels[instrument.index()], quantity);
            assert_eq!(self.index.id(&self.queues, slot), id);
        }

        fn remove(&mut self, found: (Place, Found)) {
            if let (_, Found::Live(slot)) = found {
                self.queues.remove(slot);
            }
            self.index.remove(&mut self.queues, found);
        }

        /// Quantity of a live order, 0 of a dropped one.
        fn quantity(&self, instrument: InstrumentId, id: OrderId) -> Option<u32> {
            self.find(instrument, id).map(|(_, found)| match found {
                Found::Live(slot) => self.queues.order(slot).quantity,
                Found::Dropped => 0,
            })
        }
    }

    proptest! {
        #[test]
        fn equals_a_hash_map(
            steps in proptest::collection::vec((1..INSTRUMENTS, 0_u64..60, any::<bool>(), 0_u8..12), 1..3000),
            stride in proptest::sample::select(vec![1_u64, 100, 256, 700, 8192, 1 << 40]),
        ) {
            let arena = arena();
            let mut orders = Orders::new(&arena);
            let mut map: HashMap<(InstrumentId, OrderId), u32> = HashMap::new();
            for (step, (instrument, number, add, drop)) in (1..).zip(steps) {
                let (instrument, id) = (InstrumentId(instrument), OrderId(number.wrapping_mul(stride)));
                prop_assert_eq!(orders.quantity(instrument, id), map.get(&(instrument, id)).copied());
                match (orders.find(instrument, id), add) {
                    (None, true) if drop == 0 => {
                        orders.index.insert_dropped(instrument, id);
                        map.insert((instrument, id), 0);
                    }
                    (None, true) if !orders.queues.has_all_orders() => {
                        orders.insert(instrument, id, step);
                        map.insert((instrument, id), step);
                    }
                    (Some(found), false) => {
                        orders.remove(found);
                        map.remove(&(instrument, id));
                    }
                    _ => {}
                }
                let live = map.values().filter(|quantity| **quantity != 0).count();
                prop_assert_eq!((orders.index.live_count(), orders.queues.live_orders() as usize), (live, live));
            }
            orders.index.forget_dropped(InstrumentId::ALL);
            map.retain(|_, quantity| *quantity != 0);
            for ((instrument, id), quantity) in &map {
                prop_assert_eq!(orders.quantity(*instrument, *id), Some(*quantity));
            }
        }
    }

    #[test]
    fn pages_are_moved_when_the_pool_runs_low_and_come_back_when_empty() {
        let arena = arena();
        let mut orders = Orders::new(&arena);
        let pages = (page_count(CAPACITY) - FIRST_PAGE) as usize;
        let ids: Vec<OrderId> = (0..40).map(|number| OrderId(number * u64::from(PAGE_ORDERS))).collect();
        for (quantity, &id) in (1..).zip(&ids) {
            orders.insert(InstrumentId(1), id, quantity);
        }
        assert_eq!((orders.index.live_count(), orders.index.hash.count()), (40, 40 - pages));
        for (quantity, &id) in (1..).zip(&ids) {
            assert_eq!(orders.quantity(InstrumentId(1), id), Some(quantity));
            let found = orders.find(InstrumentId(1), id).expect("live");
            orders.remove(found);
        }
        assert_eq!((orders.index.live_count(), orders.queues.live_orders()), (0, 0));
        let OrderIndex { directory, heads, free, .. } = &orders.index;
        let free = core::iter::successors(Some(*free), |&page| Some(heads[page as usize].number));
        assert_eq!(free.take_while(|&page| page != NO_PAGE).count(), pages);
        let (beyond, rows) = directory.split_last().expect("rows");
        assert_eq!(*beyond, HASHED);
        assert!(rows.contains(&HASHED));
        orders.index.restart_pages();
        assert_eq!(orders.index.directory.iter().filter(|page| **page != NO_PAGE).count(), 1);
    }
}
