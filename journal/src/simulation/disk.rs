//! Files of which some is durable and the rest is not, and what dying makes of them.

use super::Random;
use super::storage::SimulatedStorage;
use crate::format::{FrameHeader, JournalId, Place, SegmentFooter, SegmentHeader};
use crate::medium::{Access, Lock, Medium, MediumFile};
use crate::options::{Notice, Options};
use crate::staging::Pool;
use crate::status::StatusWriter;
use crate::storage::Storage;
use crate::stream::INPUT_STREAM;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR_BYTES: usize = 512;
const UNIT_BYTES: usize = 4096;

/// A change to a file that no sync has covered.
#[derive(Clone, Debug)]
enum Change {
    Write {
        offset: usize,
        bytes: Vec<u8>,
    },
    Length(usize),
    /// One that is durable already.
    Nothing,
}

/// A change to the directory that no sync has covered.
#[derive(Clone, Debug)]
enum NameChange {
    Link { name: String, file: usize },
    Unlink { name: String },
    Rename { from: String, to: String },
}

#[derive(Clone, Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    current: Vec<u8>,
    changes: Vec<Change>,
    /// Changes before the first of `changes`.
    changes_before: u64,
}

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// The process: what the kernel has, it keeps.
    Process,
    /// The machine: what was not synced may be lost, torn, and in any order.
    Machine,
}

/// How often things go wrong, in a hundred operations each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) short_writes: u64,
    pub(crate) write_errors: u64,
    pub(crate) sync_errors: u64,
    /// Errors stay: once one came, all that follows fails.
    pub(crate) is_lasting: bool,
    /// Files cannot be created or lengthened.
    pub(crate) full: u64,
    /// Turns in which nothing is done.
    pub(crate) stalls: u64,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    has_failed: bool,
    /// A sync failed since the last crash: what was written and not durable may be gone.
    pub(crate) has_lost: bool,
    files: Vec<FileState>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    /// Operations until everything is dead.
    operations_left: Option<u64>,
    is_dead: bool,
    ids: u8,
}

/// The simulated medium.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Mutex<State>>);

fn dead() -> io::Error {
    io::Error::other("the simulated process is dead")
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes: new } => put(bytes, *offset, new),
        Change::Length(length) => bytes.resize(*length, 0),
        Change::Nothing => {}
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Link { name, file } => drop(names.insert(name.clone(), *file)),
        NameChange::Unlink { name } => drop(names.remove(name)),
        NameChange::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

impl State {
    /// Counts an operation; an error once everything is dead.
    pub(crate) fn tick(&mut self) -> io::Result<()> {
        if self.operations_left.is_some_and(|left| left == 0) {
            self.is_dead = true;
        }
        if self.is_dead {
            return Err(dead());
        }
        self.operations_left = self.operations_left.map(|left| left - 1);
        Ok(())
    }

    /// Whether an operation that fails so often fails now.
    fn fails(&mut self, percent: u64) -> bool {
        let fails = (self.has_failed && self.faults.is_lasting) || self.random.chance(percent);
        self.has_failed |= fails;
        fails
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, file: usize, change: Change) {
        apply(&mut self.files[file].current, &change);
        self.files[file].changes.push(change);
    }

