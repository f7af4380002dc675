//! The maxima of the books through the built command: at a maximum everything fits, one below it what does not is counted and
//! its book marked, and a journal is replayed with the maxima of the run that wrote it.

mod common;

use common::command::{Finish, identity, journal, tickcore};
use common::day::sample_bytes;
use common::reference::{MIDNIGHT, events_of};
use serde_json::Value;
use std::path::Path;
use tempfile::tempdir;
use tickcore::book::reference::ReferenceBooks;
use tickcore::book::{Anomaly, Capacity, InstrumentId};
use tickcore_replay_data::sample;

const AMPLE: Capacity = Capacity { instruments_max: 1_000, orders_max: 50_000, levels_max: 50_000 };

/// What `replay --json` says of an input with these maxima, or with those that it finds.
fn replayed(input: &Path, capacity: Option<Capacity>, journal: Option<&Path>) -> Value {
    let mut command = tickcore();
    command.arg("replay").arg(input).args(["--json", "--journal-buffer", "32"]);
    if let Some(Capacity { instruments_max, orders_max, levels_max }) = capacity {
        for (option, value) in
            [("--instruments-max", instruments_max), ("--orders-max", orders_max), ("--levels-max", levels_max)]
        {
            command.args([option, &value.to_string()]);
        }
    }
    if let Some(directory) = journal {
        command.arg("--journal").arg(directory);
    }
    command.succeed().json()
}

/// The reference books after the sample, and the most orders and levels that they had on the way.
fn reference(capacity: Capacity) -> (ReferenceBooks, u32, u32) {
    let mut books = ReferenceBooks::new(capacity);
    let (mut orders, mut levels) = (0, 0);
    for event in events_of(&sample_bytes(), Some(MIDNIGHT)) {
        books.apply(&event);
        orders = orders.max(books.live_orders());
        levels = levels.max(books.level_count());
    }
    (books, orders, levels)
}

#[test]
fn at_a_maximum_all_fits_and_one_below_it_nothing_is_lost_silently() {
    let (whole, orders_max, levels_max) = reference(AMPLE);
    let instruments_max = sample::golden().instruments;
    let exact = Capacity { instruments_max, orders_max, levels_max };
    for (what, capacity) in [
        ("at every maximum", exact),
        ("an order above", Capacity { orders_max: orders_max - 1, ..exact }),
        ("a level above", Capacity { levels_max: levels_max - 1, ..exact }),
        ("an instrument above", Capacity { instruments_max: instruments_max - 1, ..exact }),
    ] {
        let (expected, ..) = reference(capacity);
        let json = replayed(&sample::path(), Some(capacity), None);
        let dropped = expected.anomalies(Anomaly::Capacity);
        assert_eq!(json["anomalies"]["capacity"], dropped, "{what}");
        assert_eq!(dropped == 0, capacity == exact, "{what}");
        assert_eq!(json["state_digest"], format!("{:016x}", expected.state_digest()), "{what}");
        let stale = (1..=instruments_max).filter(|&number| expected.is_stale(InstrumentId(number))).count();
        assert_eq!(json["stale_instruments"], stale, "{what}");
        // No book can be marked for an instrument that has none.
        assert_eq!(stale > 0, capacity.instruments_max == instruments_max && capacity != exact, "{what}");
    }
    let json = replayed(&sample::path(), Some(exact), None);
    assert_eq!(json["state_digest"], format!("{:016x}", whole.state_digest()));
}

#[test]
fn a_journal_is_replayed_with_the_maxima_of_its_run() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let (_, orders_max, levels_max) = reference(AMPLE);
    let scarce = Capacity { orders_max: orders_max / 2, levels_max: levels_max / 2, ..AMPLE };
    let run = replayed(&sample::path(), Some(scarce), Some(&directory));
    assert!(run["anomalies"]["capacity"].as_u64() > Some(0), "{run}");
    let stored = journal("info", &directory).arg("--json").succeed().json()["capacity"].clone();
    assert_eq!(stored["orders_max"], scarce.orders_max, "{stored}");

    assert_eq!(identity(&replayed(&directory, None, None)), identity(&run), "unless told otherwise");
    let whole = replayed(&sample::path(), Some(AMPLE), None);
    assert_eq!(whole["anomalies"]["capacity"], 0);
    assert_eq!(identity(&replayed(&directory, Some(AMPLE), None)), identity(&whole), "told otherwise");
}
