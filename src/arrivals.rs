//! How long ago an event arrived: receive times are of the machine's clock, stamps are of the engine's.
//!
//! The thread that waits for the run reads both clocks together, twenty times a second, and leaves what it read (an anchor) to
//! the cores, which count from there. So neither clock has to be asked on a core, and neither the calibration's error (up to
//! 10⁻⁵) nor a machine's clock that is slewed adds up: the rate is that of the last second or two, and within the 50 ms to the next
//! anchor its error is a fraction of a microsecond. Where the machine's clock is set, values are off for as long.

use core::sync::atomic::{AtomicU64, Ordering, fence};
use crossbeam_utils::CachePadded;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tickcore_book::{Event, Flags};
use tickcore_latency::{Clock, Ticks};

/// Readings of both clocks for an anchor, of which the tightest counts.
const READINGS: usize = 8;
/// Over how much time the rate is taken, at least.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// A rate this far from the calibrated one, in parts per thousand, is that of a clock that was set meanwhile.
const RATE_OFF_MAX_PER_MILLE: u64 = 1;
/// Nobody waits for so long: such a receive time is of another unit or another clock.
const ABSURD_NS: i64 = 3_600_000_000_000;

/// Receive times of a live run that a stage could not count from, by what was wrong with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrivalFaults {
    /// There was none.
    pub missing: u64,
    /// The source says that it cannot be trusted.
    pub untrusted: u64,
    /// Behind the stamp that was taken when the event was there.
    pub ahead: u64,
    /// More than an hour before it.
    pub absurd: u64,
}

impl ArrivalFaults {
    /// Adds those of another core.
    pub(crate) fn add(&mut self, other: &Self) {
        self.missing += other.missing;
        self.untrusted += other.untrusted;
        self.ahead += other.ahead;
        self.absurd += other.absurd;
    }

    /// How long that is, if it can be.
    fn checked(&mut self, ns: i64) -> Option<u64> {
        match ns {
            ..0 => self.ahead += 1,
            0..=ABSURD_NS => return Some(ns.cast_unsigned()),
            _ => self.absurd += 1,
        }
        None
    }
}

/// The same moment on both clocks, and the rate from there on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Anchor {
    ticks: u64,
    unix_ns: u64,
    /// Nanoseconds of the machine's clock a tick, times 2³².
    ns_per_tick: u64,
}

impl Anchor {
    /// The machine's clock at a stamp.
    fn unix_ns(&self, at: Ticks) -> i64 {
        let ticks = i128::from(at.0) - i128::from(self.ticks);
        let ns = (ticks * i128::from(self.ns_per_tick)) >> 32;
        (i128::from(self.unix_ns) + ns) as i64
    }
}

/// The anchor of a run: one thread leaves it, cores read it.
#[derive(Debug)]
pub(crate) struct Anchorage {
    /// Odd while it is changed.
    version: CachePadded<AtomicU64>,
    words: [AtomicU64; 3],
}

impl Anchorage {
    fn new(anchor: Anchor) -> Self {
        Self {
            version: CachePadded::new(AtomicU64::new(0)),
            words: [anchor.ticks, anchor.unix_ns, anchor.ns_per_tick].map(AtomicU64::new),
        }
    }

    /// Called by one thread alone.
    fn set(&self, anchor: Anchor) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let words = [anchor.ticks, anchor.unix_ns, anchor.ns_per_tick];
        self.words.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
        self.version.store(version + 2, Ordering::Release);
    }

    /// The anchor and its version, unless it is being changed.
    fn get(&self) -> Option<(u64, Anchor)> {
        let version = self.version.load(Ordering::Acquire);
        let [ticks, unix_ns, ns_per_tick] = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let is_whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        is_whole.then_some((version, Anchor { ticks, unix_ns, ns_per_tick }))
    }
}

/// Keeps the anchor near the present: belongs to the thread that waits for the run.
#[derive(Debug)]
pub(crate) struct Pilot<'r> {
    clock: &'r Clock,
    anchorage: &'r Anchorage,
    /// From where the rate is taken, and the one that comes after it.
    base: Anchor,
    next_base: Anchor,
}

/// An anchor at this moment.
pub(crate) fn anchorage(clock: &Clock) -> Anchorage {
    Anchorage::new(read_both(clock, calibrated(clock)))
}

/// The clock's own rate.
fn calibrated(clock: &Clock) -> u64 {
    clock.ns_between(Ticks(0), Ticks(1 << 32))
}

