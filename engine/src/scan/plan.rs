//! Which files a scan reads: the snapshot's files, without those that its filters exclude.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use nunatak_catalog::Table;
use nunatak_catalog::name_mapping::NAME_MAPPING;
use nunatak_catalog::snapshot::{self, FileEntry, ManifestCache};
use nunatak_catalog::spec::{self, DataFileFormat, ManifestContentType, ManifestFile, SnapshotRef};
use nunatak_catalog::statistics::distinct_counts;
use nunatak_core::{Code, Error, Result};

use super::bounds::ColumnSource;
use super::deletes::DeleteIndex;
use super::names::with_names;
use super::pruning::{Pruned, Pruner};
use super::types::table_schema;
use crate::error::from_datafusion;

/// A table at one snapshot, as queries see it.
pub struct ScanShape {
    table: Table,
    snapshot: Option<SnapshotRef>,
    iceberg_schema: spec::SchemaRef,
    schema: SchemaRef,
    columns: Arc<[Option<ColumnSource>]>,
    distinct_counts: BTreeMap<i32, u64>,
}

impl fmt::Debug for ScanShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot.as_ref().map(|snapshot| snapshot.snapshot_id());
        f.debug_struct("ScanShape").field("table", &self.table.name).field("snapshot", &snapshot).finish_non_exhaustive()
    }
}

impl ScanShape {
    /// The table at a snapshot; `None` is a table that has none, and so no rows.
    ///
    /// The schema is the table's current one for its current snapshot (it may have changed since the last write), and the snapshot's own for any
    /// other.
    pub fn new(table: Table, snapshot: Option<SnapshotRef>) -> Result<Self> {
        let iceberg_schema = schema_at(&table, snapshot.as_ref())?;
        Self::with_schema(table, snapshot, iceberg_schema)
    }

    /// The table as it was when a snapshot was made: its columns too, if it has others by now without another snapshot.
    ///
    /// Errors: as [`Self::new`].
    pub fn as_it_was(table: Table, snapshot: SnapshotRef) -> Result<Self> {
        let schema = schema_of(&table, &snapshot)?;
        Self::with_schema(table, Some(snapshot), schema)
    }

    /// The table at a snapshot, with the columns of another one.
    pub fn with_schema(table: Table, snapshot: Option<SnapshotRef>, iceberg_schema: spec::SchemaRef) -> Result<Self> {
        let schema = table_schema(&iceberg_schema).and_then(|schema| match table.metadata.properties().get(NAME_MAPPING) {
            Some(mapping) => with_names(&schema, mapping),
            None => Ok(schema),
        });
        let schema = schema.map_err(|error| error.with_context("table", table.name.to_string()))?;
        let columns = ColumnSource::all(&table.metadata, &iceberg_schema, &schema).into();
        let distinct_counts = snapshot.as_ref().map(|snapshot| distinct_counts(&table.metadata, snapshot)).unwrap_or_default();
        Ok(Self { table, snapshot, iceberg_schema, schema, columns, distinct_counts })
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The snapshot that is read.
    pub fn snapshot(&self) -> Option<&SnapshotRef> {
        self.snapshot.as_ref()
    }

    /// The table's schema at that snapshot, as Iceberg has it.
    pub fn iceberg_schema(&self) -> &spec::SchemaRef {
        &self.iceberg_schema
    }

    /// The same schema as queries see it.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What metadata can tell about each column; `None` for rows, lists and maps.
    pub fn columns(&self) -> &Arc<[Option<ColumnSource>]> {
        &self.columns
    }

    /// How many distinct values columns have, by field id, where `ANALYZE` or another engine has counted them.
    pub fn distinct_counts(&self) -> &BTreeMap<i32, u64> {
        &self.distinct_counts
    }

    /// Whether each file has a single value of the named column.
    pub fn is_constant(&self, column: &str) -> bool {
        let source = self.schema.index_of(column).ok().and_then(|index| self.columns.get(index)?.as_ref());
        source.is_some_and(ColumnSource::is_constant)
    }

    fn pruner(&self, filters: Vec<Arc<dyn PhysicalExpr>>) -> Pruner {
        Pruner::new(Arc::clone(&self.schema), Arc::clone(&self.columns), filters)
    }
}

fn schema_at(table: &Table, snapshot: Option<&SnapshotRef>) -> Result<spec::SchemaRef> {
    match snapshot {
        Some(snapshot) if table.head_id() != Some(snapshot.snapshot_id()) => schema_of(table, snapshot),
        _ => Ok(Arc::clone(table.metadata.current_schema())),
    }
}

/// The columns that a table had when a snapshot was made.
fn schema_of(table: &Table, snapshot: &SnapshotRef) -> Result<spec::SchemaRef> {
    snapshot.schema(&table.metadata).map_err(|error| {
        let id = snapshot.snapshot_id();
        Error::new(Code::IcebergInvalidMetadata, format!("the schema of snapshot {id} of table '{}' is missing", table.name)).with_source(error)
    })
}

/// The files that a scan reads.
#[derive(Clone, Debug, Default)]
pub struct ScanFiles {
    /// The data files, in the order of the snapshot's manifests.
    pub files: Vec<Arc<FileEntry>>,
    /// What deletes rows of them.
    pub deletes: Arc<DeleteIndex>,
    /// What was left out.
    pub pruned: Pruned,
}

impl ScanFiles {
    /// The bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.file.file_size_in_bytes()).sum()
    }

