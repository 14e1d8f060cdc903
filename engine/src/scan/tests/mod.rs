//! Scans over real manifests, and over real files of several shapes.

mod deletes;
mod evolution;
mod planning;
mod pruning;
mod reading;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nunatak_catalog::commit::append_to_staged;
use nunatak_catalog::snapshot::ManifestCache;
use nunatak_catalog::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, NestedField, Schema, SortOrder, Struct, TableMetadataBuilder,
    Transform, Type, UnboundPartitionSpec,
};
use nunatak_catalog::{Storage, Table, TableName};

use super::{IcebergTable, ScanContext};

/// What scans share, with caches of their own.
pub(crate) fn scan_context() -> Arc<ScanContext> {
    Arc::new(ScanContext::new(Arc::new(ManifestCache::new(1 << 20)), Arc::default()))
}

/// A table that no catalog knows, in a folder of its own.
struct Staged {
    table: Table,
    _folder: tempfile::TempDir,
}

impl Staged {
    fn new(columns: &[(&str, Type)], partition: &[(i32, &str, Transform)]) -> Self {
        let fields = columns.iter().zip(1..).map(|((name, field_type), id)| Arc::new(NestedField::optional(id, name, field_type.clone())));
        Self::partitioned(Schema::builder().with_fields(fields).build().unwrap(), partition)
    }

    fn of(schema: Schema) -> Self {
        Self::partitioned(schema, &[])
    }

    fn partitioned(schema: Schema, partition: &[(i32, &str, Transform)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = UnboundPartitionSpec::builder();
        for (source, name, transform) in partition {
            spec = spec.add_partition_field(*source, *name, *transform).unwrap();
        }
        let location = folder.path().display().to_string();
        let order = SortOrder::unsorted_order();
        let builder = TableMetadataBuilder::new(schema, spec.build(), order, location, FormatVersion::V2, HashMap::new()).unwrap();
        let metadata = Arc::new(builder.build().unwrap().metadata);
        let table = Table::new(TableName::new("s", "t"), metadata, None, Storage::new());
        Self { table, _folder: folder }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.table.metadata.location())
    }

    /// Commits files, in a manifest of their own.
    async fn append(&mut self, files: Vec<DataFile>) {
        self.table.metadata = Arc::new(append_to_staged(&self.table, files, BTreeMap::new()).await.unwrap());
    }

    fn provider(&self) -> IcebergTable {
        let snapshot = self.table.metadata.current_snapshot().cloned();
        IcebergTable::new(self.table.clone(), snapshot, scan_context()).unwrap()
    }
}

fn data_file(path: String, rows: u64, bytes: u64, partition: Vec<Option<Literal>>) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .partition(partition.into_iter().collect::<Struct>())
        .record_count(rows)
        .file_size_in_bytes(bytes);
    builder
}
