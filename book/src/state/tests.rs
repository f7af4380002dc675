//! Books that were encoded and restored against those that went on undisturbed; and bytes that are no state.

use super::*;
use crate::anomaly::AnomalyCounts;
use crate::arena::Arena;
use crate::books::{Applied, Books};
use crate::digest::StreamDigest;
use crate::event::{Event, Flags, Kind};
use crate::units::{InstrumentId, OrderId, Price, Quantity, TimestampNs};
use proptest::prelude::*;

const INSTRUMENTS: u32 = 3;

/// Any event at all over few instruments, ids and prices, so that it often meets something.
fn events() -> impl Strategy<Value = Event> {
    let kinds = prop_oneof![
        8 => Just(Kind::Add as u8),
        4 => prop::sample::select(vec![Kind::Modify as u8, Kind::Execute as u8, Kind::ExecuteAt as u8, Kind::Reduce as u8]),
        3 => prop::sample::select(vec![Kind::Delete as u8, Kind::Replace as u8]),
        2 => prop::sample::select(vec![Kind::Trade as u8, Kind::Cross as u8, Kind::Break as u8]),
        1 => prop::sample::select(vec![Kind::InstrumentDefined as u8, Kind::InstrumentName as u8, Kind::Gap as u8, 200]),
    ];
    let kinds = prop_oneof![60 => kinds, 1 => Just(Kind::Clear as u8)];
    let price = prop_oneof![9 => -20_i64..20, 1 => prop::sample::select(vec![i64::MIN, i64::MAX, 77 * Price::SCALE])];
    let quantity = prop_oneof![12 => 1_u64..50, 1 => prop::sample::select(vec![0, u64::from(u32::MAX), 1 << 40])];
    let instrument = prop_oneof![20 => 1..=INSTRUMENTS, 1 => Just(0_u32), 1 => any::<u32>()];
    let words = (kinds, 0_u8..4, instrument, 0_u64..60, 0_u64..60, price, quantity, 0_u8..4);
    words.prop_map(|(kind_number, side_number, instrument, order_id, reference, price, quantity, last)| Event {
        order_id: OrderId(order_id * 97),
        reference: reference * 97,
        price: Price(price),
        quantity: Quantity(quantity),
        kind_number,
        side_number,
        flags: if last > 0 { Flags::LAST } else { Flags::NONE },
        ..Event::new(Kind::Add, InstrumentId(instrument), TimestampNs(order_id + reference))
    })
}

/// Books and the digest of their changes.
struct Watched<'a> {
    books: Books<'a>,
    stream: StreamDigest,
}

impl<'a> Watched<'a> {
    fn new(arena: &'a Arena, capacity: Capacity) -> Self {
        let books = Books::new(arena, capacity).expect("the arena is made for it");
        Self { books, stream: StreamDigest::new(capacity.instruments_max) }
    }

    /// What the event did, and what each instrument that it touched looks like then.
    fn apply(&mut self, event: &Event) -> (Applied, Vec<(InstrumentId, crate::Bbo)>) {
        let applied = self.books.apply(event);
        let mut seen = Vec::new();
        if applied.bbo_changed {
            seen.extend(self.books.changed(event.instrument).map(|row| (row, self.books.bbo(row))));
            seen.iter().for_each(|(row, bbo)| self.stream.fold(*row, event.exchange_time, bbo));
        }
        if applied.bbo_published {
            seen.extend(self.books.published(event.instrument).map(|row| (row, self.books.bbo(row))));
        }
        (applied, seen)
    }

    fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut books, mut chains) = (Vec::new(), Vec::new());
        self.books.encode(&mut books);
        self.stream.encode(&mut chains);
        (books, chains)
    }

    fn restored(arena: &'a Arena, (books, chains): &(Vec<u8>, Vec<u8>)) -> Self {
        let state = BooksState::read(books).expect("a state");
        let mut restored = Self::new(arena, state.capacity());
        state.restore(&mut restored.books).expect("a whole state");
        restored.stream.restore(chains, |_| true).expect("whole chains");
        restored
    }
}

fn assert_same(left: &Watched<'_>, right: &Watched<'_>) {
    assert_eq!(right.books.validate(), Ok(()));
    assert_eq!(left.books.state_digest(), right.books.state_digest());
    assert_eq!((left.stream.value(), left.stream.changes()), (right.stream.value(), right.stream.changes()));
    assert_eq!(left.books.anomalies(), right.books.anomalies());
    assert_eq!(left.books.highest_instrument(), right.books.highest_instrument());
    assert_eq!(left.books.last_execution(), right.books.last_execution());
    assert_eq!(left.books.instruments().defined(), right.books.instruments().defined());
    for row in (0..=left.books.highest_instrument().0).map(InstrumentId) {
        assert_eq!(left.books.is_stale(row), right.books.is_stale(row), "{row}");
        assert_eq!(left.books.anomalies_of(row), right.books.anomalies_of(row), "{row}");
        assert_eq!(left.books.last_trade(row), right.books.last_trade(row), "{row}");
        assert_eq!(left.books.instruments().get(row), right.books.instruments().get(row), "{row}");
        assert_eq!(left.books.was_published(row), right.books.was_published(row), "{row}");
    }
    assert_eq!(left.encode(), right.encode(), "the same books have the same bytes");
}

