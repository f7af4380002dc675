//! Writes the bundled sample and its golden results anew: to be run after a change of the generator or of the events
//! that messages become.
//!
//! `cargo run --release -p tickcore-replay-data --example make_sample`

use std::error::Error;
use std::path::Path;
use tickcore_feed::session::SessionDate;
use tickcore_replay_data::generate::generate_to_vec;
use tickcore_replay_data::golden::Golden;
use tickcore_replay_data::sample;

/// Slow to write, small to keep.
const COMPRESSION_LEVEL: i32 = 19;

fn main() -> Result<(), Box<dyn Error>> {
    let file = generate_to_vec(sample::PARAMETERS)?;
    let date = SessionDate::from_file_name(Path::new(sample::FILE_NAME)).ok_or("the sample's name has no date")?;
    let golden = Golden::of_itch(&file, Some(date.midnight()))?;
    let compressed = zstd::bulk::compress(&file, COMPRESSION_LEVEL)?;

    std::fs::create_dir_all(sample::folder())?;
    std::fs::write(sample::path(), &compressed)?;
    let mut text = serde_json::to_string_pretty(&golden)?;
    text.push('\n');
    std::fs::write(sample::folder().join(sample::GOLDEN_FILE_NAME), text)?;
    println!(
        "{}: {} messages, {} bytes, {} compressed; {} BBO changes, state {}, stream {}",
        sample::path().display(),
        golden.messages,
        file.len(),
        compressed.len(),
        golden.bbo_changes,
        golden.state_digest,
        golden.stream_digest,
    );
    Ok(())
}
