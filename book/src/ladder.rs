//! The levels of one side in order of price: a list of small sorted blocks, best block first.
//!
//! A block holds up to [`BLOCK_LEVELS`] keys in ascending order, so the best level is the last key of the first block
//! and comes and goes without moving others. Neighbouring blocks that could share one are merged, which bounds the
//! blocks in use by the number of levels: as long as the level pool has room, so has the pool of blocks.
//!
//! Cost: a few steps near the top of the book; a walk over (levels ahead ÷ about 15) blocks far from it.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::level::Key;
use crate::order::NONE;
use crate::prefetch::prefetch;

/// Levels in a block: with it a block is four cache lines.
const BLOCK_LEVELS: usize = 20;
/// Neighbours with no more levels than this together become one. Below [`BLOCK_LEVELS`], so that a level that comes and
/// goes does not split and merge each time.
const MERGE_LEVELS: usize = 14;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Block {
    keys: [Key; BLOCK_LEVELS],
    levels: [u32; BLOCK_LEVELS],
    count: u32,
    better: u32,
    worse: u32,
}

const _: () = assert!(size_of::<Block>() == 256);

const FREE: Block =
    Block { keys: [Key(0); BLOCK_LEVELS], levels: [NONE; BLOCK_LEVELS], count: 0, better: NONE, worse: NONE };

/// Two neighbours have more than [`MERGE_LEVELS`] levels, so a side with L levels has at most 2L ÷ 15 + 1 blocks; one
/// more is needed for a moment while a block splits.
fn block_count(capacity: Capacity) -> usize {
    let levels = capacity.levels_max as usize;
    let sides = levels.min(2 * capacity.instruments_max as usize);
    2 * levels / (MERGE_LEVELS + 1) + sides + 1
}

pub(crate) fn memory(capacity: Capacity) -> MemoryRow {
    MemoryRow { part: "ladder blocks", count: block_count(capacity), bytes_each: size_of::<Block>() }
}

/// Where a key is, or would be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    block: u32,
    /// Number of keys in the block that are worse.
    rank: usize,
}

/// The blocks of all sides. A side is named by its first block, [`NONE`] when it is empty.
#[derive(Debug)]
pub(crate) struct Ladders<'a> {
    blocks: &'a mut [Block],
    free: u32,
    fresh: u32,
}

