//! What no recorded data covers (U, C, F, Q, B, status, halts), as messages written by hand, through the whole command:
//! every line that comes out is compared literally.

mod common;

use common::command::{Finish, journal, replay, replay_json, tickcore};
use common::day::put;
use common::wire::{
    Order, Wire, add, add_with_mpid, broken, cancelled, cross, deleted, directory, executed, executed_at,
    operational_halt, replaced, system_event, trade, trading_action,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::tempdir;

/// One message of each kind that matters, two instruments, one microsecond apart.
fn session() -> Wire {
    let mut wire = Wire::default();
    let mut messages = Vec::new();
    let us = 1_000;
    messages.push(system_event(us, b'O')); // sequence 1
    messages.push(directory(7, 2 * us, "HAND")); // 2, 3
    messages.push(directory(9, 3 * us, "OTHER.A")); // 4, 5
    messages.push(trading_action(7, 4 * us, "HAND", b'T', b"    ")); // 6
    messages.push(add(7, 5 * us, 100, Order(b'B', 300, "HAND", 1_000_000))); // 7
    messages.push(add_with_mpid(7, 6 * us, 101, Order(b'B', 200, "HAND", 1_000_000), b"ABCD")); // 8
    messages.push(add(7, 7 * us, 102, Order(b'S', 500, "HAND", 1_005_000))); // 9
    messages.push(add(9, 8 * us, 100, Order(b'S', 10, "OTHER.A", 5_001))); // 10
    messages.push(executed(7, 9 * us, 100, 100, 9_001)); // 11
    messages.push(executed_at(7, 10 * us, 100, 50, 9_002, (b'Y', 999_900))); // 12
    messages.push(executed_at(7, 11 * us, 101, 200, 9_003, (b'N', 1_000_100))); // 13
    messages.push(cancelled(7, 12 * us, 102, 100)); // 14
    messages.push(replaced(7, 13 * us, 102, 103, (600, 1_004_900))); // 15
    messages.push(trade(7, 14 * us, Order(b'B', 25, "HAND", 1_002_550), 9_004)); // 16
    messages.push(cross(7, 15 * us, 5_000_000_000, "HAND", 1_003_000, (9_005, b'O'))); // 17
    messages.push(broken(7, 16 * us, 9_002)); // 18
    messages.push(trading_action(7, 17 * us, "HAND", b'H', b"LUDP")); // 19
    messages.push(operational_halt(7, 18 * us, "HAND", b'Q', b'H')); // 20
    messages.push(deleted(7, 19 * us, 100)); // 21
    messages.push(add(7, 20 * us, 104, Order(b'S', 40, "HAND", 1_004_900))); // 22
    messages.iter().for_each(|message| {
        wire.push(message);
    });
    wire
}

fn export(input: &Path, arguments: &[&str]) -> String {
    tickcore().arg("export").arg(input).args(arguments).succeed().stdout
}

fn written(directory: &Path) -> PathBuf {
    put(directory, "hand.itch", &session().bytes)
}

#[test]
fn trades() {
    let scratch = tempdir().unwrap();
    let expected = "\
ts_event,sequence,symbol,side,price,size,match_id,kind,printable
9000,11,HAND,B,100,100,9001,execute,Y
10000,12,HAND,B,99.99,50,9002,execute_at,Y
11000,13,HAND,B,100.01,200,9003,execute_at,N
14000,16,HAND,B,100.255,25,9004,trade,Y
15000,17,HAND,,100.3,5000000000,9005,cross,Y
16000,18,HAND,,,0,9002,break,Y
";
    assert_eq!(export(&written(scratch.path()), &["--schema", "trades"]), expected);
}

#[test]
fn orders() {
    let scratch = tempdir().unwrap();
    // Flags: 128 ends the venue's transaction, 256 is not printable.
    let expected = "\
ts_event,ts_recv,sequence,symbol,kind,side,price,size,order_id,new_order_id,flags
1000,0,1,,session_event,,,0,79,,128
4000,0,6,HAND,status,,,0,84,,128
5000,0,7,HAND,add,B,100,300,100,,128
6000,0,8,HAND,add,B,100,200,101,,128
7000,0,9,HAND,add,A,100.5,500,102,,128
8000,0,10,OTHER.A,add,A,0.5001,10,100,,128
9000,0,11,HAND,execute,,,100,100,,128
10000,0,12,HAND,execute_at,,99.99,50,100,,128
11000,0,13,HAND,execute_at,,100.01,200,101,,384
12000,0,14,HAND,reduce,,,100,102,,128
13000,0,15,HAND,replace,,100.49,600,102,103,128
14000,0,16,HAND,trade,B,100.255,25,0,,128
15000,0,17,HAND,cross,,100.3,5000000000,79,,128
16000,0,18,HAND,break,,,0,0,,128
17000,0,19,HAND,status,,,0,72,,128
18000,0,20,HAND,status,,,0,72,,128
19000,0,21,HAND,delete,,,0,100,,128
20000,0,22,HAND,add,A,100.49,40,104,,128
";
    assert_eq!(export(&written(scratch.path()), &["--schema", "mbo"]), expected);
}

#[test]
fn best_prices() {
    let scratch = tempdir().unwrap();
    let input = written(scratch.path());
    let expected = "\
ts_event,sequence,symbol,bid_px_00,bid_sz_00,bid_ct_00,ask_px_00,ask_sz_00,ask_ct_00
5000,7,HAND,100,300,1,,0,0
6000,8,HAND,100,500,2,,0,0
7000,9,HAND,100,500,2,100.5,500,1
8000,10,OTHER.A,,0,0,0.5001,10,1
9000,11,HAND,100,400,2,100.5,500,1
10000,12,HAND,100,350,2,100.5,500,1
11000,13,HAND,100,150,1,100.5,500,1
12000,14,HAND,100,150,1,100.5,400,1
13000,15,HAND,100,150,1,100.49,600,1
19000,21,HAND,,0,0,100.49,600,1
20000,22,HAND,,0,0,100.49,640,2
";
    assert_eq!(export(&input, &["--schema", "bbo"]), expected);
    let of_other: Vec<&str> =
        expected.lines().enumerate().filter(|(row, _)| [0, 4].contains(row)).map(|(_, line)| line).collect();
    assert_eq!(export(&input, &["--schema", "bbo", "--symbols", "OTHER.A"]).lines().collect::<Vec<_>>(), of_other);
    // From its journal come the same bytes, and into a file too.
    let directory = scratch.path().join("journal");
    replay(&input).arg("--journal").arg(&directory).succeed();
    assert_eq!(export(&directory, &["--schema", "bbo"]), expected);
    let file = scratch.path().join("bbo.csv");
    tickcore().arg("export").arg(&input).args(["--schema", "bbo", "-o"]).arg(&file).succeed();
    assert_eq!(std::fs::read_to_string(file).unwrap(), expected);
}

#[test]
fn depth() {
    let scratch = tempdir().unwrap();
    let mut wire = Wire::default();
    wire.push(&directory(1, 1, "DEEP"));
    // A third level moves nothing of the first two; a second order of one level changes its count.
    for (id, side, shares, price) in [
        (1, b'B', 10, 100_000),
        (2, b'B', 20, 99_900),
        (3, b'B', 30, 99_800),
        (4, b'S', 5, 100_100),
        (5, b'B', 7, 99_900),
    ] {
        wire.push(&add(1, id * 10, id, Order(side, shares, "DEEP", price)));
    }
    wire.push(&deleted(1, 60, 1));
    let input = put(scratch.path(), "deep.itch", &wire.bytes);
    let expected = "\
ts_event,sequence,symbol,bid_px_00,bid_sz_00,bid_ct_00,ask_px_00,ask_sz_00,ask_ct_00,\
bid_px_01,bid_sz_01,bid_ct_01,ask_px_01,ask_sz_01,ask_ct_01
10,3,DEEP,10,10,1,,0,0,,0,0,,0,0
20,4,DEEP,10,10,1,,0,0,9.99,20,1,,0,0
40,6,DEEP,10,10,1,10.01,5,1,9.99,20,1,,0,0
50,7,DEEP,10,10,1,10.01,5,1,9.99,27,2,,0,0
60,8,DEEP,9.99,27,2,10.01,5,1,9.98,30,1,,0,0
";
    assert_eq!(export(&input, &["--schema", "mbp-2"]), expected);
    let lines = export(&input, &["--schema", "mbp-1", "--format", "jsonl"]);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        first,
        json!({
            "ts_event": 10, "sequence": 3, "symbol": "DEEP", "bid_px_00": "10", "bid_sz_00": 10, "bid_ct_00": 1,
            "ask_px_00": null, "ask_sz_00": 0, "ask_ct_00": 0,
        })
    );
    assert_eq!(lines.lines().count(), 3);
}

