//! Stamps, and the nanoseconds between them.
//!
//! On x86-64 with an invariant time-stamp counter a stamp is `lfence` and `rdtsc`: the counter is not read before all that stands
//! before it is done, so a stamp cannot run ahead of the work that it stands behind, as `rdtsc` alone does. `rdtscp` waits
//! in the same way and costs more (on a 2-core virtual server 17 ns in a row, against 15). What comes after
//! begins when the counter begins to be read, so between two stamps lies the work between two fences, neither more nor less;
//! where nothing may begin before a stamp was taken, [`Clock::now_fenced`] adds another `lfence`. The counter is calibrated
//! against the monotonic clock at start. Elsewhere a stamp is a reading of the monotonic clock, and [`Clock::source`] says so.
//!
//! Worst case: the rate is the median of some short windows, good to about 10⁻⁵; it is not adjusted afterwards, so over hours
//! it drifts from a clock that NTP steers. Stamps of different cores are compared as they are: an invariant counter is
//! the same on all cores of a machine whose kernel uses it as its clock.

#![allow(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::thread;
use std::time::{Duration, Instant};

/// Windows over which the counter's rate is taken; the median counts.
const CALIBRATION_WINDOWS: usize = 9;

/// Length of each window.
const CALIBRATION_WINDOW: Duration = Duration::from_millis(4);

/// Readings of both clocks at the edge of a window, of which the tightest counts.
const READINGS_PER_EDGE: usize = 16;

/// Rates of a counter that are believed, in Hz; another means that the counter is not what it claims.
const PLAUSIBLE_HZ: core::ops::RangeInclusive<u128> = 100_000_000..=20_000_000_000;

/// Binary places of the factors between ticks and nanoseconds.
const FRACTION_BITS: u32 = 32;

/// Stamps in a row whose cost is measured together, and how often that is tried.
const COST_STAMPS: u32 = 256;
const COST_TRIES: u32 = 32;

/// A reading of a [`Clock`]: an instant, in a unit that only its clock knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ticks(pub u64);

/// Where stamps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSource {
    /// The processor's time-stamp counter, calibrated.
    CycleCounter,
    /// The operating system's monotonic clock.
    Monotonic,
}

impl ClockSource {
    /// The name that reports print.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CycleCounter => "cycle_counter",
            Self::Monotonic => "monotonic",
        }
    }
}

/// What a report says about the clock that it was measured with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockDescription {
    /// Where stamps come from.
    pub source: ClockSource,
    /// What one [`Clock::now`] costs, in nanoseconds.
    pub stamp_cost_ns: f64,
}

/// Takes stamps and turns them into nanoseconds, in integers. Never changes after it was made: threads share it or copy it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    source: ClockSource,
    /// Nanoseconds per tick, times 2³².
    ns_per_tick: u64,
    /// Ticks per nanosecond, times 2³².
    ticks_per_ns: u64,
    /// Tick 0 of [`ClockSource::Monotonic`].
    origin: Instant,
    stamp_cost_ns: f64,
}

impl Clock {
    /// The best clock of this machine. Takes about 40 ms where there is a counter to calibrate.
    #[must_use]
    pub fn calibrate() -> Self {
        let Some((ticks, elapsed_ns)) = cycle_counter::is_usable().then(measure_rate).flatten() else {
            return Self::monotonic();
        };
        Self::with_rate(ClockSource::CycleCounter, ticks, elapsed_ns)
    }

    /// A clock that reads the operating system's monotonic clock, as [`Clock::calibrate`] gives where there is no usable
    /// counter.
    #[must_use]
    pub fn monotonic() -> Self {
        Self::with_rate(ClockSource::Monotonic, 1, 1)
    }

    /// A clock on which `ticks` pass in `elapsed_ns`, both above 0.
    fn with_rate(source: ClockSource, ticks: u64, elapsed_ns: u64) -> Self {
        let ratio = |part: u64, whole: u64| ((u128::from(part) << FRACTION_BITS) / u128::from(whole)) as u64;
        let mut clock = Self {
            source,
            ns_per_tick: ratio(elapsed_ns, ticks),
            ticks_per_ns: ratio(ticks, elapsed_ns),
            origin: Instant::now(),
            stamp_cost_ns: 0.0,
        };
        clock.stamp_cost_ns = clock.measure_stamp_cost_ns();
        clock
    }

    /// A stamp that is not taken before what stands before it is done. About 15 ns with the counter.
    #[inline(always)]
    pub fn now(&self) -> Ticks {
        match self.source {
            ClockSource::CycleCounter => Ticks(cycle_counter::read()),
            ClockSource::Monotonic => self.now_monotonic(),
        }
    }

    /// As [`Clock::now`], and nothing that stands after it begins before the stamp is taken: where what follows is another
    /// reading, or seen by another core.
    #[inline(always)]
    pub fn now_fenced(&self) -> Ticks {
        match self.source {
            ClockSource::CycleCounter => Ticks(cycle_counter::read_fenced()),
            ClockSource::Monotonic => self.now_monotonic(),
        }
    }

