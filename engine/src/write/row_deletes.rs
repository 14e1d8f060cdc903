//! The deletes of a statement: which rows of which data files are no longer becomes files of position deletes (version 2) or deletion vectors (version 3) beside
//! them. A data file of which no row is left is removed instead.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use nunatak_catalog::commit::RowDelta;
use nunatak_catalog::deletion_vector;
use nunatak_catalog::snapshot::FileEntry;
use nunatak_catalog::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion};
use nunatak_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;

use super::changes::DeletedRows;
use super::discard_at;
use super::location::{Locations, file_name};
use super::upload::from_parquet;
use crate::scan::deletes::{FILE_PATH_ID, POSITION_ID, position_delete_schema};
use crate::scan::{IcebergTable, ScanContext, file_number};

/// How many files are read or written at the same time.
const FILES_MAX: usize = 8;
/// What the footer of a file of position deletes says of its columns, as in Java's files.
const SCHEMA_OF_DELETES: &str = r#"{"type":"struct","schema-id":0,"fields":[{"id":2147483546,"name":"file_path","required":true,"type":"string"},{"id":2147483545,"name":"pos","required":true,"type":"long"}]}"#;

/// A data file with rows that are deleted.
struct Touched {
    entry: Arc<FileEntry>,
    /// All rows that are deleted by their positions, those from before too.
    deleted: RoaringTreemap,
    /// How many more they are than before.
    added: RoaringTreemap,
}

impl Touched {
    fn path(&self) -> &str {
        self.entry.file.file_path()
    }

    fn is_empty_now(&self) -> bool {
        self.deleted.len() == self.entry.file.record_count()
    }
}

/// Writes what deletes these rows, by data file, of the snapshot that `table` is at: a change to commit. Nobody sees the files before.
///
/// A table of version 1 knows no files of deletes: there they only serve to write its data files again.
///
/// Errors: those of reading deletes and of writing files. Then the files that were written are removed again.
pub async fn row_deletes(table: &IcebergTable, scan: &ScanContext, rows: DeletedRows, query_id: &str) -> Result<RowDelta> {
    if rows.is_empty() {
        return Ok(RowDelta::default());
    }
    let touched = touched(table, scan, rows.into_positions()).await?;
    let index = &table.load_files().await?.deletes;
    let mut delta = RowDelta::default();
    let version = table.table().metadata.format_version();
    for file in &touched {
        let is_removed = file.is_empty_now();
        if is_removed {
            delta.removed_data.insert(file.path().to_owned());
        }
        // A new vector has all deletes of its data file; a new file of position deletes stands beside the old ones.
        if is_removed || version >= FormatVersion::V3 {
            delta.removed_deletes.extend(index.only_of(file.path()));
        }
    }
    let kept: Vec<Touched> = touched.into_iter().filter(|file| !file.is_empty_now()).collect();
    delta.deletes = match version {
        _ if kept.is_empty() => Vec::new(),
        FormatVersion::V1 | FormatVersion::V2 => position_deletes(table, &kept, query_id).await?,
        FormatVersion::V3 => vectors(table, &kept, query_id).await?,
    };
    Ok(delta)
}

/// The removal of all files of the snapshot that `table` is at, and how many rows they hold; `None` if deletes make that number uncertain.
pub async fn all_rows(table: &IcebergTable, scan: &ScanContext) -> Result<(RowDelta, Option<u64>)> {
    let Some(snapshot) = table.snapshot() else { return Ok((RowDelta::default(), Some(0))) };
    let files = nunatak_catalog::snapshot::files(table.table(), snapshot, scan.manifest_cache(), &|_| true).await?;
    let rows = files.deletes.is_empty().then(|| files.data.iter().map(|entry| entry.file.record_count()).sum());
    let delta = RowDelta {
        removed_data: files.data.iter().map(|entry| entry.file.file_path().to_owned()).collect(),
        removed_deletes: files.deletes.iter().map(|entry| entry.key()).collect(),
        ..RowDelta::default()
    };
    Ok((delta, rows))
}

async fn touched(table: &IcebergTable, scan: &ScanContext, mut rows: BTreeMap<i64, RoaringTreemap>) -> Result<Vec<Touched>> {
    let files = table.load_files().await?;
    let mut numbers = HashSet::new();
    let mut found: Vec<(Arc<FileEntry>, RoaringTreemap)> = Vec::with_capacity(rows.len());
    for entry in &files.files {
        let number = file_number(entry.file.file_path());
        if !numbers.insert(number) {
            return Err(Error::internal(format!("another data file has the same number as '{}'", entry.file.file_path())));
        }
        found.extend(rows.remove(&number).map(|rows| (Arc::clone(entry), rows)));
    }
    if !rows.is_empty() {
        return Err(Error::internal("rows are to be deleted of a file that the snapshot does not have"));
    }
    let reader = scan.deletes(&table.table().storage);
    let touched = found.into_iter().map(|(entry, added)| async {
        let before = files.deletes.of(&entry);
        let mut deleted = match before.as_ref().filter(|before| before.has_positions()) {
            Some(before) => reader.deleted(before).await?,
            None => RoaringTreemap::new(),
        };
        deleted |= &added;
        Ok(Touched { entry, deleted, added })
    });
    stream::iter(touched).buffered(FILES_MAX).try_collect().await
}

