//! Random numbers that are the same on every machine: xoshiro256++ seeded by SplitMix64.
//!
//! Both algorithms are from their authors' papers (Blackman and Vigna, *Scrambled Linear Pseudorandom Number
//! Generators*, 2021; Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014). Every
//! distribution here is made with integers: floating point would bring in a platform's rounding.

/// Parts in one whole of the probabilities given to [`Rng::chance`].
pub(crate) const PROBABILITY_ONE: u32 = 1 << 16;

/// Fractional bits of what [`Rng::exponential`] returns.
pub(crate) const EXPONENTIAL_FRACTION_BITS: u32 = 16;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream of this seed. Every seed is good, 0 too.
    pub(crate) fn new(seed: u64) -> Self {
        let mut counter = seed;
        let state = [(); 4].map(|()| {
            counter = counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
            split_mix_finaliser(counter)
        });
        Self { state }
    }

    /// 64 random bits.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, each as likely as the next to within `bound` / 2³². 0 for a bound of 0.
    #[inline]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A number from `low` to `high`, both included.
    #[inline]
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True `probability` times in [`PROBABILITY_ONE`].
    #[inline]
    pub(crate) fn chance(&mut self, probability: u32) -> bool {
        (self.next() >> 48) < u64::from(probability)
    }

    /// A number from 0 to 2^`bits` − 1 whose logarithm is about uniform: 0, then 1, then 2 to 3, then 4 to 7 … are
    /// equally likely. `bits` is at most 31.
    #[inline]
    pub(crate) fn log_uniform(&mut self, bits: u32) -> u32 {
        let word = self.next();
        let width = ((word >> 32) * u64::from(bits + 1)) >> 32;
        if width == 0 { 0 } else { (1 << (width - 1)) | (word as u32 & ((1 << (width - 1)) - 1)) }
    }

    /// How often an event of probability 1/2 happens before it first fails: 0, 1, 2 … with mean 1.
    #[inline]
    pub(crate) fn runs_of_heads(&mut self) -> u32 {
        self.next().trailing_zeros()
    }

    /// An exponentially distributed number of mean about 1, as fixed point. The logarithm is interpolated linearly
    /// between powers of two, which is off by at most 6 % of one halving.
    #[inline]
    pub(crate) fn exponential(&mut self) -> u64 {
        let word = self.next() | 1;
        let halvings = u64::from(word.leading_zeros());
        let mantissa = (word << halvings) >> (63 - EXPONENTIAL_FRACTION_BITS);
        let minus_log2 = ((halvings + 2) << EXPONENTIAL_FRACTION_BITS) - mantissa;
        // ln 2 in 16 fractional bits.
        (minus_log2 * 45_426) >> 16
    }

    /// Puts `items` into random order (Fisher–Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// The output function of SplitMix64.
const fn split_mix_finaliser(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_published_algorithm() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..6).map(|_| rng.next()).collect();
        assert_eq!(
            first,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386,
                9_228_616_714_210_784_205,
                9_973_669_472_204_895_162
            ]
        );
        assert_eq!(Rng::new(0).state[0], 0xE220_A839_7B1D_CDAF, "first output of SplitMix64 with seed 0");
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_them() {
        let mut rng = Rng::new(7);
        let mut seen = [false; 5];
        for _ in 0..1_000 {
            seen[rng.below(5) as usize] = true;
            assert!((3..=4).contains(&rng.between(3, 4)));
            assert!(rng.log_uniform(6) < 64);
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(rng.below(0), 0);
        assert!(!rng.chance(0));
        assert!(rng.chance(PROBABILITY_ONE));
    }

    #[test]
    fn the_exponential_has_mean_one() {
        let mut rng = Rng::new(11);
        let draws = 1_000_000;
        let sum: u64 = (0..draws).map(|_| rng.exponential()).sum();
        let mean_per_mille = (sum * 1_000 / draws) >> EXPONENTIAL_FRACTION_BITS;
        assert!((950..=1_060).contains(&mean_per_mille), "{mean_per_mille}");
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Rng::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
