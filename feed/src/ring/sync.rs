//! The atomics of the ring: the standard library's, or loom's when built with `--cfg loom`.
//!
//! Everything in this folder that threads share comes through here, so that loom sees every access to it. loom's types
//! work only inside `loom::model`; the unit tests of this folder are therefore left out under `cfg(loom)`.

#![cfg_attr(loom, allow(unsafe_code))]

#[cfg(loom)]
pub(super) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(super) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

/// One turn of a spinning wait. Under loom other threads must get to run, or the model never ends.
#[inline]
pub(super) fn spin() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// Gives the core to another thread: a system call.
pub(super) fn yield_now() {
    #[cfg(not(loom))]
    std::thread::yield_now();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// Sleeps for `timeout`, or until somebody unparks the thread.
pub(super) fn park(timeout: core::time::Duration) {
    #[cfg(not(loom))]
    std::thread::park_timeout(timeout);
    #[cfg(loom)]
    {
        let _ = timeout;
        loom::thread::yield_now();
    }
}

/// Tells loom when a payload is read and written, so that it fails on accesses that nothing orders.
///
/// The payload itself is atomic words, on which loom reports stale values but not a write that comes too early: it never
/// lets a load see a store that runs later. A gating reader's payload is owned by one side at a time, so it may be
/// checked as strictly as plain memory. In an ordinary build this is nothing and takes no room.
#[cfg(not(loom))]
#[derive(Default)]
pub(super) struct PayloadAccess;

#[cfg(not(loom))]
impl PayloadAccess {
    #[inline(always)]
    pub(super) fn read(&self) {}

    #[inline(always)]
    pub(super) fn write(&self) {}
}

#[cfg(loom)]
pub(super) struct PayloadAccess(loom::cell::UnsafeCell<()>);

// SAFETY: the cell holds a `()` and the pointers it hands out are dropped unread; loom only records the accesses.
#[cfg(loom)]
unsafe impl Sync for PayloadAccess {}

#[cfg(loom)]
impl Default for PayloadAccess {
    fn default() -> Self {
        Self(loom::cell::UnsafeCell::new(()))
    }
}

#[cfg(loom)]
impl PayloadAccess {
    pub(super) fn read(&self) {
        self.0.with(|_| ());
    }

    pub(super) fn write(&self) {
        self.0.with_mut(|_| ());
    }
}
