//! One event each microsecond, from a stamp before it is sent to a stamp after it was received.
//!
//! The second stamp stands behind the reading of every word of the event. Both stamps are in what is measured. Where the
//! counter ticks in steps (some processors count 26 at once) a percentile is interpolated within its step.

use super::Cores;
use super::contenders::{Receiver, Sender};
use anyhow::ensure;
use crossbeam_utils::CachePadded;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use tickcore_book::{Event, TimestampNs};
use tickcore_latency::{Clock, Ticks};

/// Time between two events.
pub(super) const INTERVAL_NS: u64 = 1_000;

/// Events before those that count.
const WARM_UP_EVENTS: usize = 20_000;

/// Stamp pairs and stamps of which cost and step are taken.
const STAMPS: usize = 20_000;

/// The clock's ticks as nanoseconds, and what the ruler itself is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruler {
    clock: Clock,
    ns_per_tick: f64,
    step_ticks: u64,
    /// What two stamps with nothing between them measure, p50.
    pub(super) stamps_ns: f64,
    /// By how much the reader's counter is ahead of the writer's, as far as a round trip shows.
    pub(super) offset_ns: f64,
}

/// Percentiles of one run, stamps included.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneWay {
    pub(super) p50_ns: f64,
    pub(super) p90_ns: f64,
    pub(super) p99_ns: f64,
}

impl Ruler {
    pub(super) fn new(cores: Cores) -> Self {
        const LONG_TICKS: u64 = 1 << 30;
        let clock = Clock::calibrate();
        let ns_per_tick = clock.ns_between(Ticks(0), Ticks(LONG_TICKS)) as f64 / LONG_TICKS as f64;
        let stamps: Vec<u64> = (0..STAMPS).map(|_| clock.now().0).collect();
        let step_ticks = stamps.windows(2).fold(0, |step, pair| greatest_divisor(step, pair[1] - pair[0])).max(1);
        let mut ruler = Self { clock, ns_per_tick, step_ticks, stamps_ns: 0.0, offset_ns: 0.0 };
        let pairs = (0..STAMPS).map(|_| {
            let start = clock.now_fenced().0;
            clock.now().0 - start
        });
        ruler.stamps_ns = ruler.percentile(&sorted(pairs.collect()), 0.5);
        ruler.offset_ns = ruler.offset_ns(cores);
        ruler
    }

    /// Nanoseconds by which the counter steps.
    pub(super) fn step_ns(&self) -> f64 {
        self.step_ticks as f64 * self.ns_per_tick
    }

    /// Half of what the quickest way there seems to take longer than the quickest way back.
    fn offset_ns(&self, cores: Cores) -> f64 {
        const TURNS: u64 = 100_000;
        let (question, answer) = (CachePadded::new(AtomicU64::new(0)), CachePadded::new(AtomicU64::new(0)));
        thread::scope(|scope| {
            scope.spawn(|| {
                cores.pin_reader();
                for turn in 1..=TURNS {
                    while question.load(Ordering::Acquire) != turn {
                        spin_loop();
                    }
                    answer.store(self.clock.now().0, Ordering::Release);
                }
            });
            let (mut there, mut back) = (i64::MAX, i64::MAX);
            let mut previous = 0;
            for turn in 1..=TURNS {
                let start = self.clock.now().0;
                question.store(turn, Ordering::Release);
                let mut middle = answer.load(Ordering::Acquire);
                while middle == previous {
                    spin_loop();
                    middle = answer.load(Ordering::Acquire);
                }
                previous = middle;
                let end = self.clock.now().0;
                there = there.min(middle.wrapping_sub(start).cast_signed());
                back = back.min(end.wrapping_sub(middle).cast_signed());
            }
            (there - back) as f64 / 2.0 * self.ns_per_tick
        })
    }

