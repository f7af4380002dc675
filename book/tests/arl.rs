//! A real Nasdaq day of one instrument (ARL, 17 July 2025) as Databento recorded it twice: every order (MBO), and the
//! ten best levels with their order counts (MBP-10). Books built from the first must show the second.
//!
//! An MBP-10 row names the order message that it was printed after by sequence, action and order id. The trade of a
//! resting order is three MBO rows of one sequence (T, F and the C that takes it off the book) and a single MBP-10 row
//! with action T, which already shows the book after the C: a T row is compared at the end of its sequence.

#[path = "common/both_books.rs"]
mod both_books;
#[path = "common/market_data.rs"]
mod market_data;

use both_books::{BothBooks, Queue};
use market_data::{market_data, number};
use std::collections::HashMap;
use tickcore_book::{
    Anomaly, Arena, Bbo, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs,
};

const ARL: InstrumentId = InstrumentId(1);
const CAPACITY: Capacity = Capacity { instruments_max: 1, orders_max: 1_000, levels_max: 1_000 };
const DEPTH_MAX: usize = 10;
/// The one sequence in which a displayed order trades.
const TRADED_SEQUENCE: u32 = 56_150_102;

/// What ties an MBP-10 row to the MBO row that caused it: sequence, action and order id.
type RowKey = (u32, u8, OrderId);
/// A level as a depth feed prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DepthLevel {
    price: Price,
    quantity: Quantity,
    order_count: u32,
}

impl DepthLevel {
    fn of_queue((price, orders): &Queue) -> Self {
        let quantity = Quantity(orders.iter().map(|(_, quantity)| quantity.0).sum());
        Self { price: *price, quantity, order_count: orders.len() as u32 }
    }
}

/// Bids and asks, best first.
type Depth = [Vec<DepthLevel>; 2];

/// One row of the order flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OrderRow {
    sequence: u32,
    action: u8,
    event: Event,
}

impl OrderRow {
    fn key(&self) -> RowKey {
        (self.sequence, self.action, self.event.order_id)
    }
}

/// Both recordings.
struct Recording {
    orders: Vec<OrderRow>,
    depths: HashMap<RowKey, Depth>,
}

/// The first printed row that the books do not show.
#[derive(Debug, PartialEq, Eq)]
struct Mismatch {
    row: usize,
    key: RowKey,
    books: Depth,
    printed: Depth,
}

/// What a run through the order flow that met no mismatch leaves behind.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    rows_compared: usize,
    levels_compared: usize,
    /// T rows that were compared after the C of the executed order.
    traded_rows_compared: usize,
    live_orders: u32,
    anomalies: u64,
    /// Every top that a complete transaction published, with its sequence.
    published: Vec<(u32, Bbo)>,
    /// State digest after each row.
    states: Vec<u64>,
}

impl Recording {
    fn open() -> Option<Self> {
        let orders = order_rows(&market_data("databento/mbo_head.csv")?);
        let depths = depth_rows(&market_data("databento/mbp_head.csv")?);
        Some(Self { orders, depths })
    }

    /// Sends every row through the books, as `change` returns its event for it (with none the row is left out), and
    /// compares each printed depth with the book at that moment, to the first that differs.
    ///
    /// `change` gets the number of the row beside it.
    fn run(&self, mut change: impl FnMut(usize, &OrderRow) -> Option<Event>) -> Result<Run, Mismatch> {
        let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
        let mut books = BothBooks::new(&arena, CAPACITY);
        let (mut rows_compared, mut levels_compared, mut traded_rows_compared) = (0, 0, 0);
        let (mut published, mut states) = (Vec::new(), Vec::new());
        let mut trade = None;
        for (row, order) in self.orders.iter().enumerate() {
            if let Some(event) = change(row, order)
                && books.apply(&event).bbo_published
            {
                published.push((order.sequence, books.fast.bbo(ARL)));
            }
            states.push(books.fast.state_digest());
            if order.action == b'T' {
                trade = Some(order.key());
            }
            let sequence_ends = self.orders.get(row + 1).is_none_or(|next| next.sequence != order.sequence);
            let trade_shown = if sequence_ends { trade.take() } else { None };
            let own = Some(order.key()).filter(|_| order.action != b'T');
            for key in own.into_iter().chain(trade_shown) {
                let Some(printed) = self.depths.get(&key) else { continue };
                let depth = depth(&books);
                if depth != *printed {
                    return Err(Mismatch { row, key, books: depth, printed: printed.clone() });
                }
                rows_compared += 1;
                levels_compared += depth.iter().map(Vec::len).sum::<usize>();
                traded_rows_compared += usize::from((key.0, key.1, order.action) == (TRADED_SEQUENCE, b'T', b'C'));
            }
        }
        books.check();
        let anomalies = Anomaly::ALL.into_iter().map(|anomaly| books.anomalies(anomaly)).sum();
        let live_orders = books.fast.live_orders();
        Ok(Run { rows_compared, levels_compared, traded_rows_compared, live_orders, anomalies, published, states })
    }

