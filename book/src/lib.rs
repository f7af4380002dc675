//! Full-depth order books in preallocated memory.
//!
//! This is the lowest floor of tickcore: the vocabulary that every other package speaks ([`Event`], [`Price`],
//! [`InstrumentId`] …) and the books that events build. Nothing here does I/O, starts a thread or reads a clock.
//!
//! ```
//! use tickcore_book::{Arena, Books, Capacity, Event, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs};
//!
//! let capacity = Capacity { instruments_max: 1, orders_max: 1_000, levels_max: 100 };
//! let arena = Arena::new(capacity.arena_bytes())?;
//! let mut books = Books::new(&arena, capacity)?;
//! let add = Event {
//!     order_id: OrderId(7),
//!     side_number: Side::Bid as u8,
//!     price: Price(100 * Price::SCALE),
//!     quantity: Quantity(300),
//!     ..Event::new(Kind::Add, InstrumentId(1), TimestampNs(0))
//! };
//! assert!(books.apply(&add).bbo_changed);
//! let best = books.bbo(InstrumentId(1)).bid.expect("one bid");
//! assert_eq!((best.price.to_string().as_str(), best.quantity.get()), ("100", 300));
//! # Ok::<(), tickcore_book::ArenaError>(())
//! ```
//!
//! When not to use it: for a single book that is looked at rarely, a `BTreeMap` is enough; for books without order
//! identity (price levels only), most of what is kept here is waste.

mod anomaly;
mod arena;
mod bbo;
mod book;
mod books;
mod capacity;
mod depth;
mod digest;
mod event;
mod hash_index;
mod index;
mod instrument;
mod ladder;
mod last_trade;
mod level;
mod lookahead;
mod memory;
mod order;
mod prefetch;
mod queries;
mod queues;
pub mod reference;
mod sides;
mod state;
mod tick;
mod units;
mod validate;

pub use anomaly::{Anomaly, AnomalyCounts};
pub use arena::{Arena, ArenaError};
pub use bbo::{Bbo, Quote, Standing};
pub use book::{Book, LevelView, Levels, Orders};
pub use books::{Applied, Books, Execution};
pub use capacity::{Capacity, CapacityError, MemoryRow};
pub use depth::{Imbalance, Sweep};
pub use digest::{StateDigest, StreamDigest, mix};
pub use event::{EVENT_WORDS, Event, Flags, Kind, Side};
pub use instrument::{Instrument, Instruments};
pub use last_trade::LastTrade;
pub use lookahead::LOOKAHEAD_EVENTS;
pub use prefetch::prefetch;
pub use queries::{QueuePosition, RestingOrder};
pub use state::{BooksState, StateError};
pub use units::{InstrumentId, OrderId, Price, Quantity, Sequence, TimestampNs};
pub use validate::StructureError;
