//! Deletion vectors: the blob `deletion-vector-v1` of the Puffin spec. Length, magic, a 64-bit Roaring bitmap in its portable form, and a checksum.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::puffin::{Blob, CompressionCodec, DELETION_VECTOR_V1, PuffinReader, PuffinWriter};
use nunatak_core::{Code, Error, Result};
use roaring::RoaringTreemap;

use crate::error::from_iceberg;
use crate::storage::Storage;

/// The id of the column `_pos` (table spec, "Reserved Field IDs"), which Java's vectors name as theirs.
const POSITION_ID: i32 = i32::MAX - 2;
/// The properties of a vector's blob.
const REFERENCED_DATA_FILE: &str = "referenced-data-file";
const CARDINALITY: &str = "cardinality";

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

/// Where a vector lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where its blob begins.
    pub offset: i64,
    /// The length of the blob.
    pub length: i64,
}

/// Writes the vectors of data files, by their locations, into a Puffin file: where each of them lies, in the same order, and the length of the file.
///
/// Errors: those of its storage.
pub async fn write(storage: &Arc<Storage>, path: &str, vectors: &[(String, RoaringTreemap)]) -> Result<(Vec<Placed>, u64)> {
    let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write deletion vectors to '{path}'"));
    let file_io = storage.file_io();
    let output = file_io.new_output(path).map_err(failed)?;
    let created_by = HashMap::from([("created-by".to_owned(), format!("nunatak {}", env!("CARGO_PKG_VERSION")))]);
    let mut writer = PuffinWriter::new(&output, created_by, false).await.map_err(failed)?;
    for (data_file, positions) in vectors {
        writer.add(blob(data_file, positions)?, CompressionCodec::None).await.map_err(failed)?;
    }
    writer.close().await.map_err(failed)?;
    // The writer does not tell where it has put them.
    let reader = PuffinReader::new(file_io.new_input(path).map_err(failed)?);
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let blobs = reader.file_metadata().await.map_err(failed)?.blobs().iter();
    let placed: Vec<Placed> = blobs.map(|blob| Placed { offset: number(blob.offset()), length: number(blob.length()) }).collect();
    let size = storage.size_bytes(path).await?.filter(|_| placed.len() == vectors.len());
    let size = size.ok_or_else(|| Error::new(Code::IcebergFilesystemError, format!("'{path}' is another file right after it was written")))?;
    Ok((placed, size))
}

fn blob(data_file: &str, positions: &RoaringTreemap) -> Result<Blob> {
    let mut bitmap = Vec::with_capacity(positions.serialized_size());
    positions.serialize_into(&mut bitmap).map_err(|error| Error::internal("a deletion vector cannot be written").with_source(error))?;
    let properties = [(REFERENCED_DATA_FILE, data_file.to_owned()), (CARDINALITY, positions.len().to_string())];
    // It inherits both numbers from its commit.
    let inherited = -1;
    Ok(Blob::builder()
        .r#type(DELETION_VECTOR_V1.to_owned())
        .fields(vec![POSITION_ID])
        .snapshot_id(inherited)
        .sequence_number(inherited)
        .data(framed(&bitmap))
        .properties(properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        .build())
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
