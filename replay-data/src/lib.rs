//! Data to replay: a synthetic market generator, a small bundled sample with golden results, and a catalogue of public
//! data. There is no exchange data in here.
//!
//! - [`generate`]: a Nasdaq ITCH 5.0 day of any size, byte-identical for the same parameters.
//! - [`sample`]: a small day made by it, part of the program.
//! - [`golden`]: what the reference books make of a file.
//! - [`catalogue`]: public files of real data, where to get them and what is known of them.

pub mod catalogue;
pub mod generate;
pub mod golden;
pub mod sample;
