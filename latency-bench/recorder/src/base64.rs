//! Base64 with the standard alphabet and padding, which histogram logs carry their payloads in.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes to four letters for each three, the last group padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, place| word << 8 | u32::from(group.get(place).copied().unwrap_or(0)));
        for place in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The bytes of a text that [`encode`] could have written, or the place of the first byte that is wrong.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    if !text.len().is_multiple_of(4) {
        return Err(text.len());
    }
    let padding = text.iter().rev().take(2).take_while(|&&letter| letter == b'=').count();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut word = 0_u32;
    for (place, &letter) in text[..text.len() - padding].iter().enumerate() {
        word = word << 6 | value_of(letter).ok_or(place)?;
        if place % 4 == 3 {
            bytes.extend_from_slice(&word.to_be_bytes()[1..]);
            word = 0;
        }
    }
    if padding > 0 {
        let left = word << (6 * padding);
        let kept = 3 - padding;
        if left.to_be_bytes()[1 + kept..].iter().any(|&byte| byte != 0) {
            return Err(text.len() - padding - 1);
        }
        bytes.extend_from_slice(&left.to_be_bytes()[1..=kept]);
    }
    Ok(bytes)
}

fn value_of(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn what_is_wrong_is_placed() {
        for (text, place) in
            [("Zg=", 3), ("Zm9v!m9v", 4), ("=m9v", 0), ("Zg==Zg==", 2), ("Zh==", 1), ("====", 0), ("Zm9v ", 5)]
        {
            assert_eq!(decode(text.as_bytes()), Err(place), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Ok(bytes));
        }

        #[test]
        fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&text);
        }
    }
}
