//! Full-depth order books in preallocated memory.
//!
//! This is the lowest floor of tickcore: the vocabulary that every other package speaks ([`Event`], [`Price`],
//! [`InstrumentId`] …) and the books that events build. Nothing here does I/O, starts a thread or reads a clock.

mod event;
mod units;

pub use event::{EVENT_WORDS, Event, Flags, Kind, Side};
pub use units::{InstrumentId, OrderId, Price, Quantity, Sequence, TimestampNs};
