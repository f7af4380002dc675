//! The backend for Linux: everything on the way of the records, creating segments included, goes through one io_uring.
//!
//! Operations live in a fixed table while they are under way; the table's index is what the kernel hands back. Creating
//! a file takes four steps (open, allocate, sync the file, sync its directory), each submitted when the one before is
//! done. Cutting a sealed file to its length uses the ring where the kernel can do that (6.9) and a plain call
//! elsewhere. Nothing else makes a system call but `dispatch` and `wait`;
//! a file is closed by the ring as well.
#![allow(unsafe_code)]

use super::portable::preallocate;
use super::{Completion, Done, FILES_MAX, FileSlot, Files, OPERATIONS_MAX, Operation, SegmentName, Storage, Token};
use crate::memory::Block;
use crate::options::Backend;
use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode, squeue};
use rustix::io::ReadWriteFlags;
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::forget;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Operations that this backend cannot do without.
const NEEDED: [u8; 6] = [
    opcode::Write::CODE,
    opcode::WriteFixed::CODE,
    opcode::Fsync::CODE,
    opcode::OpenAt::CODE,
    opcode::Fallocate::CODE,
    opcode::Close::CODE,
];

/// Rows of the table: the writer's operations, and files that are being closed.
const ROWS: usize = OPERATIONS_MAX + FILES_MAX;

/// An operation that the kernel has, or will get with the next dispatch.
enum Pending {
    Prepare { token: Token, length: u64, step: PrepareStep },
    Open { token: Token },
    Write { token: Token, block: Block },
    Other { token: Token },
    Close,
}

/// What the kernel is doing for a new file, and the file once it is open.
enum PrepareStep {
    Open,
    Allocate(File),
    SyncFile(File),
    SyncDirectory(File),
}

pub(super) struct IoUringStorage {
    ring: IoUring,
    pending: Vec<Option<Pending>>,
    free: Vec<usize>,
    /// What was done without the ring.
    done: Vec<Completion>,
    /// Name of the file that is being created; one at a time is.
    name: Box<SegmentName>,
    files: Files,
    registered_count: usize,
    can_trim: bool,
    start: Instant,
}

impl IoUringStorage {
    /// A ring for these files; gives them back with the reason when there can be none.
    pub(super) fn new(files: Files) -> Result<Self, (Files, io::Error)> {
        let mut probe = Probe::new();
        let ring = IoUring::builder().dontfork().build(2 * ROWS as u32).and_then(|ring| {
            ring.submitter().register_probe(&mut probe)?;
            let is_complete =
                NEEDED.into_iter().all(|code| probe.is_supported(code)) && ring.params().is_feature_ext_arg();
            if is_complete { Ok(ring) } else { Err(io::Error::other("this kernel's is older than 5.11")) }
        });
        match ring {
            Ok(ring) => Ok(Self {
                ring,
                pending: (0..ROWS).map(|_| None).collect(),
                free: (0..ROWS).collect(),
                done: Vec::with_capacity(OPERATIONS_MAX),
                name: Box::new(SegmentName::new(0)),
                files,
                registered_count: 0,
                can_trim: probe.is_supported(opcode::Ftruncate::CODE),
                start: Instant::now(),
            }),
            Err(cause) => Err((files, cause)),
        }
    }

    /// Registers these blocks, which are numbered from 0 without holes.
    pub(super) fn register(&mut self, blocks: &[Block]) -> io::Result<()> {
        let mut ordered: Vec<&Block> = blocks.iter().collect();
        ordered.sort_by_key(|block| block.index());
        assert!(
            ordered.iter().enumerate().all(|(number, block)| block.index() == number),
            "blocks are numbered from 0"
        );
        let buffers: Vec<IoSlice<'_>> = ordered.iter().map(|block| IoSlice::new(block.bytes())).collect();
        // SAFETY: `IoSlice` has the layout of `iovec` by the standard library's guarantee.
        let buffers = unsafe { core::slice::from_raw_parts(buffers.as_ptr().cast(), buffers.len()) };
        // SAFETY: the kernel pins the pages, so they stay valid for it even when the mapping goes first.
        unsafe { self.ring.submitter().register_buffers(buffers) }?;
        self.registered_count = blocks.len();
        Ok(())
    }

    fn under_way_count(&self) -> usize {
        ROWS - self.free.len()
    }

