//! An append-only journal of events: every record checksummed, in order, and either durable or said not to be.
//!
//! A [`Writer`] takes one [`Record`] after the other, copies it into preallocated memory, and writes frames of records
//! into preallocated segment files, with io_uring where the machine allows it. It has no thread of its own; its owner
//! polls it. It tells two watermarks: `written` survives the death of the process, `durable` that of the machine.
//! Beside these inputs a journal holds the outputs of cores, each a [`Stream`] with numbers of its own.
//! A [`Reader`] gives the records back in place and checks everything on the way. [`verify`] lists all damage of a
//! journal, [`recover`] puts one in order after a crash (and [`Writer::resume`] goes on behind it), [`info`] describes
//! one. The format and its promises are in `docs/JOURNAL.md`.
//!
//! ```
//! use tickcore_book::{Event, InstrumentId, Kind, Sequence, TimestampNs};
//! use tickcore_journal::{Metadata, Options, Reader, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let directory = scratch.path();
//! let options = Options { staging_bytes: 4 << 20, segment_bytes: 1 << 20, ..Options::default() };
//! let mut writer = Writer::create(directory, options, Metadata::default())?;
//! for number in 1..=1000 {
//!     writer.append(Sequence(number), &Event::new(Kind::Delete, InstrumentId(1), TimestampNs(number)))?;
//!     writer.poll()?;
//! }
//! assert_eq!(writer.finish()?.durable, Sequence(1000));
//!
//! let mut reader = Reader::open(directory)?;
//! let mut count = 0;
//! while let Some(records) = reader.next_batch()? {
//!     count += records.len();
//! }
//! assert_eq!(count, 1000);
//! # Ok(())
//! # }
//! ```

mod checkpoint;
mod checksum;
mod compact;
mod defence;
mod directory;
mod fault;
mod format;
mod helper;
mod index;
mod info;
mod mark;
mod medium;
mod memory;
mod options;
mod packing;
mod reader;
mod recovery;
mod released;
mod repair;
mod seek;
#[cfg(test)]
mod simulation;
mod staging;
mod status;
mod storage;
mod stream;
mod verify;
mod walk;
mod writer;

pub use checkpoint::{
    Boundary, CHECKPOINT_STATE_OFFSET, CHECKPOINTS_KEPT, Checkpoint, CheckpointError, CheckpointFault, CheckpointMark,
    Checkpoints, PassedOver, Stored, boundaries, sealed_ends, store_checkpoint,
};
pub use compact::{CompactError, Compaction, compact};
pub use fault::{Damage, Fault, OpenError, ReadError};
pub use format::{
    FORMAT_VERSION, FORMAT_VERSION_MIN, FRAME_BYTES_MAX, INPUT_BYTES_MAX, JournalId, MARKS_MAX, Record, Seal,
    WRITE_UNIT_BYTES,
};
pub use helper::{Helper, HelperHandle, OnSealed, PREPARED_MAX};
pub use info::{Info, SegmentInfo, info};
pub use mark::Mark;
pub use options::{
    Backend, Capacities, Metadata, Notice, OptionError, Options, REGISTERED_BYTES_MAX, Retention, SEGMENT_BYTES_MAX,
    SyncPolicy, WRITES_IN_FLIGHT_MAX, Watermarks,
};
pub use reader::{Reader, Tail};
pub use recovery::{Cut, Held, RecoverError, Recovery, hold, recover};
pub use repair::{RepairStep, plan_repair, repair};
pub use seek::Start;
pub use status::{Snapshot, Status, WriterState};
pub use storage::{PortableDisk, PortableThread};
pub use stream::{OUTPUT_STREAMS_MAX, Stream, StreamInfo};
pub use verify::{Progress, VerifyReport, verify};
pub use writer::{AppendError, CreateError, ResumeError, StartError, WriteError, Writer, WriterStats};
