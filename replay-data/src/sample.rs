//! The bundled sample: a small synthetic day, so that the first command of a newcomer needs no download.
//!
//! It is what the [generator](crate::generate) makes of [`PARAMETERS`], compressed with zstd. A test makes it again and
//! compares every byte. `cargo run --release -p tickcore-replay-data --example make_sample` writes it and its golden
//! results anew after a change of the generator.

use crate::generate::Parameters;
use crate::golden::Golden;
use std::path::PathBuf;

/// What the sample is made from.
pub const PARAMETERS: Parameters = Parameters::new(150_000, 200, 20_200_130);

/// Name of the file: the date in it is the session date that it is replayed under.
pub const FILE_NAME: &str = "synthetic_01302020.itch.zst";

/// Name of the file of golden results beside it.
pub const GOLDEN_FILE_NAME: &str = "golden.json";

static COMPRESSED: &[u8] = include_bytes!("../sample/synthetic_01302020.itch.zst");
static GOLDEN: &str = include_str!("../sample/golden.json");

/// The folder of the sample within the sources that this was built from.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sample")
}

/// The sample's file within the sources that this was built from. A program that was moved elsewhere has
/// [`bytes`] instead.
#[must_use]
pub fn path() -> PathBuf {
    folder().join(FILE_NAME)
}

/// The compressed sample, one zstd frame, part of the program.
#[must_use]
pub fn bytes() -> &'static [u8] {
    COMPRESSED
}

/// What the reference book makes of the sample.
///
/// # Panics
/// Never: a test reads the same text.
#[must_use]
pub fn golden() -> Golden {
    serde_json::from_str(GOLDEN).expect("the golden results in the package are well formed")
}
