//! How a writer comes to be: a new journal, or one that is taken up again.

use super::frames::BUILT_MAX;
use super::pool::Supply;
use super::streams::WriterStream;
use super::{ActiveSegment, Spare, WriteError, Writer, WriterStats};
use crate::directory::{Catalog, segment_files};
use crate::fault::OpenError;
use crate::format::{
    BLOCK_BYTES, FLAG_TIMES_SINCE_MIDNIGHT, FORMAT_VERSION, INPUT_BYTES_MAX, JournalId, Place, SEGMENT_MAGIC,
    SegmentHeader, WRITE_UNIT_BYTES,
};
use crate::helper::Worker;
use crate::index::IndexBuilder;
use crate::mark::FrameMarks;
use crate::medium::{COMPACT_LOCK_FILE, DirectoryMedium, LOCK_FILE, Lock, Medium};
use crate::memory::Block;
use crate::options::{Metadata, OptionError, Options, REGISTERED_BYTES_MAX, SyncPolicy, Watermarks};
use crate::recovery::{RecoverError, Recovery, recover_locked, take_lock};
use crate::staging::{CONTROL_BLOCKS, Pool};
use crate::status::{STATUS_FILE, WriterState};
use crate::storage::{Done, FileSlot, OPERATIONS_MAX, Operation, SegmentName, Storage, Token};
use crate::stream::OutputEnds;
use crate::walk::{Position, Positions};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zerocopy::IntoBytes;

/// Epoch of the segments of a journal that was never resumed.
const FIRST_EPOCH: u64 = 1;

/// Why a journal was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is something in the directory already.
    #[error(
        "{path:?} is not empty (it holds {found:?}): choose another directory, resume the journal in it, or remove it"
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// A file in it.
        found: String,
    },
    /// Another process writes this journal.
    #[error("{path:?} is being written by another process: choose another directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The writer could not be set up.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Why a journal was not resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It could not be recovered.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The writer could not be set up.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Why a writer could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The options cannot be.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// The staging could not be had.
    #[error("cannot get {bytes} bytes of staging: {cause}; choose less (Options::staging_bytes, --journal-buffer)")]
    Staging {
        /// What was asked for.
        bytes: usize,
        /// The system's answer.
        cause: io::Error,
    },
    /// The journal could not be looked at.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file could not be made or written.
    #[error("cannot {action} {path:?}: {cause}; cure that and begin again")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
}

impl StartError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, path: path.to_owned(), cause }
    }
}

impl Writer {
    /// Creates a journal in `directory`, which is made if need be and must be empty, but for what a writer leaves that
    /// was killed before it had begun. The first record is 1.
    ///
    /// Takes time: all staging memory is touched (about 2 s per GiB where there are huge pages).
    ///
    /// # Errors
    /// If the directory is not empty or locked, if options or metadata cannot be, or if memory or files cannot be had.
    pub fn create(directory: impl AsRef<Path>, options: Options, metadata: Metadata) -> Result<Self, CreateError> {
        Self::create_on(&DirectoryMedium::at(directory.as_ref()), options, metadata, |storage| storage)
    }

    /// [`Writer::create`] on any medium, with something between writer and storage.
    pub(crate) fn create_on(
        medium: &Arc<dyn Medium>,
        options: Options,
        metadata: Metadata,
        wrap: impl FnOnce(Box<dyn Storage>) -> Box<dyn Storage>,
    ) -> Result<Self, CreateError> {
        let directory = medium.path();
        options.check().map_err(StartError::from)?;
        if metadata.input.len() > INPUT_BYTES_MAX {
            return Err(StartError::from(OptionError::Input { found: metadata.input.len() }).into());
        }
        medium.create_directory().map_err(StartError::io("create", directory))?;
        // Before the lock, which would stay in a directory that is somebody else's; and again with it.
        find_never_begun(medium)?;
        let Some(lock) = medium.lock(LOCK_FILE).map_err(StartError::io("lock", directory))? else {
            return Err(CreateError::Locked { path: directory.to_owned() });
        };
        for file in find_never_begun(medium)? {
            medium.remove(&file).map_err(StartError::io("remove", &directory.join(file)))?;
        }
        let journal = medium.random_id().map_err(StartError::io("read", Path::new("/dev/urandom")))?;
        let header = first_header(journal, &options, &metadata);
        Ok(Self::start(medium, lock, options, metadata, header, wrap)?)
    }