fn read_both(clock: &Clock, ns_per_tick: u64) -> Anchor {
    let reading = |_| {
        let before = clock.now_fenced();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let width = clock.now().0.saturating_sub(before.0);
        (width, Anchor { ticks: before.0 + width / 2, unix_ns: unix.as_nanos() as u64, ns_per_tick })
    };
    let tightest = (0..READINGS).map(reading).min_by_key(|(width, _)| *width);
    tightest.map(|(_, anchor)| anchor).unwrap_or_default()
}

impl<'r> Pilot<'r> {
    pub(crate) fn new(clock: &'r Clock, anchorage: &'r Anchorage) -> Self {
        let base = anchorage.get().map_or_else(|| read_both(clock, calibrated(clock)), |(_, anchor)| anchor);
        Self { clock, anchorage, base, next_base: base }
    }

    /// Leaves a new anchor.
    pub(crate) fn follow(&mut self) {
        self.follow_from(read_both(self.clock, self.base.ns_per_tick));
    }

    fn follow_from(&mut self, mut now: Anchor) {
        let window_ns = RATE_WINDOW.as_nanos() as u64;
        let calibrated = calibrated(self.clock);
        let elapsed_ns = |from: &Anchor| self.clock.ns_between(Ticks(from.ticks), Ticks(now.ticks));
        if elapsed_ns(&self.base) >= window_ns {
            let (ns, ticks) = (now.unix_ns.saturating_sub(self.base.unix_ns), now.ticks - self.base.ticks);
            let rate = ((u128::from(ns) << 32) / u128::from(ticks.max(1))) as u64;
            if rate.abs_diff(calibrated) > calibrated / 1_000 * RATE_OFF_MAX_PER_MILLE {
                // The clock was set.
                now.ns_per_tick = calibrated;
                (self.base, self.next_base) = (now, now);
            } else {
                now.ns_per_tick = rate;
                self.base.ns_per_tick = rate;
                if elapsed_ns(&self.next_base) >= window_ns {
                    (self.base, self.next_base) = (Anchor { ns_per_tick: rate, ..self.next_base }, now);
                }
            }
        }
        self.anchorage.set(now);
    }
}

/// Tells a core how long ago events arrived.
#[derive(Debug)]
pub(crate) struct Arrivals<'r> {
    anchorage: &'r Anchorage,
    version: u64,
    anchor: Anchor,
    pub(crate) faults: ArrivalFaults,
}

impl<'r> Arrivals<'r> {
    pub(crate) fn new(anchorage: &'r Anchorage) -> Self {
        let mut arrivals =
            Self { anchorage, version: u64::MAX, anchor: Anchor::default(), faults: ArrivalFaults::default() };
        arrivals.refresh();
        arrivals
    }

    /// Takes on a new anchor, if there is one. Costs a load.
    #[inline]
    pub(crate) fn refresh(&mut self) {
        if self.anchorage.version.load(Ordering::Relaxed) != self.version
            && let Some((version, anchor)) = self.anchorage.get()
        {
            (self.version, self.anchor) = (version, anchor);
        }
    }

    /// The receive time of an event, if it has one that is meant.
    #[inline]
    pub(crate) fn of(&mut self, event: &Event) -> Option<u64> {
        if event.receive_time.get() == 0 {
            self.faults.missing += 1;
        } else if event.flags.contains(Flags::BAD_RECEIVE_TIME) {
            self.faults.untrusted += 1;
        } else {
            return Some(event.receive_time.get());
        }
        None
    }

    /// From a receive time to a stamp, if that can be. Counted where not.
    #[inline]
    pub(crate) fn ns_until(&mut self, received: u64, at: Ticks) -> Option<u64> {
        let ns = self.anchor.unix_ns(at).saturating_sub_unsigned(received);
        self.faults.checked(ns)
    }

    /// From a receive time to one of two stamps, of which the earlier was taken when the core began to look and the later when it had the
    /// event: what arrived between them was taken up at once. Says which stamp, and how long.
    pub(crate) fn ns_until_either(&mut self, received: u64, begun: Ticks, had: Ticks) -> Option<Taken> {
        let until = |at| self.anchor.unix_ns(at).saturating_sub_unsigned(received);
        let (waited_ns, had_ns) = (until(begun), until(had));
        if waited_ns < 0 && had_ns >= 0 {
            return Some(Taken { waited_ns: 0, decoded_ns: Some(had_ns.cast_unsigned()) });
        }
        self.faults.checked(waited_ns).map(|waited_ns| Taken { waited_ns, decoded_ns: None })
    }
}

