//! BinaryFILE framing: each message is preceded by its length, `u16` big-endian.
//!
//! A length of 0 marks the end of the session. The public files of Nasdaq usually lack it and just end.

/// Bytes of the length that stands before each payload.
pub const PREFIX_LENGTH: usize = 2;

/// Longest frame: prefix and 65,535 bytes of payload.
pub const MAX_FRAME_LENGTH: usize = PREFIX_LENGTH + u16::MAX as usize;

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message; the frame takes [`PREFIX_LENGTH`] bytes more than the payload, which is never empty.
    Message(&'a [u8]),
    /// The mark of the session's end, [`PREFIX_LENGTH`] bytes.
    EndOfSession,
    /// The bytes end before the frame does.
    Incomplete,
}

/// The frame at the front of `bytes`. Looks at no byte after it.
#[inline]
#[must_use]
pub fn next_frame(bytes: &[u8]) -> Frame<'_> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_LENGTH>() else { return Frame::Incomplete };
    let length = usize::from(u16::from_be_bytes(*prefix));
    match rest.get(..length) {
        Some([]) => Frame::EndOfSession,
        Some(payload) => Frame::Message(payload),
        None => Frame::Incomplete,
    }
}

/// Appends one frame to a file image.
///
/// # Panics
/// If `payload` is empty (that is [`append_end_of_session`]) or longer than 65,535 bytes.
#[inline]
pub fn append_frame(file: &mut Vec<u8>, payload: &[u8]) {
    assert!(!payload.is_empty(), "an empty frame is the mark of the session's end");
    let length = u16::try_from(payload.len()).expect("a frame's payload has at most 65,535 bytes");
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(payload);
}

/// Appends the mark of the session's end to a file image.
pub fn append_end_of_session(file: &mut Vec<u8>) {
    file.extend_from_slice(&[0; PREFIX_LENGTH]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_only_when_it_is_whole() {
        let mut file = Vec::new();
        append_frame(&mut file, b"abc");
        append_end_of_session(&mut file);
        for cut in 0..5 {
            assert_eq!(next_frame(&file[..cut]), Frame::Incomplete, "{cut} bytes");
        }
        assert_eq!(next_frame(&file[..5]), Frame::Message(b"abc"));
        assert_eq!(next_frame(&file), Frame::Message(b"abc"));
        assert_eq!(next_frame(&file[5..]), Frame::EndOfSession);
        assert_eq!(next_frame(&file[6..]), Frame::Incomplete);
    }

    #[test]
    fn the_longest_frame_fits() {
        let payload = vec![7; usize::from(u16::MAX)];
        let mut file = Vec::new();
        append_frame(&mut file, &payload);
        assert_eq!(file.len(), MAX_FRAME_LENGTH);
        assert_eq!(next_frame(&file), Frame::Message(&payload));
    }

    #[test]
    #[should_panic(expected = "at most 65,535 bytes")]
    fn a_longer_payload_is_refused() {
        append_frame(&mut Vec::new(), &vec![7; usize::from(u16::MAX) + 1]);
    }

    #[test]
    #[should_panic(expected = "the mark of the session's end")]
    fn an_empty_payload_is_refused() {
        append_frame(&mut Vec::new(), &[]);
    }
}