    /// Rows `(C, A)` that are one replacement: Nasdaq gives the new order a new id and says both in one message, which
    /// Databento prints as a C and an A that follow each other with the same sequence.
    fn replacements(&self) -> Vec<(usize, usize)> {
        let is_pair = |pair: &[OrderRow]| {
            pair[0].sequence == pair[1].sequence && pair[0].action == b'C' && pair[1].action == b'A'
        };
        (0..self.orders.len() - 1)
            .filter(|&row| is_pair(&self.orders[row..row + 2]))
            .map(|row| (row, row + 1))
            .collect()
    }
}

fn depth(books: &BothBooks<'_>) -> Depth {
    Side::BOTH.map(|side| {
        let mut levels: Vec<_> = books.queues(ARL, side).iter().map(DepthLevel::of_queue).collect();
        levels.truncate(DEPTH_MAX);
        levels
    })
}

fn columns(header: &str) -> HashMap<&str, usize> {
    header.split(',').enumerate().map(|(column, name)| (name, column)).collect()
}

/// A decimal number with at most nine digits after its point, in units of 1e-9; 0 when there is none.
fn price(text: &str) -> Price {
    if text.is_empty() {
        return Price(0);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 9 && !whole.starts_with('-'), "{text:?} is not a price of this feed");
    let fraction: i64 = number(&format!("{fraction:0<9}"));
    Price(number::<i64>(whole) * Price::SCALE + fraction)
}

/// A adds, C reduces, R clears, M modifies; T and F say that something traded and leave the book alone: the C that
/// follows carries what it did.
fn order_rows(text: &str) -> Vec<OrderRow> {
    let mut lines = text.lines();
    let columns = columns(lines.next().expect("a header"));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let field = |name: &str| fields[columns[name]];
            let action = field("action").as_bytes()[0];
            let (kind, own_flags) = match action {
                b'A' => (Kind::Add, Flags::NONE),
                b'C' => (Kind::Reduce, Flags::NONE),
                b'M' => (Kind::Modify, Flags::NONE),
                b'R' => (Kind::Clear, Flags::NONE),
                b'T' => (Kind::Trade, Flags::NONE),
                b'F' => (Kind::Trade, Flags::FILL_RECORD),
                _ => panic!("unknown action in {line:?}"),
            };
            let side_number = match field("side") {
                "B" => Side::Bid as u8,
                "A" => Side::Ask as u8,
                _ => 0,
            };
            let event = Event {
                order_id: OrderId(number(field("order_id"))),
                price: price(field("price")),
                quantity: Quantity(number(field("size"))),
                side_number,
                flags: Flags(number::<u16>(field("flags"))).with(own_flags),
                ..Event::new(kind, ARL, TimestampNs(0))
            };
            OrderRow { sequence: number(field("sequence")), action, event }
        })
        .collect()
}

fn depth_rows(text: &str) -> HashMap<RowKey, Depth> {
    let mut lines = text.lines();
    let columns = columns(lines.next().expect("a header"));
    let mut depths = HashMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |name: &str| fields[columns[name]];
        let key = (number(field("sequence")), field("action").as_bytes()[0], OrderId(number(field("order_id"))));
        let depth = ["bid", "ask"].map(|side| {
            let level = |rank| {
                let of = |what| field(&format!("{side}_{what}_{rank:02}"));
                DepthLevel {
                    price: price(of("px")),
                    quantity: Quantity(number(of("sz"))),
                    order_count: number(of("ct")),
                }
            };
            (0..DEPTH_MAX).map(level).take_while(|level| level.order_count > 0).collect()
        });
        assert_eq!(depths.insert(key, depth), None, "two printed rows of {key:?}");
    }
    depths
}

/// What replaces the order that `cancel` takes out by the one that `add` adds. It names no side: the new order has that
/// of the old one.
fn replace(cancel: &Event, add: &Event) -> Event {
    Event {
        order_id: cancel.order_id,
        reference: add.order_id.0,
        side_number: 0,
        kind_number: Kind::Replace as u8,
        ..*add
    }
}

/// What a run that must not go through stumbled over.
fn first_mismatch(run: Result<Run, Mismatch>) -> Mismatch {
    let Err(mismatch) = run else { panic!("the books show every printed row in spite of the change") };
    mismatch
}

fn as_recorded(_: usize, order: &OrderRow) -> Option<Event> {
    Some(order.event)
}

#[test]
fn every_printed_depth_is_what_the_orders_build() {
    let Some(recording) = Recording::open() else { return };
    assert_eq!((recording.orders.len(), recording.depths.len()), (1_498, 1_038));
    let run = recording.run(as_recorded).expect("the books show every printed row");
    assert_eq!(run.rows_compared, 1_038);
    assert_eq!(run.levels_compared, 19_075);
    assert_eq!(run.traded_rows_compared, 1, "the T row of the executed order is compared after its C");
    assert_eq!((run.live_orders, run.anomalies), (83, 0));
}

