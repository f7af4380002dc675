//! The reference book: the same rules in the most obvious code, to hold [`Books`](crate::Books) against.
//!
//! Levels are `BTreeMap<price, BTreeMap<arrival, order>>` with a total each, orders are found through a map of ids, and the
//! top of a book is looked up before and after each event. It shares the vocabulary and the digests' folding with
//! the fast books, and no code that decides anything. Same maxima, same anomalies. Not for production: it allocates.

use crate::anomaly::Anomaly;
use crate::bbo::{Bbo, Quote};
use crate::books::Applied;
use crate::capacity::Capacity;
use crate::digest::StateDigest;
use crate::event::{Event, Kind, Side};
use crate::units::{InstrumentId, OrderId, Price, Quantity};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

#[derive(Clone, Copy, Debug)]
struct Place {
    side: Side,
    price: Price,
    arrival: u64,
}

/// The orders of a level by arrival, and the sum of their quantities.
#[derive(Clone, Debug, Default)]
struct Queue {
    orders: BTreeMap<u64, (OrderId, u64)>,
    total: u64,
}

#[derive(Clone, Debug, Default)]
struct ReferenceBook {
    bids: BTreeMap<Price, Queue>,
    asks: BTreeMap<Price, Queue>,
    is_stale: bool,
    /// BBO at the end of the venue's last transaction.
    published: Bbo,
}

impl ReferenceBook {
    fn side(&self, side: Side) -> &BTreeMap<Price, Queue> {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Price, Queue> {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }

    fn bbo(&self) -> Bbo {
        let quote = |(price, queue): (&Price, &Queue)| Quote { price: *price, quantity: Quantity(queue.total) };
        Bbo { bid: self.bids.last_key_value().map(quote), ask: self.asks.first_key_value().map(quote) }
    }

    fn levels(&self, side: Side) -> Box<dyn Iterator<Item = (&Price, &Queue)> + '_> {
        match side {
            Side::Bid => Box::new(self.bids.iter().rev()),
            Side::Ask => Box::new(self.asks.iter()),
        }
    }
}

/// A level of the reference: price, total quantity, and the orders in queue order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceLevel {
    /// Its price.
    pub price: Price,
    /// Its orders with what is left of them.
    pub orders: Vec<(OrderId, Quantity)>,
}

