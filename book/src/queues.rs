//! The orders and levels of all books: nodes of 16 bytes in one array, linked into a queue for each level.
//!
//! An order is a node, a level two neighbouring ones. The first node of a level closes the circle of its queue: behind it
//! is the first order, ahead of it the last. So an order enters and leaves its queue by the same few writes whether it has
//! neighbours or not: what would be four unforeseeable branches is none.
//!
//! The array begins with the windows: [`WINDOW_LEVELS`] levels each, which a side owns once it has taken them. Behind them
//! is the pool of single levels, then the pages of orders, which the index gives out, then the pool of single orders. A slot
//! is the number of a node. The ids of single orders are in a cold array of their own.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::index::{PAGE_ORDERS, PAGES_MAX, page_count};
use crate::level::{Key, Queue, SideOf, Total};
use crate::order::{NONE, Order};
use crate::prefetch::prefetch;
use crate::units::OrderId;
use zerocopy::{transmute_mut, transmute_ref};

/// Levels in a window.
pub(crate) const WINDOW_LEVELS: u32 = 128;
/// Nodes of a level.
pub(crate) const LEVEL_NODES: u32 = 2;
/// Nodes of a window.
pub(crate) const WINDOW_NODES: u32 = WINDOW_LEVELS * LEVEL_NODES;
/// Most windows: with it all nodes of the largest capacity can be numbered.
const WINDOWS_MAX: u32 = 1 << 20;
/// Fewest levels of the capacity for each window, so that windows take at most 8 times the memory of the levels' own pool.
const LEVELS_PER_WINDOW: u32 = 16;

const FREE: Order = Order { quantity: 0, level: NONE, ahead: NONE, behind: NONE };

/// Windows: one for every side, unless there are few levels.
fn window_count(capacity: Capacity) -> u32 {
    let sides = capacity.instruments_max.saturating_add(1).saturating_mul(2);
    sides.min((capacity.levels_max / LEVELS_PER_WINDOW).max(LEVELS_PER_WINDOW)).min(WINDOWS_MAX)
}

/// Nodes of the largest capacity.
const NODES_MAX: u64 = WINDOWS_MAX as u64 * WINDOW_NODES as u64
    + Capacity::LEVELS_LIMIT as u64 * LEVEL_NODES as u64
    + PAGES_MAX as u64 * PAGE_ORDERS as u64
    + Capacity::ORDERS_LIMIT as u64;
const _: () = assert!(NODES_MAX < NONE as u64);

pub(crate) fn memory(capacity: Capacity) -> [MemoryRow; 5] {
    let level_bytes = size_of::<Queue>() + size_of::<Total>();
    let orders = capacity.orders_max as usize;
    [
        MemoryRow {
            part: "level windows",
            count: window_count(capacity) as usize,
            bytes_each: WINDOW_LEVELS as usize * level_bytes,
        },
        MemoryRow { part: "levels", count: capacity.levels_max as usize, bytes_each: level_bytes },
        MemoryRow {
            part: "order pages",
            count: page_count(capacity) as usize,
            bytes_each: PAGE_ORDERS as usize * size_of::<Order>(),
        },
        MemoryRow { part: "single orders", count: orders, bytes_each: size_of::<Order>() },
        MemoryRow { part: "single order ids", count: orders, bytes_each: size_of::<OrderId>() },
    ]
}

/// Slots of single orders and single levels are given out lowest first until all were used once, then the one freed last
/// comes first: it is in the cache.
#[derive(Debug)]
pub(crate) struct Queues<'a> {
    nodes: &'a mut [Order],
    ids: &'a mut [OrderId],
    fresh_window: u32,
    /// First single level.
    pool_start: u32,
    free_level: u32,
    fresh_level: u32,
    /// First order of the pages.
    pages_start: u32,
    /// First single order.
    singles_start: u32,
    free_single: u32,
    fresh_single: u32,
    live_orders: u32,
    live_levels: u32,
    levels_max: u32,
}

