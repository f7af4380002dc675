//! The structure validator: every invariant between index, queues, levels, ladders and cached tops, on demand.

use crate::books::Books;
use crate::event::Side;
use crate::index::Found;
use crate::level::{Key, SideOf};
use crate::order::NONE;
use crate::sides::EMPTY_SIDE;
use crate::units::InstrumentId;

/// An invariant that does not hold: a bug in this package, or memory that was overwritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instrument {instrument}: {what}")]
pub struct StructureError {
    /// Where it was found; [`InstrumentId::ALL`] when it concerns the whole.
    pub instrument: InstrumentId,
    /// Which invariant.
    pub what: &'static str,
}

/// What was found on the way.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    orders: u32,
    levels: u32,
    /// Of these, the ones from the pools of single ones.
    single_orders: u32,
    single_levels: u32,
}

impl Books<'_> {
    /// Checks every invariant of the structure. Cost: a pass over everything; for tests and for suspicion.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn validate(&self) -> Result<(), StructureError> {
        let mut tally = Tally::default();
        for instrument in (1..=self.highest_instrument().0).map(InstrumentId) {
            for side in Side::BOTH {
                self.validate_side(instrument, side, &mut tally).map_err(|what| StructureError { instrument, what })?;
            }
        }
        let whole = |what| StructureError { instrument: InstrumentId::ALL, what };
        if tally.orders != self.live_orders() || self.index.live_count() != tally.orders as usize {
            return Err(whole("the order pool, the index and the queues do not hold the same number of orders"));
        }
        if tally.levels != self.level_count() {
            return Err(whole("the level pool and the ladders do not hold the same number of levels"));
        }
        self.queues.validate_pools(tally.single_levels, tally.single_orders).map_err(whole)
    }

    fn validate_side(&self, instrument: InstrumentId, side: Side, tally: &mut Tally) -> Result<(), &'static str> {
        let side_of = SideOf::new(instrument, side);
        let head = self.sides.head(side_of);
        self.sides.validate(&self.queues, side_of)?;
        let (mut levels, mut better) = (0, None);
        for (key, number) in self.sides.levels(side_of) {
            if self.queues.side_of_level(number) != side_of {
                return Err("a level stands on another side than its own");
            }
            if self.sides.find(side_of, key) != Some(number) {
                return Err("a level is not found by its own price");
            }
            if better.is_some_and(|better| key >= better) {
                return Err("levels are out of order");
            }
            better = Some(key);
            if levels == 0
                && (head.best_level != number
                    || Key::new(side, head.best_price) != key
                    || head.best_quantity != self.queues.level(number).quantity)
            {
                return Err("the cached top differs from the best level");
            }
            levels += 1;
            tally.single_levels += u32::from(!self.queues.is_of_window(number));
            self.validate_queue(instrument, number, tally)?;
        }
        if levels == 0 && (head.best_level != NONE || head.top() != EMPTY_SIDE.top()) {
            return Err("an empty side has a cached top");
        }
        if levels != self.sides.level_count(side_of) {
            return Err("the count of a side's levels differs from what it holds");
        }
        tally.levels += levels;
        Ok(())
    }

    fn validate_queue(&self, instrument: InstrumentId, number: u32, tally: &mut Tally) -> Result<(), &'static str> {
        let level = self.queues.level(number);
        let (mut slot, mut ahead, mut count, mut quantity) = (level.first, number, 0, 0);
        while slot != number {
            let order = self.queues.order(slot);
            if order.level != number || order.ahead != ahead {
                return Err("an order does not link to its level and the order ahead");
            }
            if order.quantity == 0 {
                return Err("an order without quantity rests in a queue");
            }
            let found = self.find(instrument, self.id(slot)).map(|(_, found)| found);
            if found != Some(Found::Live(slot)) {
                return Err("the index does not lead to an order in a queue");
            }
            count += 1;
            tally.single_orders += u32::from(self.queues.place_in_pages(slot).is_none());
            quantity += u64::from(order.quantity);
            (ahead, slot) = (slot, order.behind);
        }
        if count == 0 || level.last != ahead || level.order_count != count || u64::from(level.quantity) != quantity {
            return Err("a level's count, total or tail differs from its queue");
        }
        tally.orders += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::capacity::Capacity;
    use crate::event::{Event, Flags, Kind};
    use crate::order::Order;
    use crate::units::{OrderId, Price, Quantity, TimestampNs};

    const CAPACITY: Capacity = Capacity { instruments_max: 2, orders_max: 1024, levels_max: 512 };
    const ONE: InstrumentId = InstrumentId(1);
    const BIDS: SideOf = SideOf::new(ONE, Side::Bid);
    /// Levels a tick apart from 1,000 downwards, two orders each; so some stand in the window and some in the ladder.
    const LEVELS: u64 = 300;
    /// Orders with arbitrary ids on levels of their own, far from the others, that came and went.
    const GONE: u64 = 3;

    fn books(arena: &Arena) -> Books<'_> {
        let mut books = Books::new(arena, CAPACITY).expect("the arena is made for it");
        for number in 0..2 * LEVELS {
            let price = Price(1_000 - (number % LEVELS) as i64);
            books.apply(&Event {
                order_id: OrderId(1 + number),
                price,
                quantity: Quantity(10),
                side_number: Side::Bid as u8,
                flags: Flags::LAST,
                ..Event::new(Kind::Add, ONE, TimestampNs(0))
            });
        }
        let far = |kind, number: u64| Event {
            order_id: OrderId(u64::MAX - number),
            price: Price(-(number as i64) * 100),
            quantity: Quantity(10),
            side_number: Side::Bid as u8,
            flags: Flags::LAST,
            ..Event::new(kind, ONE, TimestampNs(0))
        };
        (0..GONE).for_each(|number| _ = books.apply(&far(Kind::Add, number)));
        assert_eq!((books.validate(), books.level_count()), (Ok(()), (LEVELS + GONE) as u32));
        (0..GONE).for_each(|number| _ = books.apply(&far(Kind::Delete, number)));
        assert_eq!((books.validate(), books.level_count()), (Ok(()), LEVELS as u32));
        books
    }

    /// The order on a level that is the best, in the window, or far from both, and its level.
    fn order_at(books: &Books<'_>, levels_ahead: u64) -> (u32, u32) {
        let Some((_, Found::Live(slot))) = books.find(ONE, OrderId(1 + levels_ahead)) else { panic!("a live order") };
        let Order { level, .. } = *books.queues.order(slot);
        (slot, level)
    }

    #[test]
    fn every_kind_of_damage_is_seen() {
        type Damage = fn(&mut Books<'_>, u32, u32);
        let everywhere: [(&str, Damage); 7] = [
            ("an order left its queue alone", |books, slot, _| _ = books.queues.remove(slot)),
            ("an order stands in a queue twice", |books, slot, level| books.queues.push_back(slot, level, 10)),
            ("an order without quantity", |books, slot, _| _ = books.queues.shrink(slot, 10)),
            ("a level that ended with its orders", |books, _, level| {
                books.sides.end_level(&mut books.queues, BIDS, level);
            }),
            ("an order that the index lost", |books, slot, _| {
                let id = books.id(slot);
                let found = books.find(ONE, id).expect("live");
                books.index.remove(&mut books.queues, found);
            }),
            ("an id without an order", |books, _, _| _ = books.index.insert(&mut books.queues, ONE, OrderId(1 << 50))),
            ("a level too many", |books, _, _| books.queues.count_levels(1)),
        ];
        let in_the_ladder: [(&str, Damage); 1] = [("a level with another price", |books, _, level| {
            let Key(key) = books.queues.key_in_ladder(level);
            books.queues.set_key_in_ladder(level, Key(key - 7));
        })];
        // The place above the best is empty.
        let above_the_top: [(&str, Damage); 4] = [
            ("an empty level with a quantity", |books, _, level| books.queues.level_mut(level + 1).quantity = 1),
            ("an empty level with a first order", |books, slot, level| books.queues.level_mut(level + 1).first = slot),
            ("an empty level with a last order", |books, slot, level| books.queues.level_mut(level + 1).last = slot),
            ("a level that no place knows of", |books, slot, level| {
                books.queues.remove(slot);
                books.queues.push_back(slot, level + 1, 10);
            }),
        ];
        let at_the_top: [(&str, Damage); 4] = [
            ("no best level", |books, _, _| books.sides.head_mut(BIDS).best_level = NONE),
            ("another best level", |books, _, _| books.sides.head_mut(BIDS).best_level = order_at(books, 3).1),
            ("another best price", |books, _, _| books.sides.head_mut(BIDS).best_price.0 += 1),
            ("another best quantity", |books, slot, _| _ = books.queues.shrink(slot, 1)),
        ];
        fn take(books: &mut Books<'_>) -> u32 {
            books.queues.take_level(BIDS, Key(0))
        }
        let in_the_pools: [(&str, Damage); 8] = [
            ("a free level that nobody knows of", |books, _, _| _ = take(books)),
            ("a free level twice", |books, _, _| {
                let free = take(books);
                (0..2).for_each(|_| books.queues.give_back_level(free));
            }),
            ("a free level with a quantity", |books, _, _| {
                let free = take(books);
                books.queues.level_mut(free).quantity = 1;
                books.queues.give_back_level(free);
            }),
            ("a free level with an order", |books, slot, _| {
                let free = take(books);
                books.queues.level_mut(free).last = slot;
                books.queues.give_back_level(free);
            }),
            ("a free level that leads into a window", |books, _, level| {
                let free = take(books);
                books.queues.give_back_level(free);
                books.queues.level_mut(free).first = level;
            }),
            ("a free level that leads between two", |books, _, _| {
                let free = take(books);
                books.queues.give_back_level(free);
                books.queues.level_mut(free).first += 1;
            }),
            ("a free order that nobody knows of", |books, _, _| _ = books.queues.take_single(OrderId(1))),
            ("a free order twice", |books, _, _| {
                let free = books.queues.take_single(OrderId(1));
                (0..2).for_each(|_| books.queues.give_back_single(free));
            }),
        ];
        let places = [0, 10, LEVELS - 1];
        let everywhere = places.iter().flat_map(|&place| everywhere.map(|damage| (place, damage)));
        let all = everywhere
            .chain(in_the_ladder.map(|damage| (LEVELS - 1, damage)))
            .chain(at_the_top.into_iter().chain(above_the_top).chain(in_the_pools).map(|damage| (0, damage)));
        for (levels_ahead, (what, damage)) in all {
            let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
            let mut books = books(&arena);
            let (slot, level) = order_at(&books, levels_ahead);
            damage(&mut books, slot, level);
            let error = books.validate().expect_err(what);
            assert!([ONE, InstrumentId::ALL].contains(&error.instrument), "{error}");
        }
    }
}
