//! What an engine has made of a session up to some event, as bytes: the content of a checkpoint.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | `TCKENGIN` |
//! | 8 | 4 | version 3 |
//! | 12 | 4 | flags: 1 = a venue's transaction is open, 2 = with the state of a strategy, 4 = with the number of its outputs |
//! | 16 | 8 | sequence of the last event in it |
//! | 24 | 8 | highest exchange time of all events in it |
//! | 32, 40 | 8 each | BBOs published crossed, locked |
//! | 48 | 48 | anomalies by events for all instruments, by kind |
//! | 96, 104, 112 | 8 each | bytes of the strategy's state, the chains and the books, which follow in this order |
//! | 120 | 8 | number of the strategy's last output; in version 1 there was none, and what follows stood here |
//! | 128 | 8 | intents refused behind that output; in version 2 there was none, and what follows stood here |
//!
//! Errors count bytes from the start of the checkpoint's file, where this begins at byte 128.
//!
//! Chains and books are those of `tickcore-book`; the strategy's state is its own. Checksums are the journal's.

use tickcore_book::{
    Anomaly, AnomalyCounts, Books, BooksState, Capacity, Sequence, StateError, StreamDigest, TimestampNs,
};

/// Where in the checkpoint's file this begins.
const STATE_OFFSET: usize = tickcore_journal::CHECKPOINT_STATE_OFFSET;
const MAGIC: [u8; 8] = *b"TCKENGIN";
const VERSION: u32 = 3;
/// Without what was refused; still read.
const VERSION_WITHOUT_REFUSALS: u32 = 2;
/// Without outputs; still read.
const VERSION_MIN: u32 = 1;
const TRANSACTION_OPEN: u32 = 1;
const WITH_STRATEGY: u32 = 2;
const WITH_OUTPUTS: u32 = 4;
const HEADER_BYTES: usize = 136;
/// Of version 2.
const HEADER_BYTES_WITHOUT_REFUSALS: usize = 128;
/// Of version 1.
const HEADER_BYTES_MIN: usize = 120;

/// Why a checkpoint's content cannot be gone on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionStateError {
    /// It begins like no state of a session.
    #[error("byte {STATE_OFFSET}: it is no state of a session: it begins with {found:02x?}")]
    Magic {
        /// The first bytes.
        found: [u8; 8],
    },
    /// Another version wrote it.
    #[error("byte {}: version {found} of the state of a session, {VERSION_MIN} to {VERSION} are known", STATE_OFFSET + 8)]
    Version {
        /// The version that is stated.
        found: u32,
    },
    /// A number that cannot be, or a length that is not that of the bytes.
    #[error("byte {offset}: {found} is no {what} that can stand here")]
    Invalid {
        /// Where it stands in the file.
        offset: usize,
        /// What it was read as.
        what: &'static str,
        /// The number.
        found: u64,
    },
    /// The books or the chains in it.
    #[error("in its books or chains: {0}")]
    Books(StateError),
}

/// What of a session stands beside its books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) sequence: Sequence,
    pub(crate) highest_time: TimestampNs,
    pub(crate) crossed: u64,
    pub(crate) locked: u64,
    pub(crate) common_anomalies: AnomalyCounts,
    pub(crate) is_within_transaction: bool,
    /// The last output of the strategy, where it was there to send them.
    pub(crate) outputs: Option<Sequence>,
    /// Intents of the strategy that were refused behind it.
    pub(crate) refused: u64,
}

/// The state of a session, its headers looked at and the books not yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionState<'b> {
    pub(crate) standing: Standing,
    /// What the strategy gave, where one did.
    pub(crate) strategy: Option<&'b [u8]>,
    pub(crate) chains: &'b [u8],
    pub(crate) books: BooksState<'b>,
    /// Where in the file chains and books begin.
    chains_offset: usize,
    books_offset: usize,
}

/// The state of a session as bytes. Allocates.
pub(crate) fn encode(
    standing: &Standing,
    strategy: Option<&[u8]>,
    stream: &StreamDigest,
    books: &Books<'_>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    let flags = if standing.is_within_transaction { TRANSACTION_OPEN } else { 0 };
    let flags = flags | if strategy.is_some() { WITH_STRATEGY } else { 0 };
    let flags = flags | if standing.outputs.is_some() { WITH_OUTPUTS } else { 0 };
    bytes.extend_from_slice(&flags.to_le_bytes());
    let mut words = vec![standing.sequence.get(), standing.highest_time.get(), standing.crossed, standing.locked];
    words.extend(Anomaly::ALL.map(|anomaly| standing.common_anomalies.of(anomaly)));
    words.extend([0, 0, 0, standing.outputs.unwrap_or_default().get(), standing.refused]);
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    let mut start = bytes.len();
    let mut put_length = |bytes: &mut Vec<u8>, place: usize| {
        let length = (bytes.len() - start) as u64;
        bytes[place..place + 8].copy_from_slice(&length.to_le_bytes());
        start = bytes.len();
    };
    bytes.extend_from_slice(strategy.unwrap_or_default());
    put_length(&mut bytes, 96);
    stream.encode(&mut bytes);
    put_length(&mut bytes, 104);
    books.encode(&mut bytes);
    put_length(&mut bytes, 112);
    bytes
}

