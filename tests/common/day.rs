//! Days of market data in files: the bundled sample and generated ones.

use std::fs;
use std::path::{Path, PathBuf};
use tickcore_replay_data::generate::{Parameters, generate_to_vec};
use tickcore_replay_data::sample;

/// The bundled sample, decompressed.
pub(crate) fn sample_bytes() -> Vec<u8> {
    zstd::decode_all(sample::bytes()).expect("the bundled sample is whole")
}

/// Writes `bytes` to a file called `name` in `directory`.
pub(crate) fn put(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, bytes).expect("a temporary file can be written");
    path
}

/// A generated day.
pub(crate) fn generated(messages: u64, instruments: u32, seed: u64) -> Vec<u8> {
    generate_to_vec(Parameters::new(messages, instruments, seed)).expect("parameters that can be")
}

/// A generator of random numbers (SplitMix64) for choices of tests, whose seed is printed.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by the environment variable `TICKCORE_TEST_SEED`, or by the clock.
    pub(crate) fn new() -> Self {
        let chosen = std::env::var("TICKCORE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = chosen.unwrap_or_else(|| {
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
        });
        eprintln!("TICKCORE_TEST_SEED={seed} repeats this run");
        Self(seed)
    }

    /// Of a seed that another one gave.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % end
    }
}
