//! Recorded market data, which is not part of the project, and what every test needs to read it.

use std::path::PathBuf;

/// The text of a recorded file, or `None`, said on stderr, where there is none: in the folder that the environment
/// variable `TICKCORE_MARKET_DATA` names, or in `../shared/market-data` beside the repository.
pub(crate) fn market_data(name: &str) -> Option<String> {
    let folder = std::env::var_os("TICKCORE_MARKET_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/market-data"), PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("skipped: no {}; set TICKCORE_MARKET_DATA to the folder of recorded market data", path.display());
        return None;
    }
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// A whole number.
pub(crate) fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not a whole number that fits"))
}
