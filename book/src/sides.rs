//! The levels of each side of each book: a dense window near the touch, and a ladder for what is outside of it.
//!
//! A window has a level for each of [`WINDOW_LEVELS`] prices in a row, a tick apart, and a bit that says whether the level
//! is in use: a price leads to its level by arithmetic, a level that comes or goes is a bit, and the best level is the
//! highest bit. Levels elsewhere, or between two ticks, are in the ladder, sorted; a side that never had a few levels has
//! no window at all.
//!
//! Where a window stands follows from what missed it: after [`MISSES_MAX`] new levels that would have been inside were it
//! centred on the best price, it is centred again, and its tick measured again. A window is a ring, so levels that stay
//! inside keep their slots. Levels that fall out of it or come into it move, unless many orders would have to move along:
//! then a level keeps its slot and is looked for in the ladder, and a level of the window whose slot is still taken is put
//! into the ladder, too. How far the ladder reaches into the window is kept, so that only what is that deep is slower.
//!
//! Worst case: an Add that centres a window anew moves up to [`WINDOW_LEVELS`] levels with up to [`MOVED_ORDERS_MAX`]
//! orders, some 10 µs.

use crate::arena::{Arena, ArenaError};
use crate::bbo::Quote;
use crate::capacity::{Capacity, MemoryRow};
use crate::instrument::Instruments;
use crate::ladder::{LadderLevels, Ladders};
use crate::level::{Key, SideOf};
use crate::order::NONE;
use crate::prefetch::prefetch;
use crate::queues::{LEVEL_NODES, Queues, WINDOW_LEVELS, WINDOW_NODES};
use crate::tick::{NO_TICK, TickNumber, Ticks};
use crate::units::{Price, Quantity};
use core::hint::select_unpredictable;

/// New levels outside of a window, near the best price, before it is centred again; and before there is one.
const MISSES_MAX: u8 = 16;
const MISSES_BEFORE_WINDOW_MAX: u8 = 4;
/// Levels of a window worse than the best price when it is centred; the others are for prices that improve.
const WORSE_LEVELS: u32 = WINDOW_LEVELS * 3 / 4;
/// A window that would move by less than this stays.
const MOVE_LEVELS_MIN: u64 = 8;
/// Fewest levels from which a tick is measured, and most that are looked at.
const MEASURED_LEVELS_MIN: usize = 3;
const MEASURED_LEVELS_MAX: usize = 32;
/// Orders that move with their levels into a window when it is centred, at most.
const MOVED_ORDERS_MAX: u32 = 256;
/// Levels of the ladder that are looked at when a window is centred, at most: where levels lie between its ticks, any number
/// may be within its bounds. Those not looked at stay in the ladder.
const TAKEN_IN_LOOKS_MAX: usize = 2 * WINDOW_LEVELS as usize;

const WORD_BITS: u32 = u64::BITS;
const WORDS: usize = (WINDOW_LEVELS / WORD_BITS) as usize;

/// One side of a book, in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct SideHead {
    /// Price and quantity of the best level; 0 when the side is empty.
    pub(crate) best: Quote,
    /// Places of the window that hold a level, the worst first.
    places: [u64; WORDS],
    /// Key of the window's worst place.
    low: Key,
    /// Slot of the best level, [`NONE`] when the side is empty.
    pub(crate) best_level: u32,
    /// The ladder, [`NONE`] when it is empty.
    ladder: u32,
    /// Slot of the window's first level, [`NONE`] without a window.
    window: u32,
    pub(crate) level_count: u32,
    pub(crate) order_count: u32,
    tick: TickNumber,
    /// Which level of the ring is the window's worst place.
    turn: u8,
    misses: u8,
    /// How far the ladder reaches into the window: from this place on, the window alone knows all levels.
    reach: u8,
}

const _: () = assert!(size_of::<SideHead>() == 64);

