//! Reading a state.

use super::{BOOKS_MAGIC, CHAIN_MAGIC, HEADER_BYTES, STATE_VERSION, StateError, row};
use crate::anomaly::{Anomaly, AnomalyCounts};
use crate::bbo::Quote;
use crate::books::{Books, Execution, Marks};
use crate::capacity::Capacity;
use crate::digest::StreamDigest;
use crate::event::{Event, Kind, Side};
use crate::instrument::{NAME_PART_BYTES, NAME_PARTS_MAX};
use crate::last_trade::LastTrade;
use crate::level::{Key, SideOf};
use crate::units::{InstrumentId, OrderId, Price, Quantity, TimestampNs};

/// The state of books as [`Books::encode`] wrote it, its header looked at and the rest not yet.
#[derive(Clone, Copy, Debug)]
pub struct BooksState<'b> {
    bytes: &'b [u8],
    capacity: Capacity,
    highest_instrument: InstrumentId,
    live_orders: u32,
    levels: u32,
    dropped: u32,
    has_last_execution: bool,
}

/// Which part of a state books take.
struct Part<F> {
    owns: F,
    /// Anomalies of no instrument, where they are not those of the state.
    unblamed: Option<AnomalyCounts>,
}

impl<'b> BooksState<'b> {
    /// Looks at the header of a state, which must end where `bytes` do.
    ///
    /// # Errors
    /// When it is of another kind, version or length, or its maxima cannot be.
    pub fn read(bytes: &'b [u8]) -> Result<Self, StateError> {
        let mut cursor = Cursor { bytes, offset: 0 };
        cursor.magic(BOOKS_MAGIC)?;
        cursor.version()?;
        cursor.expect("reserved word", 0)?;
        let length = cursor.u64()?;
        let found = bytes.len();
        if length > found as u64 {
            let wanted = usize::try_from(length).unwrap_or(usize::MAX);
            return Err(StateError::CutShort { offset: 0, wanted, found });
        }
        if length < found as u64 {
            return Err(StateError::TrailingBytes { offset: length as usize, found: found - length as usize });
        }
        let capacity =
            Capacity { instruments_max: cursor.u32()?, orders_max: cursor.u32()?, levels_max: cursor.u32()? };
        if let Err(error) = capacity.check() {
            return Err(StateError::Invalid { offset: 24, what: error.what, found: error.found.into() });
        }
        let highest_instrument = cursor.at_most("highest instrument", capacity.instruments_max)?;
        let live_orders = cursor.at_most("number of orders", capacity.orders_max)?;
        let levels = cursor.at_most("number of levels", capacity.levels_max.min(live_orders))?;
        let dropped_max = u32::try_from(capacity.dropped_orders_max()).unwrap_or(u32::MAX);
        let dropped = cursor.at_most("number of dropped ids", dropped_max)?;
        let has_last_execution = cursor.at_most("flag of a last execution", 1)? == 1;
        Ok(Self {
            bytes,
            capacity,
            highest_instrument: InstrumentId(highest_instrument),
            live_orders,
            levels,
            dropped,
            has_last_execution,
        })
    }

    /// Maxima of the books that it is of, and that it can be restored into.
    pub const fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Orders in it.
    pub const fn live_orders(&self) -> u32 {
        self.live_orders
    }

    /// Puts the state into new books of the same maxima: they go on as those would have that it was taken of.
    ///
    /// Cost: that of an Add for each order. Allocates nothing.
    ///
    /// # Errors
    /// When the books are not new, have other maxima, or the bytes are no state: then the books are to be thrown away.
    pub fn restore(&self, books: &mut Books<'_>) -> Result<(), StateError> {
        self.restore_part(books, &Part { owns: |_| true, unblamed: None })
    }

    /// As [`BooksState::restore`], for the books of one of several cores: only what is of instruments that `owns` says are
    /// this core's. Anomalies that no instrument could be blamed for are taken to be `unblamed` where that is given.
    ///
    /// # Errors
    /// As [`BooksState::restore`].
    pub fn restore_share(
        &self,
        books: &mut Books<'_>,
        owns: impl Fn(InstrumentId) -> bool,
        unblamed: Option<AnomalyCounts>,
    ) -> Result<(), StateError> {
        self.restore_part(books, &Part { owns, unblamed })
    }

