//! What the threads of a run share: the word to go, the word to stop, and how far they are.

use crate::pace::Schedule;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;
use tickcore_latency::Ticks;

/// How long a thread that is ready sleeps before it looks again whether all are.
const GATE_INTERVAL: Duration = Duration::from_micros(50);

const WAITING: u8 = 0;
const OPEN: u8 = 1;
const SHUT: u8 = 2;

/// What has been asked of the threads; it only grows.
const RUN: u8 = 0;
const STOP: u8 = 1;
const ABANDON: u8 = 2;

/// Shared by the threads of one run. Everything that a hot loop touches stands on a line of its own.
#[derive(Debug)]
pub(crate) struct Control {
    asked: CachePadded<AtomicU8>,
    events_applied: CachePadded<AtomicU64>,
    bytes_touched: AtomicUsize,
    bytes: AtomicUsize,
    gate: AtomicU8,
    ready: AtomicUsize,
    in_place: AtomicUsize,
    /// Whether each thread has ended.
    ended: Box<[AtomicBool]>,
    schedule: OnceLock<(Ticks, Schedule)>,
    is_input_complete: AtomicBool,
    is_unjournaled: CachePadded<AtomicBool>,
    /// What threads have to say while they run.
    told: Mutex<Vec<String>>,
    waiter: Thread,
}

impl Control {
    /// For `threads` threads, made by the thread that waits for them.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            asked: CachePadded::new(AtomicU8::new(RUN)),
            events_applied: CachePadded::new(AtomicU64::new(0)),
            bytes_touched: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            gate: AtomicU8::new(WAITING),
            ready: AtomicUsize::new(0),
            in_place: AtomicUsize::new(0),
            ended: (0..threads).map(|_| AtomicBool::new(false)).collect(),
            schedule: OnceLock::new(),
            is_input_complete: AtomicBool::new(false),
            is_unjournaled: CachePadded::new(AtomicBool::new(false)),
            told: Mutex::new(Vec::new()),
            waiter: thread::current(),
        }
    }

    /// Asks every thread to come to an end: what was published is still applied and journaled.
    pub(crate) fn stop(&self) {
        self.asked.fetch_max(STOP, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != RUN
    }

    /// Asks every thread to end where it is.
    pub(crate) fn abandon(&self) {
        self.asked.fetch_max(ABANDON, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.asked.load(Ordering::Relaxed) == ABANDON
    }

    /// Says that the calling thread is set up, and waits for the word to go. False: another one failed to set up.
    pub(crate) fn is_ready_and_go(&self) -> bool {
        self.ready.fetch_add(1, Ordering::Release);
        self.waiter.unpark();
        loop {
            match self.gate.load(Ordering::Acquire) {
                WAITING => thread::sleep(GATE_INTERVAL),
                gate => return gate == OPEN,
            }
        }
    }

    /// Says that the calling thread got the word to go, and waits until all did: no event is let in while a thread sleeps.
    pub(crate) fn take_place(&self) {
        self.in_place.fetch_add(1, Ordering::Release);
        while self.in_place.load(Ordering::Acquire) < self.ended.len() && !self.is_stopped() {
            thread::yield_now();
        }
    }

    /// Whether every thread is set up.
    pub(crate) fn are_all_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) == self.ended.len()
    }

    /// Whether a thread has ended.
    pub(crate) fn has_one_ended(&self) -> bool {
        self.running().count() < self.ended.len()
    }

    /// Places of the threads that have not ended.
    pub(crate) fn running(&self) -> impl Iterator<Item = usize> {
        let ended = self.ended.iter().map(|ended| ended.load(Ordering::Acquire));
        (0..).zip(ended).filter(|(_, ended)| !ended).map(|(place, _)| place)
    }

    /// Gives the word to go, or to go home.
    pub(crate) fn open_gate(&self, go: bool) {
        self.gate.store(if go { OPEN } else { SHUT }, Ordering::Release);
    }

    /// Fixes when paced events are due. Called once, by the core that waits for them.
    pub(crate) fn set_schedule(&self, start: Ticks, schedule: Schedule) {
        let _ = self.schedule.set((start, schedule));
    }

    /// When paced events are due; `None` in a run at full speed and before its first paced event.
    #[inline]
    pub(crate) fn schedule(&self) -> Option<&(Ticks, Schedule)> {
        self.schedule.get()
    }

    #[inline]
    pub(crate) fn set_events_applied(&self, events: u64) {
        self.events_applied.store(events, Ordering::Relaxed);
    }

    /// Says that the source was read to its end, before the ring is closed.
    pub(crate) fn set_input_complete(&self) {
        self.is_input_complete.store(true, Ordering::Release);
    }

    /// Whether the source was read to its end: asked once the ring is closed and empty.
    pub(crate) fn is_input_complete(&self) -> bool {
        self.is_input_complete.load(Ordering::Acquire)
    }

    /// Flags the run: its journal has failed, and it goes on without.
    pub(crate) fn set_unjournaled(&self) {
        self.is_unjournaled.store(true, Ordering::Relaxed);
    }

    /// Whether the run goes on without its journal.
    #[inline]
    pub(crate) fn is_unjournaled(&self) -> bool {
        self.is_unjournaled.load(Ordering::Relaxed)
    }

    /// Leaves something for the waiting thread to say. False when that cannot be done without waiting.
    #[cold]
    pub(crate) fn tell(&self, text: &str) -> bool {
        let Ok(mut told) = self.told.try_lock() else { return false };
        told.push(text.to_owned());
        true
    }

    /// Takes what threads left to be said.
    pub(crate) fn take_told(&self) -> Vec<String> {
        self.told.lock().map(|mut told| core::mem::take(&mut *told)).unwrap_or_default()
    }

    /// Says that `bytes` more will be touched by a thread.
    pub(crate) fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Says that `bytes` more have been touched.
    pub(crate) fn add_bytes_touched(&self, bytes: usize) {
        self.bytes_touched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of the books' memory touched, and in all.
    pub(crate) fn bytes_touched(&self) -> (u64, u64) {
        (self.bytes_touched.load(Ordering::Relaxed) as u64, self.bytes.load(Ordering::Relaxed) as u64)
    }

    pub(crate) fn events_applied(&self) -> u64 {
        self.events_applied.load(Ordering::Relaxed)
    }
}

/// Held by each thread of a run: when it goes, the waiting thread hears of it, and a panic stops the others.
#[derive(Debug)]
pub(crate) struct Attendance<'c> {
    pub(crate) control: &'c Control,
    /// Place of the thread among those of the run.
    pub(crate) place: usize,
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.control.stop();
        }
        self.control.ended[self.place].store(true, Ordering::Release);
        self.control.waiter.unpark();
    }
}

/// Held by the thread that waits for a run: if it goes early, by a panic, the others go home as well.
#[derive(Debug)]
pub(crate) struct Supervision<'c>(pub(crate) &'c Control);

impl Drop for Supervision<'_> {
    fn drop(&mut self) {
        self.0.stop();
        let _ = self.0.gate.compare_exchange(WAITING, SHUT, Ordering::Release, Ordering::Relaxed);
    }
}