#[test]
fn a_book() {
    let scratch = tempdir().unwrap();
    let input = written(scratch.path());
    let book = |arguments: &[&str]| {
        let mut command = tickcore();
        command.arg("book").arg(&input).args(arguments);
        command
    };
    let text = book(&["--symbol", "HAND"]).succeed().stdout;
    assert!(text.starts_with("HAND after event 22 at 20000\n0 bids on 0 levels, 2 asks on 1 levels\n"), "{text}");
    let earlier = book(&["--symbol", "HAND", "--at", "00:00:00.000008", "--json"]).succeed().json();
    assert_eq!(
        earlier,
        json!({
            "symbol": "HAND", "ts_event": "8000", "sequence": 10, "stale": false,
            "bids": {"levels": 1, "orders": 2, "best": [{"price": "100", "quantity": 500, "orders": 2}]},
            "asks": {"levels": 1, "orders": 1, "best": [{"price": "100.5", "quantity": 500, "orders": 1}]},
        })
    );
    book(&["--symbol", "NONE"]).fail(1, &["NONE"]);
}

#[test]
fn all_of_it_is_in_order() {
    let scratch = tempdir().unwrap();
    let input = written(scratch.path());
    let directory = scratch.path().join("journal");
    let json = replay_json(&input).arg("--strict").arg("--journal").arg(&directory).succeed().json();
    assert_eq!((&json["messages"], &json["events"], &json["live_orders"]), (&json!(20), &json!(22), &json!(3)));
    assert_eq!((&json["levels"], &json["bbo_changes"], &json["locked"]), (&json!(2), &json!(11), &json!(0)));
    assert_eq!(json["times_since_midnight"], true);
    let dump = journal("dump", &directory).args(["--from", "13", "--count", "1"]).succeed().json();
    assert_eq!(
        dump,
        json!({
            "sequence": 13, "kind": "execute_at", "instrument": 1, "exchange_time": 11_000, "receive_time": 0,
            "order_id": 101, "reference": 9_003, "price": 100_010_000_000_u64, "quantity": 200, "side": 0, "flags": 384,
        })
    );
}