    /// Puts an entry for the operation at `index` into the submission queue.
    ///
    /// # Safety
    /// What the entry points to must stay valid until its completion was reaped.
    unsafe fn push(&mut self, entry: squeue::Entry, index: usize) {
        let entry = entry.user_data(index as u64);
        // SAFETY: passed on to the caller.
        let is_pushed = unsafe { self.ring.submission().push(&entry) }.is_ok();
        assert!(is_pushed, "the queue has two entries for each operation that can be under way");
    }

    fn sync_entry(file: &impl AsRawFd) -> squeue::Entry {
        opcode::Fsync::new(Fd(file.as_raw_fd())).build()
    }

    fn data_sync_entry(file: &File) -> squeue::Entry {
        opcode::Fsync::new(Fd(file.as_raw_fd())).flags(FsyncFlags::DATASYNC).build()
    }

    /// Takes the result of the operation at `index`: either it is done, or its next step is submitted.
    fn advance(&mut self, index: usize, result: i32) -> Option<Completion> {
        let result = if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) };
        let (token, result, block) = match self.pending[index].take()? {
            Pending::Write { token, block } => (token, result.map(Done::Written), Some(block)),
            Pending::Other { token } => (token, result.map(|_| Done::Finished), None),
            // Whatever the kernel says, the descriptor is gone.
            Pending::Close => {
                self.free.push(index);
                return None;
            }
            Pending::Open { token } => {
                let file = result.map(|descriptor| {
                    // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
                    File::from(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
                });
                (token, file.map(|file| Done::Prepared(self.files.insert(file))), None)
            }
            Pending::Prepare { token, length, step } => match self.next_step(index, step, length, result) {
                Ok(NextStep::Submitted(step)) => {
                    self.pending[index] = Some(Pending::Prepare { token, length, step });
                    return None;
                }
                Ok(NextStep::Prepared(file)) => (token, Ok(Done::Prepared(self.files.insert(file))), None),
                Err(cause) => (token, Err(cause), None),
            },
        };
        self.free.push(index);
        Some(Completion { token, result, block })
    }

    fn next_step(
        &mut self,
        index: usize,
        step: PrepareStep,
        length: u64,
        result: io::Result<usize>,
    ) -> io::Result<NextStep> {
        let (entry, step) = match step {
            PrepareStep::Open => {
                let descriptor = result?;
                // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
                let file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor as i32) });
                let entry = opcode::Fallocate::new(Fd(file.as_raw_fd()), length).build();
                (entry, PrepareStep::Allocate(file))
            }
            PrepareStep::Allocate(file) => {
                match result {
                    Err(cause) if cause.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {
                        preallocate(&file, length)?;
                    }
                    result => drop(result?),
                }
                (Self::sync_entry(&file), PrepareStep::SyncFile(file))
            }
            PrepareStep::SyncFile(file) => {
                result?;
                (Self::sync_entry(&self.files.directory), PrepareStep::SyncDirectory(file))
            }
            PrepareStep::SyncDirectory(file) => {
                result?;
                return Ok(NextStep::Prepared(file));
            }
        };
        // SAFETY: the entry names a descriptor that `step` or `files` keeps open; it points to nothing.
        unsafe { self.push(entry, index) };
        Ok(NextStep::Submitted(step))
    }

    fn enter(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        let result = match timeout {
            None => self.ring.submit_and_wait(want),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                self.ring.submitter().submit_with_args(want, &SubmitArgs::new().timespec(&timeout))
            }
        };
        match result {
            Ok(_) => Ok(()),
            // Nothing is lost: what was not taken is submitted with the next call.
            Err(cause)
                if matches!(
                    cause.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
                    Some(
                        rustix::io::Errno::TIME
                            | rustix::io::Errno::INTR
                            | rustix::io::Errno::AGAIN
                            | rustix::io::Errno::BUSY
                    )
                ) =>
            {
                Ok(())
            }
            Err(cause) => Err(cause),
        }
    }
}

/// What follows a step of creating a file.
enum NextStep {
    Submitted(PrepareStep),
    Prepared(File),
}

impl Storage for IoUringStorage {
    fn backend(&self) -> Backend {
        if self.registered_count > 0 { Backend::IoUringFixed } else { Backend::IoUring }
    }

    /// Past the page cache the kernel lets a flush follow a write by itself, or has the device do both at once.
    fn writes_through(&self) -> bool {
        self.files.is_direct
    }

