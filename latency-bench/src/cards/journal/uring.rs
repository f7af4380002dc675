//! What the disk can do for one thread that keeps long writes or reads under way by io_uring, as the journal does.
#![allow(unsafe_code)]

use super::disk::open_direct;
use anyhow::{Context as _, ensure};
use io_uring::{IoUring, opcode, types::Fd};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::time::Instant;

/// Bytes of one write or read: a frame of the journal.
const PIECE_BYTES: usize = 512 << 10;
/// Writes or reads under way at once: as many as the journal has.
const DEPTH: usize = 8;
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Memory for all pieces, on huge pages where the machine gives them: as the journal's staging is.
struct Pieces {
    mapping: *mut c_void,
    first: *mut u8,
}

const MAPPING_BYTES: usize = DEPTH * PIECE_BYTES + HUGE_PAGE_BYTES;

impl Pieces {
    fn new() -> anyhow::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let mapping = unsafe {
            mmap_anonymous(ptr::null_mut(), MAPPING_BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        let first = mapping.cast::<u8>().map_addr(|address| address.next_multiple_of(HUGE_PAGE_BYTES));
        // SAFETY: from the first whole huge page of the mapping on, it has at least as many bytes as this.
        let _ = unsafe { madvise(first.cast(), DEPTH * PIECE_BYTES, Advice::LinuxHugepage) };
        let mut pieces = Self { mapping, first };
        (0..DEPTH).for_each(|index| pieces.get(index).fill(index as u8 + 1));
        Ok(pieces)
    }

    fn get(&mut self, index: usize) -> &mut [u8] {
        assert!(index < DEPTH, "there are {DEPTH} pieces");
        // SAFETY: the mapping has room for the pieces from `first` on, is readable and writable, and is borrowed as a whole.
        unsafe { core::slice::from_raw_parts_mut(self.first.add(index * PIECE_BYTES), PIECE_BYTES) }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        // SAFETY: the mapping is the one made above, what `get` gave is gone, and so is the kernel: after a failure pieces are
        // never dropped.
        let _ = unsafe { munmap(self.mapping, MAPPING_BYTES) };
    }
}

/// What is done to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// The same bytes again and again, from memory that nobody changes: as fio does it.
    Write,
    /// Each piece made anew before it is written: as everybody does who has something to write.
    WriteNew,
    Read,
}

/// Bytes a second over a file that was written before and has at least so many bytes, the last sync included.
pub(super) fn rate(path: &Path, bytes: u64, work: Work) -> anyhow::Result<f64> {
    let file = open_direct(path)?;
    let mut ring = IoUring::new(DEPTH as u32 * 2).context("io_uring is refused")?;
    let mut pieces = Pieces::new()?;
    let start = Instant::now();
    if let Err(error) = transfer(&mut ring, &file, &mut pieces, bytes, work) {
        // The kernel may still come to them.
        core::mem::forget(pieces);
        return Err(error);
    }
    if work != Work::Read {
        file.sync_data()?;
    }
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

/// What the piece at this offset is filled with when it is new.
fn new_byte(offset: u64) -> u8 {
    (offset / PIECE_BYTES as u64) as u8 | 1 << 7
}

fn transfer(ring: &mut IoUring, file: &File, pieces: &mut Pieces, bytes: u64, work: Work) -> anyhow::Result<()> {
    let mut free: Vec<usize> = (0..DEPTH).collect();
    let (mut begun, mut done) = (0, 0);
    loop {
        while begun < bytes
            && let Some(index) = free.pop()
        {
            let piece = pieces.get(index);
            if work == Work::WriteNew {
                piece.fill(new_byte(begun));
            }
            let (descriptor, length) = (Fd(file.as_raw_fd()), (bytes - begun).min(PIECE_BYTES as u64) as u32);
            let entry = match work {
                Work::Read => opcode::Read::new(descriptor, piece.as_mut_ptr(), length).offset(begun).build(),
                _ => opcode::Write::new(descriptor, piece.as_ptr(), length).offset(begun).build(),
            };
            // SAFETY: the piece is not touched before its completion was reaped, and not unmapped as long as one is missing.
            unsafe { ring.submission().push(&entry.user_data(index as u64)) }?;
            begun += u64::from(length);
            ring.submit()?;
        }
        if free.len() == DEPTH {
            break;
        }
        ring.submit_and_wait(1)?;
        for entry in ring.completion() {
            free.push(entry.user_data() as usize);
            done += u64::try_from(entry.result()).map_err(|_| std::io::Error::from_raw_os_error(-entry.result()))?;
        }
    }
    ensure!(done == bytes, "{done} of {bytes} bytes were moved");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_and_read_and_a_short_file_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw");
        let bytes = 9 * PIECE_BYTES as u64 + 4096;
        for work in [Work::Write, Work::WriteNew] {
            assert!(rate(&path, bytes, work).unwrap() > 0.0);
            let written = std::fs::read(&path).unwrap();
            assert_eq!(written.len() as u64, bytes);
            let is_new = |(offset, &byte): (u64, &u8)| byte == new_byte(offset);
            assert_eq!((0..).zip(&written).all(is_new), work == Work::WriteNew);
            assert_eq!(written.iter().all(|byte| (1..=DEPTH as u8).contains(byte)), work == Work::Write);
        }
        assert!(rate(&path, bytes, Work::Read).unwrap() > 0.0);
        let error = rate(&path, bytes + 4096, Work::Read).unwrap_err().to_string();
        assert_eq!(error, format!("{bytes} of {} bytes were moved", bytes + 4096));
    }
}