impl<'a> Ladders<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        Ok(Self { blocks: arena.slice(block_count(capacity), FREE)?, free: NONE, fresh: 0 })
    }

    #[inline]
    fn get(&self, block: u32) -> &Block {
        &self.blocks[block as usize]
    }

    #[inline]
    fn get_mut(&mut self, block: u32) -> &mut Block {
        &mut self.blocks[block as usize]
    }

    /// Asks for the lines of a side's first block.
    #[inline]
    pub(crate) fn prefetch(&self, first: u32) {
        const LINE_KEYS: usize = 8;
        if let Some(block) = self.blocks.get(first as usize) {
            prefetch(&block.keys, 0);
            prefetch(&block.keys, LINE_KEYS);
            prefetch(&block.keys, 2 * LINE_KEYS);
            prefetch(&block.levels, BLOCK_LEVELS - 1);
        }
    }

    /// The level with `key`, or where it belongs (`None` in an empty side).
    #[inline]
    pub(crate) fn find(&self, first: u32, key: Key) -> Result<(Position, u32), Option<Position>> {
        if first == NONE {
            return Err(None);
        }
        let mut number = first;
        loop {
            let block = self.get(number);
            if key >= block.keys[0] || block.worse == NONE {
                let count = (block.count as usize).min(BLOCK_LEVELS);
                let mut rank = count;
                while rank > 0 && block.keys[rank - 1] > key {
                    rank -= 1;
                }
                if rank > 0 && block.keys[rank - 1] == key {
                    let rank = rank - 1;
                    return Ok((Position { block: number, rank }, block.levels[rank]));
                }
                return Err(Some(Position { block: number, rank }));
            }
            number = block.worse;
        }
    }

    /// Puts a level where [`Ladders::find`] did not find its key. The caller took it from the level pool, which bounds
    /// the blocks in use.
    #[inline]
    pub(crate) fn insert(&mut self, first: &mut u32, position: Option<Position>, key: Key, level: u32) {
        let Some(mut position) = position else {
            *first = self.take();
            block_insert(self.get_mut(*first), 0, key, level);
            return;
        };
        if self.get(position.block).count as usize == BLOCK_LEVELS {
            self.split(first, position.block);
            if let Err(Some(found)) = self.find(*first, key) {
                position = found;
            }
        }
        block_insert(self.get_mut(position.block), position.rank, key, level);
    }

    /// Moves the better half of a full block into a new one before it. A half may fit into its other neighbour.
    #[cold]
    fn split(&mut self, first: &mut u32, worse: u32) {
        const HALF: usize = BLOCK_LEVELS / 2;
        let better = self.take();
        let mut block = *self.get(worse);
        let mut half = FREE;
        half.keys[..HALF].copy_from_slice(&block.keys[HALF..]);
        half.levels[..HALF].copy_from_slice(&block.levels[HALF..]);
        half.count = HALF as u32;
        half.worse = worse;
        half.better = block.better;
        if block.better == NONE {
            *first = better;
        } else {
            self.get_mut(block.better).worse = better;
        }
        block.count = HALF as u32;
        block.better = better;
        *self.get_mut(worse) = block;
        *self.get_mut(better) = half;
        self.merge_if_small(first, half.better, better);
        self.merge_if_small(first, worse, block.worse);
    }

    /// Removes the level at a position that [`Ladders::find`] gave.
    #[inline]
    pub(crate) fn remove(&mut self, first: &mut u32, Position { block: number, rank }: Position) {
        let block = self.get_mut(number);
        let count = block.count as usize;
        block.keys.copy_within(rank + 1..count, rank);
        block.levels.copy_within(rank + 1..count, rank);
        block.count -= 1;
        let Block { count, better, worse, .. } = *block;
        if count == 0 {
            self.unlink(first, number);
        } else if count as usize <= MERGE_LEVELS {
            // Together with its better neighbour it has too many levels for its worse one.
            if !self.merge_if_small(first, better, number) {
                self.merge_if_small(first, number, worse);
            }
        }
    }

    /// Moves the levels of `better` behind those of `worse`, its neighbour, if they are few enough. Either may be [`NONE`].
    fn merge_if_small(&mut self, first: &mut u32, better: u32, worse: u32) -> bool {
        if better == NONE || worse == NONE || (self.get(better).count + self.get(worse).count) as usize > MERGE_LEVELS {
            return false;
        }
        let from = *self.get(better);
        let into = self.get_mut(worse);
        let (start, added) = (into.count as usize, from.count as usize);
        into.keys[start..start + added].copy_from_slice(&from.keys[..added]);
        into.levels[start..start + added].copy_from_slice(&from.levels[..added]);
        into.count += from.count;
        self.unlink(first, better);
        true
    }

    fn unlink(&mut self, first: &mut u32, number: u32) {
        let Block { better, worse, .. } = *self.get(number);
        if better == NONE {
            *first = worse;
        } else {
            self.get_mut(better).worse = worse;
        }
        if worse != NONE {
            self.get_mut(worse).better = better;
        }
        *self.get_mut(number) = Block { worse: self.free, ..FREE };
        self.free = number;
    }

    fn take(&mut self) -> u32 {
        if self.free != NONE {
            let number = self.free;
            self.free = self.get(number).worse;
            self.get_mut(number).worse = NONE;
            number
        } else {
            self.fresh += 1;
            self.fresh - 1
        }
    }

    /// The best level of a side that is not empty.
    #[inline]
    pub(crate) fn best(&self, first: u32) -> (Key, u32) {
        let block = self.get(first);
        let last = (block.count as usize).clamp(1, BLOCK_LEVELS) - 1;
        (block.keys[last], block.levels[last])
    }

    /// The levels of a side, best first.
    pub(crate) fn levels(&self, first: u32) -> LadderLevels<'_> {
        let rank = if first == NONE { 0 } else { self.get(first).count as usize };
        LadderLevels { blocks: self.blocks, block: first, rank }
    }

    /// Checks order, links, counts and the bound on blocks of one side; for the validator.
    pub(crate) fn validate(&self, first: u32) -> Result<(), &'static str> {
        let (mut number, mut better, mut last_key) = (first, NONE, None);
        while number != NONE {
            let block = self.get(number);
            if block.better != better {
                return Err("a ladder block does not link back to its better neighbour");
            }
            if block.count == 0 || block.count as usize > BLOCK_LEVELS {
                return Err("a ladder block is empty or overfull");
            }
            if block.worse != NONE && (block.count + self.get(block.worse).count) as usize <= MERGE_LEVELS {
                return Err("two ladder blocks that should be one");
            }
            for rank in (0..block.count as usize).rev() {
                if last_key.is_some_and(|last| block.keys[rank] >= last) {
                    return Err("ladder keys are out of order");
                }
                last_key = Some(block.keys[rank]);
            }
            (better, number) = (number, block.worse);
        }
        Ok(())
    }
}

