//! The first bytes of a ring in a file: what it is, how it is laid out, and whose it is.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | magic, `TICKRING` |
//! | 8 | 4 | version of this layout |
//! | 12 | 4 | bytes of a line |
//! | 16 | 4 | what the events are: 1 all kinds, 2 BBO updates |
//! | 20 | 4 | process id of the creator |
//! | 24 | 8 | lines of the ring |
//! | 32 | 8 | bytes of the file |
//! | 40 | 8 | when the creator's process was started, in the kernel's ticks since boot |
//! | 48 | 8 | the creator's process id namespace |
//! | 56 | 8 | FNV-1a of the bytes before |
//! | 2048 | 512 | the writer's words, 128 bytes each: claimed, committed, end, heartbeat |
//! | 4096 | 64 a line | lines |
//!
//! Integers are those of the machine; the file never leaves it. The header is written before the file gets its name and never
//! changes. Whoever attaches believes none of it before it is checked.

use super::AttachError;
use crate::ring::check_capacity;
use crate::ring::lane::{LINE_BYTES, Lane};
use core::mem::offset_of;
use std::path::Path;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a file of ours begins with.
const MAGIC: [u8; 8] = *b"TICKRING";

/// Version of the layout.
const VERSION: u32 = 1;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 64;

/// What the events of a ring in a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Content {
    /// Events of all kinds, as the books see them.
    Events = 1,
    /// Events of [`Kind::BboUpdate`](tickcore_book::Kind::BboUpdate) alone.
    BboUpdates = 2,
}

impl Content {
    /// The content with this number, if there is one.
    const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Events),
            2 => Some(Self::BboUpdates),
            _ => None,
        }
    }

    /// The name that messages print.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::BboUpdates => "BBO updates",
        }
    }
}

/// A process, told apart from a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
    pub(super) pid_namespace: u64,
}

/// A header that was checked, or is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) content: Content,
    pub(super) capacity_lines: usize,
    pub(super) file_bytes: u64,
    pub(super) creator: Process,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: [u8; 8],
    version: u32,
    line_bytes: u32,
    content: u32,
    creator_pid: u32,
    capacity_lines: u64,
    file_bytes: u64,
    creator_start_ticks: u64,
    pid_namespace: u64,
    checksum: u64,
}

