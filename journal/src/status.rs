//! The status page: how far the journal got, for other processes.
//!
//! The file `status` in the journal's directory is one page of 64-bit words. The writer maps it and stores the
//! watermarks after each completion; `journal info` and tests read it. It is a convenience: it is never synced, and
//! recovery does not look at it. A killed writer leaves the last values it stored.
//!
//! | word | content |
//! |---|---|
//! | 0 | magic `TCJSTATS` |
//! | 1 | version, 1 |
//! | 2 | process id of the writer |
//! | 3, 4 | journal id |
//! | 5 | written sequence |
//! | 6 | durable sequence |
//! | 7 | 1 running, 2 finished, 3 failed |
//! | 8 + 2n, 9 + 2n | written and durable record of the outputs of core n |

use crate::format::JournalId;
use crate::memory::SharedPage;
use crate::options::Watermarks;
use crate::stream::OUTPUT_STREAMS_MAX;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use tickcore_book::Sequence;
use zerocopy::{FromBytes, IntoBytes};

/// Name of the status page's file.
pub(crate) const STATUS_FILE: &str = "status";

/// Version of the page, apart from that of the segments.
const STATUS_VERSION: u64 = 1;
const MAGIC: u64 = u64::from_le_bytes(*b"TCJSTATS");
const WORD_MAGIC: usize = 0;
const WORD_VERSION: usize = 1;
const WORD_PROCESS: usize = 2;
const WORD_JOURNAL: usize = 3;
const WORD_WRITTEN: usize = 5;
const WORD_DURABLE: usize = 6;
const WORD_STATE: usize = 7;
const WORD_OUTPUTS: usize = 8;

const _: () = assert!(WORD_OUTPUTS + 2 * OUTPUT_STREAMS_MAX <= crate::memory::PAGE_WORDS);

/// What the writer of a status page is doing, or did last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterState {
    /// It writes, or it was killed while it did.
    Running,
    /// It finished and sealed the journal.
    Finished,
    /// A write or sync failed; the watermarks stand still.
    Failed,
}

/// One look at a status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The journal that is written.
    pub journal: JournalId,
    /// The writer's process.
    pub process_id: u32,
    /// The two watermarks, as of this moment.
    pub watermarks: Watermarks,
    /// The writer's state.
    pub state: WriterState,
}

/// A reader of the status page. Read access to the directory suffices, while a writer runs too.
pub struct Status {
    page: SharedPage,
}