#[inline]
fn block_insert(block: &mut Block, rank: usize, key: Key, level: u32) {
    let count = block.count as usize;
    block.keys.copy_within(rank..count, rank + 1);
    block.levels.copy_within(rank..count, rank + 1);
    block.keys[rank] = key;
    block.levels[rank] = level;
    block.count += 1;
}

/// Iterator over the level slots of a side, best first.
#[derive(Clone, Debug)]
pub(crate) struct LadderLevels<'l> {
    blocks: &'l [Block],
    block: u32,
    rank: usize,
}

impl Iterator for LadderLevels<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.block == NONE {
            return None;
        }
        if self.rank == 0 {
            self.block = self.blocks[self.block as usize].worse;
            if self.block == NONE {
                return None;
            }
            self.rank = self.blocks[self.block as usize].count as usize;
        }
        self.rank -= 1;
        Some(self.blocks[self.block as usize].levels[self.rank])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const LEVELS_MAX: usize = 300;
    const CAPACITY: Capacity = Capacity { instruments_max: 1, orders_max: 1, levels_max: LEVELS_MAX as u32 };

    proptest! {
        #[test]
        fn equals_a_sorted_map_and_stays_within_its_blocks(
            steps in proptest::collection::vec((-200_i64..200, 0_u8..4), 1..4000),
        ) {
            let arena = Arena::new(1 << 20).expect("small");
            let mut ladders = Ladders::new(&arena, CAPACITY).expect("fits");
            let mut first = NONE;
            let mut map = BTreeMap::new();
            for (level, (key, action)) in (0..).zip(steps) {
                let key = Key(key);
                match ladders.find(first, key) {
                    Ok((position, found)) => {
                        prop_assert_eq!(Some(&found), map.get(&key));
                        if action != 0 {
                            ladders.remove(&mut first, position);
                            map.remove(&key);
                        }
                    }
                    Err(position) => {
                        prop_assert!(!map.contains_key(&key));
                        if map.len() < LEVELS_MAX {
                            ladders.insert(&mut first, position, key, level);
                            map.insert(key, level);
                        }
                    }
                }
                prop_assert_eq!(ladders.validate(first), Ok(()));
                if let Some((best, level)) = map.last_key_value() {
                    prop_assert_eq!(ladders.best(first), (*best, *level));
                }
            }
            prop_assert_eq!(ladders.levels(first).collect::<Vec<_>>(), map.values().rev().copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn fills_to_the_maximum_and_empties_in_every_direction() {
        for reverse in [false, true] {
            let arena = Arena::new(1 << 20).expect("small");
            let mut ladders = Ladders::new(&arena, CAPACITY).expect("fits");
            let mut first = NONE;
            let mut keys: Vec<i64> = (0..LEVELS_MAX as i64).collect();
            for _ in 0..3 {
                for &key in &keys {
                    let position = ladders.find(first, Key(key)).expect_err("not there");
                    ladders.insert(&mut first, position, Key(key), key as u32);
                }
                assert_eq!(ladders.levels(first).count(), LEVELS_MAX);
                if reverse {
                    keys.reverse();
                }
                for &key in &keys {
                    let (position, _) = ladders.find(first, Key(key)).expect("there");
                    ladders.remove(&mut first, position);
                    assert_eq!(ladders.validate(first), Ok(()));
                }
                assert_eq!(first, NONE);
            }
        }
    }
}
