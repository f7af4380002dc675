//! Steps between prices, made ready so that a price's place in a window takes a multiplication instead of a division.

use crate::arena::{Arena, ArenaError};
use crate::capacity::MemoryRow;
use crate::level::Key;
use crate::queues::WINDOW_LEVELS;

/// Number of a tick in [`Ticks`].
pub(crate) type TickNumber = u8;

/// The number of no tick: no price is in a window with it.
pub(crate) const NO_TICK: TickNumber = 0;

const TICKS: usize = 1 << TickNumber::BITS;

/// Largest step that a window is made for: with it a window spans 2⁵⁸ units of price.
const STEP_MAX: u64 = 1 << 50;

/// A step between prices.
#[derive(Clone, Copy, Debug)]
struct Tick {
    /// Price units; 0 in a row that is free.
    step: u64,
    /// Inverse of the odd part of the step modulo 2⁶⁴.
    inverse: u64,
    /// Twos in the step.
    shift: u32,
    /// Levels in a window: 0 for no tick.
    levels: u32,
}

const FREE: Tick = Tick { step: 0, inverse: 0, shift: 0, levels: 0 };

/// The ticks that sides use, each once.
#[derive(Debug)]
pub(crate) struct Ticks<'a>(&'a mut [Tick; TICKS]);

pub(crate) fn memory() -> MemoryRow {
    MemoryRow { part: "ticks", count: TICKS, bytes_each: size_of::<Tick>() }
}

impl<'a> Ticks<'a> {
    pub(crate) fn new(arena: &'a Arena) -> Result<Self, ArenaError> {
        let ticks = arena.slice(TICKS, FREE)?;
        Ok(Self(ticks.try_into().expect("a slice of as many was asked for")))
    }

    /// The number of a step, [`NO_TICK`] when it is 0, too large, or one more than there is room for.
    pub(crate) fn number(&mut self, step: u64) -> TickNumber {
        if step == 0 || step > STEP_MAX {
            return NO_TICK;
        }
        for (number, tick) in self.0.iter_mut().enumerate().skip(1) {
            if tick.step == 0 {
                let shift = step.trailing_zeros();
                *tick = Tick { step, inverse: inverse(step >> shift), shift, levels: WINDOW_LEVELS };
            }
            if tick.step == step {
                return number as TickNumber;
            }
        }
        NO_TICK
    }

    /// The step of a number, 0 for none.
    pub(crate) const fn step(&self, number: TickNumber) -> u64 {
        self.0[number as usize].step
    }

    /// The key of a place of the window that begins at `low`.
    #[inline]
    pub(crate) const fn key(&self, number: TickNumber, low: Key, place: u32) -> Key {
        Key(low.0.wrapping_add_unsigned(self.step(number) * place as u64))
    }

    /// Which level of the window that begins at `low` has `key`; `None` when it is outside or between two levels. The
    /// window must end within the range of keys.
    ///
    /// Multiplying by the inverse of an odd number divides its multiples exactly and takes all else beyond 2⁶⁴ ÷ number
    /// (Granlund and Montgomery, Division by Invariant Integers using Multiplication, 1994, section 9); rotating does the
    /// same for the twos.
    #[inline]
    pub(crate) const fn place(&self, number: TickNumber, low: Key, key: Key) -> Option<u32> {
        let (place, is_inside) = self.place_if_inside(number, low, key);
        if is_inside { Some(place) } else { None }
    }

    /// [`Ticks::place`] for where no branch may depend on the answer: any number, and whether it is a place.
    #[inline]
    pub(crate) const fn place_if_inside(&self, number: TickNumber, low: Key, key: Key) -> (u32, bool) {
        let tick = &self.0[number as usize];
        let place = (key.0.wrapping_sub(low.0) as u64).wrapping_mul(tick.inverse).rotate_right(tick.shift);
        (place as u32 % WINDOW_LEVELS, place < tick.levels as u64)
    }
}

/// Inverse of an odd number modulo 2⁶⁴: each step of Newton's iteration doubles the bits that are right, and a number is
/// its own inverse in the lowest three.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut right_bits = 3;
    while right_bits < u64::BITS {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        right_bits *= 2;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place_by_division(step: u64, low: Key, key: Key) -> Option<u32> {
        let distance = i128::from(key.0) - i128::from(low.0);
        let step = i128::from(step);
        let is_inside = distance >= 0 && distance % step == 0 && distance / step < i128::from(WINDOW_LEVELS);
        is_inside.then(|| (distance / step) as u32)
    }

    proptest! {
        #[test]
        fn a_place_is_what_division_says(
            step in prop_oneof![1_u64..1000, 1_u64..=STEP_MAX, proptest::sample::select(vec![100_000_u64, 10_000_000, STEP_MAX])],
            low in prop_oneof![Just(i64::MIN), any::<i64>(), -1000_i64..1000],
            steps in -300_i64..300,
            beside in prop_oneof![Just(0_i64), -3_i64..4, any::<i64>()],
        ) {
            let arena = Arena::new(memory().bytes()).expect("small");
            let mut ticks = Ticks::new(&arena).expect("fits");
            let number = ticks.number(step);
            let low = low.min(i64::MAX - (step * u64::from(WINDOW_LEVELS)) as i64);
            let key = low.wrapping_add((step as i64).wrapping_mul(steps)).wrapping_add(beside);
            prop_assert_eq!(ticks.place(number, Key(low), Key(key)), place_by_division(step, Key(low), Key(key)));
            prop_assert_eq!(ticks.place(NO_TICK, Key(low), Key(key)), None);
        }
    }

    #[test]
    fn each_tick_is_kept_once_and_too_many_are_none() {
        let arena = Arena::new(memory().bytes()).expect("small");
        let mut ticks = Ticks::new(&arena).expect("fits");
        assert_eq!((ticks.number(0), ticks.number(STEP_MAX + 1)), (NO_TICK, NO_TICK));
        for step in 1..TICKS as u64 {
            assert_eq!(u64::from(ticks.number(step)), step);
        }
        assert_eq!(ticks.number(7), 7);
        assert_eq!(ticks.number(TICKS as u64), NO_TICK);
    }
}
