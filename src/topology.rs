//! How the work of an engine is spread over cores, and which thread gets which.

use crate::pin::{Cores, PinError, allowed_cores};
use core::fmt;
use tickcore_feed::ring::Wait;

/// How the work is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// Decoding, books and strategy run to completion on one core; the journal on another. Lowest latency.
    #[default]
    Inline,
    /// A feed core decodes into the ring, a book core reads from it.
    Pipelined,
}

impl Topology {
    /// Threads that spin whatever comes, and so need a core each.
    pub const fn spinning_threads(self) -> usize {
        match self {
            Self::Inline => 1,
            Self::Pipelined => 2,
        }
    }

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Pipelined => "pipelined",
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why a topology does not fit the cores.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// More threads spin than there are cores for.
    #[error(
        "topology {topology} spins on {needed} cores and has {available}; give it more with --cores, take another topology, or pass --oversubscribe for a run whose times mean nothing"
    )]
    TooFewCores {
        /// The topology asked for.
        topology: Topology,
        /// Threads that spin.
        needed: usize,
        /// Cores for them.
        available: usize,
    },
    /// A core was named twice.
    #[error("core {core} is named twice; every pinned thread has a core of its own")]
    SameCoreTwice {
        /// The core.
        core: usize,
    },
    /// The cores of the process are not known.
    #[error(transparent)]
    Pin(#[from] PinError),
}

/// Which thread runs where, and how it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Core of the feed thread (`pipelined`).
    pub(crate) feed: Option<usize>,
    /// Core of the thread that owns the books.
    pub(crate) book: Option<usize>,
    /// Core of the journal thread, when it spins.
    pub(crate) journal: Option<usize>,
    /// Whether the journal spins; else it sleeps in the kernel until a write completes, at most 100 µs.
    pub(crate) journal_spins: bool,
    /// How spinning threads wait.
    pub(crate) wait: Wait,
}

impl Plan {
    /// Spreads the threads of `topology` over `cores`.
    pub(crate) fn new(
        topology: Topology,
        cores: &Cores,
        has_journal: bool,
        oversubscribe: bool,
    ) -> Result<Self, TopologyError> {
        let (numbers, is_pinned) = match cores {
            Cores::Automatic => (allowed_cores()?, true),
            Cores::These(numbers) => (numbers.clone(), true),
            Cores::Unpinned => (allowed_cores()?, false),
        };
        if let Some((_, &core)) = numbers.iter().enumerate().find(|(place, core)| numbers[..*place].contains(core)) {
            return Err(TopologyError::SameCoreTwice { core });
        }
        let (needed, available) = (topology.spinning_threads(), numbers.len());
        if available == 0 || (available < needed && !oversubscribe) {
            return Err(TopologyError::TooFewCores { topology, needed, available });
        }
        let core = |thread: usize| is_pinned.then(|| numbers[thread % available]);
        let journal_spins = has_journal && available > needed;
        Ok(Self {
            feed: if topology == Topology::Pipelined { core(0) } else { None },
            book: core(needed - 1),
            journal: if journal_spins { core(needed) } else { None },
            journal_spins,
            wait: if available < needed { Wait::SpinThenYield } else { Wait::Spin },
        })
    }

    /// The cores of the pinned threads: feed, book, journal.
    pub(crate) fn cores(&self) -> Vec<usize> {
        [self.feed, self.book, self.journal].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(topology: Topology, cores: &[usize], has_journal: bool) -> Result<Plan, TopologyError> {
        Plan::new(topology, &Cores::These(cores.to_vec()), has_journal, false)
    }

    #[test]
    fn every_spinning_thread_has_a_core_and_the_journal_spins_on_a_spare_one() {
        let inline = plan(Topology::Inline, &[4, 5], true).expect("fits");
        assert_eq!((inline.book, inline.feed, inline.journal), (Some(4), None, Some(5)));
        let alone = plan(Topology::Inline, &[4], true).expect("fits");
        assert_eq!((alone.book, alone.journal, alone.journal_spins), (Some(4), None, false));
        let pipelined = plan(Topology::Pipelined, &[4, 5], true).expect("fits");
        assert_eq!((pipelined.feed, pipelined.book, pipelined.journal_spins), (Some(4), Some(5), false));
        let three = plan(Topology::Pipelined, &[4, 5, 6], true).expect("fits");
        assert_eq!(three.cores(), [4, 5, 6]);
        assert_eq!(plan(Topology::Pipelined, &[4, 5, 6], false).expect("fits").cores(), [4, 5]);
    }

    #[test]
    fn too_few_cores_are_refused_unless_asked_for() {
        assert_eq!(
            plan(Topology::Pipelined, &[4], false),
            Err(TopologyError::TooFewCores { topology: Topology::Pipelined, needed: 2, available: 1 })
        );
        assert_eq!(plan(Topology::Inline, &[4, 4], false), Err(TopologyError::SameCoreTwice { core: 4 }));
        let plan = Plan::new(Topology::Pipelined, &Cores::These(vec![4]), true, true).expect("asked for");
        assert_eq!((plan.feed, plan.book, plan.wait), (Some(4), Some(4), Wait::SpinThenYield));
        assert!(!plan.journal_spins);
    }
}
