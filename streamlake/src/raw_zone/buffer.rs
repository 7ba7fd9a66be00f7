//! A part while it grows: lines are written straight from librdkafka's memory into the chunks that
//! the upload will send. This is the one copy that a payload sees.

use super::compression::Compression;
use super::name::Folder;
use bytes::Bytes;
use std::time::Instant;

const CHUNK_MIN: usize = 16 << 10;
pub(super) const CHUNK_MAX: usize = 256 << 10;

/// Lines of one partition and one day that are not yet sealed.
#[derive(Debug)]
pub struct PartBuffer {
    /// When the first record came in: the age of the batch counts from here.
    pub opened_at: Instant,
    chunks: Vec<Bytes>,
    current: Vec<u8>,
    sealed_bytes: usize,
    crc: crc32fast::Hasher,
    span: Span,
}

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The lowest offset.
    pub first_offset: i64,
    /// The highest offset.
    pub last_offset: i64,
    /// How many records.
    pub records: u64,
}

/// A part that is complete and waits to be stored.
#[derive(Debug, Clone)]
pub struct SealedPart {
    /// Where it goes.
    pub folder: Folder,
    /// The topic of all its records.
    pub topic: String,
    /// The partition of all its records.
    pub partition: i32,
    /// What it holds.
    pub span: Span,
    /// How the chunks are compressed.
    pub compression: Compression,
    /// The object's bytes, in chunks: the lines, until they are compressed.
    pub chunks: Vec<Bytes>,
    /// Their length in all.
    pub bytes: usize,
    /// CRC-32 (ISO-HDLC) of the chunks.
    pub crc32: u32,
}

impl SealedPart {
    /// The same part with its lines compressed. It takes its time: not for the polling thread.
    pub fn compressed(self, compression: Compression) -> std::io::Result<SealedPart> {
        if self.compression == compression {
            return Ok(self);
        }
        let chunks = compression.compress(self.chunks)?;
        let mut crc = crc32fast::Hasher::new();
        chunks.iter().for_each(|chunk| crc.update(chunk));
        let bytes = chunks.iter().map(Bytes::len).sum();
        Ok(SealedPart { compression, chunks, bytes, crc32: crc.finalize(), ..self })
    }
}

impl PartBuffer {
    /// An empty part whose first record will be `first_offset`.
    pub fn new(first_offset: i64, now: Instant) -> Self {
        PartBuffer {
            opened_at: now,
            chunks: Vec::new(),
            current: Vec::new(),
            sealed_bytes: 0,
            crc: crc32fast::Hasher::new(),
            span: Span { first_offset, last_offset: first_offset, records: 0 },
        }
    }

    /// Adds one record: `write` appends its line, which will be about `estimate` bytes long.
    /// Returns how many bytes the part grew by.
    pub fn add(&mut self, offset: i64, estimate: usize, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.current.capacity() - self.current.len() < estimate {
            self.next_chunk(estimate);
        }
        let before = self.current.len();
        write(&mut self.current);
        self.span.last_offset = offset;
        self.span.records += 1;
        self.current.len() - before
    }

    /// The length so far.
    pub fn bytes(&self) -> usize {
        self.sealed_bytes + self.current.len()
    }

    /// What it holds so far.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Closes the part.
    pub fn seal(mut self, folder: Folder, topic: &str, partition: i32) -> SealedPart {
        self.next_chunk(0);
        SealedPart {
            folder,
            topic: topic.to_owned(),
            partition,
            span: self.span,
            compression: Compression::None,
            chunks: self.chunks,
            bytes: self.sealed_bytes,
            crc32: self.crc.finalize(),
        }
    }

    /// Puts the current chunk away. Chunks grow with the part, so that a thousand idle partitions
    /// cost little and a busy one has few chunks. The checksum is taken while the bytes are warm.
    fn next_chunk(&mut self, estimate: usize) {
        let size = (self.sealed_bytes / 2).clamp(CHUNK_MIN, CHUNK_MAX).max(estimate);
        let next = if estimate == 0 { Vec::new() } else { Vec::with_capacity(size) };
        let full = std::mem::replace(&mut self.current, next);
        if !full.is_empty() {
            self.crc.update(&full);
            self.sealed_bytes += full.len();
            self.chunks.push(Bytes::from(full));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let mut buffer = PartBuffer::new(7, Instant::now());
        let mut expected = Vec::new();
        for index in 0..5_000u32 {
            let line = format!("{{\"n\":{index}}}\n").repeat(1 + (index as usize % 9));
            buffer.add(7 + i64::from(index), 20, |out| out.extend_from_slice(line.as_bytes()));
            expected.extend_from_slice(line.as_bytes());
        }
        let folder = Folder { dataset: "d".into(), date: Default::default() };
        let part = buffer.seal(folder, "t", 3);
        assert_eq!(part.chunks.concat(), expected);
        assert_eq!(part.bytes, expected.len());
        assert_eq!(part.crc32, crc32fast::hash(&expected));
        assert_eq!(part.span, Span { first_offset: 7, last_offset: 5_006, records: 5_000 });
    }
}
