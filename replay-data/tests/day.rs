//! The generated day against a decoder and books that share nothing with the product.

mod support;

use support::Day;
use tickcore_replay_data::generate::{Generator, INSTRUMENTS_MAX, Parameters, generate_to_vec};

const MESSAGES: u64 = 1_500_000;
const INSTRUMENTS: u32 = 2_000;

/// Every type of ITCH 5.0.
const TYPES: &str = "ABCDEFHIJKLNOPQRSUVWXYh";

fn generate(messages: u64, instruments: u32, seed: u64) -> Vec<u8> {
    generate_to_vec(Parameters::new(messages, instruments, seed)).expect("good parameters")
}

fn read(file: &[u8]) -> Day {
    Day::read(file).unwrap_or_else(|rule| panic!("{rule}"))
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

#[test]
fn the_same_parameters_give_the_same_bytes_and_others_do_not() {
    let file = generate(50_000, 100, 1);
    assert_eq!(file, generate(50_000, 100, 1));
    assert_ne!(file, generate(50_000, 100, 2));
    assert_ne!(file, generate(50_000, 101, 1));
    assert_ne!(file, generate(50_001, 100, 1));
    let more_live = Parameters { live_orders_peak: Some(6_000), ..Parameters::new(50_000, 100, 1) };
    assert_ne!(file, generate_to_vec(more_live).expect("good parameters"));
}

#[test]
fn the_bytes_of_a_small_day_are_pinned() {
    // When this fails the generator has changed: raise GENERATOR_VERSION, run the example make_sample, and put the new
    // values here.
    let file = generate(20_000, 50, 42);
    assert_eq!((file.len(), hash(&file)), (616_578, 0xB193_7701_F892_88FA));
}

#[test]
fn chunks_make_the_same_day_and_end_once() {
    let mut generator = Generator::new(Parameters::new(10_000, 20, 3)).expect("good parameters");
    let (mut file, mut chunk) = (Vec::new(), Vec::new());
    while generator.next_chunk(&mut chunk) {
        assert!(!chunk.is_empty());
        file.append(&mut chunk);
    }
    assert_eq!((generator.messages(), generator.messages_made()), (10_000, 10_000));
    assert!(!generator.next_chunk(&mut chunk) && chunk.is_empty());
    assert_eq!(file, generate(10_000, 20, 3));
}

#[test]
fn a_large_day_is_consistent_and_has_the_mix_of_a_real_one() {
    let day = read(&generate(MESSAGES, INSTRUMENTS, 7));
    assert_eq!(day.messages as u64, MESSAGES);
    assert_eq!(day.session_events, "OSQMEC");
    assert_eq!(day.by_type.keys().collect::<String>(), TYPES);

    // Parts in 10,000, from the real days that `generate` states.
    for (message_type, low, high) in [
        ('A', 4_300, 4_500),
        ('F', 50, 100),
        ('D', 4_000, 4_300),
        ('U', 300, 800),
        ('E', 200, 400),
        ('I', 100, 200),
        ('X', 80, 120),
        ('P', 60, 100),
        ('C', 5, 15),
    ] {
        let parts = day.by_type[&message_type] as u64 * 10_000 / MESSAGES;
        assert!((low..=high).contains(&parts), "{parts} parts in 10,000 are {message_type}, not {low} to {high}");
    }

    // 1/(rank + 10) over 2,000 ranks: what the most active 1 % have of the whole.
    let weight = |ranks: std::ops::Range<u32>| ranks.map(|rank| 1.0 / (f64::from(rank) + 10.0)).sum::<f64>();
    let expected = weight(0..INSTRUMENTS / 100) / weight(0..INSTRUMENTS);
    let mut counts: Vec<usize> = day.by_locate.values().copied().collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let top: usize = counts[..INSTRUMENTS as usize / 100].iter().sum();
    let found = top as f64 / counts.iter().sum::<usize>() as f64;
    assert!((found / expected - 1.0).abs() < 0.06, "the top 1 % have {found:.4}, not {expected:.4}");
    // The locates of the most active are not the first.
    let first: usize = day.by_locate.range(1..=INSTRUMENTS as u16 / 100).map(|entry| entry.1).sum();
    assert!(first * 3 < top, "the first 1 % of locates have {first} messages, the top 1 % {top}");

    // Live orders and depth.
    let live_target = MESSAGES as usize / 12;
    assert!((live_target * 97 / 100..live_target * 103 / 100).contains(&day.live_peak), "{} live", day.live_peak);
    assert!(day.orders.len() * 10 < day.live_peak, "{} orders are left", day.orders.len());
    assert!(day.levels_peak * 4 > day.live_peak, "{} levels for {} orders", day.levels_peak, day.live_peak);
    assert!(day.levels_most > 300, "the deepest book has {} levels", day.levels_most);
    assert!((5..100).contains(&day.levels_median), "the median book has {} levels", day.levels_median);

    // Order numbers and lives.
    let per_late = day.by_type[&'A'] / day.late_references.max(1);
    assert!((100..1_000).contains(&per_late), "one order number in {per_late} is late");
    let mut lifetimes = day.lifetimes;
    lifetimes.sort_unstable();
    let percentile = |percent: usize| lifetimes[lifetimes.len() * percent / 100];
    assert!(percentile(50) < 5_000, "the median order lives for {} messages", percentile(50));
    assert!(percentile(90) > MESSAGES as usize / 10, "a tenth live for long: {}", percentile(90));
}

#[test]
fn small_and_odd_days_are_consistent() {
    for (messages, instruments, live_orders_peak, seed) in [
        (Parameters::messages_min(1), 1, None, 0),
        (Parameters::messages_min(3), 3, Some(1), 1),
        (Parameters::messages_min(500), 500, None, u64::MAX),
        (100_000, 1, Some(12_500), 2),
        (100_000, 5_000, None, 3),
    ] {
        let parameters = Parameters { live_orders_peak, ..Parameters::new(messages, instruments, seed) };
        let day = read(&generate_to_vec(parameters).expect("good parameters"));
        assert_eq!(day.messages as u64, messages);
        assert_eq!(day.session_events, "OSQMEC");
        if messages >= 100_000 {
            assert_eq!(day.by_type.keys().collect::<String>(), TYPES);
        }
    }
}

#[test]
fn every_locate_can_be_used() {
    let parameters = Parameters::new(Parameters::messages_min(INSTRUMENTS_MAX), INSTRUMENTS_MAX, 5);
    let day = read(&generate_to_vec(parameters).expect("good parameters"));
    assert_eq!(day.by_type[&'R'], INSTRUMENTS_MAX as usize);
}

/// Without this, a checker that accepts everything would pass all of the above.
#[test]
fn the_checker_sees_damage() {
    let file = generate(20_000, 20, 9);
    let offset_of = |message_type: u8, from: usize| {
        let mut offset = 0;
        let mut number = 0;
        while number < from || file[offset + 2] != message_type {
            offset += 2 + usize::from(u16::from_be_bytes([file[offset], file[offset + 1]]));
            number += 1;
        }
        offset + 2
    };
    let rule_after = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut damaged = file.clone();
        damage(&mut damaged);
        Day::read(&damaged).err().expect("damage is found")
    };
    let (add, delete, execute) = (offset_of(b'A', 5_000), offset_of(b'D', 5_000), offset_of(b'E', 5_000));

    assert!(rule_after(&|file| file[delete + 11] = 0xFF).contains("unknown order"));
    assert!(rule_after(&|file| file[delete + 2] ^= 1).contains("the order is of locate"));
    assert!(rule_after(&|file| file[execute + 19] = 0xFF).contains("shares"));
    assert!(rule_after(&|file| file[add + 5] = 0xFF).contains("time goes back"));
    assert!(rule_after(&|file| file[add] = b'z').contains("unknown type"));
    assert!(rule_after(&|file| file.truncate(file.len() - 1)).contains("ends within"));
    // The same add twice.
    let framed = file[add - 2..add + 36].to_vec();
    assert!(rule_after(&|file| drop(file.splice(add - 2..add - 2, framed.clone()))).contains("used before"));
    // A bid above every ask, or an ask below every bid.
    let price: u32 = if file[add + 19] == b'B' { 2_000_000_000 } else { 100 };
    let price = price.to_be_bytes();
    assert!(rule_after(&|file| file[add + 32..add + 36].copy_from_slice(&price)).contains("bid"));
}