    /// Takes up the journal in `directory`: recovers it and goes on behind its last record, in a new segment and
    /// epoch.
    ///
    /// # Errors
    /// If there is no journal, if it is damaged or locked, or if memory or files cannot be had.
    pub fn resume(directory: impl AsRef<Path>, options: Options) -> Result<(Self, Recovery), ResumeError> {
        Self::resume_on(&DirectoryMedium::at(directory.as_ref()), options)
    }

    /// [`Writer::resume`] on any medium.
    pub(crate) fn resume_on(medium: &Arc<dyn Medium>, options: Options) -> Result<(Self, Recovery), ResumeError> {
        options.check().map_err(StartError::from)?;
        let lock = take_lock(medium.as_ref())?;
        let (recovery, end) = recover_locked(medium)?;
        let (number, Positions { inputs, outputs }) = (end.header.number + 1, end.positions);
        // Outputs that are there already may be of another number.
        let is_first = outputs.lasts().next().is_none() && end.header.output_cores == 0;
        let output_cores = if is_first { options.output_streams.into() } else { end.header.output_cores };
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            epoch: end.header.epoch + 1,
            number,
            prepared_bytes: options.segment_bytes + BLOCK_BYTES,
            first_sequence: inputs.next_sequence,
            previous_checksum: inputs.chain,
            durable_sequence: inputs.next_sequence - 1,
            durable_segment: Place::start_of(number).segment,
            durable_offset: Place::start_of(number).offset,
            outputs,
            output_cores,
            ..end.header
        }
        .seal();
        let metadata = recovery.metadata.clone();
        let sealed = [options.sealed_before.as_slice(), &recovery.sealed].concat();
        let mut writer = Self::start(medium, lock, options, metadata, header, |storage| storage)?;
        writer.supply.tell_recovered(&sealed);
        Ok((writer, recovery))
    }

    /// Takes back that this writer began, so that its directory is as it was: a journal that was just created is removed, of one
    /// that was resumed the segment that was begun. What recovery did stays. Does nothing once a record was appended.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn discard(self, directory: impl AsRef<Path>) -> io::Result<()> {
        let directory = directory.as_ref();
        let is_unused = |stream: &WriterStream| stream.last() == stream.durable;
        if self.stats.frame_count > 0 || !self.streams().all(is_unused) {
            return Ok(());
        }
        if self.segment.header.epoch != FIRST_EPOCH {
            return self.withdraw().map_err(io::Error::other);
        }
        drop(self);
        for file in segment_files(DirectoryMedium::at(directory).as_ref())? {
            std::fs::remove_file(directory.join(file))?;
        }
        std::fs::remove_file(directory.join(STATUS_FILE))?;
        std::fs::remove_file(directory.join(LOCK_FILE))
    }

    /// Removes the segment that was begun, in which there is nothing but its header, and what was prepared behind it. Retention
    /// leaves the one before.
    fn withdraw(mut self) -> Result<(), WriteError> {
        self.stop_supply()?;
        self.storage.close(self.segment.file);
        self.remove_prepared();
        let name = self.segment.name;
        if let Err(cause) = self.storage.remove(&name) {
            self.fail("remove", name, 0, cause);
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => {
                self.set_state(WriterState::Finished);
                Ok(())
            }
        }
    }

    /// A writer that begins with the segment of `header`, which is durable when this returns: so an epoch that has
    /// frames is known to whoever comes next.
    fn start(
        medium: &Arc<dyn Medium>,
        lock: Box<dyn Lock>,
        options: Options,
        metadata: Metadata,
        header: SegmentHeader,
        wrap: impl FnOnce(Box<dyn Storage>) -> Box<dyn Storage>,
    ) -> Result<Self, StartError> {
        let directory = medium.path();
        let frame_bytes = options.frame_bytes as usize;
        let block_count = options.staging_bytes / frame_bytes;
        let registered_count = options.registered_bytes.min(REGISTERED_BYTES_MAX) / frame_bytes;
        let mut pool = Pool::new(block_count, frame_bytes, registered_count)
            .map_err(|cause| StartError::Staging { bytes: options.staging_bytes, cause })?;
        let (storage, notices) = medium.storage(&options, &mut pool).map_err(StartError::io("open", directory))?;
        let mut storage = wrap(storage);
        // Records of the first segment are not to be durable later than those of the next.
        let is_prepared = options.helper.is_some() && options.is_prewritten && {
            let mut worker = Worker::new(Arc::clone(medium), 0);
            worker.prepare(header.number, header.prepared_bytes, true, &mut |rest| Ok(rest)).is_ok()
        };
        let file = begin_first_segment(storage.as_mut(), &mut pool, &header, is_prepared)
            .map_err(StartError::io("begin a segment in", directory))?;
        let supply = Supply::new(medium, &options, header.journal, header.number)?;
        let last = header.first_sequence - 1;
        let new_index = || IndexBuilder::new(options.segment_bytes, options.index_interval_bytes, frame_bytes);
        let (inputs, outputs) = Self::streams_of(&header, options.output_streams);
        let status =
            medium.status(header.journal, last).map_err(StartError::io("write", &directory.join(STATUS_FILE)))?;
        if let Some(status) = &status {
            // Those that this writer does not take, too: whoever follows them is to see what there is.
            for (stream, last) in header.outputs.lasts() {
                let watermarks = Watermarks { written: last, durable: last };
                stream.core().into_iter().for_each(|core| status.publish_outputs(core, watermarks));
            }
        }
        let begin = Place::start_of(header.number);
        Ok(Self {
            inputs,
            outputs,
            marks: FrameMarks::default(),
            is_close_due: false,
            closed: VecDeque::with_capacity(block_count - CONTROL_BLOCKS),
            built: VecDeque::with_capacity(BUILT_MAX),
            in_flight: VecDeque::with_capacity(options.writes_in_flight as usize),
            first_ticket: 0,
            written_place: begin,
            durable_count: 0,
            durable_place: begin,
            writes_through: options.sync == SyncPolicy::EveryGroup && storage.writes_through(),
            group: None,
            group_at: None,
            unsynced_bytes: 0,
            segment: ActiveSegment::new(file, header),
            index: new_index(),
            leaving_index: new_index(),
            spare: Spare::None,
            supply,
            change: None,
            leaving: None,
            sealing: None,
            is_flushing: false,
            is_finishing: false,
            failure: None,
            storage,
            completions: Vec::with_capacity(OPERATIONS_MAX),
            status,
            stats: WriterStats { segment_count: 1, ..WriterStats::default() },
            pool,
            options,
            metadata,
            notices,
            _lock: lock,
        })
    }
}

