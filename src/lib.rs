//! Full-depth order books on pinned cores, fed through a lock-free ring, journaled with io_uring, replayed bit for bit.
//!
//! An [`engine`] takes events from a [`Source`](feed::source::Source), keeps [`Books`](book::Books), calls a
//! [`Strategy`](strategy::Strategy) and journals everything. Replay of a journal is the same path with another source.
//!
//! The floors below are re-exported: [`book`] (events and books), [`feed`] (protocols, sources, ring), [`journal`] and
//! [`latency`]. Without the feature `cli` no command-line dependency is built.
//!
//! When not to use it: where one thread and a map are fast enough, or where the venue's gateway is slower than both.

pub use tickcore_book as book;
pub use tickcore_feed as feed;
pub use tickcore_journal as journal;
pub use tickcore_latency as latency;

mod arrivals;
mod book_core;
pub mod checkpoint;
mod control;
pub mod engine;
mod feed_core;
mod filter;
mod forward;
pub mod inputs;
mod journal_core;
mod journal_policy;
pub mod journal_source;
mod journaled_outputs;
mod loops;
pub mod machine;
mod meter;
pub mod outcome;
pub mod output_check;
mod output_port;
pub mod outputs;
pub mod pace;
pub mod pin;
mod places;
mod probes;
mod recordings;
mod refusals;
mod restart;
mod run;
pub mod schedule;
mod session_state;
pub mod shards;
pub mod stat;
pub mod strategy;
mod threads;
pub mod timeline;
pub mod topology;
mod warm_up;

pub use arrivals::ArrivalFaults;
pub use book_core::StrictAnomaly;
pub use journal_core::{JournalConfig, JournalError, start_helper, start_helper_on};
pub use journal_policy::{JournalPolicy, OnFailure};
pub use restart::{LoadedCheckpoint, RestartError};
pub use session_state::SessionStateError;
pub use threads::ThreadHook;
