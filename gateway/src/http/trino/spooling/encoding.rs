//! The encodings of segments: rows in JSON as answers have them, plain or compressed as a whole, and streams of Arrow IPC, whose buffers are compressed.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use nunatak_core::{Error, Result};

use super::super::pages::bytes_of;
use super::super::values;
use crate::limits;

/// What is fast: more of it makes JSON smaller by a tenth, and takes twice the time.
const ZSTD_LEVEL: i32 = 1;

/// How the rows of a segment are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::trino) enum Encoding {
    /// A list of rows.
    Json,
    /// The same as one frame of zstd.
    JsonZstd,
    /// The same as one block of LZ4, without a frame.
    JsonLz4,
    /// A stream of Arrow IPC.
    ArrowZstd,
}

/// Rows on their way into a segment.
pub(super) struct Buffer<'a> {
    encoding: Encoding,
    schema: &'a SchemaRef,
    /// The columns as clients are told of them.
    told: &'a Schema,
    parametric: bool,
    /// Arrays in JSON, separated by commas.
    json: Vec<u8>,
    batches: Vec<RecordBatch>,
    bytes: usize,
    rows: u64,
}

/// The rows of a segment, not encoded yet.
pub(super) struct Rows {
    encoding: Encoding,
    content: Content,
    /// How many they are.
    pub(super) count: u64,
    /// Their size, in bytes before they are compressed.
    pub(super) bytes: usize,
}

enum Content {
    Json(Vec<u8>),
    Arrow(SchemaRef, Vec<RecordBatch>),
}

/// A segment.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// Its size before it was compressed as a whole, if it was.
    pub(super) uncompressed: Option<usize>,
}

impl Encoding {
    /// The one of that name, if there is one.
    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Json, Self::JsonZstd, Self::JsonLz4, Self::ArrowZstd].into_iter().find(|encoding| encoding.name() == name)
    }

    /// Its name in the protocol.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonZstd => "json+zstd",
            Self::JsonLz4 => "json+lz4",
            Self::ArrowZstd => "arrow+zstd",
        }
    }
}

impl<'a> Buffer<'a> {
    /// No rows yet. `told` is what [`values::announced`] gave.
    pub(super) fn new(encoding: Encoding, schema: &'a SchemaRef, told: &'a Schema, parametric: bool) -> Self {
        Self { encoding, schema, told, parametric, json: Vec::new(), batches: Vec::new(), bytes: 0, rows: 0 }
    }

    /// Adds rows. Errors: those of [`values::write_rows`].
    pub(super) fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        match self.encoding {
            Encoding::Json | Encoding::JsonZstd | Encoding::JsonLz4 => {
                values::write_rows(rows, self.told, self.parametric, &mut self.json)?;
                self.bytes = self.json.len();
            }
            Encoding::ArrowZstd => {
                self.bytes += bytes_of(rows);
                self.batches.push(rows.clone());
            }
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Their size, in bytes before they are compressed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All rows that were added since the last time.
    pub(super) fn take(&mut self) -> Rows {
        let content = match self.encoding {
            Encoding::Json | Encoding::JsonZstd | Encoding::JsonLz4 => Content::Json(std::mem::take(&mut self.json)),
            Encoding::ArrowZstd => Content::Arrow(SchemaRef::clone(self.schema), std::mem::take(&mut self.batches)),
        };
        Rows { encoding: self.encoding, content, count: std::mem::take(&mut self.rows), bytes: std::mem::take(&mut self.bytes) }
    }
}

impl Rows {
    /// Encodes them, which takes a while.
    pub(super) fn encode(self) -> Result<Encoded> {
        let json = match self.content {
            Content::Arrow(schema, batches) => {
                let bytes = stream(&schema, &batches).map_err(|error| Error::internal("rows cannot be written as Arrow").with_source(error))?;
                return Ok(Encoded { bytes, uncompressed: None });
            }
            Content::Json(rows) => list(rows),
        };
        // Clients take what says no size as it is.
        if json.len() < limits::SEGMENT_COMPRESSED_BYTES_MIN {
            return Ok(Encoded { bytes: json, uncompressed: None });
        }
        let bytes = match self.encoding {
            Encoding::JsonZstd => {
                zstd::bulk::compress(&json, ZSTD_LEVEL).map_err(|error| Error::internal("a segment cannot be compressed").with_source(error))?
            }
            Encoding::JsonLz4 => lz4_flex::block::compress(&json),
            Encoding::Json | Encoding::ArrowZstd => return Ok(Encoded { bytes: json, uncompressed: None }),
        };
        Ok(Encoded { bytes, uncompressed: Some(json.len()) })
    }
}

/// Rows, separated by commas, as a list.
fn list(mut rows: Vec<u8>) -> Vec<u8> {
    rows.reserve(2);
    rows.insert(0, b'[');
    rows.push(b']');
    rows
}

fn stream(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn rows(count: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|number| format!("text {number}"))));
        RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap()
    }

    fn encoded(encoding: Encoding, batches: &[RecordBatch]) -> (Encoded, u64) {
        let schema = batches[0].schema();
        let mut buffer = Buffer::new(encoding, &schema, &schema, true);
        for batch in batches {
            buffer.push(batch).unwrap();
        }
        let rows = buffer.take();
        assert_eq!((buffer.rows(), buffer.bytes()), (0, 0));
        let count = rows.count;
        (rows.encode().unwrap(), count)
    }

    #[test]
    fn the_first_that_is_known_is_taken() {
        for encoding in [Encoding::Json, Encoding::JsonZstd, Encoding::JsonLz4, Encoding::ArrowZstd] {
            assert_eq!(Encoding::of(encoding.name()), Some(encoding));
        }
        assert_eq!(Encoding::of("protobuf"), None);
    }

    #[test]
    fn json_is_the_same_however_it_is_compressed() {
        let batches = [rows(5_000).slice(100, 2_000), rows(3)];
        let (plain, count) = encoded(Encoding::Json, &batches);
        assert_eq!((count, plain.uncompressed), (2_003, None));
        let read: serde_json::Value = serde_json::from_slice(&plain.bytes).unwrap();
        assert_eq!((&read[0], &read[2_002]), (&serde_json::json!([100, "text 100"]), &serde_json::json!([2, "text 2"])));
        let (zstd, _) = encoded(Encoding::JsonZstd, &batches);
        assert_eq!(zstd::bulk::decompress(&zstd.bytes, plain.bytes.len()).unwrap(), plain.bytes);
        let (lz4, _) = encoded(Encoding::JsonLz4, &batches);
        assert_eq!(lz4_flex::block::decompress(&lz4.bytes, plain.bytes.len()).unwrap(), plain.bytes);
        for compressed in [zstd, lz4] {
            assert!(compressed.uncompressed == Some(plain.bytes.len()) && compressed.bytes.len() < plain.bytes.len() / 2);
        }
        let (small, _) = encoded(Encoding::JsonZstd, &[rows(1)]);
        assert_eq!((small.bytes.as_slice(), small.uncompressed), (&br#"[[0,"text 0"]]"#[..], None));
    }

    #[test]
    fn arrow_is_a_stream_of_its_own() {
        let batches = [rows(5_000).slice(100, 2_000), rows(3)];
        let (arrow, count) = encoded(Encoding::ArrowZstd, &batches);
        let read: Vec<_> = StreamReader::try_new(arrow.bytes.as_slice(), None).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!((count, read.as_slice(), arrow.uncompressed), (2_003, &batches[..], None));
        assert!(arrow.bytes.len() < 20_000, "{}", arrow.bytes.len());
    }
}
