//! What a thread does while the ring has nothing for it.
//!
//! A waiter belongs to one loop: [`Waiter::idle`] when a turn found nothing to do, [`Waiter::reset`] when it did. Nobody
//! is ever woken: waking costs the other side a system call, and a hot thread makes none.

use super::sync;
use core::time::Duration;

/// How to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Spin with the processor's pause hint. For a thread that owns its core: shortest reaction, no system call, 100 %
    /// of the core.
    Spin,
    /// Spin for [`Wait::SPINS_MAX`] idle turns, then give the core away on each further one (a system call). For
    /// threads that share cores.
    SpinThenYield,
    /// Spin, then yield for [`Wait::YIELDS_MAX`] idle turns, then sleep for [`Wait::PARK_TIMEOUT`] on each further one. For
    /// threads that may find an event up to that much later, and the kernel's own delay. Nobody wakes it, but
    /// [`std::thread::Thread::unpark`] ends a sleep early, which is for threads that are not hot.
    SpinThenPark,
}

impl Wait {
    /// Idle turns in a row before [`Wait::SpinThenYield`] begins to yield: a few microseconds of pauses.
    pub const SPINS_MAX: u32 = 64;

    /// Further idle turns before [`Wait::SpinThenPark`] begins to sleep.
    pub const YIELDS_MAX: u32 = 16;

    /// How long [`Wait::SpinThenPark`] sleeps at a time.
    pub const PARK_TIMEOUT: Duration = Duration::from_micros(50);

    /// A waiter of this kind.
    #[must_use]
    pub const fn waiter(self) -> Waiter {
        Waiter { wait: self, spins: 0 }
    }
}

/// Counts the idle turns of one loop and waits as its [`Wait`] says.
#[derive(Clone, Debug)]
pub struct Waiter {
    wait: Wait,
    spins: u32,
}

impl Waiter {
    /// Waits for one turn. Under [`Wait::Spin`] never a system call.
    #[inline]
    pub fn idle(&mut self) {
        if !self.is_yielding() {
            self.spins = self.spins.saturating_add(1);
            sync::spin();
        } else if self.wait == Wait::SpinThenPark && self.spins >= Wait::SPINS_MAX + Wait::YIELDS_MAX {
            sync::park(Wait::PARK_TIMEOUT);
        } else {
            self.spins = self.spins.saturating_add(1);
            sync::yield_now();
        }
    }

    /// There was work: the next wait begins with spinning.
    #[inline]
    pub fn reset(&mut self) {
        self.spins = 0;
    }

    /// Whether the next [`Waiter::idle`] gives the core away, by yielding or by sleeping.
    #[inline]
    pub fn is_yielding(&self) -> bool {
        self.wait != Wait::Spin && self.spins >= Wait::SPINS_MAX
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn yielding_begins_after_the_spins_and_ends_with_work() {
        let mut waiter = Wait::SpinThenYield.waiter();
        for _ in 0..Wait::SPINS_MAX {
            assert!(!waiter.is_yielding());
            waiter.idle();
        }
        assert!(waiter.is_yielding());
        waiter.idle();
        assert!(waiter.is_yielding());
        waiter.reset();
        assert!(!waiter.is_yielding());
    }

    #[test]
    fn parking_begins_after_spins_and_yields_and_ends_by_itself() {
        let mut waiter = Wait::SpinThenPark.waiter();
        for _ in 0..Wait::SPINS_MAX + Wait::YIELDS_MAX {
            waiter.idle();
        }
        let start = std::time::Instant::now();
        waiter.idle();
        assert!(start.elapsed() >= Wait::PARK_TIMEOUT);
        waiter.reset();
        assert!(!waiter.is_yielding());
    }

    #[test]
    fn a_spinning_waiter_never_yields() {
        let mut waiter = Wait::Spin.waiter();
        for _ in 0..=Wait::SPINS_MAX {
            waiter.idle();
        }
        assert!(!waiter.is_yielding());
    }
}
