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
use crate::queues::{Queues, WINDOW_LEVELS};
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
    /// Price of the best level; 0 when the side is empty.
    pub(crate) best_price: Price,
    /// Key of the window's worst place.
    low: Key,
    /// Places of the window that hold a level, the worst first.
    places: [u64; WORDS],
    /// Quantity of the best level; 0 when the side is empty.
    pub(crate) best_quantity: u32,
    /// Slot of the best level, [`NONE`] when the side is empty.
    pub(crate) best_level: u32,
    /// Slot of the level at the window's worst place, which says where the window is in memory, too; [`NONE`] without one.
    worst_level: u32,
    /// How far the ladder reaches into the window: from this place on, the window alone knows all levels.
    reach: u16,
    tick: TickNumber,
    misses: u8,
}

const _: () = assert!(size_of::<SideHead>() == 64);

pub(crate) const EMPTY_SIDE: SideHead = SideHead {
    best_price: Price(0),
    low: Key(i64::MAX),
    places: [0; WORDS],
    best_quantity: 0,
    best_level: NONE,
    worst_level: NONE,
    reach: 0,
    tick: NO_TICK,
    misses: 0,
};

impl SideHead {
    /// Price and quantity of the best level; 0 when the side is empty.
    #[inline]
    pub(crate) const fn top(&self) -> Quote {
        Quote { price: self.best_price, quantity: Quantity(self.best_quantity as u64) }
    }

    /// Key of the best level, `None` when the side is empty.
    #[inline]
    fn best_key(&self, side_of: SideOf) -> Option<Key> {
        (self.best_level != NONE).then(|| side_of.key(self.best_price))
    }

    /// Whether a level with this key would be the best, or is.
    #[inline]
    pub(crate) fn is_best(&self, side_of: SideOf, key: Key) -> bool {
        (self.best_level == NONE) | (key >= side_of.key(self.best_price))
    }

    #[inline]
    const fn level_at(&self, place: u32) -> u32 {
        let ring = WINDOW_LEVELS - 1;
        self.worst_level & !ring | self.worst_level.wrapping_add(place) & ring
    }

    /// The place of a level of the window's own, in use or not.
    #[inline]
    const fn place_of(&self, level: u32) -> Option<u32> {
        if level ^ self.worst_level < WINDOW_LEVELS {
            Some(level.wrapping_sub(self.worst_level) % WINDOW_LEVELS)
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

    /// Moves the window by some places, when levels keep theirs. Those that do not stay inside are in no place.
    fn turn(&mut self, steps: Option<i128>) {
        let Some(steps) = steps.filter(|steps| steps.unsigned_abs() < WINDOW_LEVELS.into()) else { return };
        let steps = steps as i32;
        let places = Places(core::mem::take(&mut self.places));
        places.for_each(|place| self.set(place.wrapping_add_signed(-steps)));
        self.worst_level = self.level_at(steps as u32 % WINDOW_LEVELS);
    }
}

/// The best of some places, `None` when there is none.
#[inline]
fn best_place([worst, bad, good, best]: [u64; WORDS]) -> Option<u32> {
    let upper = best | good != 0;
    let (high, low) = (select_unpredictable(upper, best, bad), select_unpredictable(upper, good, worst));
    let word = select_unpredictable(high != 0, high, low);
    let first = (u32::from(upper) * 2 + u32::from(high != 0)) * WORD_BITS;
    (word != 0).then(|| first + WORD_BITS - 1 - word.leading_zeros())
}

/// Iterator over places, best first.
#[derive(Clone, Debug)]
struct Places([u64; WORDS]);

impl Iterator for Places {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let place = best_place(self.0)?;
        self.0[(place / WORD_BITS) as usize % WORDS] &= !(1 << (place % WORD_BITS));
        Some(place)
    }
}

impl Places {
    /// Passes over as many as `count` places, none of them worse than `worst`; over how many.
    #[inline]
    fn skip_from(&mut self, worst: u32, count: usize) -> usize {
        let mut left = count as u64;
        for (number, word) in self.0.iter_mut().enumerate().rev() {
            let first = number as u32 * WORD_BITS;
            let counted = u64::MAX.checked_shl(worst.saturating_sub(first)).unwrap_or(0);
            let mut skipped = *word & counted;
            let places = u64::from(skipped.count_ones());
            if places > left {
                (0..places - left).for_each(|_| skipped &= skipped - 1);
            }
            *word &= !skipped;
            left -= u64::from(skipped.count_ones());
            if left == 0 || counted != u64::MAX {
                break;
            }
        }
        count - left as usize
    }
}

/// What is kept of a side beside its head, for those that have levels outside of their windows.
#[derive(Clone, Copy, Debug)]
struct Outside {
    /// The ladder, [`NONE`] when it is empty.
    ladder: u32,
    level_count: u32,
}

const NOTHING_OUTSIDE: Outside = Outside { ladder: NONE, level_count: 0 };

pub(crate) fn memory(capacity: Capacity) -> [MemoryRow; 2] {
    let count = row_count(capacity);
    [
        MemoryRow { part: "books", count, bytes_each: size_of::<[SideHead; 2]>() },
        MemoryRow { part: "book ladders", count, bytes_each: size_of::<[Outside; 2]>() },
    ]
}

/// Rows of tables by instrument: the one of [`InstrumentId::ALL`](crate::InstrumentId::ALL) stays empty.
pub(crate) const fn row_count(capacity: Capacity) -> usize {
    capacity.instruments_max as usize + 1
}

/// The sides of all books.
#[derive(Debug)]
pub(crate) struct Sides<'a> {
    heads: &'a mut [[SideHead; 2]],
    outside: &'a mut [[Outside; 2]],
    ticks: Ticks<'a>,
    ladders: Ladders<'a>,
}

