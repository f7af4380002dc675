//! How much the books can hold: stated at start, never exceeded, never grown.

/// Maxima of everything that books keep. Memory for them is taken at start; what would go beyond them is a counted
/// [`Capacity`](crate::Anomaly::Capacity) anomaly. Two more are fixed: an order's quantity and a level's total are at most 2³²−1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Instruments, that is the highest [`InstrumentId`](crate::InstrumentId) that has a book.
    pub instruments_max: u32,
    /// Live orders over all books.
    pub orders_max: u32,
    /// Price levels over all books.
    pub levels_max: u32,
}

impl Default for Capacity {
    /// A Nasdaq day with room: 16,384 instruments, 2 Mi live orders, 1 Mi levels.
    fn default() -> Self {
        Self { instruments_max: 1 << 14, orders_max: 1 << 21, levels_max: 1 << 20 }
    }
}

/// A stated maximum that no machine can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} maximum is {found}; it must be from 1 to {limit}")]
pub struct CapacityError {
    /// Which maximum.
    pub what: &'static str,
    /// What was asked for.
    pub found: u32,
    /// The largest value allowed.
    pub limit: u32,
}

/// A part of the books and the memory that it takes: one row of the table that [`Capacity::memory`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRow {
    /// Part of the books.
    pub part: &'static str,
    /// Number of elements.
    pub count: usize,
    /// Bytes of one element.
    pub bytes_each: usize,
}

impl MemoryRow {
    /// Bytes of the whole part.
    pub const fn bytes(&self) -> usize {
        self.count * self.bytes_each
    }
}

impl Capacity {
    /// Largest maximum of orders: they share 32-bit indices with the levels.
    pub const ORDERS_LIMIT: u32 = 1 << 30;
    /// Largest maximum of levels.
    pub const LEVELS_LIMIT: u32 = 1 << 29;
    /// Largest maximum of instruments.
    pub const INSTRUMENTS_LIMIT: u32 = 1 << 24;

    /// Checks that every maximum is from 1 to its limit.
    pub fn check(self) -> Result<Self, CapacityError> {
        for (what, found, limit) in [
            ("instruments", self.instruments_max, Self::INSTRUMENTS_LIMIT),
            ("orders", self.orders_max, Self::ORDERS_LIMIT),
            ("levels", self.levels_max, Self::LEVELS_LIMIT),
        ] {
            if found == 0 || found > limit {
                return Err(CapacityError { what, found, limit });
            }
        }
        Ok(self)
    }

    /// How many order ids dropped at a maximum are remembered, so that later events of them are no further anomalies.
    /// Beyond it their events count as unknown orders.
    pub const fn dropped_orders_max(self) -> usize {
        let share = self.orders_max as usize / 16;
        if share < 1024 { 1024 } else { share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, ArenaError};
    use crate::books::Books;

    const CAPACITY: Capacity = Capacity { instruments_max: 3, orders_max: 32, levels_max: 16 };

    #[test]
    fn maxima_that_cannot_be_are_refused() {
        let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
        for (what, limit, with) in [
            (
                "instruments",
                Capacity::INSTRUMENTS_LIMIT,
                (|found| Capacity { instruments_max: found, ..CAPACITY }) as fn(_) -> _,
            ),
            ("orders", Capacity::ORDERS_LIMIT, |found| Capacity { orders_max: found, ..CAPACITY }),
            ("levels", Capacity::LEVELS_LIMIT, |found| Capacity { levels_max: found, ..CAPACITY }),
        ] {
            for found in [0, limit + 1, u32::MAX] {
                let Err(ArenaError::Capacity(error)) = Books::new(&arena, with(found)) else {
                    panic!("{found} {what}")
                };
                assert_eq!(error, CapacityError { what, found, limit });
            }
        }
        // Nothing of the arena was taken.
        assert!(Books::new(&arena, CAPACITY).is_ok());
    }
}
