//! The books of the synthetic market, as far as making consistent messages needs them: orders, their queues and levels.
//!
//! This is a model for writing messages, not for reading them; the product's books are in `tickcore-book`, and nothing
//! here is shared with them. Adding, reducing and removing an order cost a binary search over one side's levels, plus a
//! move of the levels that are better than it when a level appears or goes. A live order takes about 40 bytes.

use super::rng::Rng;
use tickcore_book::Side;

/// No order.
const NONE: u32 = u32::MAX;

/// Adds that are remembered as recent: a quarter of the live orders, within these bounds.
const RECENT_MIN: usize = 1 << 6;
const RECENT_MAX: usize = 1 << 17;

/// Draws of a recent order before any order is taken.
const RECENT_DRAWS_MAX: u32 = 8;

/// The place of a live order in the market's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// A live order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// The venue's order number; 0 in a free slot.
    pub(crate) reference: u64,
    /// Price(4).
    pub(crate) price: u32,
    /// Shares left.
    pub(crate) shares: u32,
    /// Instrument, from 0.
    pub(crate) index: u16,
    /// Side.
    pub(crate) side: Side,
    live_position: u32,
    previous: u32,
    next: u32,
}

/// What a new order says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewOrder {
    /// The venue's order number, not 0 and unused so far.
    pub(crate) reference: u64,
    /// Price(4).
    pub(crate) price: u32,
    /// Shares, not 0.
    pub(crate) shares: u32,
    /// Instrument, from 0.
    pub(crate) index: u16,
    /// Side.
    pub(crate) side: Side,
}

/// All orders of a side at one price, first to last.
#[derive(Clone, Copy, Debug)]
struct Level {
    price: u32,
    first: u32,
    last: u32,
}

/// One side's levels, best last.
type Levels = Vec<Level>;

/// An add that was made not long ago; the order may be gone.
#[derive(Clone, Copy, Debug, Default)]
struct RecentAdd {
    reference: u64,
    slot: u32,
}

/// The live orders of all instruments.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    sides: Box<[[Levels; 2]]>,
    orders: Vec<Order>,
    free: Vec<u32>,
    live: Vec<u32>,
    recent: Box<[RecentAdd]>,
    adds: u64,
}

impl Market {
    /// Empty books of `instruments` instruments; memory is taken for `live_orders_peak` orders and grows beyond.
    pub(crate) fn new(instruments: u16, live_orders_peak: usize) -> Self {
        let recent = (live_orders_peak / 4).next_power_of_two().clamp(RECENT_MIN, RECENT_MAX);
        Self {
            sides: (0..instruments).map(|_| [Levels::new(), Levels::new()]).collect(),
            orders: Vec::with_capacity(live_orders_peak),
            free: Vec::new(),
            live: Vec::with_capacity(live_orders_peak),
            recent: vec![RecentAdd::default(); recent].into_boxed_slice(),
            adds: 0,
        }
    }

    /// Live orders of all instruments.
    #[inline]
    pub(crate) fn live_orders(&self) -> usize {
        self.live.len()
    }

    /// Levels of all instruments, both sides. Cost: linear in instruments.
    #[cfg(test)]
    pub(crate) fn levels(&self) -> usize {
        self.sides.iter().flatten().map(Vec::len).sum()
    }

    /// The order in a slot.
    #[inline]
    pub(crate) fn order(&self, slot: Slot) -> &Order {
        &self.orders[slot.0 as usize]
    }

    /// Best price of a side.
    #[inline]
    pub(crate) fn best_price(&self, index: u16, side: Side) -> Option<u32> {
        self.sides[usize::from(index)][side.index()].last().map(|level| level.price)
    }

    /// The order that would trade next: first in the queue of the best level.
    #[inline]
    pub(crate) fn front(&self, index: u16, side: Side) -> Option<Slot> {
        self.sides[usize::from(index)][side.index()].last().map(|level| Slot(level.first))
    }