const _: () = {
    assert!(size_of::<Raw>() == HEADER_BYTES);
    assert!(offset_of!(Raw, version) == 8 && offset_of!(Raw, line_bytes) == 12);
    assert!(offset_of!(Raw, content) == 16 && offset_of!(Raw, creator_pid) == 20);
    assert!(offset_of!(Raw, capacity_lines) == 24 && offset_of!(Raw, file_bytes) == 32);
    assert!(offset_of!(Raw, creator_start_ticks) == 40 && offset_of!(Raw, pid_namespace) == 48);
    assert!(offset_of!(Raw, checksum) == 56);
};

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut raw = Raw {
            magic: MAGIC,
            version: VERSION,
            line_bytes: LINE_BYTES as u32,
            content: self.content as u32,
            creator_pid: self.creator.pid,
            capacity_lines: self.capacity_lines as u64,
            file_bytes: self.file_bytes,
            creator_start_ticks: self.creator.start_ticks,
            pid_namespace: self.creator.pid_namespace,
            checksum: 0,
        };
        raw.checksum = checksum(&raw.as_bytes()[..offset_of!(Raw, checksum)]);
        zerocopy::transmute!(raw)
    }

    /// Understands the first bytes of the file at `path`, which is `found_bytes` long.
    pub(super) fn parse(path: &Path, bytes: &[u8], found_bytes: u64) -> Result<Self, AttachError> {
        let refuse = |offset: usize, what: &'static str, found: String, wanted: String, cure: &'static str| {
            Err(AttachError::Header { path: path.to_owned(), offset, what, found, wanted, cure })
        };
        const FOREIGN: &str = "give the path of a ring, or remove the file";
        const OTHER_VERSION: &str = "run both programs from the same build";
        const DAMAGED: &str = "end its creator, remove the file and start again";
        let Ok((raw, _)) = Raw::read_from_prefix(bytes) else {
            return refuse(0, "length", format!("{} bytes", bytes.len()), format!("{HEADER_BYTES} or more"), FOREIGN);
        };
        if raw.magic != MAGIC {
            let found = raw.magic.escape_ascii().to_string();
            return refuse(0, "magic", found, MAGIC.escape_ascii().to_string(), FOREIGN);
        }
        if raw.version != VERSION {
            return refuse(8, "version", raw.version.to_string(), VERSION.to_string(), OTHER_VERSION);
        }
        let sum = checksum(&raw.as_bytes()[..offset_of!(Raw, checksum)]);
        if raw.checksum != sum {
            return refuse(56, "checksum", format!("{:016x}", raw.checksum), format!("{sum:016x}"), DAMAGED);
        }
        if raw.line_bytes != LINE_BYTES as u32 {
            return refuse(12, "bytes of a line", raw.line_bytes.to_string(), LINE_BYTES.to_string(), OTHER_VERSION);
        }
        let Some(content) = Content::from_number(raw.content) else {
            return refuse(16, "content", raw.content.to_string(), "1 or 2".to_owned(), OTHER_VERSION);
        };
        let capacity_lines = usize::try_from(raw.capacity_lines).unwrap_or(usize::MAX);
        if let Err(error) = check_capacity(capacity_lines) {
            return refuse(24, "lines", raw.capacity_lines.to_string(), error.to_string(), DAMAGED);
        }
        let needed = Lane::bytes(capacity_lines) as u64;
        if raw.file_bytes < needed {
            return refuse(32, "bytes of the file", raw.file_bytes.to_string(), format!("{needed} or more"), DAMAGED);
        }
        if found_bytes != raw.file_bytes {
            let found = format!("{found_bytes} in the file system");
            return refuse(32, "bytes of the file", found, raw.file_bytes.to_string(), DAMAGED);
        }
        let creator =
            Process { pid: raw.creator_pid, start_ticks: raw.creator_start_ticks, pid_namespace: raw.pid_namespace };
        Ok(Self { content, capacity_lines, file_bytes: raw.file_bytes, creator })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            content: Content::BboUpdates,
            capacity_lines: 1 << 10,
            file_bytes: 4096 + (64 << 10),
            creator: Process { pid: 7, start_ticks: 8, pid_namespace: 9 },
        }
    }

    fn parse(bytes: &[u8], found_bytes: u64) -> Result<Header, String> {
        Header::parse(Path::new("a ring"), bytes, found_bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn a_header_comes_back() {
        assert_eq!(parse(&header().to_bytes(), header().file_bytes), Ok(header()));
    }

    #[test]
    fn every_changed_byte_and_every_missing_one_is_refused() {
        let bytes = header().to_bytes();
        for place in 0..HEADER_BYTES {
            let mut changed = bytes;
            changed[place] ^= 1;
            assert!(parse(&changed, header().file_bytes).is_err(), "byte {place}");
            assert!(parse(&bytes[..place], header().file_bytes).is_err(), "{place} bytes");
        }
        for found_bytes in [0, header().file_bytes - 1, header().file_bytes + 1, u64::MAX] {
            assert!(parse(&bytes, found_bytes).is_err(), "{found_bytes} bytes");
        }
    }

    #[test]
    fn a_refusal_says_where_what_and_what_to_do() {
        let text = parse(b"\x7fELF and so on, and on, and on, and on, and on, and on, and on, and on", 70).unwrap_err();
        for part in ["a ring", "offset 0", "magic", r"\x7fELF", "TICKRING", "remove the file"] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }

    /// A valid checksum does not make nonsense believable.
    #[test]
    fn impossible_numbers_are_refused() {
        for changed in [
            Header { capacity_lines: 3, ..header() },
            Header { capacity_lines: 0, ..header() },
            Header { capacity_lines: 1 << 40, ..header() },
            Header { file_bytes: 64, ..header() },
        ] {
            assert!(parse(&changed.to_bytes(), changed.file_bytes).is_err(), "{changed:?}");
        }
    }
}
