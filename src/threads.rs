//! The threads of a run: how they are started, what they hold while they live, and what their end is worth.

use crate::control::{Attendance, Control};
use crate::engine::EngineError;
use crate::topology::EngineThread;
use core::fmt;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

/// A function that each thread of an engine calls once it is pinned, set up and warm, before the first event: for a
/// scheduling policy, a signal mask, a profiler. What it does is not timed; what it leaves behind runs with the events.
#[derive(Clone, Default)]
pub struct ThreadHook(Option<Arc<Hook>>);

type Hook = dyn Fn(&EngineThread) + Send + Sync;

impl ThreadHook {
    /// Calls `hook` on each thread.
    pub fn new(hook: impl Fn(&EngineThread) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn call(&self, thread: &EngineThread) {
        if let Some(hook) = &self.0 {
            hook(thread);
        }
    }
}

impl fmt::Debug for ThreadHook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "ThreadHook(set)" } else { "ThreadHook(none)" })
    }
}

/// A thread that the run waits for.
pub(crate) struct Joined<'scope, T> {
    handle: ScopedJoinHandle<'scope, Result<T, EngineError>>,
    thread: EngineThread,
}

impl<T> Joined<'_, T> {
    /// What the thread came to, once it has ended.
    pub(crate) fn join(self) -> Result<T, EngineError> {
        self.handle.join().unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "without a message".to_owned());
            Err(EngineError::Panicked { thread: self.thread, message })
        })
    }
}

/// Starts named threads, each with its place among those of the run.
pub(crate) struct Spawner<'scope, 'env, 'c> {
    pub(crate) scope: &'scope thread::Scope<'scope, 'env>,
    pub(crate) control: &'c Control,
}

impl<'scope, 'c: 'scope> Spawner<'scope, '_, 'c> {
    pub(crate) fn thread<T: Send + 'scope>(
        &self,
        place: usize,
        thread: &EngineThread,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'scope,
    ) -> Result<Joined<'scope, T>, EngineError> {
        let control = self.control;
        let started = thread::Builder::new().name(thread.name.clone()).spawn_scoped(self.scope, move || {
            let _attendance = Attendance { control, place };
            work()
        });
        match started {
            Ok(handle) => Ok(Joined { handle, thread: thread.clone() }),
            Err(source) => {
                // Those that were started go home; the scope waits for them.
                control.open_gate(false);
                Err(EngineError::Spawn { name: thread.name.clone(), source })
            }
        }
    }
}