impl<'a> Sides<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        Ok(Self {
            heads: arena.slice(row_count(capacity), [EMPTY_SIDE; 2])?,
            outside: arena.slice(row_count(capacity), [NOTHING_OUTSIDE; 2])?,
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

    #[inline]
    fn outside(&self, side_of: SideOf) -> &Outside {
        &self.outside.as_flattened()[side_of.index()]
    }

    #[inline]
    fn ladder(&self, side_of: SideOf) -> u32 {
        self.outside(side_of).ladder
    }

    /// Levels of a side.
    pub(crate) fn level_count(&self, side_of: SideOf) -> u32 {
        let inside: u32 = self.head(side_of).places.iter().map(|word| word.count_ones()).sum();
        inside + self.outside(side_of).level_count
    }

    /// The key of a level.
    #[inline]
    pub(crate) fn key(&self, queues: &Queues<'_>, side_of: SideOf, level: u32) -> Key {
        let head = self.head(side_of);
        match head.place_of(level) {
            Some(place) if head.has(place) => self.ticks.key(head.tick, head.low, place),
            _ => queues.key_in_ladder(level),
        }
    }

    /// The slot of the level with `key`, if there is one. Cost: as [`Sides::level_for`].
    pub(crate) fn find(&self, side_of: SideOf, key: Key) -> Option<u32> {
        let head = self.head(side_of);
        let place = self.ticks.place(head.tick, head.low, key);
        match place {
            Some(place) if head.has(place) => Some(head.level_at(place)),
            Some(place) if place >= head.reach.into() => None,
            _ => self.ladders.find(self.ladder(side_of), key).ok().map(|(_, level)| level),
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
            let in_the_way = queues.level(level).order_count | u32::from(queues.has_all_levels());
            if in_the_way & is_new.wrapping_neg() == 0 {
                queues.count_levels(is_new);
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
        let mut position = match self.ladders.find(self.ladder(side_of), key) {
            Ok((_, level)) => return Some(level),
            Err(position) => position,
        };
        if queues.has_all_levels() {
            return None;
        }
        if place.is_none() && self.counts_enough_misses(side_of, key) {
            self.centre(queues, instruments, side_of, key);
            position = self.ladders.find(self.ladder(side_of), key).err().flatten();
        }
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        queues.count_levels(1);
        if let Some(place) = self.ticks.place(head.tick, head.low, key) {
            let level = head.level_at(place);
            if queues.level(level).order_count == 0 {
                head.set(place);
                return Some(level);
            }
        }
        let level = queues.take_level(side_of, key);
        let outside = &mut self.outside.as_flattened_mut()[side_of.index()];
        outside.level_count += 1;
        let leaf = self.ladders.insert(&mut outside.ladder, position, key, level);
        queues.set_leaf(level, leaf);
        head.reach = head.reach.max(reach(head, &self.ticks, key));
        Some(level)
    }

    /// Ends a level that its last order has left.
    #[inline(always)]
    pub(crate) fn end_level(&mut self, queues: &mut Queues<'_>, side_of: SideOf, level: u32) {
        queues.count_level_out();
        let head = self.head_mut(side_of);
        match head.place_of(level) {
            Some(place) if head.has(place) => head.unset(place),
            _ => self.end_level_of_ladder(queues, side_of, level),
        }
    }

    #[inline(never)]
    fn end_level_of_ladder(&mut self, queues: &mut Queues<'_>, side_of: SideOf, level: u32) {
        let outside = &mut self.outside.as_flattened_mut()[side_of.index()];
        let position = self.ladders.find_in(queues.leaf(level), level).or_else(|| {
            self.ladders.find(outside.ladder, queues.key_in_ladder(level)).ok().map(|(position, _)| position)
        });
        if let Some(position) = position {
            self.ladders.remove(&mut outside.ladder, position);
            outside.level_count -= 1;
        }
        queues.give_back_level(level);
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        if head.reach > 0 {
            head.reach = ladder_reach(head, outside.ladder, &self.ticks, &self.ladders);
        }
    }

    /// Looks for the best level of a side after it ended.
    #[inline(always)]
    pub(crate) fn renew_best(&mut self, queues: &Queues<'_>, side_of: SideOf) {
        let head = self.head(side_of);
        let best = match best_place(head.places) {
            Some(place) if place >= head.reach.into() => Some(self.level_inside(head, place)),
            place => self.best_anywhere(side_of, place),
        };
        let (price, quantity, level) = match best {
            Some((key, level)) => (key.price(side_of.side()), queues.level(level).quantity, level),
            None => (EMPTY_SIDE.best_price, EMPTY_SIDE.best_quantity, EMPTY_SIDE.best_level),
        };
        let head = self.head_mut(side_of);
        (head.best_price, head.best_quantity, head.best_level) = (price, quantity, level);
    }

    #[inline(always)]
    fn level_inside(&self, head: &SideHead, place: u32) -> (Key, u32) {
        (self.ticks.key(head.tick, head.low, place), head.level_at(place))
    }

    #[inline(never)]
    fn best_anywhere(&self, side_of: SideOf, place: Option<u32>) -> Option<(Key, u32)> {
        let inside = place.map(|place| self.level_inside(self.head(side_of), place));
        let ladder = self.ladder(side_of);
        if ladder == NONE {
            return inside;
        }
        let outside = self.ladders.best(ladder);
        inside.filter(|inside| inside.0 > outside.0).or(Some(outside))
    }

    /// A side's levels with their keys, best first.
    pub(crate) fn levels(&self, side_of: SideOf) -> SideLevels<'_> {
        let head = self.head(side_of);
        let ladder = self.ladders.levels(self.ladder(side_of));
        SideLevels { sides: self, head, places: Places(head.places), ladder, outside: None }
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
            self.ladders.prefetch(self.ladder(side_of));
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
        let step = self.measure_step(side_of, key, increment);
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        head.misses = 0;
        // With more ticks than are kept, the one it has goes on.
        let number = match self.ticks.number(step) {
            NO_TICK => head.tick,
            number => number,
        };
        let step = self.ticks.step(number);
        let best = head.best_key(side_of).map_or(key, |best| best.max(key));
        let Some(low) = low_for(best, step) else { return };
        if number == NO_TICK {
            return;
        }
        if head.worst_level == NONE {
            let Some(window) = queues.take_window(side_of) else { return };
            head.worst_level = window;
        }
        let way = i128::from(low.0) - i128::from(head.low.0);
        let steps = (number == head.tick && way % i128::from(step) == 0).then(|| way / i128::from(step));
        if steps.is_some_and(|steps| steps.unsigned_abs() < MOVE_LEVELS_MIN.into()) {
            return;
        }
        let mut orders_to_move = MOVED_ORDERS_MAX;
        self.let_fall_out(queues, side_of, steps, &mut orders_to_move);
        let head = self.head_mut(side_of);
        head.turn(steps);
        (head.tick, head.low) = (number, low);
        self.take_in(queues, side_of, &mut orders_to_move);
        let ladder = self.ladder(side_of);
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        head.reach = ladder_reach(head, ladder, &self.ticks, &self.ladders);
    }

    /// Puts the levels of a window that is about to move by some places, or to where no level keeps its place, into the
    /// ladder when they are no longer inside.
    fn let_fall_out(
        &mut self,
        queues: &mut Queues<'_>,
        side_of: SideOf,
        steps: Option<i128>,
        orders_to_move: &mut u32,
    ) {
        let stays =
            |place: u32| steps.is_some_and(|steps| (0..WINDOW_LEVELS.into()).contains(&(i128::from(place) - steps)));
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        let outside = &mut self.outside.as_flattened_mut()[side_of.index()];
        for place in Places(head.places).filter(|&place| !stays(place)) {
            head.unset(place);
            let mut level = head.level_at(place);
            let key = self.ticks.key(head.tick, head.low, place);
            if queues.level(level).order_count <= *orders_to_move {
                let single = queues.take_level(side_of, key);
                try_move(head, queues, level, single, orders_to_move);
                level = single;
            } else {
                queues.set_key_in_ladder(level, key);
            }
            if let Err(position) = self.ladders.find(outside.ladder, key) {
                outside.level_count += 1;
                let leaf = self.ladders.insert(&mut outside.ladder, position, key, level);
                queues.set_leaf(level, leaf);
            }
        }
    }

    /// The greatest step on which the levels near the best price and `key` stand, 0 when there are too few to tell.
    fn measure_step(&self, side_of: SideOf, key: Key, increment: u64) -> u64 {
        let mut step = increment;
        let mut looked_at = 1;
        for (level_key, _) in self.levels(side_of).take(MEASURED_LEVELS_MAX) {
            step = greatest_common_divisor(level_key.0.abs_diff(key.0), step);
            looked_at += 1;
        }
        if looked_at < MEASURED_LEVELS_MIN && increment == 0 { self.ticks.step(self.head(side_of).tick) } else { step }
    }

    /// Takes levels of the ladder into the window, now that it is where they are.
    fn take_in(&mut self, queues: &mut Queues<'_>, side_of: SideOf, orders_to_move: &mut u32) {
        let head = &mut self.heads.as_flattened_mut()[side_of.index()];
        let outside = &mut self.outside.as_flattened_mut()[side_of.index()];
        let mut inside = [(0, Key(0), NONE); WINDOW_LEVELS as usize];
        let mut count = 0;
        for (key, level) in self.ladders.levels(outside.ladder).take(TAKEN_IN_LOOKS_MAX) {
            if key < head.low || count == inside.len() {
                break;
            }
            if let Some(place) = self.ticks.place(head.tick, head.low, key) {
                inside[count] = (place, key, level);
                count += 1;
            }
        }
        for &(place, key, level) in &inside[..count] {
            let own = head.level_at(place);
            if own != level {
                if queues.level(own).order_count != 0 || !try_move(head, queues, level, own, orders_to_move) {
                    continue;
                }
                queues.give_back_level(level);
            }
            head.set(place);
            if let Ok((position, _)) = self.ladders.find(outside.ladder, key) {
                outside.level_count -= 1;
                self.ladders.remove(&mut outside.ladder, position);
            }
        }
    }
}