pub(crate) const EMPTY_SIDE: SideHead = SideHead {
    best: Quote { price: Price(0), quantity: Quantity(0) },
    places: [0; WORDS],
    low: Key(i64::MAX),
    best_level: NONE,
    ladder: NONE,
    window: NONE,
    level_count: 0,
    order_count: 0,
    tick: NO_TICK,
    turn: 0,
    misses: 0,
    reach: 0,
};

impl SideHead {
    /// Key of the best level, `None` when the side is empty.
    #[inline]
    fn best_key(&self, side_of: SideOf) -> Option<Key> {
        (self.best_level != NONE).then(|| side_of.key(self.best.price))
    }

    /// Whether a level with this key would be the best, or is.
    #[inline]
    pub(crate) fn is_best(&self, side_of: SideOf, key: Key) -> bool {
        (self.best_level == NONE) | (key >= side_of.key(self.best.price))
    }

    #[inline]
    const fn level_at(&self, place: u32) -> u32 {
        self.window.wrapping_add((place + self.turn as u32) % WINDOW_LEVELS * LEVEL_NODES)
    }

    /// The place of a level of the window's own, in use or not.
    #[inline]
    const fn place_of(&self, level: u32) -> Option<u32> {
        let node = level.wrapping_sub(self.window);
        if node < WINDOW_NODES {
            Some((node / LEVEL_NODES).wrapping_sub(self.turn as u32) % WINDOW_LEVELS)
        } else {
            None
        }
    }

    /// 1 when a place of the window holds a level, else 0.
    #[inline]
    const fn in_use(&self, place: u32) -> u32 {
        (self.places[(place / WORD_BITS) as usize % WORDS] >> (place % WORD_BITS)) as u32 & 1
    }

    #[inline]
    const fn has(&self, place: u32) -> bool {
        self.in_use(place) == 1
    }

    #[inline]
    const fn set(&mut self, place: u32) {
        self.places[(place / WORD_BITS) as usize % WORDS] |= 1 << (place % WORD_BITS);
    }

    #[inline]
    const fn unset(&mut self, place: u32) {
        self.places[(place / WORD_BITS) as usize % WORDS] &= !(1 << (place % WORD_BITS));
    }
}

/// The best of some places, `None` when there is none.
#[inline]
const fn best_place(places: [u64; WORDS]) -> Option<u32> {
    let [low, high] = places;
    if low | high == 0 {
        return None;
    }
    let (word, first) = if high == 0 { (low, 0) } else { (high, WORD_BITS) };
    Some(first + WORD_BITS - 1 - word.leading_zeros())
}

pub(crate) fn memory(capacity: Capacity) -> MemoryRow {
    MemoryRow { part: "books", count: row_count(capacity), bytes_each: size_of::<[SideHead; 2]>() }
}

/// Rows of tables by instrument: the one of [`InstrumentId::ALL`](crate::InstrumentId::ALL) stays empty.
pub(crate) const fn row_count(capacity: Capacity) -> usize {
    capacity.instruments_max as usize + 1
}

/// The sides of all books.
#[derive(Debug)]
pub(crate) struct Sides<'a> {
    heads: &'a mut [[SideHead; 2]],
    ticks: Ticks<'a>,
    ladders: Ladders<'a>,
}