    /// A write of an asynchronous operation: how much of it was done.
    pub(crate) fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.tick()?;
        let percent = self.faults.write_errors;
        if self.fails(percent) {
            let part = self.random.below(bytes.len() as u64 + 1) as usize;
            self.change(file, Change::Write { offset: offset as usize, bytes: bytes[..part].to_vec() });
            return Err(io::Error::from_raw_os_error(5));
        }
        let is_short = self.random.chance(self.faults.short_writes);
        let count = if is_short { self.random.below(bytes.len() as u64 + 1) as usize } else { bytes.len() };
        self.change(file, Change::Write { offset: offset as usize, bytes: bytes[..count].to_vec() });
        Ok(count)
    }

    /// The number of the first change of a file that a sync which begins now will not cover.
    pub(crate) fn begin_sync(&mut self, file: usize) -> io::Result<u64> {
        self.tick()?;
        Ok(self.files[file].changes_before + self.files[file].changes.len() as u64)
    }

    /// The sync that was to cover the changes before this one comes to its end.
    pub(crate) fn end_sync(&mut self, file: usize, end: u64) -> io::Result<()> {
        self.tick()?;
        let percent = self.faults.sync_errors;
        let fails = self.fails(percent);
        self.has_lost |= fails;
        let mut changes = core::mem::take(&mut self.files[file].changes);
        // Another sync may have covered some of them, or all.
        let count = end.saturating_sub(self.files[file].changes_before) as usize;
        let rest = changes.split_off(count.min(changes.len()));
        self.files[file].changes_before += changes.len() as u64;
        for change in changes {
            // A failed sync leaves anything behind, and forgets that it is to be written.
            if !fails || self.random.chance(50) {
                apply(&mut self.files[file].durable, &change);
            }
        }
        self.files[file].changes = rest;
        if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    /// The number of the last change of a file.
    pub(crate) fn last_change(&self, file: usize) -> u64 {
        let FileState { changes, changes_before, .. } = &self.files[file];
        changes_before + changes.len() as u64 - 1
    }

    /// Makes a single change durable and no other, if no sync did.
    pub(crate) fn flush_change(&mut self, file: usize, number: u64) -> io::Result<()> {
        self.tick()?;
        let percent = self.faults.sync_errors;
        let fails = self.fails(percent);
        self.has_lost |= fails;
        let FileState { durable, changes, changes_before, .. } = &mut self.files[file];
        let index = number.wrapping_sub(*changes_before) as usize;
        if let Some(change) = changes.get_mut(index) {
            // Its place stays, for syncs count changes.
            let change = core::mem::replace(change, Change::Nothing);
            if !fails || self.random.chance(50) {
                apply(durable, &change);
            }
        }
        if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    pub(crate) fn create(&mut self, name: &str) -> io::Result<usize> {
        self.tick()?;
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let percent = self.faults.full;
        if self.random.chance(percent) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files.push(FileState::default());
        let file = self.files.len() - 1;
        self.names.insert(name.to_owned(), file);
        self.name_changes.push(NameChange::Link { name: name.to_owned(), file });
        Ok(file)
    }

    pub(crate) fn find(&mut self, name: &str) -> io::Result<usize> {
        self.tick()?;
        self.file(name)
    }

    pub(crate) fn set_length(&mut self, file: usize, length: u64) -> io::Result<()> {
        self.tick()?;
        let percent = self.faults.full;
        if length as usize > self.files[file].current.len() && self.random.chance(percent) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(file, Change::Length(length as usize));
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.tick()?;
        self.file(name)?;
        self.names.remove(name);
        self.name_changes.push(NameChange::Unlink { name: name.to_owned() });
        Ok(())
    }

    pub(crate) fn sync_directory(&mut self) -> io::Result<()> {
        self.tick()?;
        for change in core::mem::take(&mut self.name_changes) {
            apply_name(&mut self.durable_names, &change);
        }
        Ok(())
    }

    /// What reaches the platter of a write that was not synced.
    fn leave(&mut self, file: usize, change: &Change, floor: usize, may_misdirect: bool) {
        let Change::Write { offset, bytes } = change else {
            if self.random.chance(50) {
                apply(&mut self.files[file].durable, change);
            }
            return;
        };
        let (mut offset, mut bytes) = (*offset, bytes.clone());
        let kind = self.random.below(100);
        match kind {
            0..30 => return,
            30..60 => {}
            60..75 => {
                // Some sectors, in any order.
                for (number, sector) in bytes.clone().chunks(SECTOR_BYTES).enumerate() {
                    if self.random.chance(50) {
                        put(&mut self.files[file].durable, offset + number * SECTOR_BYTES, sector);
                    }
                }
                return;
            }
            75..90 => {
                // Torn at any byte, with or without rubbish up to the end of the sector.
                let length = self.random.below(bytes.len() as u64 + 1) as usize;
                bytes.truncate(length);
                if kind < 82 {
                    while !(offset + bytes.len()).is_multiple_of(SECTOR_BYTES) {
                        let byte = self.random.next() as u8;
                        bytes.push(byte);
                    }
                }
            }
            90..97 if !bytes.is_empty() => {
                let place = self.random.below(bytes.len() as u64) as usize;
                bytes[place] ^= 1 << self.random.below(8);
            }
            _ if may_misdirect => {
                let room = self.files[file].durable.len().max(offset + bytes.len()).saturating_sub(floor);
                offset = floor + self.random.below((room / UNIT_BYTES) as u64 + 1) as usize * UNIT_BYTES;
            }
            _ => {}
        }
        put(&mut self.files[file].durable, offset, &bytes);
    }

    /// Dies, and comes up again with what is left.
    pub(crate) fn crash(&mut self, death: Death, may_misdirect: bool) {
        (self.is_dead, self.has_failed, self.has_lost) = (false, false, false);
        (self.operations_left, self.faults) = (None, Faults::default());
        if death == Death::Process {
            return;
        }
        for change in core::mem::take(&mut self.name_changes) {
            if self.random.chance(50) {
                apply_name(&mut self.durable_names, &change);
            }
        }
        self.names = self.durable_names.clone();
        for file in 0..self.files.len() {
            let mut changes = core::mem::take(&mut self.files[file].changes);
            self.files[file].changes_before += changes.len() as u64;
            changes.retain(|change| !matches!(change, Change::Nothing));
            let lowest = changes.iter().map(|change| match change {
                Change::Write { offset, .. } => *offset,
                Change::Length(length) => *length,
                Change::Nothing => usize::MAX,
            });
            let floor = lowest.min().unwrap_or(0).next_multiple_of(UNIT_BYTES);
            if self.random.chance(50) {
                let middle = self.random.below(changes.len() as u64 + 1) as usize;
                changes.rotate_left(middle);
            }
            let length = self.files[file].current.len();
            for change in changes {
                self.leave(file, &change, floor, may_misdirect);
            }
            // No write makes a file longer than anybody asked for.
            let durable = &mut self.files[file].durable;
            durable.truncate(durable.len().max(length));
            self.files[file].current = self.files[file].durable.clone();
        }
    }

    /// Damages durable bytes of some segment or checkpoint, or loses the last segments. Says of which, from where and to where.
    pub(crate) fn damage(&mut self) -> Option<(String, usize, usize)> {
        let names: Vec<String> = self.names.keys().filter(|name| name.contains(".tc")).cloned().collect();
        let name = names.get(self.random.below(names.len().max(1) as u64) as usize)?.clone();
        let file = self.names[&name];
        let length = self.files[file].durable.len();
        let used = self.files[file].durable.iter().rposition(|&byte| byte != 0)?;
        let from = self.random.below(used as u64 + 1) as usize;
        let to = match self.random.below(4) {
            3 => {
                // Files that somebody lost: the last segments.
                let last: Vec<String> = self.names.keys().filter(|name| name.ends_with(".tcj")).cloned().collect();
                let count = 1 + self.random.below(3) as usize;
                for name in last.iter().skip(1.max(last.len().saturating_sub(count))) {
                    self.names.remove(name);
                }
                return Some((name, 0, length));
            }
            0 => {
                self.files[file].durable[from] ^= 1 << self.random.below(8);
                from + 1
            }
            1 => {
                let to = (from + SECTOR_BYTES).min(length);
                self.files[file].durable[from..to].fill(0);
                to
            }
            _ => {
                // A write of another place, or of another file, that came here.
                let from = from - from % UNIT_BYTES;
                let to = (from + UNIT_BYTES).min(length);
                let other = self.random.below(self.files.len() as u64) as usize;
                let units = self.files[other].durable.len() / UNIT_BYTES;
                let start = self.random.below(units.max(1) as u64) as usize * UNIT_BYTES;
                let bytes = self.files[other].durable.get(start..start + to - from)?.to_vec();
                self.files[file].durable[from..to].copy_from_slice(&bytes);
                self.files[file].current = self.files[file].durable.clone();
                return Some((name, from, to));
            }
        };
        self.files[file].current = self.files[file].durable.clone();
        Some((name, from, to))
    }

    /// What each file holds now.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.names.iter().map(|(name, &file)| (name.clone(), self.files[file].current.clone())).collect()
    }

    /// The highest sequence of the inputs, and the furthest place of all streams, that any whole structure says was durable.
    pub(crate) fn highest_claim(&self) -> (u64, Place) {
        let (mut highest, mut furthest) = (0, Place::default());
        for (name, &file) in &self.names {
            let bytes = &self.files[file].current;
            if !name.ends_with(".tcj") || bytes.is_empty() {
                continue;
            }
            let Ok(header) = SegmentHeader::read(bytes.get(..UNIT_BYTES).unwrap_or_default()) else { continue };
            highest = highest.max(header.durable_sequence);
            furthest = furthest.max(header.durable_place());
            for (number, unit) in bytes.chunks_exact(UNIT_BYTES).enumerate() {
                let offset = (number * UNIT_BYTES) as u64;
                if let Ok(frame) = FrameHeader::read(unit)
                    && frame.check_place(header.identity(), offset).is_ok()
                {
                    highest = highest.max(if frame.stream == INPUT_STREAM { frame.durable_sequence } else { 0 });
                    furthest = furthest.max(frame.durable_place());
                } else if let Ok(footer) = SegmentFooter::read(unit)
                    && footer.check_place(header.identity(), offset).is_ok()
                {
                    highest = highest.max(footer.last_sequence);
                    furthest = furthest.max(footer.durable_place());
                }
            }
        }
        (highest, furthest)
    }
}

