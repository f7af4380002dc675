//! Two numbers by which runs are shown to be the same: one over every BBO change, one over the books at the end.
//!
//! Both are sums over instruments, so they do not depend on how instruments are spread over cores. The definitions are
//! part of the project's contract; test vectors stand in `docs/DESIGN.md` and below.

use crate::bbo::Bbo;
use crate::units::{InstrumentId, OrderId, Price, Quantity, TimestampNs};

/// Ends a side in the state digest.
const END_OF_SIDE: u64 = 0xA5A5_A5A5_A5A5_A5A5;

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[inline]
pub const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[inline]
const fn fold(chain: u64, word: u64) -> u64 {
    mix(chain ^ word)
}

#[inline]
const fn share(instrument: InstrumentId, chain: u64) -> u64 {
    mix(mix(instrument.0 as u64) ^ chain)
}

/// `stream_digest` in the making: a chain per instrument over its BBO changes.
///
/// Memory is taken at construction. Cost of a change: five mixes, about 25 ns.
#[derive(Clone, Debug)]
pub struct StreamDigest {
    chains: Box<[(u64, u64)]>,
    changes: u64,
}

impl StreamDigest {
    /// For instruments up to `instruments_max`.
    pub fn new(instruments_max: u32) -> Self {
        Self { chains: vec![(0, 0); instruments_max as usize + 1].into_boxed_slice(), changes: 0 }
    }

    /// Folds one BBO change in. An instrument above the maximum is ignored: books have none either.
    #[inline]
    pub fn fold(&mut self, instrument: InstrumentId, exchange_time: TimestampNs, bbo: &Bbo) {
        let Some((chain, changes)) = self.chains.get_mut(instrument.index()) else { return };
        *chain = bbo.to_words().into_iter().fold(fold(*chain, exchange_time.0), fold);
        *changes += 1;
        self.changes += 1;
    }

    /// The highest instrument that has a chain.
    pub(crate) const fn instruments_max(&self) -> u32 {
        self.chains.len() as u32 - 1
    }

    /// Every chain that has changes: its instrument, its value, how many.
    pub(crate) fn chains(&self) -> impl Iterator<Item = (InstrumentId, u64, u64)> {
        (0..)
            .zip(&self.chains)
            .filter(|(_, (_, changes))| *changes > 0)
            .map(|(number, &(chain, changes))| (InstrumentId(number), chain, changes))
    }

    /// Takes on the chain of an instrument that has none.
    pub(crate) fn restore_chain(&mut self, instrument: InstrumentId, chain: u64, changes: u64) {
        if let Some(row) = self.chains.get_mut(instrument.index()) {
            *row = (chain, changes);
            self.changes += changes;
        }
    }

    /// BBO changes folded in so far.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The digest of all changes so far.
    pub fn value(&self) -> u64 {
        (0..)
            .zip(&self.chains)
            .filter(|(_, (_, changes))| *changes > 0)
            .fold(0, |sum: u64, (number, (chain, _))| sum.wrapping_add(share(InstrumentId(number), *chain)))
    }
}

/// `state_digest` in the making. The walk over the books says what it meets, in this order: for each instrument with
/// orders the bids, best level first, then [`StateDigest::end_side`], the asks, `end_side`, [`StateDigest::end_instrument`].
#[derive(Clone, Copy, Debug, Default)]
pub struct StateDigest {
    chain: u64,
    sum: u64,
}

impl StateDigest {
    /// A level, before its orders.
    pub const fn level(&mut self, price: Price, order_count: u32) {
        self.chain = fold(self.chain, price.0.cast_unsigned());
        self.chain = fold(self.chain, order_count as u64);
    }

    /// An order, in queue order.
    pub const fn order(&mut self, id: OrderId, quantity: Quantity) {
        self.chain = fold(self.chain, id.0);
        self.chain = fold(self.chain, quantity.0);
    }

    /// After the last level of a side.
    pub const fn end_side(&mut self) {
        self.chain = fold(self.chain, END_OF_SIDE);
    }

    /// After both sides of an instrument that has orders.
    pub const fn end_instrument(&mut self, instrument: InstrumentId) {
        self.sum = self.sum.wrapping_add(share(instrument, self.chain));
        self.chain = 0;
    }

    /// The digest of all instruments so far.
    pub const fn value(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bbo::Quote;

    fn quote(price: i64, quantity: u64) -> Option<Quote> {
        Some(Quote { price: Price(price), quantity: Quantity(quantity) })
    }

    // The expected values were computed by a separate program from the definitions in docs/DESIGN.md.
    #[test]
    fn stream_digest_test_vectors() {
        let mut digest = StreamDigest::new(2);
        assert_eq!(digest.value(), 0);
        digest.fold(InstrumentId(1), TimestampNs(1_000), &Bbo { bid: quote(100_000_000_000, 300), ask: None });
        assert_eq!(digest.value(), 0x216E_6CE7_CE93_BE87);
        digest.fold(
            InstrumentId(2),
            TimestampNs(2_000),
            &Bbo { bid: quote(-1_000_000_000, 1), ask: quote(5_000_000_000, 7) },
        );
        digest.fold(InstrumentId(1), TimestampNs(3_000), &Bbo::default());
        assert_eq!(digest.value(), 0x2EEE_5E0D_87D7_4E7B);
        assert_eq!(digest.changes(), 3);
    }

    #[test]
    fn state_digest_test_vector() {
        let mut digest = StateDigest::default();
        digest.level(Price(100_000_000_000), 2);
        digest.order(OrderId(7), Quantity(100));
        digest.order(OrderId(9), Quantity(50));
        digest.end_side();
        digest.level(Price(101_000_000_000), 1);
        digest.order(OrderId(8), Quantity(25));
        digest.end_side();
        digest.end_instrument(InstrumentId(3));
        assert_eq!(digest.value(), 0x9836_525D_2939_ADCB);
    }
}
