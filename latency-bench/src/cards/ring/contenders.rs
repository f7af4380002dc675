//! The rings that are compared, each behind the same two ends.
//!
//! Each is used in the way that is fastest for it: messages of 64 bytes, aligned to 64 where the ring takes any type, batches
//! by the ring's own batch calls, and receivers that take what is there at once.

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use disruptor::{BusySpin, EventPoller, Producer as _, SingleConsumerBarrier, SingleProducer, SingleProducerBarrier};
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tickcore_book::{Event, TimestampNs};
use tickcore_feed::ring::shared::{Attached, Content, SharedRing};
use tickcore_feed::ring::{LossyReader, Reader, Ring, Writer};

/// Events of a batch, on either side.
pub(super) const BATCH_EVENTS: usize = 256;

/// A cache line with an event in it, for rings that take any type.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Message {
    sequence: u64,
    event: Event,
}

/// What is sent, over and over: as events, and as the messages that rings of any type are sent.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) events: Vec<Event>,
    messages: Vec<Message>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let event = |number: u64| {
            let words = [1, 2, 3, 5, 7, 11, 13].map(|factor: u64| (number + 1).wrapping_mul(factor << 40 | factor));
            Event::from_words(words)
        };
        let events: Vec<Event> = (0..BATCH_EVENTS as u64).map(event).collect();
        let messages = events.iter().map(|&event| Message { sequence: 0, event }).collect();
        Self { events, messages }
    }
}

/// The end that sends. Nothing here waits.
pub(super) trait Sender {
    /// Sends one event; false when there is no room.
    fn send(&mut self, event: &Event) -> bool;

    /// Sends events of the batch from place `from`, and returns how many.
    fn send_batch(&mut self, batch: &Batch, from: usize) -> usize;
}

/// The end that receives. Nothing here waits.
pub(super) trait Receiver {
    /// Calls `on_event` with number (from 1) and content of each event that is there, up to `max`, and returns how many
    /// further numbers have been seen by everybody at this end.
    fn receive(&mut self, max: usize, on_event: impl FnMut(u64, &Event)) -> usize;
}

/// The product: a gating reader.
pub(super) fn ours(capacity: usize) -> anyhow::Result<(Writer, Reader)> {
    let ring = Ring::new(capacity, 1)?;
    Ok((ring.writer()?, ring.reader()?))
}

impl Sender for Writer {
    #[inline]
    fn send(&mut self, event: &Event) -> bool {
        self.try_publish(event).is_ok()
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch, from: usize) -> usize {
        self.publish_batch(&batch.events[from..])
    }
}

impl Receiver for Reader {
    #[inline]
    fn receive(&mut self, max: usize, mut on_event: impl FnMut(u64, &Event)) -> usize {
        self.poll(max, |sequence, event| on_event(sequence.0, event))
    }
}

/// The product in shared memory: the sender's mapping, and another one at another address without write access, as another
/// process has it.
pub(super) fn shared(capacity: usize) -> anyhow::Result<(SharedWriter, AttachedReader)> {
    let shared = SharedRing::create_memfd("ring of the scorecard", Content::Events, capacity, 1)?;
    let attached = Attached::open(shared.path())?;
    let reader = attached.reader();
    Ok((SharedWriter { writer: shared.ring().writer()?, _shared: shared }, AttachedReader(reader)))
}

/// A writer with the file that it writes to.
#[derive(Debug)]
pub(super) struct SharedWriter {
    writer: Writer,
    _shared: SharedRing,
}

impl Sender for SharedWriter {
    #[inline]
    fn send(&mut self, event: &Event) -> bool {
        self.writer.send(event)
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch, from: usize) -> usize {
        self.writer.send_batch(batch, from)
    }
}

/// A reader for which nobody waits. What it loses counts as seen.
#[derive(Debug)]
pub(super) struct AttachedReader(LossyReader);

impl Receiver for AttachedReader {
    #[inline]
    fn receive(&mut self, max: usize, mut on_event: impl FnMut(u64, &Event)) -> usize {
        let result = self.0.poll(max, |sequence, event| on_event(sequence.0, event));
        result.read + result.lost as usize
    }
}

/// Two gating readers that one thread polls in turn.
#[derive(Debug)]
pub(super) struct TwoReaders {
    readers: [Reader; 2],
    seen: u64,
}

/// The product with [`TwoReaders`].
pub(super) fn two_readers(capacity: usize) -> anyhow::Result<(Writer, TwoReaders)> {
    let ring = Ring::new(capacity, 2)?;
    Ok((ring.writer()?, TwoReaders { readers: [ring.reader()?, ring.reader()?], seen: 0 }))
}

impl Receiver for TwoReaders {
    #[inline]
    fn receive(&mut self, max: usize, mut on_event: impl FnMut(u64, &Event)) -> usize {
        for reader in &mut self.readers {
            reader.poll(max, |sequence, event| on_event(sequence.0, event));
        }
        let [first, second] = &self.readers;
        let seen = first.next_sequence().min(second.next_sequence()).0 - 1;
        let further = seen - self.seen;
        self.seen = seen;
        further as usize
    }
}

/// The product with two gating readers for a thread each.
pub(super) fn readers_apart(capacity: usize) -> anyhow::Result<(Writer, [Reader; 2])> {
    let ring = Ring::new(capacity, 2)?;
    Ok((ring.writer()?, [ring.reader()?, ring.reader()?]))
}

/// The crate `rtrb`.
pub(super) fn rtrb(capacity: usize) -> (Producer<Message>, Counted<Consumer<Message>>) {
    let (producer, consumer) = RingBuffer::new(capacity);
    (producer, Counted { inner: consumer, seen: 0 })
}

