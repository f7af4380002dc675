//! Which instrument the next message is about: activity falls with rank as 1 / (rank + 10).
//!
//! Drawn in constant time by Walker's alias method with Vose's construction, in integers. Ranks are dealt to
//! instruments at random, so that activity has nothing to do with the locate.

use super::rng::Rng;

/// Added to the rank in the denominator: how flat the top of the ranking is.
pub(crate) const RANK_OFFSET: u64 = 10;

/// Weight of an imagined rank −9; large enough that the least weight keeps many digits.
const WEIGHT_SCALE: u64 = 1 << 36;

/// A column of the alias table: itself below the threshold, its alias from there on.
#[derive(Clone, Copy, Debug)]
struct Column {
    threshold: u32,
    alias: u16,
}

/// The distribution of activity over instruments.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    columns: Box<[Column]>,
    ranked: Box<[u16]>,
}

impl Activity {
    /// For `instruments` (1 to 65,535) instruments, numbered from 0. Cost: linear.
    pub(crate) fn new(instruments: u16, rng: &mut Rng) -> Self {
        let mut ranked: Vec<u16> = (0..instruments).collect();
        rng.shuffle(&mut ranked);

        let count = u64::from(instruments);
        let mut weights = vec![0; usize::from(instruments)];
        for (rank, &index) in (0..).zip(&ranked) {
            weights[usize::from(index)] = WEIGHT_SCALE / (rank + RANK_OFFSET);
        }
        let average: u64 = weights.iter().sum();
        // Each weight times the count, so that the average column holds exactly the sum of the weights.
        let mut shares: Vec<u64> = weights.into_iter().map(|weight| weight * count).collect();
        let mut columns: Vec<Column> = (0..instruments).map(|alias| Column { threshold: u32::MAX, alias }).collect();
        let (mut poor, mut rich): (Vec<u16>, Vec<u16>) =
            (0..instruments).partition(|&index| shares[usize::from(index)] < average);
        while let (Some(&taker), Some(&giver)) = (poor.last(), rich.last()) {
            poor.pop();
            let (taker, given) = (usize::from(taker), usize::from(giver));
            columns[taker] =
                Column { threshold: ((u128::from(shares[taker]) << 32) / u128::from(average)) as u32, alias: giver };
            shares[given] -= average - shares[taker];
            if shares[given] < average {
                rich.pop();
                poor.push(giver);
            }
        }
        Self { columns: columns.into_boxed_slice(), ranked: ranked.into_boxed_slice() }
    }

    /// A random instrument.
    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> u16 {
        let word = rng.next();
        let position = ((word >> 32) * self.columns.len() as u64) >> 32;
        let column = self.columns[position as usize];
        if (word as u32) < column.threshold { position as u16 } else { column.alias }
    }

    /// Instruments, most active first.
    pub(crate) fn ranked(&self) -> &[u16] {
        &self.ranked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_rank() {
        const INSTRUMENTS: u16 = 1_000;
        const DRAWS: u64 = 4_000_000;
        let mut rng = Rng::new(1);
        let activity = Activity::new(INSTRUMENTS, &mut rng);
        let mut counts = vec![0_u64; usize::from(INSTRUMENTS)];
        for _ in 0..DRAWS {
            counts[usize::from(activity.draw(&mut rng))] += 1;
        }
        let whole: f64 = (0..INSTRUMENTS).map(|rank| 1.0 / (f64::from(rank) + 10.0)).sum();
        for rank in [0_u16, 1, 10, 100, 999] {
            let expected = DRAWS as f64 / (f64::from(rank) + 10.0) / whole;
            let found = counts[usize::from(activity.ranked()[usize::from(rank)])] as f64;
            assert!((found - expected).abs() < 6.0 * expected.sqrt(), "rank {rank}: {found} for {expected}");
        }
    }

    #[test]
    fn one_instrument_and_the_most_instruments_work() {
        let mut rng = Rng::new(2);
        assert_eq!(Activity::new(1, &mut rng).draw(&mut rng), 0);
        let activity = Activity::new(u16::MAX, &mut rng);
        assert!((0..100_000).all(|_| activity.draw(&mut rng) < u16::MAX));
    }
}
