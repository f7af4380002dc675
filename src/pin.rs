//! Threads that own their core: a core is asked for by number, taken, and read back.

use rustix::thread::{CpuSet, sched_getaffinity};

/// Which cores the pinned threads of an engine get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// The first cores that the process may use.
    #[default]
    Automatic,
    /// These, in the order of the threads: first the one that books are on in `inline`, first feed then book in
    /// `pipelined`; the journal's last.
    These(Vec<usize>),
    /// None: threads float. Has to be asked for, since every figure suffers.
    Unpinned,
}

/// Why a thread could not have its core.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The core is not among those that the process may use: offline, isolated, or outside its cpuset.
    #[error(
        "core {core} cannot be had: this process may use cores {allowed:?}; choose among them, or run unpinned with --cores none"
    )]
    NotAllowed {
        /// The core asked for.
        core: usize,
        /// The cores that the process may use.
        allowed: Vec<usize>,
    },
    /// The kernel refused, or the mask read back is another one.
    #[error(
        "the kernel did not pin the thread to core {core} (its mask is now {found:?}); choose another core, or run unpinned with --cores none"
    )]
    Refused {
        /// The core asked for.
        core: usize,
        /// The mask read back.
        found: Vec<usize>,
    },
    /// The mask of cores cannot be read.
    #[error("the cores of this process cannot be read ({what}); run unpinned with --cores none")]
    Unreadable {
        /// What the kernel said.
        what: String,
    },
}

/// The cores that the calling thread may run on, in order of number.
///
/// # Errors
/// When the kernel does not tell.
pub fn allowed_cores() -> Result<Vec<usize>, PinError> {
    let mask = sched_getaffinity(None).map_err(|error| PinError::Unreadable { what: error.to_string() })?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| mask.is_set(core)).collect())
}

/// Binds the calling thread to `core` and reads the mask back.
///
/// # Errors
/// When the process may not use the core, or the kernel does not bind to it alone.
pub fn pin_to(core: usize) -> Result<(), PinError> {
    let allowed = allowed_cores()?;
    // Asked first: core_affinity aborts the process for numbers beyond the kernel's mask.
    if !allowed.contains(&core) {
        return Err(PinError::NotAllowed { core, allowed });
    }
    let accepted = core_affinity::set_for_current(core_affinity::CoreId { id: core });
    let found = allowed_cores()?;
    if accepted && found == [core] { Ok(()) } else { Err(PinError::Refused { core, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_core_and_a_core_that_is_not_there_is_refused() {
        std::thread::spawn(|| {
            let allowed = allowed_cores().expect("readable");
            let core = *allowed.last().expect("at least one");
            pin_to(core).expect("a core of ours");
            assert_eq!(allowed_cores(), Ok(vec![core]));
            for absent in [1023, 1024, usize::MAX] {
                assert!(matches!(pin_to(absent), Err(PinError::NotAllowed { .. })), "{absent}");
            }
            // A pinned thread may use nothing but its core: another one is refused by name.
            if let Some(&other) = allowed.iter().find(|&&other| other != core) {
                assert_eq!(pin_to(other), Err(PinError::NotAllowed { core: other, allowed: vec![core] }));
            }
        })
        .join()
        .expect("no panic");
    }
}
