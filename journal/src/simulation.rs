//! The journal on a simulated medium: everything random follows from a seed, which a failure prints.
//!
//! `disk` keeps what is durable apart from what is not and decides what a crash leaves; `storage` carries out what the
//! writer submits, in any order and at its leisure; `runs` drives writers, readers and recovery through it and holds them
//! to the journal's promises, `outputs` to those of the streams beside the inputs; `controls` takes one defence
//! out at a time. There is no thread and no clock in it.

mod controls;
pub(crate) mod disk;
mod outputs;
mod runs;
mod storage;

/// A stream of numbers that follows from its seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
