//! Changing from one segment to the next: its header, the way over, and the seal of the one that is left.

use super::{ActiveSegment, Change, Leaving, Sealing, Spare, Writer};
use crate::defence::{Defence, stands};
use crate::format::{BLOCK_BYTES, Seal, SegmentFooter, SegmentHeader};
use crate::index::IndexBuilder;
use crate::memory::Block;
use crate::staging::Pool;
use crate::storage::{FileSlot, Operation, SegmentName, Storage, Token};
use crate::walk::{Position, Tally};
use std::io;
use zerocopy::IntoBytes;

impl Writer {
    /// Writes the next segment's header. `false` as long as there is no file for it.
    pub(super) fn begin_change(&mut self) -> bool {
        let number = self.segment.header.number + 1;
        let name = SegmentName::new(number);
        match &mut self.spare {
            Spare::None => {
                if let Some(cause) = self.supply.take_failure() {
                    self.fail("prepare", name, 0, cause);
                } else {
                    self.supply.set_awaited(true);
                    self.prepare_spare();
                }
            }
            Spare::Preparing => {}
            Spare::Failed(cause) => {
                let cause = cause.take().unwrap_or_else(|| io::ErrorKind::Other.into());
                self.fail("prepare", name, 0, cause);
            }
            &mut Spare::Ready(file) => {
                let Some(block) = self.pool.take_control() else { return false };
                let placed = self.placed();
                let header = SegmentHeader {
                    number,
                    first_sequence: placed.inputs.next_sequence,
                    previous_checksum: placed.inputs.chain,
                    durable_sequence: self.inputs.durable,
                    durable_segment: self.durable_place.segment,
                    durable_offset: self.durable_place.offset,
                    outputs: placed.outputs,
                    ..self.segment.header
                }
                .seal();
                self.submit_header(file, block, &header);
                self.change = Some(Change { next: ActiveSegment::new(file, header), is_header_durable: false });
                self.spare = Spare::None;
                self.supply.set_awaited(false);
                return true;
            }
        }
        false
    }

    pub(super) fn submit_header(&mut self, file: FileSlot, mut block: Block, header: &SegmentHeader) {
        let to = BLOCK_BYTES as usize;
        block.bytes_mut()[..to].copy_from_slice(header.as_bytes());
        let is_through = self.storage.writes_through();
        self.storage.submit(Token::Header, Operation::Write { file, offset: 0, block, from: 0, to, is_through });
    }

    pub(super) fn complete_header(&mut self) {
        if let Some(change) = &mut self.change {
            change.is_header_durable = true;
        }
    }

    /// Goes over to the next segment once its header is durable and the segment before the last is sealed.
    pub(super) fn enter_next_segment(&mut self) -> bool {
        let is_free = self.leaving.is_none() && self.sealing.is_none();
        let is_known = |change: &Change| change.is_header_durable || !stands(Defence::HeaderBeforeFrames);
        match self.change.take_if(|change| is_known(change) && is_free) {
            None => false,
            Some(change) => {
                let (positions, frame_count) = (self.placed(), self.placed_count());
                let segment = core::mem::replace(&mut self.segment, change.next);
                self.streams_mut().for_each(|stream| stream.leaving_last = stream.placed.next_sequence - 1);
                self.leaving = Some(Leaving { segment, positions, frame_count });
                core::mem::swap(&mut self.index, &mut self.leaving_index);
                self.index.clear();
                self.stats.segment_count += 1;
                self.leave_segment();
                true
            }
        }
    }

    /// Begins to seal the segment that is being left, once all of it is durable.
    pub(super) fn leave_segment(&mut self) {
        let is_durable = |leaving: &Leaving| self.durable_count >= leaving.frame_count;
        if self.leaving.as_ref().is_some_and(|leaving| is_durable(leaving) || !stands(Defence::FooterAfterFrames))
            && let Some(Leaving { segment, positions, .. }) = self.leaving.take()
        {
            self.sealing =
                seal_segment(self.storage.as_mut(), &mut self.pool, &segment, &self.leaving_index, |offset, length| {
                    segment.tally.footer(&segment.header, offset, length, &positions, Seal::Full)
                });
        }
    }
}

/// Writes index and footer of a segment, whose frames are all durable.
pub(super) fn seal_segment(
    storage: &mut dyn Storage,
    pool: &mut Pool,
    segment: &ActiveSegment,
    index: &IndexBuilder,
    footer: impl FnOnce(u64, u32) -> SegmentFooter,
) -> Option<Sealing> {
    // Of the two control blocks the header of the next segment has at most one.
    let mut block = pool.take_control()?;
    let index_bytes = index.write(segment.header.identity(), block.bytes_mut());
    let footer_offset = segment.offset + index_bytes as u64;
    let footer = footer(footer_offset, index_bytes as u32);
    let to = index_bytes + BLOCK_BYTES as usize;
    block.bytes_mut()[index_bytes..to].copy_from_slice(footer.as_bytes());
    let (file, name, offset) = (segment.file, segment.name, segment.offset);
    storage.submit(Token::Footer, Operation::Write { file, offset, block, from: 0, to, is_through: false });
    let (number, start) = (segment.header.number, Position::of_header(&segment.header));
    let highest_time = segment.tally.highest_time;
    Some(Sealing { file, name, footer_offset, write_bytes: to, number, start, highest_time })
}

impl ActiveSegment {
    /// A segment with nothing but its header.
    pub(super) fn new(file: FileSlot, header: SegmentHeader) -> Self {
        Self {
            file,
            name: SegmentName::new(header.number),
            header,
            seed: header.identity().seed(),
            offset: BLOCK_BYTES,
            tally: Tally::default(),
        }
    }
}
