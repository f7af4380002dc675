//! Work beside the writer: preparing segments ahead, letting old ones go, and telling that one was sealed.
//!
//! The journal has no thread of its own. Its owner makes a [`Helper`], lets it run on a thread that is named, not pinned,
//! and may sleep, and gives the [`HelperHandle`] to the writer with its options. The writer never waits for the helper,
//! and never wakes it: the helper looks for work a thousand times a second. Without a helper, segments are allocated by
//! the writer's own storage, one ahead, and what retention releases is removed in `poll`.

use crate::compact::COMPACTED_EXTENSION;
use crate::defence::{Defence, stands};
use crate::format::BLOCK_BYTES;
use crate::medium::{Access, Medium, remove_if_there};
use crate::memory::Block;
use crate::released::Released;
use crate::storage::SegmentName;
use core::fmt;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Jobs that may wait for the helper.
pub(crate) const JOBS_MAX: usize = 256;
/// Most segments that are prepared ahead.
pub const PREPARED_MAX: u64 = 64;
/// How long the helper sleeps when there is nothing to do.
const IDLE_INTERVAL: Duration = Duration::from_millis(1);
/// Bytes written at once when a segment is prepared: the writer's next write may have to wait for them.
const PIECE_BYTES: usize = 64 << 10;
/// The same when that is too slow.
const LATE_PIECE_BYTES: usize = 1 << 20;
/// How late preparing has to be for that.
const LATE: Duration = Duration::from_millis(10);
/// Bytes written between two syncs when a segment is prepared. Where they go through the cache, they come to the disk in one
/// burst, which the writer's next write has to wait for.
const SYNC_BYTES: usize = 4 << 20;
/// How files end that wait to be segments again.
pub(crate) const RECYCLED_EXTENSION: &str = "tcr";

/// What the helper is told to do.
pub(crate) enum Job {
    /// Work for this journal.
    Attach { medium: Arc<dyn Medium>, recycled_max: usize },
    /// Give the segment of this number a file of so many bytes, written from end to end or not.
    Prepare { number: u64, length: u64, is_prewritten: bool },
    /// Note that the journal begins behind the segment of this number, and let its file go.
    Release { number: u64, released: Released },
    /// Tell that the segment of this number is sealed.
    Sealed { number: u64 },
    /// Tell that recovery has sealed the segment in this file.
    Recovered { file: String },
}

/// What it has done.
pub(crate) enum JobDone {
    Prepared { number: u64, result: io::Result<()> },
    Released { number: u64, result: io::Result<()> },
}

/// Called with the path of each segment that was sealed, on the helper's thread.
pub type OnSealed = Box<dyn FnMut(&Path) + Send>;

/// Does the work. See the module's documentation.
pub struct Helper {
    jobs: Receiver<Job>,
    done: SyncSender<JobDone>,
    is_paused: Arc<AtomicBool>,
    is_hurried: Arc<AtomicBool>,
    is_stopped: Arc<AtomicBool>,
    bytes_per_second: u64,
    on_sealed: Option<OnSealed>,
    worker: Option<Worker>,
    /// Jobs that came while a segment was prepared.
    waiting: VecDeque<Job>,
}

/// The writer's end of a helper. Clones are one and the same: the first writer that is given one has it.
#[derive(Clone)]
pub struct HelperHandle(Arc<Mutex<Option<HelperLink>>>);

impl fmt::Debug for HelperHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HelperHandle")
    }
}

/// Both channels of a helper.
pub(crate) struct HelperLink {
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) done: Receiver<JobDone>,
    /// While set, the helper writes nothing: the disk is the writer's.
    pub(crate) is_paused: Arc<AtomicBool>,
    /// While set, the helper writes no segment to its end: the writer waits for it.
    pub(crate) is_hurried: Arc<AtomicBool>,
    pub(crate) is_stopped: Arc<AtomicBool>,
}

impl HelperHandle {
    pub(crate) fn take(&self) -> Option<HelperLink> {
        self.0.lock().ok()?.take()
    }
}

impl Helper {
    /// A helper that prepares at most so many bytes a second as long as a segment is ready, and calls `on_sealed` with
    /// each segment that is sealed.
    pub fn new(bytes_per_second: u64, on_sealed: Option<OnSealed>) -> (Self, HelperHandle) {
        let (jobs, receiver) = sync_channel(JOBS_MAX);
        let (sender, done) = sync_channel(JOBS_MAX);
        let is_paused = Arc::new(AtomicBool::new(false));
        let is_hurried = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let link = HelperLink {
            jobs,
            done,
            is_paused: Arc::clone(&is_paused),
            is_hurried: Arc::clone(&is_hurried),
            is_stopped: Arc::clone(&is_stopped),
        };
        let helper = Self {
            jobs: receiver,
            done: sender,
            is_paused,
            is_hurried,
            is_stopped,
            bytes_per_second,
            on_sealed,
            worker: None,
            waiting: VecDeque::new(),
        };
        (helper, HelperHandle(Arc::new(Mutex::new(Some(link)))))
    }