    fn restore_part(
        &self,
        books: &mut Books<'_>,
        part: &Part<impl Fn(InstrumentId) -> bool>,
    ) -> Result<(), StateError> {
        if self.capacity != books.capacity {
            return Err(StateError::Capacity { state: self.capacity, books: books.capacity });
        }
        if !books.are_new() {
            return Err(StateError::NotNew);
        }
        let mut reading =
            Reading { cursor: Cursor { bytes: self.bytes, offset: HEADER_BYTES }, books, part, orders: 0, levels: 0 };
        if self.has_last_execution {
            let execution = reading.last_execution(self.highest_instrument)?;
            if (part.owns)(execution.instrument) {
                reading.books.last_execution = Some(execution);
            }
        }
        for number in 0..=self.highest_instrument.0 {
            reading.row(InstrumentId(number))?;
        }
        for (what, stated, found) in
            [("number of orders", self.live_orders, reading.orders), ("number of levels", self.levels, reading.levels)]
        {
            if stated != found {
                return Err(StateError::Invalid { offset: reading.cursor.offset, what, found: found.into() });
            }
        }
        reading.dropped_ids(self.dropped, self.capacity.instruments_max)?;
        reading.books.highest_instrument = self.highest_instrument;
        reading.cursor.end()
    }
}

/// A state on its way into books.
struct Reading<'r, 'b, 'a, F> {
    cursor: Cursor<'b>,
    books: &'r mut Books<'a>,
    part: &'r Part<F>,
    /// Orders and levels so far, of all instruments.
    orders: u32,
    levels: u32,
}

