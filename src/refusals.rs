//! Intents that were refused, as the output behind them says it.
//!
//! Whether an output ring is full is chance, and a strategy is told. So that a replay can repeat it, each output says in the flags of its
//! event, which no intent has another use for, how many intents were refused since the output before it:
//!
//! | flags of an output | what they say |
//! |---|---|
//! | 0 to 32,767 | so many intents were refused |
//! | 32,768 + n | more were refused: all that inputs between the causes of both caused, and n (32,767 for more) that its own did |
//!
//! Either way a strategy that tries the same again is refused the same again: with more refusals than can be counted, the input that
//! causes the output says which was the first intent that was not refused, but for those that this input caused itself.

use crate::outputs::cause_of;
use tickcore_book::{Event, Flags, Kind, Sequence};

/// Set where there were too many to be counted.
const MANY: u16 = 1 << 15;

/// Intents of a core that were refused since its last output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) count: u64,
    /// The input that caused the last of them, and how many of them it caused.
    cause: Sequence,
    count_of_cause: u64,
}

impl Refusals {
    /// So many, by inputs that cause no more.
    pub(crate) fn earlier(count: u64) -> Self {
        Self { count, ..Self::default() }
    }

    /// One more, which `cause` caused.
    pub(crate) fn add(&mut self, cause: Sequence) {
        let count_of_cause = self.caused_by(cause) + 1;
        *self = Self { count: self.count + 1, cause, count_of_cause };
    }

    fn caused_by(&self, cause: Sequence) -> u64 {
        if self.cause == cause { self.count_of_cause } else { 0 }
    }

    /// As the next output says it, which `cause` causes.
    pub(crate) fn to_flags(self, cause: Sequence) -> Flags {
        let narrow = |count: u64| u16::try_from(count).unwrap_or(u16::MAX).min(MANY - 1);
        Flags(if self.count < MANY.into() { narrow(self.count) } else { MANY | narrow(self.caused_by(cause)) })
    }
}

/// What a recorded output says of the refusals before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordedRefusals {
    /// The output's number.
    pub(crate) number: u64,
    cause: Sequence,
    flags: u16,
}

impl RecordedRefusals {
    /// Those before an output with this number, if there were any.
    pub(crate) fn of(number: Sequence, output: &Event) -> Option<Self> {
        let flags = output.flags.0;
        let is_told = flags != 0 && output.kind() == Some(Kind::OrderIntent);
        is_told.then(|| Self { number: number.get(), cause: cause_of(output), flags })
    }

    /// Whether an intent that `cause` causes was refused, which comes behind `refused` others.
    pub(crate) fn have_another(&self, refused: &Refusals, cause: Sequence) -> bool {
        let (is_before, is_own) = (cause < self.cause, cause == self.cause);
        if self.flags & MANY == 0 {
            (is_before || is_own) && refused.count < self.flags.into()
        } else {
            is_before || is_own && refused.caused_by(cause) < (self.flags & !MANY).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::Intent;
    use proptest::prelude::*;
    use tickcore_book::TimestampNs;

    /// What is recorded of an output that `cause` causes behind refusals.
    fn recorded(refusals: Refusals, cause: Sequence) -> Option<RecordedRefusals> {
        let output = Intent::default().to_event(TimestampNs(0), cause);
        RecordedRefusals::of(Sequence(1), &Event { flags: refusals.to_flags(cause), ..output })
    }

    /// Refuses as it is recorded, and says how many intents of these causes that were until the first was not.
    fn repeated(recorded: Option<RecordedRefusals>, causes: impl Iterator<Item = Sequence>) -> Refusals {
        let mut refusals = Refusals::default();
        for cause in causes {
            if !recorded.is_some_and(|recorded| recorded.have_another(&refusals, cause)) {
                break;
            }
            refusals.add(cause);
        }
        refusals
    }

    /// Refused and sent intents by cause, the last one of all sent.
    fn check(causes: &[u64]) {
        let (sent, refused) = causes.split_last().unwrap();
        let mut refusals = Refusals::default();
        refused.iter().for_each(|&cause| refusals.add(Sequence(cause)));
        let recorded = recorded(refusals, Sequence(*sent));
        assert_eq!(recorded.is_some(), !refused.is_empty());
        assert_eq!(repeated(recorded, causes.iter().map(|&cause| Sequence(cause))), refusals, "{}", refused.len());
    }

    #[test]
    fn more_than_can_be_counted_are_repeated() {
        let most = usize::from(MANY) - 1;
        for (earlier, own) in [(most, 0), (most + 1, 0), (most - 5, 7), (3 * most, 7), (5, most), (1, most)] {
            check(&[vec![3; earlier / 2], vec![5; earlier - earlier / 2], vec![8; own + 1]].concat());
        }
    }

    /// The negative control: with one more that a single input caused, one is let through that was refused.
    #[test]
    fn the_refusals_of_one_input_are_counted_to_their_limit() {
        let mut refusals = Refusals::default();
        (0..=MANY).for_each(|_| refusals.add(Sequence(8)));
        let found = repeated(recorded(refusals, Sequence(8)), (0..).map(|_| Sequence(8)));
        assert_eq!((found.count, refusals.count), (u64::from(MANY) - 1, u64::from(MANY) + 1));
    }

    #[test]
    fn an_intent_that_comes_later_than_the_output_was_not_refused() {
        for count in [3, u64::from(MANY) + 3] {
            let mut refusals = Refusals::default();
            (0..count).for_each(|_| refusals.add(Sequence(4)));
            let recorded = recorded(refusals, Sequence(6)).unwrap();
            assert!(recorded.have_another(&Refusals::default(), Sequence(4)));
            assert!(!recorded.have_another(&Refusals::default(), Sequence(7)));
        }
    }

    #[test]
    fn only_intents_say_it() {
        let other = Event::new(Kind::Add, tickcore_book::InstrumentId(1), TimestampNs(1));
        assert_eq!(RecordedRefusals::of(Sequence(1), &Event { flags: Flags(5), ..other }), None);
    }

    proptest! {
        #[test]
        fn what_was_refused_is_refused_again(steps in prop::collection::vec(0_u64..3, 1..200)) {
            let causes: Vec<u64> = steps.iter().scan(1, |cause, step| { *cause += step; Some(*cause) }).collect();
            check(&causes);
        }
    }
}
