//! What a thread of an engine counts of itself, and whether it was kept from looping.
//!
//! A pinned thread turns in a loop: it takes what is there, or finds nothing. It stamps the time after each slice of
//! events and after some idle turns; when a stamp comes later than the one before by more than a threshold, that was a
//! stall. With nothing to do, only the machine can have kept it: preemption, an interrupt, a hypervisor. While it worked,
//! the machine or the program may have: a page that was not there, a strategy that took long. The two are kept apart, and
//! the kernel's own count of the time in which the thread was ready and another one ran stands beside them.
//!
//! Cost: a stamp (some 10 ns) for 64 events or for 16 idle turns, and one store for each counter and batch.

use crate::outcome::StallOutcome;
use crate::stat::{Counter, Slot};
use tickcore_book::{Anomaly, AnomalyCounts, Sequence};
use tickcore_latency::{Clock, Recorder, Ticks};

/// Events between two stamps: about five microseconds of work, a quarter of the usual threshold.
pub(crate) const SLICE_EVENTS: usize = 64;
/// Longest stalls with nothing to do that are kept one by one.
const STALLS_KEPT: usize = 32;
/// Idle turns between two stamps: below a microsecond.
const TURNS_PER_STAMP: u32 = 16;

/// Counts and watches for one thread.
#[derive(Debug)]
pub(crate) struct Meter<'r> {
    clock: &'r Clock,
    slot: Slot<'r>,
    last: Ticks,
    /// Longest distance of two stamps that is no stall.
    threshold: u64,
    idle_turns: u32,
    events: u64,
    batches: u64,
    skipped: u64,
    pub(crate) stalls_idle: Recorder,
    pub(crate) stalls_working: Recorder,
    stalled_ns: u64,
    /// When the loop began.
    began: Ticks,
    kept: Vec<StallOutcome>,
}

impl<'r> Meter<'r> {
    /// For a thread whose stalls are those above `threshold_ns`; 0 watches for none.
    pub(crate) fn new(clock: &'r Clock, slot: Slot<'r>, threshold_ns: u64) -> Self {
        Self {
            clock,
            slot,
            last: clock.now(),
            threshold: if threshold_ns == 0 { u64::MAX } else { clock.after(Ticks(0), threshold_ns).0 },
            idle_turns: 0,
            events: 0,
            batches: 0,
            skipped: 0,
            stalls_idle: Recorder::new(),
            stalls_working: Recorder::new(),
            stalled_ns: 0,
            began: Ticks::default(),
            kept: Vec::with_capacity(STALLS_KEPT),
        }
    }

    /// The loop begins, with the run.
    pub(crate) fn begin(&mut self) {
        self.restart();
        self.began = self.last;
    }

    /// Begins anew: what was before was no loop, or a sleep that was meant.
    #[inline]
    pub(crate) fn restart(&mut self) {
        self.last = self.clock.now();
    }

    /// The thread slept in the kernel, as it meant to: no stall, and it loops.
    #[inline]
    pub(crate) fn slept(&mut self) {
        self.restart();
        self.slot.set(Counter::Heartbeat, self.last.0);
    }

    /// A turn found nothing to do.
    #[inline]
    pub(crate) fn idle(&mut self) {
        self.idle_turns += 1;
        if self.idle_turns.is_multiple_of(TURNS_PER_STAMP) {
            self.idle_at(self.clock.now());
        }
    }

    /// As [`Meter::idle`], where the time is known.
    #[inline]
    pub(crate) fn idle_at(&mut self, now: Ticks) {
        if now.0.saturating_sub(self.last.0) > self.threshold {
            self.stalled(now, false);
        }
        self.last = now;
        self.slot.set(Counter::Heartbeat, now.0);
    }

    /// A slice of events has been handled.
    #[inline]
    pub(crate) fn worked(&mut self) {
        self.worked_at(self.clock.now());
    }

    /// As [`Meter::worked`], where the time is known.
    #[inline]
    pub(crate) fn worked_at(&mut self, now: Ticks) {
        if now.0.saturating_sub(self.last.0) > self.threshold {
            self.stalled(now, true);
        }
        self.last = now;
    }

    /// A batch has been handled: `events` of this thread's own, `skipped` of others, all up to `through`.
    #[inline]
    pub(crate) fn batch(&mut self, events: usize, skipped: usize, through: Sequence) {
        self.events += events as u64;
        self.skipped += skipped as u64;
        self.batches += 1;
        self.slot.set(Counter::Events, self.events);
        self.slot.set(Counter::Sequence, through.get());
        self.slot.set(Counter::Batches, self.batches);
        if skipped > 0 {
            self.slot.set(Counter::Skipped, self.skipped);
        }
        self.slot.set(Counter::Heartbeat, self.last.0);
    }

    #[inline]
    pub(crate) fn anomalies(&self, counts: &AnomalyCounts) {
        self.slot.set(Counter::Gaps, counts.of(Anomaly::Gap));
        self.slot.set(Counter::Anomalies, counts.total());
    }

