//! Where a strategy's outputs leave its core: they are numbered, counted and put into the core's ring.

use crate::outputs::{CoreOutputs, OutputOutlet, Unsent};
use tickcore_book::{Event, Sequence};
use tickcore_latency::{Clock, Ticks};

/// The outputs of one book core. Never waits, allocates or makes a system call once the run has begun.
#[derive(Debug)]
pub(crate) struct OutputPort {
    outlet: Option<OutputOutlet>,
    /// Of the last output.
    number: u64,
    /// The same when this run began.
    number_before: u64,
    refused: u64,
    clock: Clock,
    /// Whether the next output is measured.
    is_watched: bool,
    /// When the output that was measured stood in the ring.
    sent_at: Option<Ticks>,
}

impl OutputPort {
    /// Outputs are numbered and go nowhere.
    pub(crate) const fn nowhere(clock: Clock) -> Self {
        Self { outlet: None, number: 0, number_before: 0, refused: 0, clock, is_watched: false, sent_at: None }
    }

    /// Goes on behind an output of an earlier run.
    pub(crate) fn begin_behind(&mut self, number: Sequence) {
        (self.number, self.number_before) = (number.get(), number.get());
    }

    /// From now on outputs go into the ring.
    pub(crate) fn open(&mut self, outlet: OutputOutlet) {
        outlet.begin_behind(Sequence(self.number));
        self.outlet = Some(outlet);
    }

    /// Nothing more comes: readers see the end.
    pub(crate) fn close(&mut self) {
        self.outlet = None;
    }

    /// Number of the last output.
    pub(crate) const fn number(&self) -> Sequence {
        Sequence(self.number)
    }

    /// Puts an output into the ring, and says its number.
    #[inline]
    pub(crate) fn send(&mut self, output: &Event) -> Result<Sequence, Unsent> {
        if let Some(outlet) = &mut self.outlet {
            if outlet.writer.try_publish(output).is_err() {
                self.refused += 1;
                return Err(Unsent::Full);
            }
            if self.is_watched {
                self.is_watched = false;
                self.sent_at = Some(self.clock.now());
            }
        }
        self.number += 1;
        Ok(Sequence(self.number))
    }

    /// The first output that comes next is measured.
    #[inline]
    pub(crate) fn watch(&mut self) {
        self.is_watched = true;
    }

    /// When the first output since [`OutputPort::watch`] stood in the ring, if there was one.
    #[inline]
    pub(crate) fn watched(&mut self) -> Option<Ticks> {
        self.is_watched = false;
        self.sent_at.take()
    }

    /// What became of the outputs.
    pub(crate) fn outcome(&self, core: u32) -> CoreOutputs {
        let sent = self.number - self.number_before;
        CoreOutputs { core, last: Sequence(self.number), sent, refused: self.refused }
    }
}
