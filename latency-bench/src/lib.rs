//! The benchmarks of the workspace: scorecards, which hold the product against its baselines in one run and against
//! stated goals, and what they share. Criterion's benches stand in `benches/`.
//!
//! ```text
//! cargo bench -p tickcore-latency-bench --bench scorecard -- book [--json] [--messages N] [--input FILE]
//! ```
//!
//! A scorecard checks that product and baselines give the same answer before it prints a figure. Absolute figures drift
//! with the machine; only ratios within one run hold.

pub mod card;
pub mod cards;
pub mod command;
pub mod day;
pub mod instructions;
pub mod naive;
pub mod plain;
pub mod source_hash;
mod statistics;
pub mod walk;
pub mod warm;
