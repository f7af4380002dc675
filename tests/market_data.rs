//! Recorded Nasdaq files through the whole command: the BBO changes that another program found, and stated counts.

mod common;

use common::command::{Finish, replay, replay_json, tickcore};
use common::day::put;
use common::market_data::market_data;
use common::reference::for_each_event;
use serde_json::json;
use std::fs;
use tempfile::tempdir;
use tickcore::book::Price;

/// What both an expected and an exported row come to: message number, nanoseconds since midnight, then bid, bid
/// quantity, ask and ask quantity as they are written, 0 and empty for an absent side.
type Change = (u64, u64, [String; 4]);

/// A price in 1e-4 units as the export writes it; no side has the price 0.
fn decimal(price: &str) -> String {
    let price: i64 = price.parse().expect("a price");
    if price == 0 { String::new() } else { Price(price * 100_000).to_string() }
}

fn expected_changes(csv: &str) -> Vec<Change> {
    // The header, and row 1, which is the empty start.
    csv.lines()
        .skip(2)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [message, time, bid, bid_quantity, ask, ask_quantity] = fields[..] else { panic!("{line}") };
            let values = [decimal(bid), bid_quantity.to_owned(), decimal(ask), ask_quantity.to_owned()];
            (message.parse().expect("a number"), time.parse().expect("a time"), values)
        })
        .collect()
}

#[test]
fn one_real_instrument_has_exactly_the_golden_changes() {
    let Some(path) = market_data("itch/runk_AAPL_20200130_first6000.itch") else { return };
    let Some(golden) = market_data("golden/runk_AAPL_20200130_first6000_bbo_changes.csv") else { return };
    let expected = expected_changes(&fs::read_to_string(golden).unwrap());
    assert_eq!(expected.len(), 1_336);
    // Under a name without a date, so that times are nanoseconds since midnight.
    let scratch = tempdir().unwrap();
    let bytes = fs::read(path).unwrap();
    let undated = put(scratch.path(), "head.itch", &bytes);
    let mut message_of = vec![0];
    for_each_event(&bytes, None, |message, _| message_of.push(message));

    let csv = tickcore().arg("export").arg(&undated).args(["--schema", "bbo"]).succeed().stdout;
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some("ts_event,sequence,symbol,bid_px_00,bid_sz_00,bid_ct_00,ask_px_00,ask_sz_00,ask_ct_00")
    );
    let changes: Vec<Change> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [time, sequence, symbol, bid, bid_quantity, _, ask, ask_quantity, _] = fields[..] else {
                panic!("{line}")
            };
            assert_eq!(symbol, "AAPL");
            let sequence: usize = sequence.parse().expect("a sequence");
            let values = [bid, bid_quantity, ask, ask_quantity].map(str::to_owned);
            (message_of[sequence], time.parse().expect("a time"), values)
        })
        .collect();
    assert_eq!(changes.len(), expected.len());
    for (change, expected) in changes.iter().zip(&expected) {
        assert_eq!(change, expected);
    }

    let json = replay_json(&undated).arg("--strict").succeed().json();
    assert_eq!(
        (&json["messages"], &json["bbo_changes"], &json["instruments"]),
        (&json!(6_000), &json!(1_336), &json!(1))
    );
    assert_eq!((&json["crossed"], &json["locked"], &json["stale_instruments"]), (&json!(0), &json!(0), &json!(0)));
    assert!(json["anomalies"].as_object().unwrap().values().all(|count| count == 0), "{json}");
    assert_eq!(json["skipped"], json!({"unknown_type": 0, "malformed": 0, "truncated_bytes": 0}));
}

#[test]
fn the_date_in_the_name_makes_times_moments() {
    let Some(path) = market_data("itch/runk_AAPL_20200130_first6000.itch") else { return };
    let csv = tickcore().arg("export").arg(&path).args(["--schema", "bbo"]).succeed().stdout;
    // 14,400.667465235 s after midnight in New York.
    let first = csv.lines().nth(1).unwrap();
    assert!(first.starts_with("2020-01-30T09:00:00.667465235Z,"), "{first}");
}

#[test]
fn a_real_head_has_its_counts() {
    let Some(path) = market_data("itch/bbekele_20191230_head40k.itch") else { return };
    let json = replay_json(&path).arg("--strict").succeed().json();
    assert_eq!((&json["messages"], &json["instruments"]), (&json!(1_000), &json!(993)));
    let by_type = &json["messages_by_type"];
    assert_eq!((&by_type["S"], &by_type["R"]), (&json!(1), &json!(993)));
}

#[test]
fn a_cut_head_is_read_to_its_last_whole_message() {
    let Some(path) = market_data("itch/lukefasanello_head4k.itch") else { return };
    let json = replay_json(&path).succeed().json();
    assert_eq!((&json["messages"], &json["skipped"]["truncated_bytes"]), (&json!(101), &json!(15)));
    // The cut message begins 15 bytes before the end.
    replay(&path).arg("--strict").fail(1, &["lukefasanello_head4k.itch", "offset 4081", "15 bytes"]);
}
