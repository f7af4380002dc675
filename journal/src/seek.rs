//! Finding where to begin to read.

use crate::directory::{Catalog, Window};
use crate::format::{BLOCK_BYTES, FrameHeader, Record, SegmentHeader};
use crate::index::{IndexEntry, IndexHeader, read_entries};
use crate::stream::{INPUT_STREAM, Stream};
use crate::walk::{Positions, Walk};
use std::io;
use tickcore_book::{Sequence, TimestampNs};

/// Where to begin to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is there.
    #[default]
    Beginning,
    /// At this record, or at the first one after it that is there.
    Sequence(Sequence),
    /// At the first record, in the order of the journal, whose exchange time is this or later. Clocks may have stepped
    /// back: records behind it may be earlier again. The times of outputs are in no index: for these a journal is read from its
    /// first segment.
    Time(TimestampNs),
}

impl Start {
    /// How many records of a frame stand before the start: all, if it is not in this frame.
    pub(crate) fn skipped_count(self, records: &[Record]) -> usize {
        match self {
            Self::Beginning => 0,
            Self::Sequence(sequence) => records.partition_point(|record| record.sequence < sequence),
            Self::Time(time) => {
                records.iter().position(|record| record.event.exchange_time >= time).unwrap_or(records.len())
            }
        }
    }

    /// Whether every record before a place is before the start, when that place begins with `first_sequence` and the
    /// highest time before it is `highest_time_before`.
    fn is_behind(self, first_sequence: u64, highest_time_before: u64) -> bool {
        match self {
            Self::Beginning => false,
            Self::Sequence(sequence) => first_sequence <= sequence.0,
            Self::Time(time) => highest_time_before < time.0,
        }
    }
}

/// The segment to begin with: the last one that has nothing of the start's before it.
pub(crate) fn find_segment(catalog: &Catalog, stream: Stream, start: Start) -> usize {
    let mut found = 0;
    let mut highest_time = 0;
    for (index, segments) in catalog.segments.windows(2).enumerate() {
        // Version 1 does not state the highest time, an unsealed segment states nothing, and no footer speaks of outputs.
        let footer = segments[0].footer.filter(|footer| footer.version > 1 && stream == Stream::INPUTS);
        match (start, footer) {
            (Start::Time(_), None) => break,
            (_, footer) => highest_time = highest_time.max(footer.map_or(0, |footer| footer.highest_time)),
        }
        let first_sequence = Positions::of_header(&segments[1].header).of_stream(stream.number()).next_sequence;
        if !start.is_behind(first_sequence, highest_time) {
            break;
        }
        found = index + 1;
    }
    found
}

/// Moves a walk that stands at the start of its segment to the last indexed frame that has nothing of the start's before
/// it. Without a good index it stays where it is: that costs time and nothing else.
pub(crate) fn skip_by_index(walk: &mut Walk, start: Start) -> io::Result<()> {
    let header = walk.header;
    let entries = read_index(&mut walk.window, &header)?;
    let behind = |entry: &&IndexEntry| start.is_behind(entry.first_sequence, entry.highest_time_before);
    let Some(entry) = entries.iter().take_while(behind).last() else { return Ok(()) };
    let unit = walk.window.at(entry.offset, BLOCK_BYTES as usize)?;
    if let Ok(frame) = FrameHeader::read(unit)
        && frame.check_place(header.identity(), entry.offset).is_ok()
        && frame.stream == INPUT_STREAM
        && frame.first_sequence == entry.first_sequence
    {
        walk.resume_at(entry.offset, Some(frame.position()));
    }
    Ok(())
}

/// The entries of a sealed segment's index; none if there is no good one.
fn read_index(window: &mut Window, header: &SegmentHeader) -> io::Result<Vec<IndexEntry>> {
    let Some(last) = window.length()?.checked_sub(BLOCK_BYTES) else { return Ok(Vec::new()) };
    let footer = crate::format::SegmentFooter::read(window.at(last, BLOCK_BYTES as usize)?);
    let Ok(footer) = footer.and_then(|footer| footer.check_place(header.identity(), last).map(|()| footer)) else {
        return Ok(Vec::new());
    };
    let length = u64::from(footer.index_bytes);
    let Some(offset) = last.checked_sub(length).filter(|_| length > 0) else { return Ok(Vec::new()) };
    let bytes = window.at(offset, length as usize)?;
    let whole = IndexHeader::read(bytes, header.identity()).is_ok_and(|index| u64::from(index.index_bytes) == length);
    if !whole || bytes.len() as u64 != length {
        return Ok(Vec::new());
    }
    Ok(read_entries(bytes, header.identity().seed()).unwrap_or_default())
}
