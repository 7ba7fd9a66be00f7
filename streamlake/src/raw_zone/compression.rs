//! Compressed parts: the same lines in fewer bytes, for stores and networks that cost by the byte.
//!
//! A whole part is one gzip member or one Zstandard frame, so every tool that knows the suffix reads
//! it as it reads a plain part.

use bytes::Bytes;
use serde::Deserialize;
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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all: NDJSON that any tool and any person reads.
    #[default]
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
        let room = Vec::with_capacity(length / 4);
        let whole = match self {
            Compression::None => return Ok(chunks),
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = flate2::write::GzEncoder::new(room, level);
                chunks.into_iter().try_for_each(|chunk| encoder.write_all(&chunk))?;
                encoder.finish()?
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(room, ZSTD_LEVEL)?;
                encoder.set_pledged_src_size(Some(length as u64))?;
                encoder.include_checksum(true)?;
                chunks.into_iter().try_for_each(|chunk| encoder.write_all(&chunk))?;
                encoder.finish()?
            }
        };
        Ok(vec![Bytes::from(whole)])
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
    fn the_same_lines_make_the_same_object() {
        // A part that is sent again after a lost answer is recognised by its bytes.
        let lines = vec![Bytes::from_static(b"{}\n"); 9];
        for compression in Compression::ALL {
            let once = compression.compress(lines.clone()).unwrap();
            assert_eq!(whole(&once), whole(&compression.compress(lines.clone()).unwrap()));
        }
    }
}
