//! Marks: where a venue's channels stood, enough to resume their feeds.

use crate::format::{FrameHeader, MARKS_MAX};
use crate::stream::INPUT_STREAM;
use tickcore_book::Sequence;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Channels whose last places a segment's footer can name.
pub(crate) const LAST_MARKS_MAX: usize = 64;

/// Where a venue's channel stood at some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The channel's number.
    pub channel: u32,
    /// The record of the inputs that came from there.
    pub sequence: Sequence,
    /// The venue's own number of the message that it was made of.
    pub venue_sequence: u64,
}

/// A [`Mark`] as it stands in the header of its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct FrameMark {
    pub(crate) channel: u32,
    /// Which record of the frame, from 0.
    pub(crate) record: u32,
    pub(crate) venue_sequence: u64,
}

/// The marks of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameMarks {
    pub(crate) count: u32,
    pub(crate) marks: [FrameMark; MARKS_MAX],
}

impl FrameMarks {
    pub(crate) fn used(&self) -> &[FrameMark] {
        &self.marks[..(self.count as usize).min(MARKS_MAX)]
    }

    pub(crate) fn used_mut(&mut self) -> &mut [FrameMark] {
        &mut self.marks[..(self.count as usize).min(MARKS_MAX)]
    }

    pub(crate) fn has(&self, channel: u32) -> bool {
        self.used().iter().any(|mark| mark.channel == channel)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count as usize >= MARKS_MAX
    }

    /// Adds a mark, if there is room.
    pub(crate) fn push(&mut self, mark: FrameMark) {
        if let Some(free) = self.marks.get_mut(self.count as usize) {
            *free = mark;
            self.count += 1;
        }
    }

    /// Takes out the marks of the first `record_count` records: those of a frame that ends there. The others are of the
    /// frame behind it.
    pub(crate) fn take(&mut self, record_count: usize) -> Self {
        let (mut taken, mut left) = (Self::default(), Self::default());
        for &mark in self.used() {
            match (mark.record as usize).checked_sub(record_count) {
                None => taken.push(mark),
                Some(record) => left.push(FrameMark { record: record as u32, ..mark }),
            }
        }
        *self = left;
        taken
    }
}

/// The last place of one channel in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct LastMark {
    channel: u32,
    /// 0.
    reserved: u32,
    sequence: u64,
    venue_sequence: u64,
}

/// The last places of a segment's channels, in the order in which they came first. Of more channels than
/// [`LAST_MARKS_MAX`] those that came later are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct LastMarks {
    count: u64,
    marks: [LastMark; LAST_MARKS_MAX],
}

impl Default for LastMarks {
    fn default() -> Self {
        let none = LastMark { channel: 0, reserved: 0, sequence: 0, venue_sequence: 0 };
        Self { count: 0, marks: [none; LAST_MARKS_MAX] }
    }
}

impl LastMarks {
    /// Takes note of a frame's marks.
    pub(crate) fn note(&mut self, frame: &FrameHeader) {
        for mark in frame.marks() {
            let last = LastMark {
                channel: mark.channel,
                reserved: 0,
                sequence: mark.sequence.0,
                venue_sequence: mark.venue_sequence,
            };
            let count = (self.count as usize).min(LAST_MARKS_MAX);
            match self.marks[..count].iter_mut().find(|found| found.channel == mark.channel) {
                Some(found) => *found = last,
                None if count < LAST_MARKS_MAX => {
                    self.marks[count] = last;
                    self.count += 1;
                }
                None => {}
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Mark> + '_ {
        let used = &self.marks[..(self.count as usize).min(LAST_MARKS_MAX)];
        used.iter().map(|last| Mark {
            channel: last.channel,
            sequence: Sequence(last.sequence),
            venue_sequence: last.venue_sequence,
        })
    }
}

impl FrameHeader {
    /// The marks of the frame's records; none in the outputs.
    pub(crate) fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        let count = if self.stream == INPUT_STREAM { (self.mark_count as usize).min(MARKS_MAX) } else { 0 };
        self.marks[..count].iter().map(|mark| Mark {
            channel: mark.channel,
            sequence: Sequence(self.first_sequence.wrapping_add(u64::from(mark.record))),
            venue_sequence: mark.venue_sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_with_their_records_when_a_frame_is_divided() {
        let mut marks = FrameMarks::default();
        let mark = |channel, record| FrameMark { channel, record, venue_sequence: 7 };
        [mark(1, 0), mark(2, 4), mark(3, 5), mark(1, 9)].into_iter().for_each(|mark| marks.push(mark));
        let taken = marks.take(5);
        assert_eq!((taken.used(), marks.used()), (&[mark(1, 0), mark(2, 4)][..], &[mark(3, 0), mark(1, 4)][..]));
        assert!(taken.has(2) && !marks.has(2) && marks.has(1));
        (0..MARKS_MAX as u32).for_each(|channel| marks.push(mark(channel, 5)));
        assert!(marks.is_full() && marks.used().len() == MARKS_MAX, "what has no room is left out");
    }
}
