//! FROZEN. The plain pipeline: what most people write first, to be compared with. Not to be improved.
//!
//! One thread hands out messages and sends each through a channel of the standard library; another takes them, writes each with
//! its length into a `BufWriter` on a file, and applies it to the naive book ([`crate::naive`]). The channel has a bound, so that
//! a day does not stand in it; the file is flushed at the end and not synced. Paced, a message is sent when it is due, and
//! counts from then until the naive book has taken it.
//!
//! Scorecards print the hash of this file ([`SOURCE`]): figures are comparable only between runs that print the same.

use crate::naive::{NaiveBbo, NaiveBooks};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use tickcore_latency::{Clock, Recorder, Ticks};

/// The text of this file.
pub const SOURCE: &str = include_str!("plain.rs");

/// Messages that the channel holds.
const CHANNEL_MESSAGES: usize = 4_096;

/// Longest message.
const MESSAGE_BYTES: usize = 64;

/// A message on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    bytes: [u8; MESSAGE_BYTES],
    length: u8,
    /// From when it counts, if it does.
    due: Option<Ticks>,
}

/// What a run came to.
#[derive(Debug)]
pub struct PlainOutcome {
    /// From the first message sent to the last one applied and the file flushed.
    pub elapsed: Duration,
    /// From when a message was due to when its BBO was there.
    pub since_due: Recorder,
}

/// Which of the messages come at a pace: all before them come at full speed, all behind them not at all.
#[derive(Clone, Copy, Debug)]
pub struct PlainPace {
    /// The first, counted from 0.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Time between two.
    pub interval_ns: u64,
}

/// Takes messages through channel, journal and book, and tells `on_bbo` of every change. `on_start` is called on each of the
/// two threads, the sending one first in its argument, before anything is sent.
///
/// # Errors
/// When the file cannot be made or written.
///
/// # Panics
/// If a message is longer than any of ITCH 5.0.
pub fn run<'d>(
    messages: impl Iterator<Item = &'d [u8]> + Send,
    pace: Option<PlainPace>,
    journal: &Path,
    clock: &Clock,
    on_start: impl Fn(bool) + Sync,
    mut on_bbo: impl FnMut(usize, NaiveBbo) + Send,
) -> std::io::Result<PlainOutcome> {
    let file = BufWriter::new(File::create(journal)?);
    let (sender, receiver) = sync_channel(CHANNEL_MESSAGES);
    let on_start = &on_start;
    thread::scope(|scope| {
        let book = scope.spawn(move || {
            on_start(false);
            take(&receiver, file, clock, &mut on_bbo)
        });
        let feed = scope.spawn(move || {
            on_start(true);
            let start = Instant::now();
            send(messages, pace, &sender, clock);
            start
        });
        let start = feed.join().expect("the sending thread does not panic");
        let (since_due, end) = book.join().expect("the book's thread does not panic")?;
        Ok(PlainOutcome { elapsed: end - start, since_due })
    })
}

fn send<'d>(
    messages: impl Iterator<Item = &'d [u8]>,
    pace: Option<PlainPace>,
    sender: &SyncSender<Sent>,
    clock: &Clock,
) {
    let mut first_due = None;
    for (number, message) in messages.enumerate() {
        let mut due = None;
        if let Some(pace) = pace.filter(|pace| number >= pace.first) {
            if number >= pace.first + pace.count {
                return;
            }
            let start = *first_due.get_or_insert_with(|| clock.after(clock.now(), 1_000_000));
            let at = clock.after(start, (number - pace.first) as u64 * pace.interval_ns);
            while clock.now() < at {
                std::hint::spin_loop();
            }
            due = Some(at);
        }
        let mut sent = Sent { bytes: [0; MESSAGE_BYTES], length: message.len() as u8, due };
        sent.bytes[..message.len()].copy_from_slice(message);
        if sender.send(sent).is_err() {
            return;
        }
    }
}

fn take(
    receiver: &Receiver<Sent>,
    mut file: BufWriter<File>,
    clock: &Clock,
    on_bbo: &mut impl FnMut(usize, NaiveBbo),
) -> std::io::Result<(Recorder, Instant)> {
    let mut books = NaiveBooks::new();
    let mut since_due = Recorder::new();
    let mut number = 0;
    while let Ok(sent) = receiver.recv() {
        let message = &sent.bytes[..usize::from(sent.length)];
        file.write_all(&u16::from(sent.length).to_be_bytes())?;
        file.write_all(message)?;
        if let Some(bbo) = books.on_message(message) {
            on_bbo(number, bbo);
        }
        if let Some(due) = sent.due {
            since_due.record(clock.ns_between(due, clock.now()));
        }
        number += 1;
    }
    file.flush()?;
    Ok((since_due, Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::day::Day;

    #[test]
    fn what_goes_through_is_what_the_book_alone_sees_and_a_slow_one_is_late() {
        let day = Day::generate(5_000, 50, 1).expect("possible");
        let clock = Clock::calibrate();
        let path = std::env::temp_dir().join(format!("tickcore-plain-{}", std::process::id()));
        let mut books = NaiveBooks::new();
        let alone: Vec<_> =
            (0..).zip(day.messages()).filter_map(|(number, one)| Some((number, books.on_message(one)?))).collect();
        let mut through = Vec::new();
        let outcome = run(day.messages(), None, &path, &clock, |_| {}, |number, bbo| through.push((number, bbo)));
        assert_eq!(outcome.expect("runs").since_due.count(), 0);
        assert_eq!(through, alone);
        assert_eq!(std::fs::read(&path).expect("written"), day.bytes[..day.messages().map(|one| one.len() + 2).sum()]);
        let pace = PlainPace { first: 1_000, count: 500, interval_ns: 1_000 };
        let slow = |number, _| {
            if number >= 1_000 {
                thread::sleep(Duration::from_micros(100));
            }
        };
        let outcome = run(day.messages(), Some(pace), &path, &clock, |_| {}, slow).expect("runs");
        std::fs::remove_file(&path).expect("it was written");
        let since_due = outcome.since_due.summary();
        assert_eq!(since_due.count, 500);
        assert!(since_due.max > Some(1_000_000), "what waits behind slow ones is late: {since_due:?}");
    }
}
