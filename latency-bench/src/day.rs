//! A day of ITCH 5.0 messages, whole in memory.

use anyhow::{Context, ensure};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tickcore_feed::protocol::binary_file::{Frame, PREFIX_LENGTH, next_frame};
use tickcore_feed::source::{Format, detect};
use tickcore_replay_data::generate::{Parameters, generate_to_vec};

/// The bytes of a day, uncompressed, and where they are from.
#[derive(Clone, Debug)]
pub struct Day {
    /// Messages behind their lengths.
    pub bytes: Vec<u8>,
    /// File, or the parameters of the generator.
    pub origin: String,
    /// Whole messages.
    pub messages: u64,
}

impl Day {
    /// A synthetic day.
    ///
    /// # Errors
    /// If there can be no such day.
    pub fn generate(messages: u64, instruments: u32, seed: u64) -> anyhow::Result<Self> {
        let origin = format!("generated: {messages} messages, {instruments} instruments, seed {seed}");
        Ok(Self::new(generate_to_vec(Parameters::new(messages, instruments, seed))?, origin))
    }

    /// An ITCH 5.0 file, decompressed where needed.
    ///
    /// # Errors
    /// If the file cannot be read or decompressed, or is something else.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let format = detect(path)?;
        let file = File::open(path).with_context(|| format!("{name}: cannot be opened"))?;
        let mut bytes = Vec::new();
        match format {
            Format::ItchPlain => { &file }.read_to_end(&mut bytes),
            Format::ItchGzip => MultiGzDecoder::new(file).read_to_end(&mut bytes),
            Format::ItchZstd => zstd::Decoder::new(file).and_then(|mut decoder| decoder.read_to_end(&mut bytes)),
            Format::JournalDirectory => {
                anyhow::bail!("{name}: is a journal; give an ITCH 5.0 file, plain, gzip or zstd")
            }
        }
        .with_context(|| format!("{name}: reading failed after {} uncompressed bytes", bytes.len()))?;
        let day = Self::new(bytes, name.to_string());
        ensure!(day.messages > 0, "{name}: has no whole message; give an ITCH 5.0 file");
        Ok(day)
    }

    fn new(bytes: Vec<u8>, origin: String) -> Self {
        let messages = Messages { rest: &bytes }.count() as u64;
        Self { bytes, origin, messages }
    }

    /// The payloads of the messages, in order.
    #[must_use]
    pub fn messages(&self) -> Messages<'_> {
        Messages { rest: &self.bytes }
    }
}

/// Iterator over the payloads of a day, to the mark of the session's end or the last whole message.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match next_frame(self.rest) {
            Frame::Message(payload) => {
                self.rest = &self.rest[PREFIX_LENGTH + payload.len()..];
                Some(payload)
            }
            Frame::EndOfSession | Frame::Incomplete => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn a_file_reads_the_same_in_every_compression() {
        let day = Day::generate(2_000, 50, 1).expect("possible");
        assert_eq!((day.messages, day.messages().count()), (2_000, 2_000));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&day.bytes).expect("into memory");
        let compressed = [
            day.bytes.clone(),
            gzip.finish().expect("into memory"),
            zstd::encode_all(&*day.bytes, 1).expect("into memory"),
        ];
        for (number, content) in compressed.iter().enumerate() {
            let name = format!("tickcore-latency-bench-{}-{number}.itch", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, content).expect("a temporary file");
            let read = Day::read(&path);
            std::fs::remove_file(&path).expect("it was written");
            assert_eq!(read.expect("ITCH").bytes, day.bytes);
        }
    }

    #[test]
    fn a_cut_day_has_its_whole_messages() {
        let mut day = Day::generate(2_000, 50, 1).expect("possible");
        day.bytes.pop();
        assert_eq!(day.messages().count(), 1_999);
    }
}
