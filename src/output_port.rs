//! Where a strategy's outputs leave its core: they are numbered, compared with what was recorded, counted and put into the core's
//! ring.

use crate::output_check::{Answer, Compared, Recorded};
use crate::outputs::{CoreOutputs, OutputOutlet, Unsent, cause_of};
use crate::refusals::Refusals;
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
    /// Since the last output: the next one says it.
    refusals: Refusals,
    held: Option<Held>,
    /// Whether sending is more than a line for the ring: there are outputs to be compared with, or refusals to be told of.
    takes_detour: bool,
    compared: Compared,
    /// Outputs that no journal has, where they are wanted: of the tail, before the run begins, or of a twin.
    unrecorded: Option<Vec<Event>>,
    /// So many of them at most.
    unrecorded_max: usize,
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
            refusals: Refusals::default(),
            held: None,
            takes_detour: false,
            compared: Compared::default(),
            unrecorded: None,
            unrecorded_max: 0,
            clock,
            is_watched: false,
            sent_at: None,
        }
    }

    /// Goes on behind an output of an earlier run, and so many intents refused behind that.
    pub(crate) fn begin_behind(&mut self, number: Sequence, refused: u64) {
        (self.number, self.number_before) = (number.get(), number.get());
        self.refusals = Refusals::earlier(refused);
        self.takes_detour |= refused > 0;
    }

    /// Compares outputs with recorded ones.
    pub(crate) fn check(&mut self, recorded: Recorded) {
        self.hold(Held::Check(recorded));
    }

    /// Compares outputs with recorded ones and keeps the first that come behind them, up to `most`.
    pub(crate) fn follow(&mut self, recorded: Recorded, most: usize) {
        self.check(recorded);
        self.compared.behind = 0;
        self.keep_unrecorded(most);
    }

    fn keep_unrecorded(&mut self, most: usize) {
        (self.unrecorded, self.unrecorded_max) = (Some(Vec::new()), most);
    }

    /// What came behind the recorded outputs, where it was kept.
    pub(crate) fn take_unrecorded(&mut self) -> Vec<Event> {
        self.unrecorded.take().unwrap_or_default()
    }

    /// Intents that were refused behind the last output.
    pub(crate) const fn refused_last(&self) -> u64 {
        self.refusals.count
    }

    /// Compares outputs with recorded ones of the same session and does not send them again. What comes behind them before the
    /// ring is there is kept for the journal.
    pub(crate) fn repeat(&mut self, recorded: Recorded) {
        self.hold(Held::Repeat(recorded));
        self.keep_unrecorded(usize::MAX);
    }

    fn hold(&mut self, held: Held) {
        self.held = Some(held);
        self.takes_detour = true;
    }

    /// From now on outputs go into the ring.
    pub(crate) fn open(&mut self, outlet: OutputOutlet) {
        let recorded = match &self.held {
            Some(Held::Repeat(recorded)) => recorded.last(),
            _ => 0,
        };
        let unrecorded = self.take_unrecorded();
        outlet.begin_behind(Sequence(self.number.max(recorded)), unrecorded);
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

    /// The first output that is not what an earlier run of the session sent in its place, when all inputs up to `through` are handled;
    /// without an event where there is none, though the last recorded one was to be sent by now. The run cannot go on.
    #[inline]
    pub(crate) fn departs_at(&self, through: Sequence) -> Option<(Sequence, Option<Event>)> {
        let Some(Held::Repeat(recorded)) = &self.held else { return None };
        match self.compared.difference {
            Some((number, sent)) => Some((number, Some(sent))),
            None => recorded.is_missed(self.number, through).then_some((Sequence(self.number + 1), None)),
        }
    }

    /// Puts an output into the ring, and says its number.
    #[inline]
    pub(crate) fn send(&mut self, output: &Event) -> Result<Sequence, Unsent> {
        if self.takes_detour { self.send_on_detour(output) } else { self.publish(output) }
    }

    #[inline]
    fn publish(&mut self, output: &Event) -> Result<Sequence, Unsent> {
        if let Some(outlet) = &mut self.outlet {
            if outlet.writer.try_publish(output).is_err() {
                return Err(self.refuse(cause_of(output)));
            }
            if self.is_watched {
                self.is_watched = false;
                self.sent_at = Some(self.clock.now());
            }
        }
        self.number += 1;
        Ok(Sequence(self.number))
    }

    #[cold]
    fn refuse(&mut self, cause: Sequence) -> Unsent {
        self.refused += 1;
        self.refusals.add(cause);
        self.takes_detour = true;
        Unsent::Full
    }

    /// Tells of the refusals before an output, and compares it. What was refused when the recorded outputs were sent is refused.
    #[inline(never)]
    fn send_on_detour(&mut self, output: &Event) -> Result<Sequence, Unsent> {
        let cause = cause_of(output);
        let output = &Event { flags: self.refusals.to_flags(cause), ..*output };
        let number = self.number + 1;
        let is_repeat = matches!(self.held, Some(Held::Repeat(_)));
        let answer = match &self.held {
            Some(Held::Check(recorded) | Held::Repeat(recorded)) if self.compared.difference.is_none() => {
                if recorded.has_refused_another(number, &self.refusals, cause) {
                    return Err(self.refuse(cause));
                }
                Some(recorded.compare(number, output))
            }
            _ => None,
        };
        if answer == Some(Answer::Differs) {
            self.compared.difference = Some((Sequence(number), *output));
        }
        if is_repeat && self.compared.difference.is_some() {
            return Err(Unsent::Departed);
        }
        if is_repeat && matches!(answer, Some(Answer::Same | Answer::Before)) {
            self.number = number;
        } else {
            self.publish(output)?;
        }
        match answer {
            Some(Answer::Same) => self.compared.same += 1,
            Some(Answer::Behind) => {
                self.compared.behind += 1;
                if let Some(unrecorded) = &mut self.unrecorded
                    && unrecorded.len() < self.unrecorded_max
                {
                    unrecorded.push(*output);
                }
            }
            Some(Answer::Before | Answer::Differs) | None => {}
        }
        self.refusals = Refusals::default();
        self.takes_detour = self.held.is_some();
        Ok(Sequence(number))
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

    /// How outputs compared with recorded ones, when all inputs up to `through` are handled.
    pub(crate) const fn compared(&self, through: Sequence) -> Compared {
        Compared { last: Sequence(self.number), through, ..self.compared }
    }

    /// What became of the outputs.
    pub(crate) fn outcome(&self, core: u32) -> CoreOutputs {
        let sent = self.number - self.number_before;
        let repeated = if matches!(self.held, Some(Held::Repeat(_))) { self.compared.same } else { 0 };
        let (refused, refused_last) = (self.refused, self.refused_last());
        CoreOutputs { core, last: Sequence(self.number), sent, repeated, refused, refused_last }
    }
}
