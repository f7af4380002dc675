//! Syncs of groups of frames: when they are due, and what is durable once they are done.

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

impl Writer {
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

    /// Whether the policy wants what is written to be synced now.
    fn is_group_due(&mut self) -> bool {
        let is_forced = self.leaving.is_some() || self.is_finishing;
        match self.options.sync {
            SyncPolicy::EveryGroup => true,
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