fn check(capacity: Capacity, before: &[Event], after: &[Event]) {
    let arenas = [0, 1].map(|_| Arena::new(capacity.arena_bytes()).expect("small"));
    let mut undisturbed = Watched::new(&arenas[0], capacity);
    for event in before {
        undisturbed.apply(event);
    }
    let mut restored = Watched::restored(&arenas[1], &undisturbed.encode());
    assert_same(&undisturbed, &restored);
    for event in after {
        assert_eq!(undisturbed.apply(event), restored.apply(event), "{event:?}");
    }
    assert_same(&undisturbed, &restored);
}

proptest! {
    #[test]
    fn restored_books_go_on_as_if_they_had_never_stopped(
        before in prop::collection::vec(events(), 0..500),
        after in prop::collection::vec(events(), 0..300),
    ) {
        check(Capacity { instruments_max: INSTRUMENTS, orders_max: 128, levels_max: 128 }, &before, &after);
    }

    #[test]
    fn they_do_at_and_above_the_maxima(
        before in prop::collection::vec(events(), 0..300),
        after in prop::collection::vec(events(), 0..300),
        orders_max in 1_u32..12,
        levels_max in 1_u32..12,
    ) {
        check(Capacity { instruments_max: 2, orders_max, levels_max }, &before, &after);
    }

    #[test]
    fn shares_together_are_the_whole(before in prop::collection::vec(events(), 0..400)) {
        let capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: 128, levels_max: 128 };
        let arenas = [0, 1, 2].map(|_| Arena::new(capacity.arena_bytes()).expect("small"));
        let mut whole = Watched::new(&arenas[0], capacity);
        for event in &before {
            whole.apply(event);
        }
        let (state, chains) = whole.encode();
        let mut digests = [(0_u64, 0_u64); 2];
        for (number, digest) in digests.iter_mut().enumerate() {
            let mut share = Watched::new(&arenas[1 + number], capacity);
            let owns = |row: InstrumentId| row.index() % 2 == number;
            let read = BooksState::read(&state).expect("a state");
            read.restore_share(&mut share.books, owns, Some(AnomalyCounts::default())).expect("a whole state");
            share.stream.restore(&chains, owns).expect("whole chains");
            prop_assert_eq!(share.books.validate(), Ok(()));
            *digest = (share.books.state_digest(), share.stream.value());
        }
        let sum = |left: u64, right: u64| left.wrapping_add(right);
        prop_assert_eq!(sum(digests[0].0, digests[1].0), whole.books.state_digest());
        prop_assert_eq!(sum(digests[0].1, digests[1].1), whole.stream.value());
    }

    /// Whatever is done to the bytes: an error that says where, or books that are sound.
    #[test]
    fn changed_bytes_never_panic_and_never_make_unsound_books(
        before in prop::collection::vec(events(), 1..200),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(), prop::sample::select(vec![0, 1, 0x7F, 0x80, 0xFF])]), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: 64, levels_max: 64 };
        let arenas = [0, 1].map(|_| Arena::new(capacity.arena_bytes()).expect("small"));
        let mut watched = Watched::new(&arenas[0], capacity);
        for event in &before {
            watched.apply(event);
        }
        let (mut state, mut chains) = watched.encode();
        for (place, byte) in changes {
            let place_in_chains = place.index(chains.len());
            let place = place.index(state.len());
            state[place] = byte;
            chains[place_in_chains] = byte;
        }
        if let Some(cut) = cut {
            state.truncate(cut.index(state.len()));
            chains.truncate(cut.index(chains.len()));
        }
        let mut restored = Watched::new(&arenas[1], capacity);
        if BooksState::read(&state).and_then(|state| state.restore(&mut restored.books)).is_ok() {
            prop_assert_eq!(restored.books.validate(), Ok(()));
            let mut again = Vec::new();
            restored.books.encode(&mut again);
            prop_assert_eq!(&again, &state, "what is taken in is all there is");
            for event in &before {
                restored.books.apply(event);
            }
            prop_assert_eq!(restored.books.validate(), Ok(()));
        }
        let _ = restored.stream.restore(&chains, |_| true);
    }

    #[test]
    fn any_bytes_are_refused_with_a_place(mut bytes in prop::collection::vec(any::<u8>(), 0..200), keep in 0_usize..3) {
        let capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: 64, levels_max: 64 };
        let arena = Arena::new(capacity.arena_bytes()).expect("small");
        let mut watched = Watched::new(&arena, capacity);
        let (start, chains) = watched.encode();
        for (from, bytes) in [(&start, &mut bytes.clone()), (&chains, &mut bytes)] {
            let count = (keep * 16).min(from.len()).min(bytes.len());
            bytes[..count].copy_from_slice(&from[..count]);
        }
        let error = watched.stream.restore(&bytes, |_| true);
        prop_assert!(keep > 0 || error.is_err());
        let read = BooksState::read(&bytes);
        prop_assert!(read.is_err(), "{:?}", read);
    }
}

