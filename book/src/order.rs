//! The pool of orders: 16 bytes each, linked into the queues of their levels, with the venue's ids in a cold array.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::prefetch::prefetch;
use crate::units::OrderId;

/// No slot: the end of a queue or of the free list.
pub(crate) const NONE: u32 = u32::MAX;

/// An order in its level's queue. Instrument, side and price are the level's.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct Order {
    /// What is left; 0 in a free slot.
    pub(crate) quantity: u32,
    /// Slot of the level.
    pub(crate) level: u32,
    /// The order ahead in the queue.
    pub(crate) ahead: u32,
    /// The order behind in the queue; the next free slot in a free one.
    pub(crate) behind: u32,
}

const _: () = assert!(size_of::<Order>() == 16);

const FREE: Order = Order { quantity: 0, level: NONE, ahead: NONE, behind: NONE };

pub(crate) fn memory(capacity: Capacity) -> [MemoryRow; 2] {
    let count = capacity.orders_max as usize;
    [
        MemoryRow { part: "orders", count, bytes_each: size_of::<Order>() },
        MemoryRow { part: "order ids", count, bytes_each: size_of::<OrderId>() },
    ]
}

/// Slots are given out lowest first until all were used once, then the one freed last comes first: it is in the cache.
#[derive(Debug)]
pub(crate) struct OrderPool<'a> {
    orders: &'a mut [Order],
    ids: &'a mut [OrderId],
    free: u32,
    fresh: u32,
    live: u32,
}

impl<'a> OrderPool<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        let count = capacity.orders_max as usize;
        Ok(Self {
            orders: arena.slice(count, FREE)?,
            ids: arena.slice(count, OrderId(0))?,
            free: NONE,
            fresh: 0,
            live: 0,
        })
    }

    pub(crate) const fn live(&self) -> u32 {
        self.live
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.live as usize == self.orders.len()
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Order {
        &self.orders[slot as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Order {
        &mut self.orders[slot as usize]
    }

    /// Asks for the line of a slot, if there is such a slot.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        prefetch(self.orders, slot as usize);
    }

    /// The order in a slot that may not be one.
    #[inline]
    pub(crate) fn peek(&self, slot: u32) -> Option<&Order> {
        self.orders.get(slot as usize)
    }

    #[inline]
    pub(crate) fn id(&self, slot: u32) -> OrderId {
        self.ids[slot as usize]
    }

    /// A slot holding `order`, or `None` at the maximum.
    #[inline]
    pub(crate) fn take(&mut self, id: OrderId, order: Order) -> Option<u32> {
        let slot = if self.free != NONE {
            let slot = self.free;
            self.free = self.get(slot).behind;
            slot
        } else if (self.fresh as usize) < self.orders.len() {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.live += 1;
        *self.get_mut(slot) = order;
        self.ids[slot as usize] = id;
        Some(slot)
    }

    #[inline]
    pub(crate) fn give_back(&mut self, slot: u32) {
        *self.get_mut(slot) = Order { behind: self.free, ..FREE };
        self.free = slot;
        self.live -= 1;
    }
}
