//! FROZEN. The naive book: full depth as most people write it, to be compared with. Not to be improved.
//!
//! A `HashMap` of orders with the standard hasher, a `BTreeMap` of price levels per side, a `VecDeque` of order
//! references per level, and the best prices compared before and after each message. It reads ITCH 5.0 payloads byte by
//! byte. Made for whole and well-formed days: a reference it does not know is ignored, and nothing is counted.
//!
//! Scorecards print the hash of this file ([`SOURCE`]): figures are comparable only between runs that print the same.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// The text of this file.
pub const SOURCE: &str = include_str!("naive.rs");

/// Buyers or sellers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Buy,
    Sell,
}

#[derive(Clone, Debug)]
struct Order {
    locate: u16,
    side: Side,
    price: u32,
    shares: u32,
}

/// The orders at one price, first come first.
#[derive(Clone, Debug, Default)]
struct Level {
    shares: u64,
    queue: VecDeque<u64>,
}

/// Best price and shares at it of both sides; 0, 0 where a side is empty. Prices have four decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NaiveBbo {
    /// Best bid.
    pub bid_price: u32,
    /// Shares at it.
    pub bid_shares: u64,
    /// Best ask.
    pub ask_price: u32,
    /// Shares at it.
    pub ask_shares: u64,
}

#[derive(Clone, Debug, Default)]
struct NaiveBook {
    bids: BTreeMap<u32, Level>,
    asks: BTreeMap<u32, Level>,
}

impl NaiveBook {
    fn bbo(&self) -> NaiveBbo {
        let mut bbo = NaiveBbo::default();
        if let Some((&price, level)) = self.bids.last_key_value() {
            bbo.bid_price = price;
            bbo.bid_shares = level.shares;
        }
        if let Some((&price, level)) = self.asks.first_key_value() {
            bbo.ask_price = price;
            bbo.ask_shares = level.shares;
        }
        bbo
    }

    fn side(&mut self, side: Side) -> &mut BTreeMap<u32, Level> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

/// The books of a day.
#[derive(Clone, Debug, Default)]
pub struct NaiveBooks {
    orders: HashMap<u64, Order>,
    books: HashMap<u16, NaiveBook>,
}

impl NaiveBooks {
    /// No orders.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Orders that are live.
    #[must_use]
    pub fn live_orders(&self) -> usize {
        self.orders.len()
    }

    /// Takes one message, without its length. Says the new BBO of the message's stock if it differs from the old one.
    pub fn on_message(&mut self, message: &[u8]) -> Option<NaiveBbo> {
        let expected_length = match message.first()? {
            b'A' => 36,
            b'F' => 40,
            b'E' => 31,
            b'C' => 36,
            b'X' => 23,
            b'D' => 19,
            b'U' => 35,
            _ => return None,
        };
        if message.len() != expected_length {
            return None;
        }
        let locate = read_u16(message, 1);
        let before = self.bbo(locate);
        match message[0] {
            b'A' | b'F' => {
                let side = if message[19] == b'B' { Side::Buy } else { Side::Sell };
                let shares = read_u32(message, 20);
                let price = read_u32(message, 32);
                self.add(read_u64(message, 11), Order { locate, side, price, shares });
            }
            b'E' | b'C' | b'X' => self.reduce(read_u64(message, 11), read_u32(message, 19)),
            b'D' => {
                self.remove(read_u64(message, 11));
            }
            _ => {
                self.replace(read_u64(message, 11), read_u64(message, 19), read_u32(message, 27), read_u32(message, 31))
            }
        }
        let after = self.bbo(locate);
        if after != before { Some(after) } else { None }
    }

    fn bbo(&self, locate: u16) -> NaiveBbo {
        match self.books.get(&locate) {
            Some(book) => book.bbo(),
            None => NaiveBbo::default(),
        }
    }

    fn add(&mut self, reference: u64, order: Order) {
        let book = self.books.entry(order.locate).or_default();
        let level = book.side(order.side).entry(order.price).or_default();
        level.shares += u64::from(order.shares);
        level.queue.push_back(reference);
        self.orders.insert(reference, order);
    }

    fn reduce(&mut self, reference: u64, shares: u32) {
        let Some(order) = self.orders.get_mut(&reference) else { return };
        if shares >= order.shares {
            self.remove(reference);
            return;
        }
        order.shares -= shares;
        let (locate, side, price) = (order.locate, order.side, order.price);
        if let Some(level) = self.books.get_mut(&locate).and_then(|book| book.side(side).get_mut(&price)) {
            level.shares -= u64::from(shares);
        }
    }

    fn remove(&mut self, reference: u64) -> Option<Order> {
        let order = self.orders.remove(&reference)?;
        let levels = self.books.get_mut(&order.locate)?.side(order.side);
        let level = levels.get_mut(&order.price)?;
        level.shares -= u64::from(order.shares);
        if let Some(position) = level.queue.iter().position(|&queued| queued == reference) {
            level.queue.remove(position);
        }
        if level.queue.is_empty() {
            levels.remove(&order.price);
        }
        Some(order)
    }

    fn replace(&mut self, old_reference: u64, new_reference: u64, shares: u32, price: u32) {
        if let Some(old) = self.remove(old_reference) {
            self.add(new_reference, Order { price, shares, ..old });
        }
    }
}

fn read_u16(message: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes(message[offset..offset + 2].try_into().expect("two bytes"))
}

fn read_u32(message: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(message[offset..offset + 4].try_into().expect("four bytes"))
}

fn read_u64(message: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(message[offset..offset + 8].try_into().expect("eight bytes"))
}
