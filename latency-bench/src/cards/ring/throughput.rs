//! How many events a second go through, in which regime.

use super::contenders::{BATCH_EVENTS, Batch, Receiver, Sender};
use super::{Cores, pin_reader};
use anyhow::ensure;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};
use tickcore_book::Event;

/// How events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One by one.
    Single,
    /// By [`BATCH_EVENTS`].
    Batched,
}

/// Which side is the slower one, by some work for each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Regime {
    /// Neither works: what the ring itself can do.
    Free,
    /// The sender works: the receiver always waits at the newest event.
    NearEmpty,
    /// The receiver works: the sender always waits for room.
    Saturated,
}

/// Dependent steps of five cycles or so for each event in a regime with work: about 4 ns.
const WORK_STEPS: u32 = 3;

/// One run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Millions of events a second.
    pub(super) rate: f64,
    /// How often there was no room.
    pub(super) refusals: u64,
    /// How often nothing was there.
    pub(super) empty_polls: u64,
}

/// A number that depends on every word of an event.
#[inline(always)]
fn fold(event: &Event) -> u64 {
    event.to_words().into_iter().fold(0, u64::wrapping_add)
}

#[inline(always)]
fn work<const STEPS: u32>(mut value: u64) -> u64 {
    for _ in 0..STEPS {
        // The shift keeps a compiler from making one multiplication of many.
        value = (value ^ (value >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    value
}

/// Sends `events` events from this thread to one on the reader's core, at which everything arrives `copies` times, and checks
/// that content and order are right.
pub(super) fn run(
    cores: Cores,
    mode: Mode,
    regime: Regime,
    copies: u64,
    events: u64,
    (sender, receiver): (impl Sender, impl Receiver + Send),
) -> anyhow::Result<Run> {
    run_each(&[cores.reader], mode, regime, copies, events, (sender, [receiver]))
}

/// The same to several threads, each of which receives everything `copies` times on the core at its place.
pub(super) fn run_each<const RECEIVERS: usize>(
    reader_cores: &[usize; RECEIVERS],
    mode: Mode,
    regime: Regime,
    copies: u64,
    events: u64,
    (sender, receivers): (impl Sender, [impl Receiver + Send; RECEIVERS]),
) -> anyhow::Result<Run> {
    let batch = black_box(Batch::new());
    let started = AtomicUsize::new(0);
    let (elapsed, refusals, received) = thread::scope(|scope| {
        let started = &started;
        let receiving = receivers.into_iter().zip(reader_cores).map(|(receiver, &core)| {
            scope.spawn(move || {
                pin_reader(core);
                started.fetch_add(1, Ordering::Release);
                match regime {
                    Regime::Saturated => receive::<WORK_STEPS>(receiver, events),
                    Regime::Free | Regime::NearEmpty => receive::<0>(receiver, events),
                }
            })
        });
        // All of them are started before the first is waited for.
        let receiving: Vec<_> = receiving.collect();
        while started.load(Ordering::Acquire) < RECEIVERS {
            spin_loop();
        }
        let start = Instant::now();
        let refusals = match regime {
            Regime::NearEmpty => send::<WORK_STEPS>(sender, mode, &batch, events),
            Regime::Free | Regime::Saturated => send::<0>(sender, mode, &batch, events),
        };
        let received: Vec<_> = receiving.into_iter().map(ScopedJoinHandle::join).collect();
        (start.elapsed(), refusals, received)
    });
    let expected = (1..=events).fold(0, |sum: u64, number| {
        let event = &batch.events[(number - 1) as usize % BATCH_EVENTS];
        sum.wrapping_add(fold(event).wrapping_mul(number))
    });
    let mut empty_polls = 0;
    for received in received {
        let received = received.map_err(|_| anyhow::anyhow!("a receiving thread panicked"))?;
        ensure!(received.sum == expected.wrapping_mul(copies), "events were lost, repeated, torn or out of order");
        empty_polls += received.empty_polls;
    }
    Ok(Run { rate: rate(events, elapsed), refusals, empty_polls })
}

fn rate(events: u64, elapsed: Duration) -> f64 {
    events as f64 / elapsed.as_secs_f64() / 1e6
}

/// The sending side; returns how often there was no room.
#[inline(never)]
fn send<const STEPS: u32>(mut sender: impl Sender, mode: Mode, batch: &Batch, events: u64) -> u64 {
    let mut refusals = 0;
    let mut worked = 1;
    match mode {
        Mode::Single => {
            for number in 0..events {
                worked = work::<STEPS>(worked);
                while !sender.send(&batch.events[number as usize % BATCH_EVENTS]) {
                    refusals += 1;
                    spin_loop();
                }
            }
        }
        Mode::Batched => {
            let mut sent = 0;
            while sent < events {
                for _ in 0..BATCH_EVENTS {
                    worked = work::<STEPS>(worked);
                }
                let mut from = 0;
                while from < BATCH_EVENTS {
                    let count = sender.send_batch(batch, from);
                    from += count;
                    if count == 0 {
                        refusals += 1;
                        spin_loop();
                    }
                }
                sent += BATCH_EVENTS as u64;
            }
        }
    }
    black_box(worked);
    refusals
}

struct Received {
    sum: u64,
    empty_polls: u64,
}

/// The receiving side.
#[inline(never)]
fn receive<const STEPS: u32>(mut receiver: impl Receiver, events: u64) -> Received {
    let mut received = Received { sum: 0, empty_polls: 0 };
    let mut seen = 0;
    let mut worked = 1;
    while seen < events {
        let further = receiver.receive(BATCH_EVENTS, |number, event| {
            received.sum = received.sum.wrapping_add(fold(event).wrapping_mul(number));
            worked = work::<STEPS>(worked);
        });
        seen += further as u64;
        if further == 0 {
            received.empty_polls += 1;
            spin_loop();
        }
    }
    black_box(worked);
    received
}
