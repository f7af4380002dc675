//! What the books take of the stream: everything, or some instruments by name.

use std::collections::HashSet;
use tickcore_book::{Books, Event, InstrumentId, Kind};

/// Lets events of chosen instruments through to the books. Acts after sequencing and journaling, so a filtered run's
/// journal is whole.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    names: HashSet<String>,
    /// One flag per instrument; empty when everything passes.
    admitted: Box<[bool]>,
}

impl Filter {
    /// Lets instruments with these names through; all when there are none.
    pub(crate) fn new(names: &[String], instruments_max: u32) -> Self {
        let rows = if names.is_empty() { 0 } else { instruments_max as usize + 1 };
        Self { names: names.iter().cloned().collect(), admitted: vec![false; rows].into_boxed_slice() }
    }

    /// Whether the event goes on to the books. Definitions always do, and events for all.
    #[inline]
    pub(crate) fn admits(&self, event: &Event) -> bool {
        self.admitted.is_empty() || self.admits_chosen(event)
    }

    fn admits_chosen(&self, event: &Event) -> bool {
        event.instrument == InstrumentId::ALL
            || matches!(event.kind(), Some(Kind::InstrumentDefined | Kind::InstrumentName))
            || self.admitted.get(event.instrument.index()).copied().unwrap_or(false)
    }

    /// Looks at an instrument's name once the books know it.
    #[inline]
    pub(crate) fn learn(&mut self, books: &Books<'_>, event: &Event) {
        if event.kind() == Some(Kind::InstrumentName)
            && let Some(admitted) = self.admitted.get_mut(event.instrument.index())
            && let Some(instrument) = books.instruments().get(event.instrument)
        {
            *admitted = self.names.contains(instrument.name());
        }
    }
}
