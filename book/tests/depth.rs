//! What is asked of the depth of a book, against the plain computation over all orders of the reference, and at its
//! edges.

#[path = "common/both_books.rs"]
mod both_books;
#[path = "common/random_events.rs"]
mod random_events;

use both_books::{BothBooks, Queue};
use proptest::prelude::*;
use random_events::{INSTRUMENTS, events, prices, quantities};
use tickcore_book::Side::{Ask, Bid};
use tickcore_book::{
    Anomaly, Arena, Book, Capacity, Event, Flags, Imbalance, InstrumentId, Kind, LevelView, OrderId, Price, Quantity,
    Side, Sweep, TimestampNs,
};

const ONE: InstrumentId = InstrumentId(1);
const CAPACITY: Capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: 6_000, levels_max: 3_000 };

/// A level as (price, quantity, orders in queue order).
type Described = (Price, u64, Vec<(OrderId, Quantity)>);

fn total(orders: &[(OrderId, Quantity)]) -> u64 {
    orders.iter().map(|(_, quantity)| quantity.0).sum()
}

fn described(level: LevelView<'_>) -> Described {
    let orders: Vec<_> = level.orders().collect();
    assert_eq!(level.order_count as usize, orders.len());
    (level.price, level.quantity.0, orders)
}

fn expected((price, orders): &Queue) -> Described {
    (*price, total(orders), orders.clone())
}

/// Order by order, in numbers that cannot overflow.
fn naive_sweep(levels: &[Queue], quantity: Quantity) -> Sweep {
    let mut sweep = Sweep::default();
    let mut left = quantity.0;
    for (price, orders) in levels {
        sweep.level_count += u32::from(left > 0);
        for (_, resting) in orders {
            let taken = left.min(resting.0);
            if taken > 0 {
                let cost = i128::from(price.0).checked_mul(i128::from(taken)).expect("fits");
                sweep.notional = sweep.notional.checked_add(cost).expect("fits");
                sweep.quantity = Quantity(sweep.quantity.0 + taken);
                sweep.worst_price = Some(*price);
                left -= taken;
            }
        }
    }
    sweep
}

fn naive_within(levels: &[Queue], side: Side, limit: Price) -> u128 {
    let is_met = |price: Price| if side == Bid { price >= limit } else { price <= limit };
    let met = levels.iter().filter(|(price, _)| is_met(*price));
    met.flat_map(|(_, orders)| orders).map(|(_, quantity)| u128::from(quantity.0)).sum()
}

/// The nearest unit, and of two as near the one farther from zero: said of the result instead of computed again.
fn assert_average(sweep: &Sweep) {
    let Some(average) = sweep.average_price() else {
        assert_eq!((sweep.quantity.0, sweep.notional, sweep.worst_price), (0, 0, None));
        return;
    };
    let error = sweep.notional - i128::from(average.0) * i128::from(sweep.quantity.0);
    assert!(2 * error.abs() <= i128::from(sweep.quantity.0), "{sweep:?} is {average:?} on average");
    if 2 * error.abs() == i128::from(sweep.quantity.0) {
        assert!(error.signum() != sweep.notional.signum(), "{sweep:?}: {average:?} is the tie nearer to zero");
    }
}

fn assert_side(book: Book<'_>, side: Side, levels: &[Queue], limits: &[Price], wanted: &[Quantity]) {
    let all: Vec<Described> = levels.iter().map(expected).collect();
    for number in 0..all.len() + 2 {
        let found = book.nth_level(side, number as u32).map(described);
        assert_eq!(found, all.get(number).cloned(), "level {number}");
        assert_eq!(book.levels(side).nth(number).map(described), found);
        // What follows a skip must be right as well.
        let rest: Vec<_> = book.levels(side).skip(number).map(described).collect();
        assert_eq!(rest, all[number.min(all.len())..]);
    }
    assert_eq!(book.levels(side).step_by(3).map(described).collect::<Vec<_>>(), {
        all.iter().step_by(3).cloned().collect::<Vec<_>>()
    });
    assert!(book.nth_level(side, u32::MAX).is_none());

    let near = |price: Price| [price.0.saturating_sub(1), price.0, price.0.saturating_add(1)].map(Price);
    let own = levels.iter().flat_map(|(price, _)| near(*price));
    for limit in own.chain(limits.iter().copied()).chain([Price(i64::MIN), Price(0), Price(i64::MAX)]) {
        let found = book.level_at(side, limit).map(described);
        assert_eq!(found.as_ref(), all.iter().find(|level| level.0 == limit), "{side:?} at {limit:?}");
        assert_eq!(u128::from(book.quantity_within(side, limit).0), naive_within(levels, side, limit), "{limit:?}");
    }

    // Exactly so many levels, one unit less and one more.
    let mut sums = vec![0];
    sums.extend(all.iter().scan(0, |sum, level| {
        *sum += level.1;
        Some(*sum)
    }));
    let borders = sums.iter().flat_map(|&sum: &u64| [sum.saturating_sub(1), sum, sum + 1]).map(Quantity);
    for quantity in borders.chain(wanted.iter().copied()).chain([Quantity(u64::MAX)]) {
        let sweep = book.sweep(side, quantity);
        assert_eq!(sweep, naive_sweep(levels, quantity), "{quantity:?} of {side:?}");
        assert_average(&sweep);
        if let (Some(average), Some(best), Some(worst)) = (sweep.average_price(), levels.first(), sweep.worst_price) {
            assert!((best.0.min(worst)..=best.0.max(worst)).contains(&average));
            assert_eq!(book.quantity_within(side, worst).0.min(quantity.0), sweep.quantity.0, "the two agree");
        }
    }
}

