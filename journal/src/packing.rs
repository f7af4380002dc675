//! zstd, which packs compacted segments: here alone, because it comes with the feature `compact`.

use std::io;

/// Packs `bytes`.
#[cfg(feature = "compact")]
pub(crate) fn pack(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, level)
}

/// What `packed` holds; `None` when that is not `expected` bytes.
#[cfg(feature = "compact")]
pub(crate) fn unpack(packed: &[u8], expected: usize) -> io::Result<Option<Vec<u8>>> {
    Ok(zstd::bulk::decompress(packed, expected).ok().filter(|bytes| bytes.len() == expected))
}

#[cfg(not(feature = "compact"))]
fn missing() -> io::Error {
    let what =
        "compacted segments need the feature `compact` of tickcore-journal, which this program was built without";
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// Without the feature: an error that says so.
#[cfg(not(feature = "compact"))]
pub(crate) fn pack(_bytes: &[u8], _level: i32) -> io::Result<Vec<u8>> {
    Err(missing())
}

/// Without the feature: an error that says so.
#[cfg(not(feature = "compact"))]
pub(crate) fn unpack(_packed: &[u8], _expected: usize) -> io::Result<Option<Vec<u8>>> {
    Err(missing())
}