impl<F: Fn(InstrumentId) -> bool> Reading<'_, '_, '_, F> {
    fn last_execution(&mut self, highest: InstrumentId) -> Result<Execution, StateError> {
        let cursor = &mut self.cursor;
        let instrument = cursor.within("instrument of an execution", 1, highest.0)?;
        let side = cursor.within("side of an execution", 1, 2)?;
        Ok(Execution {
            instrument: InstrumentId(instrument),
            side: Side::BOTH[side as usize - 1],
            id: OrderId(cursor.u64()?),
            price: cursor.price()?,
            quantity: Quantity(cursor.u64()?),
            match_id: cursor.u64()?,
        })
    }

    fn row(&mut self, instrument: InstrumentId) -> Result<(), StateError> {
        let is_all = instrument == InstrumentId::ALL;
        let is_own = is_all || (self.part.owns)(instrument);
        let offset = self.cursor.offset;
        let flags = self.cursor.u32()?;
        if flags & !row::ALL != 0 || (is_all && flags & !row::ANOMALIES != 0) {
            return Err(StateError::Invalid { offset, what: "row of flags", found: flags.into() });
        }
        if is_own {
            self.books.marks[instrument.index()] = Marks::of_bits((flags & row::MARKS) as u8);
        }
        if flags & row::TRANSACTION_OPEN != 0 {
            let mut quote = || -> Result<Quote, StateError> {
                Ok(Quote { price: self.cursor.price()?, quantity: Quantity(self.cursor.u64()?) })
            };
            let published = [quote()?, quote()?];
            if is_own {
                self.books.published[instrument.index()] = published;
            }
        }
        if flags & row::DEFINED != 0 {
            self.definition(instrument, is_own)?;
        }
        if flags & row::ANOMALIES != 0 {
            let counts = self.cursor.counts()?;
            if is_own && !(is_all && self.part.unblamed.is_some()) {
                self.books.anomalies.restore(instrument, &counts);
            }
        }
        if let Some(counts) = self.part.unblamed.filter(|_| is_all) {
            self.books.anomalies.restore(instrument, &counts);
        }
        if flags & row::LAST_TRADE != 0 {
            let trade = self.cursor.last_trade()?;
            if is_own {
                self.books.last_trades.restore(instrument, trade);
            }
        }
        for side in Side::BOTH {
            if flags & row::SIDES[side.index()] != 0 {
                self.side(SideOf::new(instrument, side), is_own)?;
            }
        }
        Ok(())
    }

    /// What defined the instrument, as events.
    fn definition(&mut self, instrument: InstrumentId, is_own: bool) -> Result<(), StateError> {
        let (publisher, venue_id) = (self.cursor.u32()?, self.cursor.u32()?);
        let defined = Event {
            order_id: OrderId(u64::from(publisher) << 32 | u64::from(venue_id)),
            reference: self.cursor.u64()?,
            price: self.cursor.price()?,
            quantity: Quantity(self.cursor.u64()?),
            ..Event::new(Kind::InstrumentDefined, instrument, TimestampNs(0))
        };
        if is_own {
            self.books.instruments.apply(&defined);
        }
        for _ in 0..self.cursor.at_most("number of parts of a name", NAME_PARTS_MAX as u32)? {
            let part = self.cursor.array::<NAME_PART_BYTES>()?;
            if is_own {
                let named = Event::new(Kind::InstrumentName, instrument, TimestampNs(0));
                self.books.instruments.apply(&named.with_name_part(part));
            }
        }
        Ok(())
    }

    fn side(&mut self, side_of: SideOf, is_own: bool) -> Result<(), StateError> {
        let mut better: Option<Key> = None;
        let levels_left = self.books.capacity.levels_max - self.levels;
        let levels = self.cursor.within("number of levels", 1, levels_left)?;
        self.levels += levels;
        for _ in 0..levels {
            let offset = self.cursor.offset;
            let price = self.cursor.price()?;
            let key = side_of.key(price);
            if better.is_some_and(|better| key >= better) {
                return Err(StateError::Invalid { offset, what: "price", found: price.0.cast_unsigned() });
            }
            better = Some(key);
            let orders_left = self.books.capacity.orders_max - self.orders;
            let orders = self.cursor.within("number of orders", 1, orders_left)?;
            self.orders += orders;
            let mut room = u32::MAX;
            for _ in 0..orders {
                room -= self.order(side_of, price, room, is_own)?;
            }
        }
        Ok(())
    }

    /// An order of a level that has room for a quantity; what it takes of it.
    #[inline]
    fn order(&mut self, side_of: SideOf, price: Price, room: u32, is_own: bool) -> Result<u32, StateError> {
        let offset = self.cursor.offset;
        let id = OrderId(self.cursor.u64()?);
        let quantity = self.cursor.within("quantity", 1, room)?;
        if !is_own {
            return Ok(quantity);
        }
        if self.books.find(side_of.instrument(), id).is_some() {
            return Err(StateError::Invalid { offset, what: "new order id", found: id.0 });
        }
        self.books.place_restored(side_of, id, price, quantity);
        Ok(quantity)
    }

    fn dropped_ids(&mut self, count: u32, instruments_max: u32) -> Result<(), StateError> {
        let mut last = None;
        for _ in 0..count {
            let offset = self.cursor.offset;
            let instrument = InstrumentId(self.cursor.within("instrument of a dropped id", 1, instruments_max)?);
            let id = OrderId(self.cursor.u64()?);
            let is_known = (self.part.owns)(instrument) && self.books.find(instrument, id).is_some();
            if last >= Some((instrument, id)) || is_known {
                return Err(StateError::Invalid { offset, what: "dropped id", found: id.0 });
            }
            last = Some((instrument, id));
            if (self.part.owns)(instrument) {
                self.books.index.insert_dropped(instrument, id);
            }
        }
        Ok(())
    }
}

impl StreamDigest {
    /// Takes on chains that [`StreamDigest::encode`] wrote, of instruments that `owns` says are wanted. `changes` counts
    /// theirs alone then.
    ///
    /// # Errors
    /// When the bytes are no chains, are of more or fewer instruments, or this digest has changes already.
    pub fn restore(&mut self, bytes: &[u8], owns: impl Fn(InstrumentId) -> bool) -> Result<(), StateError> {
        if self.changes() > 0 {
            return Err(StateError::NotNew);
        }
        let mut cursor = Cursor { bytes, offset: 0 };
        cursor.magic(CHAIN_MAGIC)?;
        cursor.version()?;
        cursor.expect("number of instruments", self.instruments_max())?;
        let stated = cursor.u64()?;
        let (mut next, mut sum) = (0, 0_u64);
        while cursor.offset < bytes.len() {
            let instrument = cursor.within("instrument", next, self.instruments_max())?;
            next = instrument + 1;
            let chain = cursor.u64()?;
            let offset = cursor.offset;
            let changes = cursor.u64()?;
            sum = match sum.checked_add(changes).filter(|_| changes > 0) {
                Some(sum) => sum,
                None => return Err(StateError::Invalid { offset, what: "number of changes", found: changes }),
            };
            if owns(InstrumentId(instrument)) {
                self.restore_chain(InstrumentId(instrument), chain, changes);
            }
        }
        if sum == stated {
            Ok(())
        } else {
            Err(StateError::Invalid { offset: 16, what: "sum of changes", found: stated })
        }
    }
}

