//! The top of a book.

use crate::event::Side;
use crate::units::{Price, Quantity};

/// The best level of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Best price.
    pub price: Price,
    /// Total quantity of all orders at it.
    pub quantity: Quantity,
}

/// Best bid and offer: the best price of each side with its total quantity. `None` where a side has no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bbo {
    /// Best bid.
    pub bid: Option<Quote>,
    /// Best ask.
    pub ask: Option<Quote>,
}

/// How the two sides of a book stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Bid below ask, or a side is empty.
    Normal,
    /// Bid equals ask.
    Locked,
    /// Bid above ask.
    Crossed,
}

impl Bbo {
    /// The quote of one side.
    #[inline]
    pub const fn side(&self, side: Side) -> Option<Quote> {
        match side {
            Side::Bid => self.bid,
            Side::Ask => self.ask,
        }
    }

    /// The four words of a digest and of a [`BboUpdate`](crate::Kind::BboUpdate): bid price, bid quantity, ask price, ask
    /// quantity; an absent side is 0, 0.
    #[inline]
    pub fn to_words(&self) -> [u64; 4] {
        let words = |quote: Option<Quote>| {
            quote.map_or((0, 0), |quote| (quote.price.get().cast_unsigned(), quote.quantity.get()))
        };
        let ((bid_price, bid_quantity), (ask_price, ask_quantity)) = (words(self.bid), words(self.ask));
        [bid_price, bid_quantity, ask_price, ask_quantity]
    }

    /// Whether the book is locked or crossed.
    #[inline]
    pub fn standing(&self) -> Standing {
        match (self.bid, self.ask) {
            (Some(bid), Some(ask)) if bid.price > ask.price => Standing::Crossed,
            (Some(bid), Some(ask)) if bid.price == ask.price => Standing::Locked,
            _ => Standing::Normal,
        }
    }

    /// Ask less bid, negative in a crossed book; `None` when a side is empty. A spread that no [`Price`] can hold (of
    /// more than 9 billion) is the nearest that one can.
    #[inline]
    pub fn spread(&self) -> Option<Price> {
        Some(Price(self.ask?.price.0.saturating_sub(self.bid?.price.0)))
    }

    /// Half way between bid and ask; `None` when a side is empty. Where that is between two 1e-9 units, the one farther
    /// from zero.
    #[inline]
    pub fn mid_price(&self) -> Option<Price> {
        Price::average(i128::from(self.bid?.price.0) + i128::from(self.ask?.price.0), 2)
    }

    /// Bid and ask averaged, each weighted with the quantity of the other side, so that it leans away from the heavier
    /// one: (bid price × ask quantity + ask price × bid quantity) ÷ (bid quantity + ask quantity). Rounded to the
    /// nearest 1e-9 unit, ties away from zero. `None` when a side is empty, and for quantities that together are 0 or
    /// above 2⁶⁴−1, which no book has.
    #[inline]
    pub fn micro_price(&self) -> Option<Price> {
        let (bid, ask) = (self.bid?, self.ask?);
        // With a total of 64 bits the sum of the products has fewer than 128.
        let total = bid.quantity.0.checked_add(ask.quantity.0)?;
        let weighted = |price: Price, quantity: Quantity| i128::from(price.0) * i128::from(quantity.0);
        Price::average(weighted(bid.price, ask.quantity) + weighted(ask.price, bid.quantity), total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bbo(bid: (i64, u64), ask: (i64, u64)) -> Bbo {
        let quote = |(price, quantity)| Some(Quote { price: Price(price), quantity: Quantity(quantity) });
        Bbo { bid: quote(bid), ask: quote(ask) }
    }

    #[test]
    fn spread_mid_and_micro_price() {
        for (bid, ask, spread, mid, micro) in [
            ((100, 30), (110, 10), 10, 105, Some(108)),
            ((100, 10), (110, 30), 10, 105, Some(103)),
            ((-11, 1), (-10, 1), 1, -11, Some(-11)),
            ((10, 1), (11, 1), 1, 11, Some(11)),
            ((5, 7), (5, 9), 0, 5, Some(5)),
            ((12, 1), (10, 1), -2, 11, Some(11)),
            ((i64::MIN, 1), (i64::MAX, 1), i64::MAX, -1, Some(-1)),
            ((i64::MAX, u64::MAX - 1), (i64::MIN, 1), i64::MIN, -1, Some(i64::MIN + 1)),
            ((i64::MAX, 1 << 63), (i64::MAX, (1 << 63) - 1), 0, i64::MAX, Some(i64::MAX)),
            ((i64::MIN, 1 << 63), (i64::MIN, (1 << 63) - 1), 0, i64::MIN, Some(i64::MIN)),
            ((1, 1 << 63), (3, 1 << 63), 2, 2, None),
            ((1, 0), (3, 0), 2, 2, None),
        ] {
            let bbo = bbo(bid, ask);
            assert_eq!(bbo.spread(), Some(Price(spread)), "{bbo:?}");
            assert_eq!(bbo.mid_price(), Some(Price(mid)), "{bbo:?}");
            assert_eq!(bbo.micro_price(), micro.map(Price), "{bbo:?}");
        }
    }

    #[test]
    fn an_empty_side_has_neither_spread_nor_mid_nor_micro_price() {
        let both = bbo((1, 1), (2, 2));
        for bbo in [Bbo { bid: None, ..both }, Bbo { ask: None, ..both }, Bbo::default()] {
            assert_eq!((bbo.spread(), bbo.mid_price(), bbo.micro_price()), (None, None, None));
        }
    }
}
