//! All books of one core: events go in, full-depth books come out.
//!
//! [`Books::apply`] never allocates, locks, makes a system call, formats or panics, whatever the event says. What does
//! not fit the book it meets is an [`Anomaly`]: counted, dealt with as `apply` states, and the book marked stale.
//! Several instruments change at once only by events for all of them (a Clear, a Gap).

use crate::anomaly::{Anomaly, AnomalyTable};
use crate::arena::{Arena, ArenaError};
use crate::bbo::{Bbo, Quote};
use crate::capacity::Capacity;
use crate::event::{Event, Kind, Side};
use crate::index::{Found, OrderIndex, Place};
use crate::instrument::Instruments;
use crate::ladder::Ladders;
use crate::level::{Key, LevelPool, SideOf};
use crate::order::{NONE, Order, OrderPool};
use crate::units::{InstrumentId, OrderId, Price, Quantity};

/// One side of a book: what is needed to answer for its top.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideHead {
    pub(crate) best: Quote,
    /// Slot of the best level, [`NONE`] when the side is empty.
    pub(crate) best_level: u32,
    /// First ladder block.
    pub(crate) ladder: u32,
    pub(crate) level_count: u32,
    pub(crate) order_count: u32,
}

/// Both sides of a book: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct BookHead(pub(crate) [SideHead; 2]);

const _: () = assert!(size_of::<BookHead>() == 64);

const EMPTY_SIDE: SideHead = SideHead {
    best: Quote { price: Price(0), quantity: Quantity(0) },
    best_level: NONE,
    ladder: NONE,
    level_count: 0,
    order_count: 0,
};
const EMPTY_BOOK: BookHead = BookHead([EMPTY_SIDE; 2]);

impl BookHead {
    #[inline]
    pub(crate) const fn side(&self, side: Side) -> &SideHead {
        &self.0[side.index()]
    }

    #[inline]
    const fn side_mut(&mut self, side: Side) -> &mut SideHead {
        &mut self.0[side.index()]
    }

    /// What the BBO is made of, in a form that is quick to compare: price and quantity are 0 in an empty side.
    #[inline]
    const fn tops(&self) -> [Quote; 2] {
        [self.0[0].best, self.0[1].best]
    }

    #[inline]
    pub(crate) fn bbo(&self) -> Bbo {
        let quote = |side: &SideHead| (side.best_level != NONE).then_some(side.best);
        Bbo { bid: quote(&self.0[0]), ask: quote(&self.0[1]) }
    }
}

/// What the books keep of an instrument beside its sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    /// An anomaly was seen since the last snapshot.
    pub(crate) const STALE: u8 = 1;
    /// The BBO changed since the venue's last complete transaction.
    const PENDING: u8 = 2;
    /// The last event for all instruments changed the BBO.
    const CHANGED: u8 = 4;
    /// The last event for all instruments published the BBO.
    const PUBLISHED: u8 = 8;

    #[inline]
    pub(crate) const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    #[inline]
    pub(crate) const fn set(&mut self, mark: u8, on: bool) {
        self.0 = if on { self.0 | mark } else { self.0 & !mark };
    }
}

/// What one event did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The best price or the quantity at it differs from before, on either side.
    pub bbo_changed: bool,
    /// The event ends a transaction of the venue, and the BBO differs from the one at the end of the last.
    pub bbo_published: bool,
    /// The event did not fit.
    pub anomaly: Option<Anomaly>,
}

/// A resting order that traded: what the venue's message leaves out is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Instrument of the order.
    pub instrument: InstrumentId,
    /// The order.
    pub id: OrderId,
    /// Side of the order: the other side took from it.
    pub side: Side,
    /// Price of the order, also where the trade was at another.
    pub price: Price,
    /// What the order lost, at most what it had left.
    pub quantity: Quantity,
    /// The venue's number of the match.
    pub match_id: u64,
}

impl Execution {
    /// Whether this is what `event` did.
    pub fn is_of(&self, event: &Event) -> bool {
        self.instrument == event.instrument && self.id == event.order_id && self.match_id == event.reference
    }
}

/// The instrument of the order in a slot, by way of its level.
#[inline]
fn instrument_of(orders: &OrderPool<'_>, levels: &LevelPool<'_>, slot: u32) -> InstrumentId {
    levels.get(orders.get(slot).level).side_of.instrument()
}

