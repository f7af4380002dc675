//! Single: one message each interval, at a fixed rate, and nothing known beyond it.
//!
//! Books are first filled with the beginning of the day. Then each message is copied into a receive buffer, a spin waits
//! until it is due, and the stamp behind the work is taken when the BBO is visible. Two times are kept.
//!
//! - *Service*: from when the message was taken up. It compares books, and the goals are set for it: an interruption of
//!   the core hits one message.
//! - *Since due*: from when the message was due. It includes waiting behind a message or an interruption that took
//!   longer than the interval, so nothing is omitted; on a machine that others use, its tail shows the others.
//!
//! Both include the stamp; the empty loop shows what loop and stamps cost without any work.

use super::BboSum;
use crate::day::{Day, Messages};
use crate::naive::NaiveBooks;
use anyhow::ensure;
use std::hint::black_box;
use tickcore_book::{Arena, Books, Capacity, InstrumentId};
use tickcore_feed::batch::{EventBatch, MAX_EVENTS_PER_MESSAGE};
use tickcore_feed::protocol::binary_file::MAX_FRAME_LENGTH;
use tickcore_feed::protocol::itch50::Decoder;
use tickcore_latency::{Clock, Recorder};

/// Time between two messages.
const INTERVAL_NS: u64 = 1_000;

/// Messages of all rounds together at most, and the share of the day that they and the warm-up take at most.
const MESSAGES_MAX: u64 = 2_000_000;
const WARM_UP_DIVISOR: u64 = 2;
const MESSAGES_DIVISOR: u64 = 4;

/// What is measured of one book.
#[derive(Clone, Debug)]
pub(in crate::cards) struct Times {
    /// From when the message was due to its BBO visible.
    pub(in crate::cards) since_due: Recorder,
    /// From when the message was taken up to its BBO visible.
    pub(in crate::cards) service: Recorder,
}

impl Times {
    fn new() -> Self {
        Self { since_due: Recorder::new(), service: Recorder::new() }
    }

    fn add(&mut self, other: &Self) {
        self.since_due.merge(&other.since_due);
        self.service.merge(&other.service);
    }
}

/// How the messages come.
#[derive(Clone, Copy, Debug)]
pub(in crate::cards) struct SingleMode {
    /// Messages that fill the books first.
    pub(in crate::cards) warm_up_messages: usize,
    /// Messages of each round.
    pub(in crate::cards) round_messages: usize,
    /// Time between two of them.
    pub(in crate::cards) interval_ns: u64,
}

impl SingleMode {
    /// The mode for a day: its first half fills the books, up to a quarter of it is measured.
    pub(in crate::cards) fn for_day(messages: u64, rounds: usize) -> Self {
        let measured = MESSAGES_MAX.min(messages / MESSAGES_DIVISOR);
        Self {
            warm_up_messages: (messages / WARM_UP_DIVISOR) as usize,
            round_messages: measured as usize / rounds,
            interval_ns: INTERVAL_NS,
        }
    }
}

/// All rounds.
#[derive(Clone, Debug)]
pub(in crate::cards) struct SingleResult {
    pub(in crate::cards) ours: Times,
    pub(in crate::cards) naive: Times,
    /// The same loop without any work.
    pub(in crate::cards) empty: Times,
    /// Ours over the naive book for each round.
    pub(in crate::cards) ratios: Vec<RoundRatios>,
}

/// Percentiles of ours over the same ones of the naive book, in one round.
#[derive(Clone, Copy, Debug)]
pub(in crate::cards) struct RoundRatios {
    pub(in crate::cards) service_p50: f64,
    pub(in crate::cards) service_p99: f64,
    pub(in crate::cards) since_due_p50: f64,
    pub(in crate::cards) since_due_p99: f64,
}

impl RoundRatios {
    /// `None` when nothing was recorded.
    fn of(ours: &Times, naive: &Times) -> Option<Self> {
        let over = |ours: Option<u64>, naive: Option<u64>| Some(ours? as f64 / naive?.max(1) as f64);
        let (our_service, naive_service) = (ours.service.summary(), naive.service.summary());
        let (our_since_due, naive_since_due) = (ours.since_due.summary(), naive.since_due.summary());
        Some(Self {
            service_p50: over(our_service.p50, naive_service.p50)?,
            service_p99: over(our_service.p99, naive_service.p99)?,
            since_due_p50: over(our_since_due.p50, naive_since_due.p50)?,
            since_due_p99: over(our_since_due.p99, naive_since_due.p99)?,
        })
    }
}

/// Our books, message by message.
struct OurBooks<'a> {
    decoder: Decoder,
    batch: EventBatch,
    books: Books<'a>,
    sum: BboSum,
}

