//! What a synthetic day is made from, and which values are possible.

use thiserror::Error;

/// Most instruments: an ITCH locate has 16 bits and begins at 1.
pub const INSTRUMENTS_MAX: u32 = u16::MAX as u32;

/// Most messages of a day; real days have up to some hundred million.
pub const MESSAGES_MAX: u64 = 10_000_000_000;

/// A day has at least this many messages for each instrument, plus [`MESSAGES_BASE`].
pub const MESSAGES_PER_INSTRUMENT: u64 = 4;

/// A day has at least this many messages, plus [`MESSAGES_PER_INSTRUMENT`] for each instrument.
pub const MESSAGES_BASE: u64 = 1_000;

/// Most live orders at peak. Each takes about 50 bytes of the generator's memory.
pub const LIVE_ORDERS_MAX: u64 = 8_000_000;

/// A peak needs this many messages per live order: fewer would leave no room in the mix for anything but adding and
/// deleting them.
const MESSAGES_PER_LIVE_ORDER: u64 = 8;

/// The peak unless another is asked for: one live order per so many messages, up to that of a large real day.
const DEFAULT_MESSAGES_PER_LIVE_ORDER: u64 = 12;
const DEFAULT_LIVE_ORDERS_MAX: u64 = 1_000_000;

/// What a day is made from. The same parameters give the same bytes.
///
/// There is no date: ITCH messages carry none. It is given by the name of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Messages of the day, exactly.
    pub messages: u64,
    /// Instruments of the day.
    pub instruments: u32,
    /// Seed of the random numbers; any value.
    pub seed: u64,
    /// Live orders of all instruments at peak, roughly; `None` derives it from `messages`.
    pub live_orders_peak: Option<u64>,
}

/// Why there can be no day of such parameters.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParametersError {
    /// No instruments, or more than locates.
    #[error("{instruments} instruments: give 1 to {INSTRUMENTS_MAX}, the locates that ITCH has")]
    Instruments {
        /// As given.
        instruments: u32,
    },
    /// Fewer messages than the directory and the structure of the day take.
    #[error(
        "{messages} messages: a day of {instruments} instruments has at least {least}; give more messages or fewer instruments"
    )]
    TooFewMessages {
        /// As given.
        messages: u64,
        /// As given.
        instruments: u32,
        /// What is enough.
        least: u64,
    },
    /// More messages than [`MESSAGES_MAX`].
    #[error("{messages} messages: give at most {MESSAGES_MAX}")]
    TooManyMessages {
        /// As given.
        messages: u64,
    },
    /// A peak of 0, above [`LIVE_ORDERS_MAX`], or that so few messages cannot build up and take down.
    #[error(
        "{live_orders_peak} live orders at peak: give 1 to {most}, an eighth of the messages and at most {LIVE_ORDERS_MAX}"
    )]
    LiveOrdersPeak {
        /// As given.
        live_orders_peak: u64,
        /// What these messages allow.
        most: u64,
    },
}

impl Parameters {
    /// A day with the usual number of live orders. Nothing is checked until a generator is made.
    #[must_use]
    pub const fn new(messages: u64, instruments: u32, seed: u64) -> Self {
        Self { messages, instruments, seed, live_orders_peak: None }
    }

    /// Fewest messages for so many instruments.
    #[must_use]
    pub const fn messages_min(instruments: u32) -> u64 {
        instruments as u64 * MESSAGES_PER_INSTRUMENT + MESSAGES_BASE
    }

    /// Whether there can be such a day.
    ///
    /// # Errors
    /// Names the first value that is not possible, and what is.
    pub fn check(&self) -> Result<(), ParametersError> {
        let Self { messages, instruments, live_orders_peak, .. } = *self;
        if !(1..=INSTRUMENTS_MAX).contains(&instruments) {
            return Err(ParametersError::Instruments { instruments });
        }
        let least = Self::messages_min(instruments);
        if messages < least {
            return Err(ParametersError::TooFewMessages { messages, instruments, least });
        }
        if messages > MESSAGES_MAX {
            return Err(ParametersError::TooManyMessages { messages });
        }
        let most = (messages / MESSAGES_PER_LIVE_ORDER).min(LIVE_ORDERS_MAX);
        match live_orders_peak {
            Some(live_orders_peak) if !(1..=most).contains(&live_orders_peak) => {
                Err(ParametersError::LiveOrdersPeak { live_orders_peak, most })
            }
            _ => Ok(()),
        }
    }

    /// Live orders aimed at: as given, or one per twelve messages and at most a million.
    #[must_use]
    pub fn live_orders_target(&self) -> u64 {
        let usual = (self.messages / DEFAULT_MESSAGES_PER_LIVE_ORDER).clamp(1, DEFAULT_LIVE_ORDERS_MAX);
        self.live_orders_peak.unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_holds_at_and_beyond_it() {
        let good = Parameters::new(1_000_000, 100, 1);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Parameters { instruments: INSTRUMENTS_MAX, ..good }.check(), Ok(()));
        for instruments in [0, INSTRUMENTS_MAX + 1] {
            let bad = Parameters { instruments, ..good };
            assert_eq!(bad.check(), Err(ParametersError::Instruments { instruments }));
        }

        assert_eq!(Parameters { messages: 1_400, ..good }.check(), Ok(()));
        let bad = Parameters { messages: 1_399, ..good };
        let error = ParametersError::TooFewMessages { messages: 1_399, instruments: 100, least: 1_400 };
        assert_eq!(bad.check(), Err(error));
        assert!(error.to_string().contains("at least 1400"));

        assert_eq!(Parameters { messages: MESSAGES_MAX, ..good }.check(), Ok(()));
        let messages = MESSAGES_MAX + 1;
        assert_eq!(Parameters { messages, ..good }.check(), Err(ParametersError::TooManyMessages { messages }));

        assert_eq!(Parameters { live_orders_peak: Some(125_000), ..good }.check(), Ok(()));
        for live_orders_peak in [0, 125_001] {
            let bad = Parameters { live_orders_peak: Some(live_orders_peak), ..good };
            assert_eq!(bad.check(), Err(ParametersError::LiveOrdersPeak { live_orders_peak, most: 125_000 }));
        }
    }

    #[test]
    fn the_usual_peak_grows_with_the_day_up_to_a_million() {
        assert_eq!(Parameters::new(1_004, 1, 0).live_orders_target(), 83);
        assert_eq!(Parameters::new(6_000_000, 1, 0).live_orders_target(), 500_000);
        assert_eq!(Parameters::new(400_000_000, 1, 0).live_orders_target(), 1_000_000);
    }
}
