//! A journal as a source: its events come in again on the way they came in first.
//!
//! A thread named `tickcore-source` reads and verifies ahead into blocks that go to the polling core and back, so that
//! the core makes no system call. It sleeps when it is ahead.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tickcore_book::{Event, Sequence, TimestampNs};
use tickcore_feed::batch::{EventBatch, Place};
use tickcore_feed::source::{Counts, Filled, Source, SourceError};
use tickcore_journal::{OpenError, ReadError, Reader};

/// Events of a block: 448 KB.
const BLOCK_EVENTS: usize = 1 << 13;
/// Blocks between the two threads.
const BLOCKS: usize = 8;
/// Sleeps of the reading thread when it is ahead: first the shorter, then twice as long each time, up to the longer. Where
/// cores are few it wakes up on one that spins.
const AHEAD_SLEEP_MIN: Duration = Duration::from_micros(200);
const AHEAD_SLEEP_MAX: Duration = Duration::from_millis(1);

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalSourceError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is damaged, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its beginning is gone.
    #[error(
        "the journal begins at sequence {first}: its books cannot be built without the events before; replay the input itself"
    )]
    NotFromStart {
        /// First sequence that is there.
        first: Sequence,
    },
    /// The reading thread could not be started, or died.
    #[error("the thread that reads the journal {what}; this is a fault of the machine or a bug")]
    Thread {
        /// What happened to it.
        what: &'static str,
    },
}

enum Delivery {
    Events(Vec<Event>),
    End,
    Failed(JournalSourceError),
}

/// A source over the events of a journal directory.
#[derive(Debug)]
pub struct JournalSource {
    deliveries: Receiver<Delivery>,
    returns: SyncSender<Vec<Event>>,
    block: Vec<Event>,
    /// Blocks that the reading thread took no more: kept until the end, since giving memory back takes a system call.
    spent: Vec<Vec<Event>>,
    position: usize,
    /// The record that comes next.
    next: Sequence,
    counts: Counts,
    failure: Option<JournalSourceError>,
    has_ended: bool,
    thread: Option<JoinHandle<()>>,
}

impl JournalSource {
    /// Starts reading the journal that `reader` opened, from its first record.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(reader: Reader) -> Result<Self, JournalSourceError> {
        Self::start_at(reader, Sequence(1))
    }

    /// Starts reading the journal that `reader` opened, whose next record must be this one.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start_at(reader: Reader, first: Sequence) -> Result<Self, JournalSourceError> {
        let (sender, deliveries) = sync_channel(BLOCKS);
        let (returns, empty) = sync_channel(BLOCKS);
        for _ in 0..BLOCKS {
            let _ = returns.try_send(Vec::with_capacity(BLOCK_EVENTS));
        }
        let thread = thread::Builder::new()
            .name("tickcore-source".to_owned())
            .spawn(move || read_ahead(reader, first, &sender, &empty))
            .map_err(|_| JournalSourceError::Thread { what: "cannot be started" })?;
        Ok(Self {
            deliveries,
            returns,
            block: Vec::new(),
            spent: Vec::with_capacity(BLOCKS + 1),
            position: 0,
            next: first,
            counts: Counts::default(),
            failure: None,
            has_ended: false,
            thread: Some(thread),
        })
    }

    /// Opens the journal in `dir` and starts reading it.
    ///
    /// # Errors
    /// When it cannot be opened, or the thread cannot be started.
    pub fn open(dir: &Path) -> Result<Self, JournalSourceError> {
        Self::start(Reader::open(dir)?)
    }

    /// Gets the next block when the one at hand is used up.
    fn advance(&mut self) -> Filled {
        if self.position < self.block.len() {
            return Filled::Events;
        }
        if self.has_ended {
            return Filled::End;
        }
        match self.deliveries.try_recv() {
            Ok(Delivery::Events(events)) => {
                let mut used = std::mem::replace(&mut self.block, events);
                self.position = 0;
                used.clear();
                if let Err(TrySendError::Full(spent) | TrySendError::Disconnected(spent)) = self.returns.try_send(used)
                {
                    self.spent.push(spent);
                }
                Filled::Events
            }
            Ok(Delivery::End) => self.end(None),
            Ok(Delivery::Failed(error)) => self.end(Some(error)),
            Err(TryRecvError::Empty) => Filled::Pending,
            Err(TryRecvError::Disconnected) => self.end(Some(JournalSourceError::Thread { what: "died" })),
        }
    }

    fn end(&mut self, failure: Option<JournalSourceError>) -> Filled {
        self.has_ended = true;
        self.failure = failure;
        Filled::End
    }
}

impl Source for JournalSource {
    #[inline]
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        let filled = self.advance();
        if filled != Filled::Events {
            return self.failure.take().map_or(Ok(filled), |error| Err(SourceError::External(Box::new(error))));
        }
        let count = (self.block.len() - self.position).min(batch.room()).min(max_messages);
        batch.place_next(Place { channel: 0, venue_sequence: self.next.get() });
        self.next = Sequence(self.next.get() + count as u64);
        for event in &self.block[self.position..self.position + count] {
            batch.push(*event);
        }
        self.position += count;
        self.counts.messages += count as u64;
        Ok(filled)
    }

    #[inline]
    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        self.advance();
        Ok(self.block.get(self.position).map(|event| event.exchange_time))
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for JournalSource {
    fn drop(&mut self) {
        // Closing both channels ends the thread; it is waited for so that no reader outlives its source.
        let (sender, _) = sync_channel(0);
        self.returns = sender;
        self.deliveries = sync_channel(0).1;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The reading thread: ends when the journal does, when it fails, or when nobody takes blocks any more.
fn read_ahead(mut reader: Reader, first: Sequence, sender: &SyncSender<Delivery>, empty: &Receiver<Vec<Event>>) {
    let mut expected = first;
    loop {
        let last = match reader.next_batch() {
            Ok(Some(records)) => {
                if let Some(record) = records.first()
                    && expected == first
                    && record.sequence != expected
                {
                    Err(JournalSourceError::NotFromStart { first: record.sequence })
                } else {
                    expected = Sequence(expected.get() + records.len() as u64);
                    for chunk in records.chunks(BLOCK_EVENTS) {
                        let Some(mut block) = take_block(empty) else { return };
                        block.extend(chunk.iter().map(|record| record.event));
                        if !deliver(sender, Delivery::Events(block)) {
                            return;
                        }
                    }
                    continue;
                }
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        deliver(sender, last.map_or_else(Delivery::Failed, |()| Delivery::End));
        return;
    }
}

/// Sleeps, and says how long the next sleep in a row is.
fn sleep_ahead(sleep: Duration) -> Duration {
    thread::sleep(sleep);
    (sleep * 2).min(AHEAD_SLEEP_MAX)
}

fn take_block(empty: &Receiver<Vec<Event>>) -> Option<Vec<Event>> {
    let mut sleep = AHEAD_SLEEP_MIN;
    loop {
        match empty.try_recv() {
            Ok(block) => return Some(block),
            Err(TryRecvError::Empty) => sleep = sleep_ahead(sleep),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
}

fn deliver(sender: &SyncSender<Delivery>, mut delivery: Delivery) -> bool {
    let mut sleep = AHEAD_SLEEP_MIN;
    loop {
        match sender.try_send(delivery) {
            Ok(()) => return true,
            Err(TrySendError::Full(back)) => {
                delivery = back;
                sleep = sleep_ahead(sleep);
            }
            Err(TrySendError::Disconnected(_)) => return false,
        }
    }
}
