//! Statistics files of snapshots: how many distinct values columns have, with the theta sketches behind these numbers. Puffin files that a table's metadata names
//! (Iceberg table spec, "Table Statistics"; Puffin spec, "apache-datasketches-theta-v1").

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::puffin::{APACHE_DATASKETCHES_THETA_V1, Blob, CompressionCodec, PuffinReader, PuffinWriter};
use iceberg::spec::BlobMetadata;
use nunatak_core::{Code, Error, Result, Retry};
use uuid::Uuid;

use crate::backend::Catalog;
use crate::backend::metadata_file::metadata_folder;
use crate::commit::attempts::{self, Attempt, Change};
use crate::commit::{self, CommitError};
use crate::error::{from_iceberg, guarded_async};
use crate::spec::{Snapshot, StatisticsFile, TableMetadata, TableRequirement, TableUpdate};
use crate::storage::Storage;
use crate::table::Table;

/// The property of a blob that says how many distinct values there are.
const DISTINCT_COUNT: &str = "ndv";

/// What a Puffin file ends with behind its footer's text: the text's length, flags and a magic.
const FOOTER_END_BYTES: u64 = 12;

/// The distinct values of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct DistinctValues {
    /// About how many there are.
    pub count: u64,
    /// The serialized form of a compact theta sketch of them.
    pub sketch: Vec<u8>,
}

/// How many distinct values columns have, by field id, as far as statistics files of a snapshot and of those before it say: the youngest file that knows a
/// column counts.
pub fn distinct_counts(metadata: &TableMetadata, snapshot: &Snapshot) -> BTreeMap<i32, u64> {
    let mut counts = BTreeMap::new();
    let mut next = Some(snapshot.snapshot_id());
    // Damaged metadata may have snapshots that descend from each other.
    for _ in 0..metadata.snapshots().len() {
        let Some(id) = next.filter(|_| metadata.statistics_iter().len() > 0) else { break };
        for blob in metadata.statistics_for_snapshot(id).into_iter().flat_map(|file| &file.blob_metadata) {
            if let Some((field, count)) = distinct_count(blob) {
                counts.entry(field).or_insert(count);
            }
        }
        next = metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
    }
    counts
}

