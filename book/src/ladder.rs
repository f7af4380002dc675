//! The levels of one side in order of price: small sorted blocks, the leaves of a tree that is entered at its best end.
//!
//! A leaf holds up to [`BLOCK_LEVELS`] keys in ascending order and knows its neighbours, so the best level is the last key
//! of the first leaf and comes and goes without moving others. A side of one leaf is no more than that. With more leaves,
//! inner blocks stand above them, of the same shape: a key and a block for each child, the key being a lower bound of all
//! keys below. A search climbs from the first leaf along the best edge only as far as it must, and then goes down, so its
//! cost grows with the logarithm of the levels ahead of the one looked for.
//!
//! Every block but the topmost of a side holds [`BLOCK_LEVELS_MIN`] keys or more: one that would hold fewer is merged with
//! its neighbour or filled from it. That bounds the blocks in use by the number of levels: as long as the level pool has
//! room, so has the pool of blocks.
//!
//! Cost: a few steps near the top of the book, and a search of one more block for every factor of ten or so in the levels
//! ahead. Worst case: a block of every height splits or merges, each 512 bytes.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::level::Key;
use crate::order::NONE;
use crate::prefetch::prefetch;

/// Keys in a block: with it a block is four cache lines.
const BLOCK_LEVELS: usize = 20;
/// Fewest keys in a block that has a parent. Two neighbours that hold no more than twice this together are merged, far enough
/// below [`BLOCK_LEVELS`] that a level that comes and goes does not split and merge each time.
const BLOCK_LEVELS_MIN: usize = 7;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Block {
    /// Of a leaf, the keys of its levels; of an inner block, for each child a key that none below it is less than. Ascending.
    keys: [Key; BLOCK_LEVELS],
    /// Of a leaf, the slots of its levels; of an inner block, the numbers of its children.
    slots: [u32; BLOCK_LEVELS],
    count: u16,
    /// Blocks between it and its leaves: 0 for a leaf.
    height: u16,
    /// Neighbours of a leaf; `worse` links free blocks.
    better: u32,
    worse: u32,
    /// [`NONE`] at the top of the tree.
    parent: u32,
}

const _: () = assert!(size_of::<Block>() == 256);

const FREE: Block = Block {
    keys: [Key(0); BLOCK_LEVELS],
    slots: [NONE; BLOCK_LEVELS],
    count: 0,
    height: 0,
    better: NONE,
    worse: NONE,
    parent: NONE,
};

impl Block {
    #[inline]
    fn count(&self) -> usize {
        (self.count as usize).min(BLOCK_LEVELS)
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.count() == BLOCK_LEVELS
    }

    #[inline]
    fn insert(&mut self, rank: usize, key: Key, slot: u32) {
        let count = self.count();
        self.keys.copy_within(rank..count, rank + 1);
        self.slots.copy_within(rank..count, rank + 1);
        self.keys[rank] = key;
        self.slots[rank] = slot;
        self.count += 1;
    }

    #[inline]
    fn remove(&mut self, rank: usize) {
        let count = self.count();
        self.keys.copy_within(rank + 1..count, rank);
        self.slots.copy_within(rank + 1..count, rank);
        self.count -= 1;
    }

    fn set(&mut self, keys: &[Key], slots: &[u32]) {
        self.keys[..keys.len()].copy_from_slice(keys);
        self.slots[..slots.len()].copy_from_slice(slots);
        self.count = slots.len() as u16;
    }

    /// The rank of the child of an inner block below which a key is or belongs.
    #[inline]
    fn rank_for(&self, key: Key) -> usize {
        self.keys[1..self.count().max(1)].partition_point(|&low| low <= key)
    }

    fn rank_of(&self, child: u32) -> usize {
        self.slots[..self.count()].iter().position(|&slot| slot == child).unwrap_or(0)
    }
}

/// With M = [`BLOCK_LEVELS_MIN`] = 7, a side of L levels in more than one leaf has at most L ÷ M leaves. Above n > 1 blocks
/// stand at most n ÷ 6 + ⅔ inner ones: one where it is the topmost, and 1 ≤ n ÷ 6 + ⅔; else m ≤ n ÷ 7 and those above them,
/// and m + m ÷ 6 + ⅔ ≤ n ÷ 6 + ⅔. So a side has at most L ÷ 7 × 7 ÷ 6 + ⅔ blocks, less than L ÷ 6 + 1, and no more than
/// that while one splits: the level for which it does is counted already.
fn block_count(capacity: Capacity) -> usize {
    let levels = capacity.levels_max as usize;
    let sides = levels.min(2 * capacity.instruments_max as usize);
    levels / (BLOCK_LEVELS_MIN - 1) + sides
}

