//! What a caller chooses when it creates a journal, and what the journal tells about itself.

use crate::checkpoint::CheckpointMark;
use crate::format::{FLAG_TIMES_SINCE_MIDNIGHT, FRAME_BYTES_MAX, INPUT_BYTES_MAX, SegmentHeader, WRITE_UNIT_BYTES};
use crate::helper::{HelperHandle, PREPARED_MAX};
use crate::storage::PortableThread;
use crate::stream::OUTPUT_STREAMS_MAX;
use core::fmt;
use core::time::Duration;
use tickcore_book::{Sequence, TimestampNs};

/// Most writes that may be under way at once.
pub const WRITES_IN_FLIGHT_MAX: u32 = 16;
/// The longest that a segment's file may be asked for: what file systems take, and sums of it have room in a word.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 60;
/// Most bytes that are registered with the kernel: half of the usual memlock limit of 8 MiB.
pub const REGISTERED_BYTES_MAX: usize = 4 << 20;

/// What to say about a journal when it is created. It is kept in every segment's header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// When the journal was created, since the Unix epoch. Stored, never interpreted.
    pub created: TimestampNs,
    /// Whether exchange times are nanoseconds since midnight of a day that nobody named.
    pub has_times_since_midnight: bool,
    /// The books that the events were applied to; replay builds the same.
    pub capacities: Capacities,
    /// What was recorded, in words: file names, channels. At most [`INPUT_BYTES_MAX`] bytes.
    pub input: String,
}

/// The maxima of the books behind a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacities {
    /// Most instruments.
    pub instruments_max: u64,
    /// Most orders alive at once.
    pub orders_max: u64,
    /// Most price levels at once.
    pub levels_max: u64,
}

impl Metadata {
    pub(crate) fn from_header(header: &SegmentHeader) -> Self {
        Self {
            created: TimestampNs(header.created),
            has_times_since_midnight: header.flags & FLAG_TIMES_SINCE_MIDNIGHT != 0,
            capacities: Capacities {
                instruments_max: header.instruments_max,
                orders_max: header.orders_max,
                levels_max: header.levels_max,
            },
            input: String::from_utf8_lossy(&header.input[..(header.input_bytes as usize).min(INPUT_BYTES_MAX)])
                .into_owned(),
        }
    }
}

/// How records reach the disk, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// io_uring writing from registered buffers.
    IoUringFixed,
    /// io_uring writing from any buffer.
    IoUring,
    /// `pwrite` and `fdatasync`, executed by a thread ([`Options::portable_thread`]), or without one by the thread that polls.
    Portable,
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::IoUringFixed => "io_uring_fixed",
            Self::IoUring => "io_uring",
            Self::Portable => "portable",
        })
    }
}

/// When written records are made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// One `fdatasync` after the other, each for all that was written before it began.
    #[default]
    EveryGroup,
    /// As [`SyncPolicy::EveryGroup`], but not before so much time has passed since the last sync. Fewer syncs, records
    /// durable later.
    Every(Duration),
    /// As [`SyncPolicy::EveryGroup`], but not before so many bytes were written since the last sync. What is less waits
    /// for more, for the end of the segment, or for a flush.
    EveryBytes(u64),
    /// Only when a segment is full and at the end. What the page cache or the disk's cache held is lost with the
    /// machine, and `durable` says so.
    None,
}

/// Which sealed segments are let go, oldest first. An unsealed one never is, nor the last that is sealed. By default none
/// are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of sealed segments that are kept at most. Compacted ones count as long as they were.
    pub bytes_max: Option<u64>,
    /// Sealed segments that are kept at most.
    pub segments_max: Option<u64>,
    /// How far the exchange times of a segment that is kept may all lie behind the highest of the journal. A single event whose
    /// clock is far ahead lets go what lies behind it: where that can be, limit bytes or segments.
    pub age_max: Option<Duration>,
}

impl Retention {
    /// Whether anything is ever let go.
    pub(crate) fn is_limited(self) -> bool {
        self != Self::default()
    }
}

