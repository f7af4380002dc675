//! The arguments of the scorecard bench.

use crate::cards::{Card, Settings};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Messages of a generated day unless another number is asked for.
pub const MESSAGES_DEFAULT: u64 = 10_000_000;

/// Rounds of a measurement unless another number is asked for.
pub const ROUNDS_DEFAULT: usize = 5;

/// Most rounds that make sense.
pub const ROUNDS_MAX: usize = 99;

/// What the bench is to do.
#[derive(Debug)]
pub enum Command {
    /// Run every card on very little data and look at its answer: what `cargo test --all-targets` gets, which passes no
    /// `--bench`. Other arguments are a test filter and mean nothing here.
    SelfCheck,
    /// Print the help.
    Help,
    /// Say which cards there are.
    List,
    /// Run a card.
    Run {
        /// The card.
        card: &'static Card,
        /// How.
        settings: Settings,
        /// Whether to print JSON.
        json: bool,
    },
}

/// Arguments that make no sense, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl Command {
    /// Understands the arguments of the bench, without the program's name.
    ///
    /// # Errors
    /// For an unknown card or option, and for a value that is missing or impossible.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>, cards: &'static [Card]) -> Result<Self, UsageError> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        if !arguments.iter().any(|argument| argument == "--bench") {
            return Ok(Self::SelfCheck);
        }
        let mut settings = Settings { messages: MESSAGES_DEFAULT, input: None, rounds: ROUNDS_DEFAULT, pace: None };
        let mut card = None;
        let mut json = false;
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            let text = argument.to_string_lossy();
            let mut value_of = |option: &str| rest.next().ok_or_else(|| UsageError(format!("{option} needs a value")));
            match &*text {
                "--bench" => {}
                "--help" | "-h" => return Ok(Self::Help),
                "--json" => json = true,
                "--messages" => settings.messages = number(&text, &value_of(&text)?, u64::MAX)?,
                "--rounds" => settings.rounds = number(&text, &value_of(&text)?, ROUNDS_MAX as u64)? as usize,
                "--pace" => {
                    let pace = value_of(&text)?.to_string_lossy().parse();
                    settings.pace =
                        Some(pace.map_err(|error: tickcore::pace::PaceError| UsageError(error.to_string()))?);
                }
                "--input" => settings.input = Some(PathBuf::from(value_of(&text)?)),
                option if option.starts_with('-') => return Err(UsageError(format!("unknown option {option}"))),
                name if card.is_some() => return Err(UsageError(format!("one card at a time, not also {name}"))),
                name => {
                    let found = cards.iter().find(|card| card.name == name);
                    card = Some(found.ok_or_else(|| UsageError(format!("unknown card {name}")))?);
                }
            }
        }
        Ok(card.map_or(Self::List, |card| Self::Run { card, settings, json }))
    }
}

/// A number from 1; underscores may group its digits.
fn number(option: &str, value: &OsString, max: u64) -> Result<u64, UsageError> {
    let text = value.to_string_lossy().replace('_', "");
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| UsageError(format!("{option} takes a number from 1 to {max}, not {}", value.display())))
}

/// What the bench is and takes.
#[must_use]
pub fn help(cards: &[Card]) -> String {
    let mut text = format!(
        "Runs tickcore against its baselines in one run and holds the figures against their goals.\n\n\
         Usage: cargo bench -p tickcore-latency-bench --bench scorecard -- CARD [OPTIONS]\n\n\
         Options:\n  \
         --json           print one JSON object on stdout\n  \
         --messages N     messages of the generated day [default: {MESSAGES_DEFAULT}]\n  \
         --input FILE     measure on this ITCH 5.0 file, plain, gzip or zstd, not on a generated day\n  \
         --pace PACE      for the card pipeline: also at this pace, such as poisson:1000000 or bursts:1000:10ms\n  \
         --rounds N       rounds of which the median counts [default: {ROUNDS_DEFAULT}]\n  \
         --help           print this\n\n"
    );
    text.push_str(&list(cards));
    text
}

/// The cards that there are.
#[must_use]
pub fn list(cards: &[Card]) -> String {
    let mut text = String::from("Cards:");
    for card in cards {
        let _ = write!(text, "\n  {:<16} {}", card.name, card.summary);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cards::CARDS;

    fn parse(line: &str) -> Result<Command, UsageError> {
        Command::parse(line.split_whitespace().map(OsString::from), CARDS)
    }

    fn fault(line: &str) -> String {
        parse(line).expect_err(line).0
    }

    #[test]
    fn without_bench_it_is_a_self_check_whatever_else_stands_there() {
        for line in ["", "some_test --nocapture", "book", "--frobnicate"] {
            assert!(matches!(parse(line), Ok(Command::SelfCheck)), "{line}");
        }
    }

    #[test]
    fn without_a_card_it_lists_them() {
        assert!(matches!(parse("--bench"), Ok(Command::List)));
        assert!(matches!(parse("--json --bench"), Ok(Command::List)));
        assert!(matches!(parse("--help --bench"), Ok(Command::Help)));
        assert!(list(CARDS).contains("book"));
        assert!(help(CARDS).contains("--messages N"));
    }

    #[test]
    fn a_card_with_its_options() {
        let Ok(Command::Run { card, settings, json }) =
            parse("book --json --messages 20_000_000 --input day.gz --rounds 3 --bench")
        else {
            panic!("a run");
        };
        assert_eq!((card.name, json), ("book", true));
        assert_eq!(settings, Settings { messages: 20_000_000, input: Some("day.gz".into()), rounds: 3, pace: None });

        let Ok(Command::Run { settings, json, .. }) = parse("book --bench") else { panic!("a run") };
        assert!(!json);
        assert_eq!(settings, Settings { messages: MESSAGES_DEFAULT, input: None, rounds: ROUNDS_DEFAULT, pace: None });
        let Ok(Command::Run { settings, .. }) = parse("pipeline --pace bursts:10:1ms --bench") else { panic!("a run") };
        assert_eq!(settings.pace.map(|pace| pace.to_string()).as_deref(), Some("bursts:10:1ms"));
        assert!(fault("pipeline --pace fast --bench").contains("poisson:RATE"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(fault("books --bench"), "unknown card books");
        assert_eq!(fault("book book --bench"), "one card at a time, not also book");
        assert_eq!(fault("book --quick --bench"), "unknown option --quick");
        assert_eq!(fault("--bench book --messages"), "--messages needs a value");
        assert_eq!(
            fault("book --messages -5 --bench"),
            format!("--messages takes a number from 1 to {}, not -5", u64::MAX)
        );
        assert_eq!(fault("book --rounds 0 --bench"), "--rounds takes a number from 1 to 99, not 0");
        assert_eq!(fault("book --rounds 100 --bench"), "--rounds takes a number from 1 to 99, not 100");
    }
}