/// Beside the data file, if that lies where the table's files go, else where a new one would.
fn beside(locations: &Locations, data_file: &str, name: &str) -> String {
    match data_file.rsplit_once('/') {
        Some((folder, _)) if folder.starts_with(&locations.folder) => format!("{folder}/{name}"),
        _ => locations.file("", name),
    }
}

/// A file of position deletes for each data file.
async fn position_deletes(table: &IcebergTable, files: &[Touched], query_id: &str) -> Result<Vec<(i32, DataFile)>> {
    let locations = Locations::of(&table.table().metadata)?;
    let named: Vec<(&Touched, String)> = files
        .iter()
        .enumerate()
        .map(|(number, file)| {
            let name = file_name(number, query_id, 0);
            let name = name.strip_suffix(".parquet").unwrap_or(&name);
            (file, beside(&locations, file.path(), &format!("{name}-deletes.parquet")))
        })
        .collect();
    let paths: Vec<String> = named.iter().map(|(_, path)| path.clone()).collect();
    let writes: Vec<_> = named.into_iter().map(|(file, path)| position_delete_file(table, file, path).boxed()).collect();
    let written = stream::iter(writes).buffered(FILES_MAX).try_collect().await;
    if written.is_err() {
        discard_at(table.table(), paths.into_iter()).await;
    }
    written
}

async fn position_delete_file(table: &IcebergTable, file: &Touched, path: String) -> Result<(i32, DataFile)> {
    let bytes = encoded(file, &path)?;
    let size = bytes.len() as u64;
    table.table().storage.write(&path, bytes.into()).await?;
    // The position has bounds too, as in Java's files: Trino shows no `$entries` without them.
    let bounds = |position: Option<u64>| {
        let position = i64::try_from(position.unwrap_or_default()).unwrap_or(i64::MAX);
        HashMap::from([(FILE_PATH_ID, Datum::string(file.path())), (POSITION_ID, Datum::long(position))])
    };
    let mut builder = described(file, path, size);
    builder.file_format(DataFileFormat::Parquet).record_count(file.added.len());
    builder.lower_bounds(bounds(file.added.min())).upper_bounds(bounds(file.added.max()));
    Ok((file.entry.spec_id, built(&builder)?))
}

/// Rows of a file's path and a position, in order (table spec, "Position Delete Files").
fn encoded(file: &Touched, path: &str) -> Result<Vec<u8>> {
    const ROWS: usize = 64 << 10;
    let failed = |error| from_parquet(error, path);
    let fields = position_delete_schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(false)).collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let said =
        [("iceberg.schema", SCHEMA_OF_DELETES), ("delete-type", "position")].map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).set_key_value_metadata(Some(said.to_vec())).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options).map_err(failed)?;
    let positions: Vec<i64> = file.added.iter().map(|position| i64::try_from(position).unwrap_or(i64::MAX)).collect();
    for positions in positions.chunks(ROWS) {
        let paths = StringArray::from_iter_values(std::iter::repeat_n(file.path(), positions.len()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(paths), Arc::new(Int64Array::from(positions.to_vec()))]);
        let batch = batch.map_err(|error| Error::internal("positions make no batch").with_source(error))?;
        writer.write(&batch).map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}

/// A deletion vector for each data file, all in one file.
async fn vectors(table: &IcebergTable, files: &[Touched], query_id: &str) -> Result<Vec<(i32, DataFile)>> {
    let name = file_name(0, query_id, 0);
    let name = format!("{}-deletes.puffin", name.strip_suffix(".parquet").unwrap_or(&name));
    let path = Locations::of(&table.table().metadata)?.file("", &name);
    let contents: Vec<(String, RoaringTreemap)> = files.iter().map(|file| (file.path().to_owned(), file.deleted.clone())).collect();
    let written = async {
        let (placed, size) = deletion_vector::write(&table.table().storage, &path, &contents).await?;
        let described = files.iter().zip(placed).map(|(file, placed)| {
            let mut builder = described(file, path.clone(), size);
            builder.file_format(DataFileFormat::Puffin).record_count(file.deleted.len());
            builder.content_offset(Some(placed.offset)).content_size_in_bytes(Some(placed.length));
            Ok((file.entry.spec_id, built(&builder)?))
        });
        described.collect::<Result<Vec<_>>>()
    };
    let written = written.await;
    if written.is_err() {
        discard_at(table.table(), std::iter::once(path.clone())).await;
    }
    written
}

/// What all deletes of a data file have in common.
fn described(file: &Touched, path: String, size: u64) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::PositionDeletes)
        .file_path(path)
        .file_size_in_bytes(size)
        .partition_spec_id(file.entry.spec_id)
        .partition(file.entry.file.partition().clone())
        .referenced_data_file(Some(file.path().to_owned()));
    builder
}

fn built(builder: &DataFileBuilder) -> Result<DataFile> {
    builder.build().map_err(|error| Error::internal("a file of deletes is described incompletely").with_source(error))
}
