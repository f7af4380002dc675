//! Runs that keep a journal.

use std::path::Path;
use tickcore::book::Capacity;
use tickcore::engine::Config;
use tickcore::journal::{Capacities, Metadata, Options, Status};
use tickcore::{JournalConfig, JournalPolicy};

/// A new journal in `directory`, and little memory for it.
pub(crate) fn journal_in(directory: &Path) -> JournalConfig {
    let options = Options { staging_bytes: 32 << 20, ..Options::default() };
    let (metadata, policy) = (Metadata::default(), JournalPolicy::default());
    JournalConfig { dir: directory.to_owned(), resume: false, options, metadata, policy }
}

/// The same run with a new journal in `directory`.
pub(crate) fn journaled(config: Config, directory: &Path) -> Config {
    Config { journal: Some(journal_in(directory)), ..config }
}

/// The same run with a journal in `directory` that states its maxima, which is resumed if it is there.
pub(crate) fn recording(config: Config, directory: &Path) -> Config {
    let Capacity { instruments_max, orders_max, levels_max } = config.capacity;
    let [instruments_max, orders_max, levels_max] = [instruments_max, orders_max, levels_max].map(u64::from);
    let mut config = journaled(config, directory);
    let journal = config.journal.as_mut().unwrap();
    journal.metadata.capacities = Capacities { instruments_max, orders_max, levels_max };
    journal.resume = directory.exists();
    config
}

/// The last event that the journal in `directory` says to be written; 0 as long as there is none.
pub(crate) fn written(directory: &Path) -> u64 {
    Status::open(directory).map_or(0, |status| status.read().watermarks.written.get())
}
