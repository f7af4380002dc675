//! ITCH 5.0 from bytes to events: vectors written by hand, an obvious decoder as oracle, files of every kind, real data.

mod files;
mod naive;
mod oracle;
mod real_data;
mod vectors;

use tickcore_feed::batch::EventBatch;
use tickcore_feed::source::{Counts, Filled, Source, SourceError};

/// An event as its seven words.
type Words = [u64; 7];

/// Word 6.
const fn tail(instrument: u32, kind: u8, side: u8, flags: u16) -> u64 {
    instrument as u64 | (kind as u64) << 32 | (side as u64) << 40 | (flags as u64) << 48
}

/// Everything that a source gives, in batches of `capacity` events and at most `max_messages` messages each.
fn read_all(source: &mut impl Source, capacity: usize, max_messages: usize) -> (Vec<Words>, Counts) {
    let (events, error) = read_until_error(source, capacity, max_messages);
    assert!(error.is_none(), "{error:?}");
    (events, source.counts().clone())
}

/// Everything that a source gives up to its end or failure.
fn read_until_error(
    source: &mut impl Source,
    capacity: usize,
    max_messages: usize,
) -> (Vec<Words>, Option<SourceError>) {
    let mut batch = EventBatch::new(capacity);
    let mut events = Vec::new();
    loop {
        let messages_before = source.counts().messages;
        let filled = source.fill(&mut batch, max_messages);
        assert!(source.counts().messages - messages_before <= max_messages as u64);
        match filled {
            Ok(Filled::Events) => {
                events.extend(batch.as_slice().iter().map(|event| event.to_words()));
                batch.clear();
            }
            Ok(Filled::Pending) => {
                assert!(batch.is_empty());
                std::thread::yield_now();
            }
            Ok(Filled::End) => {
                assert!(batch.is_empty());
                assert_eq!(source.fill(&mut batch, max_messages).unwrap(), Filled::End, "the end is for ever");
                assert_eq!(source.next_time().unwrap(), None);
                return (events, None);
            }
            Err(error) => {
                assert!(batch.is_empty());
                assert_eq!(source.fill(&mut batch, max_messages).unwrap(), Filled::End, "an error comes once");
                return (events, Some(error));
            }
        }
    }
}