fn distinct_count(blob: &BlobMetadata) -> Option<(i32, u64)> {
    let [field] = blob.fields[..] else { return None };
    let count = blob.properties.get(DISTINCT_COUNT).filter(|_| blob.r#type == APACHE_DATASKETCHES_THETA_V1)?;
    Some((field, count.parse().ok()?))
}

/// Writes what is known of a snapshot's columns, by field id, and makes it the statistics of that snapshot. What another file knows of other columns of the same
/// snapshot is kept.
///
/// Errors: `TRANSACTION_CONFLICT` when the snapshot is gone, or others have changed the table at each attempt; `COMMIT_STATE_UNKNOWN`.
pub async fn write(catalog: &dyn Catalog, table: &Table, snapshot: &Snapshot, columns: &BTreeMap<i32, DistinctValues>) -> Result<()> {
    let mut blobs: Vec<Blob> = columns.iter().map(|(field, values)| blob(snapshot, *field, values)).collect();
    if let Some(before) = table.metadata.statistics_for_snapshot(snapshot.snapshot_id()) {
        let is_replaced =
            |blob: &Blob| blob.blob_type() == APACHE_DATASKETCHES_THETA_V1 && blob.fields().iter().all(|field| columns.contains_key(field));
        blobs.extend(read_blobs(&table.storage, &before.statistics_path).await?.into_iter().filter(|blob| !is_replaced(blob)));
    }
    let path = format!("{}/{}-{}.stats", metadata_folder(&table.metadata), snapshot.snapshot_id(), Uuid::new_v4());
    let committed = match write_file(table, &path, snapshot, blobs).await {
        Ok(file) => attempts::commit(catalog, table, &NewStatistics { base: table, file }).await,
        Err(error) => Err(CommitError::Failed(error)),
    };
    match committed {
        Ok(_) => Ok(()),
        Err(CommitError::Unknown(error)) => {
            Err(commit::unknown(&format!("the statistics of table '{}' were written", table.name), error).with_hint("run the statement again"))
        }
        Err(CommitError::Conflict(error) | CommitError::Failed(error)) => {
            if let Err(error) = table.storage.delete_files(std::slice::from_ref(&path)).await {
                tracing::warn!(%error, path, "a file of statistics was left behind");
            }
            Err(error)
        }
    }
}

fn blob(snapshot: &Snapshot, field: i32, values: &DistinctValues) -> Blob {
    Blob::builder()
        .r#type(APACHE_DATASKETCHES_THETA_V1.to_owned())
        .fields(vec![field])
        .snapshot_id(snapshot.snapshot_id())
        .sequence_number(snapshot.sequence_number())
        .data(values.sketch.clone())
        .properties(HashMap::from([(DISTINCT_COUNT.to_owned(), values.count.to_string())]))
        .build()
}

/// The blobs of a statistics file.
///
/// Errors: `ICEBERG_INVALID_METADATA` for a file that is damaged, and those of its storage.
pub async fn read_blobs(storage: &Arc<Storage>, path: &str) -> Result<Vec<Blob>> {
    let failed = |error| from_iceberg(error, Code::IcebergInvalidMetadata, format!("cannot read statistics file '{path}'"));
    let read = async {
        let reader = PuffinReader::new(storage.file_io().new_input(path).map_err(failed)?);
        let mut blobs = Vec::new();
        for blob in reader.file_metadata().await.map_err(failed)?.blobs() {
            blobs.push(reader.blob(blob).await.map_err(failed)?);
        }
        Ok(blobs)
    };
    guarded_async(format!("statistics file '{path}'"), read).await
}

async fn write_file(table: &Table, path: &str, snapshot: &Snapshot, blobs: Vec<Blob>) -> Result<StatisticsFile> {
    let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write statistics file '{path}'"));
    let blob_metadata = blobs.iter().map(metadata_of).collect();
    let output = table.storage.file_io().new_output(path).map_err(failed)?;
    let created_by = HashMap::from([("created-by".to_owned(), format!("nunatak {}", env!("CARGO_PKG_VERSION")))]);
    let mut writer = PuffinWriter::new(&output, created_by, false).await.map_err(failed)?;
    for blob in blobs {
        writer.add(blob, CompressionCodec::zstd_default()).await.map_err(failed)?;
    }
    writer.close().await.map_err(failed)?;
    let (size, footer_size) = sizes(table, path).await?;
    Ok(StatisticsFile {
        snapshot_id: snapshot.snapshot_id(),
        statistics_path: path.to_owned(),
        file_size_in_bytes: size,
        file_footer_size_in_bytes: footer_size,
        key_metadata: None,
        blob_metadata,
    })
}

fn metadata_of(blob: &Blob) -> BlobMetadata {
    BlobMetadata {
        r#type: blob.blob_type().to_owned(),
        snapshot_id: blob.snapshot_id(),
        sequence_number: blob.sequence_number(),
        fields: blob.fields().to_vec(),
        properties: blob.properties().clone(),
    }
}

/// The bytes of a Puffin file, and those of its footer with both its magics. The crate's writer tells neither.
async fn sizes(table: &Table, path: &str) -> Result<(i64, i64)> {
    let gone = || Error::new(Code::IcebergFilesystemError, format!("statistics file '{path}' is gone right after it was written"));
    let size = table.storage.size_bytes(path).await?.ok_or_else(gone)?;
    let start = size.checked_sub(FOOTER_END_BYTES).ok_or_else(gone)?;
    let end = table.storage.read_range(path, start..size).await?;
    let text = end.first_chunk::<4>().map(|length| u32::from_le_bytes(*length)).ok_or_else(gone)?;
    let footer = i64::from(text) + i64::try_from(FOOTER_END_BYTES).unwrap_or_default() + 4;
    Ok((i64::try_from(size).unwrap_or(i64::MAX), footer))
}

/// A file on its way. Nothing that others do is in its way, as long as the snapshot is there.
struct NewStatistics<'a> {
    base: &'a Table,
    file: StatisticsFile,
}

impl Change for NewStatistics<'_> {
    async fn attempt(&self, table: &Table, _number: u32) -> Result<Attempt, CommitError> {
        if table.metadata.snapshot_by_id(self.file.snapshot_id).is_none() {
            return Err(CommitError::Conflict(gone(self.base)));
        }
        Ok(Attempt {
            requirements: vec![TableRequirement::UuidMatch { uuid: table.metadata.uuid() }],
            updates: vec![TableUpdate::SetStatistics { statistics: self.file.clone() }],
            ..Attempt::default()
        })
    }

    fn is_in(&self, table: &Table, _base: &Table, _updates: &[TableUpdate]) -> Option<bool> {
        (table.metadata.statistics_for_snapshot(self.file.snapshot_id) == Some(&self.file)).then_some(true)
    }
}

fn gone(base: &Table) -> Error {
    Error::new(Code::TransactionConflict, format!("the snapshot of table '{}' that was analyzed is gone", base.name))
        .with_hint("run the statement again")
        .with_retry(Retry::Query)
}