impl Disk {
    pub(crate) fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new(State {
            random,
            faults: Faults::default(),
            has_failed: false,
            has_lost: false,
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            operations_left: None,
            is_dead: false,
            ids: 0,
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A run that failed is over; whoever reports it may still look.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets everything die after so many operations.
    pub(crate) fn die_after(&self, operations: u64) {
        self.state().operations_left = Some(operations);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    pub(crate) fn medium(&self) -> Arc<dyn Medium> {
        Arc::new(self.clone())
    }
}

struct SimulatedFile {
    disk: Disk,
    file: usize,
}

struct NoLock;
impl Lock for NoLock {}

impl Medium for Disk {
    fn path(&self) -> &Path {
        Path::new("simulated")
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.tick()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn MediumFile>> {
        let mut state = self.state();
        let file = if access == Access::Create { state.create(name)? } else { state.find(name)? };
        Ok(Box::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        state.name_changes.push(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state().sync_directory()
    }

    fn available_bytes(&self) -> Option<u64> {
        None
    }

    fn create_directory(&self) -> io::Result<()> {
        self.state().tick()
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        Ok(Some(Box::new(NoLock)))
    }

    fn status(&self, _journal: JournalId, _last: u64) -> io::Result<Option<StatusWriter>> {
        Ok(None)
    }

    fn storage(&self, _options: &Options, pool: &mut Pool) -> io::Result<(Box<dyn Storage>, Vec<Notice>)> {
        pool.forget_registered();
        Ok((Box::new(SimulatedStorage::new(self.clone())), Vec::new()))
    }

    fn random_id(&self) -> io::Result<JournalId> {
        let mut state = self.state();
        state.ids += 1;
        Ok(JournalId([state.ids; 16]))
    }
}

impl MediumFile for SimulatedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.tick()?;
        let rest = state.files[self.file].current.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Each sector an operation of its own, so that the process dies between any two.
        for (number, sector) in bytes.chunks(8 * SECTOR_BYTES).enumerate() {
            let mut state = self.disk.state();
            state.tick()?;
            let offset = offset as usize + number * 8 * SECTOR_BYTES;
            state.change(self.file, Change::Write { offset, bytes: sector.to_vec() });
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.tick()?;
        Ok(state.files[self.file].current.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.state().set_length(self.file, length)
    }

    fn allocate(&self, length: u64, _is_wanted: bool) -> io::Result<bool> {
        self.disk.state().set_length(self.file, length).map(|()| true)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let end = state.begin_sync(self.file)?;
        state.end_sync(self.file, end)
    }

    fn forget_cache(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.tick()?;
        let FileState { durable, current, changes, .. } = &mut state.files[self.file];
        current.clone_from(durable);
        changes.iter().for_each(|change| apply(current, change));
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let mut state = self.disk.state();
        state.tick()?;
        let rest = state.files[self.file].current.get(offset as usize..).unwrap_or_default();
        Ok(rest.iter().position(|&byte| byte != 0).map(|found| offset + found as u64))
    }
}
