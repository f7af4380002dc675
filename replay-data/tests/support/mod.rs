//! A decoder and books of its own: bytes at the offsets of the specification, a map of orders, a map of queues. It
//! shares nothing with the product, so that it can tell whether the product is wrong.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// Payload lengths of the specification.
const LENGTHS: &[(u8, usize)] = &[
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

/// A live order.
pub(crate) struct Order {
    pub(crate) locate: u16,
    pub(crate) side: u8,
    pub(crate) price: u32,
    pub(crate) shares: u32,
    pub(crate) added_at: usize,
}

/// Orders of one side of one instrument, first to last, by price.
type Side = BTreeMap<u32, VecDeque<u64>>;

/// What a pass over a day found.
#[derive(Default)]
pub(crate) struct Day {
    pub(crate) messages: usize,
    pub(crate) by_type: BTreeMap<char, usize>,
    pub(crate) by_locate: BTreeMap<u16, usize>,
    pub(crate) orders: HashMap<u64, Order>,
    pub(crate) live_peak: usize,
    pub(crate) levels_peak: usize,
    /// Levels of the book with the most, at the end of market hours, and of the median book.
    pub(crate) levels_most: usize,
    pub(crate) levels_median: usize,
    /// Whole lives of deleted orders, counted in messages.
    pub(crate) lifetimes: Vec<usize>,
    pub(crate) late_references: usize,
    pub(crate) session_events: String,
    sides: HashMap<(u16, u8), Side>,
    levels: usize,
    in_market_hours: bool,
    halted: HashMap<u16, bool>,
    stocks: HashMap<u16, [u8; 8]>,
    reference_max: u64,
    seen: HashSet<u64>,
    last_ns: u64,
    last_match: u64,
    /// Instruments by match number.
    trades: HashMap<u64, u16>,
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl Day {
    /// Reads a whole day.
    ///
    /// # Errors
    /// Says which rule the first bad message breaks.
    pub(crate) fn read(file: &[u8]) -> Result<Self, String> {
        let mut day = Self::default();
        let mut rest = file;
        while !rest.is_empty() {
            if rest.len() < 2 {
                return Err("the file ends within a length".into());
            }
            let length = number(&rest[..2]) as usize;
            if rest.len() < 2 + length {
                return Err("the file ends within a message".into());
            }
            let payload = &rest[2..2 + length];
            rest = &rest[2 + length..];
            day.message(payload).map_err(|rule| {
                format!("message {} ({}): {rule}", day.messages, char::from(*payload.first().unwrap_or(&b'?')))
            })?;
            day.messages += 1;
        }
        Ok(day)
    }

    fn message(&mut self, payload: &[u8]) -> Result<(), String> {
        let message_type = *payload.first().ok_or("empty")?;
        let length = LENGTHS.iter().find(|entry| entry.0 == message_type).ok_or("unknown type")?.1;
        if payload.len() != length {
            return Err(format!("{} bytes", payload.len()));
        }
        let locate = number(&payload[1..3]) as u16;
        let time_ns = number(&payload[5..11]);
        if time_ns < self.last_ns {
            return Err("time goes back".into());
        }
        self.last_ns = time_ns;
        *self.by_type.entry(char::from(message_type)).or_default() += 1;
        let has_locate = !matches!(message_type, b'S' | b'V' | b'W' | b'K');
        if (locate != 0) != has_locate {
            return Err(format!("locate {locate}"));
        }
        if matches!(message_type, b'A' | b'F' | b'E' | b'C' | b'X' | b'D' | b'U') {
            *self.by_locate.entry(locate).or_default() += 1;
        }

        match message_type {
            b'S' => {
                let code = payload[11];
                self.session_events.push(char::from(code));
                match code {
                    b'Q' => self.in_market_hours = true,
                    b'M' => {
                        self.in_market_hours = false;
                        self.measure_depth();
                    }
                    _ => {}
                }
            }
            b'R' => {
                if usize::from(locate) != self.stocks.len() + 1 {
                    return Err("not in the order of locates".into());
                }
                self.stocks.insert(locate, payload[11..19].try_into().expect("8 bytes"));
            }
            b'A' | b'F' => {
                self.check_stock(locate, &payload[24..32])?;
                let (reference, shares) = (number(&payload[11..19]), number(&payload[20..24]) as u32);
                self.add(reference, locate, payload[19], number(&payload[32..36]) as u32, shares)?;
            }
            b'E' | b'C' => {
                let (reference, shares) = (number(&payload[11..19]), number(&payload[19..23]) as u32);
                if self.halted.get(&locate) == Some(&true) {
                    return Err("executed while halted".into());
                }
                self.check_front(reference)?;
                self.check_match(locate, number(&payload[23..31]))?;
                self.reduce(reference, locate, shares)?;
            }
            b'X' => {
                let (reference, shares) = (number(&payload[11..19]), number(&payload[19..23]) as u32);
                self.reduce(reference, locate, shares)?;
            }
            b'D' => {
                let order = self.remove(number(&payload[11..19]), locate)?;
                self.lifetimes.push(self.messages - order.added_at);
            }
            b'U' => {
                let old = self.remove(number(&payload[11..19]), locate)?;
                let (new_reference, shares) = (number(&payload[19..27]), number(&payload[27..31]) as u32);
                self.add(new_reference, locate, old.side, number(&payload[31..35]) as u32, shares)?;
            }
            b'P' => {
                self.check_stock(locate, &payload[24..32])?;
                self.check_match(locate, number(&payload[36..44]))?;
            }
            b'Q' => {
                self.check_stock(locate, &payload[19..27])?;
                self.check_match(locate, number(&payload[31..39]))?;
            }
            b'B' => {
                let traded = self.trades.get(&number(&payload[11..19])).copied();
                return if traded == Some(locate) { Ok(()) } else { Err(format!("breaks a trade of {traded:?}")) };
            }
            b'H' => {
                self.check_stock(locate, &payload[11..19])?;
                self.halted.insert(locate, payload[19] != b'T');
            }
            b'h' => {
                self.check_stock(locate, &payload[11..19])?;
                self.halted.insert(locate, payload[20] == b'H');
            }
            b'I' => self.check_stock(locate, &payload[28..36])?,
            b'Y' | b'J' | b'N' | b'O' => self.check_stock(locate, &payload[11..19])?,
            b'L' => self.check_stock(locate, &payload[15..23])?,
            _ => {}
        }
        self.live_peak = self.live_peak.max(self.orders.len());
        self.levels_peak = self.levels_peak.max(self.levels);
        if locate != 0 { self.check_uncrossed(locate) } else { Ok(()) }
    }

    fn check_stock(&self, locate: u16, stock: &[u8]) -> Result<(), String> {
        if self.stocks.get(&locate).is_some_and(|known| known == stock) {
            Ok(())
        } else {
            Err(format!("locate {locate} is not {}", stock.escape_ascii()))
        }
    }

    fn check_match(&mut self, locate: u16, match_number: u64) -> Result<(), String> {
        if match_number <= self.last_match {
            return Err(format!("match {match_number} after {}", self.last_match));
        }
        self.last_match = match_number;
        self.trades.insert(match_number, locate);
        Ok(())
    }

    fn check_uncrossed(&self, locate: u16) -> Result<(), String> {
        let bid = self.sides.get(&(locate, b'B')).and_then(|side| side.last_key_value()).map(|level| *level.0);
        let ask = self.sides.get(&(locate, b'S')).and_then(|side| side.first_key_value()).map(|level| *level.0);
        match (bid, ask) {
            (Some(bid), Some(ask)) if bid >= ask => {
                Err(format!("bid {bid}, ask {ask}, market hours: {}", self.in_market_hours))
            }
            _ => Ok(()),
        }
    }

    fn check_front(&self, reference: u64) -> Result<(), String> {
        let order = self.orders.get(&reference).ok_or("unknown order")?;
        let side = &self.sides[&(order.locate, order.side)];
        let best = if order.side == b'B' { side.last_key_value() } else { side.first_key_value() };
        let front = best.and_then(|level| level.1.front());
        if front == Some(&reference) { Ok(()) } else { Err(format!("{front:?} was to trade before {reference}")) }
    }

    fn add(&mut self, reference: u64, locate: u16, side: u8, price: u32, shares: u32) -> Result<(), String> {
        if !self.seen.insert(reference) {
            return Err(format!("reference {reference} was used before"));
        }
        if shares == 0 || !matches!(side, b'B' | b'S') || price == 0 || price > 2_000_000_000 {
            return Err(format!("shares {shares}, side {side}, price {price}"));
        }
        if price >= 10_000 && !price.is_multiple_of(100) {
            return Err(format!("price {price} has fractions of a cent"));
        }
        self.late_references += usize::from(reference < self.reference_max);
        self.reference_max = self.reference_max.max(reference);
        self.orders.insert(reference, Order { locate, side, price, shares, added_at: self.messages });
        let queue = self.sides.entry((locate, side)).or_default().entry(price).or_default();
        self.levels += usize::from(queue.is_empty());
        queue.push_back(reference);
        Ok(())
    }

    fn reduce(&mut self, reference: u64, locate: u16, shares: u32) -> Result<(), String> {
        let order = self.orders.get_mut(&reference).ok_or("unknown order")?;
        if order.locate != locate {
            return Err(format!("the order is of locate {}", order.locate));
        }
        if shares == 0 || shares > order.shares {
            return Err(format!("{shares} of {} shares", order.shares));
        }
        order.shares -= shares;
        if order.shares == 0 {
            self.remove(reference, locate)?;
        }
        Ok(())
    }

    fn remove(&mut self, reference: u64, locate: u16) -> Result<Order, String> {
        let order = self.orders.remove(&reference).ok_or("unknown order")?;
        if order.locate != locate {
            return Err(format!("the order is of locate {}", order.locate));
        }
        let side = self.sides.get_mut(&(locate, order.side)).expect("a live order has its side");
        let queue = side.get_mut(&order.price).expect("a live order has its level");
        let position = queue.iter().position(|&other| other == reference).expect("a live order is in its queue");
        queue.remove(position);
        if queue.is_empty() {
            side.remove(&order.price);
            self.levels -= 1;
        }
        Ok(order)
    }

    fn measure_depth(&mut self) {
        let mut depths: Vec<usize> = (1..=self.stocks.len() as u16)
            .map(|locate| {
                [b'B', b'S'].iter().filter_map(|&side| self.sides.get(&(locate, side))).map(BTreeMap::len).sum()
            })
            .collect();
        depths.sort_unstable();
        (self.levels_most, self.levels_median) = (depths[depths.len() - 1], depths[depths.len() / 2]);
    }
}
