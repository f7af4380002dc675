//! All books of one core: events go in, full-depth books come out.
//!
//! [`Books::apply`] never allocates, locks, makes a system call, formats or panics, whatever the event says. What does
//! not fit the book it meets is an [`Anomaly`]: counted, dealt with as `apply` states, and the book marked stale.
//! Several instruments change at once only by events for all of them (a Clear, a Gap).

use crate::anomaly::{Anomaly, AnomalyTable};
use crate::arena::{Arena, ArenaError};
use crate::bbo::Quote;
use crate::capacity::Capacity;
use crate::event::{Event, Kind, Side};
use crate::index::{Found, OrderIndex, Place, Vacancy};
use crate::instrument::Instruments;
use crate::last_trade::LastTrades;
use crate::level::SideOf;
use crate::lookahead::LookAhead;
use crate::order::{NONE, Order};
use crate::queues::Queues;
use crate::sides::{EMPTY_SIDE, SideHead, Sides, row_count};
use crate::units::{InstrumentId, OrderId, Price, Quantity};

/// What the BBO is made of, in a form that is quick to compare: price and quantity are 0 in an empty side.
#[inline]
const fn tops(sides: &[SideHead; 2]) -> [Quote; 2] {
    [sides[0].top(), sides[1].top()]
}

const ADD: u8 = Kind::Add as u8;
const EXECUTE: u8 = Kind::Execute as u8;
const EXECUTE_AT: u8 = Kind::ExecuteAt as u8;
const REDUCE: u8 = Kind::Reduce as u8;
const DELETE: u8 = Kind::Delete as u8;
const REPLACE: u8 = Kind::Replace as u8;

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

    /// All marks in one number below 16.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// What [`Marks::bits`] gave.
    pub(crate) const fn of_bits(bits: u8) -> Self {
        Self(bits)
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

/// What an event did to its book: whether the BBO differs from before, and what did not fit.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    bbo_changed: bool,
    anomaly: Option<Anomaly>,
}

impl Outcome {
    #[inline]
    const fn fits(bbo_changed: bool) -> Self {
        Self { bbo_changed, anomaly: None }
    }

    #[inline]
    const fn but(self, anomaly: Anomaly) -> Self {
        Self { anomaly: Some(anomaly), ..self }
    }
}

/// The books of one core, in memory of one [`Arena`].
#[derive(Debug)]
pub struct Books<'a> {
    pub(crate) sides: Sides<'a>,
    pub(crate) queues: Queues<'a>,
    pub(crate) index: OrderIndex<'a>,
    pub(crate) marks: &'a mut [Marks],
    /// BBO at the end of the venue's last transaction, kept only while [`Marks::PENDING`] is set.
    pub(crate) published: &'a mut [[Quote; 2]],
    pub(crate) instruments: Instruments<'a>,
    pub(crate) anomalies: AnomalyTable<'a>,
    pub(crate) capacity: Capacity,
    pub(crate) highest_instrument: InstrumentId,
    pub(crate) last_execution: Option<Execution>,
    pub(crate) last_trades: LastTrades<'a>,
    pub(crate) ahead: LookAhead,
    pub(crate) is_unjournaled: bool,
}

