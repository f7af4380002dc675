//! A strategy that sends intents, and what a gateway sees of them.

use std::sync::{Arc, Mutex};
use tickcore::book::{Bbo, Event, InstrumentId, OrderId, Price, Sequence, Side, mix};
use tickcore::outputs::{Intent, OutputConfig, OutputHook, OutputReader, OutputTap, Unsent};
use tickcore::strategy::{Context, Strategy};

/// Sends an intent at some of the BBO changes: which, and what it wants, follows from all that it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trader {
    pub(crate) chain: u64,
    /// Intents that it has tried to send.
    pub(crate) tried: u64,
    pub(crate) refused: u64,
    /// What the engine says of the last one.
    pub(crate) last: Sequence,
    /// The intent whose price is another one than it would be.
    pub(crate) differs_at: Option<u64>,
    /// The intent that it leaves out.
    pub(crate) leaves_out: Option<u64>,
    /// The intent that it leaves out with all behind it.
    pub(crate) stops_at: Option<u64>,
    /// Whether it sends at few changes.
    pub(crate) is_rare: bool,
}

impl Strategy for Trader {
    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, _: &Event) {
        self.chain =
            bbo.to_words().into_iter().fold(self.chain ^ u64::from(instrument.get()), |chain, word| mix(chain ^ word));
        if !self.chain.is_multiple_of(if self.is_rare { 60 } else { 3 }) {
            return;
        }
        self.tried += 1;
        if Some(self.tried) == self.leaves_out || self.stops_at.is_some_and(|number| self.tried >= number) {
            return;
        }
        let side = if self.chain.is_multiple_of(2) { Side::Bid } else { Side::Ask };
        let quote = bbo.side(side);
        let intent = Intent {
            instrument,
            side: Some(side),
            id: OrderId(self.tried),
            target: OrderId(self.tried / 2),
            price: quote.map(|quote| quote.price).unwrap_or_default(),
            quantity: quote.map(|quote| quote.quantity).unwrap_or_default(),
        };
        let is_other = Some(self.tried) == self.differs_at;
        let intent = if is_other { Intent { price: Price(intent.price.get() + 1), ..intent } } else { intent };
        match context.send(&intent) {
            Ok(number) => self.last = number,
            Err(_) => self.refused += 1,
        }
    }

    fn on_batch_end(&mut self, context: &mut Context<'_, '_>) {
        assert_eq!(context.send(&Intent::default()), Err(Unsent::BetweenEvents));
    }

    fn on_end(&mut self, context: &mut Context<'_, '_>) {
        assert_eq!(context.send(&Intent::default()), Err(Unsent::BetweenEvents));
    }

    fn save(&self) -> Option<Vec<u8>> {
        let words = [self.chain, self.tried, self.refused, self.last.get()];
        Some(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    fn load(&mut self, state: &[u8]) -> bool {
        let (words, rest) = state.as_chunks::<8>();
        let [chain, tried, refused, last] = words else { return false };
        let [chain, tried, refused, last] = [chain, tried, refused, last].map(|word| u64::from_le_bytes(*word));
        (self.chain, self.tried, self.refused, self.last) = (chain, tried, refused, Sequence(last));
        rest.is_empty()
    }

    fn twin(&self) -> Option<Self> {
        Some(*self)
    }
}

/// Rings large enough that nothing is refused, with a reader of each core's in its place.
#[derive(Clone, Default)]
pub(crate) struct Gateway(Arc<Mutex<Vec<OutputReader>>>);

/// Outputs of a core: number and event.
pub(crate) type Outputs = Vec<(u64, Event)>;

impl Gateway {
    /// A configuration that leaves the readers here.
    pub(crate) fn config(&self, lines: usize) -> OutputConfig {
        let readers = Arc::clone(&self.0);
        let take = move |tap: OutputTap| readers.lock().unwrap().push(tap.reader().unwrap());
        OutputConfig { lines, readers_max: 1, on_start: OutputHook::new(take) }
    }

    /// What every core sent, once the run is over.
    pub(crate) fn outputs(&self) -> Vec<Outputs> {
        let read = |mut reader: OutputReader| {
            let mut outputs = Vec::new();
            while !reader.is_closed_and_drained() {
                reader.poll(1_000, |number, event| outputs.push((number.get(), *event)));
            }
            outputs
        };
        self.0.lock().unwrap().drain(..).map(read).collect()
    }
}
