//! Recorded market data, which is not part of the project.

use std::path::PathBuf;

/// A recorded file, or `None`, said on stderr, where there is none: in the folder that the environment variable
/// `TICKCORE_MARKET_DATA` names, or in `../shared/market-data` beside the repository.
pub(crate) fn market_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TICKCORE_MARKET_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/market-data"), PathBuf::from);
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!(
        "skipped: {} is not there; set TICKCORE_MARKET_DATA to the folder of recorded market data",
        path.display()
    );
    None
}
