//! A synthetic Nasdaq ITCH 5.0 day, byte-identical for the same parameters on every machine.
//!
//! The day is a file image: frames of a `u16` big-endian length and a payload, without a mark at the end, as Nasdaq's
//! public files are. It is made message by message; memory depends on live orders and instruments only, so days of
//! hundreds of millions of messages need no more than large days need on the wire.
//!
//! # What a day is like
//!
//! - **Mix**, by message: `A` 44 %, `D` 42 %, `U` 6 %, `E` 3 %, `I` 1.5 %, `X` 1 %, `P` 0.8 %, `F` 0.75 %, `C` 0.1 %, and
//!   all other types a few times or once per instrument. It is that of real days; how it was set stands in the shares of
//!   the schedule.
//! - **Structure**: `S` O, a directory (`R`, then `H`, `Y`, `L`), `S` S at 04:00, orders, `V`, imbalances, `S` Q at 09:30
//!   with the opening cross, market hours, `S` M at 16:00 with the closing cross, cancellations, `S` E at 20:00, a few
//!   deletes, `S` C. Time never goes back and comes in bursts.
//! - **Activity** of an instrument is proportional to 1 / (rank + 10); ranks are dealt out at random.
//! - **Consistent**: every reference is to a live order of the right instrument, never for more shares than are left;
//!   executions take the first order of the best level; no book is ever locked or crossed. Order numbers rise with gaps,
//!   a few come late.
//! - **Orders** mostly stand near the touch with a long tail away from it; most are cancelled soon, some live for hours.
//!   Live orders rise in the morning, stay, and go at the end.
//!
//! It is made for exercising books, feeds and journals, not for testing whether a strategy earns money: flow does not
//! react to prices, instruments do not move together, and nobody is informed.
//!
//! ```
//! use tickcore_replay_data::generate::{Generator, Parameters};
//!
//! let mut generator = Generator::new(Parameters::new(10_000, 20, 1))?;
//! let mut file = Vec::new();
//! while generator.next_chunk(&mut file) {}
//! assert_eq!(generator.messages_made(), 10_000);
//! assert_eq!(&file[..3], b"\x00\x0CS");
//! # Ok::<(), tickcore_replay_data::generate::ParametersError>(())
//! ```

mod activity;
mod clock;
mod generator;
mod instrument;
mod market;
mod parameters;
mod quote;
mod rng;
mod schedule;
mod tape;

pub use generator::{CHUNK_MESSAGES, GENERATOR_VERSION, Generator, generate_to_vec};
pub use parameters::{
    INSTRUMENTS_MAX, LIVE_ORDERS_MAX, MESSAGES_BASE, MESSAGES_MAX, MESSAGES_PER_INSTRUMENT, Parameters, ParametersError,
};