impl Status {
    /// Maps the status page of the journal in `directory`.
    ///
    /// # Errors
    /// What the system says, or `InvalidData` when the file is not a status page of this version.
    pub fn open(directory: impl AsRef<Path>) -> io::Result<Self> {
        let status = Self { page: SharedPage::map(&File::open(directory.as_ref().join(STATUS_FILE))?, false)? };
        let words = status.page.words();
        if words[WORD_MAGIC].load(Acquire) != MAGIC || words[WORD_VERSION].load(Relaxed) != STATUS_VERSION {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(status)
    }

    /// How far the outputs of a core got, by their own numbers. 0 where there are none.
    pub fn outputs(&self, core: u16) -> Watermarks {
        let (written, durable) = output_words(core);
        let words = self.page.words();
        // Durable first, as for the inputs.
        let durable = Sequence(words[durable].load(Acquire));
        Watermarks { written: Sequence(words[written].load(Acquire)), durable }
    }

    /// The page's content now. What `written` and `durable` say was true before the call returned; both only grow.
    pub fn read(&self) -> Snapshot {
        let words = self.page.words();
        // Durable first: it never overtakes written, so it must not look as if it did.
        let durable = words[WORD_DURABLE].load(Acquire);
        let written = words[WORD_WRITTEN].load(Acquire);
        let mut journal = JournalId([0; 16]);
        let id = [words[WORD_JOURNAL].load(Relaxed), words[WORD_JOURNAL + 1].load(Relaxed)];
        if let Ok(found) = JournalId::read_from_bytes(id.as_bytes()) {
            journal = found;
        }
        Snapshot {
            journal,
            process_id: words[WORD_PROCESS].load(Relaxed) as u32,
            watermarks: Watermarks { written: Sequence(written), durable: Sequence(durable) },
            state: match words[WORD_STATE].load(Acquire) {
                2 => WriterState::Finished,
                3 => WriterState::Failed,
                _ => WriterState::Running,
            },
        }
    }
}

/// The words of a core's watermarks: written, durable. Of cores that no journal holds those of the last.
fn output_words(core: u16) -> (usize, usize) {
    let word = WORD_OUTPUTS + 2 * usize::from(core).min(OUTPUT_STREAMS_MAX - 1);
    (word, word + 1)
}

/// The writer's side of the page.
pub(crate) struct StatusWriter {
    page: SharedPage,
}

impl StatusWriter {
    /// Creates or takes over the page in `directory` and states that everything up to `last` is durable.
    pub(crate) fn create(directory: &Path, journal: JournalId, last: u64) -> io::Result<Self> {
        let path = directory.join(STATUS_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // Written, not only extended: a store to a mapped hole of a full disk would be a signal.
        file.write_all_at(&[0; crate::memory::PAGE_BYTES], 0)?;
        let page = SharedPage::map(&file, true)?;
        let words = page.words();
        words[WORD_VERSION].store(STATUS_VERSION, Relaxed);
        words[WORD_PROCESS].store(u64::from(std::process::id()), Relaxed);
        for (word, bytes) in journal.0.as_chunks::<8>().0.iter().enumerate() {
            words[WORD_JOURNAL + word].store(u64::from_le_bytes(*bytes), Relaxed);
        }
        words[WORD_STATE].store(1, Relaxed);
        let status = Self { page };
        status.publish(Watermarks { written: Sequence(last), durable: Sequence(last) });
        status.page.words()[WORD_MAGIC].store(MAGIC, Release);
        Ok(status)
    }

    /// Publishes the watermarks. Two stores.
    pub(crate) fn publish(&self, watermarks: Watermarks) {
        let words = self.page.words();
        words[WORD_WRITTEN].store(watermarks.written.0, Release);
        words[WORD_DURABLE].store(watermarks.durable.0, Release);
    }

    /// Publishes the watermarks of a core's outputs. Two stores.
    pub(crate) fn publish_outputs(&self, core: u16, watermarks: Watermarks) {
        let (written, durable) = output_words(core);
        let words = self.page.words();
        words[written].store(watermarks.written.0, Release);
        words[durable].store(watermarks.durable.0, Release);
    }

    pub(crate) fn set_state(&self, state: WriterState) {
        let number = match state {
            WriterState::Running => 1,
            WriterState::Finished => 2,
            WriterState::Failed => 3,
        };
        self.page.words()[WORD_STATE].store(number, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_the_writer_publishes() {
        let directory = tempfile::tempdir().unwrap();
        let journal = JournalId(core::array::from_fn(|index| index as u8 + 1));
        let writer = StatusWriter::create(directory.path(), journal, 4).unwrap();
        let reader = Status::open(directory.path()).unwrap();
        let first = reader.read();
        assert_eq!(first.journal, journal);
        assert_eq!(first.process_id, std::process::id());
        assert_eq!(first.watermarks, Watermarks { written: Sequence(4), durable: Sequence(4) });
        assert_eq!(first.state, WriterState::Running);
        writer.publish(Watermarks { written: Sequence(9), durable: Sequence(7) });
        writer.set_state(WriterState::Failed);
        let outputs = Watermarks { written: Sequence(3), durable: Sequence(2) };
        writer.publish_outputs(63, outputs);
        assert_eq!((reader.outputs(63), reader.outputs(62)), (outputs, Watermarks::default()));
        assert_eq!(reader.read().watermarks, Watermarks { written: Sequence(9), durable: Sequence(7) });
        assert_eq!(reader.read().state, WriterState::Failed);
    }

    #[test]
    fn another_file_is_no_status_page() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Status::open(directory.path()).is_err());
        std::fs::write(directory.path().join(STATUS_FILE), [1; 100]).unwrap();
        assert!(Status::open(directory.path()).is_err());
        std::fs::write(directory.path().join(STATUS_FILE), [1; 4096]).unwrap();
        assert!(Status::open(directory.path()).is_err());
    }
}
