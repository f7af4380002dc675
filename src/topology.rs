//! How the work of an engine is spread over cores, and which thread gets which.

use crate::pin::{Cores, PinError, allowed_cores};
use crate::shards::SHARDS_MAX;
use core::fmt;
use std::thread;
use tickcore_feed::ring::Wait;

/// How the work is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// Decoding, books and strategy run to completion on one core; the journal on another. Lowest latency.
    #[default]
    Inline,
    /// A feed core decodes into the ring, a book core reads from it.
    Pipelined,
    /// A feed core decodes into the ring, several book cores read from it, each with its share of the instruments.
    Sharded,
}

impl Topology {
    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Pipelined => "pipelined",
            Self::Sharded => "sharded",
        }
    }

    /// Whether decoding has a thread of its own.
    pub const fn has_feed_thread(self) -> bool {
        !matches!(self, Self::Inline)
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
        "topology {topology} spins on {needed} cores and has {available}; give it more with --cores, take fewer --shards or another topology, or pass --oversubscribe for a run whose times mean nothing"
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
    /// Several shards, and a topology with one book core.
    #[error("topology {topology} has one book core: take topology sharded for {shards} shards")]
    NotSharded {
        /// The topology asked for.
        topology: Topology,
        /// The shards asked for.
        shards: u32,
    },
    /// The cores of the process are not known.
    #[error(transparent)]
    Pin(#[from] PinError),
}

/// What a thread of an engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes events from the source and publishes them.
    Feed,
    /// Applies events to books and calls the strategy; in topology `inline` it takes them from the source as well.
    Book,
    /// Carries events from the ring into the journal.
    Journal,
}

impl Role {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Book => "book",
            Self::Journal => "journal",
        }
    }
}

/// A thread of an engine and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineThread {
    /// What it does.
    pub role: Role,
    /// Which of several book cores it is, from 0.
    pub shard: u32,
    /// The core that it has for itself; `None` when it floats.
    pub core: Option<usize>,
    /// Its name, as `top -H` shows it: at most 15 bytes.
    pub name: String,
}

impl fmt::Display for EngineThread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.core {
            Some(core) => write!(formatter, "{} on core {core}", self.name),
            None => write!(formatter, "{} (not pinned)", self.name),
        }
    }
}

/// Which thread runs where, and how it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Feed, books, journal, as far as the topology has them.
    pub(crate) threads: Vec<EngineThread>,
    /// Whether the journal spins; else it sleeps in the kernel until a write completes, at most 100 µs.
    pub(crate) journal_spins: bool,
    /// How spinning threads wait.
    pub(crate) wait: Wait,
    /// Cores for what is not pinned while others are: see [`helper_cores`].
    pub(crate) helpers: Vec<usize>,
    /// What the machine does not give, to be said once.
    pub(crate) notices: Vec<String>,
}

impl Plan {
    /// Spreads the threads of `topology` over `cores`.
    pub(crate) fn new(
        topology: Topology,
        shards: u32,
        cores: &Cores,
        has_journal: bool,
        oversubscribe: bool,
    ) -> Result<Self, TopologyError> {
        if topology != Topology::Sharded && shards != 1 {
            return Err(TopologyError::NotSharded { topology, shards });
        }
        let (numbers, is_pinned) = numbers(cores)?;
        if let Some((_, &core)) = numbers.iter().enumerate().find(|(place, core)| numbers[..*place].contains(core)) {
            return Err(TopologyError::SameCoreTwice { core });
        }
        let needed = usize::from(topology.has_feed_thread()) + shards as usize;
        let available = numbers.len();
        if available == 0 || (available < needed && !oversubscribe) {
            return Err(TopologyError::TooFewCores { topology, needed, available });
        }
        let core = |place: usize| is_pinned.then(|| numbers[place % available]);
        let journal_spins = has_journal && available > needed;
        let mut threads = Vec::new();
        if topology.has_feed_thread() {
            threads.push(EngineThread { role: Role::Feed, shard: 0, core: core(0), name: "tickcore-feed".to_owned() });
        }
        for shard in 0..shards {
            let name = if shards == 1 { "tickcore-book".to_owned() } else { format!("tickcore-book{shard}") };
            threads.push(EngineThread { role: Role::Book, shard, core: core(threads.len()), name });
        }
        if has_journal {
            let core = if journal_spins { core(needed) } else { None };
            threads.push(EngineThread { role: Role::Journal, shard: 0, core, name: "tickcore-jrnl".to_owned() });
        }
        let wait = if available < needed { Wait::SpinThenYield } else { Wait::Spin };
        let notices = quota_notice(needed + usize::from(journal_spins)).into_iter().collect();
        let helpers = helpers(allowed_cores()?, &threads);
        Ok(Self { threads, journal_spins, wait, helpers, notices })
    }

