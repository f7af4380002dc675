//! The journal's own runs.

use anyhow::ensure;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use tickcore_book::{Event, InstrumentId, Kind, OrderId, Sequence, TimestampNs};
use tickcore_journal::{Helper, Metadata, Options, Reader, Writer, info};

/// Segments where the default ones would be longer than what is written: most of it would be written before it is timed.
const SHORT_SEGMENT_BYTES: u64 = 64 << 20;
/// Appends that are timed together.
const RUN: usize = 64;
/// Events between two looks at the clock of a paced run.
const PACED_BATCH: u64 = 16;

fn event(number: u64) -> Event {
    let mut event = Event::new(Kind::Add, InstrumentId(number as u32 % 1000 + 1), TimestampNs(number));
    event.order_id = OrderId(number);
    event
}

/// Lets the calling thread run on every core that the process may use: threads inherit the mask of whoever starts them.
pub(super) fn floats() {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    let _ = sched_setaffinity(None, &all);
}

/// A writer with a helper beside it, which ends with the writer.
fn writer(directory: &Path, records: u64, segment_bytes: u64, is_prepared: bool) -> anyhow::Result<Writer> {
    // Prepared at the engine's rate.
    let (helper, handle) = Helper::new(if is_prepared { 1 << 30 } else { u64::MAX >> 1 }, None);
    std::thread::Builder::new().name("tickcore-prep".to_owned()).spawn(move || {
        // As in the engine, where this thread is not the process's first: that is the pinned one here.
        floats();
        helper.run();
    })?;
    let segments = if is_prepared { (records * 66).div_ceil(segment_bytes).max(2) } else { 2 };
    let options = Options {
        helper: Some(handle),
        segment_bytes,
        staging_bytes: 64 << 20,
        prepared_ahead: Duration::from_secs(1),
        peak_bytes_per_second: segments * segment_bytes,
        // As the engine's journal where there is a core for it.
        has_own_core: true,
        ..Options::default()
    };
    let mut writer = Writer::create(directory, options, Metadata::default())?;
    let start = Instant::now();
    while is_prepared && writer.prepared_count() < segments.min(tickcore_journal::PREPARED_MAX) {
        writer.poll()?;
        writer.wait(Duration::from_millis(1))?;
        ensure!(start.elapsed() < Duration::from_secs(60), "the pool is not filled: {:?}", writer.warning());
    }
    Ok(writer)
}

/// Records a second until the last is durable, as fast as they are taken.
pub(super) fn throughput(
    directory: &Path,
    records: u64,
    is_prepared: bool,
    backend: &mut String,
) -> anyhow::Result<f64> {
    let default_bytes = Options::default().segment_bytes;
    let is_long = is_prepared && records * 64 >= default_bytes;
    let segment_bytes = if is_long { default_bytes } else { SHORT_SEGMENT_BYTES };
    let mut writer = writer(directory, records, segment_bytes, is_prepared)?;
    *backend = writer.backend().to_string();
    let start = Instant::now();
    let mut number = 0;
    while number < records {
        let room = (writer.room() as u64).min(records - number).min(4096);
        for _ in 0..room {
            number += 1;
            writer.append(Sequence(number), &event(number))?;
        }
        writer.poll()?;
        if room == 0 {
            writer.wait(Duration::from_micros(100))?;
        }
    }
    writer.flush()?;
    let elapsed = start.elapsed();
    ensure!(writer.finish()?.durable == Sequence(records), "not every record is durable");
    Ok(records as f64 / elapsed.as_secs_f64())
}

/// Drops what is cached of the journal's files.
pub(super) fn forget(directory: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let file = File::open(entry?.path())?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// Records a second, every check on.
pub(super) fn read(directory: &Path, records: u64) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut reader = Reader::open(directory)?;
    let mut count = 0;
    let mut sum = 0_u64;
    while let Some(batch) = reader.next_batch()? {
        count += batch.len() as u64;
        sum = batch.iter().fold(sum, |sum, record| sum.wrapping_add(record.event.order_id.0));
    }
    let elapsed = start.elapsed();
    ensure!(count == records && sum == records * (records + 1) / 2, "read {count} of {records} records, or wrong ones");
    Ok(records as f64 / elapsed.as_secs_f64())
}

/// What an append adds to a loop over events.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendCost {
    pub(super) p50_ns: f64,
    pub(super) p999_ns: f64,
}

pub(super) fn append_cost(directory: &Path, records: u64) -> anyhow::Result<AppendCost> {
    let mut writer = writer(directory, records, SHORT_SEGMENT_BYTES, true)?;
    let mut ours = Vec::new();
    let mut empty = Vec::new();
    let mut number = 0;
    while number < records {
        let start = Instant::now();
        for next in number + 1..=number + RUN as u64 {
            black_box(&event(next));
        }
        empty.push(start.elapsed().as_nanos() as u64);
        while writer.room() < 2 * RUN {
            writer.poll()?;
        }
        let start = Instant::now();
        for _ in 0..RUN {
            number += 1;
            writer.append(Sequence(number), black_box(&event(number)))?;
        }
        ours.push(start.elapsed().as_nanos() as u64);
        writer.poll()?;
    }
    writer.finish()?;
    let at = |values: &mut Vec<u64>, part: f64| {
        values.sort_unstable();
        values[(values.len() as f64 * part) as usize] as f64 / RUN as f64
    };
    Ok(AppendCost {
        p50_ns: at(&mut ours, 0.5) - at(&mut empty, 0.5),
        p999_ns: at(&mut ours, 0.999) - at(&mut empty, 0.999),
    })
}

/// A run at a rate.
pub(super) struct Paced {
    /// From when a record was due until it was durable.
    pub(super) latencies_ns: Vec<u64>,
    pub(super) space_overhead: f64,
}

pub(super) fn paced(directory: &Path, per_second: u64, milliseconds: u64) -> anyhow::Result<Paced> {
    let records = per_second * milliseconds / 1000;
    let mut writer = writer(directory, records, SHORT_SEGMENT_BYTES, true)?;
    let due_ns = |number: u64| number * 1_000_000_000 / per_second;
    let mut latencies_ns = Vec::with_capacity(records as usize);
    let (mut number, mut durable) = (0, 0);
    let start = Instant::now();
    while durable < records {
        let now_ns = start.elapsed().as_nanos() as u64;
        while number < records && due_ns(number) <= now_ns && writer.room() as u64 > PACED_BATCH {
            number += 1;
            writer.append(Sequence(number), &event(number))?;
        }
        let found = writer.poll()?.durable.0;
        if found > durable {
            let now_ns = start.elapsed().as_nanos() as u64;
            latencies_ns.extend((durable..found).map(|index| now_ns.saturating_sub(due_ns(index))));
            durable = found;
        }
    }
    writer.finish()?;
    let info = info(directory)?;
    Ok(Paced { latencies_ns, space_overhead: info.bytes as f64 / (info.record_count * 64) as f64 - 1.0 })
}
