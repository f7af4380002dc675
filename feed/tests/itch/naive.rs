//! The obvious decoder: fields read by offset and length straight from the protocol's table, a map of locates, a vector
//! per message. It shares no code with the product and is what the product is compared with.

use crate::{Words, tail};
use std::collections::{HashMap, HashSet};

/// Lengths from the protocol's table.
pub(crate) const LENGTHS: [(u8, usize); 23] = [
    (b'S', 12),
    (b'R', 39),
    (b'H', 25),
    (b'Y', 20),
    (b'L', 26),
    (b'V', 35),
    (b'W', 12),
    (b'K', 28),
    (b'J', 35),
    (b'h', 21),
    (b'A', 36),
    (b'F', 40),
    (b'E', 31),
    (b'C', 36),
    (b'X', 23),
    (b'D', 19),
    (b'U', 35),
    (b'P', 44),
    (b'Q', 40),
    (b'B', 19),
    (b'I', 50),
    (b'N', 20),
    (b'O', 48),
];

pub(crate) const LAST: u16 = 0x80;

/// What became of one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Events(Vec<Words>),
    NoEvent,
    Unknown,
    Malformed,
}

pub(crate) struct NaiveDecoder {
    midnight: u64,
    ids: HashMap<u64, u32>,
    named: HashSet<u64>,
    next_id: u32,
}

/// What became of a whole stream of frames.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamResult {
    pub(crate) events: Vec<Words>,
    pub(crate) messages: u64,
    pub(crate) without_event: u64,
    pub(crate) unknown: u64,
    pub(crate) malformed: u64,
    /// Offset and number of the first message skipped.
    pub(crate) first_skipped: Option<(u64, u64)>,
    pub(crate) frame_bytes: u64,
    pub(crate) truncated_bytes: u64,
    pub(crate) has_end: bool,
    pub(crate) bytes_after_end: u64,
}