    /// The cores of the pinned threads: feed, books, journal.
    pub(crate) fn cores(&self) -> Vec<usize> {
        self.threads.iter().filter_map(|thread| thread.core).collect()
    }
}

fn numbers(cores: &Cores) -> Result<(Vec<usize>, bool), PinError> {
    Ok(match cores {
        Cores::Automatic => (allowed_cores()?, true),
        Cores::These(numbers) => (numbers.clone(), true),
        Cores::Unpinned => (allowed_cores()?, false),
    })
}

/// A container may have cores and yet not their whole time: a thread that spins through its share is stopped for the rest
/// of each period.
fn quota_notice(spinning: usize) -> Option<String> {
    let (allowed, whole) = (allowed_cores().ok()?.len(), thread::available_parallelism().ok()?.get());
    (whole < allowed && whole < spinning).then(|| {
        format!(
            "this container may use the time of about {whole} of its {allowed} cores and {spinning} threads spin: the kernel will stop them for milliseconds at a time; raise the quota, or take a topology with fewer cores"
        )
    })
}

/// Book cores of a sharded engine for which nobody named a number: what is left when feed and journal have a core, at
/// least one.
///
/// # Errors
/// When the cores of the process cannot be read.
pub fn default_shards(cores: &Cores, has_journal: bool) -> Result<u32, PinError> {
    let (numbers, _) = numbers(cores)?;
    let shards = numbers.len().saturating_sub(1 + usize::from(has_journal)).max(1);
    Ok(u32::try_from(shards).unwrap_or(SHARDS_MAX).min(SHARDS_MAX))
}

/// Cores for threads that are not pinned, such as those that read files, or a journal without a core: the ones that nobody has; else those that keep no
/// books, which are what a run waits for; none, that is any, where that leaves none.
///
/// On two cores with one for the feed this is worth a sixth of the throughput: a reading thread needs a tenth of a core, and
/// the feed core has that to spare.
///
/// # Errors
/// As for the run itself, when the topology does not fit the cores.
pub fn helper_cores(
    topology: Topology,
    shards: u32,
    cores: &Cores,
    has_journal: bool,
) -> Result<Vec<usize>, TopologyError> {
    Ok(Plan::new(topology, shards, cores, has_journal, true)?.helpers)
}