/// How far into its window a side's ladder reaches.
fn ladder_reach(head: &SideHead, ladder: u32, ticks: &Ticks<'_>, ladders: &Ladders<'_>) -> u16 {
    if ladder == NONE { 0 } else { reach(head, ticks, ladders.best(ladder).0) }
}

/// The first place of the window that is better than `key`.
fn reach(head: &SideHead, ticks: &Ticks<'_>, key: Key) -> u16 {
    let step = ticks.step(head.tick);
    if key < head.low || step == 0 {
        return 0;
    }
    // Bounded first: keys at both ends of their range are 2⁶⁴ − 1 apart.
    (key.0.abs_diff(head.low.0) / step).min(u64::from(WINDOW_LEVELS) - 1) as u16 + 1
}

/// Moves the orders of a level to an empty one, unless they are more than may be moved.
fn try_move(head: &mut SideHead, queues: &mut Queues<'_>, from: u32, to: u32, orders_to_move: &mut u32) -> bool {
    let Some(left) = orders_to_move.checked_sub(queues.level(from).order_count) else { return false };
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

const fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// Iterator over a side's levels with their keys, best first.
#[derive(Clone, Debug)]
pub(crate) struct SideLevels<'s> {
    sides: &'s Sides<'s>,
    head: &'s SideHead,
    /// Places of the window still to come.
    places: Places,
    ladder: LadderLevels<'s>,
    /// The ladder's next level, once it was looked at.
    outside: Option<(Key, u32)>,
}

