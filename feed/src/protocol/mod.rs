//! Protocols: bytes into events and messages into bytes. Nothing here does I/O, reads a clock or starts a thread.

pub mod binary_file;
pub mod itch50;