pub(crate) fn memory(capacity: Capacity) -> MemoryRow {
    MemoryRow { part: "ladder blocks", count: block_count(capacity), bytes_each: size_of::<Block>() }
}

/// Where a key is, or would be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    leaf: u32,
    /// Number of keys in the leaf that are worse.
    rank: usize,
}

/// The blocks of all sides. A side is named by its first leaf, [`NONE`] when it is empty.
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

    /// Asks for the lines of a side's first leaf.
    #[inline]
    pub(crate) fn prefetch(&self, first: u32) {
        const LINE_KEYS: usize = 8;
        if let Some(block) = self.blocks.get(first as usize) {
            prefetch(&block.keys, 0);
            prefetch(&block.keys, LINE_KEYS);
            prefetch(&block.keys, 2 * LINE_KEYS);
            prefetch(&block.slots, BLOCK_LEVELS - 1);
        }
    }

    /// The level with `key`, or where it belongs (`None` in an empty side).
    #[inline]
    pub(crate) fn find(&self, first: u32, key: Key) -> Result<(Position, u32), Option<Position>> {
        if first == NONE {
            return Err(None);
        }
        let (mut leaf, mut block) = (first, self.get(first));
        if key < block.keys[0] && block.parent != NONE {
            leaf = self.leaf_for(first, key);
            block = self.get(leaf);
        }
        let mut rank = block.count();
        while rank > 0 && block.keys[rank - 1] > key {
            rank -= 1;
        }
        if rank > 0 && block.keys[rank - 1] == key {
            let rank = rank - 1;
            return Ok((Position { leaf, rank }, block.slots[rank]));
        }
        Err(Some(Position { leaf, rank }))
    }

    /// The leaf in which a key is or belongs, for a key below the first leaf of a side with several: up from there until a
    /// block has a bound that is no greater, then down.
    #[inline(never)]
    fn leaf_for(&self, first: u32, key: Key) -> u32 {
        let mut block = self.get(self.get(first).parent);
        // Most are near the best: step by step costs less there.
        let mut rank = block.count().max(1) - 1;
        while rank > 0 && block.keys[rank] > key {
            rank -= 1;
        }
        let mut height = 0;
        while rank == 0 && block.parent != NONE {
            block = self.get(block.parent);
            rank = block.rank_for(key);
            height += 1;
        }
        let mut number = block.slots[rank];
        for _ in 0..height {
            let block = self.get(number);
            number = block.slots[block.rank_for(key)];
        }
        number
    }

    /// Where a level is, if it is in the leaf that [`Ladders::insert`] put it into: levels move when leaves are split, merged
    /// and filled. Any number will do. Cost: a look at one block, where [`Ladders::find`] goes from one to the next.
    #[inline]
    pub(crate) fn find_in(&self, leaf: u32, level: u32) -> Option<Position> {
        let block = self.blocks.get(leaf as usize).filter(|block| block.height == 0)?;
        let rank = block.slots[..block.count()].iter().position(|&slot| slot == level)?;
        Some(Position { leaf, rank })
    }

    /// Puts a level where [`Ladders::find`] did not find its key; into which leaf. The caller took it from the level pool,
    /// which bounds the blocks in use.
    #[inline]
    pub(crate) fn insert(&mut self, first: &mut u32, position: Option<Position>, key: Key, level: u32) -> u32 {
        let Some(Position { mut leaf, mut rank }) = position else {
            *first = self.take(0);
            self.get_mut(*first).insert(0, key, level);
            return *first;
        };
        if self.get(leaf).is_full() {
            (leaf, rank) = self.split_leaf(first, leaf, rank);
        }
        self.get_mut(leaf).insert(rank, key, level);
        leaf
    }

    /// Splits a full leaf; where the place `rank` in it is afterwards.
    #[cold]
    fn split_leaf(&mut self, first: &mut u32, worse: u32, rank: usize) -> (u32, usize) {
        let better = self.split(worse);
        let beyond = self.get(worse).better;
        (self.get_mut(better).worse, self.get_mut(better).better) = (worse, beyond);
        self.get_mut(worse).better = better;
        if beyond == NONE {
            *first = better;
        } else {
            self.get_mut(beyond).worse = better;
        }
        match rank.checked_sub(self.get(worse).count()) {
            // At the bound itself it is less than it.
            None | Some(0) => (worse, rank),
            Some(rank) => (better, rank),
        }
    }

    /// Moves the better half of a full block into a new one beside it under the same parent.
    fn split(&mut self, worse: u32) -> u32 {
        let height = self.get(worse).height;
        let parent = match self.get(worse).parent {
            NONE => {
                let top = self.take(height + 1);
                self.get_mut(top).insert(0, Key(i64::MIN), worse);
                self.get_mut(worse).parent = top;
                top
            }
            parent if self.get(parent).is_full() => {
                self.split(parent);
                self.get(worse).parent
            }
            parent => parent,
        };
        let better = self.take(height);
        self.get_mut(better).parent = parent;
        self.deal(worse, better, BLOCK_LEVELS / 2);
        let low = self.get(better).keys[0];
        let rank = self.get(parent).rank_of(worse) + 1;
        self.get_mut(parent).insert(rank, low, better);
        better
    }

    /// Deals what two neighbours hold between them anew: the worst `to_worse` for the worse one, the others for the better.
    fn deal(&mut self, worse: u32, better: u32, to_worse: usize) {
        let height = self.get(worse).height;
        let mut keys = [Key(0); 2 * BLOCK_LEVELS];
        let mut slots = [NONE; 2 * BLOCK_LEVELS];
        let mut count = 0;
        for number in [worse, better] {
            let block = self.get(number);
            let end = count + block.count();
            keys[count..end].copy_from_slice(&block.keys[..block.count()]);
            slots[count..end].copy_from_slice(&block.slots[..block.count()]);
            count = end;
        }
        for (number, share) in [(worse, 0..to_worse), (better, to_worse..count)] {
            self.get_mut(number).set(&keys[share.clone()], &slots[share.clone()]);
            if height > 0 {
                slots[share].iter().for_each(|&child| self.get_mut(child).parent = number);
            }
        }
    }

    /// Removes the level at a position that [`Ladders::find`] gave.
    #[inline]
    pub(crate) fn remove(&mut self, first: &mut u32, Position { leaf, rank }: Position) {
        let block = self.get_mut(leaf);
        block.remove(rank);
        if block.count() >= BLOCK_LEVELS_MIN {
            return;
        }
        if block.parent != NONE {
            self.refill(first, leaf);
        } else if block.count == 0 {
            *first = NONE;
            self.give_back(leaf);
        }
    }

    /// Sees to a block that holds too little beside others: it is merged with a neighbour or filled from it.
    #[inline(never)]
    fn refill(&mut self, first: &mut u32, number: u32) {
        let Block { parent, height, .. } = *self.get(number);
        let siblings = self.get(parent);
        let rank = siblings.rank_of(number);
        let rank = if rank + 1 < siblings.count() { rank } else { rank.saturating_sub(1) };
        let (worse, better) = (siblings.slots[rank], siblings.slots[rank + 1]);
        let together = self.get(worse).count() + self.get(better).count();
        if together > 2 * BLOCK_LEVELS_MIN {
            self.deal(worse, better, together / 2);
            self.get_mut(parent).keys[rank + 1] = self.get(better).keys[0];
            return;
        }
        self.deal(worse, better, together);
        if height == 0 {
            let beyond = self.get(better).better;
            self.get_mut(worse).better = beyond;
            if beyond == NONE {
                *first = worse;
            } else {
                self.get_mut(beyond).worse = worse;
            }
        }
        self.give_back(better);
        let siblings = self.get_mut(parent);
        siblings.remove(rank + 1);
        let (count, only) = (siblings.count(), siblings.slots[0]);
        if siblings.parent != NONE {
            if count < BLOCK_LEVELS_MIN {
                self.refill(first, parent);
            }
        } else if count == 1 {
            self.get_mut(only).parent = NONE;
            self.give_back(parent);
        }
    }

    fn give_back(&mut self, number: u32) {
        *self.get_mut(number) = Block { worse: self.free, ..FREE };
        self.free = number;
    }

    fn take(&mut self, height: u16) -> u32 {
        let number = if self.free != NONE {
            let number = self.free;
            self.free = self.get(number).worse;
            number
        } else {
            self.fresh += 1;
            self.fresh - 1
        };
        let block = self.get_mut(number);
        (block.worse, block.height) = (NONE, height);
        number
    }

    /// The best level of a side that is not empty.
    #[inline]
    pub(crate) fn best(&self, first: u32) -> (Key, u32) {
        let block = self.get(first);
        let last = (block.count as usize).clamp(1, BLOCK_LEVELS) - 1;
        (block.keys[last], block.slots[last])
    }

    /// The levels of a side, best first.
    pub(crate) fn levels(&self, first: u32) -> LadderLevels<'_> {
        let rank = if first == NONE { 0 } else { self.get(first).count as usize };
        LadderLevels { blocks: self.blocks, leaf: first, rank }
    }

    /// Checks order, links, bounds and counts of one side; for the validator.
    pub(crate) fn validate(&self, first: u32) -> Result<(), &'static str> {
        if first == NONE {
            return Ok(());
        }
        let (mut top, mut height) = (first, 0);
        while self.get(top).parent != NONE {
            (top, height) = (self.get(top).parent, height + 1);
            if height > u32::BITS {
                return Err("ladder blocks are each other's parents");
            }
        }
        let mut seen = Seen { leaf: NONE, bound: None };
        self.validate_below(top, height, Key(i64::MIN), &mut seen)?;
        let mut leaf = first;
        while self.get(leaf).worse != NONE {
            leaf = self.get(leaf).worse;
        }
        if self.get(first).better != NONE || leaf != seen.leaf {
            return Err("the first or the last ladder leaf is another than the tree's");
        }
        Ok(())
    }

    /// Checks a block and all below it, best first. `low` is the bound that its parent gives.
    fn validate_below(&self, number: u32, height: u32, low: Key, seen: &mut Seen) -> Result<(), &'static str> {
        let block = self.get(number);
        let count = block.count as usize;
        let count_min = match (block.parent, height) {
            (NONE, 0) => 1,
            (NONE, _) => 2,
            _ => BLOCK_LEVELS_MIN,
        };
        if !(count_min..=BLOCK_LEVELS).contains(&count) {
            return Err("a ladder block holds too little or too much");
        }
        if u32::from(block.height) != height {
            return Err("a ladder block stands higher or less high than it is said to");
        }
        if height > 0 && block.keys[0] != low {
            return Err("a ladder block's own bound differs from the one that its parent has");
        }
        if height == 0 {
            if block.better != seen.leaf || (seen.leaf != NONE && self.get(seen.leaf).worse != number) {
                return Err("neighbouring ladder leaves do not link to each other");
            }
            seen.leaf = number;
        }
        for rank in (0..count).rev() {
            let key = block.keys[rank];
            if height == 0 {
                if key < low || seen.bound.is_some_and(|bound| key >= bound) {
                    return Err("ladder keys are out of order or beyond a bound");
                }
                seen.bound = Some(key);
            } else {
                let child = block.slots[rank];
                if self.get(child).parent != number {
                    return Err("a ladder block does not link back to its parent");
                }
                self.validate_below(child, height - 1, key, seen)?;
                if seen.bound.is_some_and(|bound| key > bound) {
                    return Err("a ladder bound is above a key below it");
                }
                seen.bound = Some(key);
            }
        }
        Ok(())
    }
}

