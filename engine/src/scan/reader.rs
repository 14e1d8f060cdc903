//! How the bytes and footers of a scan's files are read: through DataFusion's footer cache, with what Iceberg demands checked on the way.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::{CachedParquetMetaData, DFParquetMetadata};
use datafusion::datasource::physical_plan::parquet::{CachedParquetFileReaderFactory, ParquetFileReaderFactory};
use datafusion::error::DataFusionError;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use nunatak_catalog::name_mapping::NAME_MAPPING;
use nunatak_catalog::storage::Location;
use nunatak_catalog::storage::error::describe;
use nunatak_core::{Code, Error};
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder};
use parquet::schema::types::SchemaDescPtr;

use super::deletes::FileDeletes;
use super::names::{has_names, with_ids};
use crate::file_cache::{CachedFile, FileCache};

/// Makes the readers of a scan. Footers are cached as they are needed here, which is without the Arrow schema that a writer may have embedded:
/// its types and field metadata would stand in for those of the Parquet schema, and the field ids would be lost.
pub struct IcebergReaderFactory {
    store: Arc<dyn ObjectStore>,
    /// By which DataFusion knows the store.
    store_url: String,
    footers: Arc<FileMetadataCache>,
    bytes: CachedParquetFileReaderFactory,
    cache: Option<StoreCache>,
    /// The table's schema, if it has names for files without field ids.
    names: Option<SchemaRef>,
}

/// What is kept of the files of one store, and the counters of one scan.
#[derive(Clone)]
struct StoreCache {
    cache: Arc<FileCache>,
    scanned: Count,
    from_memory: Count,
    from_disk: Count,
    from_storage: Count,
}

impl IcebergReaderFactory {
    /// A factory for the files of the store that DataFusion knows by this URL, with the footer cache of the process. `table` is the schema by which they are read.
    pub fn new(store: Arc<dyn ObjectStore>, store_url: &str, footers: Arc<FileMetadataCache>, table: &SchemaRef) -> Self {
        let bytes = CachedParquetFileReaderFactory::new(Arc::clone(&store), Arc::clone(&footers));
        Self { store, store_url: store_url.to_owned(), footers, bytes, cache: None, names: has_names(table).then(|| Arc::clone(table)) }
    }

    /// The same, for one partition of a scan, through a cache of parts of files, if there is one that keeps those of this store.
    #[must_use]
    pub fn with_cache(self, cache: Option<&Arc<FileCache>>, metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name| MetricBuilder::new(metrics).counter(name, partition);
        let cache = cache.filter(|cache| cache.keeps(&self.store_url)).map(|cache| StoreCache {
            cache: Arc::clone(cache),
            scanned: counter("bytes_scanned"),
            from_memory: counter("bytes_from_memory_cache"),
            from_disk: counter("bytes_from_disk_cache"),
            from_storage: counter("bytes_from_storage"),
        });
        Self { cache, ..self }
    }
}

impl fmt::Debug for IcebergReaderFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergReaderFactory").finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for IcebergReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::error::Result<Box<dyn AsyncFileReader + Send>> {
        let footer = FooterReader {
            store: Arc::clone(&self.store),
            store_url: self.store_url.clone(),
            footers: Arc::clone(&self.footers),
            object: file.object_meta.clone(),
            size_hint: metadata_size_hint,
            row_count: row_count(&file),
            names: self.names.clone(),
        };
        let bytes = match &self.cache {
            Some(cache) => FileBytes::Kept(CachedFile::new(&self.store_url, file.object_meta), cache.clone()),
            None => FileBytes::Direct(self.bytes.create_reader(partition_index, file, metadata_size_hint, metrics)?),
        };
        Ok(Box::new(IcebergReader { footer, bytes }))
    }
}

/// How many rows the table's metadata says that a file has.
fn row_count(file: &PartitionedFile) -> Option<i64> {
    if let Some(deletes) = file.extension::<Arc<FileDeletes>>() {
        return i64::try_from(deletes.row_count).ok();
    }
    match file.statistics.as_ref().map(|statistics| statistics.num_rows) {
        Some(Precision::Exact(rows)) => i64::try_from(rows).ok(),
        _ => None,
    }
}

struct IcebergReader {
    footer: FooterReader,
    bytes: FileBytes,
}

/// Where the bytes of a file come from.
enum FileBytes {
    Direct(Box<dyn AsyncFileReader + Send>),
    Kept(CachedFile, StoreCache),
}

impl StoreCache {
    async fn read(&self, file: &CachedFile, store: &dyn ObjectStore, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let (bytes, from) = self.cache.read(store, file, ranges).await?;
        self.scanned.add(bytes.iter().map(Bytes::len).sum());
        self.from_memory.add(from.memory);
        self.from_disk.add(from.disk);
        self.from_storage.add(from.storage);
        Ok(bytes)
    }
}

impl AsyncFileReader for IcebergReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.get_byte_ranges(vec![range]).map(|read| Ok(read?.into_iter().next().unwrap_or_default())).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let footer = &self.footer;
        let read = match &mut self.bytes {
            FileBytes::Direct(reader) => reader.get_byte_ranges(ranges),
            FileBytes::Kept(file, cache) => {
                async move { cache.read(file, footer.store.as_ref(), &ranges).await.map_err(|error| ParquetError::External(Box::new(error))) }.boxed()
            }
        };
        read.map(|read| read.map_err(|error| footer.bytes_failed(error))).boxed()
    }

    fn get_metadata<'a>(&'a mut self, options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        self.footer.read(options).map(|footer| footer.map_err(|error| ParquetError::External(Box::new(error)))).boxed()
    }
}

