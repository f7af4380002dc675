//! ITCH 5.0 messages put together byte by byte from the specification's table of offsets: nothing here is shared with the
//! decoder or encoder of the product.

/// A file of framed messages that knows where each begins.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
}

impl Wire {
    /// Puts a frame around a message: two bytes of length, big-endian. Returns the frame's offset.
    pub(crate) fn push(&mut self, message: &[u8]) -> u64 {
        let offset = self.bytes.len() as u64;
        let length = u16::try_from(message.len()).expect("a message is short");
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(message);
        offset
    }
}

/// Type, stock locate, tracking number, six bytes of nanoseconds since midnight.
fn message(letter: u8, locate: u16, time_ns: u64, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![letter];
    bytes.extend(locate.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(&time_ns.to_be_bytes()[2..]);
    rest.iter().for_each(|part| bytes.extend(*part));
    bytes
}

/// Letters, padded with spaces on the right to eight.
fn padded(stock: &str) -> [u8; 8] {
    let mut field = [b' '; 8];
    field[..stock.len()].copy_from_slice(stock.as_bytes());
    field
}

pub(crate) fn system_event(time_ns: u64, code: u8) -> Vec<u8> {
    message(b'S', 0, time_ns, &[&[code]])
}

pub(crate) fn directory(locate: u16, time_ns: u64, stock: &str) -> Vec<u8> {
    // Market category, financial status, lot of 100, flags and sub-type letters as of a common stock.
    let middle = [b'Q', b'N', 0, 0, 0, 100, b'N', b'C', b'Z', b' ', b'P', b'N', b' ', b'1', b'N', 0, 0, 0, 0, b'N'];
    message(b'R', locate, time_ns, &[&padded(stock), &middle])
}

pub(crate) fn trading_action(locate: u16, time_ns: u64, stock: &str, state: u8, reason: &[u8; 4]) -> Vec<u8> {
    message(b'H', locate, time_ns, &[&padded(stock), &[state, b' '], reason])
}

pub(crate) fn operational_halt(locate: u16, time_ns: u64, stock: &str, market: u8, action: u8) -> Vec<u8> {
    message(b'h', locate, time_ns, &[&padded(stock), &[market, action]])
}

/// Side, shares, stock and price of a new order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'o>(pub(crate) u8, pub(crate) u32, pub(crate) &'o str, pub(crate) u32);

pub(crate) fn add(locate: u16, time_ns: u64, id: u64, order: Order<'_>) -> Vec<u8> {
    let Order(side, shares, stock, price) = order;
    let (id, shares, price) = (id.to_be_bytes(), shares.to_be_bytes(), price.to_be_bytes());
    message(b'A', locate, time_ns, &[&id, &[side], &shares, &padded(stock), &price])
}

pub(crate) fn add_with_mpid(locate: u16, time_ns: u64, id: u64, order: Order<'_>, mpid: &[u8; 4]) -> Vec<u8> {
    let mut bytes = add(locate, time_ns, id, order);
    bytes[0] = b'F';
    bytes.extend(mpid);
    bytes
}

pub(crate) fn executed(locate: u16, time_ns: u64, id: u64, shares: u32, match_id: u64) -> Vec<u8> {
    message(b'E', locate, time_ns, &[&id.to_be_bytes(), &shares.to_be_bytes(), &match_id.to_be_bytes()])
}

pub(crate) fn executed_at(
    locate: u16,
    time_ns: u64,
    id: u64,
    shares: u32,
    match_id: u64,
    (printable, price): (u8, u32),
) -> Vec<u8> {
    let mut bytes = executed(locate, time_ns, id, shares, match_id);
    bytes[0] = b'C';
    bytes.push(printable);
    bytes.extend(price.to_be_bytes());
    bytes
}

pub(crate) fn cancelled(locate: u16, time_ns: u64, id: u64, shares: u32) -> Vec<u8> {
    message(b'X', locate, time_ns, &[&id.to_be_bytes(), &shares.to_be_bytes()])
}

pub(crate) fn deleted(locate: u16, time_ns: u64, id: u64) -> Vec<u8> {
    message(b'D', locate, time_ns, &[&id.to_be_bytes()])
}

pub(crate) fn replaced(locate: u16, time_ns: u64, old_id: u64, new_id: u64, (shares, price): (u32, u32)) -> Vec<u8> {
    let (old_id, new_id) = (old_id.to_be_bytes(), new_id.to_be_bytes());
    message(b'U', locate, time_ns, &[&old_id, &new_id, &shares.to_be_bytes(), &price.to_be_bytes()])
}

pub(crate) fn trade(locate: u16, time_ns: u64, order: Order<'_>, match_id: u64) -> Vec<u8> {
    let mut bytes = add(locate, time_ns, 0, order);
    bytes[0] = b'P';
    bytes.extend(match_id.to_be_bytes());
    bytes
}

pub(crate) fn cross(
    locate: u16,
    time_ns: u64,
    shares: u64,
    stock: &str,
    price: u32,
    (match_id, kind): (u64, u8),
) -> Vec<u8> {
    let (shares, price, match_id) = (shares.to_be_bytes(), price.to_be_bytes(), match_id.to_be_bytes());
    message(b'Q', locate, time_ns, &[&shares, &padded(stock), &price, &match_id, &[kind]])
}

pub(crate) fn broken(locate: u16, time_ns: u64, match_id: u64) -> Vec<u8> {
    message(b'B', locate, time_ns, &[&match_id.to_be_bytes()])
}