    /// The value below which a share of the sorted ticks lies, in nanoseconds.
    fn percentile(&self, sorted_ticks: &[i64], share: f64) -> f64 {
        let rank = share * (sorted_ticks.len() - 1) as f64;
        let value = sorted_ticks[rank as usize];
        let first = sorted_ticks.partition_point(|&ticks| ticks < value);
        let behind = sorted_ticks.partition_point(|&ticks| ticks <= value);
        // A reading stands for the step around it.
        let within = (rank - first as f64) / (behind - first) as f64 - 0.5;
        (value as f64 + within * self.step_ticks as f64) * self.ns_per_tick
    }

    /// Sends `events` events, one each [`INTERVAL_NS`], after a warm-up.
    pub(super) fn measure(
        &self,
        cores: Cores,
        events: usize,
        (mut sender, mut receiver): (impl Sender, impl Receiver + Send),
    ) -> anyhow::Result<OneWay> {
        let clock = self.clock;
        let count = events + WARM_UP_EVENTS;
        let started = AtomicBool::new(false);
        let ticks = thread::scope(|scope| {
            let receiving = scope.spawn(|| {
                cores.pin_reader();
                let mut ticks = vec![0_i64; count];
                let mut kept = 0;
                let mut seen = 0;
                started.store(true, Ordering::Release);
                while seen < count {
                    let further = receiver.receive(1, |_, event| {
                        black_box(event.to_words().into_iter().fold(0, u64::wrapping_add));
                        ticks[kept] = clock.now().0.wrapping_sub(event.exchange_time.0).cast_signed();
                        kept += 1;
                    });
                    seen += further;
                    if further == 0 {
                        spin_loop();
                    }
                }
                ticks.truncate(kept);
                ticks
            });
            while !started.load(Ordering::Acquire) {
                spin_loop();
            }
            let start = clock.now();
            for number in 1..=count as u64 {
                let due = clock.after(start, number * INTERVAL_NS);
                while clock.now() < due {
                    spin_loop();
                }
                let mut event = Event { exchange_time: TimestampNs(clock.now_fenced().0), ..Event::default() };
                event.order_id.0 = number;
                while !sender.send(&event) {
                    spin_loop();
                }
            }
            receiving.join()
        });
        let ticks = ticks.map_err(|_| anyhow::anyhow!("the receiving thread panicked"))?;
        ensure!(ticks.len() > WARM_UP_EVENTS, "nothing came after the warm-up");
        let sorted = sorted(ticks[WARM_UP_EVENTS..].to_vec());
        let percentile = |share| self.percentile(&sorted, share);
        Ok(OneWay { p50_ns: percentile(0.5), p90_ns: percentile(0.9), p99_ns: percentile(0.99) })
    }
}

fn sorted(ticks: Vec<impl TryInto<i64>>) -> Vec<i64> {
    let mut ticks: Vec<i64> = ticks.into_iter().map(|ticks| ticks.try_into().unwrap_or(i64::MAX)).collect();
    ticks.sort_unstable();
    ticks
}

fn greatest_divisor(mut first: u64, mut second: u64) -> u64 {
    while second != 0 {
        (first, second) = (second, first % second);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruler(step_ticks: u64) -> Ruler {
        Ruler { clock: Clock::monotonic(), ns_per_tick: 0.5, step_ticks, stamps_ns: 0.0, offset_ns: 0.0 }
    }

    #[test]
    fn a_percentile_is_interpolated_within_its_step() {
        let ticks = [vec![10; 25], vec![20; 50], vec![30; 25]].concat();
        assert!((ruler(10).percentile(&ticks, 0.5) - 10.0).abs() < 0.1);
        assert!((ruler(10).percentile(&ticks, 0.25) - 7.5).abs() < 0.1);
        assert!((ruler(10).percentile(&ticks, 0.75) - 12.5).abs() < 0.1);
    }

    #[test]
    fn the_greatest_divisor() {
        assert_eq!([26, 52, 2808].into_iter().fold(0, greatest_divisor), 26);
        assert_eq!([26, 27].into_iter().fold(0, greatest_divisor), 1);
    }
}