    /// Works until the writer and every handle are gone.
    pub fn run(mut self) {
        loop {
            match self.step(true) {
                Some(true) => {}
                Some(false) => sleep(IDLE_INTERVAL),
                None => return,
            }
        }
    }

    /// Does one job. `false` when there is none, `None` when there will be none.
    pub(crate) fn step(&mut self, has_clock: bool) -> Option<bool> {
        let Self { jobs, waiting, done, is_paused, is_hurried, is_stopped, bytes_per_second, on_sealed, worker } = self;
        let job = match waiting.pop_front().map_or_else(|| jobs.try_recv(), Ok) {
            Ok(job) => job,
            Err(TryRecvError::Empty) => return Some(false),
            Err(TryRecvError::Disconnected) => {
                if let Some(worker) = worker {
                    worker.remove_recycled();
                }
                return None;
            }
        };
        if let Job::Attach { medium, recycled_max } = job {
            *worker = Some(Worker::new(medium, recycled_max));
            return Some(true);
        }
        let Some(worker) = worker else { return Some(true) };
        let finished = match job {
            Job::Attach { .. } => None,
            Job::Prepare { number, length, is_prewritten } => {
                let mut pace = has_clock.then(|| Pace::new(*bytes_per_second));
                let directory = worker.medium.path().to_owned();
                // Who is told of a sealed segment does not wait until the next one is written.
                let mut tell = || {
                    while let Ok(job) = jobs.try_recv() {
                        match job {
                            Job::Sealed { .. } | Job::Recovered { .. } => tell_sealed(on_sealed, &directory, &job),
                            job => waiting.push_back(job),
                        }
                    }
                };
                let result = worker.prepare(number, length, is_prewritten, &mut |bytes| {
                    tell();
                    while has_clock && is_paused.load(Relaxed) && !is_stopped.load(Relaxed) {
                        sleep(IDLE_INTERVAL);
                        tell();
                    }
                    if is_stopped.load(Relaxed) {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    if is_hurried.load(Relaxed) {
                        return Ok(0);
                    }
                    Ok(pace.as_mut().map_or(bytes, |pace| pace.wait(bytes)))
                });
                Some(JobDone::Prepared { number, result })
            }
            Job::Release { number, released } => {
                Some(JobDone::Released { number, result: worker.release(number, &released) })
            }
            Job::Sealed { .. } | Job::Recovered { .. } => {
                tell_sealed(on_sealed, worker.medium.path(), &job);
                None
            }
        };
        if let Some(finished) = finished {
            // There is room: the writer has no more jobs out than the channel holds.
            let _ = done.try_send(finished);
        }
        Some(true)
    }
}

/// Tells of the segment of a job that says that one is sealed.
fn tell_sealed(on_sealed: &mut Option<OnSealed>, directory: &Path, job: &Job) {
    let Some(on_sealed) = on_sealed else { return };
    match job {
        Job::Sealed { number } => on_sealed(&directory.join(SegmentName::new(*number).as_str())),
        Job::Recovered { file } => on_sealed(&directory.join(file)),
        Job::Attach { .. } | Job::Prepare { .. } | Job::Release { .. } => {}
    }
}

/// Holds preparing to a rate.
struct Pace {
    bytes_per_second: u64,
    due: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, due: Instant::now() }
    }

    /// Waits until some of so many bytes are due, and says how many.
    fn wait(&mut self, bytes: usize) -> usize {
        let is_late = Instant::now() > self.due + LATE;
        let bytes = bytes.min(if is_late { LATE_PIECE_BYTES } else { PIECE_BYTES });
        self.due += Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / self.bytes_per_second.max(1));
        let ahead = self.due.saturating_duration_since(Instant::now());
        if ahead > IDLE_INTERVAL {
            sleep(ahead);
        }
        bytes
    }
}

/// The jobs themselves, on any medium.
pub(crate) struct Worker {
    medium: Arc<dyn Medium>,
    /// Files that wait to be segments again.
    recycled: Vec<String>,
    recycled_max: usize,
}

impl Worker {
    /// At most so many released files are kept to be segments again; the others are removed.
    pub(crate) fn new(medium: Arc<dyn Medium>, recycled_max: usize) -> Self {
        Self { medium, recycled: Vec::new(), recycled_max }
    }

    /// Gives up files that wait to be segments again. Those of a helper are removed by whoever resumes.
    fn remove_recycled(&mut self) {
        for name in self.recycled.drain(..) {
            let _ = self.medium.remove(&name);
        }
        let _ = self.medium.sync_directory();
    }

