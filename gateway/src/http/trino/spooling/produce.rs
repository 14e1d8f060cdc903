//! From a query's batches to segments.
//!
//! Rows are collected while the segment before them is compressed and written: of a result there are three segments in memory at most, before they are compressed. Where
//! storage fails the rest of the result comes in the answers, which all clients take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::StreamExt;
use nunatak_coordinator::query::RowStream;
use nunatak_core::{Error, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::super::pages::{Content, Page, pieces};
use super::super::types::Column;
use super::super::values;
use super::Spooled;
use super::data::{Place, Segment};
use super::encoding::{Buffer, Encoded, Encoding, Rows};
use crate::limits;

/// Collected rows that wait to be compressed and written.
const FILLED_AHEAD: usize = 1;

/// The rows of a segment.
struct Filled {
    rows: Rows,
    is_last: bool,
}

/// Makes segments of rows and sends them, to the end or until nobody takes them any more.
pub(in crate::http::trino) async fn send_rows(
    mut rows: RowStream,
    schema: &SchemaRef,
    parametric: bool,
    spooled: &Spooled,
    pages: &mpsc::Sender<Page>,
) -> Result<()> {
    let first = rows.next().await.transpose()?;
    let told = values::announced(schema, first.as_ref());
    let columns: Arc<[Column]> = told.fields().iter().map(|field| Column::new(field, parametric)).collect();
    let (sender, receiver) = mpsc::channel(FILLED_AHEAD);
    let has_failed = AtomicBool::new(false);
    let buffer = Buffer::new(spooled.0.encoding, schema, &told, parametric);
    let collected = collect(rows, first, buffer, spooled, &has_failed, sender);
    let handed_out = hand_out(receiver, &columns, spooled, &has_failed, pages);
    tokio::try_join!(collected, handed_out).map(|_| ())
}

/// Collects rows for one segment after the other.
async fn collect(
    mut rows: RowStream,
    first: Option<RecordBatch>,
    mut buffer: Buffer<'_>,
    spooled: &Spooled,
    has_failed: &AtomicBool,
    filled: mpsc::Sender<Filled>,
) -> Result<()> {
    let settings = spooled.0.spooling.spool.settings();
    let mut aim = settings.segment_initial_bytes;
    let mut since = None;
    let mut next = first;
    while let Some(batch) = next.take() {
        for piece in pieces(&batch, aim.min(limits::ROWS_PAGE_BYTES)) {
            buffer.push(&piece)?;
            // What comes in answers is as large as their rows are otherwise.
            let enough = if has_failed.load(Ordering::Relaxed) { aim.min(limits::ROWS_PAGE_BYTES) } else { aim };
            if buffer.bytes() >= enough {
                if filled.send(Filled { rows: buffer.take(), is_last: false }).await.is_err() {
                    return Ok(());
                }
                since = None;
                aim = (2 * aim).min(settings.segment_bytes_max);
            }
        }
        drop(batch);
        loop {
            if buffer.rows() == 0 {
                next = rows.next().await.transpose()?;
                break;
            }
            let begun = *since.get_or_insert_with(Instant::now);
            let wait = if spooled.is_inline(buffer.rows(), buffer.bytes()) { limits::ROWS_PAGE_WAIT } else { limits::SEGMENT_WAIT };
            match timeout_at(begun + wait, rows.next()).await {
                Ok(batch) => {
                    next = batch.transpose()?;
                    break;
                }
                Err(_) => {
                    if filled.send(Filled { rows: buffer.take(), is_last: false }).await.is_err() {
                        return Ok(());
                    }
                    since = None;
                }
            }
        }
    }
    // Where nobody takes it, nobody is left.
    let _ = filled.send(Filled { rows: buffer.take(), is_last: true }).await;
    Ok(())
}

/// Encodes what was collected, writes it, and sends what answers say of it.
async fn hand_out(
    mut filled: mpsc::Receiver<Filled>,
    columns: &Arc<[Column]>,
    spooled: &Spooled,
    has_failed: &AtomicBool,
    pages: &mpsc::Sender<Page>,
) -> Result<()> {
    let mut offset = 0;
    while let Some(Filled { rows, is_last }) = filled.recv().await {
        let count = rows.count;
        let mut segments = Vec::new();
        // Who reads Arrow is told its types by it, where there is no row too.
        let is_empty = is_last && offset == 0 && count == 0 && spooled.0.encoding == Encoding::ArrowZstd;
        if count > 0 || is_empty {
            let is_inline = is_empty || spooled.is_inline(count, rows.bytes) || has_failed.load(Ordering::Relaxed);
            let encoding = tokio::task::spawn_blocking(move || rows.encode()).await;
            let Encoded { bytes, uncompressed } =
                encoding.unwrap_or_else(|stopped| Err(Error::internal("the task that encodes a segment stopped").with_source(stopped)))?;
            let (size, bytes) = (bytes.len(), Bytes::from(bytes));
            let place = if is_inline { None } else { written(bytes.clone(), spooled, has_failed).await };
            segments.push(Segment { offset, rows: count, bytes: size, uncompressed, place: place.unwrap_or(Place::Inline(bytes)) });
            offset += count;
        }
        let content = Content::Segments { encoding: spooled.0.encoding, segments };
        if pages.send(Page { columns: Arc::clone(columns), content, count, is_last, update_count: None }).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes a segment, and gives where it is; `None` if that has failed.
async fn written(bytes: Bytes, spooled: &Spooled, has_failed: &AtomicBool) -> Option<Place> {
    let name = match spooled.write(bytes).await {
        Ok(name) => name,
        Err(error) => {
            has_failed.store(true, Ordering::Relaxed);
            tracing::warn!(query = %spooled.0.query, ?error, "a result cannot be spooled: the rest of it comes in the answers to its client");
            return None;
        }
    };
    let spooling = &spooled.0.spooling;
    // The address of ours serves as well.
    let signed = spooling.spool.signed_address(&name).await.unwrap_or_else(|error| {
        tracing::warn!(query = %spooled.0.query, %error, "storage signs no address of a segment: it is fetched here");
        None
    });
    Some(Place::Spooled { token: spooling.tokens.sign(&name), signed })
}
