//! The instruments of a synthetic market: what they are called, what they cost and how they trade.

use super::rng::{PROBABILITY_ONE, Rng};
use tickcore_feed::protocol::itch50::{Alpha, PRICE4_SCALE, Stock};

/// Highest price that ITCH allows, $200,000, as Price(4).
pub(crate) const PRICE_MAX: u32 = 200_000 * PRICE4_SCALE;

/// Tick from $1 up, and below.
const PENNY_TICK: u32 = PRICE4_SCALE / 100;
const SUB_PENNY_TICK: u32 = 1;

/// A class of opening prices: how many of 1,000 instruments are in it, and its bounds as Price(4).
struct PriceClass {
    per_mille: u32,
    low: u32,
    high: u32,
}

/// From penny stocks to a few that cost as much as a house. The highest leaves room to rise by a quarter.
const PRICE_CLASSES: [PriceClass; 6] = [
    PriceClass { per_mille: 60, low: 500, high: 6_000 },
    PriceClass { per_mille: 200, low: 15_000, high: 100_000 },
    PriceClass { per_mille: 450, low: 100_000, high: 600_000 },
    PriceClass { per_mille: 220, low: 600_000, high: 3_000_000 },
    PriceClass { per_mille: 66, low: 3_000_000, high: 30_000_000 },
    PriceClass { per_mille: 4, low: 30_000_000, high: 1_500_000_000 },
];

/// Usual spread in 1/10,000 of the price: of the most active instrument, and what the least active has more.
const SPREAD_BASIS_POINTS_MIN: u64 = 1;
const SPREAD_BASIS_POINTS_RANGE: u64 = 30;

/// Orders stand at most this many spread units away from the touch, as a power of two.
const DEPTH_BITS_MAX: u32 = 11;

/// One instrument and how its orders are placed.
#[derive(Clone, Debug)]
pub(crate) struct Instrument {
    /// The venue's number, from 1.
    pub(crate) locate: u16,
    /// Symbol.
    pub(crate) stock: Stock,
    /// Step between prices, as Price(4).
    pub(crate) tick: u32,
    /// The price around which the day begins.
    pub(crate) open_price: u32,
    /// The last trade's price; the opening price before the first.
    pub(crate) last_price: u32,
    /// Usual spread, in ticks.
    pub(crate) usual_spread_ticks: u32,
    /// Orders stand up to 2 to this power distance units away from the touch.
    pub(crate) depth_bits: u32,
    /// Shares of a round lot.
    pub(crate) round_lot: u32,
    /// An exchange-traded product.
    pub(crate) is_fund: bool,
    /// Nothing trades while it is halted.
    pub(crate) is_halted: bool,
}

impl Instrument {
    /// The instrument number `index` from 0 of `instruments`, ranked `rank` by activity.
    pub(crate) fn new(index: u16, rank: u16, instruments: u16, rng: &mut Rng) -> Self {
        let class = price_class(rng);
        let tick = if class.high < PRICE4_SCALE { SUB_PENNY_TICK } else { PENNY_TICK };
        let open_price = rng.between(class.low, class.high) / tick * tick;
        let price_ticks = u64::from(open_price / tick);
        let basis_points =
            SPREAD_BASIS_POINTS_MIN + SPREAD_BASIS_POINTS_RANGE * u64::from(rank) / u64::from(instruments);
        let usual_spread_ticks = (price_ticks * basis_points / 10_000).max(1) as u32;
        let mut instrument = Self {
            locate: index + 1,
            stock: symbol(index),
            tick,
            open_price,
            last_price: open_price,
            usual_spread_ticks,
            depth_bits: 0,
            round_lot: round_lot(open_price),
            is_fund: rng.chance(PROBABILITY_ONE / 4),
            is_halted: false,
        };
        // Half the price is as far away as orders get.
        let units = open_price / 2 / (instrument.distance_unit_ticks() * tick);
        instrument.depth_bits = units.max(1).ilog2().min(DEPTH_BITS_MAX);
        instrument
    }