    #[inline]
    pub(crate) fn set(&self, counter: Counter, value: u64) {
        self.slot.set(counter, value);
    }

    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    pub(crate) const fn batches(&self) -> u64 {
        self.batches
    }

    pub(crate) const fn skipped(&self) -> u64 {
        self.skipped
    }

    #[cold]
    #[inline(never)]
    fn stalled(&mut self, now: Ticks, is_working: bool) {
        let stall_ns = self.clock.ns_between(self.last, now);
        let (recorder, counter) = match is_working {
            true => (&mut self.stalls_working, Counter::StallsWorking),
            false => (&mut self.stalls_idle, Counter::StallsIdle),
        };
        recorder.record(stall_ns);
        if !is_working {
            self.keep(StallOutcome { at_ns: self.clock.ns_between(self.began, self.last), length_ns: stall_ns });
        }
        let count = if is_working { self.stalls_working.count() } else { self.stalls_idle.count() };
        self.slot.set(counter, count);
        self.stalled_ns += stall_ns;
        self.slot.set(Counter::StalledNs, self.stalled_ns);
        if stall_ns > self.slot.get(Counter::LongestStallNs) {
            self.slot.set(Counter::LongestStallNs, stall_ns);
        }
    }

    fn keep(&mut self, stall: StallOutcome) {
        if self.kept.len() < STALLS_KEPT {
            self.kept.push(stall);
        } else if let Some(shortest) = self.kept.iter_mut().min_by_key(|kept| kept.length_ns)
            && shortest.length_ns < stall.length_ns
        {
            *shortest = stall;
        }
    }

    /// The longest stalls with nothing to do, in the order of time.
    pub(crate) fn longest_stalls(&self) -> Vec<StallOutcome> {
        let mut longest = self.kept.clone();
        longest.sort_by_key(|stall| stall.at_ns);
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::thread;
    use std::time::Duration;

    fn words() -> [AtomicU64; crate::stat::BLOCK_WORDS] {
        core::array::from_fn(|_| AtomicU64::new(0))
    }

    #[test]
    fn a_pause_is_a_stall_of_its_kind_and_a_meant_one_is_none() {
        let (clock, words) = (Clock::monotonic(), words());
        let pause = || thread::sleep(Duration::from_millis(12));
        let mut meter = Meter::new(&clock, Slot::over(&words), 10_000_000);
        pause();
        meter.worked();
        assert_eq!((meter.stalls_idle.count(), meter.stalls_working.count()), (0, 1));
        pause();
        (0..TURNS_PER_STAMP).for_each(|_| meter.idle());
        assert_eq!((meter.stalls_idle.count(), meter.stalls_working.count()), (1, 1));
        pause();
        meter.restart();
        meter.worked();
        assert_eq!(meter.stalls_working.count(), 1);
        let slot = Slot::over(&words);
        assert_eq!((slot.get(Counter::StallsIdle), slot.get(Counter::StallsWorking)), (1, 1));
        assert!(slot.get(Counter::LongestStallNs) >= 12_000_000 && slot.get(Counter::StalledNs) >= 24_000_000);
        let mut off = Meter::new(&clock, Slot::over(&words), 0);
        pause();
        off.worked();
        assert_eq!(off.stalls_working.count(), 0);
    }

    #[test]
    fn the_longest_stalls_are_kept_with_their_time() {
        let (clock, words) = (Clock::monotonic(), words());
        let mut meter = Meter::new(&clock, Slot::over(&words), 1);
        meter.begin();
        let began = meter.last;
        for stall in 1..=STALLS_KEPT as u64 + 10 {
            // Each a millisecond after the one before, and longer.
            meter.last = clock.after(began, stall * 1_000_000);
            meter.idle_at(clock.after(meter.last, stall * 10_000));
        }
        let longest = meter.longest_stalls();
        assert_eq!(longest.len(), STALLS_KEPT);
        assert_eq!((longest[0].at_ns, longest[0].length_ns), (11_000_000, 110_000));
        assert!(longest.is_sorted_by_key(|stall| (stall.at_ns, stall.length_ns)));
        meter.last = clock.after(began, 90_000_000);
        meter.worked_at(clock.after(meter.last, 5_000_000));
        assert_eq!(meter.longest_stalls(), longest, "what may be the program's is not among them");
    }

    #[test]
    fn batches_are_added_up() {
        let (clock, words) = (Clock::monotonic(), words());
        let mut meter = Meter::new(&clock, Slot::over(&words), 0);
        meter.batch(3, 5, Sequence(8));
        meter.batch(1, 0, Sequence(9));
        let slot = Slot::over(&words);
        let counters =
            [Counter::Events, Counter::Skipped, Counter::Batches, Counter::Sequence].map(|one| slot.get(one));
        assert_eq!(counters, [4, 5, 2, 9]);
    }
}
