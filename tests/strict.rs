//! Input that does not fit: counted without `--strict`, the end of the run with it, with a message that says where.

mod common;

use common::command::{Finish, replay, replay_json};
use common::day::put;
use common::wire::{Order, Wire, add, cancelled, deleted, directory, executed, replaced};
use serde_json::{Value, json};
use tempfile::tempdir;

const STOCK: Order<'_> = Order(b'B', 100, "HAND", 1_000_000);

/// Two instruments and a live order 1 of the second: sequences 1 to 5.
fn opening() -> Wire {
    let mut wire = Wire::default();
    wire.push(&directory(3, 1, "FIRST"));
    wire.push(&directory(4, 2, "HAND"));
    wire.push(&add(4, 3, 1, STOCK));
    wire
}

struct Case {
    name: &'static str,
    message: Vec<u8>,
    /// Path of the counter in the JSON object.
    counter: [&'static str; 2],
    /// What the message of a strict run says beside input and offset.
    words: &'static [&'static str],
    /// Whether the book is stale afterwards: where an event did not fit, not where a message was skipped.
    is_stale: bool,
}

fn cases() -> Vec<Case> {
    let anomaly =
        |name, message, kind, words| Case { name, message, counter: ["anomalies", kind], words, is_stale: true };
    let skipped =
        |name, message, kind, words| Case { name, message, counter: ["skipped", kind], words, is_stale: false };
    let place = |words: &'static [&'static str]| words;
    let mut cases = vec![
        anomaly(
            "unknown.itch",
            deleted(4, 4, 77),
            "unknown_order",
            place(&["sequence 6", "order 77", "HAND", "instrument 2"]),
        ),
        // The order lives, but in another instrument.
        anomaly(
            "foreign.itch",
            executed(3, 4, 1, 10, 5),
            "unknown_order",
            place(&["sequence 6", "order 1 ", "FIRST", "instrument 1"]),
        ),
        anomaly("twice.itch", add(4, 4, 1, STOCK), "duplicate_order", place(&["sequence 6", "order 1 ", "HAND"])),
        anomaly("overfill.itch", executed(4, 4, 1, 101, 5), "overfill", place(&["sequence 6", "order 1 ", "HAND"])),
        anomaly("reduced.itch", cancelled(4, 4, 1, 200), "overfill", place(&["sequence 6", "order 1 ", "HAND"])),
        anomaly(
            "replaced.itch",
            replaced(4, 4, 9, 10, (1, 1)),
            "unknown_order",
            place(&["sequence 6", "order 9 ", "HAND"]),
        ),
        skipped("type.itch", b"%234567890123".to_vec(), "unknown_type", place(&["'%'"])),
        skipped("length.itch", [deleted(4, 4, 1), vec![0]].concat(), "malformed", place(&["'D'", "19", "20"])),
        skipped("side.itch", add(4, 4, 2, Order(b'Z', 1, "HAND", 1)), "malformed", place(&["'Z'"])),
    ];
    cases.push(Case {
        name: "nothing.itch",
        message: add(4, 4, 2, Order(b'B', 0, "HAND", 1)),
        counter: ["skipped", "malformed"],
        words: place(&["sequence 6", "order 2 ", "HAND"]),
        is_stale: true,
    });
    cases
}

fn total(json: &Value) -> u64 {
    let sum = |key: &str| json[key].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    sum("anomalies") + sum("skipped")
}