/// What a writer left in `directory` that was killed before it had begun a journal; an error if there is anything else.
fn find_never_begun(medium: &Arc<dyn Medium>) -> Result<Vec<String>, CreateError> {
    let directory = medium.path();
    let mut names = medium.list().map_err(StartError::io("read", directory))?;
    names.retain(|name| name != LOCK_FILE && name != COMPACT_LOCK_FILE);
    let unused = Catalog::load(medium).map(|catalog| catalog.unused).unwrap_or_default();
    match names.iter().find(|name| *name != STATUS_FILE && !unused.contains(name)) {
        Some(found) => Err(CreateError::NotEmpty { path: directory.to_owned(), found: found.clone() }),
        None => Ok(names),
    }
}

/// The header of a journal's first segment.
fn first_header(journal: JournalId, options: &Options, metadata: &Metadata) -> SegmentHeader {
    let mut input = [0; INPUT_BYTES_MAX];
    input[..metadata.input.len()].copy_from_slice(metadata.input.as_bytes());
    SegmentHeader {
        magic: SEGMENT_MAGIC,
        version: FORMAT_VERSION,
        header_bytes: BLOCK_BYTES as u32,
        journal,
        epoch: FIRST_EPOCH,
        number: 1,
        prepared_bytes: options.segment_bytes + BLOCK_BYTES,
        first_sequence: Position::START.next_sequence,
        previous_checksum: Position::START.chain,
        durable_sequence: 0,
        durable_segment: Place::start_of(1).segment,
        durable_offset: Place::start_of(1).offset,
        outputs: OutputEnds::default(),
        created: metadata.created.0,
        flags: if metadata.has_times_since_midnight { FLAG_TIMES_SINCE_MIDNIGHT } else { 0 },
        instruments_max: metadata.capacities.instruments_max,
        orders_max: metadata.capacities.orders_max,
        levels_max: metadata.capacities.levels_max,
        write_unit_bytes: WRITE_UNIT_BYTES as u32,
        input_bytes: metadata.input.len() as u32,
        input,
        output_cores: options.output_streams.into(),
        reserved: [0; 300],
        header_checksum: 0,
    }
    .seal()
}