impl<'a> Books<'a> {
    /// Empty books of this capacity in memory of `arena`, which needs [`Capacity::arena_bytes`].
    ///
    /// # Errors
    /// When a maximum is not from 1 to its limit ([`Capacity::check`]), and when the arena is too small.
    pub fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        let capacity = capacity.check()?;
        let rows = row_count(capacity);
        Ok(Self {
            sides: Sides::new(arena, capacity)?,
            queues: Queues::new(arena, capacity)?,
            index: OrderIndex::new(arena, capacity)?,
            marks: arena.slice(rows, Marks::default())?,
            published: arena.slice(rows, [EMPTY_SIDE.top(); 2])?,
            instruments: Instruments::new(arena, capacity)?,
            anomalies: AnomalyTable::new(arena, rows)?,
            capacity,
            highest_instrument: InstrumentId::ALL,
            last_execution: None,
            last_trades: LastTrades::new(arena, capacity)?,
            ahead: LookAhead::default(),
            is_unjournaled: false,
        })
    }

    /// Applies one event.
    ///
    /// | event | does not fit when | then |
    /// |---|---|---|
    /// | Add | id live; no side or quantity 0; at a maximum, that of a level's quantity included | dropped |
    /// | Execute, ExecuteAt, Reduce | id unknown; beyond what is left | ignored; order removed |
    /// | Delete | id unknown | ignored |
    /// | Replace | old id unknown; new id live, quantity 0, at a maximum | ignored; old order removed |
    /// | Modify | id unknown; quantity 0, at a maximum | added; order removed |
    /// | Clear, Gap | a Gap always | all books of the event's instrument stale |
    ///
    /// Cost: look-up of the order, and a step or two of its level; a search among the levels where one comes or goes away
    /// from the touch; all orders of the instrument for a Clear.
    #[inline]
    pub fn apply(&mut self, event: &Event) -> Applied {
        let row = event.instrument.index();
        if row.wrapping_sub(1) >= self.marks.len() - 1 {
            return self.apply_elsewhere(event);
        }
        // Which side it is, an order's own memory says: its book's top need not wait for that.
        self.sides.prefetch(row);
        if event.instrument > self.highest_instrument {
            self.highest_instrument = event.instrument;
        }
        if !event.is_last() || self.marks[row].has(Marks::PENDING) {
            return self.apply_in_transaction(event);
        }
        let Outcome { bbo_changed, anomaly } = self.dispatch(event);
        if let Some(anomaly) = anomaly {
            self.blame_book(event.instrument, anomaly);
        }
        Applied { bbo_changed, bbo_published: bbo_changed, anomaly }
    }

    /// Applies an event of a transaction with more than one.
    #[inline(never)]
    fn apply_in_transaction(&mut self, event: &Event) -> Applied {
        let row = event.instrument.index();
        let before = self.tops(row);
        let Outcome { anomaly, .. } = self.dispatch(event);
        if let Some(anomaly) = anomaly {
            self.blame_book(event.instrument, anomaly);
        }
        let (bbo_changed, bbo_published) = self.compare(row, before, event.is_last());
        Applied { bbo_changed, bbo_published, anomaly }
    }

    #[inline]
    fn tops(&self, row: usize) -> [Quote; 2] {
        tops(&self.sides.heads()[row])
    }

    #[inline]
    fn dispatch(&mut self, event: &Event) -> Outcome {
        // By number: a look-up of the kind would stand between the event and the branch on it.
        match event.kind_number {
            ADD => self.add(event),
            EXECUTE | EXECUTE_AT => self.reduce(event, true),
            REDUCE => self.reduce(event, false),
            DELETE => self.delete(event),
            REPLACE => self.replace(event),
            _ => self.dispatch_rare(event),
        }
    }

    #[inline(never)]
    fn dispatch_rare(&mut self, event: &Event) -> Outcome {
        let row = event.instrument.index();
        let before = self.tops(row);
        let anomaly = match event.kind() {
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
            Some(Kind::Trade | Kind::Cross) => {
                self.last_trades.note(event, event.side(), event.price);
                None
            }
            Some(Kind::Break) => {
                self.last_trades.note_break(event);
                None
            }
            Some(
                Kind::Add
                | Kind::Execute
                | Kind::ExecuteAt
                | Kind::Reduce
                | Kind::Delete
                | Kind::Replace
                | Kind::Status
                | Kind::SessionEvent
                | Kind::OrderIntent
                | Kind::OrderAnswer
                | Kind::BboUpdate,
            ) => None,
            None => Some(Anomaly::Malformed),
        };
        Outcome { bbo_changed: self.tops(row) != before, anomaly }
    }

    /// Says what changed since `before`, and keeps what the end of the venue's transaction will be compared with.
    #[inline]
    fn compare(&mut self, row: usize, before: [Quote; 2], is_last: bool) -> (bool, bool) {
        let now = self.tops(row);
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

    /// Counts an anomaly of a book that exists, and marks the book.
    #[cold]
    fn blame_book(&mut self, instrument: InstrumentId, anomaly: Anomaly) {
        self.marks[instrument.index()].set(Marks::STALE, true);
        self.anomalies.count(instrument, anomaly);
    }

    /// Counts an anomaly that no book can be marked for.
    #[cold]
    fn blame(&mut self, instrument: InstrumentId, anomaly: Anomaly) -> Applied {
        self.anomalies.count(instrument, anomaly);
        Applied { anomaly: Some(anomaly), ..Applied::default() }
    }

    /// Applies an event for all instruments, or for one beyond the capacity.
    #[cold]
    fn apply_elsewhere(&mut self, event: &Event) -> Applied {
        if event.instrument != InstrumentId::ALL {
            return self.blame(event.instrument, Anomaly::Capacity);
        }
        let rows = 1..=self.highest_instrument.index();
        match event.kind() {
            Some(Kind::Clear) => {
                let mut applied = Applied::default();
                // Before the instruments, each of which would look for its own.
                self.index.forget_dropped(InstrumentId::ALL);
                for row in rows {
                    let before = self.tops(row);
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
    #[inline(always)]
    pub(crate) fn find(&self, instrument: InstrumentId, id: OrderId) -> Option<(Place, Found)> {
        self.index.find(&self.queues, instrument, id)
    }

    #[inline(never)]
    fn add(&mut self, event: &Event) -> Outcome {
        let vacancy = self.index.vacancy(&self.queues, event.order_id);
        if vacancy.is_none()
            && let Some(anomaly) = self.make_way(event)
        {
            return Outcome::default().but(anomaly);
        }
        let Some(side_of) = SideOf::of_event(event).filter(|_| event.quantity.0 > 0) else {
            return Outcome::default().but(Anomaly::Malformed);
        };
        self.place(side_of, event.order_id, event.price, event.quantity, vacancy)
    }

    /// Looks closer at an id to be added that is not plainly new: says what is wrong, or forgets that it was dropped.
    #[inline(never)]
    fn make_way(&mut self, event: &Event) -> Option<Anomaly> {
        match self.find(event.instrument, event.order_id)? {
            (_, Found::Live(_)) => Some(Anomaly::DuplicateOrder),
            dropped => {
                if event.side().is_some() && event.quantity.0 > 0 {
                    self.index.remove(&mut self.queues, dropped);
                }
                None
            }
        }
    }

    /// Puts an order with a quantity above 0 whose id is not in the index at the tail of its level.
    #[inline(always)]
    fn place(
        &mut self,
        side_of: SideOf,
        id: OrderId,
        price: Price,
        quantity: Quantity,
        vacancy: Option<Vacancy>,
    ) -> Outcome {
        let key = side_of.key(price);
        let Ok(quantity) = u32::try_from(quantity.0) else { return self.drop_order(side_of, id) };
        if self.queues.has_all_orders() {
            return self.drop_order(side_of, id);
        }
        let Some(level) = self.sides.level_for(&mut self.queues, &self.instruments, side_of, key) else {
            return self.drop_order(side_of, id);
        };
        // A level that was begun just now is empty, and takes any quantity.
        let Some(level_quantity) = self.queues.level(level).quantity.checked_add(quantity) else {
            return self.drop_order(side_of, id);
        };
        let slot = match vacancy {
            Some(vacancy) => self.index.take(vacancy),
            None => self.index.insert(&mut self.queues, side_of.instrument(), id),
        };
        self.queues.push_back(slot, level, quantity);
        let head = self.sides.head_mut(side_of);
        let is_best = head.is_best(side_of, key);
        if is_best {
            (head.best_price, head.best_quantity, head.best_level) = (price, level_quantity, level);
        }
        Outcome::fits(is_best)
    }

    /// Whether no event was applied yet that left anything behind.
    pub(crate) fn are_new(&self) -> bool {
        self.highest_instrument == InstrumentId::ALL
            && self.anomalies.total().total() == 0
            && self.index.dropped_count() == 0
    }

    /// Puts an order of a stored state at the tail of its level. Its id is not in the index, and there is room for it.
    #[inline]
    pub(crate) fn place_restored(&mut self, side_of: SideOf, id: OrderId, price: Price, quantity: u32) {
        self.place(side_of, id, price, Quantity(u64::from(quantity)), None);
    }

    /// Remembers an order for which there is no room.
    #[cold]
    fn drop_order(&mut self, side_of: SideOf, id: OrderId) -> Outcome {
        self.index.insert_dropped(side_of.instrument(), id);
        Outcome::default().but(Anomaly::Capacity)
    }

    #[inline(never)]
    fn reduce(&mut self, event: &Event, is_execution: bool) -> Outcome {
        match self.find(event.instrument, event.order_id) {
            Some(found @ (_, Found::Live(slot))) => {
                let (side_of, left) = (self.queues.side_of(slot), u64::from(self.queues.order(slot).quantity));
                if is_execution {
                    self.note_execution(event, side_of, slot, left);
                }
                if event.quantity.0 < left {
                    return Outcome::fits(self.shrink(side_of, slot, event.quantity.0 as u32));
                }
                let outcome = Outcome::fits(self.take_out(side_of, slot));
                self.index.remove(&mut self.queues, found);
                if event.quantity.0 > left { outcome.but(Anomaly::Overfill) } else { outcome }
            }
            Some((_, Found::Dropped)) => Outcome::default(),
            None => Outcome::default().but(Anomaly::UnknownOrder),
        }
    }

    /// Keeps what an execution is about to do to the order in `slot`.
    #[inline]
    fn note_execution(&mut self, event: &Event, side_of: SideOf, slot: u32, left: u64) {
        let level = self.queues.order(slot).level;
        let side = side_of.side();
        let price = self.sides.key(&self.queues, side_of, level).price(side);
        let traded_at = if event.kind_number == Kind::ExecuteAt as u8 { event.price } else { price };
        self.last_trades.note(event, Some(side), traded_at);
        self.last_execution = Some(Execution {
            instrument: event.instrument,
            id: event.order_id,
            side,
            price,
            quantity: event.quantity.min(Quantity(left)),
            match_id: event.reference,
        });
    }

    #[inline(never)]
    fn delete(&mut self, event: &Event) -> Outcome {
        match self.find(event.instrument, event.order_id) {
            Some(found) => {
                let bbo_changed = match found {
                    (_, Found::Live(slot)) => self.take_out(self.queues.side_of(slot), slot),
                    (_, Found::Dropped) => false,
                };
                self.index.remove(&mut self.queues, found);
                Outcome::fits(bbo_changed)
            }
            None => Outcome::default().but(Anomaly::UnknownOrder),
        }
    }

    #[inline(never)]
    fn replace(&mut self, event: &Event) -> Outcome {
        let Some(found) = self.find(event.instrument, event.order_id) else {
            return Outcome::default().but(Anomaly::UnknownOrder);
        };
        let new_id = event.new_order_id();
        let (_, Found::Live(slot)) = found else {
            self.index.remove(&mut self.queues, found);
            return self.replace_dropped(event);
        };
        let side_of = self.queues.side_of(slot);
        let before = self.sides.head(side_of).top();
        let removed = Outcome::fits(self.take_out(side_of, slot));
        self.index.remove(&mut self.queues, found);
        let vacancy = self.index.vacancy(&self.queues, new_id);
        if vacancy.is_none() {
            match self.find(event.instrument, new_id) {
                Some((_, Found::Live(_))) => return removed.but(Anomaly::DuplicateOrder),
                Some(dropped) => self.index.remove(&mut self.queues, dropped),
                None => {}
            }
        }
        if event.quantity.0 == 0 {
            return removed.but(Anomaly::Malformed);
        }
        let placed = self.place(side_of, new_id, event.price, event.quantity, vacancy);
        Outcome { bbo_changed: self.sides.head(side_of).top() != before, ..placed }
    }

    /// Nobody knows the side of an order that was dropped: its successor is dropped as well.
    #[cold]
    fn replace_dropped(&mut self, event: &Event) -> Outcome {
        let new_id = event.new_order_id();
        match self.find(event.instrument, new_id) {
            Some((_, Found::Live(_))) => return Outcome::default().but(Anomaly::DuplicateOrder),
            Some(dropped) => self.index.remove(&mut self.queues, dropped),
            None => {}
        }
        if event.quantity.0 == 0 {
            return Outcome::default().but(Anomaly::Malformed);
        }
        self.index.insert_dropped(event.instrument, new_id);
        Outcome::default()
    }

    fn modify(&mut self, event: &Event) -> Option<Anomaly> {
        let (instrument, id) = (event.instrument, event.order_id);
        let Some(found) = self.find(instrument, id) else {
            if let Some(side) = event.side().filter(|_| event.quantity.0 > 0) {
                self.place(SideOf::new(instrument, side), id, event.price, event.quantity, None);
            }
            return Some(Anomaly::UnknownOrder);
        };
        let (_, Found::Live(slot)) = found else { return None };
        let Order { quantity: left, level, .. } = *self.queues.order(slot);
        let old = self.queues.side_of_level(level);
        if event.quantity.0 == 0 {
            self.take_out(old, slot);
            self.index.remove(&mut self.queues, found);
            return Some(Anomaly::Malformed);
        }
        let side = event.side().unwrap_or(old.side());
        if side == old.side()
            && self.sides.key(&self.queues, old, level) == old.key(event.price)
            && let Some(less) = u64::from(left).checked_sub(event.quantity.0)
        {
            self.shrink(old, slot, less as u32);
            return None;
        }
        self.take_out(old, slot);
        self.index.remove(&mut self.queues, found);
        self.place(SideOf::new(instrument, side), id, event.price, event.quantity, None).anomaly
    }

    /// The venue's id of the order in a slot.
    #[inline]
    pub(crate) fn id(&self, slot: u32) -> OrderId {
        self.index.id(&self.queues, slot)
    }

    /// Takes `less` off an order that has more; its place in the queue stays. Says whether the BBO changed.
    #[inline]
    fn shrink(&mut self, side_of: SideOf, slot: u32, less: u32) -> bool {
        let level = self.queues.shrink(slot, less);
        let head = self.sides.head_mut(side_of);
        let is_best = head.best_level == level;
        if is_best {
            head.best_quantity -= less;
        }
        is_best && less > 0
    }

    /// Takes an order whose index entry is gone out of its book, and its level with it when it was the last. Says whether
    /// the BBO changed.
    #[inline(always)]
    fn take_out(&mut self, side_of: SideOf, slot: u32) -> bool {
        let Order { quantity, level, ahead, behind } = self.queues.remove(slot);
        let head = self.sides.head_mut(side_of);
        let was_best = head.best_level == level;
        if was_best {
            head.best_quantity -= quantity;
        }
        // It was alone. The level's count says the same, later: its line may still be on its way.
        if ahead == behind {
            self.sides.end_level(&mut self.queues, side_of, level);
            if was_best {
                self.sides.renew_best(&self.queues, side_of);
            }
        }
        was_best
    }

    /// Takes every order of an instrument out; ends its staleness when a snapshot follows.
    #[cold]
    fn clear(&mut self, instrument: InstrumentId, snapshot_follows: bool) {
        for side in Side::BOTH {
            loop {
                let side_of = SideOf::new(instrument, side);
                let best_level = self.sides.head(side_of).best_level;
                if best_level == NONE {
                    break;
                }
                let slot = self.queues.level(best_level).first;
                let found = self.find(instrument, self.id(slot));
                self.take_out(side_of, slot);
                if let Some(found) = found {
                    self.index.remove(&mut self.queues, found);
                }
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