    /// The rows of all files together, deleted ones included.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|entry| entry.file.record_count()).sum()
    }

    /// The files that remain under filters, which are joined by AND and in terms of the shape's schema.
    pub fn pruned(self, shape: &ScanShape, filters: Vec<Arc<dyn PhysicalExpr>>) -> Result<Self> {
        let mut pruned = Pruned { manifests: self.pruned.manifests, ..Pruned::default() };
        let files = shape.pruner(filters).prune(self.files, &mut pruned).map_err(from_datafusion)?;
        Ok(Self { files, pruned, ..self })
    }

    /// The files among these locations.
    #[must_use]
    pub fn only(mut self, locations: &HashSet<String>) -> Self {
        let before = self.files.len();
        self.files.retain(|entry| locations.contains(entry.file.file_path()));
        self.pruned.files -= (before - self.files.len()) as u64;
        self
    }

    /// As many files as are needed for so many rows.
    #[must_use]
    pub fn with_at_least(mut self, rows: usize) -> Self {
        let mut so_far = 0_u64;
        let enough = self.files.iter().position(|entry| {
            // How many rows deletes leave is not known before they are read.
            let certain = if self.deletes.of(entry).is_none() { entry.file.record_count() } else { 0 };
            so_far = so_far.saturating_add(certain);
            so_far >= rows as u64
        });
        if let Some(last) = enough {
            self.files.truncate(last + 1);
        }
        self
    }
}

/// The files that a scan with these filters has to read. The filters are joined by AND, are in terms of the shape's schema, and only ever make the
/// list shorter: every row that matches them is in one of the files.
///
/// Errors: `NOT_SUPPORTED` for files that are not Parquet (or, of deletes, Puffin).
pub async fn files_of_scan(shape: &ScanShape, cache: &ManifestCache, filters: Vec<Arc<dyn PhysicalExpr>>) -> Result<ScanFiles> {
    let Some(snapshot) = &shape.snapshot else { return Ok(ScanFiles::default()) };
    let pruner = shape.pruner(filters);
    let (manifests, kept) = (AtomicU64::new(0), AtomicU64::new(0));
    let keep = |manifest: &ManifestFile| {
        let keeps = pruner.keeps_manifest(manifest);
        if manifest.content == ManifestContentType::Data {
            manifests.fetch_add(1, Ordering::Relaxed);
            kept.fetch_add(keeps.into(), Ordering::Relaxed);
        }
        keeps
    };
    let found = snapshot::files(&shape.table, snapshot, cache, &keep).await?;
    let manifests = manifests.into_inner();
    let mut pruned = Pruned { manifests, manifests_by_partition: manifests - kept.into_inner(), ..Pruned::default() };
    let files = pruner.prune(found.data, &mut pruned).map_err(from_datafusion)?;
    files.iter().try_for_each(|entry| check_format(entry))?;
    Ok(ScanFiles { files, deletes: Arc::new(DeleteIndex::new(&shape.table.metadata, found.deletes)?), pruned })
}

fn check_format(entry: &FileEntry) -> Result<()> {
    let (path, format) = (entry.file.file_path(), entry.file.file_format());
    match format {
        DataFileFormat::Parquet => Ok(()),
        other => Err(Error::not_supported(format!("data file '{path}' is {other}, and only parquet is read"))),
    }
}
