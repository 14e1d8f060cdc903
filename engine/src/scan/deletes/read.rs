//! Gets deletes where they are needed: files of deletes are read once and kept while there is room, since many data files share them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use moka::future::Cache;
use nunatak_catalog::snapshot::FileEntry;
use nunatak_catalog::{Storage, deletion_vector};
use nunatak_core::{Code, Error, Result};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use roaring::RoaringTreemap;

use super::index::{self, PositionDeletes};
use super::keys::{self, KeySet};
use super::{DeleteFile, DeletionVector, EqualityDeletes, FileDeletes, positions};

/// Memory that deletes may take while nobody uses them, in bytes.
const CACHE_BYTES_MAX: u64 = 256 << 20;

/// Positions by data file.
pub(super) type Positions = HashMap<String, RoaringTreemap>;

/// Reads deletes of tables in one storage.
#[derive(Clone)]
pub struct DeleteReader {
    storage: Arc<Storage>,
    kept: KeptDeletes,
}

/// The deletes that a process keeps while there is room. Cheap to clone.
#[derive(Clone)]
pub struct KeptDeletes {
    positions: Cache<String, Arc<Positions>>,
    keys: Cache<keys::Name, Arc<KeySet>>,
}

impl KeptDeletes {
    /// Nothing yet.
    pub fn new() -> Self {
        let positions = Cache::builder().max_capacity(CACHE_BYTES_MAX / 2).weigher(|_, positions: &Arc<Positions>| positions::bytes(positions));
        let keys = Cache::builder().max_capacity(CACHE_BYTES_MAX / 2).weigher(|_, keys: &Arc<KeySet>| keys.bytes());
        Self { positions: positions.build(), keys: keys.build() }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.positions.invalidate_all();
        self.keys.invalidate_all();
    }
}

impl Default for KeptDeletes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DeleteReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.kept.positions.weighted_size() + self.kept.keys.weighted_size();
        f.debug_struct("DeleteReader").field("bytes", &bytes).finish_non_exhaustive()
    }
}

impl DeleteReader {
    /// A reader of files in `storage`, over what the process keeps.
    pub fn new(storage: Arc<Storage>, kept: KeptDeletes) -> Self {
        Self { storage, kept }
    }

    /// Where the files are read from.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// The positions of a data file's rows that are deleted.
    ///
    /// Errors: `ICEBERG_BAD_DATA` for a delete file that is damaged, or that names a row which the data file does not have.
    pub(crate) async fn deleted(&self, deletes: &FileDeletes) -> Result<RoaringTreemap> {
        let mut deleted = RoaringTreemap::new();
        if let Some(of_vector) = &deletes.vector {
            deleted = self.vector(of_vector).await?;
        }
        for file in &deletes.positions {
            if let Some(positions) = self.positions_of(file).await?.get(&deletes.path) {
                deleted |= positions;
            }
        }
        if let Some(last) = deleted.max().filter(|last| *last >= deletes.row_count) {
            let what = format!("a delete file names row {last} of data file '{}', which has {} rows", deletes.path, deletes.row_count);
            return Err(Error::new(Code::IcebergBadData, what));
        }
        Ok(deleted)
    }

    /// What a delete file of a snapshot deletes by position, by data file in the order of their names. Equality deletes give nothing.
    ///
    /// Errors: like those of a scan that the file applies to.
    pub async fn positions_in(&self, entry: &FileEntry) -> Result<BTreeMap<String, RoaringTreemap>> {
        match index::position_deletes(entry)? {
            None => Ok(BTreeMap::new()),
            Some(PositionDeletes::Vector(path, vector)) => Ok(BTreeMap::from([(path, self.vector(&vector).await?)])),
            Some(PositionDeletes::File(file)) => {
                Ok(self.positions_of(&file).await?.iter().map(|(path, positions)| (path.clone(), positions.clone())).collect())
            }
        }
    }

    async fn vector(&self, vector: &DeletionVector) -> Result<RoaringTreemap> {
        let end = vector.offset.checked_add(vector.length);
        let range = end.map(|end| vector.offset..end).ok_or_else(|| bad(&vector.path, "its deletion vector ends beyond any file"))?;
        let blob = self.storage.read_range(&vector.path, range).await.map_err(missing)?;
        deletion_vector::decode(&blob, vector.cardinality, &vector.path)
    }

    async fn positions_of(&self, file: &DeleteFile) -> Result<Arc<Positions>> {
        let load = async {
            let rows = self.rows(file, &positions::schema()).await?;
            Ok(Arc::new(positions::by_data_file(&rows, &file.path)?))
        };
        self.kept.positions.try_get_with_by_ref(&file.path, load).await.map_err(unshared)
    }

    /// The values that delete rows, of files that all name the columns of `schema`, each with the youngest sequence number that deletes it.
    pub(super) async fn keys(&self, files: &[&EqualityDeletes], schema: &SchemaRef) -> Result<Arc<KeySet>> {
        let load = async {
            let mut keys = KeySet::new(schema)?;
            for deletes in files {
                for batch in self.rows(&deletes.file, schema).await? {
                    keys.add(&batch, deletes.sequence_number)?;
                }
            }
            Ok(Arc::new(keys))
        };
        self.kept.keys.try_get_with(keys::name(files, schema), load).await.map_err(unshared)
    }

    /// All rows of a Parquet file, with the columns of `schema` matched by field id.
    async fn rows(&self, file: &DeleteFile, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let bytes = self.storage.read(&file.path).await.map_err(missing)?;
        let (file, schema) = (file.clone(), Arc::clone(schema));
        let decode = tokio::task::spawn_blocking(move || decode(bytes, &file, &schema));
        decode.await.unwrap_or_else(|error| Err(Error::internal("the task that reads a delete file stopped").with_source(error)))
    }
}

fn decode(bytes: Bytes, file: &DeleteFile, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let failed = |error: &dyn fmt::Display| bad(&file.path, &error.to_string());
    // The Arrow schema that a writer may have embedded has no field ids.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|error| failed(&error))?;
    let found = builder.metadata().file_metadata().num_rows();
    if u64::try_from(found).ok() != Some(file.row_count) {
        return Err(bad(&file.path, &format!("it has {found} rows, but the table's metadata says {}", file.row_count)));
    }
    let columns = keys::columns(schema, builder.schema(), &file.path)?;
    let reader = builder.build().map_err(|error| failed(&error))?;
    reader.map(|batch| columns.of(&batch.map_err(|error| failed(&error))?)).collect()
}

pub(super) fn bad(path: &str, what: &str) -> Error {
    Error::new(Code::IcebergBadData, format!("delete file '{path}' is damaged: {what}"))
}

/// A file that the table's metadata names, and that is not there.
fn missing(error: Error) -> Error {
    match error.code() {
        Code::NotFound => Error::new(Code::IcebergMissingData, error.message()).with_source(error),
        _ => error,
    }
}

/// Scans that wait for the same file get the same error.
fn unshared(error: Arc<Error>) -> Error {
    Arc::try_unwrap(error).unwrap_or_else(|shared| shared.clone_without_source())
}
