//! The orders and levels of all books: nodes of 16 bytes in one array, linked into a queue for each level.
//!
//! An order is a node, and so is a level, which closes the circle of its queue: behind it is the first order, ahead of it the
//! last. So an order enters and leaves its queue by the same few writes whether it has neighbours or not: what would be four
//! unforeseeable branches is none.
//!
//! The array begins with the windows: [`WINDOW_LEVELS`] levels each, which a side owns once it has taken them. Behind them
//! is the pool of single levels, each with a second node for its side and price, then the pages of orders, which the index
//! gives out, then the pool of single orders. A slot is the number of a node. The ids of single orders are in a cold array
//! of their own, and so are the prices of those levels of a window that stand elsewhere.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::event::Side;
use crate::index::{PAGE_ORDERS, PAGES_MAX, page_count};
use crate::level::{Key, Level, SideOf, Standing};
use crate::order::{NONE, Order};
use crate::prefetch::prefetch;
use crate::units::{InstrumentId, OrderId};
use zerocopy::{transmute_mut, transmute_ref};

/// Levels in a window, and its nodes. A window begins at a multiple of it.
pub(crate) const WINDOW_LEVELS: u32 = 256;
/// Nodes of a single level.
const SINGLE_LEVEL_NODES: u32 = 2;
/// Most windows: with it all nodes of the largest capacity can be numbered.
const WINDOWS_MAX: u32 = 1 << 20;
/// Fewest levels of the capacity for each window, so that windows take at most 12 times the memory of the levels' own pool
/// from 256 levels on.
const LEVELS_PER_WINDOW: u32 = 16;

const FREE: Order = Order { quantity: 0, level: NONE, ahead: NONE, behind: NONE };

/// Windows: one for every side, unless there are few levels.
fn window_count(capacity: Capacity) -> u32 {
    let sides = capacity.instruments_max.saturating_add(1).saturating_mul(2);
    sides.min((capacity.levels_max / LEVELS_PER_WINDOW).max(LEVELS_PER_WINDOW)).min(WINDOWS_MAX)
}

/// Nodes of the largest capacity.
const NODES_MAX: u64 = WINDOWS_MAX as u64 * WINDOW_LEVELS as u64
    + Capacity::LEVELS_LIMIT as u64 * SINGLE_LEVEL_NODES as u64
    + PAGES_MAX as u64 * PAGE_ORDERS as u64
    + Capacity::ORDERS_LIMIT as u64;
// No slot is near [`NONE`]: it is in no window.
const _: () = assert!(NODES_MAX < (NONE - WINDOW_LEVELS) as u64);