/// How to write. `Default` is for a journal that must keep up with tens of millions of events a second.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a segment's file, at least a header, one frame and a footer, at most [`SEGMENT_BYTES_MAX`]. Default 256 MiB.
    pub segment_bytes: u64,
    /// Length of the largest frame, and of one staging block: a multiple of 4096. Default 512 KiB.
    pub frame_bytes: u32,
    /// Memory for records on their way to the disk, touched when the writer is made. Default 256 MiB.
    pub staging_bytes: usize,
    /// How much of the staging is registered with io_uring, at most [`REGISTERED_BYTES_MAX`], which is the default.
    pub registered_bytes: usize,
    /// Writes under way at once, at most [`WRITES_IN_FLIGHT_MAX`]. Default 8.
    pub writes_in_flight: u32,
    /// Cores whose outputs this writer takes, at most [`OUTPUT_STREAMS_MAX`]: those of the cores 0 up to it. Each can have one
    /// frame of the staging open, beside the inputs' own. A journal whose outputs begin with this writer says how many they are of.
    /// Default 0, which costs nothing.
    pub output_streams: u16,
    /// How long a frame that does not fill its first 4096 bytes may wait for more records. Default 0: whenever no write
    /// is under way, what there is is written, which costs 4096 bytes each time. With the portable backend
    /// without a thread, which makes the caller wait for each write, any frame that is not full waits, and for 1 ms at least.
    pub linger: Duration,
    /// When written records are made durable.
    pub sync: SyncPolicy,
    /// Which sealed segments are let go.
    pub retention: Retention,
    /// How far checkpoints reach, told by whoever makes them: retention lets segments go that lie wholly up to there, and no
    /// others. Without it the checkpoints count that are there when the writer begins; where there are none, retention
    /// looks at its limits alone.
    pub checkpoints: Option<CheckpointMark>,
    /// Files of segments that a recovery sealed which went before [`Writer::resume`](crate::Writer::resume): the helper is told
    /// of them as of those that are sealed then.
    pub sealed_before: Vec<String>,
    /// Who prepares segments ahead and lets old ones go. By default nobody: one segment ahead is allocated by the
    /// storage, and [`Writer::poll`](crate::Writer::poll) removes what retention releases; so it is when the helper ends before
    /// the writer does, with a warning.
    pub helper: Option<HelperHandle>,
    /// With a helper: for how long the segments prepared ahead last at `peak_bytes_per_second`. At least one is
    /// prepared, once an eighth of the first is full; a pool of more is filled at once. Default 200 ms.
    pub prepared_ahead: Duration,
    /// With a helper: whether it writes the segments that it prepares from end to end. A sync into such a segment is
    /// quicker, and every byte is written twice. Default true.
    pub is_prewritten: bool,
    /// The most bytes that come in a second. Default 1 GiB, 16 million events.
    pub peak_bytes_per_second: u64,
    /// Bytes of frames from one entry of a segment's index to the next, at least. Default 1 MiB.
    pub index_interval_bytes: u64,
    /// The best backend to try; from it the writer steps down. Default [`Backend::IoUringFixed`].
    pub backend: Backend,
    /// How the portable backend gets its thread, if it comes to that backend. By default it has none, and whoever polls waits
    /// for each write and sync.
    pub portable_thread: Option<PortableThread>,
    /// Whether the thread that polls has a core of its own and never sleeps. Then polling gives way to the kernel's workers
    /// that end writes and syncs: on the same core they would wait for a tick of the scheduler, up to 4 ms. Not where others
    /// may want the core: they would get it each time. Default false.
    pub has_own_core: bool,
    /// Whether to bypass the page cache where the file system allows it. Default true.
    pub is_direct: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            frame_bytes: 512 << 10,
            staging_bytes: 256 << 20,
            registered_bytes: REGISTERED_BYTES_MAX,
            writes_in_flight: 8,
            output_streams: 0,
            linger: Duration::ZERO,
            sync: SyncPolicy::EveryGroup,
            index_interval_bytes: 1 << 20,
            retention: Retention::default(),
            checkpoints: None,
            sealed_before: Vec::new(),
            helper: None,
            prepared_ahead: Duration::from_millis(200),
            is_prewritten: true,
            peak_bytes_per_second: 1 << 30,
            backend: Backend::IoUringFixed,
            portable_thread: None,
            has_own_core: false,
            is_direct: true,
        }
    }
}

/// An option that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// See [`Options::frame_bytes`].
    #[error("frames of {found} bytes: choose a multiple of {WRITE_UNIT_BYTES} up to {FRAME_BYTES_MAX}")]
    FrameBytes {
        /// What was asked for.
        found: u32,
    },
    /// See [`Options::segment_bytes`].
    #[error(
        "segments of {found} bytes: choose a multiple of {WRITE_UNIT_BYTES}, at least {least}, at most {SEGMENT_BYTES_MAX}"
    )]
    SegmentBytes {
        /// What was asked for.
        found: u64,
        /// The least that holds a header, a frame and a footer.
        least: u64,
    },
    /// See [`Options::staging_bytes`].
    #[error(
        "{found} bytes of staging: choose at least {least}, two frames, one for each stream of outputs, and what segment headers need"
    )]
    StagingBytes {
        /// What was asked for.
        found: usize,
        /// The least.
        least: usize,
    },
    /// See [`Options::writes_in_flight`].
    #[error("{found} writes in flight: choose 1 to {WRITES_IN_FLIGHT_MAX}")]
    WritesInFlight {
        /// What was asked for.
        found: u32,
    },
    /// See [`Options::output_streams`].
    #[error("outputs of {found} cores: choose at most {OUTPUT_STREAMS_MAX}")]
    OutputStreams {
        /// What was asked for.
        found: u16,
    },
    /// See [`Metadata::input`].
    #[error("a description of the input of {found} bytes: shorten it to {INPUT_BYTES_MAX}")]
    Input {
        /// What was given.
        found: usize,
    },
}

