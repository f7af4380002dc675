//! What retention let go of: the file `released` says where a journal begins whose oldest segments were removed.
//!
//! It is durable before the first of those segments goes, so that a missing segment is damage unless this file says
//! otherwise. It is replaced as a whole, never changed.

use crate::checksum::Seed;
use crate::fault::Fault;
use crate::format::JournalId;
use crate::medium::{Access, Medium, remove_if_there};
use crate::walk::Position;
use core::mem::size_of;
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Name of the file.
pub(crate) const RELEASED_FILE: &str = "released";
/// Name under which it is written before it takes that place.
const RELEASED_NEW_FILE: &str = "released.new";
const RELEASED_MAGIC: [u8; 8] = *b"TCJRELSD";
const RELEASED_VERSION: u32 = 1;

/// Where the journal begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Released {
    magic: [u8; 8],
    version: u32,
    /// 0.
    reserved: u32,
    pub(crate) journal: JournalId,
    /// The first segment that remains.
    pub(crate) number: u64,
    /// Where it begins.
    first_sequence: u64,
    chain: u64,
    checksum: u64,
}

const _: () = assert!(size_of::<Released>() == 64);

impl Released {
    pub(crate) fn new(journal: JournalId, number: u64, position: Position) -> Self {
        let mut released = Self {
            magic: RELEASED_MAGIC,
            version: RELEASED_VERSION,
            reserved: 0,
            journal,
            number,
            first_sequence: position.next_sequence,
            chain: position.chain,
            checksum: 0,
        };
        released.checksum = released.computed();
        released
    }

    fn computed(&self) -> u64 {
        let bytes = self.as_bytes();
        Seed::new(self.journal, 0, self.number).checksum(&bytes[..bytes.len() - 8])
    }

    pub(crate) fn position(&self) -> Position {
        Position { next_sequence: self.first_sequence, chain: self.chain }
    }

    /// Whether the segment of this number was let go.
    pub(crate) fn holds(medium: &dyn Medium, number: u64) -> io::Result<bool> {
        Ok(matches!(Self::read(medium)?, Some(Ok(released)) if number < released.number))
    }

    /// What the file says; `None` when nothing was ever released.
    pub(crate) fn read(medium: &dyn Medium) -> io::Result<Option<Result<Self, Fault>>> {
        let file = match medium.open(RELEASED_FILE, Access::Read) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let mut bytes = [0; size_of::<Self>()];
        let count = file.read_at(&mut bytes, 0)?;
        let Ok(found) = Self::read_from_bytes(&bytes) else { return Ok(Some(Err(Fault::NoFrame))) };
        if count < bytes.len() || found.magic != RELEASED_MAGIC {
            return Ok(Some(Err(Fault::CutShort { length: count as u64 })));
        }
        if found.version != RELEASED_VERSION {
            return Ok(Some(Err(Fault::Unsupported { version: found.version })));
        }
        let (stated, computed) = (found.checksum, found.computed());
        Ok(Some(if stated == computed { Ok(found) } else { Err(Fault::HeaderChecksum { stated, computed }) }))
    }

    /// Writes the file and makes it durable.
    pub(crate) fn write(&self, medium: &dyn Medium) -> io::Result<()> {
        remove_if_there(medium, RELEASED_NEW_FILE)?;
        let file = medium.open(RELEASED_NEW_FILE, Access::Create)?;
        file.write_all_at(self.as_bytes(), 0)?;
        file.sync()?;
        medium.rename(RELEASED_NEW_FILE, RELEASED_FILE)?;
        medium.sync_directory()
    }
}
