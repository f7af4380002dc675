//! The scorecards, one module each.

mod book;
mod journal;
mod pipeline;
mod ring;

use crate::card::Scorecard;
use std::path::PathBuf;
use tickcore::pace::Pace;

/// How a card is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Messages of a generated day.
    pub messages: u64,
    /// The file to measure on; a day is generated without one.
    pub input: Option<PathBuf>,
    /// Rounds of which the median counts.
    pub rounds: usize,
    /// A shape of load beside those of the figures with goals, for the card `pipeline`.
    pub pace: Option<Pace>,
}

/// A scorecard that can be run.
#[derive(Debug)]
pub struct Card {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures, in some words.
    pub summary: &'static str,
    /// Measures everything. Progress goes to stderr.
    pub run: fn(&Settings) -> anyhow::Result<Scorecard>,
    /// Runs on very little data and looks at the answer; well under a second.
    pub check: fn() -> anyhow::Result<()>,
}

/// All cards.
pub const CARDS: &[Card] = &[book::CARD, ring::CARD, journal::CARD, pipeline::CARD];
