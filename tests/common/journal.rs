//! Runs that keep a journal.

use std::path::Path;
use tickcore::engine::Config;
use tickcore::journal::{Metadata, Options};
use tickcore::{JournalConfig, JournalPolicy};

/// The same run with a new journal in `directory`, and little memory for it.
pub(crate) fn journaled(config: Config, directory: &Path) -> Config {
    let options = Options { staging_bytes: 32 << 20, ..Options::default() };
    let (metadata, policy) = (Metadata::default(), JournalPolicy::default());
    let journal = JournalConfig { dir: directory.to_owned(), resume: false, options, metadata, policy };
    Config { journal: Some(journal), ..config }
}
