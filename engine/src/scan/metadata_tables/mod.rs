//! Tables about a table (`"orders$snapshots"`): Trino's names and types, filled from the table's metadata and manifests. They are small, so their
//! rows are made when the table is looked up.

mod files;
mod history;
mod manifests;
mod partitions;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use nunatak_catalog::Table;
use nunatak_catalog::snapshot::{ManifestCache, SnapshotFiles, files as live_files};
use nunatak_core::{Error, Result};

use crate::error::from_datafusion;

/// The metadata tables that every table has.
pub const KINDS: [&str; 7] = ["files", "history", "manifests", "partitions", "properties", "refs", "snapshots"];

/// The metadata table of that kind; `None` when there is no such kind.
pub async fn metadata_table(table: &Table, kind: &str, cache: &ManifestCache) -> Result<Option<Arc<dyn TableProvider>>> {
    let columns = match kind {
        "snapshots" => history::snapshots(table),
        "history" => history::history(table),
        "refs" => history::refs(table)?,
        "properties" => history::properties(table),
        "manifests" => manifests::manifests(table, cache).await?,
        "files" => files::files(table, &current_files(table, cache).await?)?,
        "partitions" => partitions::partitions(table, &current_files(table, cache).await?)?,
        _ => return Ok(None),
    };
    in_memory(columns).map(Some)
}

/// A column with its name.
type Named = (&'static str, ArrayRef);

fn in_memory(columns: Vec<Named>) -> Result<Arc<dyn TableProvider>> {
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, array)| array).collect())
        .map_err(|error| Error::internal("the columns of a metadata table do not fit together").with_source(error))?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]]).map_err(from_datafusion)?))
}

async fn current_files(table: &Table, cache: &ManifestCache) -> Result<SnapshotFiles> {
    match table.metadata.current_snapshot() {
        Some(snapshot) => live_files(table, snapshot, cache, &|_| true).await,
        None => Ok(SnapshotFiles::default()),
    }
}

fn texts(values: impl IntoIterator<Item = impl AsRef<str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn longs(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Int64Array>())
}

fn integers(values: impl IntoIterator<Item = impl Into<Option<i32>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Int32Array>())
}

fn times(millis: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(millis).with_timezone("UTC"))
}

fn long(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
