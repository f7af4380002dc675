//! What an input is, by its content.

use super::SourceError;
use super::input::{Compression, Input};
use crate::protocol::binary_file::PREFIX_LENGTH;
use crate::protocol::itch50::{TYPES, length_of};
use std::io;
use std::path::{Path, PathBuf};

/// Decompressed bytes that detection looks at, and shows when they are not what they should be.
const HEAD_BYTES: usize = 16;

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ITCH 5.0 messages, each with its length in front.
    ItchPlain,
    /// The same in gzip.
    ItchGzip,
    /// The same in zstd.
    ItchZstd,
    /// A directory, and so a journal; whether it is a good one its reader will say.
    JournalDirectory,
}

impl Format {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ItchPlain => "itch50",
            Self::ItchGzip => "itch50+gzip",
            Self::ItchZstd => "itch50+zstd",
            Self::JournalDirectory => "journal",
        }
    }
}

/// Why an input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The file cannot be opened.
    #[error("{}: cannot open it: {error}; check the path and the permission to read", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// A pipe, a device, or a directory where a file is needed.
    #[error(
        "{}: not a regular file, and its content cannot be looked at without using it up; write it to a file first",
        path.display()
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The beginning cannot be read or decompressed.
    #[error(transparent)]
    Unreadable(Box<SourceError>),
    /// The file does not begin with an ITCH 5.0 message.
    #[error(
        "{}: offset 0 ({compression} data): found {found}; expected the big-endian length and the type letter of an \
         ITCH 5.0 message, like 00 0c 'S' or 00 27 'R', plain or in gzip or zstd; check that this is the right file and \
         not another protocol, an archive or a web page",
        path.display()
    )]
    NotItch {
        /// The file.
        path: PathBuf,
        /// `plain`, `gzip` or `zstd`.
        compression: &'static str,
        /// The first bytes after decompression, in hexadecimal and as text.
        found: String,
    },
}

/// What the input at `path` is: a directory is a journal, a file must begin with an ITCH 5.0 message, plain or compressed.
/// An empty file and one that is cut within its first message pass when what is there could be ITCH.
///
/// # Errors
/// When it is neither, or cannot be opened, read or decompressed.
pub fn detect(path: &Path) -> Result<Format, DetectError> {
    if path.is_dir() {
        return Ok(Format::JournalDirectory);
    }
    detect_input(&mut Input::open(path)?)
}

/// What an input that was just opened is. Takes its first bytes.
pub(super) fn detect_input(input: &mut Input) -> Result<Format, DetectError> {
    let mut head = [0; HEAD_BYTES];
    let length = input.read_full(&mut head).map_err(|error| DetectError::Unreadable(Box::new(error)))?;
    let head = &head[..length];
    if !is_plausible(head) {
        return Err(DetectError::NotItch {
            path: input.path().to_owned(),
            compression: input.compression().name(),
            found: shown(head),
        });
    }
    Ok(match input.compression() {
        Compression::None => Format::ItchPlain,
        Compression::Gzip => Format::ItchGzip,
        Compression::Zstd => Format::ItchZstd,
    })
}

/// Whether an ITCH 5.0 file may begin like this. A length of 0 is the mark of a session's end: an empty session.
fn is_plausible(head: &[u8]) -> bool {
    let is_length = |length: u16| TYPES.iter().any(|&letter| length_of(letter) == Some(usize::from(length)));
    match *head {
        [] => true,
        [high] => high == 0,
        [0, 0, ..] => head.len() == PREFIX_LENGTH,
        [high, low] => is_length(u16::from_be_bytes([high, low])),
        [high, low, message_type, ..] => length_of(message_type) == Some(usize::from(u16::from_be_bytes([high, low]))),
    }
}

/// Bytes for a message to the user.
fn shown(head: &[u8]) -> String {
    let hexadecimal: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} (\"{}\")", hexadecimal.join(" "), head.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_plausible_when_length_and_type_agree() {
        for head in [&b""[..], b"\0", b"\0\0", b"\0\x0c", b"\0\x0cS", b"\0\x27R\0\x01", b"\0\x0cW"] {
            assert!(is_plausible(head), "{head:?}");
        }
        for head in [&b"\x01"[..], b"\0\0\0", b"\0\x0b", b"\0\x0cR", b"\0\x27S", b"\x01\x0cS", b"<html>", b"\0\x0cz"] {
            assert!(!is_plausible(head), "{head:?}");
        }
    }
}
