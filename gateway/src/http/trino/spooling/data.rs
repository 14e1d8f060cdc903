//! What an answer says of segments.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use nunatak_core::{Error, Result};
use serde::Serialize;

use super::encoding::Encoding;

/// About what the description of a segment takes, without rows.
const DESCRIPTION_BYTES: usize = 1024;

/// A segment of a result.
#[derive(Debug)]
pub(in crate::http::trino) struct Segment {
    /// How many rows are before it.
    pub(super) offset: u64,
    /// How many it has.
    pub(super) rows: u64,
    /// Its size in bytes.
    pub(super) bytes: usize,
    /// What it was before it was compressed, if it was.
    pub(super) uncompressed: Option<usize>,
    pub(super) place: Place,
}

/// Where a segment is.
#[derive(Debug)]
pub(super) enum Place {
    /// In the answer.
    Inline(Bytes),
    /// In storage.
    Spooled {
        /// What stands for it in addresses of ours.
        token: String,
        /// The address at its store, if it is fetched there.
        signed: Option<String>,
    },
}

#[derive(Serialize)]
struct Data {
    encoding: &'static str,
    segments: Vec<Described>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Described {
    Inline { data: String, metadata: Attributes },
    Spooled { uri: String, ack_uri: String, metadata: Attributes },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    row_offset: u64,
    rows_count: u64,
    segment_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    uncompressed_size: Option<usize>,
}

impl Segment {
    /// About what it takes in an answer, in bytes.
    pub(in crate::http::trino) fn answer_bytes(&self) -> usize {
        match &self.place {
            Place::Inline(bytes) => DESCRIPTION_BYTES + bytes.len() / 3 * 4,
            Place::Spooled { .. } => DESCRIPTION_BYTES,
        }
    }

    fn described(&self, base: &str) -> Described {
        let metadata = Attributes { row_offset: self.offset, rows_count: self.rows, segment_size: self.bytes, uncompressed_size: self.uncompressed };
        match &self.place {
            Place::Inline(bytes) => Described::Inline { data: STANDARD.encode(bytes), metadata },
            Place::Spooled { token, signed } => Described::Spooled {
                uri: signed.clone().unwrap_or_else(|| format!("{base}/v1/spooled/download/{token}")),
                ack_uri: format!("{base}/v1/spooled/ack/{token}"),
                metadata,
            },
        }
    }
}

/// Segments in JSON, for a client that reaches this server at `base`.
pub(in crate::http::trino) fn describe(encoding: Encoding, segments: &[Segment], base: &str) -> Result<Vec<u8>> {
    let segments = segments.iter().map(|segment| segment.described(base)).collect();
    let data = Data { encoding: encoding.name(), segments };
    serde_json::to_vec(&data).map_err(|error| Error::internal("segments cannot be written as JSON").with_source(error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The shape is that of Trino 476.
    #[test]
    fn segments_are_described_as_trino_does() {
        let place = Place::Spooled { token: "t".to_owned(), signed: None };
        let spooled = Segment { offset: 1, rows: 9, bytes: 100, uncompressed: Some(1_000), place };
        let inline = Segment { offset: 0, rows: 1, bytes: 5, uncompressed: None, place: Place::Inline(Bytes::from_static(b"[[1]]")) };
        let written = describe(Encoding::JsonZstd, &[inline, spooled], "http://h:1").unwrap();
        let wanted = json!({
            "encoding": "json+zstd",
            "segments": [
                {"type": "inline", "data": "W1sxXV0=", "metadata": {"rowOffset": 0, "rowsCount": 1, "segmentSize": 5}},
                {
                    "type": "spooled",
                    "uri": "http://h:1/v1/spooled/download/t",
                    "ackUri": "http://h:1/v1/spooled/ack/t",
                    "metadata": {"rowOffset": 1, "rowsCount": 9, "segmentSize": 100, "uncompressedSize": 1_000}
                }
            ]
        });
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&written).unwrap(), wanted);
        let place = Place::Spooled { token: "t".to_owned(), signed: Some("http://store/x?signature".to_owned()) };
        let stored = Segment { offset: 0, rows: 1, bytes: 1, uncompressed: None, place };
        let written: serde_json::Value = serde_json::from_slice(&describe(Encoding::Json, &[stored], "http://h:1").unwrap()).unwrap();
        assert_eq!(written["segments"][0]["uri"], "http://store/x?signature");
    }
}
