//! Newtypes for everything an event carries, so that no two bare integers stand side by side in a signature.
//!
//! All are `repr(transparent)`, have no invalid bit pattern and can be read straight from a journal record or a ring
//! line. Arithmetic is done on the inner integer where its overflow can be seen; the types themselves only name.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The bare integer.
            #[inline]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    };
}

unit! {
    /// The engine's own number of an event: from 1, without holes. 0 stands before the first.
    Sequence(u64)
}
unit! {
    /// Nanoseconds since the Unix epoch, or since midnight of an unnamed day when the source has no session date.
    TimestampNs(u64)
}
unit! {
    /// The venue's own order number. An order is identified by (instrument, order id).
    OrderId(u64)
}
unit! {
    /// Quantity in the venue's smallest unit: shares, contracts.
    Quantity(u64)
}
unit! {
    /// Dense number of an instrument, from 1 in order of first appearance. 0 means all instruments.
    InstrumentId(u32)
}

impl InstrumentId {
    /// Stands for every instrument of the engine.
    pub const ALL: Self = Self(0);

    /// Position in a table that has one row per instrument and row 0 for "all".
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Sequence {
    /// The number after this one.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A price in units of 1e-9 of the quotation currency (the convention of Databento's DBN), signed.
///
/// `Display` prints the shortest decimal form: `Price(1_500_000_000)` is `1.5`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Price(pub i64);

impl Price {
    /// Units in one whole: 1.0 is `Price(Price::SCALE)`.
    pub const SCALE: i64 = 1_000_000_000;

    /// The bare integer, in 1e-9 units.
    #[inline]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// `sum` ÷ `weight`: the average of prices whose weighted sum is `sum` and whose weights add up to `weight`. Rounded
    /// to the nearest 1e-9 unit, ties away from zero. `None` for weight 0, and beyond what a price can hold.
    #[inline]
    pub(crate) fn average(sum: i128, weight: u64) -> Option<Self> {
        let weight = u128::from(weight);
        let whole = sum.unsigned_abs().checked_div(weight)?;
        let rest = sum.unsigned_abs() - whole * weight;
        let size = whole + u128::from(rest >= weight - rest);
        let average = if sum < 0 { 0_i128.checked_sub_unsigned(size) } else { 0_i128.checked_add_unsigned(size) };
        average.and_then(|average| i64::try_from(average).ok()).map(Self)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = Self::SCALE.unsigned_abs();
        let (whole, mut fraction) = (self.0.unsigned_abs() / scale, self.0.unsigned_abs() % scale);
        let sign = if self.0 < 0 { "-" } else { "" };
        if fraction == 0 {
            return write!(formatter, "{sign}{whole}");
        }
        let mut digits = 9;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        write!(formatter, "{sign}{whole}.{fraction:0digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_prints_its_shortest_decimal_form() {
        for (price, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_500_000_000, "1.5"),
            (-1_500_000_000, "-1.5"),
            (-1, "-0.000000001"),
            (200_000 * Price::SCALE, "200000"),
            (321_450_100_000, "321.4501"),
            (i64::MAX, "9223372036.854775807"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(Price(price).to_string(), text);
        }
    }

    #[test]
    fn an_average_is_the_nearest_unit_and_ties_go_away_from_zero() {
        let most = i128::from(u64::MAX);
        for (sum, weight, average) in [
            (0, 3, Some(0)),
            (1, 3, Some(0)),
            (2, 3, Some(1)),
            (-1, 3, Some(0)),
            (-2, 3, Some(-1)),
            (1, 2, Some(1)),
            (-1, 2, Some(-1)),
            (5, 2, Some(3)),
            (-5, 2, Some(-3)),
            (7, 1, Some(7)),
            (i128::from(i64::MAX) * most, u64::MAX, Some(i64::MAX)),
            (i128::from(i64::MIN) * most, u64::MAX, Some(i64::MIN)),
            (i128::from(i64::MIN) * most + 1, u64::MAX, Some(i64::MIN)),
            (1, 0, None),
            (i128::MAX, 1, None),
            (i128::MIN, 1, None),
        ] {
            assert_eq!(Price::average(sum, weight), average.map(Price), "{sum} / {weight}");
        }
    }
}
