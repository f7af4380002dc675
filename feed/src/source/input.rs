//! The bytes of a file behind its compression, with the position in the file kept.

use super::{DetectError, SourceError};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Compressed bytes read from the file at once.
const READ_BYTES: usize = 256 << 10;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What the first bytes of a file say.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1F, 0x8B, ..] => Self::Gzip,
            // A frame, or a frame that is to be skipped, which some tools write first.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The name for messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How far the reading of a file has come; for progress bars, readable from any thread.
#[derive(Clone, Debug)]
pub struct Progress(Arc<ProgressState>);

#[derive(Debug)]
struct ProgressState {
    bytes_read: AtomicU64,
    file_size: u64,
}

impl Progress {
    /// Bytes of the file read so far, compressed if the file is. Runs ahead of the decoding by the blocks in between.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.0.bytes_read.load(Ordering::Relaxed)
    }

    /// Size of the file when it was opened.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.0.file_size
    }
}

/// A file that says how many of its bytes were read.
struct CountedFile {
    file: File,
    progress: Arc<ProgressState>,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.progress.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// The decoders by compression. All go on behind the end of a compressed member or frame with the next.
enum Decompressor {
    None(BufReader<CountedFile>),
    Gzip(Box<MultiGzDecoder<BufReader<CountedFile>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<CountedFile>>>),
}

impl Decompressor {
    fn file(&self) -> &BufReader<CountedFile> {
        match self {
            Self::None(file) => file,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }
}

/// An open file, read from its beginning, decompressed.
pub(super) struct Input {
    decompressor: Decompressor,
    compression: Compression,
    path: PathBuf,
    progress: Arc<ProgressState>,
    /// Decompressed bytes read so far.
    stream_offset: u64,
}

impl Input {
    /// Opens a regular file and looks at its first bytes to see how it is compressed.
    pub(super) fn open(path: &Path) -> Result<Self, DetectError> {
        let fault = |error| DetectError::Open { path: path.to_owned(), error };
        // Asked before the file is opened: opening a named pipe would wait for its writer.
        let metadata = std::fs::metadata(path).map_err(fault)?;
        if !metadata.is_file() {
            return Err(DetectError::NotAFile { path: path.to_owned() });
        }
        let mut file = File::open(path).map_err(fault)?;
        let mut head = [0; 4];
        let mut head_length = 0;
        while head_length < head.len() {
            match file.read(&mut head[head_length..]).map_err(fault)? {
                0 => break,
                bytes => head_length += bytes,
            }
        }
        file.rewind().map_err(fault)?;
        let compression = Compression::of(&head[..head_length]);
        let progress = Arc::new(ProgressState { bytes_read: AtomicU64::new(0), file_size: metadata.len() });
        let file = BufReader::with_capacity(READ_BYTES, CountedFile { file, progress: Arc::clone(&progress) });
        let decompressor = match compression {
            Compression::None => Decompressor::None(file),
            Compression::Gzip => Decompressor::Gzip(Box::new(MultiGzDecoder::new(file))),
            Compression::Zstd => Decompressor::Zstd(Box::new(zstd::Decoder::with_buffer(file).map_err(fault)?)),
        };
        Ok(Self { decompressor, compression, path: path.to_owned(), progress, stream_offset: 0 })
    }

    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn progress(&self) -> Progress {
        Progress(Arc::clone(&self.progress))
    }

    /// Reads some decompressed bytes; 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            let result = match &mut self.decompressor {
                Decompressor::None(file) => file.read(buffer),
                Decompressor::Gzip(decoder) => decoder.read(buffer),
                Decompressor::Zstd(decoder) => decoder.read(buffer),
            };
            match result {
                Ok(bytes) => {
                    self.stream_offset += bytes as u64;
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(error)),
            }
        }
    }

    /// Reads until `buffer` is full or the end is reached; how many bytes it got.
    pub(super) fn read_full(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let mut length = 0;
        while length < buffer.len() {
            match self.read(&mut buffer[length..])? {
                0 => break,
                bytes => length += bytes,
            }
        }
        Ok(length)
    }

    /// What went wrong, with the place. Errors of the operating system carry its number, those of a decompressor do not.
    fn fault(&self, error: io::Error) -> SourceError {
        let buffered = self.decompressor.file().buffer().len() as u64;
        let file_offset = self.progress.bytes_read.load(Ordering::Relaxed) - buffered;
        let (path, stream_offset) = (self.path.clone(), self.stream_offset);
        if self.compression == Compression::None || error.raw_os_error().is_some() {
            SourceError::Read { path, file_offset, stream_offset, error }
        } else {
            SourceError::Decompress { path, compression: self.compression.name(), file_offset, stream_offset, error }
        }
    }
}
