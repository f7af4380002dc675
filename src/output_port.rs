//! Where a strategy's outputs leave its core: they are numbered, compared with what was recorded, counted and put into the core's
//! ring.

use crate::output_check::{Answer, Compared, Recorded};
use crate::outputs::{CoreOutputs, OutputOutlet, Unsent};
use tickcore_book::{Event, Sequence};
use tickcore_latency::{Clock, Ticks};

/// What recorded outputs are there for.
#[derive(Debug)]
enum Held {
    /// To be compared with; whatever comes of it, outputs go on their way.
    Check(Recorded),
    /// An earlier run of the session has sent them: they are not sent again.
    Repeat(Recorded),
}

/// The outputs of one book core. Never waits, allocates or makes a system call once the run has begun.
#[derive(Debug)]
pub(crate) struct OutputPort {
    outlet: Option<OutputOutlet>,
    /// Of the last output.
    number: u64,
    /// The same when this run began.
    number_before: u64,
    refused: u64,
    held: Option<Held>,
    compared: Compared,
    /// Before the run begins: outputs of the journal's tail that are in no journal.
    unrecorded: Option<Vec<Event>>,
    clock: Clock,
    /// Whether the next output is measured.
    is_watched: bool,
    /// When the output that was measured stood in the ring.
    sent_at: Option<Ticks>,
}

impl OutputPort {
    /// Outputs are numbered and go nowhere.
    pub(crate) fn nowhere(clock: Clock) -> Self {
        Self {
            outlet: None,
            number: 0,
            number_before: 0,
            refused: 0,
            held: None,
            compared: Compared::default(),
            unrecorded: None,
            clock,
            is_watched: false,
            sent_at: None,
        }
    }

    /// Goes on behind an output of an earlier run.
    pub(crate) fn begin_behind(&mut self, number: Sequence) {
        (self.number, self.number_before) = (number.get(), number.get());
    }

    /// Compares outputs with recorded ones.
    pub(crate) fn check(&mut self, recorded: Recorded) {
        self.held = Some(Held::Check(recorded));
    }

    /// Compares outputs with recorded ones of the same session and does not send them again. What comes behind them before the
    /// ring is there is kept for the journal.
    pub(crate) fn repeat(&mut self, recorded: Recorded) {
        self.held = Some(Held::Repeat(recorded));
        self.unrecorded = Some(Vec::new());
    }

    /// From now on outputs go into the ring.
    pub(crate) fn open(&mut self, outlet: OutputOutlet) {
        let recorded = match &self.held {
            Some(Held::Repeat(recorded)) => recorded.last(),
            _ => 0,
        };
        outlet.begin_behind(Sequence(self.number.max(recorded)), self.unrecorded.take().unwrap_or_default());
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

    /// The first output that is not what an earlier run of the session sent in its place: the run cannot go on.
    #[inline]
    pub(crate) const fn departs_at(&self) -> Option<(Sequence, Event)> {
        match self.held {
            Some(Held::Repeat(_)) => self.compared.difference,
            _ => None,
        }
    }

    /// Puts an output into the ring, and says its number.
    #[inline]
    pub(crate) fn send(&mut self, output: &Event) -> Result<Sequence, Unsent> {
        if self.held.is_some() && !self.is_to_be_sent(output)? {
            self.number += 1;
            return Ok(Sequence(self.number));
        }
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

    /// Compares an output, and says whether it is still to be sent.
    #[inline(never)]
    fn is_to_be_sent(&mut self, output: &Event) -> Result<bool, Unsent> {
        let (recorded, is_repeat) = match &self.held {
            Some(Held::Check(recorded)) => (recorded, false),
            Some(Held::Repeat(recorded)) => (recorded, true),
            None => return Ok(true),
        };
        let number = self.number + 1;
        let compared = &mut self.compared;
        if compared.difference.is_some() {
            return if is_repeat { Err(Unsent::Departed) } else { Ok(true) };
        }
        match recorded.compare(number, output) {
            Answer::Same => compared.same += 1,
            Answer::Before => {}
            Answer::Behind => {
                compared.behind += 1;
                if let Some(unrecorded) = &mut self.unrecorded {
                    unrecorded.push(*output);
                }
                return Ok(true);
            }
            Answer::Differs => {
                compared.difference = Some((Sequence(number), *output));
                return if is_repeat { Err(Unsent::Departed) } else { Ok(true) };
            }
        }
        Ok(!is_repeat)
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

    /// How outputs compared with recorded ones.
    pub(crate) const fn compared(&self) -> Compared {
        Compared { last: Sequence(self.number), ..self.compared }
    }

    /// What became of the outputs.
    pub(crate) fn outcome(&self, core: u32) -> CoreOutputs {
        let sent = self.number - self.number_before;
        let repeated = if matches!(self.held, Some(Held::Repeat(_))) { self.compared.same } else { 0 };
        CoreOutputs { core, last: Sequence(self.number), sent, repeated, refused: self.refused }
    }
}
