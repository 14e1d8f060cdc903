//! Deletion vectors: the blob `deletion-vector-v1` of the Puffin spec. Length, magic, a 64-bit Roaring bitmap in its portable form, and a checksum.

use nunatak_core::{Code, Error, Result};
use roaring::RoaringTreemap;

const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// Length, magic and checksum.
const FRAME_BYTES: usize = 12;

/// Reads a vector's positions. `path` is for messages.
///
/// Errors: `ICEBERG_BAD_DATA` for a blob that is cut, damaged, or has another number of positions than `cardinality`.
pub fn decode(blob: &[u8], cardinality: u64, path: &str) -> Result<RoaringTreemap> {
    let damaged = |what: String| Error::new(Code::IcebergBadData, format!("a deletion vector in '{path}' is damaged: {what}"));
    let parts = blob.split_first_chunk::<4>().and_then(|(length, rest)| Some((length, rest.split_last_chunk::<4>()?)));
    let Some((length, (body, checksum))) = parts.filter(|_| blob.len() >= FRAME_BYTES) else {
        return Err(damaged(format!("it has {} bytes, {FRAME_BYTES} at least are expected", blob.len())));
    };
    let (length, checksum) = (u32::from_be_bytes(*length), u32::from_be_bytes(*checksum));
    if usize::try_from(length).ok() != Some(body.len()) {
        return Err(damaged(format!("it says that it has {length} bytes, and has {}", body.len())));
    }
    let found = crc32fast::hash(body);
    if found != checksum {
        return Err(damaged(format!("its checksum is {found:08x}, {checksum:08x} is expected")));
    }
    let Some(bitmap) = body.strip_prefix(&MAGIC) else {
        return Err(damaged("it does not begin with the bytes of a deletion vector".to_owned()));
    };
    let positions = RoaringTreemap::deserialize_from(bitmap).map_err(|error| damaged(error.to_string()))?;
    if positions.len() != cardinality {
        return Err(damaged(format!("it deletes {} rows, but the table's metadata says {cardinality}", positions.len())));
    }
    Ok(positions)
}

/// A bitmap in its portable form as a blob.
pub fn framed(bitmap: &[u8]) -> Vec<u8> {
    let mut body = MAGIC.to_vec();
    body.extend_from_slice(bitmap);
    let mut blob = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    blob.extend_from_slice(&body);
    blob.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    blob
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(positions: &RoaringTreemap) -> Vec<u8> {
        let mut bitmap = Vec::new();
        positions.serialize_into(&mut bitmap).unwrap();
        framed(&bitmap)
    }

    #[test]
    fn positions_come_back() {
        let positions: RoaringTreemap = [0, 1, 5, 70_000, 1 << 33].into_iter().collect();
        assert_eq!(decode(&blob(&positions), 5, "x.puffin").unwrap(), positions);
    }

    #[test]
    fn damage_is_noticed() {
        let positions: RoaringTreemap = (0..1000).collect();
        let whole = blob(&positions);
        let error = |blob: &[u8], cardinality| decode(blob, cardinality, "x.puffin").unwrap_err().to_string();
        assert!(error(&whole, 999).contains("it deletes 1000 rows, but the table's metadata says 999"), "{}", error(&whole, 999));
        for length in 0..whole.len() {
            assert!(error(&whole[..length], 1000).starts_with("ICEBERG_BAD_DATA: a deletion vector in 'x.puffin' is damaged"));
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(error(&flipped, 1000).contains("is damaged"));
        }
    }
}