fn number(payload: &[u8], offset: usize, length: usize) -> u64 {
    payload[offset..offset + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Letters with the first in the lowest byte.
fn text(payload: &[u8], offset: usize, length: usize) -> u64 {
    payload[offset..offset + length].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn stock_name(payload: &[u8], offset: usize) -> u64 {
    let field = &payload[offset..offset + 8];
    let length = field.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
    text(payload, offset, length)
}

impl NaiveDecoder {
    pub(crate) fn new(midnight: u64, first_id: u32) -> Self {
        Self { midnight, ids: HashMap::new(), named: HashSet::new(), next_id: first_id }
    }

    pub(crate) fn decode(&mut self, payload: &[u8]) -> Outcome {
        let Some(&letter) = payload.first() else { return Outcome::Malformed };
        let Some(&(_, length)) = LENGTHS.iter().find(|(known, _)| *known == letter) else { return Outcome::Unknown };
        if payload.len() != length {
            return Outcome::Malformed;
        }
        let locate = number(payload, 1, 2);
        let time = self.midnight + number(payload, 5, 6);
        let price = |offset| number(payload, offset, 4) * 100_000;
        let side = |offset: usize| match payload[offset] {
            b'B' => Some(1),
            b'S' => Some(2),
            _ => None,
        };
        if letter == b'S' {
            return Outcome::Events(vec![[time, 0, number(payload, 11, 1), 0, 0, 0, tail(0, 13, 0, LAST)]]);
        }
        if b"YLVWKJINO".contains(&letter) {
            return Outcome::NoEvent;
        }
        if locate == 0 {
            return Outcome::Malformed;
        }
        // Words 2 to 5, kind, side, flags, offset of the stock's name.
        let (words, kind, side, flags, name_offset): ([u64; 4], u8, u8, u16, Option<usize>) = match letter {
            b'A' | b'F' => {
                let Some(side) = side(19) else { return Outcome::Malformed };
                let mpid = if letter == b'F' { text(payload, 36, 4) } else { 0 };
                ([number(payload, 11, 8), mpid, price(32), number(payload, 20, 4)], 1, side, 0, Some(24))
            }
            b'E' => ([number(payload, 11, 8), number(payload, 23, 8), 0, number(payload, 19, 4)], 3, 0, 0, None),
            b'C' => {
                let flags = match payload[31] {
                    b'Y' => 0,
                    b'N' => 0x100,
                    _ => return Outcome::Malformed,
                };
                let words = [number(payload, 11, 8), number(payload, 23, 8), price(32), number(payload, 19, 4)];
                (words, 4, 0, flags, None)
            }
            b'X' => ([number(payload, 11, 8), 0, 0, number(payload, 19, 4)], 5, 0, 0, None),
            b'D' => ([number(payload, 11, 8), 0, 0, 0], 6, 0, 0, None),
            b'U' => {
                let words = [number(payload, 11, 8), number(payload, 19, 8), price(31), number(payload, 27, 4)];
                (words, 7, 0, 0, None)
            }
            b'P' => {
                let Some(side) = side(19) else { return Outcome::Malformed };
                ([0, number(payload, 36, 8), price(32), number(payload, 20, 4)], 8, side, 0, Some(24))
            }
            b'Q' => {
                let words = [number(payload, 39, 1), number(payload, 31, 8), price(27), number(payload, 11, 8)];
                (words, 9, 0, 0, Some(19))
            }
            b'B' => ([0, number(payload, 11, 8), 0, 0], 10, 0, 0, None),
            b'H' => ([number(payload, 19, 1), text(payload, 21, 4), 0, 0], 12, 0, 0, Some(11)),
            b'h' => ([number(payload, 20, 1), 0, number(payload, 19, 1), 0], 12, 0, 0, Some(11)),
            b'R' => {
                let codes = text(payload, 19, 2) | text(payload, 25, 6) << 16;
                ([2 << 32 | locate, codes, 0, number(payload, 21, 4)], 14, 0, 0, Some(11))
            }
            _ => unreachable!("all types are above"),
        };
        let is_new = !self.ids.contains_key(&locate);
        let next_id = self.next_id;
        let id = *self.ids.entry(locate).or_insert(next_id);
        self.next_id += u32::from(is_new);
        let [second, third, fourth, fifth] = words;
        let event = [time, 0, second, third, fourth, fifth, tail(id, kind, side, LAST | flags)];
        let name = name_offset.map(|offset| [time, 0, stock_name(payload, offset), 0, 0, 0, tail(id, 15, 0, LAST)]);
        let definition = [time, 0, 2 << 32 | locate, 0, 0, 0, tail(id, 14, 0, LAST)];
        let mut events = Vec::new();
        if letter == b'R' {
            events.push(event);
            events.extend(name);
        } else {
            if is_new {
                events.push(definition);
            }
            if !self.named.contains(&locate) {
                events.extend(name);
            }
            events.push(event);
        }
        if name.is_some() {
            self.named.insert(locate);
        }
        Outcome::Events(events)
    }

    pub(crate) fn decode_stream(mut self, bytes: &[u8]) -> StreamResult {
        let mut result = StreamResult::default();
        let mut position = 0;
        while position + 2 <= bytes.len() {
            let length = number(bytes, position, 2) as usize;
            if length == 0 {
                position += 2;
                result.has_end = true;
                result.bytes_after_end = (bytes.len() - position) as u64;
                break;
            }
            if position + 2 + length > bytes.len() {
                break;
            }
            result.messages += 1;
            let outcome = self.decode(&bytes[position + 2..position + 2 + length]);
            if matches!(outcome, Outcome::Unknown | Outcome::Malformed) && result.first_skipped.is_none() {
                result.first_skipped = Some((position as u64, result.messages));
            }
            match outcome {
                Outcome::Events(events) => result.events.extend(events),
                Outcome::NoEvent => result.without_event += 1,
                Outcome::Unknown => result.unknown += 1,
                Outcome::Malformed => result.malformed += 1,
            }
            position += 2 + length;
        }
        result.frame_bytes = position as u64;
        if !result.has_end {
            result.truncated_bytes = (bytes.len() - position) as u64;
        }
        result
    }
}