impl Options {
    /// Segments that are prepared ahead.
    pub(crate) fn prepared_segments(&self) -> u64 {
        let bytes = self.prepared_ahead.as_nanos().saturating_mul(self.peak_bytes_per_second.into()) / 1_000_000_000;
        (bytes.div_ceil(self.segment_bytes.max(1).into()) as u64).clamp(1, PREPARED_MAX)
    }

    /// Whether a journal can be written so.
    ///
    /// # Errors
    /// See [`OptionError`].
    pub fn check(&self) -> Result<(), OptionError> {
        let frame_bytes = u64::from(self.frame_bytes);
        if self.frame_bytes == 0 || self.frame_bytes > FRAME_BYTES_MAX || !frame_bytes.is_multiple_of(WRITE_UNIT_BYTES)
        {
            return Err(OptionError::FrameBytes { found: self.frame_bytes });
        }
        let least = 2 * WRITE_UNIT_BYTES + frame_bytes;
        if !(least..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes)
            || !self.segment_bytes.is_multiple_of(WRITE_UNIT_BYTES)
        {
            return Err(OptionError::SegmentBytes { found: self.segment_bytes, least });
        }
        if usize::from(self.output_streams) > OUTPUT_STREAMS_MAX {
            return Err(OptionError::OutputStreams { found: self.output_streams });
        }
        let frames = crate::staging::CONTROL_BLOCKS + 2 + usize::from(self.output_streams);
        let least = self.frame_bytes as usize * frames;
        if self.staging_bytes < least {
            return Err(OptionError::StagingBytes { found: self.staging_bytes, least });
        }
        if self.writes_in_flight == 0 || self.writes_in_flight > WRITES_IN_FLIGHT_MAX {
            return Err(OptionError::WritesInFlight { found: self.writes_in_flight });
        }
        Ok(())
    }
}

/// How far a journal got. `durable` never overtakes `written`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Everything up to here was taken by the kernel: it survives the death of the process.
    pub written: Sequence,
    /// Everything up to here was synced: it survives the death of the machine.
    pub durable: Sequence,
}

/// Something that was asked for and is not to be had, to be said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What happens instead, and why.
    pub cause: String,
    /// What would cure it.
    pub cure: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.cause, self.cure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_maximum_is_refused_above_and_accepted_at() {
        let good = Options {
            frame_bytes: 4096,
            segment_bytes: 3 * 4096,
            staging_bytes: 4 * 4096,
            writes_in_flight: WRITES_IN_FLIGHT_MAX,
            ..Options::default()
        };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Options { frame_bytes: FRAME_BYTES_MAX, ..Options::default() }.check(), Ok(()));
        for frame_bytes in [0, 100, FRAME_BYTES_MAX + 4096] {
            let refused = Options { frame_bytes, ..good.clone() };
            assert_eq!(refused.check(), Err(OptionError::FrameBytes { found: frame_bytes }));
        }
        let refused = Options { segment_bytes: 2 * 4096, ..good.clone() };
        assert_eq!(refused.check(), Err(OptionError::SegmentBytes { found: 8192, least: 12288 }));
        assert_eq!(Options { segment_bytes: SEGMENT_BYTES_MAX, ..good.clone() }.check(), Ok(()));
        for segment_bytes in [SEGMENT_BYTES_MAX + 4096, u64::MAX - 4095] {
            let refused = Options { segment_bytes, ..good.clone() };
            assert_eq!(refused.check(), Err(OptionError::SegmentBytes { found: segment_bytes, least: 12288 }));
        }
        let refused = Options { staging_bytes: 4 * 4096 - 1, ..good.clone() };
        assert_eq!(refused.check(), Err(OptionError::StagingBytes { found: 16383, least: 16384 }));
        let refused = Options { output_streams: 1, ..good.clone() };
        assert_eq!(refused.check(), Err(OptionError::StagingBytes { found: 16384, least: 20480 }));
        let most = Options { output_streams: OUTPUT_STREAMS_MAX as u16, ..Options::default() };
        assert_eq!(most.check(), Ok(()));
        let refused = Options { output_streams: OUTPUT_STREAMS_MAX as u16 + 1, ..Options::default() };
        assert_eq!(refused.check(), Err(OptionError::OutputStreams { found: 65 }));
        for writes_in_flight in [0, WRITES_IN_FLIGHT_MAX + 1] {
            let refused = Options { writes_in_flight, ..good.clone() };
            assert_eq!(refused.check(), Err(OptionError::WritesInFlight { found: writes_in_flight }));
        }
    }
}
