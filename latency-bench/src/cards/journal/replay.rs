//! The books of a day, from its plain file and from its journal, by the engine itself.

use anyhow::ensure;
use std::path::{Path, PathBuf};
use tickcore::engine::{self, Config};
use tickcore::inputs::Inputs;
use tickcore::outcome::Outcome;
use tickcore::pin::{allowed_cores, started_on};
use tickcore::strategy::NoStrategy;
use tickcore::{JournalConfig, JournalPolicy};
use tickcore_book::Capacity;
use tickcore_journal::{Metadata, Options};
use tickcore_replay_data::generate::{Parameters, generate_to_vec};

const DAY_INSTRUMENTS: u32 = 2_000;
const DAY_SEED: u64 = 5;

/// Ratios of times.
pub(super) struct Ratios {
    /// From the journal over from the file, neither coming from the disk.
    pub(super) journal_over_file: f64,
    /// From the disk over from memory.
    pub(super) cold_over_warm: f64,
}

/// A day in both forms.
pub(super) struct Recorded {
    file: PathBuf,
    journal: PathBuf,
    state_digest: Option<u64>,
}

impl Recorded {
    /// Generates a day in `directory` and journals it.
    pub(super) fn new(directory: &Path, messages: u64) -> anyhow::Result<Self> {
        let file = directory.join("01302020.itch");
        std::fs::write(&file, generate_to_vec(Parameters::new(messages, DAY_INSTRUMENTS, DAY_SEED))?)?;
        let journal = directory.join("day.journal");
        let options = Options { staging_bytes: 64 << 20, ..Options::default() };
        let (dir, metadata, policy) = (journal.clone(), Metadata::default(), JournalPolicy::default());
        let outcome = replay(&file, Some(JournalConfig { dir, resume: false, options, metadata, policy }))?;
        Ok(Self { file, journal, state_digest: outcome.books.state_digest })
    }

    /// Replays both, each read just before, and the journal once when nothing of it is in memory.
    pub(super) fn ratios(&self) -> anyhow::Result<Ratios> {
        let time = |input: &Path| -> anyhow::Result<f64> {
            let outcome = replay(input, None)?;
            ensure!(outcome.books.state_digest == self.state_digest, "{}: other books", input.display());
            Ok(outcome.elapsed_ns as f64)
        };
        time(&self.file)?;
        let of_file = time(&self.file)?;
        super::ours::forget(&self.journal)?;
        let cold = time(&self.journal)?;
        let warm = time(&self.journal)?;
        Ok(Ratios { journal_over_file: warm / of_file, cold_over_warm: cold / warm })
    }
}

/// One run at full speed. It has every core, though the calling thread is pinned.
fn replay(input: &Path, journal: Option<JournalConfig>) -> anyhow::Result<Outcome<Inputs, NoStrategy>> {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            super::ours::floats();
            run(input, journal)
        });
        running.join().map_err(|_| anyhow::anyhow!("the replay of {} panicked", input.display()))?
    })
}

fn run(input: &Path, journal: Option<JournalConfig>) -> anyhow::Result<Outcome<Inputs, NoStrategy>> {
    let cores = allowed_cores()?;
    let config = Config {
        capacity: Capacity { instruments_max: 4_096, orders_max: 1 << 20, levels_max: 1 << 19 },
        keeps_digests: true,
        journal,
        ..Config::default()
    };
    // The reading thread keeps off the book's core where there is another.
    let beside = if cores.len() > 1 { &cores[1..] } else { &cores[..] };
    let inputs = started_on(beside, || Inputs::open(&[input.to_owned()], None))?;
    let outcome = engine::run(&config, inputs, NoStrategy)?;
    ensure!(outcome.is_good(), "{}: the replay failed: {:?}", input.display(), outcome.end);
    Ok(outcome)
}
