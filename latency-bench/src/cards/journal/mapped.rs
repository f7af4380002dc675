//! A usual way to journal: a mapped file and `msync`.
#![allow(unsafe_code)]

use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};
use std::fs::OpenOptions;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

const PAGE_BYTES: usize = 4096;

/// Records a second into a mapped file that has its blocks already, synced each millisecond by the thread that makes them.
pub(super) fn mapped(path: &Path, count: u64) -> anyhow::Result<f64> {
    let length = (count as usize * 64).next_multiple_of(PAGE_BYTES).max(PAGE_BYTES);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length as u64)?;
    file.sync_all()?;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing, and nobody else writes the file.
    let start =
        unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0)? };
    let result = fill(start.cast(), count);
    // SAFETY: the mapping is the one made above, and nothing points into it any more.
    unsafe { munmap(start, length)? };
    result
}

fn fill(words: *mut u64, count: u64) -> anyhow::Result<f64> {
    let start = Instant::now();
    let (mut synced_at, mut synced) = (start, 0);
    for number in 0..count as usize {
        for word in 0..8 {
            // SAFETY: the mapping has room for 64 bytes of each record, and begins at a page.
            unsafe { words.add(number * 8 + word).write(number as u64) };
        }
        let is_last = number + 1 == count as usize;
        if is_last || number.is_multiple_of(256) && synced_at.elapsed() > Duration::from_millis(1) {
            let end = ((number + 1) * 64).next_multiple_of(PAGE_BYTES);
            let from = synced / PAGE_BYTES * PAGE_BYTES;
            // SAFETY: whole pages within the mapping.
            unsafe { msync(words.cast::<u8>().add(from).cast(), end - from, MsyncFlags::SYNC)? };
            (synced, synced_at) = ((number + 1) * 64, Instant::now());
        }
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