/// The books of one core, in memory of one [`Arena`].
#[derive(Debug)]
pub struct Books<'a> {
    pub(crate) heads: &'a mut [BookHead],
    pub(crate) orders: OrderPool<'a>,
    pub(crate) levels: LevelPool<'a>,
    pub(crate) ladders: Ladders<'a>,
    pub(crate) index: OrderIndex<'a>,
    pub(crate) marks: &'a mut [Marks],
    /// BBO at the end of the venue's last transaction, kept only while [`Marks::PENDING`] is set.
    published: &'a mut [[Quote; 2]],
    pub(crate) instruments: Instruments<'a>,
    pub(crate) anomalies: AnomalyTable<'a>,
    pub(crate) capacity: Capacity,
    pub(crate) highest_instrument: InstrumentId,
    pub(crate) last_execution: Option<Execution>,
}

impl<'a> Books<'a> {
    /// Empty books of this capacity in memory of `arena`, which needs [`Capacity::arena_bytes`].
    ///
    /// # Errors
    /// When the arena is too small.
    pub fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        let rows = capacity.instruments_max as usize + 1;
        Ok(Self {
            heads: arena.slice(rows, EMPTY_BOOK)?,
            orders: OrderPool::new(arena, capacity)?,
            levels: LevelPool::new(arena, capacity)?,
            ladders: Ladders::new(arena, capacity)?,
            index: OrderIndex::new(arena, capacity)?,
            marks: arena.slice(rows, Marks::default())?,
            published: arena.slice(rows, EMPTY_BOOK.tops())?,
            instruments: Instruments::new(arena, capacity)?,
            anomalies: AnomalyTable::new(arena, rows)?,
            capacity,
            highest_instrument: InstrumentId::ALL,
            last_execution: None,
        })
    }

    /// Applies one event.
    ///
    /// | event | does not fit when | then |
    /// |---|---|---|
    /// | Add | id live; no side or quantity 0; at a maximum | dropped |
    /// | Execute, ExecuteAt, Reduce | id unknown; beyond what is left | ignored; order removed |
    /// | Delete | id unknown | ignored |
    /// | Replace | old id unknown; new id live, quantity 0, at a maximum | ignored; old order removed |
    /// | Modify | id unknown; quantity 0, at a maximum | added; order removed |
    /// | Clear, Gap | a Gap always | all books of the event's instrument stale |
    ///
    /// Cost: look-up of the order, and a step or two of its level; a walk over the levels ahead where a level comes or
    /// goes; all orders of the instrument for a Clear.
    #[inline]
    pub fn apply(&mut self, event: &Event) -> Applied {
        if event.instrument == InstrumentId::ALL {
            return self.apply_to_all(event);
        }
        let row = event.instrument.index();
        if row >= self.heads.len() {
            return self.blame(event.instrument, Anomaly::Capacity);
        }
        if event.instrument > self.highest_instrument {
            self.highest_instrument = event.instrument;
        }
        let before = self.heads[row].tops();
        let anomaly = self.dispatch(event);
        if let Some(anomaly) = anomaly {
            self.marks[row].set(Marks::STALE, true);
            self.anomalies.count(event.instrument, anomaly);
        }
        let (bbo_changed, bbo_published) = self.compare(row, before, event.is_last());
        Applied { bbo_changed, bbo_published, anomaly }
    }

    #[inline]
    fn dispatch(&mut self, event: &Event) -> Option<Anomaly> {
        match event.kind() {
            Some(Kind::Add) => self.add(event),
            Some(kind @ (Kind::Execute | Kind::ExecuteAt | Kind::Reduce)) => self.reduce(event, kind != Kind::Reduce),
            Some(Kind::Delete) => self.delete(event),
            Some(Kind::Replace) => self.replace(event),
            Some(Kind::Modify) => self.modify(event),
            Some(Kind::Clear) => {
                self.clear(event.instrument, event.order_id.0 == 1);
                None
            }
            Some(Kind::Gap) => Some(Anomaly::Gap),
            Some(Kind::InstrumentDefined | Kind::InstrumentName) => {
                self.instruments.apply(event);
                None
            }
            Some(
                Kind::Trade
                | Kind::Cross
                | Kind::Break
                | Kind::Status
                | Kind::SessionEvent
                | Kind::OrderIntent
                | Kind::OrderAnswer
                | Kind::BboUpdate,
            ) => None,
            None => Some(Anomaly::Malformed),
        }
    }

    /// Says what changed since `before`, and keeps what the end of the venue's transaction will be compared with.
    #[inline]
    fn compare(&mut self, row: usize, before: [Quote; 2], is_last: bool) -> (bool, bool) {
        let now = self.heads[row].tops();
        let changed = now != before;
        let pending = self.marks[row].has(Marks::PENDING);
        if is_last && !pending {
            return (changed, changed);
        }
        if is_last {
            self.marks[row].set(Marks::PENDING, false);
            return (changed, now != self.published[row]);
        }
        if changed && !pending {
            self.published[row] = before;
            self.marks[row].set(Marks::PENDING, true);
        }
        (changed, false)
    }

    /// Counts an anomaly that no book can be marked for.
    #[cold]
    fn blame(&mut self, instrument: InstrumentId, anomaly: Anomaly) -> Applied {
        self.anomalies.count(instrument, anomaly);
        Applied { anomaly: Some(anomaly), ..Applied::default() }
    }

    #[cold]
    fn apply_to_all(&mut self, event: &Event) -> Applied {
        let rows = 1..=self.highest_instrument.index();
        match event.kind() {
            Some(Kind::Clear) => {
                let mut applied = Applied::default();
                // Before the instruments, each of which would look for its own.
                self.index.forget_dropped(InstrumentId::ALL);
                for row in rows {
                    let before = self.heads[row].tops();
                    self.clear(InstrumentId(row as u32), event.order_id.0 == 1);
                    let (changed, published) = self.compare(row, before, event.is_last());
                    self.marks[row].set(Marks::CHANGED, changed);
                    self.marks[row].set(Marks::PUBLISHED, published);
                    applied.bbo_changed |= changed;
                    applied.bbo_published |= published;
                }
                self.index.restart_pages();
                applied
            }
            Some(Kind::Gap) => {
                for row in rows {
                    self.marks[row].set(Marks::STALE, true);
                }
                self.blame(InstrumentId::ALL, Anomaly::Gap)
            }
            Some(
                Kind::Add
                | Kind::Modify
                | Kind::Execute
                | Kind::ExecuteAt
                | Kind::Reduce
                | Kind::Delete
                | Kind::Replace
                | Kind::InstrumentDefined
                | Kind::InstrumentName,
            )
            | None => self.blame(InstrumentId::ALL, Anomaly::Malformed),
            Some(_) => Applied::default(),
        }
    }

    /// What the index knows of an id under an instrument.
    #[inline]
    pub(crate) fn find(&self, instrument: InstrumentId, id: OrderId) -> Option<(Place, Found)> {
        self.index.find(instrument, id, |slot| instrument_of(&self.orders, &self.levels, slot))
    }

    #[inline]
    fn add(&mut self, event: &Event) -> Option<Anomaly> {
        let found = self.find(event.instrument, event.order_id);
        if let Some((_, Found::Live(_))) = found {
            return Some(Anomaly::DuplicateOrder);
        }
        let Some(side) = event.side().filter(|_| event.quantity.0 > 0) else {
            return Some(Anomaly::Malformed);
        };
        if let Some((place, Found::Dropped)) = found {
            self.index.remove(place);
        }
        self.place(event.instrument, event.order_id, side, event.price, event.quantity)
    }

    /// Puts an order with a quantity above 0 whose id is not in the index at the tail of its level.
    #[inline]
    fn place(
        &mut self,
        instrument: InstrumentId,
        id: OrderId,
        side: Side,
        price: Price,
        quantity: Quantity,
    ) -> Option<Anomaly> {
        let Ok(quantity) = u32::try_from(quantity.0) else {
            self.index.insert_dropped(instrument, id);
            return Some(Anomaly::Capacity);
        };
        let key = Key::new(side, price);
        let head = self.heads[instrument.index()].side_mut(side);
        let found = if head.best_level != NONE && head.best.price == price {
            Some(head.best_level)
        } else {
            match self.ladders.find(head.ladder, key) {
                Ok((_, level)) => Some(level),
                Err(position) => {
                    let taken =
                        if self.orders.is_full() { None } else { self.levels.take(SideOf::new(instrument, side), key) };
                    if let Some(level) = taken {
                        self.ladders.insert(&mut head.ladder, position, key, level);
                        head.level_count += 1;
                        if head.best_level == NONE || key > Key::new(side, head.best.price) {
                            head.best_level = level;
                            head.best = Quote { price, quantity: Quantity(0) };
                        }
                    }
                    taken
                }
            }
        };
        let order = |level| Order { quantity, level, ahead: NONE, behind: NONE };
        let Some(slot) = found.and_then(|level| self.orders.take(id, order(level))) else {
            self.index.insert_dropped(instrument, id);
            return Some(Anomaly::Capacity);
        };
        self.levels.push_back(&mut self.orders, slot);
        head.order_count += 1;
        if found == Some(head.best_level) {
            head.best.quantity.0 += u64::from(quantity);
        }
        let (orders, levels) = (&self.orders, &self.levels);
        self.index.insert(instrument, id, slot, |slot| instrument_of(orders, levels, slot));
        None
    }

    #[inline]
    fn reduce(&mut self, event: &Event, is_execution: bool) -> Option<Anomaly> {
        match self.find(event.instrument, event.order_id) {
            Some((place, Found::Live(slot))) => {
                let left = u64::from(self.orders.get(slot).quantity);
                if is_execution {
                    self.note_execution(event, slot, left);
                }
                if event.quantity.0 < left {
                    self.shrink(slot, event.quantity.0 as u32);
                    return None;
                }
                self.index.remove(place);
                self.take_out(slot);
                (event.quantity.0 > left).then_some(Anomaly::Overfill)
            }
            Some((_, Found::Dropped)) => None,
            None => Some(Anomaly::UnknownOrder),
        }
    }

    /// Keeps what an execution is about to do to the order in `slot`.
    #[inline]
    fn note_execution(&mut self, event: &Event, slot: u32, left: u64) {
        let level = self.levels.get(self.orders.get(slot).level);
        let side = level.side_of.side();
        self.last_execution = Some(Execution {
            instrument: event.instrument,
            id: event.order_id,
            side,
            price: level.key.price(side),
            quantity: event.quantity.min(Quantity(left)),
            match_id: event.reference,
        });
    }

    #[inline]
    fn delete(&mut self, event: &Event) -> Option<Anomaly> {
        match self.find(event.instrument, event.order_id) {
            Some((place, found)) => {
                self.index.remove(place);
                if let Found::Live(slot) = found {
                    self.take_out(slot);
                }
                None
            }
            None => Some(Anomaly::UnknownOrder),
        }
    }

    #[inline]
    fn replace(&mut self, event: &Event) -> Option<Anomaly> {
        let Some((place, found)) = self.find(event.instrument, event.order_id) else {
            return Some(Anomaly::UnknownOrder);
        };
        self.index.remove(place);
        let side = match found {
            Found::Live(slot) => Some(self.take_out(slot).side()),
            Found::Dropped => None,
        };
        let new_id = event.new_order_id();
        match self.find(event.instrument, new_id) {
            Some((_, Found::Live(_))) => return Some(Anomaly::DuplicateOrder),
            Some((place, Found::Dropped)) => self.index.remove(place),
            None => {}
        }
        if event.quantity.0 == 0 {
            return Some(Anomaly::Malformed);
        }
        let Some(side) = side else {
            // Nobody knows the side of an order that was dropped: its successor is dropped as well.
            self.index.insert_dropped(event.instrument, new_id);
            return None;
        };
        self.place(event.instrument, new_id, side, event.price, event.quantity)
    }

    fn modify(&mut self, event: &Event) -> Option<Anomaly> {
        let (instrument, id) = (event.instrument, event.order_id);
        let Some((place, found)) = self.find(instrument, id) else {
            if let Some(side) = event.side().filter(|_| event.quantity.0 > 0) {
                self.place(instrument, id, side, event.price, event.quantity);
            }
            return Some(Anomaly::UnknownOrder);
        };
        let Found::Live(slot) = found else { return None };
        if event.quantity.0 == 0 {
            self.index.remove(place);
            self.take_out(slot);
            return Some(Anomaly::Malformed);
        }
        let Order { quantity: left, level, .. } = *self.orders.get(slot);
        let resting = self.levels.get(level);
        let old_side = resting.side_of.side();
        let side = event.side().unwrap_or(old_side);
        if side == old_side
            && resting.key.price(side) == event.price
            && let Some(less) = u64::from(left).checked_sub(event.quantity.0)
        {
            self.shrink(slot, less as u32);
            return None;
        }
        self.index.remove(place);
        self.take_out(slot);
        self.place(instrument, id, side, event.price, event.quantity)
    }

    /// Takes `less` off an order that has more; its place in the queue stays.
    #[inline]
    fn shrink(&mut self, slot: u32, less: u32) {
        let order = self.orders.get_mut(slot);
        order.quantity -= less;
        let number = order.level;
        let level = self.levels.get_mut(number);
        level.quantity -= u64::from(less);
        let side_of = level.side_of;
        let head = self.heads[side_of.instrument().index()].side_mut(side_of.side());
        if head.best_level == number {
            head.best.quantity.0 -= u64::from(less);
        }
    }

    /// Takes an order whose index entry is gone out of its book, and its level with it when it was the last.
    #[inline]
    fn take_out(&mut self, slot: u32) -> SideOf {
        self.levels.unlink(&mut self.orders, slot);
        let Order { quantity, level: number, .. } = *self.orders.get(slot);
        self.orders.give_back(slot);
        let level = self.levels.get(number);
        let (side_of, key, is_empty) = (level.side_of, level.key, level.order_count == 0);
        let head = self.heads[side_of.instrument().index()].side_mut(side_of.side());
        head.order_count -= 1;
        let was_best = head.best_level == number;
        if was_best {
            head.best.quantity.0 -= u64::from(quantity);
        }
        if is_empty {
            self.levels.give_back(number);
            head.level_count -= 1;
            if let Ok((position, _)) = self.ladders.find(head.ladder, key) {
                self.ladders.remove(&mut head.ladder, position);
            }
            if was_best && head.ladder == NONE {
                (head.best, head.best_level) = (EMPTY_SIDE.best, NONE);
            } else if was_best {
                let (key, level) = self.ladders.best(head.ladder);
                head.best_level = level;
                head.best =
                    Quote { price: key.price(side_of.side()), quantity: Quantity(self.levels.get(level).quantity) };
            }
        }
        side_of
    }

    /// Takes every order of an instrument out; ends its staleness when a snapshot follows.
    #[cold]
    fn clear(&mut self, instrument: InstrumentId, snapshot_follows: bool) {
        for side in Side::BOTH {
            loop {
                let best_level = self.heads[instrument.index()].side(side).best_level;
                if best_level == NONE {
                    break;
                }
                let slot = self.levels.get(best_level).first;
                if let Some((place, _)) = self.find(instrument, self.orders.id(slot)) {
                    self.index.remove(place);
                }
                self.take_out(slot);
            }
        }
        self.index.forget_dropped(instrument);
        if snapshot_follows {
            self.marks[instrument.index()].set(Marks::STALE, false);
        }
    }

    /// The instruments whose BBO the event just applied changed: itself, or those that an event for all did change.
    pub fn changed(&self, instrument: InstrumentId) -> impl Iterator<Item = InstrumentId> {
        self.touched(instrument, Marks::CHANGED)
    }

    /// The instruments whose BBO the event just applied published; as [`Books::changed`].
    pub fn published(&self, instrument: InstrumentId) -> impl Iterator<Item = InstrumentId> {
        self.touched(instrument, Marks::PUBLISHED)
    }

    /// Whether the last event for all instruments published the BBO of this one.
    pub fn was_published(&self, instrument: InstrumentId) -> bool {
        self.marks.get(instrument.index()).is_some_and(|marks| marks.has(Marks::PUBLISHED))
    }

    #[inline]
    fn touched(&self, instrument: InstrumentId, mark: u8) -> impl Iterator<Item = InstrumentId> {
        let all = instrument == InstrumentId::ALL;
        let rows = if all { 1..self.highest_instrument.0 + 1 } else { instrument.0..instrument.0 + 1 };
        rows.filter(move |&row| !all || self.marks[row as usize].has(mark)).map(InstrumentId)
    }
}
