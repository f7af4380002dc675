//! What a strategy asks of the depth of a book: what a price would meet, what a quantity would cost, which side is
//! heavier.
//!
//! Every answer is exact: all orders of all books together have less than 2⁶⁴ of quantity, for the maximum of orders is
//! below 2³² and that of an order's quantity 2³²−1; so any sum of quantities fits 64 bits, and any sum of price ×
//! quantity is within ±2¹²⁷. Nothing is copied or allocated. Worst case: a query about a whole side is a step a level.

use crate::book::Book;
use crate::event::Side;
use crate::units::{Price, Quantity};

/// What taking a quantity from one side of a book would meet, best level first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// What can be had: the quantity asked for, or all that the side has.
    pub quantity: Quantity,
    /// Sum of price × quantity, in 1e-9 units times the venue's smallest unit of quantity. Exact; negative at negative
    /// prices.
    pub notional: i128,
    /// Price of the last level touched; `None` when nothing can be had.
    pub worst_price: Option<Price>,
    /// Levels touched, one that is taken in part included.
    pub level_count: u32,
}

impl Sweep {
    /// Average price of what can be had: notional ÷ quantity, rounded to the nearest 1e-9 unit, ties away from zero,
    /// for buyers and sellers alike. `None` when nothing can be had. Cost: one division of 128 bits.
    #[inline]
    pub fn average_price(&self) -> Option<Price> {
        Price::average(self.notional, self.quantity.0)
    }
}

/// How much rests on the best levels of each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imbalance {
    /// Quantity of the bids.
    pub bid_quantity: Quantity,
    /// Quantity of the asks.
    pub ask_quantity: Quantity,
}

impl Imbalance {
    /// (bids − asks) ÷ (bids + asks): 1 with bids alone, −1 with asks alone, `None` with neither.
    #[inline]
    pub fn ratio(&self) -> Option<f64> {
        let (bids, asks) = (i128::from(self.bid_quantity.0), i128::from(self.ask_quantity.0));
        // Subtracted as integers: as floats, great quantities that differ a little would be equal.
        (bids + asks > 0).then(|| (bids - asks) as f64 / (bids + asks) as f64)
    }
}

impl Book<'_> {
    /// The quantity that rests on a side from its best level up to and including `limit`: what a marketable order of
    /// the other side with that limit would meet. Bids count at `limit` and above, asks at `limit` and below. Cost: a
    /// step a level that counts, and one.
    pub fn quantity_within(&self, side: Side, limit: Price) -> Quantity {
        let levels = self.levels(side).take_while(|level| match side {
            Side::Bid => level.price >= limit,
            Side::Ask => level.price <= limit,
        });
        Quantity(levels.map(|level| level.quantity.0).sum())
    }

    /// What taking `quantity` from a side would meet: a buyer asks this of [`Side::Ask`], a seller of [`Side::Bid`].
    /// When there is less, all there is; all is 0 for quantity 0 and for an empty side. The book stays as it is. Cost:
    /// a step a level touched.
    pub fn sweep(&self, side: Side, quantity: Quantity) -> Sweep {
        let mut sweep = Sweep::default();
        let mut wanted = quantity.0;
        let mut levels = self.levels(side);
        while wanted > 0
            && let Some(level) = levels.next()
        {
            let taken = wanted.min(level.quantity.0);
            wanted -= taken;
            sweep.quantity.0 += taken;
            sweep.notional += i128::from(level.price.0) * i128::from(taken);
            sweep.worst_price = Some(level.price);
            sweep.level_count += 1;
        }
        sweep
    }

    /// What rests on the best `levels_max` levels of each side; of a side with fewer, on all of them. Cost: a step a
    /// level.
    pub fn imbalance(&self, levels_max: u32) -> Imbalance {
        let quantity = |side| {
            let levels = self.levels(side).take(levels_max as usize);
            Quantity(levels.map(|level| level.quantity.0).sum())
        };
        Imbalance { bid_quantity: quantity(Side::Bid), ask_quantity: quantity(Side::Ask) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_within_its_bounds_and_tells_great_quantities_apart() {
        let ratio = |bid, ask| Imbalance { bid_quantity: Quantity(bid), ask_quantity: Quantity(ask) }.ratio();
        assert_eq!(ratio(0, 0), None);
        for (bid, ask, expected) in
            [(1, 0, 1.0), (0, 1, -1.0), (3, 1, 0.5), (1, 3, -0.5), (7, 7, 0.0), (u64::MAX, u64::MAX, 0.0)]
        {
            assert_eq!(ratio(bid, ask), Some(expected), "{bid} and {ask}");
        }
        assert_eq!(ratio(u64::MAX, 0), Some(1.0));
        assert!(ratio(u64::MAX, u64::MAX - 1) > Some(0.0) && ratio(u64::MAX - 1, u64::MAX) < Some(0.0));
    }

    #[test]
    fn a_sweep_that_no_book_gives_has_no_average() {
        assert_eq!(Sweep::default().average_price(), None);
        let nonsense = Sweep { quantity: Quantity(1), notional: i128::MIN, ..Sweep::default() };
        assert_eq!(nonsense.average_price(), None);
    }
}
