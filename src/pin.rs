//! Threads that own their core: a core is asked for by number, taken, and read back.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Which cores the pinned threads of an engine get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// The first cores that the process may use.
    #[default]
    Automatic,
    /// These, in the order of the threads: first the one that books are on in `inline`, first feed then books in
    /// `pipelined` and `sharded`; the journal's last.
    These(Vec<usize>),
    /// None: threads float. Has to be asked for, since every figure suffers.
    Unpinned,
}

/// Why a thread could not have its core.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The machine has no such core, or it is switched off.
    #[error(
        "core {core} is not there, or offline: this machine has cores {online:?} online; choose among them, or run unpinned with --cores none"
    )]
    Offline {
        /// The core asked for.
        core: usize,
        /// The cores that are online.
        online: Vec<usize>,
    },
    /// The core is there, and not among those that the process may use: outside its cpuset, or its mask.
    #[error(
        "core {core} cannot be had: this process may use cores {allowed:?}, by its cpuset (of a container or service) or by taskset; choose among them, widen that, or run unpinned with --cores none"
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
/// A core that the kernel keeps free of other work (`isolcpus`) is in no process's mask by itself and can be had all the
/// same; one outside a cpuset or of a mask that somebody set cannot.
///
/// # Errors
/// When there is no such core, the process may not use it, or the kernel does not bind to it alone.
pub fn pin_to(core: usize) -> Result<(), PinError> {
    let allowed = allowed_cores()?;
    // Asked first: core_affinity aborts the process for numbers beyond the kernel's mask.
    if !allowed.contains(&core) {
        if let Some(online) = cores_in("online")
            && !online.contains(&core)
        {
            return Err(PinError::Offline { core, online });
        }
        if core >= CpuSet::MAX_CPU || !cores_in("isolated").is_some_and(|isolated| isolated.contains(&core)) {
            return Err(PinError::NotAllowed { core, allowed });
        }
    }
    let accepted = core_affinity::set_for_current(core_affinity::CoreId { id: core });
    let found = allowed_cores()?;
    if accepted && found == [core] { Ok(()) } else { Err(PinError::Refused { core, found }) }
}

/// Does `work` with the calling thread on `cores`: threads that it starts stay there, the calling one does not. For helpers,
/// such as the threads that read a source's files, which would else run wherever the kernel puts them, also on a core that
/// spins. With no cores, or where the kernel refuses, it is as if this were not there.
pub fn started_on<T>(cores: &[usize], work: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(None).ok().filter(|_| is_confined_to(cores));
    let done = work();
    if let Some(before) = before {
        let _ = sched_setaffinity(None, &before);
    }
    done
}

/// Keeps the calling thread on `cores`, without having one for itself. False when there are none, or the kernel refuses: then
/// it is where it was.
pub(crate) fn is_confined_to(cores: &[usize]) -> bool {
    let mut mask = CpuSet::new();
    cores.iter().filter(|&&core| core < CpuSet::MAX_CPU).for_each(|&core| mask.set(core));
    mask.count() > 0 && sched_setaffinity(None, &mask).is_ok()
}

/// The cores in one of the kernel's lists: `online`, `isolated`; `None` where it has none.
fn cores_in(list: &str) -> Option<Vec<usize>> {
    parse_list(&std::fs::read_to_string(format!("/sys/devices/system/cpu/{list}")).ok()?)
}

/// Numbers and ranges as the kernel writes them and people do: `0,2-5`.
///
/// `None` when it is something else, or a number has more digits than a core.
pub fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
        if first > last {
            return None;
        }
        cores.extend((first..=last).map(usize::from));
    }
    Some(cores)
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
                let refused = pin_to(absent).expect_err("no machine here has so many");
                assert!(matches!(refused, PinError::Offline { .. } | PinError::NotAllowed { .. }), "{absent}");
            }
            // A pinned thread may use nothing but its core: another one is refused by name.
            if let Some(&other) = allowed.iter().find(|&&other| other != core) {
                assert_eq!(pin_to(other), Err(PinError::NotAllowed { core: other, allowed: vec![core] }));
            }
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn helpers_start_where_they_are_told_and_nobody_else_moves() {
        let allowed = allowed_cores().expect("readable");
        let last = *allowed.last().expect("at least one");
        let start = || std::thread::spawn(allowed_cores).join().expect("no panic");
        assert_eq!(started_on(&[last], start), Ok(vec![last]));
        assert_eq!((allowed_cores(), start()), (Ok(allowed.clone()), Ok(allowed.clone())));
        for nowhere in [&[][..], &[1023], &[usize::MAX]] {
            assert_eq!(started_on(nowhere, start), Ok(allowed.clone()));
        }
    }

    #[test]
    fn lists_of_cores_are_read_as_the_kernel_writes_them() {
        for (text, cores) in [("0-1\n", &[0, 1][..]), ("", &[]), ("\n", &[]), ("0,2-4,7", &[0, 2, 3, 4, 7])] {
            assert_eq!(parse_list(text).as_deref(), Some(cores), "{text:?}");
        }
        for text in ["a", "1-", "-1", "3-1", "99999999"] {
            assert_eq!(parse_list(text), None, "{text}");
        }
    }
}
