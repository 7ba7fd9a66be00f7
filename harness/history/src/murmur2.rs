//! Kafka's hash of keys, written from its description and not taken from any client: the oracle that
//! clients are measured by.

/// 32-bit MurmurHash2 with Kafka's seed.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // Kafka mixes in the length as a Java int.
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (n, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * n);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// Kafka's `toPositive`: the sign bit is dropped, the number is not negated.
#[must_use]
pub fn positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// The partition of a key among `partitions`, which must not be 0.
#[must_use]
pub fn partition(key: &[u8], partitions: u32) -> u32 {
    positive(murmur2(key)) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn published_vectors_of_kafka() {
        let vectors: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_always_one_of_those_there_are() {
        for partitions in 1..=512 {
            for key in 0u32..200 {
                assert!(partition(&key.to_be_bytes(), partitions) < partitions);
            }
        }
    }
}
