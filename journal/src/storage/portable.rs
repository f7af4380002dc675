//! The backend that works everywhere: `pwrite`, `fdatasync` and their like, by a thread that its owner lets run.
//!
//! The journal has no thread of its own. Where the writer's owner says how one is to be started (see [`PortableThread`]),
//! operations go to it and are executed one after the other, and the polling thread waits for nothing. Where nobody does,
//! operations are executed when they are submitted, and the polling thread waits for the disk.

use super::{Completion, Done, FILES_MAX, FileSlot, Files, OPERATIONS_MAX, Operation, SegmentName, Storage, Token};
use crate::options::Backend;
use core::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// What may wait for the thread: operations, and files to be closed.
const ORDERS_MAX: usize = OPERATIONS_MAX + FILES_MAX;

/// How a writer that has to do without io_uring gets its thread.
#[derive(Clone)]
pub struct PortableThread(Arc<Start>);

type Start = dyn Fn(PortableDisk) -> io::Result<()> + Send + Sync;

impl PortableThread {
    /// `start` is called with what is to [run](PortableDisk::run) on a thread of its own, named, not pinned: only if it comes
    /// to that, and on the thread that makes the writer.
    pub fn new(start: impl Fn(PortableDisk) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(start))
    }
}

impl fmt::Debug for PortableThread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PortableThread")
    }
}

/// Something for the thread to do.
enum Order {
    Carry(Token, Operation),
    Close(FileSlot),
}

/// The disk's side of the portable backend: it executes, and waits for, what the writer submits.
pub struct PortableDisk {
    orders: Receiver<Order>,
    done: SyncSender<Completion>,
    files: Files,
}

impl fmt::Debug for PortableDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PortableDisk")
    }
}

impl PortableDisk {
    /// Works until the writer is gone.
    pub fn run(mut self) {
        while self.step() {}
    }

    /// Waits for an operation or a file to be closed, and executes it; `false` when the writer is gone and nothing more will
    /// come. For whoever has something to do between operations: [`PortableDisk::run`] is this until it is `false`. The writer
    /// sees what is done in between as a slower disk. An operation that fails is told to the writer, not to the caller.
    pub fn step(&mut self) -> bool {
        match self.orders.recv() {
            Ok(Order::Carry(token, operation)) => {
                let completion = carry_out(&mut self.files, token, operation);
                // The writer waits for what it submitted, and there is room for all of it.
                self.done.send(completion).is_ok()
            }
            Ok(Order::Close(slot)) => {
                drop(self.files.take(slot));
                true
            }
            Err(_) => false,
        }
    }
}

/// Operations by a thread.
pub(super) struct ThreadedStorage {
    /// `None` once nothing more comes.
    orders: Option<SyncSender<Order>>,
    done: Receiver<Completion>,
    /// What was received while waiting.
    ready: Vec<Completion>,
    under_way_count: usize,
    directory: OwnedFd,
    start: Instant,
}

impl ThreadedStorage {
    /// Has a thread started for these files; gives them back with the reason when there can be none.
    pub(super) fn new(files: Files, thread: &PortableThread) -> Result<Self, (Option<Files>, io::Error)> {
        let directory = match files.directory.try_clone() {
            Ok(directory) => directory,
            Err(cause) => return Err((Some(files), cause)),
        };
        let (sender, orders) = sync_channel(ORDERS_MAX);
        let (done, receiver) = sync_channel(OPERATIONS_MAX);
        (thread.0)(PortableDisk { orders, done, files }).map_err(|cause| (None, cause))?;
        Ok(Self {
            orders: Some(sender),
            done: receiver,
            ready: Vec::with_capacity(OPERATIONS_MAX),
            under_way_count: 0,
            directory,
            start: Instant::now(),
        })
    }

    fn order(&mut self, order: Order) {
        // There is room for all that may be under way. A thread that is gone shows when it is waited for.
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
    }
}

fn thread_is_gone() -> io::Error {
    io::Error::other("the thread that writes the journal is gone")
}

