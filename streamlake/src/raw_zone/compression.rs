//! Compressed parts: the same lines in fewer bytes, for stores and networks that cost by the byte.
//!
//! A whole part is one gzip member or one Zstandard frame, so every tool that knows the suffix reads
//! it as it reads a plain part.

use super::buffer::CHUNK_MAX;
use bytes::Bytes;
use std::borrow::Cow;
use std::io::{self, Read, Write};

/// The fastest level of each: parts are written once and in a hurry. On lines of order events of 200
/// bytes Zstandard makes a sixth of them at 700 MB/s and more, gzip about as little at a third of that.
const ZSTD_LEVEL: i32 = 1;
const GZIP_LEVEL: u32 = 1;

/// The longest part that is read. Ours end at `--batch-bytes`; a few bytes that unfold to more than
/// this were not written by a pipeline.
const PLAIN_MAX: u64 = 4 << 30;

/// How parts are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Compression {
    /// Not at all: NDJSON that any tool and any person reads.
    None,
    /// gzip: slow, and read by everything.
    Gzip,
    /// Zstandard: fast, and read by most.
    Zstd,
}

impl Compression {
    /// Every one.
    pub const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

    /// What a part's name ends with, after `.json`.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }

    /// The compression that a suffix stands for.
    pub fn of_suffix(suffix: &str) -> Option<Compression> {
        Compression::ALL.into_iter().find(|known| known.suffix() == suffix)
    }

    /// The media type of a part.
    pub fn content_type(self) -> &'static str {
        match self {
            Compression::None => "application/x-ndjson",
            Compression::Gzip => "application/gzip",
            Compression::Zstd => "application/zstd",
        }
    }

    /// Compresses the chunks of one part. Each chunk is let go of once it is read. A compression that
    /// fails ends in an error of the library; writing to memory gives it no reason to.
    pub(super) fn compress(self, chunks: Vec<Bytes>) -> io::Result<Vec<Bytes>> {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        let out = match self {
            Compression::None => return Ok(chunks),
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = flate2::write::GzEncoder::new(Chunks::default(), level);
                chunks.into_iter().try_for_each(|chunk| encoder.write_all(&chunk))?;
                encoder.finish()?
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(Chunks::default(), ZSTD_LEVEL)?;
                encoder.set_pledged_src_size(Some(length as u64))?;
                encoder.include_checksum(true)?;
                chunks.into_iter().try_for_each(|chunk| encoder.write_all(&chunk))?;
                encoder.finish()?
            }
        };
        Ok(out.finish())
    }

    /// The lines of a part from its object. What is cut off, damaged or far too long is an error.
    pub fn plain(self, object: &[u8]) -> io::Result<Cow<'_, [u8]>> {
        let mut lines = Vec::new();
        let found = match self {
            Compression::None => return Ok(Cow::Borrowed(object)),
            Compression::Gzip => flate2::read::MultiGzDecoder::new(object)
                .take(PLAIN_MAX + 1)
                .read_to_end(&mut lines),
            Compression::Zstd => {
                zstd::Decoder::with_buffer(object)?.take(PLAIN_MAX + 1).read_to_end(&mut lines)
            }
        };
        if found? as u64 > PLAIN_MAX {
            return Err(io::Error::other(format!("it unfolds to more than {PLAIN_MAX} bytes")));
        }
        Ok(Cow::Owned(lines))
    }
}

/// Takes bytes in into chunks as small as those of the lines. One vector that grows to the size of a
/// part is copied each time it grows, and the system's allocator keeps what such sizes leave behind: it
/// was 300 MiB in a process that held 64.
#[derive(Default)]
struct Chunks {
    full: Vec<Bytes>,
    current: Vec<u8>,
}

impl Chunks {
    fn finish(mut self) -> Vec<Bytes> {
        if !self.current.is_empty() {
            self.full.push(self.current.into());
        }
        self.full
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.capacity() == self.current.len() {
            let full = std::mem::replace(&mut self.current, Vec::with_capacity(CHUNK_MAX));
            if !full.is_empty() {
                self.full.push(full.into());
            }
        }
        let taken = bytes.len().min(self.current.capacity() - self.current.len());
        self.current.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn whole(chunks: &[Bytes]) -> Vec<u8> {
        chunks.concat()
    }

    proptest! {
        #[test]
        fn lines_come_back(lines in vec(vec(any::<u8>(), 0..2_000), 0..20)) {
            let chunks: Vec<Bytes> = lines.into_iter().map(Bytes::from).collect();
            for compression in Compression::ALL {
                let object = whole(&compression.compress(chunks.clone()).unwrap());
                prop_assert_eq!(&*compression.plain(&object).unwrap(), &*whole(&chunks));
            }
        }

        #[test]
        fn a_damaged_object_is_an_error_or_the_same(
            at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>(),
        ) {
            let lines = b"{\"offset\":1,\"value\":{\"order_id\":\"ORD-1\"}}\n".repeat(50);
            for compression in [Compression::Gzip, Compression::Zstd] {
                let sound = whole(&compression.compress(vec![lines.clone().into()]).unwrap());
                let mut object = sound.clone();
                let at = at.index(object.len());
                if cut {
                    object.truncate(at);
                } else {
                    object[at] ^= 1 << bit;
                }
                // Some bits of a header say nothing about the content (gzip's time and system).
                if let Ok(read) = compression.plain(&object) {
                    prop_assert!(*read == *lines || (cut && at == 0), "{compression:?} at {at}");
                }
            }
        }
    }

    #[test]
    fn lines_longer_than_a_chunk_come_back() {
        // Nothing in them to compress: the object is as long as they are.
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let lines: Vec<u8> = (0..CHUNK_MAX * 2 + 5).map(|_| noise()).collect();
        for compression in [Compression::Gzip, Compression::Zstd] {
            let chunks = compression.compress(vec![lines.clone().into()]).unwrap();
            assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.len() <= CHUNK_MAX));
            assert!(*compression.plain(&whole(&chunks)).unwrap() == *lines);
        }
    }

    #[test]
    fn the_same_lines_make_the_same_object() {
        // A part that is sent again after a lost answer is recognised by its bytes.
        let lines = vec![Bytes::from_static(b"{}\n"); 9];
        for compression in Compression::ALL {
            let once = compression.compress(lines.clone()).unwrap();
            assert_eq!(whole(&once), whole(&compression.compress(lines.clone()).unwrap()));
        }
    }
}
