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
}