    /// Distances from the touch are multiples of this.
    #[inline]
    pub(crate) fn distance_unit_ticks(&self) -> u32 {
        (self.usual_spread_ticks / 4).max(1)
    }

    /// The shares of a new order: mostly one round lot or a few, often an odd lot, now and then a block.
    #[inline]
    pub(crate) fn order_shares(&self, rng: &mut Rng) -> u32 {
        match rng.below(16) {
            0..=3 => rng.between(1, self.round_lot.max(2) - 1),
            4..=14 => self.round_lot * (1 + rng.runs_of_heads()),
            _ => self.round_lot * rng.between(10, 100),
        }
    }

    /// The nearest legal price at or below (`rounds_up` false) or at or above `price`: at least one tick, at most
    /// [`PRICE_MAX`], whole cents from $1 up.
    #[inline]
    pub(crate) fn legal_price(&self, price: i64, rounds_up: bool) -> u32 {
        let price = price.clamp(i64::from(self.tick), i64::from(PRICE_MAX)) as u32;
        if price < PRICE4_SCALE || price.is_multiple_of(PENNY_TICK) {
            price
        } else if rounds_up {
            price.next_multiple_of(PENNY_TICK)
        } else {
            price / PENNY_TICK * PENNY_TICK
        }
    }
}

fn price_class(rng: &mut Rng) -> &'static PriceClass {
    let mut position = rng.below(1_000);
    for class in &PRICE_CLASSES {
        if position < class.per_mille {
            return class;
        }
        position -= class.per_mille;
    }
    &PRICE_CLASSES[0]
}

/// The round lots of US stocks by price (SEC Rule 600 as of 2025).
const fn round_lot(price: u32) -> u32 {
    match price / PRICE4_SCALE {
        0..=249 => 100,
        250..=999 => 40,
        1_000..=9_999 => 10,
        _ => 1,
    }
}

/// Five letters, in alphabetical order of the index: SAAAA, SAAAB …
fn symbol(index: u16) -> Stock {
    let mut letters = *b"SAAAA   ";
    let mut rest = index;
    for letter in letters[1..5].iter_mut().rev() {
        *letter += (rest % 26) as u8;
        rest /= 26;
    }
    Alpha(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_unique_and_in_alphabetical_order() {
        assert_eq!(symbol(0).trimmed(), b"SAAAA");
        assert_eq!(symbol(27).trimmed(), b"SAABB");
        assert!((1..u16::MAX).all(|index| symbol(index - 1).0 < symbol(index).0));
    }

    #[test]
    fn prices_range_from_sub_penny_to_a_house() {
        let mut rng = Rng::new(1);
        let all: Vec<Instrument> = (0..8_000).map(|index| Instrument::new(index, index, 8_000, &mut rng)).collect();
        let below = |price: u32| all.iter().filter(|instrument| instrument.open_price < price).count();
        assert!((300..700).contains(&below(PRICE4_SCALE)));
        assert!((4_500..6_500).contains(&below(60 * PRICE4_SCALE)));
        assert!((7_900..8_000).contains(&below(3_000 * PRICE4_SCALE)));
        for instrument in &all {
            assert!(instrument.open_price.is_multiple_of(instrument.tick));
            assert!(instrument.open_price <= PRICE_MAX / 4 * 3);
            assert!(instrument.usual_spread_ticks >= 1);
            for _ in 0..100 {
                assert!(instrument.order_shares(&mut rng) >= 1);
            }
        }
    }

    #[test]
    fn only_prices_below_one_dollar_have_fractions_of_a_cent() {
        let mut rng = Rng::new(1);
        let instrument = Instrument { tick: 1, ..Instrument::new(0, 0, 1, &mut rng) };
        assert_eq!(instrument.legal_price(9_999, true), 9_999);
        assert_eq!(instrument.legal_price(10_001, true), 10_100);
        assert_eq!(instrument.legal_price(10_199, false), 10_100);
        assert_eq!(instrument.legal_price(-5, false), 1);
        assert_eq!(instrument.legal_price(i64::MAX, true), PRICE_MAX);
    }
}
