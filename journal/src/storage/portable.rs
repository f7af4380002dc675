//! The backend that works everywhere: `pwrite`, `fdatasync` and their like, executed when they are submitted.
//!
//! The polling thread waits for the disk. Everything else is as with io_uring: completions come with the next reap.

use super::{Completion, Done, FileSlot, Files, OPERATIONS_MAX, Operation, SegmentName, Storage, Token};
use crate::options::Backend;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

pub(super) struct PortableStorage {
    files: Files,
    done: Vec<Completion>,
    start: Instant,
}

impl PortableStorage {
    pub(super) fn new(files: Files) -> Self {
        Self { files, done: Vec::with_capacity(OPERATIONS_MAX), start: Instant::now() }
    }

    fn prepare(&mut self, name: &SegmentName, length: u64) -> io::Result<Done> {
        let flags = self.files.create_flags();
        let file = File::from(rustix::fs::openat(&self.files.directory, name.as_c_str(), flags, Files::create_mode())?);
        preallocate(&file, length)?;
        file.sync_all()?;
        rustix::fs::fsync(&self.files.directory)?;
        Ok(Done::Prepared(self.files.insert(file)))
    }

    fn open(&mut self, name: &SegmentName) -> io::Result<Done> {
        let flags = self.files.open_flags();
        let file = File::from(rustix::fs::openat(&self.files.directory, name.as_c_str(), flags, Files::create_mode())?);
        Ok(Done::Prepared(self.files.insert(file)))
    }
}

impl Storage for PortableStorage {
    fn backend(&self) -> Backend {
        Backend::Portable
    }

    fn submit(&mut self, token: Token, operation: Operation) {
        let (result, block) = match operation {
            Operation::Prepare { name, length } => (self.prepare(&name, length), None),
            Operation::Open { name } => (self.open(&name), None),
            Operation::Write { file, offset, block, from, to } => {
                let result = write(self.files.get(file), &block.bytes()[from..to], offset);
                (result.map(Done::Written), Some(block))
            }
            Operation::Sync { file } => (self.files.get(file).sync_data().map(|()| Done::Finished), None),
            Operation::Trim { file, length } => (self.files.get(file).set_len(length).map(|()| Done::Finished), None),
        };
        self.done.push(Completion { token, result, block });
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
        self.files.remove(name)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
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
