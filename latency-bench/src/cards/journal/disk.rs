//! What the disk itself can do: the bench's own loops without a page cache in between, and two usual ways to journal.

use anyhow::Context as _;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// Bytes of one write or read.
const PIECE_BYTES: usize = 256 << 10;
/// Writes or reads under way at once.
const DEPTH: usize = 8;
/// Bytes of the small write that is synced.
const UNIT_BYTES: usize = 4096;
/// `O_DIRECT` on Linux for x86-64 and other machines that follow the generic table.
const O_DIRECT: i32 = if cfg!(target_arch = "aarch64") { 0o200_000 } else { 0o40_000 };

/// Memory as direct transfers want it.
#[repr(C, align(4096))]
struct Piece([u8; PIECE_BYTES]);

impl Piece {
    fn filled(byte: u8) -> Box<Self> {
        Box::new(Self([byte; PIECE_BYTES]))
    }
}

pub(super) fn open_direct(path: &Path) -> anyhow::Result<File> {
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(O_DIRECT).open(path);
    opened.with_context(|| format!("{}: cannot be opened past the page cache", path.display()))
}

/// Moves `bytes` at the greatest depth; the operation gets file, memory and offset.
fn transfer(
    path: &Path,
    bytes: u64,
    operate: impl Fn(&File, &mut [u8], u64) -> std::io::Result<()> + Sync,
) -> anyhow::Result<()> {
    let file = open_direct(path)?;
    let work = |thread: usize| -> std::io::Result<()> {
        let mut piece = Piece::filled(thread as u8 + 1);
        let mut offset = (thread * PIECE_BYTES) as u64;
        while offset < bytes {
            operate(&file, &mut piece.0, offset)?;
            offset += (DEPTH * PIECE_BYTES) as u64;
        }
        Ok(())
    };
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..DEPTH).map(|thread| scope.spawn(move || work(thread))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, std::io::Result<()>>| thread.join().map_err(|_| ());
        threads
            .into_iter()
            .try_for_each(|thread| join(thread).unwrap_or_else(|()| Err(std::io::ErrorKind::Other.into())))
    })?;
    Ok(())
}

/// Bytes a second, written over a file that was written before, the last sync included.
pub(super) fn write_rate(path: &Path, bytes: u64) -> anyhow::Result<f64> {
    let write = |file: &File, piece: &mut [u8], offset| file.write_all_at(piece, offset);
    transfer(path, bytes, write)?;
    let file = open_direct(path)?;
    file.sync_all()?;
    let start = Instant::now();
    transfer(path, bytes, write)?;
    file.sync_data()?;
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

/// Bytes a second, read from a file that [`write_rate`] left.
pub(super) fn read_rate(path: &Path, bytes: u64) -> anyhow::Result<f64> {
    let start = Instant::now();
    transfer(path, bytes, |file, piece, offset| file.read_exact_at(piece, offset))?;
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

/// Nanoseconds of a small write and its sync, over bytes that were written before: one figure for each of `count`.
pub(super) fn synced_writes(path: &Path, count: usize) -> anyhow::Result<Vec<u64>> {
    let file = open_direct(path)?;
    let piece = Piece::filled(9);
    let mut found = Vec::with_capacity(count);
    for number in 0..count {
        let start = Instant::now();
        file.write_all_at(&piece.0[..UNIT_BYTES], (number * UNIT_BYTES) as u64)?;
        file.sync_data()?;
        found.push(start.elapsed().as_nanos() as u64);
    }
    Ok(found)
}

/// Records a second through a `BufWriter` in the thread that makes them, synced each millisecond.
pub(super) fn buffered_in_thread(path: &Path, count: u64) -> anyhow::Result<f64> {
    let file = File::create(path)?;
    let mut writer = BufWriter::with_capacity(1 << 20, &file);
    let start = Instant::now();
    let mut synced_at = start;
    for number in 0..count {
        let record = [number; 8];
        record.iter().try_for_each(|word| writer.write_all(&word.to_le_bytes()))?;
        if number.is_multiple_of(256) && synced_at.elapsed() > Duration::from_millis(1) {
            writer.flush()?;
            file.sync_data()?;
            synced_at = Instant::now();
        }
    }
    writer.flush()?;
    file.sync_data()?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// Records a second through a channel to a `BufWriter` in another thread, which syncs each millisecond.
pub(super) fn buffered_beside(path: &Path, count: u64) -> anyhow::Result<f64> {
    let file = File::create(path)?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<[u64; 8]>(1 << 14);
        let writing = scope.spawn(move || -> std::io::Result<()> {
            let mut writer = BufWriter::with_capacity(1 << 20, &file);
            let mut synced_at = Instant::now();
            for (number, record) in receiver.into_iter().enumerate() {
                record.iter().try_for_each(|word| writer.write_all(&word.to_le_bytes()))?;
                if number.is_multiple_of(256) && synced_at.elapsed() > Duration::from_millis(1) {
                    writer.flush()?;
                    file.sync_data()?;
                    synced_at = Instant::now();
                }
            }
            writer.flush()?;
            file.sync_data()
        });
        for number in 0..count {
            if sender.send([number; 8]).is_err() {
                break;
            }
        }
        drop(sender);
        writing.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
    })?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
