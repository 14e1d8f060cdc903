//! From a query's batches to pages of rows.
//!
//! Pages are made by a task of the query, which waits while nobody takes them. A page is sent when it is full, or when the next rows let wait for them.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use futures::StreamExt;
use nunatak_coordinator::query::{RowStream, StatementKind};
use nunatak_core::Result;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::spooling::{self, Encoding, Segment, Spooled};
use super::types::Column;
use super::values;
use crate::limits;

/// Rows on their way to the client.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) columns: Arc<[Column]>,
    pub(super) content: Content,
    /// How many rows they are.
    pub(super) count: u64,
    /// Whether no page comes behind it.
    pub(super) is_last: bool,
    /// How many rows an update has changed.
    pub(super) update_count: Option<i64>,
}

/// The rows of a page.
#[derive(Debug)]
pub(super) enum Content {
    /// Arrays in JSON, separated by commas.
    Rows(Vec<u8>),
    /// Those that are fetched in segments, and where they are.
    Segments { encoding: Encoding, segments: Vec<Segment> },
}

impl Content {
    /// About what it takes in an answer, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Segments { segments, .. } => segments.iter().map(Segment::answer_bytes).sum(),
        }
    }
}

/// Makes pages of rows and sends them, to the end or until nobody takes them any more. Rows of a query are spooled if their client takes that.
pub(super) async fn send(
    rows: RowStream,
    schema: &SchemaRef,
    kind: StatementKind,
    parametric: bool,
    spooled: Option<&Spooled>,
    pages: &mpsc::Sender<Page>,
) -> Result<()> {
    match (kind, spooled) {
        (StatementKind::Query, Some(spooled)) => spooling::send_rows(rows, schema, parametric, spooled, pages).await,
        (StatementKind::Query, None) => send_rows(rows, schema, parametric, pages).await,
        (StatementKind::Update, _) => send_count(rows, schema, pages).await,
    }
}

async fn send_rows(mut rows: RowStream, schema: &Schema, parametric: bool, pages: &mpsc::Sender<Page>) -> Result<()> {
    let first = rows.next().await.transpose()?;
    let schema = values::announced(schema, first.as_ref());
    let columns: Arc<[Column]> = schema.fields().iter().map(|field| Column::new(field, parametric)).collect();
    let page = |rows, count, is_last| Page { columns: Arc::clone(&columns), content: Content::Rows(rows), count, is_last, update_count: None };
    let (mut written, mut count, mut flush_at) = (Vec::new(), 0, None);
    let mut next = first;
    while let Some(batch) = next.take() {
        for piece in pieces(&batch, limits::ROWS_PAGE_BYTES) {
            values::write_rows(&piece, &schema, parametric, &mut written)?;
            count += piece.num_rows() as u64;
            if written.len() >= limits::ROWS_PAGE_BYTES {
                if pages.send(page(std::mem::take(&mut written), std::mem::take(&mut count), false)).await.is_err() {
                    return Ok(());
                }
                flush_at = None;
            }
        }
        drop(batch);
        loop {
            if written.is_empty() {
                next = rows.next().await.transpose()?;
                break;
            }
            let until = *flush_at.get_or_insert_with(|| Instant::now() + limits::ROWS_PAGE_WAIT);
            match timeout_at(until, rows.next()).await {
                Ok(batch) => {
                    next = batch.transpose()?;
                    break;
                }
                Err(_) => {
                    if pages.send(page(std::mem::take(&mut written), std::mem::take(&mut count), false)).await.is_err() {
                        return Ok(());
                    }
                    flush_at = None;
                }
            }
        }
    }
    // Where nobody takes it, nobody is left.
    let _ = pages.send(page(written, count, true)).await;
    Ok(())
}

