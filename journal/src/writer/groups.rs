//! What makes frames durable: syncs of groups of them, or writes that are durable when they are done.
//!
//! A sync costs about as much as a small write, and on a disk that does one thing at a time each is in the way of the other.
//! So where frames can be written through, few records go in one write and nothing else is under way: half a turn of waiting
//! and a whole one until they are durable. More of them are not kept waiting for so long: a second write goes behind the first.
//! With more than two under way, the disk is better used by writes alone, and a sync for all of them now and then.

use super::{Leaving, Writer};
use crate::defence::{Defence, stands};
use crate::options::SyncPolicy;
use crate::storage::{Operation, Token};

/// A sync of a group of frames.
pub(super) struct Group {
    /// The last record that it covers.
    pub(super) last_sequence: u64,
    pub(super) is_done: bool,
}

/// Frames that are written through at once.
const THROUGH_AT_ONCE: usize = 2;
/// From this length on, a frame that is not full does not wait for the one before it to be durable.
const SECOND_FROM_BYTES: usize = 16 << 10;

/// Bytes of a group at least while frames wait for their writes.
const DEEP_GROUP_BYTES: u64 = 8 << 20;

impl Writer {
    /// Whether so many bytes need not wait for more: what is under way would not make them durable sooner.
    pub(super) fn is_idle_enough_for(&self, bytes: usize) -> bool {
        if !self.writes_through {
            return self.in_flight.is_empty();
        }
        let is_second = || bytes >= SECOND_FROM_BYTES && self.may_write_through();
        self.durable == self.submitted || is_second()
    }

    /// Whether the next frame is to be written through. It may be where everything before it is durable, or will be when it is
    /// written: so it is durable when it counts as written.
    pub(super) fn may_write_through(&self) -> bool {
        let is_behind_durable = self.durable == self.written && self.in_flight.iter().all(|frame| frame.is_through);
        self.writes_through
            && self.in_flight.len() < THROUGH_AT_ONCE
            && (is_behind_durable || !stands(Defence::ThroughBehindDurable))
    }

    /// Submits a sync of what is written, if one is due and may be under way.
    pub(super) fn submit_group(&mut self) {
        if self.failure.is_some() || self.groups.len() >= self.storage.syncs_at_once() {
            return;
        }
        let covered = self.groups.back().map_or(self.durable, |group| group.last_sequence);
        // The segment that is being left first: nothing behind it is durable before all of it is.
        let (file, last_sequence) = match &self.leaving {
            Some(Leaving { segment, position }) if covered + 1 < position.next_sequence => {
                (segment.file, self.written.min(position.next_sequence - 1))
            }
            _ => (self.segment.file, self.written),
        };
        if last_sequence <= covered || !self.is_group_due() {
            return;
        }
        if !stands(Defence::DurableAfterSync) {
            self.durable = last_sequence;
        }
        let ticket = self.first_group + self.groups.len() as u64;
        self.groups.push_back(Group { last_sequence, is_done: false });
        self.unsynced_bytes = 0;
        self.stats.sync_count += 1;
        self.storage.submit(Token::Group(ticket), Operation::Sync { file });
    }

    /// Notes that a sync is done. It counts once those before it are: had one of them failed, this one would not tell.
    pub(super) fn complete_group(&mut self, ticket: u64) {
        let index = ticket.wrapping_sub(self.first_group) as usize;
        let Some(group) = self.groups.get_mut(index) else { return };
        group.is_done = true;
        if !stands(Defence::SyncsInOrder) {
            self.groups.iter_mut().take(index).for_each(|before| before.is_done = true);
        }
        while let Some(group) = self.groups.pop_front_if(|group| group.is_done) {
            self.durable = group.last_sequence;
            self.first_group += 1;
        }
        self.leave_segment();
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
