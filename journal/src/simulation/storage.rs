//! The asynchronous half of the simulated medium: operations happen when the random numbers say so, in any order, and are
//! told in another.

use super::disk::Disk;
use crate::defence::{Defence, stands};
use crate::memory::Block;
use crate::options::Backend;
use crate::storage::{Completion, Done, FileSlot, OPERATIONS_MAX, Operation, SegmentName, Storage, Token};
use std::io;
use std::time::Duration;

/// Waits of one writer in a run, many times what any needs.
const WAITS_MAX: u32 = 50_000;

enum Progress {
    Submitted(Operation),
    /// The sync has begun, and covers the changes of the file before this one.
    Syncing {
        file: usize,
        end: u64,
    },
    /// So much of the block is written through and not durable yet: the change of this number.
    Flushing {
        file: usize,
        change: u64,
        count: usize,
        block: Block,
    },
    Done(Completion),
}

struct Queued {
    token: Token,
    progress: Progress,
}

pub(super) struct SimulatedStorage {
    disk: Disk,
    queue: Vec<Queued>,
    writes_through: bool,
    /// Files by slot. Slots are never used again, so that a use after closing is seen.
    open: Vec<Option<usize>>,
    stalled_turns: u64,
    waits: u32,
    now_ns: u64,
}

impl SimulatedStorage {
    pub(super) fn new(disk: Disk) -> Self {
        let writes_through = disk.state().random.chance(50);
        let (queue, open) = (Vec::new(), Vec::new());
        Self { disk, queue, writes_through, open, stalled_turns: 0, waits: 0, now_ns: 0 }
    }

    fn file(&self, slot: FileSlot) -> usize {
        self.open[slot.0].unwrap_or_else(|| panic!("file {} is used after it was closed", slot.0))
    }

    /// Takes one operation a step further. `false` when everything is dead.
    fn advance(&mut self, index: usize) -> bool {
        let Queued { token, progress } = self.queue.remove(index);
        let progress = match progress {
            Progress::Submitted(operation) => self.begin(token, operation),
            Progress::Syncing { file, end } => {
                let result = self.disk.state().end_sync(file, end).map(|()| Done::Finished);
                Progress::Done(Completion { token, result, block: None })
            }
            Progress::Flushing { file, change, count, block } => {
                let result = self.disk.state().flush_change(file, change).map(|()| Done::Written(count));
                Progress::Done(Completion { token, result, block: Some(block) })
            }
            Progress::Done(completion) => Progress::Done(completion),
        };
        let is_alive = !self.disk.is_dead();
        self.queue.push(Queued { token, progress });
        is_alive
    }

    fn begin(&mut self, token: Token, operation: Operation) -> Progress {
        let done = |result| Progress::Done(Completion { token, result, block: None });
        match operation {
            Operation::Prepare { name, length } => done(self.prepare(&name, length)),
            Operation::Open { name } => {
                let found = self.disk.state().find(name.as_str());
                done(found.map(|file| {
                    self.open.push(Some(file));
                    Done::Prepared(FileSlot(self.open.len() - 1))
                }))
            }
            Operation::Write { file, offset, block, from, to, is_through } => {
                let file = self.file(file);
                let mut state = self.disk.state();
                match state.write(file, offset, &block.bytes()[from..to]) {
                    Ok(count) if is_through => {
                        Progress::Flushing { file, change: state.last_change(file), count, block }
                    }
                    result => {
                        Progress::Done(Completion { token, result: result.map(Done::Written), block: Some(block) })
                    }
                }
            }
            Operation::Sync { file } => {
                let file = self.file(file);
                match self.disk.state().begin_sync(file) {
                    Ok(end) => Progress::Syncing { file, end },
                    Err(cause) => done(Err(cause)),
                }
            }
            Operation::Trim { file, length } => {
                let file = self.file(file);
                done(self.disk.state().set_length(file, length).map(|()| Done::Finished))
            }
        }
    }

    fn prepare(&mut self, name: &SegmentName, length: u64) -> io::Result<Done> {
        let mut state = self.disk.state();
        let file = state.create(name.as_str())?;
        state.set_length(file, length)?;
        let end = state.begin_sync(file)?;
        state.end_sync(file, end)?;
        if stands(Defence::NameBeforeUse) {
            state.sync_directory()?;
        }
        self.open.push(Some(file));
        Ok(Done::Prepared(FileSlot(self.open.len() - 1)))
    }
}

impl Storage for SimulatedStorage {
    fn backend(&self) -> Backend {
        Backend::IoUring
    }

    fn writes_through(&self) -> bool {
        self.writes_through
    }

    fn submit(&mut self, token: Token, operation: Operation) {
        assert!(self.queue.len() < OPERATIONS_MAX, "more operations under way than there may be");
        self.queue.push(Queued { token, progress: Progress::Submitted(operation) });
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        self.now_ns += 1 + self.disk.state().random.below(20_000);
        if self.stalled_turns > 0 {
            self.stalled_turns -= 1;
            return;
        }
        let stalls = self.disk.state().faults.stalls;
        if self.disk.state().random.chance(stalls) {
            self.stalled_turns = self.disk.state().random.below(30);
            return;
        }
        for _ in 0..self.queue.len() {
            let index = self.disk.state().random.below(self.queue.len() as u64) as usize;
            if self.disk.state().random.chance(60) && !self.advance(index) {
                return;
            }
        }
        let mut index = 0;
        while index < self.queue.len() {
            let is_told =
                matches!(self.queue[index].progress, Progress::Done(_)) && self.disk.state().random.chance(70);
            if is_told && let Queued { progress: Progress::Done(completion), .. } = self.queue.swap_remove(index) {
                completions.push(completion);
            } else {
                index += 1;
            }
        }
    }

    fn dispatch(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.waits += 1;
        assert!(self.waits < WAITS_MAX, "the writer waits for ever");
        self.now_ns += timeout.as_nanos() as u64 / 4;
        if self.disk.is_dead() { Err(io::Error::other("the simulated process is dead")) } else { Ok(()) }
    }

    fn close(&mut self, file: FileSlot) {
        self.open[file.0] = None;
    }

    fn remove(&mut self, name: &SegmentName) -> io::Result<()> {
        let mut state = self.disk.state();
        state.remove(name.as_str())?;
        state.sync_directory()
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.now_ns)
    }
}
