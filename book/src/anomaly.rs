//! What a feed can do that a correct one never does, counted by kind and instrument.

use crate::arena::{Arena, ArenaError};
use crate::units::InstrumentId;

/// An event that does not fit the book it meets. The event is dealt with as stated, the book is marked stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Anomaly {
    /// Names an order that is not live under this instrument. Ignored; a Modify adds it.
    UnknownOrder = 0,
    /// Adds an order id that is live. The old order stays; a Replace onto it still removes the replaced one.
    DuplicateOrder = 1,
    /// Executes or reduces more than is left. The order is removed.
    Overfill = 2,
    /// Quantity 0 in an Add, Modify or Replace, no side where one is needed, an unknown kind. No order remains.
    Malformed = 3,
    /// A maximum of [`Capacity`](crate::Capacity) is reached, or a quantity is above 2³²−1, or would bring its level's total
    /// above that. The order is dropped.
    Capacity = 4,
    /// The venue's events were lost.
    Gap = 5,
}

impl Anomaly {
    /// Number of kinds.
    pub const COUNT: usize = 6;
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] =
        [Self::UnknownOrder, Self::DuplicateOrder, Self::Overfill, Self::Malformed, Self::Capacity, Self::Gap];

    /// The name that reports print.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownOrder => "unknown_order",
            Self::DuplicateOrder => "duplicate_order",
            Self::Overfill => "overfill",
            Self::Malformed => "malformed",
            Self::Capacity => "capacity",
            Self::Gap => "gap",
        }
    }
}

/// One counter per kind of anomaly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnomalyCounts([u64; Anomaly::COUNT]);

impl AnomalyCounts {
    /// How many of `anomaly` there were.
    #[inline]
    pub const fn of(&self, anomaly: Anomaly) -> u64 {
        self.0[anomaly as usize]
    }

    /// How many there were of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds `count` anomalies: for putting together what several cores have counted.
    pub const fn add(&mut self, anomaly: Anomaly, count: u64) {
        self.0[anomaly as usize] += count;
    }

    #[inline]
    pub(crate) const fn count(&mut self, anomaly: Anomaly) {
        self.0[anomaly as usize] += 1;
    }
}

/// Counters of the whole and of each instrument. Row 0 has what no known instrument can be blamed for.
#[derive(Debug)]
pub(crate) struct AnomalyTable<'a> {
    total: AnomalyCounts,
    rows: &'a mut [AnomalyCounts],
}

impl<'a> AnomalyTable<'a> {
    pub(crate) fn new(arena: &'a Arena, rows: usize) -> Result<Self, ArenaError> {
        Ok(Self { total: AnomalyCounts::default(), rows: arena.slice(rows, AnomalyCounts::default())? })
    }

    pub(crate) const fn total(&self) -> &AnomalyCounts {
        &self.total
    }

    pub(crate) fn of(&self, instrument: InstrumentId) -> Option<&AnomalyCounts> {
        self.rows.get(instrument.index())
    }

    /// Takes on counts of a stored state for a row that has none.
    pub(crate) fn restore(&mut self, instrument: InstrumentId, counts: &AnomalyCounts) {
        if let Some(row) = self.rows.get_mut(instrument.index()) {
            *row = *counts;
            Anomaly::ALL.into_iter().for_each(|anomaly| self.total.add(anomaly, counts.of(anomaly)));
        }
    }

    /// Counts against `instrument`, or against row 0 when it has no row.
    #[cold]
    pub(crate) fn count(&mut self, instrument: InstrumentId, anomaly: Anomaly) {
        self.total.count(anomaly);
        let row = if instrument.index() < self.rows.len() { instrument.index() } else { 0 };
        self.rows[row].count(anomaly);
    }
}
