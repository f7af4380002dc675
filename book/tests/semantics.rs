//! What each event does to a book, by hand: a small book, one event, and the queues that must stand afterwards.
//!
//! Each case runs through the fast books and the reference, which must agree, and is held against a table written here.

#[path = "common/both_books.rs"]
mod both_books;
#[path = "common/hand_made.rs"]
mod hand_made;

use Side::{Ask, Bid};
use both_books::BothBooks;
use hand_made::{add, clear, event, gap, modify, priced, quote, replace, sized, under, without_last};
use tickcore_book::{
    Anomaly, Applied, Arena, Bbo, Capacity, Event, InstrumentId, Kind, OrderId, Price, Quantity, Side, Standing,
};

const CAPACITY: Capacity = Capacity { instruments_max: 3, orders_max: 32, levels_max: 16 };
const ONE: InstrumentId = InstrumentId(1);
const TWO: InstrumentId = InstrumentId(2);
const THREE: InstrumentId = InstrumentId(3);

/// A side as a table: price and its queue of (order, what is left of it), best price first.
type Table<'t> = &'t [(i64, &'t [(u64, u64)])];

/// The book that every case starts with.
const START_BIDS: Table<'_> = &[(100, &[(1, 10), (2, 20), (3, 30)]), (99, &[(4, 40)])];
const START_ASKS: Table<'_> = &[(101, &[(5, 50)]), (102, &[(6, 60), (7, 70)])];

/// The adds that build a side.
fn adds(instrument: InstrumentId, side: Side, table: Table<'_>) -> Vec<Event> {
    let level = |&(price, orders): &(i64, &[(u64, u64)])| {
        orders.iter().map(move |&(id, quantity)| under(instrument, add(id, side, price, quantity))).collect::<Vec<_>>()
    };
    table.iter().flat_map(level).collect()
}

fn assert_book(books: &BothBooks<'_>, instrument: InstrumentId, bids: Table<'_>, asks: Table<'_>, case: &str) {
    books.check();
    for (side, expected) in [(Bid, bids), (Ask, asks)] {
        let found: Vec<(i64, Vec<(u64, u64)>)> = books
            .queues(instrument, side)
            .into_iter()
            .map(|(price, orders)| (price.0, orders.into_iter().map(|(id, quantity)| (id.0, quantity.0)).collect()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|&(price, orders)| (price, orders.to_vec())).collect();
        assert_eq!(found, expected, "{side:?} of {case}");
    }
}

fn is_stale(books: &BothBooks<'_>, instrument: InstrumentId) -> bool {
    let is_stale = books.fast.is_stale(instrument);
    assert_eq!(is_stale, books.reference.is_stale(instrument));
    is_stale
}

fn with_books<R>(capacity: Capacity, test: impl FnOnce(&mut BothBooks<'_>) -> R) -> R {
    let arena = Arena::new(capacity.arena_bytes()).expect("small");
    test(&mut BothBooks::new(&arena, capacity))
}

/// Runs `test` on books whose instrument one holds the book that every case starts with.
fn with_start<R>(test: impl FnOnce(&mut BothBooks<'_>) -> R) -> R {
    with_books(CAPACITY, |books| {
        for event in [adds(ONE, Bid, START_BIDS), adds(ONE, Ask, START_ASKS)].concat() {
            assert_eq!(books.apply(&event).anomaly, None);
        }
        assert_book(books, ONE, START_BIDS, START_ASKS, "start");
        test(books)
    })
}

/// A case: its name, its events on the start book, the bids and asks afterwards, and what the last event was.
type Case<'c> = (&'c str, &'c [Event], Table<'c>, Table<'c>, Option<Anomaly>);

/// Every event but the last of a case must fit; the last leaves the book stale exactly when it does not.
fn run(cases: &[Case<'_>]) {
    for &(name, events, bids, asks, anomaly) in cases {
        with_start(|books| {
            let (last, first) = events.split_last().expect("a case has an event");
            for event in first {
                assert_eq!(books.apply(event).anomaly, None, "{name}: {event:?}");
            }
            let before = books.fast.bbo(ONE);
            let applied = books.apply(last);
            let changed = books.fast.bbo(ONE) != before;
            assert_eq!(applied, Applied { bbo_changed: changed, bbo_published: changed, anomaly }, "{name}");
            assert_book(books, ONE, bids, asks, name);
            assert_eq!(is_stale(books, ONE), anomaly.is_some(), "{name}");
            for kind in Anomaly::ALL {
                assert_eq!(books.anomalies(kind), u64::from(anomaly == Some(kind)), "{name}: {kind:?}");
            }
        });
    }
}

#[test]
fn add_joins_the_tail_of_its_level() {
    run(&[
        (
            "at the best price",
            &[add(8, Bid, 100, 5)],
            &[(100, &[(1, 10), (2, 20), (3, 30), (8, 5)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "above the best bid",
            &[add(8, Bid, 105, 5)],
            &[(105, &[(8, 5)]), (100, &[(1, 10), (2, 20), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "between two asks' levels",
            &[add(8, Ask, 103, 5), add(9, Ask, 102, 6)],
            START_BIDS,
            &[(101, &[(5, 50)]), (102, &[(6, 60), (7, 70), (9, 6)]), (103, &[(8, 5)])],
            None,
        ),
        (
            "below zero and at zero",
            &[add(8, Bid, -7, 5), add(9, Bid, 0, 6)],
            &[(100, &[(1, 10), (2, 20), (3, 30)]), (99, &[(4, 40)]), (0, &[(9, 6)]), (-7, &[(8, 5)])],
            START_ASKS,
            None,
        ),
        (
            "an id that was used up is free again",
            &[event(Kind::Delete, 1), add(1, Ask, 101, 5)],
            &[(100, &[(2, 20), (3, 30)]), (99, &[(4, 40)])],
            &[(101, &[(5, 50), (1, 5)]), (102, &[(6, 60), (7, 70)])],
            None,
        ),
    ]);
}

#[test]
fn executions_and_partial_cancels_reduce_in_place() {
    for kind in [Kind::Execute, Kind::ExecuteAt, Kind::Reduce] {
        run(&[
            (
                "the first keeps its place",
                &[sized(kind, 1, 4)],
                &[(100, &[(1, 6), (2, 20), (3, 30)]), (99, &[(4, 40)])],
                START_ASKS,
                None,
            ),
            (
                "one in the middle keeps its place",
                &[sized(kind, 2, 19)],
                &[(100, &[(1, 10), (2, 1), (3, 30)]), (99, &[(4, 40)])],
                START_ASKS,
                None,
            ),
            (
                "all of it removes the order",
                &[sized(kind, 2, 20)],
                &[(100, &[(1, 10), (3, 30)]), (99, &[(4, 40)])],
                START_ASKS,
                None,
            ),
            (
                "in two steps as well",
                &[sized(kind, 2, 15), sized(kind, 2, 5)],
                &[(100, &[(1, 10), (3, 30)]), (99, &[(4, 40)])],
                START_ASKS,
                None,
            ),
            (
                "the last order takes its level along",
                &[sized(kind, 5, 50)],
                START_BIDS,
                &[(102, &[(6, 60), (7, 70)])],
                None,
            ),
            ("nothing taken is nothing done", &[sized(kind, 2, 0)], START_BIDS, START_ASKS, None),
        ]);
    }
}

#[test]
fn the_price_of_a_print_does_not_move_the_order() {
    for print in [i64::MIN, 0, 99, 100, 101, i64::MAX] {
        run(&[(
            "reduced at its own level",
            &[priced(Kind::ExecuteAt, 2, print, 5)],
            &[(100, &[(1, 10), (2, 15), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        )]);
    }
}

#[test]
fn delete_removes_the_whole_order() {
    run(&[
        ("the first", &[event(Kind::Delete, 1)], &[(100, &[(2, 20), (3, 30)]), (99, &[(4, 40)])], START_ASKS, None),
        ("the last", &[event(Kind::Delete, 3)], &[(100, &[(1, 10), (2, 20)]), (99, &[(4, 40)])], START_ASKS, None),
        (
            "what is left of it",
            &[sized(Kind::Execute, 7, 1), event(Kind::Delete, 7)],
            START_BIDS,
            &[(101, &[(5, 50)]), (102, &[(6, 60)])],
            None,
        ),
        (
            "a whole side",
            &[event(Kind::Delete, 6), event(Kind::Delete, 5), event(Kind::Delete, 7)],
            START_BIDS,
            &[],
            None,
        ),
    ]);
}

#[test]
fn replace_loses_priority_and_keeps_the_side() {
    run(&[
        (
            "same price, same quantity: to the tail",
            &[replace(1, 8, 100, 10)],
            &[(100, &[(2, 20), (3, 30), (8, 10)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "same price, less: to the tail",
            &[replace(1, 8, 100, 1)],
            &[(100, &[(2, 20), (3, 30), (8, 1)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "alone on its level, same price",
            &[replace(5, 8, 101, 9)],
            START_BIDS,
            &[(101, &[(8, 9)]), (102, &[(6, 60), (7, 70)])],
            None,
        ),
        (
            "an ask stays an ask at a bid's price",
            &[replace(5, 8, 99, 9)],
            START_BIDS,
            &[(99, &[(8, 9)]), (102, &[(6, 60), (7, 70)])],
            None,
        ),
        (
            "a side in the event does not matter",
            &[Event { side_number: Ask as u8, ..replace(4, 8, 98, 9) }],
            &[(100, &[(1, 10), (2, 20), (3, 30)]), (98, &[(8, 9)])],
            START_ASKS,
            None,
        ),
        (
            "onto its own id",
            &[replace(1, 1, 99, 9)],
            &[(100, &[(2, 20), (3, 30)]), (99, &[(4, 40), (1, 9)])],
            START_ASKS,
            None,
        ),
        (
            "the new id is live",
            &[replace(1, 8, 100, 10), sized(Kind::Execute, 8, 3)],
            &[(100, &[(2, 20), (3, 30), (8, 7)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "the old id is dead",
            &[replace(1, 8, 100, 10), event(Kind::Delete, 1)],
            &[(100, &[(2, 20), (3, 30), (8, 10)]), (99, &[(4, 40)])],
            START_ASKS,
            Some(Anomaly::UnknownOrder),
        ),
    ]);
}

#[test]
fn modify_keeps_its_place_only_when_nothing_but_the_quantity_falls() {
    run(&[
        (
            "less: keeps its place",
            &[modify(1, Bid, 100, 9)],
            &[(100, &[(1, 9), (2, 20), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        ("the same: keeps its place", &[modify(1, Bid, 100, 10)], START_BIDS, START_ASKS, None),
        (
            "more: to the tail",
            &[modify(1, Bid, 100, 11)],
            &[(100, &[(2, 20), (3, 30), (1, 11)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "another price, less: to the tail there",
            &[modify(1, Bid, 99, 5)],
            &[(100, &[(2, 20), (3, 30)]), (99, &[(4, 40), (1, 5)])],
            START_ASKS,
            None,
        ),
        (
            "another price and back: to the tail",
            &[modify(1, Bid, 99, 10), modify(1, Bid, 100, 10)],
            &[(100, &[(2, 20), (3, 30), (1, 10)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "the other side: to the tail there",
            &[modify(1, Ask, 101, 5)],
            &[(100, &[(2, 20), (3, 30)]), (99, &[(4, 40)])],
            &[(101, &[(5, 50), (1, 5)]), (102, &[(6, 60), (7, 70)])],
            None,
        ),
        (
            "no side named: its own",
            &[Event { side_number: 0, ..modify(7, Ask, 101, 5) }],
            START_BIDS,
            &[(101, &[(5, 50), (7, 5)]), (102, &[(6, 60)])],
            None,
        ),
        (
            "what was executed counts",
            &[sized(Kind::Execute, 2, 15), modify(2, Bid, 100, 6)],
            &[(100, &[(1, 10), (3, 30), (2, 6)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "alone on its level, more: the level stays",
            &[modify(5, Ask, 101, 51)],
            START_BIDS,
            &[(101, &[(5, 51)]), (102, &[(6, 60), (7, 70)])],
            None,
        ),
    ]);
}

#[test]
fn what_does_not_concern_orders_leaves_the_book_alone() {
    let of_orders = [
        Kind::Add,
        Kind::Modify,
        Kind::Execute,
        Kind::ExecuteAt,
        Kind::Reduce,
        Kind::Delete,
        Kind::Replace,
        Kind::Clear,
        Kind::Gap,
    ];
    let others: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !of_orders.contains(kind)).collect();
    assert_eq!(others.len(), 10);
    for kind in others {
        let full = Event { reference: 2, side_number: Bid as u8, ..priced(kind, 1, 100, 10) };
        run(&[(kind.name(), &[full], START_BIDS, START_ASKS, None)]);
    }
}

#[test]
fn events_that_name_no_live_order_are_unknown() {
    for (name, unknown) in [
        ("execute", sized(Kind::Execute, 8, 1)),
        ("execute_at", priced(Kind::ExecuteAt, 8, 100, 1)),
        ("reduce", sized(Kind::Reduce, 8, 1)),
        ("delete", event(Kind::Delete, 8)),
        ("replace", replace(8, 9, 100, 1)),
        ("replace onto a live order", replace(8, 1, 100, 1)),
    ] {
        run(&[(name, &[unknown], START_BIDS, START_ASKS, Some(Anomaly::UnknownOrder))]);
    }
    run(&[
        (
            "modify adds it",
            &[modify(8, Bid, 99, 5)],
            &[(100, &[(1, 10), (2, 20), (3, 30)]), (99, &[(4, 40), (8, 5)])],
            START_ASKS,
            Some(Anomaly::UnknownOrder),
        ),
        (
            "modify without a side cannot",
            &[Event { side_number: 0, ..modify(8, Bid, 99, 5) }],
            START_BIDS,
            START_ASKS,
            Some(Anomaly::UnknownOrder),
        ),
    ]);
}

#[test]
fn a_duplicate_leaves_the_order_that_is_there() {
    run(&[
        ("add", &[add(2, Ask, 103, 5)], START_BIDS, START_ASKS, Some(Anomaly::DuplicateOrder)),
        ("add of nothing", &[add(2, Ask, 103, 0)], START_BIDS, START_ASKS, Some(Anomaly::DuplicateOrder)),
        (
            "replace removes the old order",
            &[replace(1, 5, 98, 5)],
            &[(100, &[(2, 20), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            Some(Anomaly::DuplicateOrder),
        ),
    ]);
}

#[test]
fn an_overfill_removes_the_order() {
    for kind in [Kind::Execute, Kind::ExecuteAt, Kind::Reduce] {
        for beyond in [21, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            run(&[(
                kind.name(),
                &[sized(kind, 2, beyond)],
                &[(100, &[(1, 10), (3, 30)]), (99, &[(4, 40)])],
                START_ASKS,
                Some(Anomaly::Overfill),
            )]);
        }
    }
}

#[test]
fn what_is_malformed_leaves_no_order() {
    let without_first: Table<'_> = &[(100, &[(2, 20), (3, 30)]), (99, &[(4, 40)])];
    let malformed = Some(Anomaly::Malformed);
    let no_such_side = Event { side_number: 3, ..add(8, Bid, 100, 5) };
    run(&[
        ("add of nothing", &[add(8, Bid, 100, 0)], START_BIDS, START_ASKS, malformed),
        ("add without a side", &[priced(Kind::Add, 8, 100, 5)], START_BIDS, START_ASKS, malformed),
        ("add on a third side", &[no_such_side], START_BIDS, START_ASKS, malformed),
        ("modify to nothing", &[modify(1, Bid, 100, 0)], without_first, START_ASKS, malformed),
        ("replace by nothing", &[replace(1, 8, 100, 0)], without_first, START_ASKS, malformed),
        ("kind 0", &[Event { kind_number: 0, ..add(8, Bid, 100, 5) }], START_BIDS, START_ASKS, malformed),
        ("kind 255", &[Event { kind_number: 255, ..add(8, Bid, 100, 5) }], START_BIDS, START_ASKS, malformed),
    ]);
}

#[test]
fn quantities_go_up_to_32_bits() {
    let max = u64::from(u32::MAX);
    let without_first: Table<'_> = &[(100, &[(2, 20), (3, 30)]), (99, &[(4, 40)])];
    run(&[
        (
            "a level of as much as one holds",
            &[add(8, Bid, 105, max - 1), add(9, Bid, 105, 1)],
            &[(105, &[(8, max - 1), (9, 1)]), (100, &[(1, 10), (2, 20), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        (
            "a level of one more",
            &[add(8, Bid, 105, max), add(9, Bid, 105, 1)],
            &[(105, &[(8, max)]), (100, &[(1, 10), (2, 20), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            Some(Anomaly::Capacity),
        ),
        (
            "a level of one more, by replace",
            &[add(8, Bid, 105, max), replace(1, 9, 105, 1)],
            &[(105, &[(8, max)]), (100, &[(2, 20), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            Some(Anomaly::Capacity),
        ),
        (
            "a level of one more, by modify",
            &[add(8, Bid, 105, max), modify(1, Bid, 105, 1)],
            &[(105, &[(8, max)]), (100, &[(2, 20), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            Some(Anomaly::Capacity),
        ),
        (
            "an order that makes way for its successor at the same price",
            &[add(8, Bid, 105, max), replace(8, 9, 105, max)],
            &[(105, &[(9, max)]), (100, &[(1, 10), (2, 20), (3, 30)]), (99, &[(4, 40)])],
            START_ASKS,
            None,
        ),
        ("one more", &[add(8, Bid, 105, max + 1)], START_BIDS, START_ASKS, Some(Anomaly::Capacity)),
        ("as many as there are", &[add(8, Bid, 105, u64::MAX)], START_BIDS, START_ASKS, Some(Anomaly::Capacity)),
        ("by replace", &[replace(1, 8, 100, max + 1)], without_first, START_ASKS, Some(Anomaly::Capacity)),
        ("by modify", &[modify(1, Bid, 100, max + 1)], without_first, START_ASKS, Some(Anomaly::Capacity)),
    ]);
    with_books(CAPACITY, |books| {
        books.apply(&add(1, Ask, 1, max));
        books.apply(&add(2, Ask, 1, 1));
        assert_eq!(books.fast.bbo(ONE), Bbo { bid: None, ask: quote(1, max) });
        // Once there is room again, the level takes on as if nothing had been dropped; the dropped one stays unknown.
        books.apply(&sized(Kind::Reduce, 1, 10));
        books.apply(&event(Kind::Delete, 2));
        books.apply(&add(3, Ask, 1, 10));
        assert_eq!(books.fast.bbo(ONE), Bbo { bid: None, ask: quote(1, max) });
    });
}

#[test]
fn prices_go_from_end_to_end_on_both_sides() {
    let extremes = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    with_books(CAPACITY, |books| {
        for (id, price) in (1..).zip(extremes) {
            books.apply(&add(id, Bid, price, id));
            books.apply(&add(100 + id, Ask, price, id));
        }
        let bids: Table<'_> = &[
            (i64::MAX, &[(7, 7)]),
            (i64::MAX - 1, &[(6, 6)]),
            (1, &[(5, 5)]),
            (0, &[(4, 4)]),
            (-1, &[(3, 3)]),
            (i64::MIN + 1, &[(2, 2)]),
            (i64::MIN, &[(1, 1)]),
        ];
        let asks: Table<'_> = &[
            (i64::MIN, &[(101, 1)]),
            (i64::MIN + 1, &[(102, 2)]),
            (-1, &[(103, 3)]),
            (0, &[(104, 4)]),
            (1, &[(105, 5)]),
            (i64::MAX - 1, &[(106, 6)]),
            (i64::MAX, &[(107, 7)]),
        ];
        assert_book(books, ONE, bids, asks, "all extremes");
        assert_eq!(books.fast.bbo(ONE), Bbo { bid: quote(i64::MAX, 7), ask: quote(i64::MIN, 1) });
        assert_eq!(books.fast.bbo(ONE).standing(), Standing::Crossed);
        for id in (1..8).chain(101..108) {
            assert_eq!(books.apply(&event(Kind::Delete, id)).anomaly, None);
        }
        assert_book(books, ONE, &[], &[], "emptied");
        assert_eq!(books.fast.bbo(ONE), Bbo::default());
    });
}

#[test]
fn a_quote_at_price_zero_is_not_an_empty_side() {
    with_books(CAPACITY, |books| {
        assert!(books.apply(&add(1, Bid, 0, 1)).bbo_changed);
        assert_eq!(books.fast.bbo(ONE), Bbo { bid: quote(0, 1), ask: None });
        assert!(books.apply(&event(Kind::Delete, 1)).bbo_changed);
        assert_eq!(books.fast.bbo(ONE), Bbo::default());
    });
}

#[test]
fn orders_beyond_a_maximum_are_dropped_and_forgiven() {
    let small = Capacity { instruments_max: 1, orders_max: 2, levels_max: 2 };
    with_books(small, |books| {
        books.apply(&add(1, Bid, 10, 1));
        assert_eq!(books.apply(&add(2, Bid, 10, 2)).anomaly, None, "at the maximum");
        assert!(!is_stale(books, ONE));
        assert_eq!(books.apply(&add(3, Bid, 10, 3)).anomaly, Some(Anomaly::Capacity), "above the maximum");
        assert!(is_stale(books, ONE));
        for (name, later) in [
            ("execute", sized(Kind::Execute, 3, 1)),
            ("reduce", sized(Kind::Reduce, 3, 1)),
            ("modify", modify(3, Bid, 10, 1)),
            ("replace", replace(3, 4, 10, 1)),
            ("delete of its successor", event(Kind::Delete, 4)),
        ] {
            assert_eq!(books.apply(&later).anomaly, None, "{name}");
        }
        assert_eq!(books.apply(&event(Kind::Delete, 4)).anomaly, Some(Anomaly::UnknownOrder), "forgotten");
        assert_book(books, ONE, &[(10, &[(1, 1), (2, 2)])], &[], "full");
        books.apply(&event(Kind::Delete, 1));
        assert_eq!(books.apply(&add(3, Bid, 10, 3)).anomaly, None, "room again");
        assert_book(books, ONE, &[(10, &[(2, 2), (3, 3)])], &[], "room again");
        assert_eq!(books.anomalies(Anomaly::Capacity), 1);
    });
}

#[test]
fn levels_beyond_their_maximum_are_dropped() {
    let small = Capacity { instruments_max: 1, orders_max: 9, levels_max: 2 };
    with_books(small, |books| {
        books.apply(&add(1, Bid, 10, 1));
        assert_eq!(books.apply(&add(2, Ask, 12, 2)).anomaly, None, "at the maximum");
        assert_eq!(books.apply(&add(3, Bid, 11, 3)).anomaly, Some(Anomaly::Capacity), "above the maximum");
        assert_eq!(books.apply(&add(4, Bid, 10, 4)).anomaly, None, "a level that is there");
        assert_eq!(books.apply(&replace(2, 5, 13, 5)).anomaly, None, "its level comes free first");
        assert_eq!(books.apply(&replace(1, 6, 9, 6)).anomaly, Some(Anomaly::Capacity), "its level stays");
        assert_book(books, ONE, &[(10, &[(4, 4)])], &[(13, &[(5, 5)])], "full");
    });
}

#[test]
fn an_instrument_beyond_its_maximum_has_no_book() {
    with_start(|books| {
        for number in [CAPACITY.instruments_max + 1, u32::MAX] {
            let applied = books.apply(&under(InstrumentId(number), add(1, Bid, 10, 1)));
            assert_eq!(applied, Applied { anomaly: Some(Anomaly::Capacity), ..Applied::default() });
            assert!(books.fast.book(InstrumentId(number)).is_none());
        }
        assert_book(books, ONE, START_BIDS, START_ASKS, "instrument one");
        assert_eq!(books.fast.stale_count(), 0);
        let of_all = books.fast.anomalies_of(InstrumentId::ALL).expect("row 0");
        assert_eq!(of_all.of(Anomaly::Capacity), 2);
    });
}

#[test]
fn instruments_do_not_share_orders() {
    with_start(|books| {
        assert_eq!(books.apply(&under(TWO, add(1, Ask, 7, 3))).anomaly, None, "the same id is another order");
        assert_book(books, ONE, START_BIDS, START_ASKS, "instrument one");
        assert_book(books, TWO, &[], &[(7, &[(1, 3)])], "instrument two");
        let foreign = under(TWO, event(Kind::Delete, 5));
        assert_eq!(books.apply(&foreign).anomaly, Some(Anomaly::UnknownOrder), "order 5 is of instrument one");
        assert!(is_stale(books, TWO) && !is_stale(books, ONE));
        assert_eq!(books.apply(&under(TWO, event(Kind::Delete, 1))).anomaly, None);
        assert_book(books, ONE, START_BIDS, START_ASKS, "instrument one");
        assert_book(books, TWO, &[], &[], "instrument two");
        let counts = [ONE, TWO].map(|instrument| books.fast.anomalies_of(instrument).expect("a row").total());
        assert_eq!(counts, [0, 1]);
    });
}

#[test]
fn clear_empties_and_a_snapshot_restores_trust() {
    with_start(|books| {
        books.apply(&under(TWO, add(1, Bid, 7, 3)));
        books.apply(&event(Kind::Delete, 77));
        assert!(is_stale(books, ONE));

        let applied = books.apply(&clear(false));
        assert_eq!(applied, Applied { bbo_changed: true, bbo_published: true, anomaly: None });
        assert_book(books, ONE, &[], &[], "cleared");
        assert_book(books, TWO, &[(7, &[(1, 3)])], &[], "untouched");
        assert!(is_stale(books, ONE), "without a snapshot the book is as doubtful as before");
        assert_eq!(books.apply(&clear(false)), Applied::default(), "an empty book does not change");

        assert_eq!(books.apply(&event(Kind::Delete, 1)).anomaly, Some(Anomaly::UnknownOrder), "its orders are gone");
        assert_eq!(books.apply(&clear(true)), Applied::default());
        assert!(!is_stale(books, ONE), "a snapshot follows");
        assert_eq!(books.apply(&add(1, Bid, 100, 1)).anomaly, None, "ids are free again");
        assert_book(books, ONE, &[(100, &[(1, 1)])], &[], "refilled");
    });
}

#[test]
fn clear_of_all_reaches_every_book() {
    with_start(|books| {
        books.apply(&under(THREE, add(1, Bid, 7, 3)));
        for instrument in [ONE, TWO, THREE] {
            books.apply(&under(instrument, event(Kind::Delete, 77)));
        }
        let applied = books.apply(&under(InstrumentId::ALL, clear(true)));
        assert_eq!(applied, Applied { bbo_changed: true, bbo_published: true, anomaly: None });
        let changed: Vec<_> = books.fast.changed(InstrumentId::ALL).collect();
        assert_eq!(changed, [ONE, THREE], "instrument two was empty");
        for instrument in [ONE, TWO, THREE] {
            assert_book(books, instrument, &[], &[], "cleared");
            assert!(!is_stale(books, instrument));
        }
        assert_eq!((books.fast.live_orders(), books.fast.level_count()), (0, 0));
    });
}

#[test]
fn a_gap_makes_its_books_stale_and_keeps_their_orders() {
    let gapped = Applied { anomaly: Some(Anomaly::Gap), ..Applied::default() };
    with_start(|books| {
        books.apply(&under(TWO, add(1, Bid, 7, 3)));
        assert_eq!(books.apply(&gap()), gapped);
        assert_eq!([ONE, TWO].map(|instrument| is_stale(books, instrument)), [true, false]);
        assert_book(books, ONE, START_BIDS, START_ASKS, "one of them");
        assert!(books.apply(&event(Kind::Delete, 1)).bbo_published, "a stale book goes on");
        assert_eq!(books.anomalies(Anomaly::Gap), 1);
    });
    with_start(|books| {
        books.apply(&under(TWO, add(1, Bid, 7, 3)));
        assert_eq!(books.apply(&under(InstrumentId::ALL, gap())), gapped);
        assert_eq!([ONE, TWO].map(|instrument| is_stale(books, instrument)), [true, true]);
        assert_book(books, ONE, START_BIDS, START_ASKS, "all of them");
        assert_book(books, TWO, &[(7, &[(1, 3)])], &[], "all of them");
        assert_eq!(books.anomalies(Anomaly::Gap), 1, "one gap, however many books");
        books.apply(&clear(true));
        assert_eq!([ONE, TWO].map(|instrument| is_stale(books, instrument)), [false, true]);
    });
}

#[test]
fn a_caller_that_knows_better_may_trust_a_book() {
    with_start(|books| {
        books.apply(&gap());
        books.apply(&under(TWO, gap()));
        assert_eq!(books.fast.stale_count(), 2);
        books.fast.trust(ONE);
        assert_eq!([ONE, TWO].map(|instrument| books.fast.is_stale(instrument)), [false, true]);
        assert_eq!(books.fast.stale_count(), 1);
        books.apply(&event(Kind::Delete, 77));
        assert_eq!(books.fast.stale_count(), 2, "until the next anomaly");
    });
}

/// What needs an instrument and names all of them fits none, and no book is blamed.
#[test]
fn an_order_event_for_all_instruments_is_malformed() {
    with_start(|books| {
        for event in [add(8, Bid, 100, 5), event(Kind::Delete, 1), Event { kind_number: 200, ..Event::default() }] {
            let applied = books.apply(&under(InstrumentId::ALL, event));
            assert_eq!(applied, Applied { anomaly: Some(Anomaly::Malformed), ..Applied::default() });
        }
        assert_book(books, ONE, START_BIDS, START_ASKS, "untouched");
        assert!(!is_stale(books, ONE));
        assert_eq!(books.anomalies(Anomaly::Malformed), 3);
    });
}

/// Changes count per event; what is published is compared at the end of the venue's transaction only.
#[test]
fn a_transaction_publishes_once_at_its_end() {
    let outcome = |books: &mut BothBooks<'_>, event: Event| {
        let applied = books.apply(&event);
        (applied.bbo_changed, applied.bbo_published)
    };
    with_start(|books| {
        assert_eq!(outcome(books, without_last(add(8, Bid, 103, 1))), (true, false), "crossed inside");
        assert_eq!(books.fast.bbo(ONE).standing(), Standing::Crossed);
        assert_eq!(outcome(books, without_last(event(Kind::Delete, 5))), (true, false));
        assert_eq!(outcome(books, event(Kind::Delete, 8)), (true, true), "another top than at the last end");
        assert_eq!(outcome(books, without_last(add(8, Bid, 100, 1))), (true, false));
        assert_eq!(outcome(books, event(Kind::Delete, 8)), (true, false), "back where it was: nothing to publish");
        assert_eq!(outcome(books, without_last(add(8, Bid, 100, 1))), (true, false));
        let at_the_end = outcome(books, add(9, Bid, 98, 1));
        assert_eq!(at_the_end, (false, true), "an end that changes nothing publishes the change before");
        assert_eq!(outcome(books, add(10, Bid, 98, 1)), (false, false), "and only once");
        assert_eq!(outcome(books, add(11, Bid, 100, 1)), (true, true));
    });
}

#[test]
fn transactions_of_two_instruments_do_not_mix() {
    with_start(|books| {
        assert!(!books.apply(&without_last(add(8, Bid, 100, 1))).bbo_published);
        assert!(books.apply(&under(TWO, add(1, Bid, 7, 3))).bbo_published);
        let trade = under(TWO, event(Kind::Trade, 0));
        assert!(!books.apply(&trade).bbo_published, "the end of two's transaction is not the end of one's");
        assert!(books.apply(&event(Kind::Trade, 0)).bbo_published, "any event of one may end it");
    });
}

#[test]
fn locked_and_crossed_books_are_legal() {
    for (price, standing) in [(99, Standing::Normal), (100, Standing::Locked), (101, Standing::Crossed)] {
        with_books(CAPACITY, |books| {
            books.apply(&add(1, Ask, 100, 5));
            assert_eq!(books.fast.bbo(ONE).standing(), Standing::Normal, "one side only");
            assert_eq!(books.apply(&add(2, Bid, price, 5)).anomaly, None);
            assert_eq!(books.fast.bbo(ONE).standing(), standing);
            assert_book(books, ONE, &[(price, &[(2, 5)])], &[(100, &[(1, 5)])], "both rest");
            assert!(!is_stale(books, ONE));
        });
    }
}

#[test]
fn the_top_changes_with_price_or_quantity_of_the_best_level_only() {
    for (name, event, changes) in [
        ("more at the best", add(8, Bid, 100, 1), true),
        ("less at the best", sized(Kind::Reduce, 5, 1), true),
        ("a better price", add(8, Ask, 100, 1), true),
        ("behind the best", add(8, Bid, 99, 1), false),
        ("less behind the best", sized(Kind::Execute, 7, 1), false),
        ("a new level behind", add(8, Bid, 50, 1), false),
        ("the same quantity at the tail", replace(1, 8, 100, 10), false),
        ("a best order that moves away", replace(1, 8, 98, 10), true),
    ] {
        with_start(|books| assert_eq!(books.apply(&event).bbo_changed, changes, "{name}"));
    }
}

#[test]
fn an_order_knows_its_place() {
    with_start(|books| {
        let place = |books: &BothBooks<'_>, id| {
            books.fast.queue_position(ONE, OrderId(id)).map(|place| (place.orders_ahead, place.quantity_ahead.0))
        };
        assert_eq!([1, 2, 3, 4].map(|id| place(books, id)), [Some((0, 0)), Some((1, 10)), Some((2, 30)), Some((0, 0))]);
        books.apply(&sized(Kind::Execute, 1, 4));
        assert_eq!([1, 2, 3].map(|id| place(books, id)), [Some((0, 0)), Some((1, 6)), Some((2, 26))]);
        books.apply(&event(Kind::Delete, 1));
        assert_eq!([1, 2, 3].map(|id| place(books, id)), [None, Some((0, 0)), Some((1, 20))]);
        let order = books.fast.order(ONE, OrderId(3)).expect("live");
        assert_eq!((order.side, order.price, order.quantity), (Bid, Price(100), Quantity(30)));
        assert_eq!(books.fast.order(TWO, OrderId(3)), None);
        assert_eq!(books.fast.queue_position(TWO, OrderId(3)), None);
    });
}
