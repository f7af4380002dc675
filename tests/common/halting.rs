//! A day that stands still now and then.

use std::time::{Duration, Instant};
use tickcore::book::TimestampNs;
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, Source, SourceError};

/// For what never comes to pass.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits as long as it is told to, by what is given the number of its messages so far.
pub(crate) struct Halting<R, F> {
    inner: R,
    waits: F,
    since: Option<Instant>,
}

impl<R: Source, F: FnMut(u64) -> bool> Halting<R, F> {
    pub(crate) fn new(inner: R, waits: F) -> Self {
        Self { inner, waits, since: None }
    }

    fn is_waiting(&mut self) -> bool {
        if !(self.waits)(self.inner.counts().messages) {
            self.since = None;
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
        self.since.get_or_insert_with(Instant::now).elapsed() < LONGEST
    }
}

impl<R: Source, F: FnMut(u64) -> bool> Source for Halting<R, F> {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        if self.is_waiting() { Ok(Filled::Pending) } else { self.inner.fill(batch, max_messages) }
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        self.inner.next_time()
    }

    fn counts(&self) -> &Counts {
        self.inner.counts()
    }
}