    #[inline]
    fn now_monotonic(&self) -> Ticks {
        Ticks(self.origin.elapsed().as_nanos() as u64)
    }

    /// Nanoseconds from `start` to `end`; 0 when `end` is the earlier.
    #[inline]
    pub fn ns_between(&self, start: Ticks, end: Ticks) -> u64 {
        scale(end.0.saturating_sub(start.0), self.ns_per_tick)
    }

    /// The instant `delay_ns` after `start`.
    #[inline]
    #[must_use]
    pub fn after(&self, start: Ticks, delay_ns: u64) -> Ticks {
        Ticks(start.0.saturating_add(scale(delay_ns, self.ticks_per_ns)))
    }

    /// Where stamps come from.
    pub fn source(&self) -> ClockSource {
        self.source
    }

    /// What one [`Clock::now`] costs in nanoseconds, measured when the clock was made: the least of some tries.
    pub fn stamp_cost_ns(&self) -> f64 {
        self.stamp_cost_ns
    }

    /// Source and cost together, for a report.
    pub fn description(&self) -> ClockDescription {
        ClockDescription { source: self.source, stamp_cost_ns: self.stamp_cost_ns }
    }

    fn measure_stamp_cost_ns(&self) -> f64 {
        let one_try = |_| {
            let start = self.now();
            for _ in 1..COST_STAMPS {
                core::hint::black_box(self.now());
            }
            self.ns_between(start, self.now())
        };
        let least_ns = (0..COST_TRIES).map(one_try).min().unwrap_or(0);
        least_ns as f64 / f64::from(COST_STAMPS)
    }
}

/// `count` times a factor of [`FRACTION_BITS`] binary places. What exceeds 64 bits ends at the largest number.
#[inline]
fn scale(count: u64, factor: u64) -> u64 {
    u64::try_from((u128::from(count) * u128::from(factor)) >> FRACTION_BITS).unwrap_or(u64::MAX)
}

/// Ticks of the counter and nanoseconds that pass in the same time, or `None` when the counter's rate is not plausible.
fn measure_rate() -> Option<(u64, u64)> {
    let mut windows = [(0_u64, 0_u64); CALIBRATION_WINDOWS];
    let mut edge = read_both_clocks();
    for window in &mut windows {
        thread::sleep(CALIBRATION_WINDOW);
        let next = read_both_clocks();
        *window = (next.0.checked_sub(edge.0)?, (next.1 - edge.1).as_nanos() as u64);
        edge = next;
    }
    windows.sort_by_key(|&(ticks, elapsed_ns)| (u128::from(ticks) << FRACTION_BITS) / u128::from(elapsed_ns.max(1)));
    let (ticks, elapsed_ns) = windows[CALIBRATION_WINDOWS / 2];
    let hertz = u128::from(ticks) * 1_000_000_000 / u128::from(elapsed_ns.max(1));
    PLAUSIBLE_HZ.contains(&hertz).then_some((ticks, elapsed_ns))
}

/// The same moment on the counter and on the monotonic clock: the reading least torn apart by an interruption.
fn read_both_clocks() -> (u64, Instant) {
    let reading = |_| {
        let before = cycle_counter::read_fenced();
        let instant = Instant::now();
        let width = cycle_counter::read().saturating_sub(before);
        (width, before + width / 2, instant)
    };
    let first = reading(0);
    let (_, ticks, instant) =
        (1..READINGS_PER_EDGE).map(reading).fold(first, |best, next| if next.0 < best.0 { next } else { best });
    (ticks, instant)
}

#[cfg(target_arch = "x86_64")]
mod cycle_counter {
    use core::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc};

    /// Leaf of the largest extended leaf and of power management (invariant counter).
    const EXTENDED_LEAVES: u32 = 0x8000_0000;
    const POWER_MANAGEMENT: u32 = 0x8000_0007;
    const INVARIANT_BIT: u32 = 1 << 8;

    /// Whether the counter runs at one rate in every state of the processor.
    pub(super) fn is_usable() -> bool {
        __cpuid(EXTENDED_LEAVES).eax >= POWER_MANAGEMENT && __cpuid(POWER_MANAGEMENT).edx & INVARIANT_BIT != 0
    }

    #[inline(always)]
    pub(super) fn read() -> u64 {
        // SAFETY: LFENCE is part of SSE2, which every x86-64 processor has, as all have RDTSC.
        unsafe {
            _mm_lfence();
            _rdtsc()
        }
    }

    /// What a stamp must not be: read whenever the processor comes to it.
    #[cfg(test)]
    pub(super) fn read_unordered() -> u64 {
        // SAFETY: every x86-64 processor has RDTSC.
        unsafe { _rdtsc() }
    }

    #[inline(always)]
    pub(super) fn read_fenced() -> u64 {
        let ticks = read();
        // SAFETY: LFENCE is part of SSE2, which every x86-64 processor has.
        unsafe { _mm_lfence() };
        ticks
    }
}