impl<'a> Sides<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        Ok(Self {
            heads: arena.slice(row_count(capacity), [EMPTY_SIDE; 2])?,
            ticks: Ticks::new(arena)?,
            ladders: Ladders::new(arena, capacity)?,
        })
    }

    /// The two sides of each book, by instrument.
    #[inline]
    pub(crate) fn heads(&self) -> &[[SideHead; 2]] {
        self.heads
    }

    #[inline]
    pub(crate) fn head(&self, side_of: SideOf) -> &SideHead {
        &self.heads.as_flattened()[side_of.index()]
    }

    #[inline]
    pub(crate) fn head_mut(&mut self, side_of: SideOf) -> &mut SideHead {
        &mut self.heads.as_flattened_mut()[side_of.index()]
    }

    /// The slot of the level with `key`, if there is one. Cost: as [`Sides::level_for`].
    pub(crate) fn find(&self, side_of: SideOf, key: Key) -> Option<u32> {
        let head = self.head(side_of);
        let place = self.ticks.place(head.tick, head.low, key);
        match place {
            Some(place) if head.has(place) => Some(head.level_at(place)),
            Some(place) if place >= head.reach.into() => None,
            _ => self.ladders.find(head.ladder, key).ok().map(|(_, level)| level),
        }
    }

    /// The slot of the level with `key`, which is begun when there is none: the caller puts an order there at once. `None`
    /// at the maximum of levels.
    ///
    /// Cost: some arithmetic inside of the window, a search in the ladder outside.
    #[inline(always)]
    pub(crate) fn level_for(
        &mut self,
        queues: &mut Queues<'_>,
        instruments: &Instruments<'_>,
        side_of: SideOf,
        key: Key,
    ) -> Option<u32> {
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        if let Some(place) = self.ticks.place(head.tick, head.low, key)
            && place >= head.reach.into()
        {
            let level = head.level_at(place);
            let is_new = 1 - head.in_use(place);
            // In one number: whether a level is new cannot be foreseen, whether a new one is in the way of nothing can.
            let in_the_way = queues.queue(level).order_count | u32::from(queues.has_all_levels());
            if in_the_way & is_new.wrapping_neg() == 0 {
                queues.set_key(level, key);
                queues.count_levels(is_new);
                head.level_count += is_new;
                head.set(place);
                return Some(level);
            }
        }
        self.level_elsewhere(queues, instruments, side_of, key)
    }

    /// [`Sides::level_for`] where the window alone has no answer.
    #[inline(never)]
    fn level_elsewhere(
        &mut self,
        queues: &mut Queues<'_>,
        instruments: &Instruments<'_>,
        side_of: SideOf,
        key: Key,
    ) -> Option<u32> {
        let head = self.head(side_of);
        let place = self.ticks.place(head.tick, head.low, key);
        if let Some(place) = place
            && head.has(place)
        {
            return Some(head.level_at(place));
        }
        let mut position = match self.ladders.find(head.ladder, key) {
            Ok((_, level)) => return Some(level),
            Err(position) => position,
        };
        if queues.has_all_levels() {
            return None;
        }
        if place.is_none() && self.counts_enough_misses(side_of, key) {
            self.centre(queues, instruments, side_of, key);
            position = self.ladders.find(self.head(side_of).ladder, key).err().flatten();
        }
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        head.level_count += 1;
        queues.count_levels(1);
        if let Some(place) = self.ticks.place(head.tick, head.low, key) {
            let level = head.level_at(place);
            if queues.queue(level).order_count == 0 {
                queues.set_key(level, key);
                head.set(place);
                return Some(level);
            }
        }
        let level = queues.take_level(side_of, key);
        self.ladders.insert(&mut head.ladder, position, key, level);
        head.reach = head.reach.max(reach(head, &self.ticks, key));
        Some(level)
    }

    /// Ends a level that its last order has left.
    #[inline(always)]
    pub(crate) fn end_level(&mut self, queues: &mut Queues<'_>, side_of: SideOf, level: u32) {
        queues.count_level_out();
        let head = self.head_mut(side_of);
        head.level_count -= 1;
        match head.place_of(level) {
            Some(place) if head.has(place) => head.unset(place),
            _ => self.end_level_of_ladder(queues, side_of, level),
        }
    }

    #[inline(never)]
    fn end_level_of_ladder(&mut self, queues: &mut Queues<'_>, side_of: SideOf, level: u32) {
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        if let Ok((position, _)) = self.ladders.find(head.ladder, queues.total(level).key) {
            self.ladders.remove(&mut head.ladder, position);
        }
        queues.give_back_level(level);
        if head.reach > 0 {
            head.reach = ladder_reach(head, &self.ticks, &self.ladders);
        }
    }

    /// Looks for the best level of a side after it ended.
    #[inline(always)]
    pub(crate) fn renew_best(&mut self, queues: &Queues<'_>, side_of: SideOf) {
        let head = self.head(side_of);
        let level = match best_place(head.places) {
            Some(place) if place >= head.reach.into() => Some(head.level_at(place)),
            place => self.best_anywhere(queues, head, place),
        };
        let (best, best_level) = match level {
            Some(level) => {
                let total = queues.total(level);
                (Quote { price: total.key.price(side_of.side()), quantity: Quantity(total.quantity) }, level)
            }
            None => (EMPTY_SIDE.best, NONE),
        };
        let head = self.head_mut(side_of);
        (head.best, head.best_level) = (best, best_level);
    }

    #[inline(never)]
    fn best_anywhere(&self, queues: &Queues<'_>, head: &SideHead, place: Option<u32>) -> Option<u32> {
        let inside = place.map(|place| head.level_at(place));
        if head.ladder == NONE {
            return inside;
        }
        let (key, level) = self.ladders.best(head.ladder);
        match inside {
            Some(inside) if queues.total(inside).key > key => Some(inside),
            _ => Some(level),
        }
    }

    /// The slots of a side's levels, best first.
    pub(crate) fn levels<'s>(&'s self, queues: &'s Queues<'s>, side_of: SideOf) -> SideLevels<'s> {
        let head = self.head(side_of);
        SideLevels { queues, head, places: head.places, ladder: self.ladders.levels(head.ladder), outside: None }
    }

    /// Asks for the line of a side.
    #[inline]
    pub(crate) fn prefetch(&self, row: usize) {
        prefetch(self.heads, row);
        prefetch(self.heads.as_flattened(), 2 * row + 1);
    }

    /// The level of a price if the window has a place for it, else the best one: a guess at what a new order needs, for a
    /// side that may not be one. Asks for the first lines of the ladder when the price is outside and the event names a
    /// side, as one of a new order does.
    #[inline]
    pub(crate) fn guess(&self, side_of: SideOf, price: Price, side_number: u8) -> u32 {
        let Some(head) = self.heads.as_flattened().get(side_of.index()) else { return NONE };
        let (place, is_inside) = self.ticks.place_if_inside(head.tick, head.low, side_of.key(price));
        // In one number: which of both it is cannot be foreseen.
        if side_number > u8::from(is_inside).wrapping_neg() {
            self.ladders.prefetch(head.ladder);
        }
        select_unpredictable(is_inside, head.level_at(place), head.best_level)
    }

    /// Whether a new level outside of the window would be inside were it centred, and was one too many.
    fn counts_enough_misses(&mut self, side_of: SideOf, key: Key) -> bool {
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        let Some(best) = head.best_key(side_of) else { return false };
        let step = self.ticks.step(head.tick);
        let distance = best.0.wrapping_sub(key.0) as u64;
        if key < best && step != 0 && distance > step * u64::from(WORSE_LEVELS) {
            return false;
        }
        head.misses += 1;
        head.misses >= if head.tick == NO_TICK { MISSES_BEFORE_WINDOW_MAX } else { MISSES_MAX }
    }

    /// Centres the window of a side on its best price, or on `key` if that is better, with the tick that its levels have.
    /// Nothing happens without a tick or a window, or when there is little to gain.
    #[cold]
    #[inline(never)]
    fn centre(&mut self, queues: &mut Queues<'_>, instruments: &Instruments<'_>, side_of: SideOf, key: Key) {
        let increment =
            instruments.get(side_of.instrument()).map_or(0, |instrument| instrument.price_increment.0.unsigned_abs());
        let step = self.measure_step(queues, side_of, key, increment);
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        head.misses = 0;
        let number = self.ticks.number(step);
        let best = head.best_key(side_of).map_or(key, |best| best.max(key));
        let Some(low) = low_for(best, step) else { return };
        if number == NO_TICK {
            return;
        }
        if head.window == NONE {
            let Some(window) = queues.take_window(side_of) else { return };
            head.window = window;
        }
        let way = i128::from(low.0) - i128::from(head.low.0);
        let steps = (number == head.tick && way % i128::from(step) == 0).then(|| way / i128::from(step));
        if steps.is_some_and(|steps| steps.unsigned_abs() < MOVE_LEVELS_MIN.into()) {
            return;
        }
        let mut orders_to_move = MOVED_ORDERS_MAX;
        move_window(head, &mut self.ladders, queues, steps, &mut orders_to_move);
        (head.tick, head.low) = (number, low);
        self.take_in(queues, side_of, &mut orders_to_move);
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        head.reach = ladder_reach(head, &self.ticks, &self.ladders);
    }

    /// The greatest step on which the levels near the best price and `key` stand, 0 when there are too few to tell.
    fn measure_step(&self, queues: &Queues<'_>, side_of: SideOf, key: Key, increment: u64) -> u64 {
        let mut step = increment;
        let mut looked_at = 1;
        for level in self.levels(queues, side_of).take(MEASURED_LEVELS_MAX) {
            step = greatest_common_divisor(queues.total(level).key.0.abs_diff(key.0), step);
            looked_at += 1;
        }
        if looked_at < MEASURED_LEVELS_MIN && increment == 0 { self.ticks.step(self.head(side_of).tick) } else { step }
    }

    /// Takes levels of the ladder into the window, now that it is where they are.
    fn take_in(&mut self, queues: &mut Queues<'_>, side_of: SideOf, orders_to_move: &mut u32) {
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        let mut inside = [(0, NONE); WINDOW_LEVELS as usize];
        let mut count = 0;
        for level in self.ladders.levels(head.ladder).take(TAKEN_IN_LOOKS_MAX) {
            let key = queues.total(level).key;
            if key < head.low || count == inside.len() {
                break;
            }
            if let Some(place) = self.ticks.place(head.tick, head.low, key) {
                inside[count] = (place, level);
                count += 1;
            }
        }
        for &(place, level) in &inside[..count] {
            let own = head.level_at(place);
            if own != level {
                if queues.queue(own).order_count != 0 || !try_move(head, queues, level, own, orders_to_move) {
                    continue;
                }
                queues.give_back_level(level);
            }
            head.set(place);
            if let Ok((position, _)) = self.ladders.find(head.ladder, queues.total(own).key) {
                self.ladders.remove(&mut head.ladder, position);
            }
        }
    }
}