#[test]
fn errors_name_the_place_and_what_was_found() {
    let capacity = Capacity { instruments_max: 2, orders_max: 8, levels_max: 8 };
    let arenas = [0; 8].map(|_| Arena::new(capacity.arena_bytes()).expect("small"));
    let mut watched = Watched::new(&arenas[0], capacity);
    for id in 1..=2 {
        let add = Event {
            order_id: OrderId(id),
            side_number: 1,
            price: Price(5),
            quantity: Quantity(3),
            flags: Flags::LAST,
            ..Event::new(Kind::Add, InstrumentId(1), TimestampNs(0))
        };
        watched.apply(&add);
    }
    let (state, _) = watched.encode();
    // Header, row 0, then of row 1: flags, levels, price, orders, and the two orders of 12 bytes.
    let first_order = HEADER_BYTES + 4 + 4 + 4 + 8 + 4;
    let changed = |place: usize, byte: u8| {
        let mut bytes = state.clone();
        bytes[place] = byte;
        bytes
    };
    let error = |bytes: &[u8], arena| {
        let mut books = Books::new(arena, capacity).expect("the arena is made for it");
        BooksState::read(bytes).and_then(|state| state.restore(&mut books)).expect_err("damaged").to_string()
    };
    assert_eq!(
        error(b"TCKBOOK", &arenas[1]),
        "byte 0: this is no state of books: it begins with [54, 43, 4b, 42, 4f, 4f, 4b, 00]"
    );
    let later = error(&changed(8, 9), &arenas[2]);
    assert!(later.starts_with("byte 8: version 9 of the state of books, 1 is known"), "{later}");
    let double = error(&changed(first_order + 12, 1), &arenas[3]);
    assert_eq!(double, format!("byte {}: 1 is no new order id that can stand here", first_order + 12));
    let empty = error(&changed(first_order + 8, 0), &arenas[4]);
    assert_eq!(empty, format!("byte {}: 0 is no quantity that can stand here", first_order + 8));
    // More than the level's first order leaves room for.
    let mut full = state.clone();
    full[first_order + 20..][..4].fill(u8::MAX);
    let full = error(&full, &arenas[6]);
    assert_eq!(full, format!("byte {}: {} is no quantity that can stand here", first_order + 20, u32::MAX));
    let cut = error(&state[..state.len() - 1], &arenas[5]);
    assert_eq!(cut, format!("byte 0: {} bytes are wanted, {} are there", state.len(), state.len() - 1));
    let other = Capacity { orders_max: 9, ..capacity };
    let arena = Arena::new(other.arena_bytes()).expect("small");
    let mut books = Books::new(&arena, other).expect("the arena is made for it");
    let read = BooksState::read(&state).expect("a state");
    assert_eq!(read.restore(&mut books), Err(StateError::Capacity { state: capacity, books: other }));
    assert_eq!(read.restore(&mut watched.books), Err(StateError::NotNew));
    assert_eq!((read.capacity(), read.live_orders()), (capacity, 2));
}

/// The version's bytes, which later versions must go on to read: two orders, a definition and an anomaly.
#[test]
fn the_bytes_of_version_1() {
    let capacity = Capacity { instruments_max: 2, orders_max: 8, levels_max: 8 };
    let arena = Arena::new(capacity.arena_bytes()).expect("small");
    let mut books = Books::new(&arena, capacity).expect("the arena is made for it");
    let event = |kind, id| Event {
        order_id: OrderId(id),
        side_number: 2,
        price: Price(-5),
        quantity: Quantity(3),
        flags: Flags::LAST,
        ..Event::new(kind, InstrumentId(1), TimestampNs(0))
    };
    for event in
        [event(Kind::InstrumentDefined, 7 << 32 | 9), event(Kind::Add, 1), event(Kind::Add, 2), event(Kind::Delete, 3)]
    {
        books.apply(&event);
    }
    let mut bytes = Vec::new();
    books.encode(&mut bytes);
    let mut expected = b"TCKBOOKS".to_vec();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let longs = |words: &[i64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    expected.extend(words(&[1, 0, 200, 0, 2, 8, 8, 1, 2, 1, 0, 0]));
    // Row 0, and the flags of row 1: stale, defined, anomalies, asks.
    expected.extend(words(&[0, 1 + 16 + 32 + 256]));
    expected.extend(words(&[7, 9]));
    expected.extend(longs(&[0, -5, 3]));
    expected.extend(words(&[0]));
    expected.extend(longs(&[1, 0, 0, 0, 0, 0]));
    expected.extend(words(&[1]));
    expected.extend(longs(&[-5]));
    expected.extend(words(&[2]));
    for id in [1, 2] {
        expected.extend(longs(&[id]));
        expected.extend(words(&[3]));
    }
    expected[LENGTH_OFFSET] = expected.len() as u8;
    assert_eq!(bytes, expected);
}
