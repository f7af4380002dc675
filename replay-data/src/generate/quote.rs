//! Where a new order is placed: most within a few ticks of the touch, some far away, never against the other side.
//!
//! Prices move because levels at the touch are consumed and because orders improve on a wide spread; both sides do so
//! alike, which makes the price a random walk. It is kept within a fifth to a quarter of the opening price: beyond, the
//! side that leads away stops improving.

use super::instrument::Instrument;
use super::market::Market;
use super::rng::{PROBABILITY_ONE, Rng};
use tickcore_book::Side;

/// How often an order improves on its side's best price, when the spread is wider than usual and when it is not.
const IMPROVE_WIDE_PROBABILITY: u32 = PROBABILITY_ONE * 3 / 8;
const IMPROVE_PROBABILITY: u32 = PROBABILITY_ONE / 32;

/// A price for a new order of `side`: legal, and better than the best of the other side by no less than a tick.
pub(crate) fn limit_price(market: &Market, instrument: &Instrument, side: Side, rng: &mut Rng) -> u32 {
    let index = instrument.locate - 1;
    let tick = i64::from(instrument.tick);
    // Towards the other side is +, away from it −.
    let sign = match side {
        Side::Bid => 1,
        Side::Ask => -1,
    };
    let own = market.best_price(index, side).map(i64::from);
    let other = market.best_price(index, side.opposite()).map(i64::from);
    let usual_spread = i64::from(instrument.usual_spread_ticks) * tick;

    let price = match (own, other) {
        (Some(own), Some(other)) => {
            let room_ticks = (other - own) * sign / tick - 1;
            let usual_ticks = i64::from(instrument.usual_spread_ticks);
            let is_wide = room_ticks >= usual_ticks;
            let probability = if is_wide { IMPROVE_WIDE_PROBABILITY } else { IMPROVE_PROBABILITY };
            if room_ticks > 0 && may_improve(instrument, side, own) && rng.chance(probability) {
                let most_ticks = if is_wide { (room_ticks - usual_ticks + 1).min(room_ticks) } else { room_ticks };
                own + sign * tick * (1 + i64::from(rng.below(most_ticks as u32)))
            } else {
                own - sign * distance(instrument, rng)
            }
        }
        (Some(own), None) => own - sign * distance(instrument, rng),
        (None, Some(other)) => other - sign * (usual_spread + distance(instrument, rng)),
        (None, None) => i64::from(instrument.last_price) - sign * (usual_spread / 2 + distance(instrument, rng)),
    };
    let price = match (other, side) {
        (Some(other), Side::Bid) => price.min(other - tick),
        (Some(other), Side::Ask) => price.max(other + tick),
        (None, _) => price,
    };
    instrument.legal_price(price, side == Side::Ask)
}

/// Whether a side may lead further: bids not far above the opening price, asks not far below.
fn may_improve(instrument: &Instrument, side: Side, best: i64) -> bool {
    let open = i64::from(instrument.open_price);
    match side {
        Side::Bid => best * 4 < open * 5,
        Side::Ask => best * 5 > open * 4,
    }
}

/// A distance from the touch: 0 and a few ticks mostly, with a long tail.
fn distance(instrument: &Instrument, rng: &mut Rng) -> i64 {
    let bits = match rng.below(16) {
        0..=2 => return 0,
        3..=7 => 4,
        8..=11 => 7,
        _ => instrument.depth_bits,
    };
    let units = rng.log_uniform(bits.min(instrument.depth_bits));
    // Within a unit, any tick: otherwise wide books would stand on a grid.
    let unit_ticks = instrument.distance_unit_ticks();
    let ticks = i64::from(units) * i64::from(unit_ticks) - i64::from(rng.below(unit_ticks.min(units)));
    ticks * i64::from(instrument.tick)
}

#[cfg(test)]
mod tests {
    use super::super::market::NewOrder;
    use super::*;

    #[test]
    fn orders_never_meet_the_other_side_and_mostly_stand_near_the_touch() {
        let mut rng = Rng::new(4);
        for rank in [0, 500, 999] {
            let mut instrument = Instrument::new(0, rank, 1_000, &mut rng);
            instrument.open_price = 500_000;
            instrument.last_price = 500_000;
            instrument.tick = 100;
            instrument.usual_spread_ticks = 1 + u32::from(rank) / 100;
            let mut market = Market::new(1, 1_000);
            let (mut near, mut all) = (0, 0);
            for reference in 1..=1_000 {
                let side = if rng.chance(PROBABILITY_ONE / 2) { Side::Bid } else { Side::Ask };
                let best = market.best_price(0, side);
                let price = limit_price(&market, &instrument, side, &mut rng);
                assert!(price.is_multiple_of(100) && price > 0);
                if let Some(best) = best {
                    all += 1;
                    near += u32::from(best.abs_diff(price) <= 800);
                }
                market.add(NewOrder { reference, price, shares: 1, index: 0, side });
                if let (Some(bid), Some(ask)) = (market.best_price(0, Side::Bid), market.best_price(0, Side::Ask)) {
                    assert!(bid < ask);
                }
            }
            assert!(near * 2 > all, "{near} of {all} are near");
            assert!(market.levels() > 50, "{} levels", market.levels());
        }
    }
}
