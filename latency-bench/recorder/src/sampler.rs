//! Which events are measured: every N-th.

/// Picks one event in N: the N-th, the 2N-th and so on, so that after M events exactly ⌊M / N⌋ were picked.
///
/// Deterministic, and any N will do. Costs a decrement and a branch that is predicted; switched off it costs the same.
/// Events that repeat with a period are picked evenly only when N and that period have no common factor: take an odd N
/// where the load is made by a loop.
#[derive(Clone, Debug)]
pub struct Sampler {
    interval: u64,
    left: u64,
}

impl Sampler {
    /// Picks one event in `interval`; 0 picks none.
    #[must_use]
    pub const fn new(interval: u32) -> Self {
        // 2⁶⁴ − 1 events never pass, so that off needs no test of its own.
        let interval = if interval == 0 { u64::MAX } else { interval as u64 };
        Self { interval, left: interval }
    }

    /// Whether the event that has just come is one to measure. To be called once for each event.
    #[inline]
    pub fn is_due(&mut self) -> bool {
        self.left -= 1;
        let is_due = self.left == 0;
        if is_due {
            self.left = self.interval;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_in_n_is_picked() {
        for interval in [1, 2, 3, 7, 64, 1_000] {
            let mut sampler = Sampler::new(interval);
            let picked: Vec<u32> = (1..=10_000).filter(|_| sampler.is_due()).collect();
            let wanted: Vec<u32> = (1..=10_000).filter(|event| event % interval == 0).collect();
            assert_eq!(picked, wanted, "one in {interval}");
        }
    }

    #[test]
    fn zero_picks_none() {
        let mut sampler = Sampler::new(0);
        assert!((0..100_000).all(|_| !sampler.is_due()));
    }
}