impl Iterator for SideLevels<'_> {
    type Item = (Key, u32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let place = best_place(self.places.0);
        if place.is_none_or(|place| place < self.head.reach.into()) {
            self.outside = self.outside.or_else(|| self.ladder.next());
        }
        let inside = place.map(|place| self.sides.level_inside(self.head, place));
        if self.outside.is_some_and(|outside| inside.is_none_or(|inside| outside.0 > inside.0)) {
            return self.outside.take();
        }
        self.places.next();
        inside
    }

    /// Passes over whole words of the window and whole blocks of the ladder; step by step only where both have levels.
    #[inline]
    fn nth(&mut self, count: usize) -> Option<Self::Item> {
        let mut count = count - self.places.skip_from(self.head.reach.into(), count);
        while count > 0 && best_place(self.places.0).is_some() {
            self.next()?;
            count -= 1;
        }
        if count > 0 && self.outside.take().is_some() {
            count -= 1;
        }
        if count > 0 {
            self.ladder.nth(count - 1)?;
        }
        self.next()
    }
}

impl Sides<'_> {
    /// Checks what the sides hold beside their queues; for the validator.
    pub(crate) fn validate(&self, queues: &Queues<'_>, side_of: SideOf) -> Result<(), &'static str> {
        let (head, outside) = (self.head(side_of), self.outside(side_of));
        self.ladders.validate(outside.ladder)?;
        if head.reach != ladder_reach(head, outside.ladder, &self.ticks, &self.ladders) {
            return Err("a side's ladder reaches farther or less far into its window than it is said to");
        }
        let mut ladder_levels = 0;
        for (key, level) in self.ladders.levels(outside.ladder) {
            ladder_levels += 1;
            if queues.key_in_ladder(level) != key {
                return Err("a level stands in the ladder at another price than its own");
            }
        }
        if ladder_levels != outside.level_count {
            return Err("the count of levels outside of a window differs from the ladder's");
        }
        if head.worst_level == NONE {
            return if head.places == [0; WORDS] { Ok(()) } else { Err("a side without a window has levels in it") };
        }
        for place in 0..WINDOW_LEVELS {
            let (key, level) = self.level_inside(head, place);
            if queues.side_of_level(level) != side_of {
                return Err("a side's window is said to be another's");
            }
            if head.has(place) {
                if self.ticks.place(head.tick, head.low, key) != Some(place) {
                    return Err("a place of a window is not its price's");
                }
                if self.ladders.find(outside.ladder, key).is_ok() {
                    return Err("a level stands in the window and in the ladder");
                }
            } else if queues.level(level).order_count == 0 {
                if !queues.is_ready(level) {
                    return Err("an empty level of a window is not ready for its first order");
                }
            } else {
                let found = self.ladders.find(outside.ladder, queues.key_in_ladder(level));
                if found.ok().is_none_or(|(_, found)| found != level) {
                    return Err("a level that keeps its slot is not in the ladder");
                }
            }
        }
        Ok(())
    }
}