impl OurBooks<'_> {
    #[inline]
    fn on_message(&mut self, message: &[u8]) {
        self.batch.clear();
        self.decoder.decode(message, &mut self.batch);
        for event in self.batch.as_slice() {
            if self.books.apply(event).bbo_changed {
                self.sum.take_ours(&self.books.bbo(event.instrument));
            }
        }
    }
}

/// Measures `rounds` rounds in which ours, the naive book and the empty loop take turns on the same messages.
pub(in crate::cards) fn measure(
    day: &Day,
    capacity: Capacity,
    mode: &SingleMode,
    rounds: usize,
) -> anyhow::Result<SingleResult> {
    let clock = Clock::calibrate();
    let arena = Arena::new(capacity.arena_bytes())?;
    let mut ours = OurBooks {
        decoder: Decoder::new(None, InstrumentId(1)),
        batch: EventBatch::new(MAX_EVENTS_PER_MESSAGE),
        books: Books::new(&arena, capacity)?,
        sum: BboSum::default(),
    };
    let mut naive = NaiveBooks::new();
    let mut naive_sum = BboSum::default();
    let mut messages = day.messages();
    for message in messages.by_ref().take(mode.warm_up_messages) {
        ours.on_message(message);
        if let Some(bbo) = naive.on_message(message) {
            naive_sum.take_naive(&bbo);
        }
    }

    let mut result = SingleResult { ours: Times::new(), naive: Times::new(), empty: Times::new(), ratios: Vec::new() };
    let mut buffer = vec![0; MAX_FRAME_LENGTH];
    for _ in 0..rounds {
        let round = messages.clone().take(mode.round_messages);
        let our_times = paced(&clock, mode.interval_ns, round.clone(), &mut buffer, |message| {
            ours.on_message(message);
            black_box(ours.sum);
        });
        let naive_times = paced(&clock, mode.interval_ns, round.clone(), &mut buffer, |message| {
            if let Some(bbo) = naive.on_message(message) {
                naive_sum.take_naive(&bbo);
            }
            black_box(naive_sum);
        });
        let empty_times = paced(&clock, mode.interval_ns, round, &mut buffer, |message| {
            black_box(message);
        });
        ensure!(ours.sum == naive_sum, "ours and the naive book saw different BBO changes, one at a time");
        result.ratios.extend(RoundRatios::of(&our_times, &naive_times));
        result.ours.add(&our_times);
        result.naive.add(&naive_times);
        result.empty.add(&empty_times);
        messages.by_ref().take(mode.round_messages).for_each(drop);
    }
    Ok(result)
}

/// Hands out one message each interval, from a first one that is due a little after the call.
#[inline(never)]
fn paced<'d>(
    clock: &Clock,
    interval_ns: u64,
    messages: core::iter::Take<Messages<'d>>,
    buffer: &mut [u8],
    mut on_message: impl FnMut(&[u8]),
) -> Times {
    let mut times = Times::new();
    let start = clock.now();
    let mut due_ns = interval_ns;
    for message in messages {
        let received = &mut buffer[..message.len()];
        received.copy_from_slice(message);
        let due = clock.after(start, due_ns);
        let mut taken_up = clock.now_fenced();
        while taken_up < due {
            taken_up = clock.now_fenced();
        }
        on_message(black_box(received));
        let visible = clock.now();
        times.since_due.record(clock.ns_between(due, visible));
        times.service.record(clock.ns_between(taken_up, visible));
        due_ns += interval_ns;
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_and_rounds_fit_into_the_day() {
        for (messages, rounds) in [(0, 1), (7, 3), (1_000_000, 5), (40_000_000, 5)] {
            let mode = SingleMode::for_day(messages, rounds);
            let used = mode.warm_up_messages + mode.round_messages * rounds;
            assert!(used as u64 <= messages, "{messages}: {mode:?}");
        }
        assert_eq!(SingleMode::for_day(40_000_000, 5).round_messages, 400_000);
    }

    /// Negative control for the pace: what takes longer than the interval delays what comes after, and that is counted.
    #[test]
    fn waiting_behind_a_slow_message_is_counted() {
        const SLOW_NS: u64 = 2_000_000;
        let day = Day::generate(2_000, 50, 1).expect("possible");
        let clock = Clock::calibrate();
        let mut number = 0;
        let times = paced(&clock, 1_000, day.messages().take(100), &mut vec![0; MAX_FRAME_LENGTH], |_| {
            number += 1;
            let start = clock.now();
            while number == 1 && clock.ns_between(start, clock.now()) < SLOW_NS {}
        });
        let (since_due, service) = (times.since_due.summary(), times.service.summary());
        assert_eq!((since_due.count, service.count), (100, 100));
        assert!(since_due.p50.is_some_and(|ns| ns > SLOW_NS / 2), "{since_due:?}");
        assert!(service.max.is_some_and(|ns| ns >= SLOW_NS), "{service:?}");
        assert!(service.p50 < since_due.p50, "{service:?} {since_due:?}");
    }
}
