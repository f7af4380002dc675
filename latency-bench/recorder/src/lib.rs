//! A calibrated clock, latency recorders in HdrHistogram's layout, and their reports.
//!
//! A [`Clock`] stamps, a [`Recorder`] keeps the differences without allocating ([`stages`] for several at a time, emptied by
//! interval), and a [`Report`] turns them into tables, JSON, HdrHistogram's file formats and a page. Nothing here knows the
//! engine: which events are measured, and between which two points, is the caller's affair.
//!
//! ```
//! use tickcore_latency::{Clock, Recorder};
//!
//! let clock = Clock::calibrate();
//! let mut recorder = Recorder::new();
//! for event in 1..=640 {
//!     if event % 64 == 0 {
//!         let start = clock.now();
//!         // the work
//!         recorder.record(clock.ns_between(start, clock.now()));
//!     }
//! }
//! assert_eq!(recorder.summary().count, 10);
//! ```

mod base64;
mod calibration;
mod clock;
pub mod compare;
mod description;
mod distribution;
mod geometry;
mod hgrm;
pub mod hlog;
mod html;
mod load;
mod readable;
mod recorder;
mod report;
pub mod stages;

pub use calibration::{Calibration, CalibrationFigure};
pub use clock::{Clock, ClockDescription, ClockSource, Ticks};
pub use description::{MachineDescription, RunDescription, quoted, utc_text};
pub use distribution::{Bucket, Distribution, DistributionError};
pub use load::{KNEE_P99_NS, LoadStep, events_at, knee};
pub use readable::grouped;
pub use recorder::{Recorder, Summary};
pub use report::{
    Counter, Gauge, MAX_REPORT_BYTES, Origin, Report, ReportError, SCHEMA, SCHEMA_VERSION, Stage, StageInterval, Stall,
    Stalls, load_table, percentile_plot, printable, read_report, text_table, write_html, write_report,
};