    /// Puts a new order at the tail of its level.
    pub(crate) fn add(&mut self, new: NewOrder) {
        debug_assert!(new.reference != 0 && new.shares != 0);
        let NewOrder { reference, price, shares, index, side } = new;
        let live_position = self.live.len() as u32;
        let order = Order { reference, price, shares, index, side, live_position, previous: NONE, next: NONE };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.orders[slot as usize] = order;
                slot
            }
            None => {
                self.orders.push(order);
                self.orders.len() as u32 - 1
            }
        };
        self.live.push(slot);
        self.recent[self.adds as usize & (self.recent.len() - 1)] = RecentAdd { reference, slot };
        self.adds += 1;

        let levels = &mut self.sides[usize::from(index)][side.index()];
        match find_level(levels, side, price) {
            Ok(position) => {
                let last = levels[position].last;
                levels[position].last = slot;
                self.orders[last as usize].next = slot;
                self.orders[slot as usize].previous = last;
            }
            Err(position) => levels.insert(position, Level { price, first: slot, last: slot }),
        }
    }

    /// Takes `shares` off an order; it goes when none are left.
    ///
    /// # Panics
    /// In debug builds, if the order has fewer.
    #[inline]
    pub(crate) fn reduce(&mut self, slot: Slot, shares: u32) {
        let order = &mut self.orders[slot.0 as usize];
        debug_assert!(shares <= order.shares, "an order of {} shares cannot lose {shares}", order.shares);
        order.shares -= shares;
        if order.shares == 0 {
            self.remove(slot);
        }
    }

    /// Takes an order out of the book.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let order = self.orders[slot.0 as usize];
        debug_assert!(order.reference != 0, "the slot holds a live order");
        self.orders[slot.0 as usize].reference = 0;
        self.free.push(slot.0);

        self.live.swap_remove(order.live_position as usize);
        if let Some(&moved) = self.live.get(order.live_position as usize) {
            self.orders[moved as usize].live_position = order.live_position;
        }

        if order.previous != NONE {
            self.orders[order.previous as usize].next = order.next;
        }
        if order.next != NONE {
            self.orders[order.next as usize].previous = order.previous;
        }
        if order.previous == NONE || order.next == NONE {
            let levels = &mut self.sides[usize::from(order.index)][order.side.index()];
            let position = find_level(levels, order.side, order.price).expect("a live order has its level");
            if order.previous == NONE && order.next == NONE {
                levels.remove(position);
            } else if order.previous == NONE {
                levels[position].first = order.next;
            } else {
                levels[position].last = order.previous;
            }
        }
    }

    /// A random live order, each as likely as the next.
    #[inline]
    pub(crate) fn any_order(&self, rng: &mut Rng) -> Option<Slot> {
        self.live.get(rng.below(self.live.len() as u32) as usize).map(|&slot| Slot(slot))
    }

    /// A random live order that was added not long ago: the logarithm of its age, counted in adds, is about uniform.
    /// Falls back to any order when the draws meet only orders that are gone.
    #[inline]
    pub(crate) fn recent_order(&self, rng: &mut Rng) -> Option<Slot> {
        let bits = self.recent.len().ilog2();
        for _ in 0..RECENT_DRAWS_MAX {
            let age = u64::from(rng.log_uniform(bits));
            if age < self.adds {
                let add = self.recent[(self.adds - 1 - age) as usize & (self.recent.len() - 1)];
                if self.orders[add.slot as usize].reference == add.reference {
                    return Some(Slot(add.slot));
                }
            }
        }
        self.any_order(rng)
    }
}

/// Where a price is among a side's levels, or where it belongs.
#[inline]
fn find_level(levels: &Levels, side: Side, price: u32) -> Result<usize, usize> {
    match side {
        Side::Bid => levels.binary_search_by(|level| level.price.cmp(&price)),
        Side::Ask => levels.binary_search_by(|level| price.cmp(&level.price)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(reference: u64, side: Side, price: u32, shares: u32) -> NewOrder {
        NewOrder { reference, price, shares, index: 0, side }
    }

    fn front_reference(market: &Market, side: Side) -> Option<u64> {
        market.front(0, side).map(|slot| market.order(slot).reference)
    }

    #[test]
    fn queues_are_first_come_first_served_and_levels_best_first() {
        let mut market = Market::new(1, 8);
        for (reference, price) in [(1, 100), (2, 101), (3, 101), (4, 99)] {
            market.add(order(reference, Side::Bid, price, 10));
        }
        for (reference, price) in [(5, 105), (6, 104)] {
            market.add(order(reference, Side::Ask, price, 10));
        }
        assert_eq!((market.best_price(0, Side::Bid), market.best_price(0, Side::Ask)), (Some(101), Some(104)));
        for expected in [2, 3, 1, 4] {
            assert_eq!(front_reference(&market, Side::Bid), Some(expected));
            let front = market.front(0, Side::Bid).expect("checked");
            market.reduce(front, 4);
            assert_eq!(front_reference(&market, Side::Bid), Some(expected));
            market.reduce(front, 6);
        }
        assert_eq!(market.best_price(0, Side::Bid), None);
        assert_eq!((market.live_orders(), market.levels()), (2, 2));
    }

    #[test]
    fn the_middle_of_a_queue_can_go() {
        let mut market = Market::new(1, 8);
        for reference in 1..=3 {
            market.add(order(reference, Side::Ask, 100, 1));
        }
        market.remove(Slot(1));
        market.remove(Slot(0));
        assert_eq!(front_reference(&market, Side::Ask), Some(3));
        market.add(order(4, Side::Ask, 100, 1));
        market.remove(Slot(2));
        assert_eq!(front_reference(&market, Side::Ask), Some(4));
    }

    #[test]
    fn random_orders_are_live_and_recent_ones_are_young() {
        let mut rng = Rng::new(9);
        let mut market = Market::new(1, 4_096);
        assert_eq!(market.any_order(&mut rng), None);
        assert_eq!(market.recent_order(&mut rng), None);
        for reference in 1..=4_096 {
            market.add(order(reference, Side::Bid, 100, 1));
        }
        let mut young = 0;
        for _ in 0..2_000 {
            let slot = market.recent_order(&mut rng).expect("there are orders");
            let reference = market.order(slot).reference;
            assert!(reference != 0);
            young += u32::from(reference > 4_064);
            market.remove(slot);
            let any = market.any_order(&mut rng).expect("there are orders");
            assert!(market.order(any).reference != 0);
        }
        assert!(young >= 31, "the youngest 32 go first: {young}");
    }
}