/// An update gives one row, the number of rows that it has changed. Where that is none of its business it has no columns either.
async fn send_count(mut rows: RowStream, schema: &Schema, pages: &mpsc::Sender<Page>) -> Result<()> {
    let mut changed: Option<i64> = None;
    while let Some(batch) = rows.next().await.transpose()? {
        let counts = batch.columns().first().and_then(|column| column.as_primitive_opt::<Int64Type>());
        for count in counts.iter().flat_map(|counts| counts.iter().flatten()) {
            changed = Some(changed.unwrap_or_default() + count);
        }
    }
    let columns: Arc<[Column]> = match changed {
        Some(_) => schema.fields().iter().map(|field| Column::new(field, true)).collect(),
        None => Arc::from([]),
    };
    let rows = changed.map(|count| format!("[{count}]").into_bytes()).unwrap_or_default();
    let page = Page { columns, content: Content::Rows(rows), count: u64::from(changed.is_some()), is_last: true, update_count: changed };
    let _ = pages.send(page).await;
    Ok(())
}

/// Cuts a batch into pieces of about that size, so that not all of a large one is there as JSON at once. It copies nothing.
pub(super) fn pieces(batch: &RecordBatch, piece_bytes: usize) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let count = bytes_of(batch).div_ceil(piece_bytes).clamp(1, rows.max(1));
    let length = rows.div_ceil(count).max(1);
    (0..rows).step_by(length).map(|offset| batch.slice(offset, length.min(rows - offset))).collect()
}

/// The size of rows that may be a part of larger arrays.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()));
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use futures::stream;
    use nunatak_core::{Code, Error};

    use super::*;

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap()
    }

    fn rows_of(page: &Page) -> String {
        match &page.content {
            Content::Rows(rows) => String::from_utf8_lossy(rows).into_owned(),
            Content::Segments { .. } => "segments".to_owned(),
        }
    }

    async fn pages_of(batches: Vec<Result<RecordBatch>>, kind: StatementKind, schema: &SchemaRef) -> (Result<()>, Vec<Page>) {
        let (sender, mut receiver) = mpsc::channel(100);
        let outcome = send(stream::iter(batches).boxed(), schema, kind, true, None, &sender).await;
        drop(sender);
        let mut pages = Vec::new();
        while let Some(page) = receiver.recv().await {
            pages.push(page);
        }
        (outcome, pages)
    }

    #[tokio::test]
    async fn large_results_have_several_pages_and_small_ones_one() {
        let texts = || batch(Arc::new(StringArray::from_iter_values((0..100_000).map(|n| format!("{n:0>50}")))));
        let (outcome, pages) = pages_of(vec![Ok(texts())], StatementKind::Query, &texts().schema()).await;
        assert!(outcome.is_ok() && pages.len() > 2 && pages.iter().all(|page| page.content.bytes() < 3 * limits::ROWS_PAGE_BYTES));
        assert_eq!((pages.iter().map(|page| page.count).sum::<u64>(), pages.iter().filter(|page| page.is_last).count()), (100_000, 1));
        let numbers = batch(Arc::new(Int64Array::from(vec![1, 2])));
        for (batches, rows) in [(vec![Ok(numbers.clone()), Ok(numbers.clone())], "[1],[2],[1],[2]"), (vec![], "")] {
            let (_, pages) = pages_of(batches, StatementKind::Query, &numbers.schema()).await;
            let texts: Vec<_> = pages.iter().map(|page| (rows_of(page), page.is_last)).collect();
            assert_eq!(texts, [(rows.to_owned(), true)]);
        }
    }

    #[tokio::test]
    async fn updates_have_a_count_or_no_columns() {
        for (count, columns, rows) in [(Some(7), 1, "[7]"), (None, 0, "")] {
            let changed = batch(Arc::new(Int64Array::from(vec![count])));
            let schema = changed.schema();
            let (_, pages) = pages_of(vec![Ok(changed)], StatementKind::Update, &schema).await;
            assert_eq!((pages[0].update_count, pages[0].columns.len(), rows_of(&pages[0])), (count, columns, rows.to_owned()));
        }
    }

    #[tokio::test]
    async fn an_error_comes_behind_the_rows() {
        let rows = batch(Arc::new(Int64Array::from_iter_values(0..1_000_000)));
        let schema = rows.schema();
        let (outcome, pages) = pages_of(vec![Ok(rows), Err(Error::internal("x"))], StatementKind::Query, &schema).await;
        assert_eq!(outcome.err().map(|error| error.code()), Some(Code::GenericInternalError));
        assert!(!pages.is_empty() && pages.iter().all(|page| !page.is_last));
    }
}