/// What the validator saw last: a leaf, and a key that all that come are less than.
struct Seen {
    leaf: u32,
    bound: Option<Key>,
}

/// Iterator over the levels of a side with their keys, best first.
#[derive(Clone, Debug)]
pub(crate) struct LadderLevels<'l> {
    blocks: &'l [Block],
    leaf: u32,
    rank: usize,
}

impl Iterator for LadderLevels<'_> {
    type Item = (Key, u32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.leaf == NONE {
            return None;
        }
        if self.rank == 0 {
            self.leaf = self.blocks[self.leaf as usize].worse;
            if self.leaf == NONE {
                return None;
            }
            self.rank = self.blocks[self.leaf as usize].count as usize;
        }
        self.rank -= 1;
        let block = &self.blocks[self.leaf as usize];
        Some((block.keys[self.rank], block.slots[self.rank]))
    }

    /// Cost: a step a leaf.
    #[inline]
    fn nth(&mut self, mut count: usize) -> Option<Self::Item> {
        while self.leaf != NONE && count >= self.rank {
            count -= self.rank;
            self.leaf = self.blocks[self.leaf as usize].worse;
            self.rank = if self.leaf == NONE { 0 } else { self.blocks[self.leaf as usize].count as usize };
        }
        self.rank -= count.min(self.rank);
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SMALL: Capacity = Capacity { instruments_max: 1, orders_max: 1, levels_max: 300 };

    fn arena(capacity: Capacity) -> Arena {
        Arena::new(memory(capacity).bytes()).expect("small")
    }

    /// A side and the sorted map that it is held against.
    struct Pair<'a> {
        ladders: Ladders<'a>,
        first: u32,
        map: BTreeMap<Key, u32>,
        levels_max: usize,
    }

    impl<'a> Pair<'a> {
        fn new(arena: &'a Arena, capacity: Capacity) -> Self {
            let ladders = Ladders::new(arena, capacity).expect("fits");
            Self { ladders, first: NONE, map: BTreeMap::new(), levels_max: capacity.levels_max as usize }
        }

        /// Adds the key if it is not there and fits; removes it if it is there and that is wanted.
        fn step(&mut self, key: Key, is_to_go: bool) {
            match self.ladders.find(self.first, key) {
                Ok((position, found)) => {
                    assert_eq!(Some(&found), self.map.get(&key));
                    if is_to_go {
                        self.ladders.remove(&mut self.first, position);
                        self.map.remove(&key);
                    }
                }
                Err(position) => {
                    assert!(!self.map.contains_key(&key));
                    if self.map.len() < self.levels_max {
                        let level = key.0 as u32;
                        self.ladders.insert(&mut self.first, position, key, level);
                        self.map.insert(key, level);
                    }
                }
            }
            if let Some((best, level)) = self.map.last_key_value() {
                assert_eq!(self.ladders.best(self.first), (*best, *level));
            }
        }

        fn check(&self) {
            assert_eq!(self.ladders.validate(self.first), Ok(()));
            let levels = || self.map.iter().rev().map(|(&key, &level)| (key, level));
            assert!(self.ladders.levels(self.first).eq(levels()));
            for (&key, &level) in self.map.iter().step_by(97) {
                let Ok((Position { leaf, rank }, _)) = self.ladders.find(self.first, key) else {
                    panic!("it is there")
                };
                for number in 0..self.ladders.blocks.len() as u32 + 1 {
                    let found = self.ladders.find_in(number, level).map(|position| (position.leaf, position.rank));
                    assert_eq!(found, (number == leaf).then_some((leaf, rank)));
                }
            }
            for step in [3, 20, 501] {
                assert!(self.ladders.levels(self.first).step_by(step).eq(levels().step_by(step)));
            }
            if self.map.is_empty() {
                assert_eq!((self.first, blocks_in_use(&self.ladders)), (NONE, 0));
            }
        }
    }

    fn blocks_in_use(ladders: &Ladders<'_>) -> usize {
        let mut count = ladders.fresh as usize;
        let mut free = ladders.free;
        while free != NONE {
            count -= 1;
            free = ladders.get(free).worse;
        }
        count
    }

    /// All of 0 to `count` in an order: as they are, the other way around, from both ends in turn, or mixed up.
    fn ordered(count: i64, order: usize) -> Vec<i64> {
        // No factor of it in any count below, so every number comes once.
        const STRIDE: i64 = 7_919;
        match order {
            0 => (0..count).collect(),
            1 => (0..count).rev().collect(),
            2 => (0..count).map(|number| if number % 2 == 0 { number / 2 } else { count - 1 - number / 2 }).collect(),
            _ => (0..count).map(|number| number * STRIDE % count).collect(),
        }
    }

    const ORDERS: usize = 4;

    proptest! {
        #[test]
        fn equals_a_sorted_map_and_stays_within_its_blocks(
            steps in proptest::collection::vec((-200_i64..200, 0_u8..4), 1..4000),
        ) {
            let arena = arena(SMALL);
            let mut pair = Pair::new(&arena, SMALL);
            for (key, action) in steps {
                pair.step(Key(key), action != 0);
                prop_assert_eq!(pair.ladders.validate(pair.first), Ok(()));
            }
            pair.check();
        }

        #[test]
        fn thousands_of_levels_come_and_go_at_random(
            seed in any::<u64>(),
            levels in 1_000_i64..9_000,
            extremes in prop::sample::subsequence(vec![i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX], 0..4),
        ) {
            const STEPS: u64 = 30_000;
            let capacity = Capacity { levels_max: 6_000, ..SMALL };
            let arena = arena(capacity);
            let mut pair = Pair::new(&arena, capacity);
            extremes.iter().for_each(|&key| pair.step(Key(key), false));
            for step in 0..STEPS {
                let random = crate::digest::mix(seed ^ step);
                // Growing at first, shrinking later.
                let is_to_go = random >> 32 & 7 < step * 8 / STEPS;
                pair.step(Key((random as i64).rem_euclid(levels)), is_to_go);
                if step % 1_000 == 0 {
                    pair.check();
                }
            }
            pair.check();
            for key in pair.map.keys().copied().collect::<Vec<_>>() {
                pair.step(key, true);
            }
            pair.check();
        }
    }

    #[test]
    fn fills_to_the_maximum_and_empties_in_every_order() {
        for levels in [1, 20, 21, 300, 8_000] {
            let capacity = Capacity { levels_max: levels, ..SMALL };
            let arena = arena(capacity);
            let mut pair = Pair::new(&arena, capacity);
            for (fill, empty) in (0..ORDERS).flat_map(|fill| (0..ORDERS).map(move |empty| (fill, empty))) {
                let steps = ordered(levels.into(), fill).into_iter().map(|key| (key, false));
                let steps = steps.chain(ordered(levels.into(), empty).into_iter().map(|key| (key, true)));
                for (number, (key, is_to_go)) in steps.enumerate() {
                    pair.step(Key(key), is_to_go);
                    if number % 997 == 0 {
                        pair.check();
                    }
                    if number + 1 == levels as usize {
                        assert_eq!(pair.map.len(), levels as usize);
                        pair.check();
                    }
                }
                assert!(pair.map.is_empty());
                pair.check();
            }
        }
    }

    /// As many blocks as can be had for the levels: leaves are filled by tens and thinned out to the fewest, on one side
    /// after the other, until no level is left.
    #[test]
    fn the_blocks_suffice_for_the_emptiest_blocks() {
        const SIDES: u32 = 8;
        for levels_max in [1, 7, 8, 15, 100, 3_000] {
            let capacity = Capacity { instruments_max: SIDES / 2, levels_max, ..SMALL };
            let arena = arena(capacity);
            let mut ladders = Ladders::new(&arena, capacity).expect("fits");
            let mut sides = [NONE; SIDES as usize];
            let mut left = levels_max;
            for turn in 0..100 {
                let first = &mut sides[turn % SIDES as usize];
                let offset = i64::from(left) * 10_000;
                for key in 0..i64::from(left) {
                    if let Err(position) = ladders.find(*first, Key(offset + key)) {
                        ladders.insert(first, position, Key(offset + key), 0);
                        left -= 1;
                    }
                }
                for key in (0..i64::from(levels_max)).filter(|key| key % 10 > 6) {
                    if let Ok((position, _)) = ladders.find(*first, Key(offset + key)) {
                        ladders.remove(first, position);
                        left += 1;
                    }
                }
                assert_eq!(ladders.validate(*first), Ok(()));
            }
            let (used, all) = (blocks_in_use(&ladders), block_count(capacity));
            assert!(used <= all);
            if levels_max == 3_000 {
                assert!(used > all * 3 / 4, "only {used} of {all}: this is no hard case");
            }
        }
    }

    #[test]
    fn the_validator_sees_what_is_wrong() {
        let capacity = Capacity { levels_max: 8_000, ..SMALL };
        let arena = arena(capacity);
        let mut pair = Pair::new(&arena, capacity);
        ordered(8_000, 3).into_iter().for_each(|key| pair.step(Key(key), false));
        pair.check();
        let sees = |pair: &mut Pair<'_>, what: &str, damage: &dyn Fn(&mut Block)| {
            let number = pair.ladders.get(pair.first).parent;
            for number in [pair.ladders.get(number).slots[1], number] {
                let before = *pair.ladders.get(number);
                damage(pair.ladders.get_mut(number));
                assert!(pair.ladders.validate(pair.first).is_err(), "{what} of block {number}");
                *pair.ladders.get_mut(number) = before;
            }
            pair.check();
        };
        sees(&mut pair, "too few", &|block| block.count = BLOCK_LEVELS_MIN as u16 - 1);
        sees(&mut pair, "too many", &|block| block.count = BLOCK_LEVELS as u16 + 1);
        sees(&mut pair, "the order", &|block| block.keys.swap(2, 3));
        sees(&mut pair, "a bound", &|block| block.keys[0] = Key(i64::MAX));
        sees(&mut pair, "the height", &|block| block.height += 1);
        sees(&mut pair, "the parent", &|block| block.parent = block.parent.wrapping_add(1) % 8);
    }
}
