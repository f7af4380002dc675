//! A calibrated clock, latency recorders on hdrhistogram, and their reports.
//!
//! A [`Clock`] stamps, a [`Sampler`] says which events are stamped, a [`Recorder`] keeps the differences without
//! allocating, and a [`Report`] turns recorders into a table, JSON and `.hgrm` percentile files. Nothing here knows the
//! engine: what is measured between which two points is the caller's affair.
//!
//! ```
//! use tickcore_latency::{Clock, Recorder, Sampler};
//!
//! let clock = Clock::calibrate();
//! let mut sampler = Sampler::new(64);
//! let mut recorder = Recorder::new();
//! for _ in 0..640 {
//!     if sampler.is_due() {
//!         let start = clock.now_fenced();
//!         // the work
//!         recorder.record(clock.ns_between(start, clock.now()));
//!     }
//! }
//! assert_eq!(recorder.summary().count, 10);
//! ```

mod base64;
mod clock;
mod distribution;
mod geometry;
mod hgrm;
pub mod hlog;
mod recorder;
mod report;
mod sampler;
pub mod stages;

pub use clock::{Clock, ClockDescription, ClockSource, Ticks};
pub use distribution::{Bucket, Distribution, DistributionError};
pub use recorder::{Recorder, Summary};
pub use report::{Report, ReportError, RunDescription, Series, text_table, write_report};
pub use sampler::Sampler;
