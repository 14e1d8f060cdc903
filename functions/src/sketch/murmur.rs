//! Murmur3 of 128 bits for 64-bit machines (A. Appleby, public domain), of which sketches use the first half, with the seed 0.

const FIRST: u64 = 0x87c3_7b91_1142_53d5;
const SECOND: u64 = 0x4cf5_ad43_2745_937f;

/// The hash of these bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let (mut first, mut second) = (0_u64, 0_u64);
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        let [low, high] = halves(block);
        first = (first ^ mixed_first(low)).rotate_left(27).wrapping_add(second).wrapping_mul(5).wrapping_add(0x52dc_e729);
        second = (second ^ mixed_second(high)).rotate_left(31).wrapping_add(first).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    if !rest.is_empty() {
        let mut block = [0; 16];
        block[..rest.len()].copy_from_slice(rest);
        let [low, high] = halves(&block);
        first ^= mixed_first(low);
        second ^= mixed_second(high);
    }
    let length = bytes.len() as u64;
    first ^= length;
    second ^= length;
    first = first.wrapping_add(second);
    second = second.wrapping_add(first);
    finished(first).wrapping_add(finished(second))
}

fn halves(block: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_le_bytes(*block);
    [whole as u64, (whole >> 64) as u64]
}

fn mixed_first(part: u64) -> u64 {
    part.wrapping_mul(FIRST).rotate_left(31).wrapping_mul(SECOND)
}

fn mixed_second(part: u64) -> u64 {
    part.wrapping_mul(SECOND).rotate_left(33).wrapping_mul(FIRST)
}

fn finished(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::hash;

    /// As Trino's `hash_counts` shows them.
    #[test]
    fn hashes_are_those_of_trino() {
        assert_eq!(hash(&1_i64.to_le_bytes()), 19_144_387_141_682_250);
        assert_eq!(hash(&2_i64.to_le_bytes()).cast_signed(), -2_447_670_524_089_286_488);
        assert_eq!(hash("ü".as_bytes()).cast_signed(), 4_669_766_304_960_176_369);
    }
}