/// The same with a receiver that takes one message after the other, which is faster when they are sent so.
pub(super) fn rtrb_single(capacity: usize) -> (Producer<Message>, Counted<PopOnly>) {
    let (producer, consumer) = RingBuffer::new(capacity);
    (producer, Counted { inner: PopOnly(consumer), seen: 0 })
}

/// A consumer that is asked for single messages.
#[derive(Debug)]
pub(super) struct PopOnly(Consumer<Message>);

impl Receiver for Counted<PopOnly> {
    #[inline]
    fn receive(&mut self, max: usize, mut on_event: impl FnMut(u64, &Event)) -> usize {
        for count in 0..max {
            let Ok(message) = self.inner.0.pop() else { return count };
            self.seen += 1;
            on_event(self.seen, &message.event);
        }
        max
    }
}

/// A receiver that numbers what comes.
#[derive(Debug)]
pub(super) struct Counted<T> {
    inner: T,
    seen: u64,
}

impl Sender for Producer<Message> {
    #[inline]
    fn send(&mut self, event: &Event) -> bool {
        self.push(Message { sequence: 0, event: *event }).is_ok()
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch, from: usize) -> usize {
        let messages = &batch.messages[from..];
        if self.push_entire_slice(messages).is_ok() { messages.len() } else { 0 }
    }
}

impl Receiver for Counted<Consumer<Message>> {
    #[inline]
    fn receive(&mut self, max: usize, mut on_event: impl FnMut(u64, &Event)) -> usize {
        let count = self.inner.slots().min(max);
        let Ok(chunk) = self.inner.read_chunk(count) else { return 0 };
        let (first, second) = chunk.as_slices();
        for message in first.iter().chain(second) {
            self.seen += 1;
            on_event(self.seen, &message.event);
        }
        chunk.commit_all();
        count
    }
}

type Poller = EventPoller<Message, SingleProducerBarrier>;

/// The crate `disruptor`, with its polling interface.
pub(super) fn disruptor(capacity: usize) -> (SingleProducer<Message, SingleConsumerBarrier>, Counted<Poller>) {
    let (poller, builder) = disruptor::build_single_producer(capacity, Message::default, BusySpin).new_event_poller();
    (builder.build(), Counted { inner: poller, seen: 0 })
}

impl Sender for SingleProducer<Message, SingleConsumerBarrier> {
    #[inline]
    fn send(&mut self, event: &Event) -> bool {
        self.try_publish(|message| message.event = *event).is_ok()
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch, from: usize) -> usize {
        let events = &batch.events[from..];
        let sent = self.try_batch_publish(events.len(), |messages| {
            for (message, event) in messages.zip(events) {
                message.event = *event;
            }
        });
        if sent.is_ok() { events.len() } else { 0 }
    }
}

impl Receiver for Counted<Poller> {
    #[inline]
    fn receive(&mut self, max: usize, mut on_event: impl FnMut(u64, &Event)) -> usize {
        let Ok(mut messages) = self.inner.take(max as u64) else { return 0 };
        let before = self.seen;
        for message in &mut messages {
            self.seen += 1;
            on_event(self.seen, &message.event);
        }
        (self.seen - before) as usize
    }
}

/// The queue of the crate `crossbeam-queue`, for many senders and receivers. It has no batches.
pub(super) fn array_queue(capacity: usize) -> (Arc<ArrayQueue<Message>>, Counted<Arc<ArrayQueue<Message>>>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Arc::clone(&queue), Counted { inner: queue, seen: 0 })
}

impl Sender for Arc<ArrayQueue<Message>> {
    #[inline]
    fn send(&mut self, event: &Event) -> bool {
        self.push(Message { sequence: 0, event: *event }).is_ok()
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch, from: usize) -> usize {
        usize::from(self.send(&batch.events[from]))
    }
}

impl Receiver for Counted<Arc<ArrayQueue<Message>>> {
    #[inline]
    fn receive(&mut self, max: usize, mut on_event: impl FnMut(u64, &Event)) -> usize {
        for count in 0..max {
            let Some(message) = self.inner.pop() else { return count };
            self.seen += 1;
            on_event(self.seen, &message.event);
        }
        max
    }
}

/// One cache line and nothing else: what a single message costs the machine, measured with the same stamps. It keeps only
/// the newest message, so it is good for one at a time.
#[derive(Debug, Default)]
pub(super) struct BareLine {
    line: Arc<CachePadded<[AtomicU64; 2]>>,
    seen: u64,
}

/// A bare line, twice.
pub(super) fn bare_line() -> (BareLine, BareLine) {
    let line = BareLine::default();
    let other = BareLine { line: Arc::clone(&line.line), seen: 0 };
    (line, other)
}

impl Sender for BareLine {
    #[inline]
    fn send(&mut self, event: &Event) -> bool {
        let [sequence, stamp] = &**self.line;
        self.seen += 1;
        stamp.store(event.exchange_time.0, Ordering::Relaxed);
        sequence.store(self.seen, Ordering::Release);
        true
    }

    fn send_batch(&mut self, batch: &Batch, from: usize) -> usize {
        usize::from(self.send(&batch.events[from]))
    }
}

impl Receiver for BareLine {
    #[inline]
    fn receive(&mut self, _: usize, mut on_event: impl FnMut(u64, &Event)) -> usize {
        let [sequence, stamp] = &**self.line;
        let newest = sequence.load(Ordering::Acquire);
        let further = newest - self.seen;
        if further > 0 {
            self.seen = newest;
            let exchange_time = TimestampNs(stamp.load(Ordering::Relaxed));
            on_event(newest, &Event { exchange_time, ..Event::default() });
        }
        further as usize
    }
}