impl<'b> SessionState<'b> {
    /// Looks at the headers. Never panics, and allocates nothing.
    pub(crate) fn read(bytes: &'b [u8]) -> Result<Self, SessionStateError> {
        let found = bytes.len() as u64;
        let too_short = SessionStateError::Invalid { offset: STATE_OFFSET, what: "length", found };
        let Some(header) = bytes.first_chunk::<HEADER_BYTES_MIN>() else { return Err(too_short) };
        let half = |offset: usize| header[offset..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let word = |offset: usize| header[offset..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if !header.starts_with(&MAGIC) {
            return Err(SessionStateError::Magic { found: word(0).to_le_bytes() });
        }
        let (header_bytes, known_flags) = match half(8) {
            VERSION_MIN => (HEADER_BYTES_MIN, TRANSACTION_OPEN | WITH_STRATEGY),
            VERSION_WITHOUT_REFUSALS => {
                (HEADER_BYTES_WITHOUT_REFUSALS, TRANSACTION_OPEN | WITH_STRATEGY | WITH_OUTPUTS)
            }
            VERSION => (HEADER_BYTES, TRANSACTION_OPEN | WITH_STRATEGY | WITH_OUTPUTS),
            found => return Err(SessionStateError::Version { found }),
        };
        let Some((whole_header, rest)) = bytes.split_at_checked(header_bytes) else { return Err(too_short) };
        let word_behind = |offset: usize| {
            let bytes = whole_header.get(offset..).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let [output_number, refused] = [HEADER_BYTES_MIN, HEADER_BYTES_WITHOUT_REFUSALS].map(word_behind);
        let flags = half(12);
        let invalid =
            |offset, what| SessionStateError::Invalid { offset: STATE_OFFSET + offset, what, found: word(offset) };
        if flags & !known_flags != 0 {
            return Err(SessionStateError::Invalid {
                offset: STATE_OFFSET + 12,
                what: "set of flags",
                found: flags.into(),
            });
        }
        let mut common_anomalies = AnomalyCounts::default();
        for (anomaly, offset) in Anomaly::ALL.into_iter().zip((48..).step_by(8)) {
            if word(offset) > 1 << 39 {
                return Err(invalid(offset, "number of anomalies"));
            }
            common_anomalies.add(anomaly, word(offset));
        }
        let split = |bytes: &'b [u8], offset, what| {
            let length = usize::try_from(word(offset)).map_err(|_| invalid(offset, what))?;
            bytes.split_at_checked(length).ok_or_else(|| invalid(offset, what))
        };
        let (strategy, rest) = split(rest, 96, "length of a strategy's state")?;
        let (chains, rest) = split(rest, 104, "length of chains")?;
        let (books, behind) = split(rest, 112, "length of books")?;
        let has_strategy = flags & WITH_STRATEGY != 0;
        let has_outputs = flags & WITH_OUTPUTS != 0;
        if !has_outputs && output_number != 0 {
            let offset = STATE_OFFSET + 120;
            return Err(SessionStateError::Invalid { offset, what: "number of outputs", found: output_number });
        }
        if !behind.is_empty() || (!has_strategy && !strategy.is_empty()) {
            return Err(invalid(if has_strategy { 112 } else { 96 }, "length"));
        }
        let books_offset = STATE_OFFSET + bytes.len() - books.len();
        Ok(Self {
            standing: Standing {
                sequence: Sequence(word(16)),
                highest_time: TimestampNs(word(24)),
                crossed: word(32),
                locked: word(40),
                common_anomalies,
                is_within_transaction: flags & TRANSACTION_OPEN != 0,
                outputs: has_outputs.then_some(Sequence(output_number)),
                refused,
            },
            strategy: has_strategy.then_some(strategy),
            chains,
            books: BooksState::read(books).map_err(|error| SessionStateError::Books(error.moved_by(books_offset)))?,
            chains_offset: books_offset - chains.len(),
            books_offset,
        })
    }

    /// What is wrong with the books.
    pub(crate) fn of_books(&self, error: StateError) -> SessionStateError {
        SessionStateError::Books(error.moved_by(self.books_offset))
    }

    /// What is wrong with the chains.
    pub(crate) fn of_chains(&self, error: StateError) -> SessionStateError {
        SessionStateError::Books(error.moved_by(self.chains_offset))
    }

    /// Maxima of the books.
    pub(crate) const fn capacity(&self) -> Capacity {
        self.books.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tickcore_book::{Arena, InstrumentId};

    fn bytes(standing: &Standing, strategy: Option<&[u8]>) -> Vec<u8> {
        let capacity = Capacity { instruments_max: 2, orders_max: 4, levels_max: 4 };
        let arena = Arena::new(capacity.arena_bytes()).expect("small");
        let books = Books::new(&arena, capacity).expect("fits");
        let mut stream = StreamDigest::new(2);
        stream.fold(InstrumentId(1), TimestampNs(7), &books.bbo(InstrumentId(1)));
        encode(standing, strategy, &stream, &books)
    }

    #[test]
    fn what_is_written_is_read() {
        let mut common_anomalies = AnomalyCounts::default();
        common_anomalies.add(Anomaly::Gap, 3);
        let standing = Standing {
            sequence: Sequence(9),
            highest_time: TimestampNs(8),
            crossed: 7,
            locked: 6,
            common_anomalies,
            is_within_transaction: true,
            outputs: None,
            refused: 0,
        };
        for standing in [standing, Standing { outputs: Some(Sequence(5)), refused: 4, ..standing }] {
            check_all(&standing);
        }
    }

    fn check_all(standing: &Standing) {
        for strategy in [None, Some(&[][..]), Some(&b"theirs"[..])] {
            let bytes = bytes(standing, strategy);
            let read = SessionState::read(&bytes).expect("whole");
            assert_eq!((read.standing, read.strategy), (*standing, strategy));
            assert_eq!(read.capacity().orders_max, 4);
            let mut stream = StreamDigest::new(2);
            stream.restore(read.chains, |_| true).expect("whole");
            assert_eq!(stream.changes(), 1);
            for length in 0..bytes.len() {
                assert!(SessionState::read(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
            }
        }
    }

    /// Version 1 ended where the number of outputs stands now, version 2 behind that.
    #[test]
    fn versions_1_and_2_are_read() {
        let standing = Standing { sequence: Sequence(9), outputs: Some(Sequence(7)), ..Standing::default() };
        let mut second = bytes(&standing, Some(b"theirs"));
        second.drain(HEADER_BYTES_WITHOUT_REFUSALS..HEADER_BYTES);
        second[8] = 2;
        let read = SessionState::read(&second).expect("whole");
        assert_eq!((read.standing, read.strategy), (standing, Some(&b"theirs"[..])));
        let standing = Standing { outputs: None, ..standing };
        let mut bytes = bytes(&standing, Some(b"theirs"));
        bytes.drain(HEADER_BYTES_MIN..HEADER_BYTES);
        bytes[8] = 1;
        let read = SessionState::read(&bytes).expect("whole");
        assert_eq!((read.standing, read.strategy), (standing, Some(&b"theirs"[..])));
        bytes[12] |= WITH_OUTPUTS as u8;
        assert!(SessionState::read(&bytes).is_err(), "a flag that it had not");
    }

    /// In the books, in the chains, and in what stands before them: each place is one of the checkpoint's file.
    #[test]
    fn errors_name_the_byte_of_the_file() {
        let whole = bytes(&Standing::default(), None);
        let books = whole.windows(8).rposition(|found| found == b"TCKBOOKS").expect("books");
        let chains = whole.windows(8).position(|found| found == b"TCKCHAIN").expect("chains");
        let message = |place: usize| {
            let mut bytes = whole.clone();
            bytes[place] ^= 0xFF;
            let read = SessionState::read(&bytes);
            let restored = read.and_then(|read| {
                StreamDigest::new(2).restore(read.chains, |_| true).map_err(|error| read.of_chains(error))
            });
            restored.expect_err("changed").to_string()
        };
        for place in [0, 8, 12, books, books + 8, chains, chains + 8] {
            let (message, expected) = (message(place), format!("byte {}: ", STATE_OFFSET + place));
            assert!(message.contains(&expected), "{message}, not {expected}");
        }
    }

    proptest! {
        #[test]
        fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            let mut bytes = bytes(&Standing::default(), Some(b"theirs"));
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Ok(read) = SessionState::read(&bytes) {
                let _ = StreamDigest::new(2).restore(read.chains, |_| true);
            }
        }
    }
}
