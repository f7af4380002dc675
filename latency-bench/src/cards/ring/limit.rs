//! What the machine can do at best, by the simplest code: one line one way, and a stream of lines.

#![allow(unsafe_code)]

use super::Cores;
use super::contenders::BATCH_EVENTS;
use anyhow::ensure;
use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// Nanoseconds for one cache line from core to core: half a round trip of a word that two threads write in turn. No stamps.
pub(super) fn one_way_ns(cores: Cores, round_trips: u64) -> anyhow::Result<f64> {
    let word = CachePadded::new(AtomicU64::new(0));
    thread::scope(|scope| {
        let answering = scope.spawn(|| {
            cores.pin_reader();
            for turn in 0..=round_trips {
                while word.load(Ordering::Acquire) != 2 * turn + 1 {
                    spin_loop();
                }
                word.store(2 * turn + 2, Ordering::Release);
            }
        });
        // The first turn waits for the other thread to start.
        let mut start = Instant::now();
        for turn in 0..=round_trips {
            word.store(2 * turn + 1, Ordering::Release);
            while word.load(Ordering::Acquire) != 2 * turn + 2 {
                spin_loop();
            }
            if turn == 0 {
                start = Instant::now();
            }
        }
        let elapsed_ns = start.elapsed().as_nanos() as f64;
        answering.join().map_err(|_| anyhow::anyhow!("the answering thread panicked"))?;
        Ok(elapsed_ns / round_trips as f64 / 2.0)
    })
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// Lines that are handed over block by block, with a word each way and nothing in the lines themselves.
struct Stream {
    lines: Box<[UnsafeCell<Line>]>,
    /// Place of the first line that is used.
    first: usize,
    capacity: usize,
    written: CachePadded<AtomicU64>,
    read: CachePadded<AtomicU64>,
}

// SAFETY: a block belongs to the writer until `written` is stored with Release and to the reader until `read` is.
unsafe impl Sync for Stream {}

impl Stream {
    fn block(&self, position: u64) -> &[UnsafeCell<Line>] {
        let start = self.first + position as usize % self.capacity;
        &self.lines[start..start + BATCH_EVENTS]
    }
}

/// Lines a second, in millions, that are copied in by one core and summed up by the other, block after block. The lines
/// begin `offset_lines` into their memory.
pub(super) fn stream(cores: Cores, capacity: usize, offset_lines: usize, lines: u64) -> anyhow::Result<f64> {
    let stream = Stream {
        lines: (0..capacity + offset_lines).map(|_| UnsafeCell::default()).collect(),
        first: offset_lines,
        capacity,
        written: CachePadded::new(AtomicU64::new(0)),
        read: CachePadded::new(AtomicU64::new(u64::MAX)),
    };
    let block: Vec<Line> = black_box((0..BATCH_EVENTS as u64).map(|number| Line([number; 8])).collect());
    let blocks = lines / BATCH_EVENTS as u64;
    let lines = blocks * BATCH_EVENTS as u64;
    let (elapsed, sum) = thread::scope(|scope| {
        let reading = scope.spawn(|| {
            cores.pin_reader();
            stream.read.store(0, Ordering::Release);
            let (mut position, mut sum) = (0, 0_u64);
            while position < lines {
                let written = stream.written.load(Ordering::Acquire);
                if written == position {
                    spin_loop();
                }
                while position < written {
                    for line in stream.block(position) {
                        // SAFETY: the writer has handed the block over and waits for `read` before it writes it again.
                        let Line(words) = unsafe { &*line.get() };
                        sum = words[..7].iter().fold(sum, |sum, word| sum.wrapping_add(*word));
                    }
                    position += BATCH_EVENTS as u64;
                    stream.read.store(position, Ordering::Release);
                }
            }
            sum
        });
        while stream.read.load(Ordering::Acquire) == u64::MAX {
            spin_loop();
        }
        let start = Instant::now();
        for number in 0..blocks {
            let position = number * BATCH_EVENTS as u64;
            while position + BATCH_EVENTS as u64 > stream.read.load(Ordering::Acquire) + capacity as u64 {
                spin_loop();
            }
            let place = UnsafeCell::raw_get(stream.block(position).as_ptr());
            // SAFETY: `block` has checked the bounds; the reader has given the block back, or never had it.
            unsafe { place.copy_from_nonoverlapping(block.as_ptr(), BATCH_EVENTS) };
            stream.written.store(position + BATCH_EVENTS as u64, Ordering::Release);
        }
        let sum = reading.join();
        (start.elapsed(), sum)
    });
    let sum = sum.map_err(|_| anyhow::anyhow!("the reading thread panicked"))?;
    let of_block: u64 = (0..BATCH_EVENTS as u64).sum::<u64>() * 7;
    ensure!(sum == of_block.wrapping_mul(blocks), "the stream did not carry what was written");
    Ok(lines as f64 / elapsed.as_secs_f64() / 1e6)
}