/// How an event that arrived was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) waited_ns: u64,
    /// From arriving to being decoded, where it arrived while its core looked.
    pub(crate) decoded_ns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use tickcore_book::{InstrumentId, Kind, TimestampNs};

    fn event(receive_time: u64, flags: Flags) -> Event {
        let event = Event::new(Kind::Delete, InstrumentId(1), TimestampNs(1));
        Event { receive_time: TimestampNs(receive_time), flags, ..event }
    }

    fn unix_ns() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
    }

    #[test]
    fn receive_times_are_counted_from_or_counted() {
        let clock = Clock::calibrate();
        let anchorage = anchorage(&clock);
        let mut arrivals = Arrivals::new(&anchorage);
        // The best of some tries: somebody else may have the core between two readings.
        let one_try = |arrivals: &mut Arrivals<'_>| {
            let received = arrivals.of(&event(unix_ns() - 500_000, Flags::NONE)).unwrap();
            arrivals.ns_until(received, clock.now()).unwrap()
        };
        let ns = (0..100).map(|_| one_try(&mut arrivals)).min().unwrap();
        assert!((499_000..520_000).contains(&ns), "{ns} ns ago, not 500 us");
        assert_eq!(arrivals.faults, ArrivalFaults::default());
        assert_eq!(arrivals.of(&event(0, Flags::NONE)), None);
        assert_eq!(arrivals.of(&event(7, Flags::BAD_RECEIVE_TIME)), None);
        for _ in 0..2 {
            assert_eq!(arrivals.ns_until(unix_ns() + 1_000_000_000, clock.now()), None);
        }
        // Microseconds.
        assert_eq!(arrivals.ns_until(unix_ns() / 1_000, clock.now()), None);
        assert_eq!(arrivals.faults, ArrivalFaults { missing: 1, untrusted: 1, ahead: 2, absurd: 1 });
    }

    #[test]
    fn what_arrives_while_the_core_looks_is_taken_up_at_once() {
        let anchorage = Anchorage::new(Anchor { ticks: 1_000, unix_ns: 50_000, ns_per_tick: 1 << 32 });
        let mut arrivals = Arrivals::new(&anchorage);
        let mut until = |received| arrivals.ns_until_either(received, Ticks(2_000), Ticks(2_300));
        assert_eq!(until(50_900), Some(Taken { waited_ns: 100, decoded_ns: None }));
        assert_eq!(until(51_100), Some(Taken { waited_ns: 0, decoded_ns: Some(200) }));
        assert_eq!(until(51_301), None);
        assert_eq!(arrivals.faults.ahead, 1);
    }

    /// A clock that is calibrated wrongly by 400 parts in a million, or a machine's clock that is slewed by as much, and one that is set.
    #[test]
    fn a_drift_does_not_add_up() {
        let clock = Clock::monotonic();
        // A tick is a nanosecond of this clock, and the machine's clock is quicker.
        let unix = |ticks: u64| 1_000_000_000_000 + ticks + ticks / 2_500;
        let anchor = |ticks: u64, offset: u64| Anchor { ticks, unix_ns: unix(ticks) + offset, ns_per_tick: 1 << 32 };
        let anchorage = Anchorage::new(anchor(0, 0));
        let mut pilot = Pilot::new(&clock, &anchorage);
        let mut arrivals = Arrivals::new(&anchorage);
        let mut off_at = |step: u64, offset| {
            pilot.follow_from(anchor(step * 50_000_000, offset));
            arrivals.refresh();
            let between = step * 50_000_000 + 49_000_000;
            arrivals.anchor.unix_ns(Ticks(between)) - (unix(between) + offset).cast_signed()
        };
        for step in 1..2_000 {
            let off_ns = off_at(step, 0);
            // For the first second at the calibrated rate: 50 ms are 20 us off then, and not more with each.
            assert!(off_ns.abs() < if step < 20 { 20_000 } else { 100 }, "{off_ns} ns off at {step}");
        }
        for step in 2_000..3_000 {
            let off_ns = off_at(step, 5_000_000_000);
            assert!(off_ns.abs() < 20_000, "{off_ns} ns off at {step}, after the clock was set");
        }
    }

    #[test]
    fn an_anchor_is_read_whole() {
        let anchorage = Anchorage::new(Anchor::default());
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                (1..200_000).for_each(|one| anchorage.set(Anchor { ticks: one, unix_ns: one, ns_per_tick: one }));
            });
            let mut arrivals = Arrivals::new(&anchorage);
            while !writer.is_finished() {
                arrivals.refresh();
                let Anchor { ticks, unix_ns, ns_per_tick } = arrivals.anchor;
                assert!(ticks == unix_ns && unix_ns == ns_per_tick, "{:?}", arrivals.anchor);
            }
        });
    }
}