#[test]
fn what_does_not_fit_is_counted_or_named() {
    let scratch = tempdir().unwrap();
    for case in cases() {
        let mut wire = opening();
        let offset = wire.push(&case.message);
        // Later ones are further anomalies, which a strict run never sees.
        wire.push(&add(4, 5, 3, STOCK));
        let input = put(scratch.path(), case.name, &wire.bytes);
        let json = replay_json(&input).succeed().json();
        assert_eq!((&json[case.counter[0]][case.counter[1]], total(&json)), (&json!(1), 1), "{}: {json}", case.name);
        assert_eq!(json["stale_instruments"], u64::from(case.is_stale), "{}", case.name);
        for topology in ["inline", "pipelined"] {
            let mut command = replay(&input);
            command.args(["--strict", "--oversubscribe", "--topology", topology]);
            let finished = command.fail(1, case.words);
            let place = format!(
                "{}: {}",
                input.display(),
                if case.words[0].starts_with("seq") { "offset" } else { "after event 5: message" }
            );
            assert!(finished.stderr.contains(&place), "{}: {}", case.name, finished.stderr);
            let words: Vec<&str> = finished.stderr.split([' ', ',', ':', ';', '\n']).collect();
            let named = words.windows(2).find(|pair| pair[0] == "offset").map(|pair| pair[1]);
            assert_eq!(named, Some(offset.to_string().as_str()), "{}: {}", case.name, finished.stderr);
            assert!(finished.stderr.contains("--strict"), "what to do next: {}", finished.stderr);
        }
    }
}

#[test]
fn a_strict_run_takes_what_fits() {
    let scratch = tempdir().unwrap();
    let input = put(scratch.path(), "fine.itch", &opening().bytes);
    let json = replay_json(&input).arg("--strict").succeed().json();
    assert_eq!((total(&json), &json["events"]), (0, &json!(5)));
}

/// Of two faults the first is the one that ends the run, whatever kind each is of.
#[test]
fn the_first_of_several_is_named() {
    let scratch = tempdir().unwrap();
    let (unknown_order, unknown_type) = (deleted(4, 4, 77), b"%234567890123".to_vec());
    for (name, messages, word) in [
        ("order_first.itch", [&unknown_order, &unknown_type], "order 77"),
        ("type_first.itch", [&unknown_type, &unknown_order], "'%'"),
    ] {
        let mut wire = opening();
        messages.into_iter().for_each(|message| {
            wire.push(message);
        });
        let input = put(scratch.path(), name, &wire.bytes);
        replay(&input).arg("--strict").fail(1, &[word]);
    }
}

/// The place is right far into a file, in the second of two files, and when the events come from a journal.
#[test]
fn the_place_is_right_wherever_it_is() {
    let scratch = tempdir().unwrap();
    let first = put(scratch.path(), "a.itch", &opening().bytes);
    let mut wire = opening();
    for id in 10..20_010 {
        wire.push(&add(4, id, id, STOCK));
    }
    let offset = wire.push(&deleted(4, 30_000, 5));
    let second = put(scratch.path(), "b.itch", &wire.bytes);
    let place = |sequence: u64| format!("{}: offset {offset}, sequence {sequence}:", second.display());
    replay(&second).arg("--strict").fail(1, &[&place(5 + 20_000 + 1), "order 5 "]);
    // The first file's five events and the two of the session boundary stand before. Its instruments were 1 and 2.
    let twice = [place(5 + 2 + 5 + 20_000 + 1), "instrument 4 (HAND)".to_owned()];
    replay(&first).arg(&second).arg("--strict").fail(1, &[&twice[0], &twice[1]]);

    let directory = scratch.path().join("journal");
    replay(&second).arg("--journal").arg(&directory).succeed();
    replay(&directory).arg("--strict").fail(1, &["sequence 20006", "order 5 ", "HAND"]);
}

#[test]
fn a_strict_run_keeps_its_journal_in_order() {
    let scratch = tempdir().unwrap();
    let mut wire = opening();
    wire.push(&deleted(4, 4, 77));
    let input = put(scratch.path(), "strict.itch", &wire.bytes);
    let directory = scratch.path().join("journal");
    replay(&input).arg("--strict").arg("--journal").arg(&directory).fail(1, &["order 77"]);
    common::command::journal("verify", &directory).succeed();
    let json = replay_json(&directory).succeed().json();
    assert_eq!((&json["events"], &json["anomalies"]["unknown_order"]), (&json!(6), &json!(1)));
}