/// All 403 replacements of the day as one event. The book between C and A does not exist then, so the 205 rows that
/// show it are left aside; every other row, the 220 of a replacement's A among them, and every published top stay.
#[test]
fn a_cancel_and_an_add_of_one_sequence_are_a_replace() {
    let Some(mut recording) = Recording::open() else { return };
    let replacements = recording.replacements();
    assert_eq!(replacements.len(), 403);
    let as_split = recording.run(as_recorded).expect("the books show every printed row");
    let (mut left_aside, mut of_replacements) = (0, 0);
    for &(cancel, add) in &replacements {
        let (old, new) = (recording.orders[cancel], recording.orders[add]);
        assert_ne!(old.event.order_id, new.event.order_id);
        assert_eq!(old.event.side_number, new.event.side_number);
        left_aside += usize::from(recording.depths.remove(&old.key()).is_some());
        of_replacements += usize::from(recording.depths.contains_key(&new.key()));
    }
    assert_eq!((left_aside, of_replacements), (205, 220));

    let mut events: Vec<Option<Event>> = recording.orders.iter().map(|order| Some(order.event)).collect();
    for &(cancel, add) in &replacements {
        let (old, new) = (recording.orders[cancel].event, recording.orders[add].event);
        let replace = replace(&old, &new);
        (events[cancel], events[add]) = (None, Some(replace));
    }
    let run = recording.run(|row, _| events[row]).expect("a replacement gives the book of its A row");
    assert_eq!(run.rows_compared, 1_038 - 205);
    assert_eq!(run.traded_rows_compared, 1);
    assert_eq!((run.live_orders, run.anomalies), (83, 0));
    for (row, order) in recording.orders.iter().enumerate() {
        let between = replacements.iter().any(|&(cancel, _)| cancel == row);
        assert!(between || run.states[row] == as_split.states[row], "another book after {:?}", order.key());
    }
    assert_eq!(run.published, as_split.published);
    assert_eq!(run.published.len(), 240);
}

/// The comparison must be able to fail: Databento merges no C with its A, and who does misses the row between them.
#[test]
fn merging_a_cancel_with_its_add_is_noticed() {
    let Some(recording) = Recording::open() else { return };
    let is_printed = |&(cancel, _): &(usize, usize)| recording.depths.contains_key(&recording.orders[cancel].key());
    let (cancel, add) = recording.replacements().into_iter().find(is_printed).expect("one of 205");
    let replace = replace(&recording.orders[cancel].event, &recording.orders[add].event);
    let mismatch = first_mismatch(
        recording.run(|row, order| if row == add { Some(replace) } else { (row != cancel).then_some(order.event) }),
    );
    assert_eq!((mismatch.row, mismatch.key), (cancel, recording.orders[cancel].key()));
}

/// The comparison must be able to fail: whatever row is left out, the row printed for that very message differs, if its
/// price is among the ten levels. (Databento also prints a row for what happens on the eleventh, which shows nothing.)
#[test]
fn a_row_left_out_is_noticed_at_once() {
    let Some(recording) = Recording::open() else { return };
    let is_in_view = |order: &OrderRow| {
        let (Some(side), Some(printed)) = (order.event.side(), recording.depths.get(&order.key())) else {
            return false;
        };
        match (printed[side.index()].get(DEPTH_MAX - 1), side) {
            (None, _) => true,
            (Some(worst), Side::Bid) => order.event.price >= worst.price,
            (Some(worst), Side::Ask) => order.event.price <= worst.price,
        }
    };
    let changes_book = |order: &OrderRow| matches!(order.action, b'A' | b'C');
    let in_view: Vec<usize> = (0..recording.orders.len())
        .filter(|&row| changes_book(&recording.orders[row]) && is_in_view(&recording.orders[row]))
        .collect();
    assert_eq!(in_view.len(), 958);
    for missing in in_view.into_iter().step_by(10) {
        let mismatch = first_mismatch(recording.run(|row, order| (row != missing).then_some(order.event)));
        assert_eq!((mismatch.row, mismatch.key), (missing, recording.orders[missing].key()));
    }
}

/// The comparison must be able to fail: reductions that are taken off the order added last are seen.
#[test]
fn a_reduction_of_the_wrong_order_is_noticed() {
    let Some(recording) = Recording::open() else { return };
    let mut last_added = OrderId(0);
    let mut handled_wrongly = None;
    let mismatch = first_mismatch(recording.run(|row, order| {
        if order.action == b'A' {
            last_added = order.event.order_id;
        }
        let wrong = order.action == b'C' && last_added != order.event.order_id;
        if wrong && handled_wrongly.is_none() {
            handled_wrongly = Some(row);
        }
        Some(if wrong { Event { order_id: last_added, ..order.event } } else { order.event })
    }));
    assert!(handled_wrongly.is_some_and(|row| row <= mismatch.row), "{mismatch:?}");
}