/// Creates the file of the segment, if it is not prepared yet, and makes its header durable. On failure no file is left
/// behind, if that can be.
fn begin_first_segment(
    storage: &mut dyn Storage,
    pool: &mut Pool,
    header: &SegmentHeader,
    is_prepared: bool,
) -> io::Result<FileSlot> {
    let name = SegmentName::new(header.number);
    let length = header.prepared_bytes;
    let begin = if is_prepared { Operation::Open { name } } else { Operation::Prepare { name, length } };
    let file = match execute(storage, Token::Spare, begin) {
        (Ok(Done::Prepared(file)), _) => file,
        (Err(cause), _) => {
            if cause.kind() != io::ErrorKind::AlreadyExists {
                let _ = storage.remove(&name);
            }
            return Err(cause);
        }
        (Ok(_), _) => return Err(io::Error::other("the storage gave no file")),
    };
    let mut block: Block = pool.take_control().ok_or(io::ErrorKind::OutOfMemory)?;
    let to = BLOCK_BYTES as usize;
    block.bytes_mut()[..to].copy_from_slice(header.as_bytes());
    let (result, block) =
        execute(storage, Token::Header, Operation::Write { file, offset: 0, block, from: 0, to, is_through: false });
    pool.give_back(block.ok_or_else(|| io::Error::other("the storage kept a block"))?);
    let result = match result {
        Ok(Done::Written(count)) if count == to => execute(storage, Token::HeaderSync, Operation::Sync { file }).0,
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(cause) => Err(cause),
    };
    match result {
        Ok(_) => Ok(file),
        Err(cause) => {
            storage.close(file);
            let _ = storage.remove(&name);
            Err(cause)
        }
    }
}

/// Executes one operation while nothing else is under way.
fn execute(storage: &mut dyn Storage, token: Token, operation: Operation) -> (io::Result<Done>, Option<Block>) {
    storage.submit(token, operation);
    let mut completions = Vec::new();
    loop {
        storage.reap(&mut completions);
        if let Some(completion) = completions.pop() {
            return (completion.result, completion.block);
        }
        if let Err(cause) = storage.dispatch().and_then(|()| storage.wait(Duration::from_millis(10))) {
            return (Err(cause), None);
        }
    }
}