    /// The kernel's workers for syncs and for the ends of writes are usual threads, and have to wait for the core of one
    /// that polls: up to a tick of the scheduler, 4 ms.
    fn give_way(&mut self) {
        if self.under_way_count() > 0 {
            rustix::thread::sched_yield();
        }
    }

    fn submit(&mut self, token: Token, operation: Operation) {
        let index = self.free.pop().unwrap_or_else(|| panic!("at most {OPERATIONS_MAX} operations are under way"));
        let (entry, pending) = match operation {
            Operation::Prepare { name, length } => {
                *self.name = name;
                let directory = Fd(self.files.directory.as_raw_fd());
                let entry = opcode::OpenAt::new(directory, self.name.as_c_str().as_ptr())
                    .flags(self.files.create_flags().bits() as i32)
                    .mode(Files::create_mode().bits())
                    .build();
                (entry, Pending::Prepare { token, length, step: PrepareStep::Open })
            }
            Operation::Open { name } => {
                *self.name = name;
                let directory = Fd(self.files.directory.as_raw_fd());
                let entry = opcode::OpenAt::new(directory, self.name.as_c_str().as_ptr())
                    .flags(self.files.open_flags().bits() as i32)
                    .build();
                (entry, Pending::Open { token })
            }
            Operation::Write { file, offset, block, from, to, is_through } => {
                let descriptor = Fd(self.files.get(file).as_raw_fd());
                let bytes = &block.bytes()[from..to];
                let (start, length) = (bytes.as_ptr(), bytes.len() as u32);
                let flags = if is_through { ReadWriteFlags::DSYNC.bits() as i32 } else { 0 };
                let entry = if block.index() < self.registered_count {
                    let write = opcode::WriteFixed::new(descriptor, start, length, block.index() as u16);
                    write.offset(offset).rw_flags(flags).build()
                } else {
                    opcode::Write::new(descriptor, start, length).offset(offset).rw_flags(flags).build()
                };
                (entry, Pending::Write { token, block })
            }
            Operation::Sync { file } => (Self::data_sync_entry(self.files.get(file)), Pending::Other { token }),
            Operation::Trim { file, length } if self.can_trim => {
                let descriptor = Fd(self.files.get(file).as_raw_fd());
                (opcode::Ftruncate::new(descriptor, length).build(), Pending::Other { token })
            }
            Operation::Trim { file, length } => {
                self.free.push(index);
                let result = self.files.get(file).set_len(length).map(|()| Done::Finished);
                self.done.push(Completion { token, result, block: None });
                return;
            }
        };
        self.pending[index] = Some(pending);
        // SAFETY: a block is owned by the table until the completion is reaped, and its bytes do not move with it; a name
        // stays in its box. The file stays open: the writer closes it only when nothing is under way for it.
        unsafe { self.push(entry, index) };
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.done);
        while let Some((index, result)) = {
            let mut queue = self.ring.completion();
            queue.next().map(|entry| (entry.user_data() as usize, entry.result()))
        } {
            completions.extend(self.advance(index, result));
        }
    }

    fn dispatch(&mut self) -> io::Result<()> {
        let mut queue = self.ring.submission();
        queue.sync();
        if queue.is_empty() && !queue.cq_overflow() {
            return Ok(());
        }
        drop(queue);
        self.enter(0, None)
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        if self.done.is_empty() { self.enter(1, Some(timeout)) } else { Ok(()) }
    }

    /// By the ring: a call would be the only one that this core makes beside it.
    fn close(&mut self, file: FileSlot) {
        let Some(file) = self.files.take(file) else { return };
        // Without a row the file is closed here after all.
        let Some(index) = self.free.pop() else { return };
        let entry = opcode::Close::new(Fd(file.into_raw_fd())).build();
        self.pending[index] = Some(Pending::Close);
        // SAFETY: the entry points to nothing, and its descriptor is nobody else's any more.
        unsafe { self.push(entry, index) };
    }

    fn remove(&mut self, name: &SegmentName) -> io::Result<()> {
        super::remove(&self.files.directory, name)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Drop for IoUringStorage {
    /// Waits for everything that is under way: until then the kernel may read the blocks.
    fn drop(&mut self) {
        let mut done = Vec::with_capacity(OPERATIONS_MAX);
        while self.under_way_count() > 0 {
            self.reap(&mut done);
            if self.under_way_count() > 0 && self.enter(1, None).is_err() {
                // The kernel does not answer. Leaking the blocks keeps what it may still read.
                self.pending.drain(..).for_each(forget);
                break;
            }
        }
    }
}
