//! What makes frames durable: syncs of groups of them, or writes that are durable when they are done.
//!
//! A sync costs about as much as a small write, and on a disk that does one thing at a time each is in the way of the other.
//! So where frames can be written through, few records go in one write and nothing else is under way: half a turn of waiting
//! and a whole one until they are durable. Where full frames come meanwhile, the disk is better used by writes alone, and a
//! sync for all of them now and then.

use super::{Leaving, Writer};
use crate::defence::{Defence, stands};
use crate::format::Place;
use crate::options::SyncPolicy;
use crate::storage::{Operation, Token};

/// A sync of a group of frames.
pub(super) struct Group {
    /// So many frames are durable when it is done.
    frame_count: u64,
    /// Where these end.
    place: Place,
}

/// Bytes of a group at least while frames wait for their writes.
const DEEP_GROUP_BYTES: u64 = 8 << 20;

impl Writer {
    /// Whether a frame that is not full is to go now: what is under way would only be in its way.
    pub(super) fn is_disk_idle(&self) -> bool {
        self.in_flight.is_empty() && (!self.writes_through || self.durable_count == self.placed_count())
    }

    /// Whether the next frame is to be written through: where everything before it is durable. So it is durable when it counts
    /// as written; and never are two flushes of one file under way, of which the one that fails could have lost what the other
    /// answers for.
    pub(super) fn may_write_through(&self) -> bool {
        let is_behind_durable = self.durable_count == self.first_ticket;
        let may = self.writes_through && self.in_flight.is_empty();
        may && (is_behind_durable || !stands(Defence::ThroughBehindDurable))
    }

    /// Submits a sync of what is written, if one is due and none is under way.
    pub(super) fn submit_group(&mut self) {
        if self.failure.is_some() || self.group.is_some() {
            return;
        }
        // The segment that is being left first: nothing behind it is durable before all of it is.
        let (file, frame_count, place) = match &self.leaving {
            Some(Leaving { segment, frame_count, .. }) if *frame_count < self.first_ticket => {
                let place = Place { segment: segment.header.number, offset: segment.offset };
                (segment.file, *frame_count, place)
            }
            Some(Leaving { segment, .. }) => (segment.file, self.first_ticket, self.written_place),
            None => (self.segment.file, self.first_ticket, self.written_place),
        };
        if frame_count <= self.durable_count || !self.is_group_due() {
            return;
        }
        let is_leaving = self.leaving.is_some();
        for stream in self.streams_mut() {
            stream.covered = if is_leaving { stream.written.min(stream.leaving_last) } else { stream.written };
        }
        let group = Group { frame_count, place };
        if !stands(Defence::DurableAfterSync) {
            self.end_group(&group);
        }
        self.group = Some(group);
        self.unsynced_bytes = 0;
        self.stats.sync_count += 1;
        self.storage.submit(Token::Group, Operation::Sync { file });
    }

    /// What a sync was to cover is durable.
    pub(super) fn end_group(&mut self, group: &Group) {
        (self.durable_count, self.durable_place) = (group.frame_count, group.place);
        self.inputs.durable = self.inputs.covered;
        for stream in &mut self.outputs {
            stream.durable = if stands(Defence::OutputsCovered) { stream.covered } else { stream.written };
        }
    }

    /// Whether so many frames wait for their writes that the disk is to do nothing else.
    pub(super) fn is_deep(&self) -> bool {
        self.closed.len() >= self.options.writes_in_flight as usize
    }

    /// Whether the policy wants what is written to be synced now.
    fn is_group_due(&mut self) -> bool {
        let is_forced = self.leaving.is_some() || self.is_finishing;
        match self.options.sync {
            SyncPolicy::EveryGroup => {
                is_forced || self.is_flushing || !self.is_deep() || self.unsynced_bytes >= DEEP_GROUP_BYTES
            }
            SyncPolicy::None => is_forced,
            SyncPolicy::EveryBytes(bytes) => is_forced || self.is_flushing || self.unsynced_bytes >= bytes,
            SyncPolicy::Every(interval) => {
                let now = self.storage.now();
                let is_due = self.group_at.is_none_or(|last| now.saturating_sub(last) >= interval);
                if is_due || is_forced || self.is_flushing {
                    self.group_at = Some(now);
                    return true;
                }
                false
            }
        }
    }
}