impl<'a> Queues<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        let pool_start = window_count(capacity) * WINDOW_NODES;
        let pages_start = pool_start + capacity.levels_max * LEVEL_NODES;
        let singles_start = pages_start + page_count(capacity) * PAGE_ORDERS;
        let nodes = singles_start as usize + capacity.orders_max as usize;
        Ok(Self {
            nodes: arena.slice(nodes, FREE)?,
            ids: arena.slice(capacity.orders_max as usize, OrderId(0))?,
            fresh_window: 0,
            pool_start,
            free_level: NONE,
            fresh_level: pool_start,
            pages_start,
            singles_start,
            free_single: NONE,
            fresh_single: singles_start,
            live_orders: 0,
            live_levels: 0,
            levels_max: capacity.levels_max,
        })
    }

    pub(crate) const fn live_orders(&self) -> u32 {
        self.live_orders
    }

    pub(crate) const fn live_levels(&self) -> u32 {
        self.live_levels
    }

    #[inline]
    pub(crate) const fn has_all_orders(&self) -> bool {
        self.live_orders as usize == self.ids.len()
    }

    #[inline]
    pub(crate) const fn has_all_levels(&self) -> bool {
        self.live_levels == self.levels_max
    }

    /// Counts levels that began.
    #[inline]
    pub(crate) const fn count_levels(&mut self, begun: u32) {
        self.live_levels += begun;
    }

    /// Counts a level that ended.
    #[inline]
    pub(crate) const fn count_level_out(&mut self) {
        self.live_levels -= 1;
    }

    #[inline]
    pub(crate) fn order(&self, slot: u32) -> &Order {
        &self.nodes[slot as usize]
    }

    #[inline]
    fn order_mut(&mut self, slot: u32) -> &mut Order {
        &mut self.nodes[slot as usize]
    }

    /// The node in a slot that may not be one.
    #[inline]
    pub(crate) fn peek(&self, slot: u32) -> Option<&Order> {
        self.nodes.get(slot as usize)
    }

    /// Asks for the line of a slot.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        prefetch(self.nodes, slot as usize);
    }

    /// Whether a slot of an order holds one.
    #[inline]
    pub(crate) fn has_order(&self, slot: u32) -> bool {
        self.order(slot).quantity != 0
    }

    /// The side on which the order in a slot rests.
    #[inline]
    pub(crate) fn side_of(&self, slot: u32) -> SideOf {
        self.queue(self.order(slot).level).side_of
    }

    #[inline]
    pub(crate) const fn slot_in_page(&self, page: u32, rank: u32) -> u32 {
        self.pages_start.wrapping_add(page * PAGE_ORDERS + rank)
    }

    /// Page and rank of a slot, `None` for a single one.
    #[inline]
    pub(crate) const fn place_in_pages(&self, slot: u32) -> Option<(u32, u32)> {
        if slot >= self.singles_start {
            return None;
        }
        let place = slot.wrapping_sub(self.pages_start);
        Some((place / PAGE_ORDERS, place % PAGE_ORDERS))
    }

    /// The id of a single order.
    #[inline]
    pub(crate) fn single_id(&self, slot: u32) -> OrderId {
        self.ids[slot.wrapping_sub(self.singles_start) as usize]
    }

    /// A single slot for the order with this id. There is one unless [`Queues::has_all_orders`].
    pub(crate) fn take_single(&mut self, id: OrderId) -> u32 {
        let slot = if self.free_single == NONE {
            self.fresh_single += 1;
            self.fresh_single - 1
        } else {
            let slot = self.free_single;
            self.free_single = self.order(slot).behind;
            slot
        };
        self.ids[slot.wrapping_sub(self.singles_start) as usize] = id;
        slot
    }

    /// Gives back a single slot whose order was removed.
    pub(crate) fn give_back_single(&mut self, slot: u32) {
        self.order_mut(slot).behind = self.free_single;
        self.free_single = slot;
    }

    /// Moves an order to a free slot; its place in the queue stays.
    pub(crate) fn move_order(&mut self, from: u32, to: u32) {
        let order = *self.order(from);
        *self.order_mut(to) = order;
        self.order_mut(order.ahead).behind = to;
        self.order_mut(order.behind).ahead = to;
        *self.order_mut(from) = FREE;
    }

    #[inline]
    pub(crate) fn queue(&self, level: u32) -> &Queue {
        transmute_ref!(&self.nodes[level as usize])
    }

    #[inline]
    fn queue_mut(&mut self, level: u32) -> &mut Queue {
        transmute_mut!(&mut self.nodes[level as usize])
    }

    #[inline]
    pub(crate) fn total(&self, level: u32) -> &Total {
        transmute_ref!(&self.nodes[level as usize + 1])
    }

    #[inline]
    fn total_mut(&mut self, level: u32) -> &mut Total {
        transmute_mut!(&mut self.nodes[level as usize + 1])
    }

    #[inline]
    pub(crate) fn set_key(&mut self, level: u32, key: Key) {
        self.total_mut(level).key = key;
    }

    /// Puts an order into a free slot, at the tail of a level's queue. Not to be called when [`Queues::has_all_orders`].
    #[inline(always)]
    pub(crate) fn push_back(&mut self, slot: u32, level: u32, quantity: u32) {
        self.live_orders += 1;
        self.total_mut(level).quantity += u64::from(quantity);
        let queue = self.queue_mut(level);
        queue.order_count += 1;
        let last = queue.last;
        queue.last = slot;
        self.order_mut(last).behind = slot;
        *self.order_mut(slot) = Order { quantity, level, ahead: last, behind: level };
    }

    /// Takes the order in `slot` out of its level's queue, and answers with what it was.
    #[inline(always)]
    pub(crate) fn remove(&mut self, slot: u32) -> Order {
        let order = *self.order(slot);
        self.order_mut(slot).quantity = 0;
        self.order_mut(order.ahead).behind = order.behind;
        self.order_mut(order.behind).ahead = order.ahead;
        self.live_orders -= 1;
        self.queue_mut(order.level).order_count -= 1;
        self.total_mut(order.level).quantity -= u64::from(order.quantity);
        order
    }

    /// Takes `less` off an order that has more, and answers with its level.
    #[inline]
    pub(crate) fn shrink(&mut self, slot: u32, less: u32) -> u32 {
        let order = self.order_mut(slot);
        order.quantity -= less;
        let level = order.level;
        self.total_mut(level).quantity -= u64::from(less);
        level
    }

    fn make_level(&mut self, level: u32, side_of: SideOf) {
        *self.queue_mut(level) = Queue { order_count: 0, side_of, last: level, first: level };
        *self.total_mut(level) = Total { key: Key(0), quantity: 0 };
    }

    /// The first slot of a window of empty levels for a side, or `None` when all are taken. Cost: 4 KB are written.
    pub(crate) fn take_window(&mut self, side_of: SideOf) -> Option<u32> {
        let window = self.fresh_window;
        if window == self.pool_start {
            return None;
        }
        self.fresh_window += WINDOW_NODES;
        (window..self.fresh_window).step_by(LEVEL_NODES as usize).for_each(|level| self.make_level(level, side_of));
        Some(window)
    }

    /// An empty level of the pool. There is one unless [`Queues::has_all_levels`], for levels in windows count as well.
    pub(crate) fn take_level(&mut self, side_of: SideOf, key: Key) -> u32 {
        let level = if self.free_level == NONE {
            self.fresh_level += LEVEL_NODES;
            self.fresh_level - LEVEL_NODES
        } else {
            let level = self.free_level;
            self.free_level = self.queue(level).first;
            level
        };
        self.make_level(level, side_of);
        self.set_key(level, key);
        level
    }

    /// Gives an empty level back to the pool, if it is from there.
    pub(crate) fn give_back_level(&mut self, level: u32) {
        if level >= self.pool_start {
            self.queue_mut(level).first = self.free_level;
            self.free_level = level;
        }
    }

    /// Moves all orders of a level to the tail of an empty one, which takes its key. Cost: a step an order.
    pub(crate) fn move_orders(&mut self, from: u32, to: u32) {
        let (Queue { order_count, side_of, last, first }, total) = (*self.queue(from), *self.total(from));
        let mut slot = first;
        while slot != from {
            let order = self.order_mut(slot);
            order.level = to;
            slot = order.behind;
        }
        *self.queue_mut(to) = Queue { order_count, side_of, last, first };
        *self.total_mut(to) = total;
        self.order_mut(first).ahead = to;
        self.order_mut(last).behind = to;
        self.make_level(from, side_of);
    }
}
