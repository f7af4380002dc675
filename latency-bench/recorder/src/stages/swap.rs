//! Two values, one for a writer that never waits and one for a reader, that change places when the reader asks.
//!
//! Guarantees: the writer's way to its value costs no atomic operation, its look whether the reader asked is one load of a
//! flag that changes once an interval. Neither side waits for the other: the writer changes places when it next looks, the
//! reader sees that later. Each value has one owner at any time; who owns which is told by the flag alone:
//!
//! | `is_asked` | the writer owns | the reader owns |
//! |---|---|---|
//! | false | its active value | the other one |
//! | true | both | none |
//!
//! Worst case: a writer that never looks again keeps what it has until it is dropped; then the reader owns both.

#![allow(unsafe_code)]

#[cfg(loom)]
use loom::cell::UnsafeCell;
#[cfg(loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The standard library's cell with loom's way to reach into it.
#[cfg(not(loom))]
#[derive(Debug)]
struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    fn with_mut<R>(&self, work: impl FnOnce(*mut T) -> R) -> R {
        work(self.0.get())
    }
}

#[derive(Debug)]
struct Shared<T> {
    values: [UnsafeCell<T>; 2],
    is_asked: AtomicBool,
    is_closed: AtomicBool,
}

// SAFETY: `Writer` and `Reader` are one each, and the table above says which of them may touch which value; the flag that
// passes a value on is stored with Release and loaded with Acquire. So values are only ever moved between threads: `Send`.
unsafe impl<T: Send> Sync for Shared<T> {}

/// The side that never waits. Dropping it gives everything to the reader.
#[derive(Debug)]
pub struct Writer<T> {
    shared: Arc<Shared<T>>,
    active: usize,
}

/// The side that asks.
#[derive(Debug)]
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    /// The value that is the reader's, or was until it asked.
    spare: usize,
    has_asked: bool,
}

/// Two sides, the first value for the writer.
pub fn pair<T>(active: T, spare: T) -> (Writer<T>, Reader<T>) {
    let values = [UnsafeCell::new(active), UnsafeCell::new(spare)];
    let shared = Arc::new(Shared { values, is_asked: AtomicBool::new(false), is_closed: AtomicBool::new(false) });
    (Writer { shared: Arc::clone(&shared), active: 0 }, Reader { shared, spare: 1, has_asked: false })
}

impl<T> Writer<T> {
    /// Works on the writer's value.
    #[inline(always)]
    pub fn with<R>(&mut self, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the active value is the writer's in both rows of the table, and `&mut self` is the only writer.
        self.shared.values[self.active].with_mut(|value| work(unsafe { &mut *value }))
    }

    /// Whether the reader asked.
    #[inline]
    pub fn is_asked(&self) -> bool {
        self.shared.is_asked.load(Ordering::Acquire)
    }

    /// If the reader asked: `seal`s the writer's value, gives it to the reader and goes on with the other one.
    #[inline]
    pub fn turn(&mut self, seal: impl FnOnce(&mut T)) -> bool {
        if !self.is_asked() {
            return false;
        }
        self.with(seal);
        self.active ^= 1;
        self.shared.is_asked.store(false, Ordering::Release);
        true
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Release);
    }
}

impl<T> Reader<T> {
    /// Gives the reader's value to the writer and asks for the writer's. Nothing when that was asked already.
    pub fn ask(&mut self) {
        if !self.has_asked {
            self.has_asked = true;
            self.shared.is_asked.store(true, Ordering::Release);
        }
    }

    /// Works on the reader's value: the one that the writer gave, once asked for. `None` while the writer has not looked.
    pub fn with<R>(&mut self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.has_asked {
            if self.shared.is_asked.load(Ordering::Acquire) {
                return None;
            }
            self.has_asked = false;
            self.spare ^= 1;
        }
        // SAFETY: the flag is false, or was never set: the spare value is the reader's, and `&mut self` is the only reader.
        Some(self.shared.values[self.spare].with_mut(|value| work(unsafe { &mut *value })))
    }

    /// Whether the writer is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Acquire)
    }

    /// Works on what was not taken yet of a writer that is gone, in the order in which it was written: the value that the
    /// writer gave last if it was asked for and not looked at, then the value that it had at its end. False, and
    /// nothing done, while the writer is there.
    pub fn drain(mut self, mut work: impl FnMut(&mut T)) -> bool {
        if !self.is_closed() {
            return false;
        }
        if self.has_asked {
            // Unless the writer went without looking: then the spare value is as empty as it was given.
            self.with(&mut work);
        }
        // SAFETY: the writer is gone, which the Acquire load above has seen: this side owns both values.
        self.shared.values[self.spare ^ 1].with_mut(|value| work(unsafe { &mut *value }));
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn values_change_places_when_asked() {
        let (mut writer, mut reader) = pair(vec![1], vec![]);
        assert!(!writer.turn(|_| panic!("nobody asked")));
        assert_eq!(reader.with(|value| value.clone()), Some(vec![]));
        reader.ask();
        reader.ask();
        assert_eq!(reader.with(|value| value.clone()), None, "the writer has not looked");
        assert!(writer.turn(|value| value.push(2)));
        writer.with(|value| value.push(3));
        assert_eq!(reader.with(core::mem::take), Some(vec![1, 2]));
        reader.ask();
        assert!(!reader.is_closed());
        drop(writer);
        let mut rest = Vec::new();
        assert!(reader.drain(|value| rest.append(value)));
        assert_eq!(rest, [3]);
    }

    #[test]
    fn a_writer_that_is_there_is_not_drained() {
        let (_writer, reader) = pair(1, 2);
        assert!(!reader.drain(|_| panic!("the writer has it")));
    }

    /// Every number once and in order, however the two sides meet.
    #[test]
    fn nothing_is_lost_or_twice_under_stress() {
        const COUNT_MIN: u64 = 300_000;
        const TURNS_MIN: u64 = 100;
        let (mut writer, mut reader) = pair(Vec::new(), Vec::new());
        let thread = thread::spawn(move || {
            let (mut count, mut turns) = (0, 0);
            // On a busy machine the reader has its turn later.
            while count < COUNT_MIN || turns < TURNS_MIN {
                writer.with(|value| value.push(count));
                turns += u64::from(writer.turn(|_| {}));
                count += 1;
                if count % 1_000 == 0 {
                    thread::yield_now();
                }
            }
            count
        });
        let (mut seen, mut turns) = (Vec::new(), 0);
        while !reader.is_closed() {
            reader.ask();
            turns += u64::from(reader.with(|value| seen.append(value)).is_some());
            thread::yield_now();
        }
        let count = thread.join().unwrap();
        assert!(reader.drain(|value| seen.append(value)));
        assert!(turns > 1, "{turns} turns");
        assert!(seen.iter().copied().eq(0..count), "{} numbers of {count}", seen.len());
    }
}