/// A place in the bytes.
struct Cursor<'b> {
    bytes: &'b [u8],
    offset: usize,
}

impl Cursor<'_> {
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        match rest.first_chunk::<N>() {
            Some(bytes) => {
                self.offset += N;
                Ok(*bytes)
            }
            None => Err(StateError::CutShort { offset: self.offset, wanted: N, found: rest.len() }),
        }
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, StateError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, StateError> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    fn price(&mut self) -> Result<Price, StateError> {
        self.array().map(|bytes| Price(i64::from_le_bytes(bytes)))
    }

    /// A number within bounds.
    #[inline]
    fn within(&mut self, what: &'static str, least: u32, most: u32) -> Result<u32, StateError> {
        let offset = self.offset;
        let found = self.u32()?;
        if (least..=most).contains(&found) {
            Ok(found)
        } else {
            Err(StateError::Invalid { offset, what, found: found.into() })
        }
    }

    fn at_most(&mut self, what: &'static str, most: u32) -> Result<u32, StateError> {
        self.within(what, 0, most)
    }

    fn expect(&mut self, what: &'static str, wanted: u32) -> Result<(), StateError> {
        self.within(what, wanted, wanted).map(|_| ())
    }

    fn magic(&mut self, wanted: [u8; 8]) -> Result<(), StateError> {
        let mut found = [0; 8];
        let count = self.bytes.len().min(found.len());
        found[..count].copy_from_slice(&self.bytes[..count]);
        if count < found.len() || found != wanted {
            return Err(StateError::Magic { offset: 0, found });
        }
        self.offset += found.len();
        Ok(())
    }

    fn version(&mut self) -> Result<(), StateError> {
        let offset = self.offset;
        match self.u32()? {
            STATE_VERSION => Ok(()),
            found => Err(StateError::Version { offset, found }),
        }
    }

    fn counts(&mut self) -> Result<AnomalyCounts, StateError> {
        let offset = self.offset;
        let mut counts = AnomalyCounts::default();
        let mut total = 0_u64;
        for anomaly in Anomaly::ALL {
            let count = self.u64()?;
            // No run has that many; sums over instruments must not overflow.
            total = total.saturating_add(count);
            if total > 1 << 39 {
                return Err(StateError::Invalid { offset, what: "number of anomalies", found: count });
            }
            counts.add(anomaly, count);
        }
        if total == 0 {
            return Err(StateError::Invalid { offset, what: "number of anomalies", found: 0 });
        }
        Ok(counts)
    }

    fn last_trade(&mut self) -> Result<LastTrade, StateError> {
        let price = self.price()?;
        let quantity = Quantity(self.u64()?);
        let exchange_time = TimestampNs(self.u64()?);
        let match_id = self.u64()?;
        let offset = self.offset;
        let word = self.array::<4>()?;
        let invalid = StateError::Invalid { offset, what: "last trade", found: u32::from_le_bytes(word).into() };
        let [kind, side, is_broken, zero] = word;
        let kind = Kind::from_number(kind)
            .filter(|kind| matches!(kind, Kind::Execute | Kind::ExecuteAt | Kind::Trade | Kind::Cross))
            .ok_or(invalid)?;
        let side = match side {
            0 => None,
            1 | 2 => Some(Side::BOTH[usize::from(side) - 1]),
            _ => return Err(invalid),
        };
        if is_broken > 1 || zero != 0 || quantity.0 == 0 {
            return Err(invalid);
        }
        Ok(LastTrade { price, quantity, exchange_time, match_id, kind, side, is_broken: is_broken == 1 })
    }

    fn end(&self) -> Result<(), StateError> {
        match self.bytes.len() - self.offset {
            0 => Ok(()),
            found => Err(StateError::TrailingBytes { offset: self.offset, found }),
        }
    }
}
