//! Market data protocols, sources of their bytes, and the ring that carries events between cores.
//!
//! [`protocol`] turns messages into events and back and does no I/O. [`source`] brings the bytes from files and memory and
//! hands out [`batch`]es of events. [`session`] knows which day an input belongs to. [`ring`] carries events from the one
//! core that writes them to all that read them.

pub mod batch;
pub mod protocol;
pub mod ring;
pub mod session;
pub mod source;