impl Storage for ThreadedStorage {
    fn backend(&self) -> Backend {
        Backend::Portable
    }

    fn submit(&mut self, token: Token, operation: Operation) {
        self.under_way_count += 1;
        self.order(Order::Carry(token, operation));
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        let before = completions.len();
        completions.append(&mut self.ready);
        completions.extend(self.done.try_iter());
        self.under_way_count -= completions.len() - before;
    }

    fn dispatch(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        if !self.ready.is_empty() {
            return Ok(());
        }
        match self.done.recv_timeout(timeout) {
            Ok(completion) => {
                self.ready.push(completion);
                Ok(())
            }
            Err(Timeout) => Ok(()),
            Err(Disconnected) => Err(thread_is_gone()),
        }
    }

    fn close(&mut self, file: FileSlot) {
        self.order(Order::Close(file));
    }

    fn remove(&mut self, name: &SegmentName) -> io::Result<()> {
        super::remove(&self.directory, name)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Drop for ThreadedStorage {
    /// Waits for everything that is under way: whoever comes next must not find this writer's last writes coming in.
    fn drop(&mut self) {
        self.orders = None;
        let mut done = Vec::with_capacity(OPERATIONS_MAX);
        self.reap(&mut done);
        while self.under_way_count > 0 && self.done.recv().is_ok() {
            self.under_way_count -= 1;
        }
    }
}

/// Operations by the thread that polls.
pub(super) struct PortableStorage {
    files: Files,
    done: Vec<Completion>,
    start: Instant,
}

impl PortableStorage {
    pub(super) fn new(files: Files) -> Self {
        Self { files, done: Vec::with_capacity(OPERATIONS_MAX), start: Instant::now() }
    }
}

impl Storage for PortableStorage {
    fn backend(&self) -> Backend {
        Backend::Portable
    }

    fn makes_the_caller_wait(&self) -> bool {
        true
    }

    fn submit(&mut self, token: Token, operation: Operation) {
        let completion = carry_out(&mut self.files, token, operation);
        self.done.push(completion);
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.done);
    }

    fn dispatch(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        if self.done.is_empty() {
            std::thread::sleep(timeout);
        }
        Ok(())
    }

    fn close(&mut self, file: FileSlot) {
        drop(self.files.take(file));
    }

    fn remove(&mut self, name: &SegmentName) -> io::Result<()> {
        super::remove(&self.files.directory, name)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Executes an operation.
fn carry_out(files: &mut Files, token: Token, operation: Operation) -> Completion {
    let (result, block) = match operation {
        Operation::Prepare { name, length } => (prepare(files, &name, length), None),
        Operation::Open { name } => {
            let flags = files.open_flags();
            (open(files, &name, flags).map(|file| Done::Prepared(files.insert(file))), None)
        }
        Operation::Write { file, offset, block, from, to, is_through } => {
            let file = files.get(file);
            let result = write(file, &block.bytes()[from..to], offset);
            let result = if is_through { result.and_then(|count| file.sync_data().map(|()| count)) } else { result };
            (result.map(Done::Written), Some(block))
        }
        Operation::Sync { file } => (files.get(file).sync_data().map(|()| Done::Finished), None),
        Operation::Trim { file, length } => (files.get(file).set_len(length).map(|()| Done::Finished), None),
    };
    Completion { token, result, block }
}

fn prepare(files: &mut Files, name: &SegmentName, length: u64) -> io::Result<Done> {
    let file = open(files, name, files.create_flags())?;
    preallocate(&file, length)?;
    file.sync_all()?;
    rustix::fs::fsync(&files.directory)?;
    Ok(Done::Prepared(files.insert(file)))
}

fn open(files: &Files, name: &SegmentName, flags: rustix::fs::OFlags) -> io::Result<File> {
    Ok(File::from(rustix::fs::openat(&files.directory, name.as_c_str(), flags, Files::create_mode())?))
}

fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.write_at(bytes, offset) {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Gives the file its length, with blocks behind it where the file system can.
pub(crate) fn preallocate(file: &File, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(cause) => return Err(cause.into()),
    }
    file.set_len(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Metadata, Options};
    use crate::writer::Writer;
    use std::sync::Mutex;
    use std::thread::{self, JoinHandle};
    use tickcore_book::{Event, InstrumentId, Kind, Sequence, TimestampNs};

    /// Time that each operation takes on the slow disk of this test.
    const SLOW: Duration = Duration::from_millis(30);

    /// The longest call while 200 records were appended and polled for, and how long it took until they were durable.
    fn longest_call(thread: Option<PortableThread>) -> (Duration, Duration) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            backend: Backend::Portable,
            portable_thread: thread,
            segment_bytes: 1 << 20,
            staging_bytes: 4 << 20,
            ..Options::default()
        };
        let mut writer = Writer::create(directory.path(), options, Metadata::default()).unwrap();
        assert!(writer.notices().iter().all(|notice| !notice.cause.contains("waits")), "{:?}", writer.notices());
        let (start, mut longest) = (Instant::now(), Duration::ZERO);
        let mut next = 1;
        while writer.durable() < Sequence(200) {
            let before = Instant::now();
            if next <= 200 {
                writer.append(Sequence(next), &Event::new(Kind::Delete, InstrumentId(1), TimestampNs(next))).unwrap();
                next += 1;
            }
            writer.poll().unwrap();
            longest = longest.max(before.elapsed());
            thread::sleep(Duration::from_micros(50));
        }
        writer.finish().unwrap();
        (longest, start.elapsed())
    }

    #[test]
    fn whoever_polls_does_not_wait_for_the_disk() {
        let running: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
        let started = Arc::clone(&running);
        let thread = PortableThread::new(move |mut disk| {
            let work = move || {
                while disk.step() {
                    thread::sleep(SLOW);
                }
            };
            *started.lock().unwrap() = Some(thread::Builder::new().name("tickcore-disk".to_owned()).spawn(work)?);
            Ok(())
        });
        let (longest, all) = longest_call(Some(thread));
        assert!(all > SLOW, "the disk is slow: {all:?}");
        assert!(longest < SLOW / 2, "a call took {longest:?}");
        running.lock().unwrap().take().unwrap().join().unwrap();
    }

    #[test]
    fn without_a_thread_it_works_as_well_and_a_refused_one_is_said() {
        longest_call(None);
        let directory = tempfile::tempdir().unwrap();
        let refuse = PortableThread::new(|_| Err(io::ErrorKind::OutOfMemory.into()));
        let options = Options {
            backend: Backend::Portable,
            portable_thread: Some(refuse),
            segment_bytes: 1 << 20,
            staging_bytes: 4 << 20,
            ..Options::default()
        };
        let writer = Writer::create(directory.path(), options, Metadata::default()).unwrap();
        assert!(writer.notices().iter().any(|notice| notice.cause.contains("thread")), "{:?}", writer.notices());
        writer.finish().unwrap();
    }

    #[test]
    fn a_thread_that_dies_fails_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        // It makes the first segment, in six steps or so, and then it goes.
        let thread = PortableThread::new(|mut disk| {
            thread::spawn(move || (0..6).all(|_| disk.step()));
            Ok(())
        });
        let options = Options {
            backend: Backend::Portable,
            portable_thread: Some(thread),
            segment_bytes: 1 << 20,
            staging_bytes: 4 << 20,
            ..Options::default()
        };
        let mut writer = Writer::create(directory.path(), options, Metadata::default()).unwrap();
        let mut failure = None;
        for number in 1..10_000 {
            let _ = writer.append(Sequence(number), &Event::new(Kind::Delete, InstrumentId(1), TimestampNs(number)));
            if let Err(error) = writer.poll().and_then(|_| writer.wait(Duration::from_micros(100))) {
                failure = Some(error.to_string());
                break;
            }
        }
        assert!(failure.as_ref().is_some_and(|text| text.contains("is gone")), "{failure:?}");
    }
}
