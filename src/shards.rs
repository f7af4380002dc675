//! Which book core keeps which instrument, in topology `sharded`.
//!
//! Every instrument has one owner; events for all instruments belong to each core. A map is made before the run and never
//! changes: by hash, which needs to know nothing and spreads thousands of instruments within some percent, or by
//! activity, which takes a count of events for each instrument and gives the busiest ones away first, so that a few
//! instruments that make most of the events do not meet on one core.

use core::fmt;
use std::str::FromStr;
use tickcore_book::{Event, InstrumentId, mix};

/// Most book cores of an engine.
pub const SHARDS_MAX: u32 = 32;

/// One book core of an engine: for whoever makes its strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number, from 0. Core 0 also counts what concerns all instruments at once.
    pub number: u32,
    /// How many there are.
    pub count: u32,
}

/// Why a map was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// None, or more than an engine takes.
    #[error("{count} shards: take a number from 1 to {SHARDS_MAX}")]
    Count {
        /// The number asked for.
        count: u32,
    },
    /// A line of a written map.
    #[error("line {line} of the shard map is {text:?}: write instrument,shard with a shard below {count}, such as 7,0")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What it says.
        text: String,
        /// Shards that there are.
        count: u32,
    },
}

/// Who owns each instrument.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardMap {
    count: u32,
    /// Owners of the instruments that were given one, by number; [`UNGIVEN`] for those that were not.
    owners: Box<[u8]>,
}

/// Mark of an instrument that goes by its hash.
const UNGIVEN: u8 = u8::MAX;
const _: () = assert!(SHARDS_MAX < UNGIVEN as u32);

impl Default for ShardMap {
    /// One core that owns all.
    fn default() -> Self {
        Self { count: 1, owners: Box::default() }
    }
}

impl ShardMap {
    /// Spreads instruments over `count` cores by their hash.
    ///
    /// # Errors
    /// A count of 0 or above [`SHARDS_MAX`].
    pub fn by_hash(count: u32) -> Result<Self, ShardError> {
        if !(1..=SHARDS_MAX).contains(&count) {
            return Err(ShardError::Count { count });
        }
        Ok(Self { count, owners: Box::default() })
    }

    /// Spreads instruments over `count` cores so that each has about as many of the events in `activity`. Instruments that
    /// are not in it go by their hash.
    ///
    /// The busiest instrument goes first, each to the core with the least so far: no core gets more than 4/3 of what the
    /// best map gives it (Graham, Bounds on Multiprocessing Timing Anomalies, 1969).
    ///
    /// # Errors
    /// As [`ShardMap::by_hash`].
    pub fn by_activity(count: u32, activity: &Activity) -> Result<Self, ShardError> {
        let mut map = Self::by_hash(count)?;
        let mut rows: Vec<(u64, usize)> = (0..).zip(&activity.events).map(|(row, &events)| (events, row)).collect();
        rows.retain(|&(events, row)| events > 0 && row > 0);
        rows.sort_unstable_by_key(|&(events, row)| (core::cmp::Reverse(events), row));
        map.owners = vec![UNGIVEN; activity.events.len()].into_boxed_slice();
        let mut loads = vec![0_u64; count as usize];
        for (events, row) in rows {
            let lightest = (0..loads.len()).min_by_key(|&shard| (loads[shard], shard)).unwrap_or(0);
            loads[lightest] += events;
            map.owners[row] = lightest as u8;
        }
        Ok(map)
    }

    /// A map as it is written: `instrument,shard` on each line, further columns and a header line are ignored. Instruments
    /// that are not in it go by their hash.
    ///
    /// # Errors
    /// A count out of bounds, or the first line that is not understood.
    pub fn parse(count: u32, text: &str) -> Result<Self, ShardError> {
        let mut map = Self::by_hash(count)?;
        let mut owners = Vec::new();
        for (line, row) in (1..).zip(text.lines()) {
            if row.trim().is_empty() || (line == 1 && row.starts_with("instrument,")) {
                continue;
            }
            let error = || ShardError::Line { line, text: row.to_owned(), count };
            let (instrument, rest) = row.split_once(',').ok_or_else(error)?;
            let shard = rest.split(',').next().unwrap_or(rest);
            let instrument = u32::from_str(instrument.trim()).map_err(|_| error())?;
            let shard = u32::from_str(shard.trim()).map_err(|_| error())?;
            if shard >= count || instrument == 0 || instrument > tickcore_book::Capacity::INSTRUMENTS_LIMIT {
                return Err(error());
            }
            let row = instrument as usize;
            if owners.len() <= row {
                owners.resize(row + 1, UNGIVEN);
            }
            owners[row] = shard as u8;
        }
        map.owners = owners.into_boxed_slice();
        Ok(map)
    }

    /// Book cores.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The core that keeps this instrument; 0 for [`InstrumentId::ALL`], which is every core's.
    pub fn owner(&self, instrument: InstrumentId) -> u32 {
        if instrument == InstrumentId::ALL {
            return 0;
        }
        match self.owners.get(instrument.index()) {
            Some(&owner) if owner != UNGIVEN => u32::from(owner),
            _ => (((mix(u64::from(instrument.get())) >> 32) * u64::from(self.count)) >> 32) as u32,
        }
    }

    /// What one core takes, as a table for its loop.
    pub(crate) fn share(&self, number: u32, instruments_max: u32) -> Share {
        let owns = |row: u32| row == 0 || self.owner(InstrumentId(row)) == number;
        Share { number, owned: (0..=instruments_max).map(owns).collect() }
    }
}

impl fmt::Debug for ShardMap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.owners.iter().filter(|&&owner| owner != UNGIVEN).count();
        formatter.debug_struct("ShardMap").field("count", &self.count).field("given", &given).finish_non_exhaustive()
    }
}

