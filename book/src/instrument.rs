//! What is known of each instrument: filled from the stream itself, so that a journal alone answers by name.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::event::{Event, Kind};
use crate::units::{InstrumentId, Price, Quantity};
use core::fmt;
use zerocopy::IntoBytes;

/// Bytes of name in one [`InstrumentName`](Kind::InstrumentName) event.
pub(crate) const NAME_PART_BYTES: usize = 32;
/// Most [`InstrumentName`](Kind::InstrumentName) events that one instrument has.
pub(crate) const NAME_PARTS_MAX: usize = 3;

/// An instrument as its venue described it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Instrument {
    /// Who published the feed (number of the publisher in Databento's table: 2 is Nasdaq TotalView-ITCH).
    pub publisher: u32,
    /// The venue's own number of the instrument in this session.
    pub venue_id: u32,
    /// The venue's letter codes, packed in the order of its specification, first letter in the lowest byte.
    pub codes: u64,
    /// Price increment, 0 when the venue states none.
    pub price_increment: Price,
    /// Round lot, 0 when the venue states none.
    pub lot: Quantity,
    is_defined: bool,
    name_parts: u8,
    name: [u8; NAME_PART_BYTES * NAME_PARTS_MAX],
}

const UNDEFINED: Instrument = Instrument {
    publisher: 0,
    venue_id: 0,
    codes: 0,
    price_increment: Price(0),
    lot: Quantity(0),
    is_defined: false,
    name_parts: 0,
    name: [0; NAME_PART_BYTES * NAME_PARTS_MAX],
};

impl Instrument {
    /// The venue's name for the instrument; empty when it gave none, cut at the first byte that is not UTF-8.
    pub fn name(&self) -> &str {
        let length = self.name.iter().position(|&byte| byte == 0).unwrap_or(self.name.len());
        let bytes = &self.name[..length];
        str::from_utf8(bytes).unwrap_or_else(|error| str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default())
    }

    /// The parts of the name as they came.
    pub(crate) fn name_parts(&self) -> &[[u8; NAME_PART_BYTES]] {
        &self.name.as_chunks::<NAME_PART_BYTES>().0[..usize::from(self.name_parts).min(NAME_PARTS_MAX)]
    }
}

impl fmt::Debug for Instrument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Instrument({} of {}: {:?})", self.venue_id, self.publisher, self.name())
    }
}

pub(crate) fn memory(capacity: Capacity) -> MemoryRow {
    MemoryRow { part: "instruments", count: capacity.instruments_max as usize + 1, bytes_each: size_of::<Instrument>() }
}

/// The instruments of an engine by number.
#[derive(Debug)]
pub struct Instruments<'a> {
    rows: &'a mut [Instrument],
    defined: u32,
}

impl<'a> Instruments<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        Ok(Self { rows: arena.slice(capacity.instruments_max as usize + 1, UNDEFINED)?, defined: 0 })
    }

    /// How many instruments were defined.
    pub const fn defined(&self) -> u32 {
        self.defined
    }

    /// An instrument by number, once it was defined.
    pub fn get(&self, instrument: InstrumentId) -> Option<&Instrument> {
        self.rows.get(instrument.index()).filter(|row| row.is_defined)
    }

    /// Every defined instrument with its number, in order of number.
    pub fn iter(&self) -> impl Iterator<Item = (InstrumentId, &Instrument)> {
        (0..).map(InstrumentId).zip(self.rows.iter()).filter(|(_, row)| row.is_defined)
    }

    /// The newest instrument with this name: a name comes again in each session. Cost: a pass over all.
    pub fn find(&self, name: &str) -> Option<InstrumentId> {
        self.iter().filter(|(_, row)| row.name() == name).last().map(|(instrument, _)| instrument)
    }

    /// Takes in an [`InstrumentDefined`](Kind::InstrumentDefined) or [`InstrumentName`](Kind::InstrumentName) event of
    /// an instrument that has a row.
    pub(crate) fn apply(&mut self, event: &Event) {
        let Some(row) = self.rows.get_mut(event.instrument.index()) else { return };
        match event.kind() {
            Some(Kind::InstrumentDefined) => {
                self.defined += u32::from(!row.is_defined);
                *row = Instrument {
                    publisher: (event.order_id.0 >> 32) as u32,
                    venue_id: event.order_id.0 as u32,
                    codes: event.reference,
                    price_increment: event.price,
                    lot: event.quantity,
                    is_defined: true,
                    ..UNDEFINED
                };
            }
            Some(Kind::InstrumentName) if row.is_defined && usize::from(row.name_parts) < NAME_PARTS_MAX => {
                let start = usize::from(row.name_parts) * NAME_PART_BYTES;
                row.name[start..start + NAME_PART_BYTES].copy_from_slice(&event.name_part());
                row.name_parts += 1;
            }
            _ => {}
        }
    }
}

impl Event {
    /// The 32 bytes of name that an [`InstrumentName`](Kind::InstrumentName) event carries in words 2 to 5.
    pub fn name_part(&self) -> [u8; NAME_PART_BYTES] {
        let words = self.to_words();
        let mut part = [0; NAME_PART_BYTES];
        for (bytes, word) in part.chunks_exact_mut(8).zip(&words[2..6]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        part
    }

    /// The same event with 32 bytes of name in words 2 to 5.
    #[must_use]
    pub fn with_name_part(mut self, part: [u8; NAME_PART_BYTES]) -> Self {
        let mut words = [0_u64; NAME_PART_BYTES / 8];
        words.as_mut_bytes().copy_from_slice(&part);
        let words = words.map(u64::from_le);
        self.order_id.0 = words[0];
        self.reference = words[1];
        self.price.0 = words[2].cast_signed();
        self.quantity.0 = words[3];
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{OrderId, TimestampNs};

    fn part(text: &str) -> [u8; NAME_PART_BYTES] {
        let mut part = [0; NAME_PART_BYTES];
        part[..text.len()].copy_from_slice(text.as_bytes());
        part
    }

    #[test]
    fn a_name_of_up_to_three_parts_comes_back_and_a_fourth_is_ignored() {
        let arena = Arena::new(1 << 20).expect("small");
        let capacity = Capacity { instruments_max: 3, orders_max: 1, levels_max: 1 };
        let mut instruments = Instruments::new(&arena, capacity).expect("fits");
        let defined = Event {
            order_id: OrderId(2 << 32 | 77),
            reference: 5,
            ..Event::new(Kind::InstrumentDefined, InstrumentId(3), TimestampNs(0))
        };
        let named = Event::new(Kind::InstrumentName, InstrumentId(3), TimestampNs(0));
        instruments.apply(&named.with_name_part(part("before")));
        assert_eq!(instruments.get(InstrumentId(3)), None);
        instruments.apply(&defined);
        let long = "abcdefghijklmnopqrstuvwxyzäöü";
        for _ in 0..4 {
            instruments.apply(&named.with_name_part(part(&long[..32])));
        }
        let row = instruments.get(InstrumentId(3)).expect("defined");
        assert_eq!((row.publisher, row.venue_id, row.codes), (2, 77, 5));
        assert_eq!(row.name(), long[..32].repeat(3));
        instruments.apply(&defined);
        instruments.apply(&named.with_name_part(part("AAPL")));
        assert_eq!(instruments.find("AAPL"), Some(InstrumentId(3)));
        assert_eq!(instruments.defined(), 1);
        instruments.apply(&Event { instrument: InstrumentId(4), ..defined });
        assert_eq!(instruments.defined(), 1);
    }
}