/// How far into its window a side's ladder reaches.
fn ladder_reach(head: &SideHead, ticks: &Ticks<'_>, ladders: &Ladders<'_>) -> u8 {
    if head.ladder == NONE { 0 } else { reach(head, ticks, ladders.best(head.ladder).0) }
}

/// The first place of the window that is better than `key`.
fn reach(head: &SideHead, ticks: &Ticks<'_>, key: Key) -> u8 {
    let step = ticks.step(head.tick);
    if key < head.low || step == 0 {
        return 0;
    }
    (key.0.abs_diff(head.low.0) / step + 1).min(WINDOW_LEVELS.into()) as u8
}

/// Moves the orders of a level to an empty one, unless they are more than may be moved.
fn try_move(head: &mut SideHead, queues: &mut Queues<'_>, from: u32, to: u32, orders_to_move: &mut u32) -> bool {
    let Some(left) = orders_to_move.checked_sub(queues.queue(from).order_count) else { return false };
    *orders_to_move = left;
    queues.move_orders(from, to);
    if head.best_level == from {
        head.best_level = to;
    }
    true
}

/// Where a window begins in which `best` has [`WORSE_LEVELS`] places below it, `None` when it would end beyond all keys.
fn low_for(best: Key, step: u64) -> Option<Key> {
    let step = i64::try_from(step).ok()?;
    let low = best.0.checked_sub(step.checked_mul(WORSE_LEVELS.into())?)?;
    low.checked_add(step.checked_mul(WINDOW_LEVELS.into())?).map(|_| Key(low))
}