    /// Gives a segment its file, durable; with `is_prewritten` written once from end to end where the file system cannot do
    /// without. `pace` is asked before each piece how much of the rest to write; after 0 the rest is allocated all the same.
    pub(crate) fn prepare(
        &mut self,
        number: u64,
        length: u64,
        is_prewritten: bool,
        pace: &mut dyn FnMut(usize) -> io::Result<usize>,
    ) -> io::Result<()> {
        let medium = self.medium.as_ref();
        let name = SegmentName::new(number);
        if let Some(recycled) = self.recycled.last() {
            recycle(medium, recycled, name.as_str(), length, pace)?;
            self.recycled.pop();
            return medium.sync_directory();
        }
        if let Some(free) = medium.available_bytes()
            && free < length.saturating_mul(2)
        {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{free} bytes are free on the file system, {length} are wanted and as many to be left"),
            ));
        }
        let file = medium.open(name.as_str(), Access::Create)?;
        let prepared = file.allocate(length, is_prewritten).and_then(|is_written| {
            if is_prewritten && !is_written {
                fill(file.as_ref(), 0, length, pace)?;
            }
            file.sync()?;
            file.forget_cache()?;
            if stands(Defence::NameBeforeUse) { medium.sync_directory() } else { Ok(()) }
        });
        if prepared.is_err() {
            let _ = medium.remove(name.as_str());
        }
        prepared
    }

    /// Lets the file of a segment go, once it is durable that the journal begins behind it.
    pub(crate) fn release(&mut self, number: u64, released: &Released) -> io::Result<()> {
        let medium = self.medium.as_ref();
        if stands(Defence::ReleaseBeforeRemoval) {
            released.write(medium)?;
        }
        let name = SegmentName::new(number);
        if self.recycled.len() < self.recycled_max {
            let recycled = format!("{}.{RECYCLED_EXTENSION}", name.as_str());
            match medium.rename(name.as_str(), &recycled) {
                Ok(()) => self.recycled.push(recycled),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(cause),
            }
        } else {
            remove_if_there(medium, name.as_str())?;
        }
        let compacted = Path::new(name.as_str()).with_extension(COMPACTED_EXTENSION);
        remove_if_there(medium, &compacted.to_string_lossy())?;
        medium.sync_directory()
    }
}

/// Makes a released file the file of another segment; the name is not durable yet.
fn recycle(
    medium: &dyn Medium,
    recycled: &str,
    name: &str,
    length: u64,
    pace: &mut dyn FnMut(usize) -> io::Result<usize>,
) -> io::Result<()> {
    let file = medium.open(recycled, Access::Write)?;
    // Without its old header it is no segment; what stands behind validates in no other.
    file.write_all_at(&[0; BLOCK_BYTES as usize], 0)?;
    let old_length = file.length()?;
    if old_length < length {
        file.allocate(length, true)?;
        fill(file.as_ref(), old_length, length, pace)?;
    } else if old_length > length {
        // Segments were longer once. Readers take a file of another length than was prepared for a trimmed one.
        file.set_length(length)?;
    }
    file.sync()?;
    medium.rename(recycled, name)
}

/// Writes zeros, so that no later write has to allocate: past the cache where that can be, for what stays in it makes later
/// writes past it slower, and filling it costs more than the disk does.
fn fill(
    file: &dyn crate::medium::MediumFile,
    from: u64,
    to: u64,
    pace: &mut dyn FnMut(usize) -> io::Result<usize>,
) -> io::Result<()> {
    let zeros = Block::new(LATE_PIECE_BYTES)?;
    file.bypass_cache();
    let mut offset = from;
    let mut unsynced = 0;
    while offset < to {
        let count = pace((to - offset) as usize)?.min(LATE_PIECE_BYTES);
        if count == 0 {
            break;
        }
        file.write_all_at(&zeros.bytes()[..count], offset)?;
        offset += count as u64;
        unsynced += count;
        if unsynced >= SYNC_BYTES {
            file.sync()?;
            unsynced = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::DirectoryMedium;

    #[test]
    fn a_segment_that_is_not_written_to_its_end_is_allocated_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let length = (3 << 20) + BLOCK_BYTES;
        for (number, most) in [(1, 0), (2, 100 << 10), (3, u64::MAX)] {
            let mut worker = Worker::new(DirectoryMedium::at(directory.path()), 0);
            let (mut written, mut pieces) = (0, 0);
            let mut pace = |rest: usize| {
                let count = if written < most { rest.min(64 << 10) } else { 0 };
                (written, pieces) = (written + count as u64, pieces + 1);
                Ok(count)
            };
            worker.prepare(number, length, true, &mut pace).unwrap();
            let bytes = std::fs::read(directory.path().join(SegmentName::new(number).as_str())).unwrap();
            assert!(bytes.len() as u64 == length && bytes.iter().all(|&byte| byte == 0), "{} bytes", bytes.len());
            assert!(written >= most.min(length) || pieces == 0, "no piece where the file system wrote zeros by itself");
        }
    }
}