/// The books of all instruments, kept in the obvious way.
#[derive(Clone, Debug)]
pub struct ReferenceBooks {
    capacity: Capacity,
    books: BTreeMap<InstrumentId, ReferenceBook>,
    orders: HashMap<(InstrumentId, OrderId), Place>,
    dropped: HashSet<(InstrumentId, OrderId)>,
    anomalies: BTreeMap<(InstrumentId, &'static str), u64>,
    changed: Vec<InstrumentId>,
    published: Vec<InstrumentId>,
    arrivals: u64,
    levels: u32,
    highest: InstrumentId,
}

impl ReferenceBooks {
    /// Empty books with these maxima.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            books: BTreeMap::new(),
            orders: HashMap::new(),
            dropped: HashSet::new(),
            anomalies: BTreeMap::new(),
            changed: Vec::new(),
            published: Vec::new(),
            arrivals: 0,
            levels: 0,
            highest: InstrumentId::ALL,
        }
    }

    /// Applies one event by the rules of [`Books::apply`](crate::Books::apply).
    pub fn apply(&mut self, event: &Event) -> Applied {
        self.changed.clear();
        self.published.clear();
        let all = event.instrument == InstrumentId::ALL;
        if !all && event.instrument.0 > self.capacity.instruments_max {
            return self.finish(InstrumentId::ALL, Some(Anomaly::Capacity));
        }
        if event.instrument > self.highest {
            self.highest = event.instrument;
        }
        let instruments: Vec<InstrumentId> =
            if all { (1..=self.highest.0).map(InstrumentId).collect() } else { vec![event.instrument] };
        let before: Vec<Bbo> = instruments.iter().map(|&instrument| self.bbo(instrument)).collect();
        let anomaly = if all { self.apply_to_all(event, &instruments) } else { self.apply_to_one(event) };
        if anomaly.is_some() && (!all || anomaly == Some(Anomaly::Gap)) {
            for &instrument in &instruments {
                self.books.entry(instrument).or_default().is_stale = true;
            }
        }
        let touches_no_book = all && event.kind() != Some(Kind::Clear);
        for (instrument, before) in instruments.into_iter().zip(before) {
            let now = self.bbo(instrument);
            if now != before {
                self.changed.push(instrument);
            }
            let book = self.books.entry(instrument).or_default();
            if event.is_last() && !touches_no_book {
                if now != book.published {
                    self.published.push(instrument);
                }
                book.published = now;
            }
        }
        self.finish(event.instrument, anomaly)
    }

    fn finish(&mut self, instrument: InstrumentId, anomaly: Option<Anomaly>) -> Applied {
        if let Some(anomaly) = anomaly {
            *self.anomalies.entry((instrument, anomaly.name())).or_default() += 1;
        }
        Applied { bbo_changed: !self.changed.is_empty(), bbo_published: !self.published.is_empty(), anomaly }
    }

    fn apply_to_all(&mut self, event: &Event, instruments: &[InstrumentId]) -> Option<Anomaly> {
        match event.kind() {
            Some(Kind::Clear) => {
                for &instrument in instruments {
                    self.clear(instrument, event.order_id.0 == 1);
                }
                self.dropped.clear();
                None
            }
            Some(Kind::Gap) => Some(Anomaly::Gap),
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
            _ => Some(Anomaly::Malformed),
        }
    }

    fn apply_to_one(&mut self, event: &Event) -> Option<Anomaly> {
        let key = (event.instrument, event.order_id);
        let live = self.orders.get(&key).copied();
        let quantity = event.quantity.0;
        match event.kind() {
            Some(Kind::Add) => match (live, event.side()) {
                (Some(_), _) => Some(Anomaly::DuplicateOrder),
                (None, Some(side)) if quantity > 0 => self.insert(key, side, event.price, quantity),
                _ => Some(Anomaly::Malformed),
            },
            Some(Kind::Execute | Kind::ExecuteAt | Kind::Reduce) => {
                let Some(place) = live else { return self.unknown(key) };
                let left = self.left(key.0, place);
                if quantity < left {
                    self.set_left(key.0, place, left - quantity);
                } else {
                    self.remove(key);
                }
                (quantity > left).then_some(Anomaly::Overfill)
            }
            Some(Kind::Delete) => {
                if live.is_none() {
                    let anomaly = self.unknown(key);
                    self.dropped.remove(&key);
                    return anomaly;
                }
                self.remove(key);
                None
            }
            Some(Kind::Replace) => {
                if live.is_none() && !self.dropped.remove(&key) {
                    return Some(Anomaly::UnknownOrder);
                }
                if live.is_some() {
                    self.remove(key);
                }
                let new_key = (event.instrument, event.new_order_id());
                if self.orders.contains_key(&new_key) {
                    return Some(Anomaly::DuplicateOrder);
                }
                self.dropped.remove(&new_key);
                match live {
                    _ if quantity == 0 => Some(Anomaly::Malformed),
                    Some(place) => self.insert(new_key, place.side, event.price, quantity),
                    None => {
                        self.remember(new_key);
                        None
                    }
                }
            }
            Some(Kind::Modify) => self.modify(event, live),
            Some(Kind::Clear) => {
                self.clear(event.instrument, event.order_id.0 == 1);
                None
            }
            Some(Kind::Gap) => Some(Anomaly::Gap),
            Some(_) => None,
            None => Some(Anomaly::Malformed),
        }
    }

    fn modify(&mut self, event: &Event, live: Option<Place>) -> Option<Anomaly> {
        let key = (event.instrument, event.order_id);
        let Some(place) = live else {
            if self.dropped.contains(&key) {
                return None;
            }
            if let Some(side) = event.side()
                && event.quantity.0 > 0
            {
                self.insert(key, side, event.price, event.quantity.0);
            }
            return Some(Anomaly::UnknownOrder);
        };
        if event.quantity.0 == 0 {
            self.remove(key);
            return Some(Anomaly::Malformed);
        }
        let side = event.side().unwrap_or(place.side);
        if side == place.side && event.price == place.price && event.quantity.0 <= self.left(key.0, place) {
            self.set_left(key.0, place, event.quantity.0);
            return None;
        }
        self.remove(key);
        self.insert(key, side, event.price, event.quantity.0)
    }

    fn unknown(&self, key: (InstrumentId, OrderId)) -> Option<Anomaly> {
        (!self.dropped.contains(&key)).then_some(Anomaly::UnknownOrder)
    }

    fn remember(&mut self, key: (InstrumentId, OrderId)) {
        if self.dropped.len() < self.capacity.dropped_orders_max() {
            self.dropped.insert(key);
        }
    }

    fn insert(&mut self, key: (InstrumentId, OrderId), side: Side, price: Price, quantity: u64) -> Option<Anomaly> {
        self.dropped.remove(&key);
        let new_level = !self.books.get(&key.0).is_some_and(|book| book.side(side).contains_key(&price));
        let level_total =
            self.books.get(&key.0).and_then(|book| book.side(side).get(&price)).map_or(0, |queue| queue.total);
        let full = self.orders.len() >= self.capacity.orders_max as usize
            || new_level && self.levels >= self.capacity.levels_max
            || quantity > u64::from(u32::MAX)
            || level_total + quantity > u64::from(u32::MAX);
        if full {
            self.remember(key);
            return Some(Anomaly::Capacity);
        }
        self.levels += u32::from(new_level);
        self.arrivals += 1;
        let place = Place { side, price, arrival: self.arrivals };
        let book = self.books.entry(key.0).or_default();
        let queue = book.side_mut(side).entry(price).or_default();
        queue.orders.insert(place.arrival, (key.1, quantity));
        queue.total += quantity;
        self.orders.insert(key, place);
        None
    }

    fn queue_mut(&mut self, instrument: InstrumentId, place: Place) -> &mut Queue {
        let book = self.books.get_mut(&instrument).expect("a live order has a book");
        book.side_mut(place.side).get_mut(&place.price).expect("a live order has a level")
    }

    fn left(&mut self, instrument: InstrumentId, place: Place) -> u64 {
        self.queue_mut(instrument, place).orders[&place.arrival].1
    }

    fn set_left(&mut self, instrument: InstrumentId, place: Place, left: u64) {
        let queue = self.queue_mut(instrument, place);
        let (_, quantity) = queue.orders.get_mut(&place.arrival).expect("a live order is in its queue");
        queue.total = queue.total - *quantity + left;
        *quantity = left;
    }

    fn remove(&mut self, key: (InstrumentId, OrderId)) {
        let place = self.orders.remove(&key).expect("only live orders are removed");
        let queue = self.queue_mut(key.0, place);
        let (_, left) = queue.orders.remove(&place.arrival).expect("a live order is in its queue");
        queue.total -= left;
        if queue.orders.is_empty() {
            let book = self.books.get_mut(&key.0).expect("a live order has a book");
            book.side_mut(place.side).remove(&place.price);
            self.levels -= 1;
        }
    }

    fn clear(&mut self, instrument: InstrumentId, snapshot_follows: bool) {
        self.orders.retain(|key, _| key.0 != instrument);
        self.dropped.retain(|key| key.0 != instrument);
        let book = self.books.entry(instrument).or_default();
        self.levels -= (book.bids.len() + book.asks.len()) as u32;
        (book.bids, book.asks) = Default::default();
        book.is_stale &= !snapshot_follows;
    }

    /// Instruments whose BBO the last event changed.
    pub fn changed(&self) -> &[InstrumentId] {
        &self.changed
    }

    /// Instruments whose BBO the last event published.
    pub fn published(&self) -> &[InstrumentId] {
        &self.published
    }

    /// The BBO of an instrument.
    pub fn bbo(&self, instrument: InstrumentId) -> Bbo {
        self.books.get(&instrument).map_or_else(Bbo::default, ReferenceBook::bbo)
    }

    /// The levels of a side, best first.
    pub fn levels(&self, instrument: InstrumentId, side: Side) -> Vec<ReferenceLevel> {
        let level = |(price, queue): (&Price, &Queue)| ReferenceLevel {
            price: *price,
            orders: queue.orders.values().map(|&(id, quantity)| (id, Quantity(quantity))).collect(),
        };
        self.books.get(&instrument).map(|book| book.levels(side).map(level).collect()).unwrap_or_default()
    }

    /// Whether an anomaly was seen since the last snapshot of the instrument.
    pub fn is_stale(&self, instrument: InstrumentId) -> bool {
        self.books.get(&instrument).is_some_and(|book| book.is_stale)
    }

    /// How many anomalies of one kind there were over all instruments.
    pub fn anomalies(&self, anomaly: Anomaly) -> u64 {
        self.anomalies.iter().filter(|((_, name), _)| *name == anomaly.name()).map(|(_, count)| count).sum()
    }

    /// How many anomalies of one kind an instrument had.
    pub fn anomalies_of(&self, instrument: InstrumentId, anomaly: Anomaly) -> u64 {
        self.anomalies.get(&(instrument, anomaly.name())).copied().unwrap_or(0)
    }

    /// Instruments that had an event or were touched by one for all.
    pub fn instruments(&self) -> BTreeSet<InstrumentId> {
        self.books.keys().copied().collect()
    }

    /// Live orders over all books.
    pub fn live_orders(&self) -> u32 {
        self.orders.len() as u32
    }

    /// Price levels over all books.
    pub const fn level_count(&self) -> u32 {
        self.levels
    }

    /// `state_digest` of all books.
    pub fn state_digest(&self) -> u64 {
        let mut digest = StateDigest::default();
        for (&instrument, book) in &self.books {
            if book.bids.is_empty() && book.asks.is_empty() {
                continue;
            }
            for side in Side::BOTH {
                for (price, queue) in book.levels(side) {
                    digest.level(*price, queue.orders.len() as u32);
                    queue.orders.values().for_each(|&(id, quantity)| digest.order(id, Quantity(quantity)));
                }
                digest.end_side();
            }
            digest.end_instrument(instrument);
        }
        digest.value()
    }
}