/// The instruments of one core.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    number: u32,
    owned: Box<[bool]>,
}

impl Share {
    /// Number of the core, from 0.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// Whether an event is this core's: of an instrument that it owns, or of all. What has no book anywhere is core 0's to
    /// count.
    #[inline]
    pub(crate) fn takes(&self, event: &Event) -> bool {
        self.owned.get(event.instrument.index()).copied().unwrap_or(self.number == 0)
    }

    /// Whether this core owns the instrument.
    pub(crate) fn owns(&self, instrument: InstrumentId) -> bool {
        instrument != InstrumentId::ALL && self.owned.get(instrument.index()).copied().unwrap_or(false)
    }
}

/// How many events each instrument had, in a part of the input or in all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    events: Vec<u64>,
}

impl Activity {
    /// Counts one event. Grows with the highest instrument: for a pass before the run.
    pub fn count(&mut self, event: &Event) {
        let row = event.instrument.index();
        if self.events.len() <= row {
            self.events.resize(row + 1, 0);
        }
        self.events[row] += 1;
    }

    /// Events of an instrument.
    pub fn of(&self, instrument: InstrumentId) -> u64 {
        self.events.get(instrument.index()).copied().unwrap_or(0)
    }

    /// The highest instrument that was seen.
    pub fn highest_instrument(&self) -> InstrumentId {
        InstrumentId(self.events.len().saturating_sub(1) as u32)
    }

    /// Events of the instruments of each core.
    pub fn shares(&self, map: &ShardMap) -> Vec<u64> {
        let mut shares = vec![0; map.count() as usize];
        for (row, events) in (0..).zip(&self.events).skip(1) {
            shares[map.owner(InstrumentId(row)) as usize] += events;
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tickcore_book::{Kind, TimestampNs};

    fn activity(events: &[u64]) -> Activity {
        Activity { events: [&[0], events].concat() }
    }

    #[test]
    fn counts_of_shards_have_bounds() {
        assert_eq!(ShardMap::by_hash(0), Err(ShardError::Count { count: 0 }));
        assert_eq!(ShardMap::by_hash(SHARDS_MAX + 1), Err(ShardError::Count { count: SHARDS_MAX + 1 }));
        assert_eq!(ShardMap::by_hash(SHARDS_MAX).map(|map| map.count()), Ok(SHARDS_MAX));
    }

    #[test]
    fn a_few_busy_instruments_do_not_meet() {
        let counts = activity(&[1_000, 990, 980, 5, 5, 5, 0]);
        let map = ShardMap::by_activity(3, &counts).expect("three");
        let owners: std::collections::BTreeSet<u32> = (1..=3).map(|row| map.owner(InstrumentId(row))).collect();
        assert_eq!(owners.len(), 3);
        assert_eq!(counts.shares(&map), [1_000, 995, 990]);
    }

    #[test]
    fn a_written_map_is_read_and_nonsense_is_refused() {
        let map = ShardMap::parse(2, "instrument,shard,symbol\n1,1,AAPL\n3,0\n\n").expect("a map");
        assert_eq!((map.owner(InstrumentId(1)), map.owner(InstrumentId(3))), (1, 0));
        let hashed = ShardMap::by_hash(2).expect("two");
        assert_eq!(map.owner(InstrumentId(2)), hashed.owner(InstrumentId(2)), "not in the map");
        for (text, line) in [("1", 1), ("1,2", 1), ("1,0\n0,1", 2), ("1,0\nx,1", 2), ("4294967295,0", 1)] {
            assert!(matches!(ShardMap::parse(2, text), Err(ShardError::Line { line: at, .. }) if at == line), "{text}");
        }
    }

    #[test]
    fn hashed_instruments_are_spread_evenly() {
        let map = ShardMap::by_hash(4).expect("four");
        let mut numbers = [0; 4];
        (1..=8_000).for_each(|row| numbers[map.owner(InstrumentId(row)) as usize] += 1);
        assert!(numbers.iter().all(|number| (1_800..2_200).contains(number)), "{numbers:?}");
    }

    proptest! {
        #[test]
        fn every_instrument_has_one_owner_and_events_for_all_are_everybodys(
            count in 1..=SHARDS_MAX, events in prop::collection::vec(0_u64..1_000, 0..200), instrument: u32,
        ) {
            let maps = [ShardMap::by_hash(count), ShardMap::by_activity(count, &activity(&events))];
            for map in maps.map(|map| map.expect("a count in bounds")) {
                let shares: Vec<Share> = (0..count).map(|number| map.share(number, 150)).collect();
                for row in (0..400).chain([instrument]) {
                    let event = Event::new(Kind::Add, InstrumentId(row), TimestampNs(0));
                    let takers = shares.iter().filter(|share| share.takes(&event)).count();
                    prop_assert_eq!(takers, if row == 0 { count as usize } else { 1 });
                    let owners = shares.iter().filter(|share| share.owns(InstrumentId(row))).count();
                    prop_assert_eq!(owners, usize::from((1..=150).contains(&row)));
                }
            }
        }

        #[test]
        fn no_core_is_far_above_its_share(
            count in 1_u32..8, events in prop::collection::vec(0_u64..1_000, 1..300),
        ) {
            let counts = activity(&events);
            let shares = counts.shares(&ShardMap::by_activity(count, &counts).expect("in bounds"));
            let (all, busiest) = (events.iter().sum::<u64>(), events.iter().copied().max().unwrap_or(0));
            prop_assert_eq!(shares.iter().sum::<u64>(), all);
            prop_assert!(shares.iter().max() <= Some(&(all / u64::from(count) + busiest)));
        }
    }
}
