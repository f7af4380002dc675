//! The order messages that make up nearly all of a day, decoded by one table instead of one branch for each type.
//!
//! Which type comes next cannot be foreseen, so a branch on it costs more than the decoding. Add (A), Execute (E), Cancel
//! (X), Delete (D) and Replace (U) differ only in where their fields stand: a row of a table says where, and every field
//! is read, with a mask for those that a type lacks. What is not plain, [`Decoder::decode`](super::Decoder::decode) looks
//! at: other types, a wrong length, a side that is none, an instrument without a name.

use super::decode::PRICE_UNITS_PER_PRICE4;
use super::message::{AddOrder, Message, OrderCancel, OrderDelete, OrderExecuted, OrderReplace};
use crate::batch::EventBatch;
use crate::protocol::binary_file::PREFIX_LENGTH;
use core::mem::offset_of;
use tickcore_book::{Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs};

/// Bytes of a frame and what may stand behind it that have to be there, so that every field can be read without a look at
/// the type.
pub(crate) const FRAME_BYTES: usize = 64;

/// Fields stand at this offset of a payload or behind it; their offsets in the table count from here.
const FIELDS_START: usize = offset_of!(AddOrder, reference);
const FIELD_OFFSET_MASK: usize = 31;

/// Where the fields of a message type stand.
#[derive(Clone, Copy)]
struct Shape {
    /// Payload bytes; [`NO_LENGTH`] for a type that is not in the table.
    length: u16,
    kind: u8,
    side: Field,
    quantity: Field,
    price: Field,
    reference: Field,
}

const NO_LENGTH: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Field {
    at: u8,
    /// −1 for a field that the type has, else 0.
    mask: i8,
}

impl Field {
    const NONE: Self = Self { at: 0, mask: 0 };

    const fn at(offset: usize) -> Self {
        Self { at: (offset - FIELDS_START) as u8, mask: -1 }
    }

    #[inline]
    fn bytes<const BYTES: usize>(self, frame: &[u8; FRAME_BYTES]) -> [u8; BYTES] {
        let start = PREFIX_LENGTH + FIELDS_START + (usize::from(self.at) & FIELD_OFFSET_MASK);
        core::array::from_fn(|byte| frame[start + byte])
    }

    #[inline]
    fn number_32(self, frame: &[u8; FRAME_BYTES]) -> u32 {
        u32::from_be_bytes(self.bytes(frame)) & i32::from(self.mask).cast_unsigned()
    }

    #[inline]
    fn number_64(self, frame: &[u8; FRAME_BYTES]) -> u64 {
        u64::from_be_bytes(self.bytes(frame)) & i64::from(self.mask).cast_unsigned()
    }
}

const fn shape<M: Message>(kind: Kind) -> Shape {
    Shape {
        length: M::LENGTH as u16,
        kind: kind as u8,
        side: Field::NONE,
        quantity: Field::NONE,
        price: Field::NONE,
        reference: Field::NONE,
    }
}

static SHAPES: [Shape; 256] = {
    let mut shapes = [Shape { length: NO_LENGTH, ..shape::<OrderDelete>(Kind::Delete) }; 256];
    shapes[AddOrder::TYPE as usize] = Shape {
        side: Field::at(offset_of!(AddOrder, side)),
        quantity: Field::at(offset_of!(AddOrder, shares)),
        price: Field::at(offset_of!(AddOrder, price)),
        ..shape::<AddOrder>(Kind::Add)
    };
    shapes[OrderExecuted::TYPE as usize] = Shape {
        quantity: Field::at(offset_of!(OrderExecuted, shares)),
        reference: Field::at(offset_of!(OrderExecuted, match_number)),
        ..shape::<OrderExecuted>(Kind::Execute)
    };
    shapes[OrderCancel::TYPE as usize] =
        Shape { quantity: Field::at(offset_of!(OrderCancel, shares)), ..shape::<OrderCancel>(Kind::Reduce) };
    shapes[OrderDelete::TYPE as usize] = shape::<OrderDelete>(Kind::Delete);
    shapes[OrderReplace::TYPE as usize] = Shape {
        quantity: Field::at(offset_of!(OrderReplace, shares)),
        price: Field::at(offset_of!(OrderReplace, price)),
        reference: Field::at(offset_of!(OrderReplace, new_reference)),
        ..shape::<OrderReplace>(Kind::Replace)
    };
    shapes
};

// Where the reference and the header's fields stand is the same in all of them.
const _: () = assert!(offset_of!(OrderExecuted, reference) == FIELDS_START);
const _: () = assert!(offset_of!(OrderCancel, reference) == FIELDS_START);
const _: () = assert!(offset_of!(OrderDelete, reference) == FIELDS_START);
const _: () = assert!(offset_of!(OrderReplace, original_reference) == FIELDS_START);
const _: () = assert!(PREFIX_LENGTH + FIELDS_START + FIELD_OFFSET_MASK + size_of::<u64>() <= FRAME_BYTES);

/// Pushes the event of the frame at the front of `frame`, when it is one of the five types and plain, and answers with the
/// bytes of its payload. `instrument_of` gives the instrument of a locate, and whether it has a name. The batch has room.
#[inline]
pub(super) fn decode(
    frame: &[u8; FRAME_BYTES],
    midnight: TimestampNs,
    instrument_of: impl FnOnce(u16) -> (InstrumentId, bool),
    batch: &mut EventBatch,
) -> Option<usize> {
    let [length_high, length_low, message_type, locate_high, locate_low, _, _, time @ ..] = frame;
    let shape = &SHAPES[usize::from(*message_type)];
    let length = u16::from_be_bytes([*length_high, *length_low]);
    let (instrument, is_named) = instrument_of(u16::from_be_bytes([*locate_high, *locate_low]));
    let [letter] = shape.side.bytes(frame);
    let letter = letter & shape.side.mask.cast_unsigned();
    let side_number = u8::from(letter == b'B') * Side::Bid as u8 + u8::from(letter == b'S') * Side::Ask as u8;
    let has_side = (side_number != 0) | (shape.side.mask == 0);
    if !((length == shape.length) & is_named & has_side) {
        return None;
    }
    let [a, b, c, d, e, f, ..] = time;
    let time = u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]);
    let reference = Field { at: 0, mask: -1 };
    batch.push(Event {
        exchange_time: TimestampNs(midnight.0.wrapping_add(time)),
        receive_time: TimestampNs(0),
        order_id: OrderId(reference.number_64(frame)),
        reference: shape.reference.number_64(frame),
        price: Price(i64::from(shape.price.number_32(frame)) * PRICE_UNITS_PER_PRICE4),
        quantity: Quantity(u64::from(shape.quantity.number_32(frame))),
        instrument,
        kind_number: shape.kind,
        side_number,
        flags: Flags::LAST,
    });
    Some(usize::from(length))
}
