//! The streams of a journal: its inputs, and the outputs of each core.
//!
//! Frames of all streams stand in the same segments, one behind the other, and each stream has record numbers and a
//! checksum chain of its own. So none waits for another, and a segment can be checked by itself: its header says where each
//! stream stands when it begins, its footer when it ends.

use crate::defence::{Defence, stands};
use crate::fault::Fault;
use crate::format::{FrameHeader, check_numbers};
use crate::walk::Position;
use core::fmt;
use tickcore_book::Sequence;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Cores whose outputs one journal can hold.
pub const OUTPUT_STREAMS_MAX: usize = 64;
/// Stream number of the inputs in a frame; 1 + n is for the outputs of core n.
pub(crate) const INPUT_STREAM: u32 = 0;

/// Which stream of a journal records belong to. `Display` prints `inputs`, or `outputs of core 3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Stream(u32);

impl Stream {
    /// What the engine was given: every event, in its order.
    pub const INPUTS: Self = Self(INPUT_STREAM);

    /// What core `core` sent. A journal holds those of cores below [`OUTPUT_STREAMS_MAX`]; others have no records.
    pub const fn outputs_of(core: u16) -> Self {
        Self(1 + core as u32)
    }

    /// The stream of a valid frame.
    pub(crate) fn of_frame(frame: &FrameHeader) -> Self {
        Self(frame.stream)
    }

    /// Its number in frames: 0 for the inputs, 1 + n for the outputs of core n.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The core whose outputs these are; `None` for the inputs.
    pub const fn core(self) -> Option<u16> {
        match self.0.checked_sub(1) {
            Some(core) => Some(core as u16),
            None => None,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.core() {
            None => formatter.write_str("inputs"),
            Some(core) => write!(formatter, "outputs of core {core}"),
        }
    }
}

/// What a journal holds of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Which.
    pub stream: Stream,
    /// Its first record that is there.
    pub first: Sequence,
    /// Its last.
    pub last: Sequence,
    /// Records that are there.
    pub record_count: u64,
}

/// Where the outputs of one core end; all 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct OutputEnd {
    /// Number of the last record.
    pub(crate) last_sequence: u64,
    /// Header checksum of the last frame.
    pub(crate) chain: u64,
}

impl OutputEnd {
    pub(crate) fn position(self) -> Position {
        Position { next_sequence: self.last_sequence.wrapping_add(1), chain: self.chain }
    }
}

impl From<Position> for OutputEnd {
    fn from(position: Position) -> Self {
        Self { last_sequence: position.next_sequence.wrapping_sub(1), chain: position.chain }
    }
}

/// Where the outputs of all cores end: one entry for each, and all 0 in versions that have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub(crate) struct OutputEnds(pub(crate) [OutputEnd; OUTPUT_STREAMS_MAX]);

impl Default for OutputEnds {
    fn default() -> Self {
        Self([OutputEnd { last_sequence: 0, chain: 0 }; OUTPUT_STREAMS_MAX])
    }
}

impl OutputEnds {
    /// Where the stream stands, which is that of some core.
    pub(crate) fn position(&self, stream: u32) -> Position {
        let index = (stream as usize).wrapping_sub(1);
        self.0.get(index).copied().unwrap_or_default().position()
    }

    pub(crate) fn set(&mut self, stream: u32, position: Position) {
        if let Some(end) = self.0.get_mut((stream as usize).wrapping_sub(1)) {
            *end = position.into();
        }
    }

    /// Refuses a segment that begins with `found`, or ends there. Streams that are set in `unknown` are not compared.
    pub(crate) fn check(&self, found: &Self, unknown: UnknownStreams) -> Result<(), Fault> {
        let pairs = (1..).zip(self.0.iter().zip(&found.0));
        for (stream, (expected, found)) in pairs {
            if expected != found && !unknown.has(stream) {
                check_output(stream, expected.position(), found.position())?;
            }
        }
        Ok(())
    }

    /// Refuses numbers that no journal reaches.
    pub(crate) fn check_numbers(&self) -> Result<(), Fault> {
        check_numbers(self.0.iter().map(|end| end.last_sequence.saturating_add(1)))
    }

    /// Every stream that has records, with its last.
    pub(crate) fn lasts(&self) -> impl Iterator<Item = (Stream, Sequence)> + '_ {
        let numbered = (1..).map(Stream).zip(&self.0);
        numbered.filter(|(_, end)| end.last_sequence > 0).map(|(stream, end)| (stream, Sequence(end.last_sequence)))
    }
}

/// Refuses what says that it follows `found` in a stream that stands at `expected`.
pub(crate) fn check_output(stream: u32, expected: Position, found: Position) -> Result<(), Fault> {
    let is_next = expected.next_sequence == found.next_sequence;
    if is_next && (expected.chain == found.chain || !stands(Defence::Chain)) {
        return Ok(());
    }
    let (expected, found) = (Sequence(expected.next_sequence), Sequence(found.next_sequence));
    Err(Fault::OutputsBroken { stream: Stream(stream), expected, found })
}

/// Streams of which nobody knows where they stand, because something before was skipped: a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnknownStreams {
    inputs: bool,
    outputs: u64,
}

impl UnknownStreams {
    pub(crate) const NONE: Self = Self { inputs: false, outputs: 0 };
    pub(crate) const ALL: Self = Self { inputs: true, outputs: u64::MAX };

    const fn bit(stream: u32) -> u64 {
        1 << (stream.wrapping_sub(1) % u64::BITS)
    }

    pub(crate) const fn has(self, stream: u32) -> bool {
        if stream == INPUT_STREAM { self.inputs } else { self.outputs & Self::bit(stream) != 0 }
    }

    /// A frame of this stream was seen.
    pub(crate) const fn remove(&mut self, stream: u32) {
        if stream == INPUT_STREAM {
            self.inputs = false;
        } else {
            self.outputs &= !Self::bit(stream);
        }
    }
}

const _: () = assert!(OUTPUT_STREAMS_MAX <= u64::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_their_numbers_and_names() {
        assert_eq!((Stream::INPUTS.number(), Stream::INPUTS.core()), (0, None));
        let outputs = Stream::outputs_of(3);
        assert_eq!(
            (outputs.number(), outputs.core(), outputs.to_string()),
            (4, Some(3), "outputs of core 3".to_owned())
        );
        assert_eq!(Stream::outputs_of(u16::MAX).core(), Some(u16::MAX));
    }

    #[test]
    fn ends_that_differ_are_refused_unless_nobody_knows_them() {
        let mut ends = OutputEnds::default();
        assert_eq!(ends.position(64), Position::START);
        ends.set(64, Position { next_sequence: 8, chain: 5 });
        assert_eq!(ends.lasts().collect::<Vec<_>>(), [(Stream::outputs_of(63), Sequence(7))]);
        let other = OutputEnds::default();
        assert!(matches!(
            ends.check(&other, UnknownStreams::NONE),
            Err(Fault::OutputsBroken { stream: Stream(64), .. })
        ));
        let mut unknown = UnknownStreams::ALL;
        assert!(unknown.has(INPUT_STREAM) && ends.check(&other, unknown).is_ok());
        unknown.remove(INPUT_STREAM);
        (1..64).for_each(|stream| unknown.remove(stream));
        assert!(ends.check(&other, unknown).is_ok(), "64 is still unknown");
        unknown.remove(64);
        assert_eq!(unknown, UnknownStreams::NONE);
        assert!(ends.check(&ends, unknown).is_ok());
    }
}
