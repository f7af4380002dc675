//! Batch: the whole day is in memory before the clock starts.

use super::BboSum;
use super::verify::Verified;
use crate::card::Machine;
use crate::day::Day;
use crate::naive::NaiveBooks;
use crate::walk::walk;
use anyhow::ensure;
use std::hint::black_box;
use std::time::Instant;
use tickcore_allocations::calls_during;
use tickcore_book::{Arena, Books, Capacity};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::source::{Filled, ItchBytes, ItchOptions, Source, SourceError};

/// Events decoded before they are applied, as many as the engine takes: 14 KB, which stay in the first-level cache.
const BATCH_EVENTS: usize = 256;

/// One round, every pass over the same day: nanoseconds per message.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchRound {
    pub(super) ours_ns: f64,
    pub(super) naive_ns: f64,
    pub(super) walk_ns: f64,
    pub(super) decode_ns: f64,
    /// Calls to the allocator while our books were kept.
    pub(super) allocations: u64,
}

/// Measures all passes once. Each checks that it saw the whole day as it was verified.
pub(super) fn round(
    day: &Day,
    capacity: Capacity,
    verified: &Verified,
    machine: &mut Machine,
) -> anyhow::Result<BatchRound> {
    let (ours_ns, allocations) = ours(day, capacity, verified, machine)?;

    let start = Instant::now();
    let walked = walk(black_box(&day.bytes));
    let walk_ns = ns_per_message(start, day);
    ensure!(walked.messages == verified.messages, "the walk saw {} messages, not all", walked.messages);

    let mut source = ItchBytes::new(&day.bytes, &ItchOptions::default());
    let mut batch = EventBatch::new(BATCH_EVENTS);
    let start = Instant::now();
    decode(&mut source, &mut batch)?;
    let decode_ns = ns_per_message(start, day);
    ensure!(source.counts().messages == verified.messages, "the decoder did not see all messages");

    let mut naive = NaiveBooks::new();
    let start = Instant::now();
    let naive_sum = keep_naive_books(&day.bytes, &mut naive);
    let naive_ns = ns_per_message(start, day);
    ensure!(naive_sum == verified.bbo_sum, "the naive book saw other BBO changes than in the pass that verified it");

    Ok(BatchRound { ours_ns, naive_ns, walk_ns, decode_ns, allocations })
}

fn ns_per_message(start: Instant, day: &Day) -> f64 {
    start.elapsed().as_nanos() as f64 / day.messages as f64
}

/// Nanoseconds per message and calls to the allocator, on fresh books in an arena that was touched before.
fn ours(day: &Day, capacity: Capacity, verified: &Verified, machine: &mut Machine) -> anyhow::Result<(f64, u64)> {
    let arena = Arena::new(capacity.arena_bytes())?;
    let mut books = Books::new(&arena, capacity)?;
    machine.note_huge_pages();
    let mut source = ItchBytes::new(&day.bytes, &ItchOptions::default());
    let mut batch = EventBatch::new(BATCH_EVENTS);
    let start = Instant::now();
    let (sum, allocations) = calls_during(|| keep_books(&mut source, &mut batch, &mut books));
    let ours_ns = ns_per_message(start, day);
    ensure!(sum? == verified.bbo_sum, "ours saw other BBO changes than in the pass that verified it");
    Ok((ours_ns, allocations))
}

/// The loop of ours, as the engine's `inline` topology has it: decode a batch, look ahead over what is at hand, apply its
/// events one by one, look at every BBO that changed.
fn keep_books(
    source: &mut ItchBytes<'_>,
    batch: &mut EventBatch,
    books: &mut Books<'_>,
) -> Result<BboSum, SourceError> {
    let mut sum = BboSum::default();
    loop {
        batch.clear();
        if source.fill(batch, usize::MAX)? == Filled::End {
            return Ok(sum);
        }
        let events = batch.as_slice();
        books.begin_look_ahead(events);
        for (place, event) in events.iter().enumerate() {
            books.look_ahead(&events[place..]);
            if books.apply(event).bbo_changed {
                sum.take_ours(&books.bbo(event.instrument));
            }
        }
    }
}

/// The loop of the baseline, as plain as its book.
fn keep_naive_books(file: &[u8], books: &mut NaiveBooks) -> BboSum {
    let mut sum = BboSum::default();
    let mut rest = file;
    while let [high, low, following @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || following.len() < length {
            break;
        }
        let (message, after) = following.split_at(length);
        rest = after;
        if let Some(bbo) = books.on_message(message) {
            sum.take_naive(&bbo);
        }
    }
    sum
}

fn decode(source: &mut ItchBytes<'_>, batch: &mut EventBatch) -> Result<(), SourceError> {
    loop {
        batch.clear();
        if source.fill(batch, usize::MAX)? == Filled::End {
            return Ok(());
        }
        black_box(batch.as_slice());
    }
}