/// No counter is known here: [`is_usable`](cycle_counter::is_usable) keeps the readings from being asked for.
#[cfg(not(target_arch = "x86_64"))]
mod cycle_counter {
    pub(super) const fn is_usable() -> bool {
        false
    }

    pub(super) const fn read() -> u64 {
        0
    }

    pub(super) const fn read_fenced() -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hint::black_box;
    use proptest::prelude::*;

    fn both() -> [Clock; 2] {
        [Clock::calibrate(), Clock::monotonic()]
    }

    #[test]
    fn stamps_never_go_back() {
        for clock in both() {
            let mut last = clock.now();
            for _ in 0..100_000 {
                let [one, other] = [clock.now_fenced(), clock.now()];
                assert!(last <= one && one <= other, "{:?}: {last:?} {one:?} {other:?}", clock.source());
                last = other;
            }
        }
    }

    /// A preempted thread can be late between two readings, so the best of some tries counts.
    #[test]
    fn fifty_milliseconds_are_fifty_within_one_percent() {
        for clock in both() {
            let error_of_one_try = |_| {
                let (start, instant) = (clock.now(), Instant::now());
                thread::sleep(Duration::from_millis(50));
                let (end, elapsed_ns) = (clock.now(), instant.elapsed().as_nanos() as u64);
                clock.ns_between(start, end).abs_diff(elapsed_ns) * 1_000 / elapsed_ns
            };
            let least = (0..5).map(error_of_one_try).min().unwrap();
            assert!(least < 10, "{:?} is {least} per mille off", clock.source());
        }
    }

    /// A chain of divisions, each of which needs the one before, short enough for a processor to have all of it begun.
    #[inline(always)]
    fn chain(start: u64) -> u64 {
        (0..40).fold(start, |one, number| black_box(one | 1 << 63) / (3 + number) + number)
    }

    /// Ticks from a stamp before a chain to a reading of `end` behind it, of which the least of many tries counts.
    #[cfg(target_arch = "x86_64")]
    fn ticks_of_chain(clock: &Clock, end: impl Fn() -> u64) -> u64 {
        let one_try = |seed: u64| {
            let start = clock.now_fenced().0;
            let result = chain(seed);
            let ticks = end() - start;
            black_box(result);
            ticks
        };
        (0..10_000).map(one_try).min().unwrap()
    }

    /// The control is `rdtsc` alone, which is read while the chain still runs.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_stamp_does_not_run_ahead_of_the_work_before_it() {
        let clock = Clock::calibrate();
        if clock.source() != ClockSource::CycleCounter {
            return;
        }
        // A core that another thread shares has less of the chain begun: the two are near each other then, and never the same.
        let one_try = |_| {
            let stamped = ticks_of_chain(&clock, || clock.now().0);
            let ahead = ticks_of_chain(&clock, cycle_counter::read_unordered);
            (ahead * 10 < stamped * 9).then_some(()).ok_or((ahead, stamped))
        };
        let tries: Vec<Result<(), (u64, u64)>> = (0..5).map(one_try).collect();
        assert!(tries.iter().any(Result::is_ok), "(ticks by rdtsc alone, by a stamp): {tries:?}");
    }

    #[test]
    fn a_stamp_states_a_cost_that_can_be_true() {
        for clock in both() {
            let description = clock.description();
            assert!((0.5..10_000.0).contains(&description.stamp_cost_ns), "{description:?}");
        }
    }

    #[test]
    fn known_rates_convert_exactly() {
        let clock = Clock::with_rate(ClockSource::Monotonic, 2, 1);
        assert_eq!(clock.ns_between(Ticks(100), Ticks(2_100)), 1_000);
        assert_eq!(clock.ns_between(Ticks(2_100), Ticks(100)), 0, "the earlier end");
        assert_eq!(clock.after(Ticks(100), 1_000), Ticks(2_100));
        assert_eq!(clock.ns_between(Ticks(0), Ticks(u64::MAX)), u64::MAX / 2);
        assert_eq!(clock.after(Ticks(0), u64::MAX), Ticks(u64::MAX), "beyond 64 bits");
    }

    proptest! {
        #[test]
        fn a_delay_comes_back(hertz in 100_000_000_u64..20_000_000_000, delay_ns in 0_u64..86_400_000_000_000) {
            let clock = Clock::with_rate(ClockSource::Monotonic, hertz, 1_000_000_000);
            let measured_ns = clock.ns_between(Ticks(7), clock.after(Ticks(7), delay_ns));
            // A tick may be cut off, which at 100 MHz is 10 ns, and each factor is good to 2⁻³¹ of itself at worst.
            prop_assert!(measured_ns.abs_diff(delay_ns) <= 11 + (delay_ns >> 27), "{measured_ns} for {delay_ns}");
        }
    }
}