fn helpers(allowed: Vec<usize>, threads: &[EngineThread]) -> Vec<usize> {
    let without = |is_taken: &dyn Fn(&EngineThread) -> bool| -> Vec<usize> {
        let is_free = |core: &usize| !threads.iter().any(|thread| thread.core == Some(*core) && is_taken(thread));
        allowed.iter().copied().filter(is_free).collect()
    };
    let free = without(&|_| true);
    if free.is_empty() { without(&|thread| thread.role == Role::Book) } else { free }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(topology: Topology, shards: u32, cores: &[usize], has_journal: bool) -> Result<Plan, TopologyError> {
        Plan::new(topology, shards, &Cores::These(cores.to_vec()), has_journal, false)
    }

    /// Role, shard and core of each thread.
    fn seats(plan: &Plan) -> Vec<(Role, u32, Option<usize>)> {
        plan.threads.iter().map(|thread| (thread.role, thread.shard, thread.core)).collect()
    }

    #[test]
    fn every_spinning_thread_has_a_core_and_the_journal_spins_on_a_spare_one() {
        use Role::{Book, Feed, Journal};
        let inline = plan(Topology::Inline, 1, &[4, 5], true).expect("fits");
        assert_eq!(seats(&inline), [(Book, 0, Some(4)), (Journal, 0, Some(5))]);
        let alone = plan(Topology::Inline, 1, &[4], true).expect("fits");
        assert_eq!((seats(&alone), alone.journal_spins), (vec![(Book, 0, Some(4)), (Journal, 0, None)], false));
        let pipelined = plan(Topology::Pipelined, 1, &[4, 5], true).expect("fits");
        assert_eq!(seats(&pipelined), [(Feed, 0, Some(4)), (Book, 0, Some(5)), (Journal, 0, None)]);
        assert_eq!(plan(Topology::Pipelined, 1, &[4, 5, 6], true).expect("fits").cores(), [4, 5, 6]);
        assert_eq!(plan(Topology::Pipelined, 1, &[4, 5, 6], false).expect("fits").cores(), [4, 5]);
        let sharded = plan(Topology::Sharded, 3, &[4, 5, 6, 7, 8], true).expect("fits");
        let books = [(Feed, 0, Some(4)), (Book, 0, Some(5)), (Book, 1, Some(6)), (Book, 2, Some(7))];
        assert_eq!(seats(&sharded), [&books[..], &[(Journal, 0, Some(8))]].concat());
        assert_eq!(sharded.wait, Wait::Spin);
    }

    #[test]
    fn too_few_cores_are_refused_unless_asked_for() {
        for (topology, shards, needed) in [(Topology::Pipelined, 1, 2), (Topology::Sharded, 4, 5)] {
            let refused = TopologyError::TooFewCores { topology, needed, available: 1 };
            assert_eq!(plan(topology, shards, &[4], false), Err(refused));
            let asked = Plan::new(topology, shards, &Cores::These(vec![4]), true, true).expect("asked for");
            assert_eq!((asked.wait, asked.journal_spins), (Wait::SpinThenYield, false));
            assert_eq!(asked.cores(), vec![4; needed]);
        }
        assert_eq!(plan(Topology::Inline, 1, &[4, 4], false), Err(TopologyError::SameCoreTwice { core: 4 }));
        let split = TopologyError::NotSharded { topology: Topology::Pipelined, shards: 2 };
        assert_eq!(plan(Topology::Pipelined, 2, &[4, 5, 6], false), Err(split));
    }

    #[test]
    fn helpers_keep_off_the_cores_of_books() {
        let allowed = allowed_cores().expect("readable");
        let helpers = |topology, cores: &[usize]| helper_cores(topology, 1, &Cores::These(cores.to_vec()), false);
        let (first, rest) = allowed.split_first().expect("at least one");
        assert_eq!(helpers(Topology::Inline, &[*first]), Ok(rest.to_vec()));
        if let [feed, book] = allowed[..] {
            assert_eq!(helpers(Topology::Pipelined, &[feed, book]), Ok(vec![feed]));
        }
        assert_eq!(helper_cores(Topology::Inline, 1, &Cores::Unpinned, true), Ok(allowed));
    }

    #[test]
    fn names_are_short_enough_to_be_seen() {
        let plan = Plan::new(Topology::Sharded, SHARDS_MAX, &Cores::These(vec![0]), true, true).expect("asked for");
        assert!(plan.threads.iter().all(|thread| thread.name.len() <= 15), "{:?}", plan.threads);
    }

    #[test]
    fn shards_take_the_cores_that_are_left() {
        for (cores, has_journal, shards) in [(1, false, 1), (2, false, 1), (2, true, 1), (4, false, 3), (6, true, 4)] {
            assert_eq!(default_shards(&Cores::These((0..cores).collect()), has_journal), Ok(shards), "{cores}");
        }
    }
}