fn assert_imbalance(book: Book<'_>, sides: &[Vec<Queue>; 2]) {
    let longest = sides.iter().map(Vec::len).max().unwrap_or(0) as u32;
    for levels_max in (0..longest + 2).chain([u32::MAX]) {
        let [bids, asks] = [Bid, Ask].map(|side| {
            let levels = sides[side.index()].iter().take(levels_max as usize);
            levels.map(|(_, orders)| total(orders)).sum::<u64>()
        });
        let imbalance = book.imbalance(levels_max);
        assert_eq!(imbalance, Imbalance { bid_quantity: Quantity(bids), ask_quantity: Quantity(asks) });
        let Some(ratio) = imbalance.ratio() else {
            assert_eq!((bids, asks), (0, 0));
            continue;
        };
        assert!((-1.0..=1.0).contains(&ratio), "{imbalance:?}: {ratio}");
        let plain = (bids as f64 - asks as f64) / (bids as f64 + asks as f64);
        assert!((ratio - plain).abs() < 1e-12, "{imbalance:?}: {ratio}");
        assert_eq!(ratio.partial_cmp(&0.0), Some(bids.cmp(&asks)), "{imbalance:?}: {ratio}");
    }
}

fn assert_top(book: Book<'_>, sides: &[Vec<Queue>; 2]) {
    let bbo = book.bbo();
    let [Some((bid, _)), Some((ask, _))] = [Bid, Ask].map(|side| sides[side.index()].first()) else {
        assert_eq!((bbo.spread(), bbo.mid_price(), bbo.micro_price()), (None, None, None));
        return;
    };
    let (low, high) = (*bid.min(ask), *bid.max(ask));
    let (mid, micro) = (bbo.mid_price().expect("two sides"), bbo.micro_price().expect("two sides"));
    assert!((low..=high).contains(&mid) && (low..=high).contains(&micro), "{bbo:?}: {mid:?}, {micro:?}");
    let spread = i128::from(ask.0) - i128::from(bid.0);
    assert_eq!(bbo.spread().map(|spread| i128::from(spread.0)), {
        Some(spread.clamp(i128::from(i64::MIN), i128::from(i64::MAX)))
    });
}

/// Holds every query on every book against what the orders of both kinds of books give.
fn assert_queries(books: &BothBooks<'_>, limits: &[Price], wanted: &[Quantity]) {
    for instrument in (1..=INSTRUMENTS).map(InstrumentId) {
        let book = books.fast.book(instrument).expect("below the maximum");
        let sides = [Bid, Ask].map(|side| books.queues(instrument, side));
        for side in Side::BOTH {
            assert_side(book, side, &sides[side.index()], limits, wanted);
        }
        assert_imbalance(book, &sides);
        assert_top(book, &sides);
    }
}

const KINDS: [Kind; 7] =
    [Kind::Modify, Kind::Execute, Kind::ExecuteAt, Kind::Reduce, Kind::Delete, Kind::Replace, Kind::Replace];

proptest! {
    #[test]
    fn every_query_equals_the_plain_computation(
        sequence in prop::collection::vec(events(KINDS.to_vec()), 1..500),
        limits in prop::collection::vec(prices(), 8),
        wanted in prop::collection::vec(quantities(), 8),
    ) {
        let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
        let mut books = BothBooks::new(&arena, CAPACITY);
        for (number, event) in (1..).zip(&sequence) {
            books.apply(event);
            if number % 100 == 0 {
                assert_queries(&books, &limits, &wanted);
            }
        }
        assert_queries(&books, &limits, &wanted);
        books.check();
    }
}

fn add(id: u64, side: Side, price: i64, quantity: u64) -> Event {
    Event {
        order_id: OrderId(id),
        side_number: side as u8,
        price: Price(price),
        quantity: Quantity(quantity),
        flags: Flags::LAST,
        ..Event::new(Kind::Add, ONE, TimestampNs(id))
    }
}

