//! Tables about a table (`"orders$snapshots"`): Trino's names and types where Trino has them and Iceberg's where it does not, filled from the table's
//! metadata and manifests. They are small, so their rows are made when the table is looked up.

mod entries;
mod files;
mod history;
mod manifests;
mod partitions;
mod position_deletes;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Field, Schema};
use chrono::DateTime;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use nunatak_catalog::Table;
use nunatak_catalog::snapshot::{self, ManifestCache, SnapshotFiles};
use nunatak_catalog::spec::{Datum, ManifestFile, PrimitiveLiteral, PrimitiveType};
use nunatak_core::{Error, Result};

use super::provider::ScanContext;
use crate::error::from_datafusion;

/// The metadata tables that every table has. Those that begin with `all_` are about all snapshots, the others about the current one.
pub const KINDS: [&str; 13] = [
    "all_entries",
    "all_files",
    "all_manifests",
    "entries",
    "files",
    "history",
    "manifests",
    "metadata_log_entries",
    "partitions",
    "position_deletes",
    "properties",
    "refs",
    "snapshots",
];

/// The metadata table of that kind; `None` when there is no such kind.
pub async fn metadata_table(table: &Table, kind: &str, context: &ScanContext) -> Result<Option<Arc<dyn TableProvider>>> {
    let cache = context.manifest_cache();
    let columns = match kind {
        "snapshots" => history::snapshots(table),
        "history" => history::history(table),
        "metadata_log_entries" => history::metadata_log_entries(table),
        "refs" => history::refs(table)?,
        "properties" => history::properties(table),
        "manifests" => manifests::manifests(table, cache).await?,
        "all_manifests" => manifests::all_manifests(table, cache).await?,
        "files" => files::files(table, &current_files(table, cache).await?)?,
        "all_files" => files::files(table, &all_files(table, cache).await?)?,
        "entries" => entries::entries(table, current_manifests(table, cache).await?).await?,
        "all_entries" => entries::entries(table, distinct_manifests(table, cache).await?).await?,
        "partitions" => partitions::partitions(table, &current_files(table, cache).await?)?,
        "position_deletes" => {
            position_deletes::position_deletes(table, &current_files(table, cache).await?, &context.deletes(&table.storage)).await?
        }
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
    match table.head() {
        Some(snapshot) => snapshot::files(table, snapshot, cache, &|_| true).await,
        None => Ok(SnapshotFiles::default()),
    }
}

async fn current_manifests(table: &Table, cache: &ManifestCache) -> Result<Vec<ManifestFile>> {
    match table.head() {
        Some(snapshot) => Ok(snapshot::manifests(table, snapshot, cache).await?.to_vec()),
        None => Ok(Vec::new()),
    }
}

/// The manifests of all snapshots, each once.
async fn distinct_manifests(table: &Table, cache: &ManifestCache) -> Result<Vec<ManifestFile>> {
    let mut seen = HashSet::new();
    let all = snapshot::all_manifests(table, cache).await?.into_iter().map(|(_, manifest)| manifest);
    Ok(all.filter(|manifest| seen.insert(manifest.manifest_path.clone())).collect())
}

async fn all_files(table: &Table, cache: &ManifestCache) -> Result<SnapshotFiles> {
    snapshot::files_of(table, distinct_manifests(table, cache).await?.into_iter(), cache).await
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

/// A bound as text. That of the iceberg crate panics over fractions of seconds before 1970 with a zone, and over what no calendar has.
fn bound_text(bound: &Datum) -> String {
    const DAY_SECONDS: i64 = 86_400;
    let number = match bound.literal() {
        PrimitiveLiteral::Int(number) => i64::from(*number),
        PrimitiveLiteral::Long(number) => *number,
        _ => return bound.to_human_string(),
    };
    let text = match bound.data_type() {
        PrimitiveType::Date => DateTime::from_timestamp(number * DAY_SECONDS, 0).map(|moment| moment.date_naive().to_string()),
        PrimitiveType::Time => (0..DAY_SECONDS * 1_000_000).contains(&number).then(|| bound.to_human_string()),
        PrimitiveType::Timestamp => DateTime::from_timestamp_micros(number).map(|moment| moment.naive_utc().to_string()),
        PrimitiveType::Timestamptz => DateTime::from_timestamp_micros(number).map(|moment| moment.to_string()),
        PrimitiveType::TimestampNs => Some(DateTime::from_timestamp_nanos(number).naive_utc().to_string()),
        PrimitiveType::TimestamptzNs => Some(DateTime::from_timestamp_nanos(number).to_string()),
        _ => None,
    };
    text.unwrap_or_else(|| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_all_times_have_texts() {
        let texts = [
            Datum::timestamptz_micros(-1),
            Datum::timestamptz_micros(i64::MIN),
            Datum::timestamp_micros(-1),
            Datum::timestamp_micros(i64::MAX),
            Datum::timestamptz_nanos(-1),
            Datum::date(-1),
            Datum::date(i32::MAX),
            Datum::long(-5),
            Datum::string("a"),
        ];
        let expected = [
            "1969-12-31 23:59:59.999999 UTC",
            "-9223372036854775808",
            "1969-12-31 23:59:59.999999",
            "9223372036854775807",
            "1969-12-31 23:59:59.999999999 UTC",
            "1969-12-31",
            "2147483647",
            "-5",
            "a",
        ];
        assert_eq!(texts.map(|bound| bound_text(&bound)), expected);
    }
}
