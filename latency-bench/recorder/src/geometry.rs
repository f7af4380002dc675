//! How HdrHistogram lays values out in buckets: the arithmetic between a value and the index of its count.
//!
//! Values below 2ᵇ units have a bucket each; from there on every doubling is cut into 2ᵇ⁻¹ equal buckets, where 2ᵇ is the
//! power of two from 2 × 10ᵈ for d significant digits. So a bucket is never wider than a 10ᵈ-th of its values.

/// The layout of one kind of histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Binary places below which values are not told apart.
    unit_bits: u32,
    /// Binary places of the number of buckets of equal width at the bottom.
    sub_bucket_bits: u32,
}

/// Largest number of significant digits that HdrHistogram has.
const DIGITS_MAX: u32 = 5;

impl Geometry {
    /// What recorders use: whole nanoseconds, three digits.
    pub(crate) const NANOSECONDS: Self = Self { unit_bits: 0, sub_bucket_bits: 11 };

    /// The layout for a lowest value that is told from 0 and a number of digits; `None` when no histogram has them.
    pub(crate) fn new(lowest: u64, digits: u32) -> Option<Self> {
        if lowest == 0 || digits > DIGITS_MAX {
            return None;
        }
        let unit_bits = lowest.ilog2();
        let sub_bucket_bits = (2 * 10_u64.pow(digits)).next_power_of_two().ilog2();
        (unit_bits + sub_bucket_bits < 63).then_some(Self { unit_bits, sub_bucket_bits })
    }

    /// Index of the bucket that `value` is in.
    #[inline]
    pub(crate) const fn index_of(self, value: u64) -> usize {
        let bottom_bits = self.unit_bits + self.sub_bucket_bits;
        let value_bits = u64::BITS - (value | ((1 << bottom_bits) - 1)).leading_zeros();
        let doubling = value_bits - bottom_bits;
        let within = (value >> (doubling + self.unit_bits)) as usize;
        // The lower half of the equal buckets exists once, at the bottom: each doubling adds an upper half.
        ((doubling as usize) << (self.sub_bucket_bits - 1)) + within
    }

    /// Smallest and largest value of the bucket with this index; `None` beyond 64 bits.
    pub(crate) fn range_of(self, index: usize) -> Option<(u64, u64)> {
        let half_bits = self.sub_bucket_bits - 1;
        let doubling = (index >> half_bits).saturating_sub(1);
        let within = (index - (doubling << half_bits)) as u64;
        let shift = u32::try_from(doubling).ok()?.checked_add(self.unit_bits)?;
        if shift >= u64::BITS || within.leading_zeros() < shift {
            return None;
        }
        let low = within << shift;
        Some((low, low + ((1 << shift) - 1)))
    }

    /// Doublings that a histogram needs to reach `highest`, the bottom included: what its tools call buckets.
    pub(crate) fn doublings_to(self, highest: u64) -> u32 {
        let value_bits = u64::BITS - highest.leading_zeros();
        value_bits.saturating_sub(self.unit_bits + self.sub_bucket_bits) + 1
    }

    /// Buckets of equal width at the bottom.
    pub(crate) const fn sub_buckets(self) -> u64 {
        1 << self.sub_bucket_bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    #[test]
    fn recorders_have_the_layout_of_three_digits() {
        assert_eq!(Geometry::new(1, 3), Some(Geometry::NANOSECONDS));
        assert_eq!(
            (Geometry::NANOSECONDS.sub_buckets(), Geometry::NANOSECONDS.doublings_to(60_000_000_000)),
            (2_048, 26)
        );
    }

    #[test]
    fn layouts_that_no_histogram_has_are_refused() {
        for (lowest, digits) in [(0, 3), (1, 6), (1 << 60, 3), (u64::MAX, 0)] {
            assert_eq!(Geometry::new(lowest, digits), None, "{lowest} {digits}");
        }
    }

    #[test]
    fn indices_beyond_64_bits_have_no_range() {
        let last = Geometry::NANOSECONDS.index_of(u64::MAX);
        assert_eq!(Geometry::NANOSECONDS.range_of(last).map(|(_, high)| high), Some(u64::MAX));
        for index in [last + 1, last + 5_000, usize::MAX / 2, usize::MAX] {
            assert_eq!(Geometry::NANOSECONDS.range_of(index), None, "{index}");
        }
    }

    proptest! {
        #[test]
        fn buckets_are_those_of_the_hdrhistogram_crate(
            bits in 1_u32..62, random in any::<u64>(), digits in 0_u8..=5, lowest in 1_u64..5_000,
        ) {
            let value = random & ((1 << bits) - 1);
            let geometry = Geometry::new(lowest, digits.into()).unwrap();
            let theirs = Histogram::<u64>::new_with_bounds(lowest, 1 << 62, digits).unwrap();
            let (low, high) = geometry.range_of(geometry.index_of(value)).unwrap();
            prop_assert_eq!(low, theirs.lowest_equivalent(value));
            prop_assert_eq!(high, theirs.highest_equivalent(value));
        }

        #[test]
        fn indices_run_without_holes(index in 0_usize..50_000, digits in 0_u32..=5, lowest in 1_u64..5_000) {
            let geometry = Geometry::new(lowest, digits).unwrap();
            if let (Some((low, high)), Some((next, _))) = (geometry.range_of(index), geometry.range_of(index + 1)) {
                prop_assert_eq!((geometry.index_of(low), geometry.index_of(high)), (index, index));
                prop_assert_eq!(high + 1, next);
            }
        }
    }
}