/// Runs `test` on the book of these orders (side, price, quantity), after all queries were held against the reference.
fn with_book(orders: &[(Side, i64, u64)], test: impl FnOnce(Book<'_>)) {
    let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
    let mut books = BothBooks::new(&arena, CAPACITY);
    for (id, &(side, price, quantity)) in (1..).zip(orders) {
        books.apply(&add(id, side, price, quantity));
    }
    assert!(Anomaly::ALL.into_iter().all(|anomaly| books.anomalies(anomaly) == 0));
    assert_queries(&books, &[], &[]);
    test(books.fast.book(ONE).expect("below the maximum"));
}

fn sweep(quantity: u64, notional: i128, worst_price: i64, level_count: u32) -> Sweep {
    Sweep { quantity: Quantity(quantity), notional, worst_price: Some(Price(worst_price)), level_count }
}

#[test]
fn an_empty_book_answers_nothing() {
    with_book(&[], |book| {
        for side in Side::BOTH {
            assert!(book.nth_level(side, 0).is_none() && book.level_at(side, Price(0)).is_none());
            for limit in [i64::MIN, 0, i64::MAX] {
                assert_eq!(book.quantity_within(side, Price(limit)), Quantity(0));
            }
            for quantity in [0, 1, u64::MAX] {
                assert_eq!(book.sweep(side, Quantity(quantity)), Sweep::default());
            }
        }
        assert_eq!(book.sweep(Bid, Quantity(1)).average_price(), None);
        assert_eq!((book.imbalance(5), book.imbalance(5).ratio()), (Imbalance::default(), None));
    });
}

#[test]
fn one_side_alone_answers_for_itself() {
    with_book(&[(Ask, 7, 3), (Ask, 9, 4)], |book| {
        assert!(book.nth_level(Bid, 0).is_none() && book.level_at(Bid, Price(7)).is_none());
        assert_eq!(book.quantity_within(Bid, Price(i64::MIN)), Quantity(0));
        assert_eq!(book.sweep(Bid, Quantity(5)), Sweep::default());
        assert_eq!(book.sweep(Ask, Quantity(5)), sweep(5, 7 * 3 + 9 * 2, 9, 2));
        assert_eq!(book.imbalance(1).ratio(), Some(-1.0));
        assert_eq!(book.imbalance(0).ratio(), None, "no level of either side");
    });
}

#[test]
fn a_sweep_takes_what_is_asked_or_all_there_is() {
    let orders = [(Bid, 100, 10), (Bid, 100, 20), (Bid, 99, 5), (Bid, 90, 1), (Ask, 101, 8)];
    with_book(&orders, |book| {
        for (quantity, expected, average) in [
            (1, sweep(1, 100, 100, 1), 100),
            (30, sweep(30, 3_000, 100, 1), 100),
            (31, sweep(31, 3_099, 99, 2), 100),
            (35, sweep(35, 3_495, 99, 2), 100),
            (36, sweep(36, 3_585, 90, 3), 100),
            (37, sweep(36, 3_585, 90, 3), 100),
            (u64::MAX, sweep(36, 3_585, 90, 3), 100),
        ] {
            let found = book.sweep(Bid, Quantity(quantity));
            assert_eq!((found, found.average_price()), (expected, Some(Price(average))), "{quantity}");
        }
        assert_eq!(book.sweep(Bid, Quantity(0)), Sweep::default());
        for (limit, quantity) in [(101, 0), (100, 30), (99, 35), (98, 35), (91, 35), (90, 36), (i64::MIN, 36)] {
            assert_eq!(book.quantity_within(Bid, Price(limit)), Quantity(quantity), "{limit}");
        }
        for (limit, quantity) in [(100, 0), (101, 8), (102, 8)] {
            assert_eq!(book.quantity_within(Ask, Price(limit)), Quantity(quantity), "{limit}");
        }
        assert_eq!(book.imbalance(1).ratio(), Some(22.0 / 38.0));
        assert_eq!(book.imbalance(2).ratio(), Some(27.0 / 43.0));
    });
}

#[test]
fn a_level_at_a_price_has_its_orders_in_queue_order() {
    with_book(&[(Bid, 5, 1), (Bid, 6, 2), (Bid, 5, 3), (Ask, 6, 4), (Bid, 5, 2)], |book| {
        let ids = |side, price| {
            book.level_at(side, Price(price)).map(|level| level.orders().map(|(id, _)| id.0).collect::<Vec<_>>())
        };
        assert_eq!((ids(Bid, 5), ids(Bid, 6), ids(Ask, 6)), (Some(vec![1, 3, 5]), Some(vec![2]), Some(vec![4])));
        assert_eq!((ids(Ask, 5), ids(Bid, 7), ids(Bid, 4)), (None, None, None));
    });
}

#[test]
fn negative_and_sub_penny_prices_are_exact() {
    // Two at −0.000000003 and one at −0.000000004 are −0.00000000333… on average.
    with_book(&[(Bid, -3, 2), (Bid, -4, 2), (Ask, -2, 1), (Ask, 1, 1), (Ask, 37_500_001, 2)], |book| {
        for (quantity, notional, average) in [(1, -3, -3), (3, -10, -3), (4, -14, -4)] {
            let sweep = book.sweep(Bid, Quantity(quantity));
            assert_eq!((sweep.notional, sweep.average_price()), (notional, Some(Price(average))), "{quantity}");
        }
        for (quantity, notional, average) in [(2, -1, -1), (3, 37_500_000, 12_500_000), (4, 75_000_001, 18_750_000)] {
            let sweep = book.sweep(Ask, Quantity(quantity));
            assert_eq!((sweep.notional, sweep.average_price()), (notional, Some(Price(average))), "{quantity}");
        }
        assert_eq!(book.quantity_within(Bid, Price(-3)), Quantity(2));
        assert_eq!(book.quantity_within(Ask, Price(0)), Quantity(1));
    });
}

#[test]
fn extreme_prices_are_levels_like_any_other() {
    let (low, high) = (i64::MIN, i64::MAX);
    let orders = [(Bid, low, 1), (Bid, high, 1), (Bid, 0, 1), (Ask, low, 2), (Ask, high, 2)];
    with_book(&orders, |book| {
        let prices = |side| (0..3).map_while(move |number| book.nth_level(side, number)).map(|level| level.price.0);
        assert_eq!(prices(Bid).collect::<Vec<_>>(), [high, 0, low]);
        assert_eq!(prices(Ask).collect::<Vec<_>>(), [low, high]);
        assert_eq!(book.level_at(Bid, Price(low)).map(|level| level.quantity), Some(Quantity(1)));
        assert_eq!(book.level_at(Ask, Price(high)).map(|level| level.quantity), Some(Quantity(2)));
        assert_eq!(book.quantity_within(Bid, Price(high)), Quantity(1));
        assert_eq!(book.quantity_within(Bid, Price(low)), Quantity(3));
        assert_eq!(book.quantity_within(Ask, Price(low)), Quantity(2));
        let all = book.sweep(Bid, Quantity(3));
        assert_eq!((all, all.average_price()), (sweep(3, -1, low, 3), Some(Price(0))));
        assert_eq!((book.bbo().spread(), book.bbo().mid_price()), (Some(Price(low)), Some(Price(-1))));
    });
}

#[test]
fn sums_beyond_32_and_64_bits_are_exact() {
    const LEVELS: i64 = 2_500;
    let most = u64::from(u32::MAX);
    for (side, best, step) in
        [(Bid, i64::MIN + LEVELS, -1), (Bid, i64::MAX, -1), (Ask, i64::MIN, 1), (Ask, i64::MAX - LEVELS, 1)]
    {
        let orders: Vec<_> = (0..LEVELS).map(|number| (side, best + step * number, most)).collect();
        with_book(&orders, |book| {
            let quantity = LEVELS as u64 * most;
            let worst = best + step * (LEVELS - 1);
            let prices: i128 = orders.iter().map(|&(_, price, _)| i128::from(price)).sum();
            let sweep = book.sweep(side, Quantity(u64::MAX));
            assert_eq!(sweep, self::sweep(quantity, prices * i128::from(most), worst, LEVELS as u32));
            assert_average(&sweep);
            assert_eq!(book.quantity_within(side, Price(worst)), Quantity(quantity));
            assert_eq!(book.imbalance(LEVELS as u32).ratio(), Some(if side == Bid { 1.0 } else { -1.0 }));
        });
    }
}

#[test]
fn every_level_of_a_deep_side_is_found_by_number_and_by_price() {
    const LEVELS: u32 = 2_500;
    for stride in [1, LEVELS - 1, 777] {
        let price = |number: u32| i64::from(number * stride % LEVELS) * 10;
        let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
        let mut books = BothBooks::new(&arena, CAPACITY);
        for number in 0..LEVELS {
            books.apply(&add(u64::from(number), Ask, price(number), 1 + u64::from(number % 3)));
        }
        let book = books.fast.book(ONE).expect("below the maximum");
        for number in 0..LEVELS {
            let expected = Price(i64::from(number) * 10);
            let nth = book.nth_level(Ask, number).expect("there").price;
            assert_eq!((nth, book.level_at(Ask, expected).map(|level| level.price)), (expected, Some(expected)));
            assert!(book.level_at(Ask, Price(expected.0 + 1)).is_none());
        }
        assert!(book.nth_level(Ask, LEVELS).is_none());
    }
}
