//! What strategies send, on its way from their cores' rings into the journal's streams.

use crate::outputs::UnfilteredReader;
use tickcore_book::{Event, Sequence};
use tickcore_journal::{AppendError, Writer};

/// Outputs of a core that are taken from its ring before the next core's turn.
const BATCH_OUTPUTS: usize = 256;

/// One core's.
#[derive(Debug)]
struct Core {
    /// Gone once the journal has failed: then nobody waits for it.
    reader: Option<UnfilteredReader>,
    /// Of the tail of a journal that is resumed, in reverse: they come before what is in the ring.
    unrecorded: Vec<Event>,
}

/// The outputs of all book cores; none when they are not journaled.
#[derive(Debug)]
pub(crate) struct JournaledOutputs {
    cores: Vec<Core>,
}

impl JournaledOutputs {
    pub(crate) fn new(readers: Vec<UnfilteredReader>) -> Self {
        let core = |reader| Core { reader: Some(reader), unrecorded: Vec::new() };
        Self { cores: readers.into_iter().map(core).collect() }
    }

    /// Takes what came before the first output of each ring. Called once the cores have begun.
    pub(crate) fn begin(&mut self) {
        for core in &mut self.cores {
            core.unrecorded = core.reader.as_ref().map(UnfilteredReader::take_unrecorded).unwrap_or_default();
            core.unrecorded.reverse();
        }
    }

    /// Appends what is there and has room, and says how many outputs that were.
    #[inline]
    pub(crate) fn append(&mut self, writer: &mut Writer) -> Result<usize, AppendError> {
        let mut count = 0;
        for (number, core) in (0..).zip(&mut self.cores) {
            count += core.append(number, writer)?;
        }
        Ok(count)
    }

    /// Whether all cores have ended, and all that they sent was appended.
    pub(crate) fn are_complete(&self) -> bool {
        let is_drained = |reader: &UnfilteredReader| reader.reader.is_closed_and_drained();
        self.cores.iter().all(|core| core.unrecorded.is_empty() && core.reader.as_ref().is_none_or(is_drained))
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

    /// The cores no longer wait for this journal.
    pub(crate) fn let_go(&mut self) {
        self.cores.iter_mut().for_each(|core| core.reader = None);
    }
}

impl Core {
    fn append(&mut self, number: u16, writer: &mut Writer) -> Result<usize, AppendError> {
        let Some(reader) = &mut self.reader else { return Ok(0) };
        let room = writer.output_room(number).min(BATCH_OUTPUTS);
        if !self.unrecorded.is_empty() {
            let from = self.unrecorded.len().saturating_sub(room);
            let count = self.unrecorded.len() - from;
            for output in self.unrecorded.drain(from..).rev() {
                writer.append_output(number, writer.next_output(number), &output)?;
            }
            return Ok(count);
        }
        let mut refused = Ok(());
        let count = reader.reader.poll(room, |_, output| {
            if refused.is_ok() {
                refused = writer.append_output(number, writer.next_output(number), output);
            }
        });
        refused.map(|()| count)
    }
}