pub(crate) fn memory(capacity: Capacity) -> [MemoryRow; 7] {
    let windows = window_count(capacity) as usize;
    let orders = capacity.orders_max as usize;
    [
        MemoryRow { part: "level windows", count: windows, bytes_each: WINDOW_LEVELS as usize * size_of::<Level>() },
        MemoryRow { part: "level window sides", count: windows, bytes_each: size_of::<SideOf>() },
        MemoryRow {
            part: "level window prices",
            count: windows,
            bytes_each: WINDOW_LEVELS as usize * size_of::<Key>(),
        },
        MemoryRow {
            part: "single levels",
            count: capacity.levels_max as usize,
            bytes_each: size_of::<Level>() + size_of::<Standing>(),
        },
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
    /// The side that each window is of.
    window_sides: &'a mut [SideOf],
    /// Of each level of a window that keeps its slot and stands in the ladder, the price.
    window_keys: &'a mut [Key],
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
        let pool_start = window_count(capacity) * WINDOW_LEVELS;
        let pages_start = pool_start + capacity.levels_max * SINGLE_LEVEL_NODES;
        let singles_start = pages_start + page_count(capacity) * PAGE_ORDERS;
        let nodes = singles_start as usize + capacity.orders_max as usize;
        Ok(Self {
            nodes: arena.slice(nodes, FREE)?,
            ids: arena.slice(capacity.orders_max as usize, OrderId(0))?,
            window_sides: arena.slice(window_count(capacity) as usize, SideOf::new(InstrumentId::ALL, Side::Bid))?,
            window_keys: arena.slice(pool_start as usize, Key(0))?,
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
        self.side_of_level(self.order(slot).level)
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
    pub(crate) fn level(&self, level: u32) -> &Level {
        transmute_ref!(&self.nodes[level as usize])
    }

    #[inline]
    pub(crate) fn level_mut(&mut self, level: u32) -> &mut Level {
        transmute_mut!(&mut self.nodes[level as usize])
    }

    #[inline]
    fn standing(&self, single_level: u32) -> &Standing {
        transmute_ref!(&self.nodes[single_level as usize + 1])
    }

    #[inline]
    fn standing_mut(&mut self, single_level: u32) -> &mut Standing {
        transmute_mut!(&mut self.nodes[single_level as usize + 1])
    }

    #[inline]
    pub(crate) const fn is_of_window(&self, level: u32) -> bool {
        level < self.pool_start
    }

    /// The side of a level.
    #[inline]
    pub(crate) fn side_of_level(&self, level: u32) -> SideOf {
        if self.is_of_window(level) {
            self.window_sides[(level / WINDOW_LEVELS) as usize]
        } else {
            self.standing(level).side_of
        }
    }

    /// The key of a level that stands in the ladder.
    #[inline]
    pub(crate) fn key_in_ladder(&self, level: u32) -> Key {
        if self.is_of_window(level) { self.window_keys[level as usize] } else { self.standing(level).key }
    }

    /// Keeps the key of a level that is to stand in the ladder.
    pub(crate) fn set_key_in_ladder(&mut self, level: u32, key: Key) {
        if self.is_of_window(level) {
            self.window_keys[level as usize] = key;
        } else {
            self.standing_mut(level).key = key;
        }
    }

    /// The ladder's leaf where a level was put that is from the pool, [`NONE`] for others.
    #[inline]
    pub(crate) fn leaf(&self, level: u32) -> u32 {
        if self.is_of_window(level) { NONE } else { self.standing(level).leaf }
    }

    pub(crate) fn set_leaf(&mut self, level: u32, leaf: u32) {
        if !self.is_of_window(level) {
            self.standing_mut(level).leaf = leaf;
        }
    }

    /// Puts an order into a free slot, at the tail of a level's queue, which has room for the quantity. Not to be called
    /// when [`Queues::has_all_orders`].
    #[inline(always)]
    pub(crate) fn push_back(&mut self, slot: u32, level: u32, quantity: u32) {
        self.live_orders += 1;
        let node = self.level_mut(level);
        node.quantity += quantity;
        node.order_count += 1;
        let last = node.last;
        node.last = slot;
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
        let level = self.level_mut(order.level);
        level.order_count -= 1;
        level.quantity -= order.quantity;
        order
    }

    /// Takes `less` off an order that has more, and answers with its level.
    #[inline]
    pub(crate) fn shrink(&mut self, slot: u32, less: u32) -> u32 {
        let order = self.order_mut(slot);
        order.quantity -= less;
        let level = order.level;
        self.level_mut(level).quantity -= less;
        level
    }

    fn make_level(&mut self, level: u32) {
        *self.level_mut(level) = Level { quantity: 0, order_count: 0, last: level, first: level };
    }

    /// Whether an empty level is as [`Queues::make_level`] leaves it; for the validator.
    pub(crate) fn is_ready(&self, level: u32) -> bool {
        let Level { quantity, order_count, last, first } = *self.level(level);
        (quantity, order_count, last, first) == (0, 0, level, level)
    }

    /// The first slot of a window of empty levels for a side, or `None` when all are taken. Cost: 4 KB are written.
    pub(crate) fn take_window(&mut self, side_of: SideOf) -> Option<u32> {
        let window = self.fresh_window;
        if window == self.pool_start {
            return None;
        }
        self.fresh_window += WINDOW_LEVELS;
        (window..self.fresh_window).for_each(|level| self.make_level(level));
        self.window_sides[(window / WINDOW_LEVELS) as usize] = side_of;
        Some(window)
    }

    /// An empty level of the pool. There is one unless [`Queues::has_all_levels`], for levels in windows count as well.
    pub(crate) fn take_level(&mut self, side_of: SideOf, key: Key) -> u32 {
        let level = if self.free_level == NONE {
            self.fresh_level += SINGLE_LEVEL_NODES;
            self.fresh_level - SINGLE_LEVEL_NODES
        } else {
            let level = self.free_level;
            self.free_level = self.level(level).first;
            level
        };
        self.make_level(level);
        *self.standing_mut(level) = Standing { key, side_of, leaf: NONE };
        level
    }

    /// Gives an empty level back to the pool, if it is from there.
    pub(crate) fn give_back_level(&mut self, level: u32) {
        if !self.is_of_window(level) {
            self.level_mut(level).first = self.free_level;
            self.free_level = level;
        }
    }

    /// Checks that both pools hold what was given out before and is in no book; that are these numbers of single levels and
    /// single orders. For the validator.
    pub(crate) fn validate_pools(&self, live_levels: u32, live_orders: u32) -> Result<(), &'static str> {
        let mut level = self.free_level;
        for _ in live_levels..(self.fresh_level - self.pool_start) / SINGLE_LEVEL_NODES {
            let is_single = (level.wrapping_sub(self.pool_start)).is_multiple_of(SINGLE_LEVEL_NODES);
            if !is_single || !(self.pool_start..self.fresh_level).contains(&level) {
                return Err("the pool of levels lost one, or leads elsewhere");
            }
            let Level { quantity, order_count, last, first } = *self.level(level);
            if (quantity, order_count, last) != (0, 0, level) {
                return Err("a free level is not empty");
            }
            level = first;
        }
        let mut slot = self.free_single;
        for _ in live_orders..self.fresh_single - self.singles_start {
            if !(self.singles_start..self.fresh_single).contains(&slot) {
                return Err("the pool of orders lost one, or leads elsewhere");
            }
            if self.has_order(slot) {
                return Err("a free order has a quantity");
            }
            slot = self.order(slot).behind;
        }
        // Whoever comes in a circle does not come to an end, and what is in use is not empty.
        if (level, slot) == (NONE, NONE) { Ok(()) } else { Err("a pool holds one twice, or one too many") }
    }

    /// Moves all orders of a level that has some to an empty one. Cost: a step an order.
    pub(crate) fn move_orders(&mut self, from: u32, to: u32) {
        let level = *self.level(from);
        let mut slot = level.first;
        while slot != from {
            let order = self.order_mut(slot);
            order.level = to;
            slot = order.behind;
        }
        *self.level_mut(to) = level;
        self.order_mut(level.first).ahead = to;
        self.order_mut(level.last).behind = to;
        self.make_level(from);
    }
}
