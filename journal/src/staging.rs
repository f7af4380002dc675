//! The pool of staging blocks.
//!
//! A block becomes a frame: records are appended in place behind the room for its header, and the block itself is what
//! the disk reads. Blocks with low numbers are registered with io_uring and are handed out first; within each kind the
//! block that came back last is handed out first, because it is still in the cache.

use crate::memory::Block;
use std::io;

/// Blocks that frames cannot have: a segment's header and another's footer may be on their way at once.
pub(crate) const CONTROL_BLOCKS: usize = 2;

/// The free blocks. Neither taking nor giving back allocates.
pub(crate) struct Pool {
    registered: Vec<Block>,
    plain: Vec<Block>,
    registered_count: usize,
}

impl Pool {
    /// `count` blocks of `block_bytes`, the first `registered_count` of them preferred.
    pub(crate) fn new(count: usize, block_bytes: usize, registered_count: usize) -> io::Result<Self> {
        let mut blocks = Block::pool(count, block_bytes)?;
        let mut plain = blocks.split_off(registered_count.min(count));
        let mut registered = Vec::with_capacity(count);
        // Low numbers at the end, where they are taken from.
        registered.extend(blocks.drain(..).rev());
        plain.reverse();
        // Stepping down puts every block among the plain ones.
        plain.reserve_exact(count - plain.len());
        Ok(Self { registered_count: registered.len(), registered, plain })
    }

    /// The blocks to register: empty when none are to be.
    pub(crate) fn registrable(&self) -> &[Block] {
        &self.registered
    }

    /// Treats all blocks alike from now on: registration was refused. To be called while all are free.
    pub(crate) fn forget_registered(&mut self) {
        self.plain.append(&mut self.registered);
        self.registered_count = 0;
    }

    /// Blocks that frames can still have.
    #[inline]
    pub(crate) fn free_count(&self) -> usize {
        (self.registered.len() + self.plain.len()).saturating_sub(CONTROL_BLOCKS)
    }

    /// A block for a frame, or `None` when only the blocks for headers and footers are left.
    pub(crate) fn take(&mut self) -> Option<Block> {
        if self.free_count() == 0 { None } else { self.take_control() }
    }

    /// A block for a header or footer. There is one as long as at most [`CONTROL_BLOCKS`] are out.
    pub(crate) fn take_control(&mut self) -> Option<Block> {
        self.registered.pop().or_else(|| self.plain.pop())
    }

    /// Takes a block back.
    pub(crate) fn give_back(&mut self, block: Block) {
        if block.index() < self.registered_count { self.registered.push(block) } else { self.plain.push(block) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_the_control_blocks_alone_and_get_registered_blocks_first() {
        let mut pool = Pool::new(5, 4096, 2).unwrap();
        assert_eq!(pool.registrable().len(), 2);
        assert_eq!(pool.free_count(), 3);
        let taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken.iter().map(Block::index).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(pool.take().is_none());
        let control = [pool.take_control().unwrap(), pool.take_control().unwrap()];
        assert!(pool.take_control().is_none());
        control.into_iter().chain(taken).for_each(|block| pool.give_back(block));
        assert_eq!(pool.free_count(), 3);
        assert_eq!(pool.take().unwrap().index(), 1, "of the registered blocks, the one that came back last");
    }

    #[test]
    fn without_registration_all_blocks_are_alike() {
        let mut pool = Pool::new(5, 4096, 2).unwrap();
        pool.forget_registered();
        assert!(pool.registrable().is_empty());
        assert_eq!(pool.free_count(), 3);
    }
}