/// Moves a window by some places, or to where no level keeps its place. Levels that fall out go into the ladder.
fn move_window(
    head: &mut SideHead,
    ladders: &mut Ladders<'_>,
    queues: &mut Queues<'_>,
    steps: Option<i128>,
    orders_to_move: &mut u32,
) {
    let stays =
        |place: u32| steps.is_some_and(|steps| (0..WINDOW_LEVELS.into()).contains(&(i128::from(place) - steps)));
    for place in 0..WINDOW_LEVELS {
        if head.has(place) && !stays(place) {
            head.unset(place);
            let mut level = head.level_at(place);
            let key = queues.total(level).key;
            if queues.queue(level).order_count <= *orders_to_move {
                let single = queues.take_level(queues.queue(level).side_of, key);
                try_move(head, queues, level, single, orders_to_move);
                level = single;
            }
            if let Err(position) = ladders.find(head.ladder, key) {
                ladders.insert(&mut head.ladder, position, key, level);
            }
        }
    }
    let Some(steps) = steps.filter(|steps| steps.unsigned_abs() < WINDOW_LEVELS.into()) else { return };
    let [low, high] = head.places.map(u128::from);
    let places = low | high << WORD_BITS;
    let places = if steps > 0 { places >> steps } else { places << -steps };
    head.places = [places as u64, (places >> WORD_BITS) as u64];
    head.turn = (i128::from(head.turn) + steps).rem_euclid(WINDOW_LEVELS.into()) as u8;
}

const fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// Iterator over the slots of a side's levels, best first.
#[derive(Clone, Debug)]
pub(crate) struct SideLevels<'s> {
    queues: &'s Queues<'s>,
    head: &'s SideHead,
    /// Places of the window still to come.
    places: [u64; WORDS],
    ladder: LadderLevels<'s>,
    /// The ladder's next level, once it was looked at.
    outside: Option<u32>,
}

impl Iterator for SideLevels<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let place = best_place(self.places);
        if place.is_none_or(|place| place < self.head.reach.into()) {
            self.outside = self.outside.or_else(|| self.ladder.next());
        }
        let inside = place.map(|place| self.head.level_at(place));
        if let (Some(outside), Some(inside)) = (self.outside, inside)
            && self.queues.total(outside).key > self.queues.total(inside).key
        {
            return self.outside.take();
        }
        let Some(place) = place else { return self.outside.take() };
        self.places[(place / WORD_BITS) as usize % WORDS] &= !(1 << (place % WORD_BITS));
        inside
    }
}

impl Sides<'_> {
    /// Checks what the sides hold beside their queues; for the validator.
    pub(crate) fn validate(&self, queues: &Queues<'_>, side_of: SideOf) -> Result<(), &'static str> {
        let head = self.head(side_of);
        self.ladders.validate(head.ladder)?;
        if head.reach != ladder_reach(head, &self.ticks, &self.ladders) {
            return Err("a side's ladder reaches farther or less far into its window than it is said to");
        }
        for place in 0..WINDOW_LEVELS {
            let level = head.level_at(place);
            if head.has(place) {
                let key = queues.total(level).key;
                if head.window == NONE || self.ticks.place(head.tick, head.low, key) != Some(place) {
                    return Err("a level stands at a place of the window that is not its price's");
                }
                if self.ladders.find(head.ladder, key).is_ok() {
                    return Err("a level stands in the window and in the ladder");
                }
            }
        }
        Ok(())
    }
}
