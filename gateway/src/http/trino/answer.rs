//! The answer to a request for results: what is told of the query, and a page of rows that is JSON already.

use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use nunatak_core::{Error, Result};
use serde::Serialize;

use super::errors::QueryError;
use super::stats::Stats;
use super::types::Column;

/// What is told before the rows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head<'a> {
    pub(super) id: &'a str,
    pub(super) info_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) columns: Option<&'a [Column]>,
}

/// What is told behind them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tail {
    pub(super) stats: Stats,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<QueryError>,
    /// There are none yet.
    pub(super) warnings: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) update_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) update_count: Option<i64>,
}

/// An answer that can be given again.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What stands between them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data<'a> {
    /// Nothing.
    None,
    /// Rows: arrays separated by commas.
    Rows(&'a [u8]),
    /// An object that describes segments of rows.
    Segments(&'a [u8]),
}

/// One object of both, with the rows between them.
pub(super) fn body(head: &Head<'_>, data: Data<'_>, tail: &Tail) -> Result<Bytes> {
    let unwritable = |error: serde_json::Error| Error::internal("an answer cannot be written as JSON").with_source(error);
    let mut out = serde_json::to_vec(head).map_err(unwritable)?;
    let tail = serde_json::to_vec(tail).map_err(unwritable)?;
    out.pop();
    let (before, content, behind): (&[u8], &[u8], &[u8]) = match data {
        Data::None | Data::Rows([]) => (b"", b"", b""),
        Data::Rows(rows) => (b",\"data\":[", rows, b"]"),
        Data::Segments(object) => (b",\"data\":", object, b""),
    };
    out.reserve(content.len() + tail.len() + 16);
    for part in [before, content, behind] {
        out.extend_from_slice(part);
    }
    out.push(b',');
    out.extend_from_slice(&tail[1..]);
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::super::stats::{Phase, Times};
    use super::*;

    #[test]
    fn an_answer_is_one_object() {
        let head = Head { id: "q", info_uri: "i".to_owned(), next_uri: None, columns: Some(&[]) };
        let stats = Stats::new(Phase::Finished, &Times::default(), None, 0);
        let tail = Tail { stats, error: None, warnings: [], update_type: Some("INSERT"), update_count: Some(2) };
        for (given, data) in
            [(Data::None, None), (Data::Rows(b""), None), (Data::Rows(b"[1],[2]"), Some(2)), (Data::Segments(b"[{},{},{}]"), Some(3))]
        {
            let answer: serde_json::Value = serde_json::from_slice(&body(&head, given, &tail).unwrap()).unwrap();
            assert_eq!(
                (answer["id"].as_str(), answer["updateCount"].as_i64(), answer["stats"]["state"].as_str()),
                (Some("q"), Some(2), Some("FINISHED"))
            );
            assert_eq!(answer.get("data").and_then(|rows| rows.as_array()).map(Vec::len), data);
        }
    }
}
