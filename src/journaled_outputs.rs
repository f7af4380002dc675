//! What strategies send, on its way from their cores' rings into the journal's streams.

use crate::outputs::{UnfilteredReader, cause_of};
use std::collections::VecDeque;
use tickcore_book::{Event, Sequence};
use tickcore_journal::{AppendError, Writer};

/// Outputs of a core that are taken from its ring before the next core's turn.
const BATCH_OUTPUTS: usize = 256;

/// One core's.
#[derive(Debug)]
struct Core {
    /// Gone once the journal has failed: then nobody waits for it.
    reader: Option<UnfilteredReader>,
    /// They come before what is in the ring: of the tail of a journal that is resumed, and of events that are not compared yet.
    /// A book core is at most the lines of the events' ring ahead of the comparison, so this holds at most what so many events
    /// cause, and a batch.
    held: VecDeque<Event>,
}

/// The outputs of all book cores; none when they are not journaled.
#[derive(Debug)]
pub(crate) struct JournaledOutputs {
    cores: Vec<Core>,
    /// What events up to here cause is appended: those behind it may be of another input than the journal's.
    through: Sequence,
}

impl JournaledOutputs {
    pub(crate) fn new(readers: Vec<UnfilteredReader>) -> Self {
        let core = |reader| Core { reader: Some(reader), held: VecDeque::new() };
        Self { cores: readers.into_iter().map(core).collect(), through: Sequence(0) }
    }

    /// Takes what came before the first output of each ring, and holds all back for now. Called once the cores have begun.
    pub(crate) fn begin(&mut self) {
        for core in &mut self.cores {
            core.held = core.reader.as_ref().map(UnfilteredReader::take_unrecorded).unwrap_or_default().into();
        }
    }

    /// Lets out what events up to `through` cause.
    pub(crate) fn let_out(&mut self, through: Sequence) {
        self.through = through;
    }

    /// Appends what is there, is let out and has room, and says how many outputs that were or are held back now.
    #[inline]
    pub(crate) fn append(&mut self, writer: &mut Writer) -> Result<usize, AppendError> {
        let mut count = 0;
        for (number, core) in (0..).zip(&mut self.cores) {
            count += core.append(number, self.through, writer)?;
        }
        Ok(count)
    }

    /// Whether all cores have ended, and all that they sent was appended.
    pub(crate) fn are_complete(&self) -> bool {
        let is_drained = |reader: &UnfilteredReader| reader.reader.is_closed_and_drained();
        self.cores.iter().all(|core| core.held.is_empty() && core.reader.as_ref().is_none_or(is_drained))
    }

    /// Whether all that was appended is written.
    pub(crate) fn are_written(&self, writer: &Writer) -> bool {
        let numbers = 0..self.cores.len() as u16;
        numbers.into_iter().all(|core| writer.output_watermarks(core).written.next() >= writer.next_output(core))
    }

    /// The last output appended, by core.
    pub(crate) fn last(&self, writer: &Writer) -> Vec<Sequence> {
        let last = |core| Sequence(writer.next_output(core).get() - 1);
        (0..self.cores.len() as u16).map(last).collect()
    }

    /// The cores no longer wait for this journal, and what is held back is dropped.
    pub(crate) fn let_go(&mut self) {
        self.cores.iter_mut().for_each(|core| *core = Core { reader: None, held: VecDeque::new() });
    }
}

impl Core {
    #[inline]
    fn append(&mut self, number: u16, through: Sequence, writer: &mut Writer) -> Result<usize, AppendError> {
        let Self { reader: Some(reader), held } = self else { return Ok(0) };
        let room = writer.output_room(number).min(BATCH_OUTPUTS);
        if !held.is_empty() {
            return Self::append_held(reader, held, (number, room), through, writer);
        }
        let mut refused = Ok(());
        let count = reader.reader.poll(room, |_, output| {
            if cause_of(output) > through {
                held.push_back(*output);
            } else if refused.is_ok() {
                refused = writer.append_output(number, writer.next_output(number), output);
            }
        });
        refused.map(|()| count)
    }

    /// Appends what is held back and let out now. While some of it is not, it takes what is in the ring as well: a ring that fills
    /// during the comparison would refuse the strategy, and the comparison waits for nobody.
    #[cold]
    fn append_held(
        reader: &mut UnfilteredReader,
        held: &mut VecDeque<Event>,
        (number, room): (u16, usize),
        through: Sequence,
        writer: &mut Writer,
    ) -> Result<usize, AppendError> {
        let mut count = 0;
        while let Some(output) = held.front()
            && count < room
            && cause_of(output) <= through
        {
            writer.append_output(number, writer.next_output(number), output)?;
            held.pop_front();
            count += 1;
        }
        if held.front().is_some_and(|output| cause_of(output) > through) {
            count += reader.reader.poll(BATCH_OUTPUTS, |_, output| held.push_back(*output));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::{Intent, OutputConfig, OutputRings};
    use tempfile::tempdir;
    use tickcore_book::TimestampNs;
    use tickcore_journal::{Metadata, Options};

    fn output(cause: u64) -> Event {
        Intent::default().to_event(TimestampNs(0), Sequence(cause))
    }

    #[test]
    fn outputs_wait_for_the_comparison_of_what_caused_them_and_hold_up_nobody() {
        let scratch = tempdir().unwrap();
        let options = Options { staging_bytes: 4 << 20, output_streams: 1, ..Options::default() };
        let mut writer = Writer::create(scratch.path().join("journal"), options, Metadata::default()).unwrap();
        let config = OutputConfig { lines: 64, readers_max: 0, ..OutputConfig::default() };
        let rings = OutputRings::new(&config, 1, true, Sequence(0)).unwrap();
        let mut outlet = rings.outlet(0);
        outlet.begin_behind(Sequence(0), vec![output(1), output(2)]);
        let mut outputs = JournaledOutputs::new(rings.journal_readers());
        outputs.begin();
        let mut appended = |outputs: &mut JournaledOutputs, through| {
            outputs.let_out(Sequence(through));
            // Each turn appends what it can; nothing is let out between them.
            while outputs.append(&mut writer).unwrap() > 0 {}
            outputs.last(&writer)[0].get()
        };
        // Far more than the ring has lines: it never refuses.
        assert_eq!(appended(&mut outputs, 0), 0);
        for cause in 3..=1_000 {
            outlet.writer.try_publish(&output(cause)).unwrap();
            if cause.is_multiple_of(50) {
                assert_eq!(appended(&mut outputs, cause / 2), cause / 2);
            }
        }
        assert!(!outputs.are_complete());
        assert_eq!(appended(&mut outputs, u64::MAX), 1_000);
        // The comparison failed.
        outputs.let_out(Sequence(1_000));
        outlet.writer.try_publish(&output(1_001)).unwrap();
        assert_eq!(appended(&mut outputs, 1_000), 1_000);
        outputs.let_go();
        assert_eq!(appended(&mut outputs, u64::MAX), 1_000);
        assert!(outputs.are_complete());
    }
}
