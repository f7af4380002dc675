//! Encoder: messages back into the bytes of a file, for the synthetic market and for tests.
//!
//! A message is built as a struct literal of its layout, so that every field is named where it is given a value, and
//! appended with its frame to a growing file image.
//!
//! ```
//! use tickcore_feed::protocol::itch50::{AddOrder, Header, Stock, Timestamp, U32, U64, append_message};
//!
//! let mut file = Vec::new();
//! append_message(
//!     &mut file,
//!     &AddOrder {
//!         header: Header::of::<AddOrder>(1, Timestamp::new(34_200_000_000_000)),
//!         reference: U64::new(7),
//!         side: b'B',
//!         shares: U32::new(100),
//!         stock: Stock::new("AAPL"),
//!         price: U32::new(1_500_000), // 150.0000
//!     },
//! );
//! assert_eq!(file.len(), 2 + 36);
//! assert_eq!(&file[..3], b"\x00\x24A");
//! ```

use super::message::Message;
use crate::protocol::binary_file;

/// Appends `message` to `file`: its length as `u16` big-endian, then its payload. Allocates only as `Vec` grows.
///
/// # Panics
/// If the header's type letter is not that of the layout: such a message would be another one, or malformed.
#[inline]
pub fn append_message<M: Message>(file: &mut Vec<u8>, message: &M) {
    assert!(
        message.header().message_type == M::TYPE,
        "the header says '{}', the layout is {} ('{}')",
        message.header().message_type.escape_ascii(),
        M::NAME,
        M::TYPE.escape_ascii(),
    );
    binary_file::append_frame(file, message.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::itch50::{Header, OrderDelete, SystemEvent, Timestamp, U64};

    #[test]
    fn a_frame_is_length_and_payload() {
        let mut file = vec![0xEE];
        append_message(
            &mut file,
            &OrderDelete {
                header: Header::of::<OrderDelete>(0x0102, Timestamp::new(0x0304_0506_0708)),
                reference: U64::new(0x1112_1314_1516_1718),
            },
        );
        assert_eq!(
            file,
            [0xEE, 0, 19, b'D', 1, 2, 0, 0, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]
        );
    }

    #[test]
    #[should_panic(expected = "the header says 'S', the layout is Order Delete ('D')")]
    fn a_header_of_another_type_is_refused() {
        let header = Header::of::<SystemEvent>(1, Timestamp::new(0));
        append_message(&mut Vec::new(), &OrderDelete { header, reference: U64::new(1) });
    }
}