struct FooterReader {
    store: Arc<dyn ObjectStore>,
    store_url: String,
    footers: Arc<FileMetadataCache>,
    object: ObjectMeta,
    size_hint: Option<usize>,
    /// How many rows the table's metadata says the file has.
    row_count: Option<i64>,
    names: Option<SchemaRef>,
}

impl FooterReader {
    async fn read(&self, options: Option<&ArrowReaderOptions>) -> Result<Arc<ParquetMetaData>, Error> {
        let footer = DFParquetMetadata::new(&self.store, &self.object)
            .with_file_metadata_cache(Some(Arc::clone(&self.footers)))
            .with_metadata_size_hint(self.size_hint)
            .with_page_index_policy(options.map(ArrowReaderOptions::column_index_policy))
            .fetch_metadata()
            .await
            .map_err(|error| self.failed(error))?;
        self.check(&footer)?;
        self.with_field_ids(self.without_arrow_schema(footer))
    }

    /// The file as its table's metadata names it, scheme and bucket included.
    fn location(&self) -> Location {
        Location::in_store(&self.store_url, &self.object.location)
    }

    fn failed(&self, error: DataFusionError) -> Error {
        let path = self.location();
        match &error {
            DataFusionError::ObjectStore(store) => self.store_failed(store),
            DataFusionError::ParquetError(parquet) => Error::new(Code::IcebergBadData, format!("data file '{path}' is damaged: {parquet}")),
            other => Error::new(Code::IcebergBadData, format!("data file '{path}' cannot be read: {other}")),
        }
        .with_source(error)
    }

    /// The footer may come from the cache while the file is gone: then reading its pages is the first to notice.
    fn bytes_failed(&self, error: ParquetError) -> ParquetError {
        let ParquetError::External(cause) = &error else { return error };
        match cause.downcast_ref::<object_store::Error>() {
            Some(store) => ParquetError::External(Box::new(self.store_failed(store).with_source(error))),
            None => error,
        }
    }

    fn store_failed(&self, error: &object_store::Error) -> Error {
        // That of the cache, which says what is wrong itself.
        if let object_store::Error::Generic { source, .. } = error
            && let Some(ours) = source.downcast_ref::<Error>()
        {
            return ours.clone_without_source();
        }
        let path = self.location();
        match describe(error, &path.to_string()) {
            // Where it is more than the file that is not there, it is told.
            described if described.code() == Code::IcebergMissingData => {
                Error::new(Code::IcebergMissingData, format!("data file '{path}' does not exist"))
            }
            described if described.code() != Code::IcebergFilesystemError => described,
            _ => Error::new(Code::IcebergFilesystemError, format!("data file '{path}' cannot be read: {error}")),
        }
    }

    fn check(&self, footer: &ParquetMetaData) -> Result<(), Error> {
        let file = footer.file_metadata();
        if let Some(expected) = self.row_count
            && expected != file.num_rows()
        {
            let (path, found) = (self.location(), file.num_rows());
            return Err(Error::new(Code::IcebergBadData, format!("data file '{path}' has {found} rows, but the table's metadata says {expected}")));
        }
        Ok(())
    }

    /// The footer of a file without field ids with those that the table's names lead to. The cache keeps it as it is: names can change.
    fn with_field_ids(&self, footer: Arc<ParquetMetaData>) -> Result<Arc<ParquetMetaData>, Error> {
        let file = footer.file_metadata();
        let columns = file.schema().get_fields();
        if columns.is_empty() || columns.iter().any(|column| column.get_basic_info().has_id()) {
            return Ok(footer);
        }
        let Some(table) = &self.names else {
            let path = self.location();
            return Err(Error::not_supported(format!("data file '{path}' has no field ids, and the table has no names for it"))
                .with_hint(format!("set the table property '{NAME_MAPPING}' with the engine that added the file")));
        };
        let schema = with_ids(file.schema_descr(), table).map_err(|error| self.failed(error.into()))?;
        Ok(with_file_metadata(&footer, |file| file_metadata(file, file.key_value_metadata().cloned(), Arc::new(schema))))
    }

    /// The footer without its embedded Arrow schema, which the cache then keeps in place of the original.
    fn without_arrow_schema(&self, footer: Arc<ParquetMetaData>) -> Arc<ParquetMetaData> {
        let file = footer.file_metadata();
        let has_arrow_schema = |entries: &Vec<_>| entries.iter().any(is_arrow_schema);
        if !file.key_value_metadata().is_some_and(has_arrow_schema) {
            return footer;
        }
        let entries = file.key_value_metadata().map(|entries| entries.iter().filter(|entry| !is_arrow_schema(entry)).cloned().collect());
        let footer = with_file_metadata(&footer, |file| file_metadata(file, entries, file.schema_descr_ptr()));
        let entry = CachedFileMetadataEntry::new(self.object.clone(), Arc::new(CachedParquetMetaData::new(Arc::clone(&footer))));
        self.footers.put(&self.object.location, entry);
        footer
    }
}

/// A footer with other metadata of its file.
fn with_file_metadata(footer: &ParquetMetaData, change: impl FnOnce(&FileMetaData) -> FileMetaData) -> Arc<ParquetMetaData> {
    let changed = ParquetMetaDataBuilder::new(change(footer.file_metadata()))
        .set_row_groups(footer.row_groups().to_vec())
        .set_column_index(footer.column_index().cloned())
        .set_offset_index(footer.offset_index().cloned());
    Arc::new(changed.build())
}

fn file_metadata(file: &FileMetaData, entries: Option<Vec<KeyValue>>, schema: SchemaDescPtr) -> FileMetaData {
    let created_by = file.created_by().map(str::to_owned);
    FileMetaData::new(file.version(), file.num_rows(), created_by, entries, schema, file.column_orders().cloned())
}

fn is_arrow_schema(entry: &KeyValue) -> bool {
    entry.key == ARROW_SCHEMA_META_KEY
}
